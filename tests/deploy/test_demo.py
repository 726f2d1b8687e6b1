"""The demo on real processes, whole, once with its own tables and once with a visitor's."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consent_contracts.abi import revert
from consent_contracts.rpc import Rpc
from tests.deploy.visitor import SITES, Visitor

ROOT = Path(__file__).parents[2]


def start(out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy", "demo", "--out", str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def left(out: Path, before: set[int]) -> list[str]:
    """Commands of processes that belong to the demo in ``out``, or to nobody since."""
    found = []
    for pid in processes() - before:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        ours = words[0] == sys.executable and any("_zygote" in word for word in words)
        if any(str(out) in word for word in words) or (ours and parent == 1):
            found.append(" ".join(words))
    return found


def processes() -> set[int]:
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}


def soon_gone(out: Path, before: set[int], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while remaining := left(out, before):
        assert time.monotonic() < deadline, remaining
        time.sleep(0.1)


def ended(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


class Fetched(HTMLParser):
    """Whatever a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "object", "embed", "img"):
            self.found.append(tag)
        for name, value in attrs:
            local = (value or "").startswith("#")
            if name in ("src", "href", "xlink:href", "data") and not local:
                self.found.append(f"{tag} {name}={value}")


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.chain
@pytest.mark.timeout(900)
def test_the_demo_from_the_first_line_to_the_last(home: Path, chain_url: str) -> None:
    out, before = home / "demo", processes()
    said = ended(start(out, "--rpc", chain_url))
    assert left(out, before) == []
    results = out / "results"
    told = json.loads((results / "summary.json").read_text())
    check_refusal(told["refusal"], told["chain"]["ledger"], chain_url)
    assert "REFUSED" in said
    check_survival(json.loads((results / "lung.json").read_text()))
    check_training(json.loads((results / "breast_cancer.json").read_text()))
    for name in ("lung", "breast_cancer"):
        audit = json.loads((results / f"{name}-audit.json").read_text())
        assert {check["outcome"] for check in audit["checks"]} == {"passed"}
        assert audit["openings"] == told["studies"][name]["seals"]
    assert len({entry["altered"] for entry in told["tampered"]}) == 5
    assert all(entry["code"] for entry in told["tampered"])
    page = (out / "report.html").read_text()
    fetched = Fetched()
    fetched.feed(page)
    assert fetched.found == []
    assert "url(http" not in page
    assert page.count("<svg") >= 2
    logs = {path.stem for path in (out / "logs").glob("*.log") if path.stat().st_size}
    assert logs >= {"coordinator", "h01", "h03", "h12", "h13", "commands"}


def check_refusal(refusal: dict[str, Any], ledger: str, chain_url: str) -> None:
    """On the chain itself: a lock that was mined, and reverted for want of consent."""
    node = Rpc(chain_url)
    receipt = node.call("eth_getTransactionReceipt", refusal["transaction"])
    assert (receipt["status"], receipt["to"]) == ("0x0", ledger)
    traced = node.call("debug_traceTransaction", refusal["transaction"], {"tracer": "callTracer"})
    said = revert(bytes.fromhex(traced["output"].removeprefix("0x")))
    assert said.code == refusal["code"] == "chain.no_live_consent"


def check_survival(content: dict[str, Any]) -> None:
    from lifelines.datasets import load_lung
    from statsmodels.duration.survfunc import survdiff

    table = load_lung()
    table = table[table["inst"].isin([1, 3, 12, 13])]
    chi2, p = survdiff(table["time"], table["status"], table["sex"], strata=table["inst"])
    found = content["test"]
    assert found["chi2"] == pytest.approx(chi2, rel=1e-9)
    assert found["p"] == pytest.approx(p, rel=1e-9)
    curves = {curve["group"]: curve for curve in content["curves"]["curves"]}
    for group, code in (("male", 1), ("female", 2)):
        rows = table[table["sex"] == code]
        assert (curves[group]["n"], curves[group]["deaths"]) == (len(rows), int(rows["status"].sum()))


def check_training(content: dict[str, Any]) -> None:
    """Over the three that stayed: ridge logistic regression by scikit-learn on their pooled rows."""
    from sklearn.linear_model import LogisticRegression

    from examples.make_tables import breast_hospitals

    hospitals = breast_hospitals()
    rows = [row for site in ("h01", "h03", "h13") for row in hospitals[site][1]]
    terms = [t["term"] for t in content["risk"]["terms"]][1:]
    X = np.array([[row[term] for term in terms] for row in rows])
    y = np.array([row["malignant"] for row in rows])
    Z = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    fit = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12).fit(Z, y)
    assert content["risk"]["n"] == len(rows)
    expected = [fit.intercept_[0], *fit.coef_[0]]
    for term, value in zip(content["risk"]["terms"], expected, strict=True):
        assert abs(term["estimate"] - value) <= 1e-6 * term["se"], term["term"]


@pytest.mark.slow
@pytest.mark.chain
@pytest.mark.timeout(600)
def test_a_visitors_study_survives_a_killed_demo(home: Path) -> None:
    """SIGKILL leaves no process; the same command runs again over what it left."""
    visitor, out, before = Visitor(home), home / "demo", processes()
    first = start(out, *visitor.options)
    assert first.stdout is not None
    for line in first.stdout:
        if re.search(r"network .* up", line):
            break
    assert len(left(out, before)) >= len(SITES) + 2, "nothing was running that could be left"
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    soon_gone(out, before)
    said = ended(start(out, *visitor.options))
    assert left(out, before) == []
    found = json.loads((out / "results" / "own.json").read_text())["means"]["columns"]
    pooled = visitor.pooled()
    for i, name in enumerate(("age", "bmi")):
        assert found[name]["mean"] == pytest.approx(pooled[:, i].mean(), rel=1e-9)
        assert found[name]["sd"] == pytest.approx(pooled[:, i].std(ddof=1), rel=1e-9)
    assert "approves by its rules" in said
