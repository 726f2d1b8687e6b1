"""The demo on real processes, once, whole; and what it says to a visitor whose files do not fit."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consent_contracts.rpc import Rpc
from consilium_errors import Error, Misuse, Refused
from deploy.commands.demo import demo
from deploy.demo import own
from deploy.demo.files import hospital_file
from deploy.demo.folder import prepared
from deploy.demo.line import Line
from participants.config import HospitalConfig

ROOT = Path(__file__).parents[2]
SITES = ("a", "b", "c")

STUDY = """
schema = "consilium.study/1"
id = "own"
protocol = {{ ethics = "TEST-1", plan_sha256 = "{plan}" }}
purpose = {{ duo = "DUO:0000042", commercial = false }}
sites = ["a", "b", "c"]
min_sites = 3
sum = "{sum}"
row_cap = 1000
[release]
mode = "exact"
recipient = "sponsor-key-1"
[cohort]
max_missing = "0.10"
[variables]
age = {{ kind = "number", unit = "a", range = [0, 120], centre = 60, scale = 10 }}
bmi = {{ kind = "number", range = [0, 80], centre = 25, scale = 5 }}
[[analysis]]
id = "means"
kind = "moments"
columns = ["age", "bmi"]
"""

HOSPITAL = """
schema = "consilium.hospital/1"
site = "{site}"
[source]
kind = "csv"
path = "data/table.csv"
patient_id = "mrn"
[columns.age]
from = "AGE"
unit = "a"
[columns.bmi]
from = "BMI"
[policy]
purposes = ["DUO:0000042"]
"""


class Visitor:
    """A study and three hospitals' files, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.study = folder / "study.toml"
        self.study.write_text(STUDY.format(plan="0" * 64, sum="fhe"))
        self.hospitals = [folder / site / "hospital.toml" for site in SITES]
        for seed, path in enumerate(self.hospitals):
            (path.parent / "data").mkdir(parents=True)
            path.write_text(HOSPITAL.format(site=path.parent.name))
            values = np.random.default_rng(seed).uniform((20, 18), (90, 40), (30, 2))
            with (path.parent / "data" / "table.csv").open("w", newline="") as file:
                csv.writer(file).writerows(
                    [("mrn", "AGE", "BMI"), *((i, *row) for i, row in enumerate(values.tolist()))]
                )

    def edit(self, path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def pooled(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        paths = [path.parent / "data" / "table.csv" for path in self.hospitals]
        return np.concatenate([np.loadtxt(p, delimiter=",", skiprows=1, usecols=(1, 2)) for p in paths])

    @property
    def options(self) -> list[str]:
        files = [("--hospital", str(path)) for path in self.hospitals]
        return ["--study", str(self.study), *(word for pair in files for word in pair)]


@pytest.fixture
def visitor(home: Path) -> Visitor:
    return Visitor(home)


# what may be wrong ----------------------------------------------------------------------------------------


def test_files_that_fit_are_taken_in_the_order_of_the_study(visitor: Visitor) -> None:
    spec, seats = own.check(visitor.study, visitor.hospitals[::-1])
    assert [seat.name for seat in seats] == list(spec.sites) == list(SITES)


def _unmapped(v: Visitor) -> None:
    v.edit(v.hospitals[1], '[columns.bmi]\nfrom = "BMI"', "")


def _foreign_site(v: Visitor) -> None:
    v.edit(v.hospitals[1], 'site = "b"', 'site = "z"')


def _same_site(v: Visitor) -> None:
    v.edit(v.hospitals[1], 'site = "b"', 'site = "a"')


def _two(v: Visitor) -> None:
    v.hospitals.pop()


def _fourth_site(v: Visitor) -> None:
    v.edit(v.study, '["a", "b", "c"]', '["a", "b", "c", "d"]')


def _no_file(v: Visitor) -> None:
    v.hospitals[2] = v.hospitals[2].with_name("nothing.toml")


def _no_study(v: Visitor) -> None:
    v.study = v.study.with_name("nothing.toml")


def _no_table(v: Visitor) -> None:
    v.edit(v.hospitals[0], "data/table.csv", "data/nothing.csv")


def _no_column(v: Visitor) -> None:
    v.edit(v.hospitals[0], '"AGE"', '"ALTER"')


def _other_unit(v: Visitor) -> None:
    v.edit(v.hospitals[0], 'unit = "a"', 'unit = "kg"')


def _in_the_clear(v: Visitor) -> None:
    v.edit(v.study, 'sum = "fhe"', 'sum = "clear"')


def _other_purpose(v: Visitor) -> None:
    v.edit(v.hospitals[2], "DUO:0000042", "DUO:0000007")


def _too_few_rows(v: Visitor) -> None:
    table = v.hospitals[2].parent / "data" / "table.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:10]) + "\n")


@pytest.mark.parametrize(
    ("spoil", "code", "named"),
    [
        (_two, "demo.hospitals", "2 hospitals"),
        (_foreign_site, "demo.site_unknown", "z"),
        (_same_site, "demo.site_twice", "a"),
        (_fourth_site, "demo.site_missing", "d"),
        (_no_file, "demo.file", "nothing.toml"),
        (_no_study, "demo.file", "nothing.toml"),
        (_no_table, "source.not_found", "hospital.toml"),
        (_no_column, "source.column", "ALTER"),
        (_unmapped, "demo.columns", "bmi"),
        (_other_unit, "units.dimension", "hospital.toml"),
        (_in_the_clear, "demo.sum", "clear"),
        (_other_purpose, "policy.purpose", "hospital.toml"),
        (_too_few_rows, "disclosure.min_rows", "hospital.toml"),
    ],
)
def test_what_does_not_fit_is_named(
    visitor: Visitor, spoil: Callable[[Visitor], None], code: str, named: str
) -> None:
    spoil(visitor)
    with pytest.raises((Misuse, Refused)) as caught:
        own.check(visitor.study, visitor.hospitals)
    error: Error = caught.value
    assert error.code == code
    assert named in str(error)
    assert error.remedy


def test_hospitals_without_a_study_are_a_mistake(visitor: Visitor) -> None:
    with pytest.raises(Misuse) as caught:
        demo(hospital=visitor.hospitals)
    assert caught.value.code == "demo.study"


def test_a_folder_with_anything_else_in_it_is_left_alone(home: Path) -> None:
    kept = home / "thesis.tex"
    kept.write_text("years of work")
    with pytest.raises(Misuse) as caught:
        prepared(home)
    assert caught.value.code == "demo.folder"
    assert kept.read_text() == "years of work"


def test_the_demos_own_folder_is_used_again(home: Path) -> None:
    folder = prepared(home / "demo")
    (folder / "logs").mkdir()
    (folder / "logs" / "old.log").touch()
    assert [path.name for path in prepared(folder).iterdir()] == [".consilium-demo"]


def test_a_visitors_file_works_from_elsewhere_and_nothing_else_in_it_changes(visitor: Visitor) -> None:
    before = HospitalConfig.load(visitor.hospitals[0])
    peers = [b"\1" * 20, b"\2" * 20]
    after = HospitalConfig.load(hospital_file(before, peers, "auto"))
    assert after.path == before.path.resolve()
    assert after.policy.trusted_addresses == set(peers)
    assert after.policy.approve == "auto"
    assert (after.columns, after.disclosure, after.budget) == (
        before.columns,
        before.disclosure,
        before.budget,
    )
    assert before.policy.approve == "manual"


@pytest.mark.chain
def test_the_line_delays_a_lock_and_nothing_else(chain_url: str) -> None:
    from consent_contracts import abi
    from consent_contracts.laptop import dev_key
    from consent_contracts.sender import MemoryStore, Sender

    ledger = b"\7" * 20
    lock = abi.contract(abi.LEDGER).functions["lock"].selector
    with Line(chain_url, ledger) as line:
        line.delay()
        kept = MemoryStore()
        sender = Sender(Rpc(line.url, timeout=0.5), dev_key(9), kept, timeout=0.6)
        sender.send("plain", ledger, b"\1\2\3\4")  # goes through at once
        assert not line.held.is_set()
        with pytest.raises(Error) as caught:
            sender.send("lock", ledger, lock + bytes(32))
        assert caught.value.code in ("chain.not_mined", "rpc.unreachable")
        assert line.held.is_set()
        name = "0x" + line.transaction.hex()
        assert Rpc(chain_url).call("eth_getTransactionReceipt", name) is None
        line.let_go()
        Sender(line.url, dev_key(9), kept).send("lock", ledger, lock + bytes(32))
        assert Rpc(chain_url).call("eth_getTransactionReceipt", name) is not None


# real processes -------------------------------------------------------------------------------------------


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
    sent = node.call("eth_getTransactionByHash", refusal["transaction"])
    request = {"from": sent["from"], "to": sent["to"], "data": sent["input"]}
    with pytest.raises(Refused) as caught:
        node.call("eth_call", request, receipt["blockNumber"])
    assert caught.value.code == refusal["code"] == "chain.no_live_consent"


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
def test_a_visitors_study_survives_a_killed_demo(visitor: Visitor, home: Path) -> None:
    """SIGKILL leaves no process; the same command runs again over what it left."""
    out, before = home / "demo", processes()
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
