# Two commands: `make demo` and `make test`. Both set up everything below .venv and consent_contracts/node_modules.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PATH := $(CURDIR)/$(BIN):$(PATH)
export PATH

.PHONY: demo test test-fast check format setup bench contracts protos lock clean

demo: setup
	$(BIN)/python -m deploy demo

test: setup
	$(BIN)/python -m pytest

test-fast: setup
	$(BIN)/python -m pytest -m "not slow"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m protos.generate --check
	$(BIN)/python -m consent_contracts.compile --check

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Everything in benchmarks/, onto docs/performance.md: most of an hour on a quiet machine.
bench: setup
	$(BIN)/python -m benchmarks.performance

contracts: setup
	$(BIN)/python -m consent_contracts.compile

protos: setup
	$(BIN)/python -m protos.generate

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml consent_contracts/package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up: Python packages, Node and the contracts' tools (once, a few minutes)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	cd consent_contracts && $(CURDIR)/$(BIN)/npm ci --silent --no-progress
	@touch $(STAMP)

# Resolve the pins anew from pyproject.toml (maintainers only).
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet "torch==2.13.0"
	$(VENV)-lock/bin/python -m pip install --quiet setuptools ".[dev]"
	$(VENV)-lock/bin/python -m pip freeze --all --exclude consilium --exclude pip \
	  | sed 's/^torch==.*/torch==2.13.0/' > requirements.lock
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) consent_contracts/node_modules demo build
