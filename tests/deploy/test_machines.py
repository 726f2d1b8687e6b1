"""Units, images and compose file: hardened, pinned, and in step with the commands that exist."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest
import typer
import yaml

from deploy.cli import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
IMAGES = sorted((DEPLOY / "images").glob("*.Dockerfile"))


def check_command(words: list[str]) -> None:
    """Exists in `consilium`, with these options."""
    command = typer.main.get_command(app)
    rest = words[1:]
    while rest and hasattr(command, "commands"):
        assert rest[0] in command.commands, words
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known, words


# systemd ------------------------------------------------------------------------------------------------

HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectControlGroups": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "LimitCORE": "0",
    "Restart": "always",
}


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sections, keys and all values of each key, as systemd reads them."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), defaultdict(list))
            continue
        key, separator, value = line.partition("=")
        assert separator, line
        section[key].append(value)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.stem)
def test_units_are_hardened(path: Path) -> None:
    found = unit(path)
    assert set(found) == {"Unit", "Service", "Install"}
    service = found["Service"]
    assert {key: service[key][-1] for key in HARDENED} == HARDENED
    assert service["User"] == ["consilium"], "never root"
    for key in ("ExecStart", "ExecStartPre"):
        for line in service[key]:
            words = shlex.split(line.lstrip("-"))
            assert Path(words[0]).is_absolute()
            check_command(["consilium", *words[1:]])
    # Whatever it writes lies where ProtectSystem=strict leaves room.
    kit = shlex.split(service["ExecStart"][0])[-1]
    assert kit.startswith("/var/lib/" + service["StateDirectory"][0] + "/")


def test_there_is_a_unit_and_an_image_for_each_role_that_serves() -> None:
    assert [p.stem for p in UNITS] == ["consilium-coordinator", "consilium-participant"]
    assert [p.stem for p in IMAGES] == ["coordinator", "participant"]


# images -------------------------------------------------------------------------------------------------


def instructions(path: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest), continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_images_are_slim_pinned_and_not_root(path: Path) -> None:
    found = instructions(path)
    bases = [rest for name, rest in found if name == "FROM"]
    for base in bases:
        assert re.match(r"python:3\.11\.\d+-slim-\w+@\$\{PYTHON_DIGEST\}( AS build)?$", base), base
    last = found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]
    users = [rest for name, rest in last if name == "USER"]
    assert users, "runs as root"
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[-1])
    names = [name for name, _ in last]
    assert "RUN" not in names, "the image that runs is copied together, not built by commands"
    assert "ADD" not in [name for name, _ in found]
    assert names.index("USER") < names.index("ENTRYPOINT")
    for name, rest in found:
        if name in ("RUN", "ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(rest), list), f"a shell would run: {name} {rest}"
    pip = [json.loads(rest) for name, rest in found if name == "RUN" and "pip" in rest]
    assert any("requirements.lock" in words for words in pip), "what is installed is what was locked"
    secret = re.compile(r"(?i)(secret|password|token|_key)=")
    assert not any(secret.search(rest) for _, rest in found)


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_images_start_what_exists(path: Path) -> None:
    found = dict(instructions(path))
    entry, arguments = json.loads(found["ENTRYPOINT"]), json.loads(found["CMD"])
    check_command([*entry, *arguments])
    check_command(json.loads(found["HEALTHCHECK"].partition("CMD ")[2]))


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_images_copy_what_is_there(path: Path) -> None:
    copied: set[str] = set()
    for name, rest in instructions(path):
        if name == "COPY" and not rest.startswith("--from"):
            copied |= set(rest.split()[:-1])
    for source in copied:
        assert list(ROOT.glob(source)), source
    rooms = {"analytics", "crypto", "protos", "consent_contracts", "participants", "coordinator", "deploy"}
    assert rooms <= copied


# compose ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, dict[str, dict[str, object]]]:
    document = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    assert isinstance(document, dict)
    return document


def test_services_can_do_little(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    services = compose["services"]
    assert len(services) == 4
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not str(service["user"]).startswith("0"), name
        assert not {"privileged", "network_mode", "pid", "devices", "cap_add"} & set(service), name
        assert service["pids_limit"], name
        assert service["mem_limit"], name
        assert ":latest" not in str(service["image"]), name
        assert str(service["image"]).startswith(("consilium-participant:$", "consilium-coordinator:$")), name


def test_each_service_sees_its_own_kit_only(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    for name, service in compose["services"].items():
        volumes = service["volumes"]
        assert isinstance(volumes, list)
        assert [re.sub(r"^\$\{[^}]*\}", "", str(v)) for v in volumes] == [f"/{name}:/kit"]


def test_only_the_coordinator_is_reachable(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["coordinator"]


def test_the_reader_of_units_is_not_blind() -> None:
    """The lint above can fail: an empty value is seen as empty, and a repeated key keeps all values."""
    parsed = unit(UNITS[0])
    assert parsed["Service"]["CapabilityBoundingSet"] == [""]
    assert len(parsed["Service"]["SystemCallFilter"]) == 2
