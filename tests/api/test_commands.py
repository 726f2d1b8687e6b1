"""The `consilium study` and `consilium audit` commands, from kits, against the real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analytics.study import StudySpec
from consilium_errors import Misuse
from coordinator.client import Kit, Phase
from deploy.cli import app
from tests.api.stand import SITES, Stand
from tests.conftest import TINY
from tests.private import private_text

RUNNER = CliRunner()


def consilium(*words: object) -> Result:
    return RUNNER.invoke(app, [str(w) for w in words])


def said(*words: object) -> str:
    result = consilium(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*words: object) -> str:
    result = consilium(*words)
    assert isinstance(result.exception, Exception)
    return str(getattr(result.exception, "code", result.exception))


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    moments = '[[analysis]]\nid = "means"\nkind = "moments"\ncolumns = ["age", "bmi"]\n'
    sites = ", ".join(f'"{s}"' for s in SITES)
    text = TINY.format(
        id="by-command", plan="0" * 64, sites=sites, sum="clear", window=60, more="", analyses=moments
    )
    path.write_text(text)
    return path


def test_a_new_study_file_is_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    said("study", "new", path)
    assert "1 analyses over 3 sites" in said("study", "check", path)
    path.write_text("mine")
    assert refused("study", "new", path) == "study.exists"
    assert path.read_text() == "mine"
    assert refused("study", "check", path) == "study.invalid"


def test_a_study_with_noise_is_checked_with_its_promise_and_its_loss(tmp_path: Path) -> None:
    path = tmp_path / "private.toml"
    path.write_text(private_text(rounds=3, epsilon="2"))
    text = said("study", "check", path, "--rows", "40")
    for words in (
        "every patient is promised epsilon 2 at delta 0.000001",
        "noise multiplier ",
        "all rounds together: epsilon 2.000 at delta 0.000001",
        "on made-up patients, 40 in each hospital",
        "net: ranks ",
    ):
        assert words in text


def test_a_study_by_command(stand: Stand, study_file: Path, tmp_path: Path) -> None:
    kit = ("--kit", stand.kit())
    out = said("study", "submit", study_file, *kit)
    study = bytes.fromhex(out.split("0x")[1].split()[0])
    spec = StudySpec.load(study_file)
    assert "awaiting" in said("study", "list", *kit)
    for name in SITES:
        stand.consent(study, spec, name)
    handle = stand.client().study(study)
    stand.wait(lambda: handle.get().releases == len(SITES))

    for name in (study_file, "by-command", study.hex()[:8], "0x" + study.hex()):
        watched = said("study", "watch", name, *kit)
        assert "sealed by 4 of 4" in watched
        assert "finished  1 seals" in watched
    result = tmp_path / "result.json"
    said("study", "result", study_file, "--out", result, *kit)
    assert json.loads(result.read_text())["means"]["n"] == 160

    regulator = ("--kit", stand.kit("regulator"))
    assert "by-command" in said("audit", "list", *regulator)
    assert "sealed by 4 of 4" in said("audit", "seals", "by-command", *regulator)
    assert "0 checks failed" in said("audit", "verdict", "0x" + study.hex(), *regulator)
    bundle = tmp_path / "public.bundle"
    said("audit", "fetch", "0x" + study.hex(), bundle, *regulator)
    said("audit", "verify", "--bundle", bundle, *regulator)
    tampered = bytearray(bundle.read_bytes())
    tampered[-5] ^= 1
    bundle.write_bytes(tampered)
    assert refused("audit", "verify", "--bundle", bundle, *regulator) != "0"


def test_cancel_closes_on_the_chain(stand: Stand, study_file: Path) -> None:
    study_file.write_text(study_file.read_text().replace("by-command", "by-cancel"))
    kit = ("--kit", stand.kit())
    study = bytes.fromhex(said("study", "submit", study_file, "--no-start", *kit).split("0x")[1].split()[0])
    said("study", "start", "by-cancel", *kit)
    assert "closed on the chain" in said("study", "cancel", "by-cancel", *kit)
    stand.wait(lambda: stand.client().get(study).phase is Phase.CLOSED)
    assert "by-cancel  closed" in said("study", "watch", study.hex()[:8], *kit)


def test_names_that_do_not_name_one(stand: Stand) -> None:
    kit = ("--kit", stand.kit())
    assert refused("study", "watch", "nothing-like-it", *kit) == "study.unknown"
    assert refused("study", "watch", "", *kit) == "study.unknown"


def test_kits_that_are_none(stand: Stand, tmp_path: Path) -> None:
    assert refused("study", "list", "--kit", tmp_path) == "kit.missing"
    (tmp_path / "consilium.toml").write_text("not toml")
    assert refused("study", "list", "--kit", tmp_path) == "kit.invalid"
    good = (stand.kit() / "consilium.toml").read_text()
    (tmp_path / "consilium.toml").write_text(good.replace("0x", "0y", 1))
    with pytest.raises(Misuse, match="organisation") as caught:
        Kit.load(tmp_path)
    assert caught.value.remedy
    (tmp_path / "consilium.toml").write_text(good)
    assert refused("study", "list", "--kit", tmp_path) in ("kit.no_key", "certificate.missing")


def test_a_readable_key_is_not_used(stand: Stand) -> None:
    kit = stand.kit()
    (kit / "hpke.key").chmod(0o644)
    try:
        assert refused("study", "list", "--kit", kit) == "key_file.permissions"
    finally:
        (kit / "hpke.key").chmod(0o600)
