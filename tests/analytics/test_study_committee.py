"""[[committee]] and [robust] of a study file."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from analytics import layout as layouts
from analytics import study_committee
from analytics.registry import build, genesis
from analytics.study import StudySpec
from consilium_errors import Misuse
from tests.conftest import tiny_spec
from tests.system.committee import ill_table, robust_spec

KEYS = [base64.b64encode(bytes([i]) * 1216).decode() for i in range(3)]
THREE = "\n".join(
    f'[[committee]]\nname = "m{i}"\norg = "0x{i:040x}"\nhpke = "{key}"\n' for i, key in enumerate(KEYS)
)
NET = '[robust]\nanalyses = ["net"]\n'


def refused(text: str, where: str) -> None:
    with pytest.raises(Misuse) as e:
        robust_spec("tiny", text, THREE)
    assert where in str(e.value)


def test_three_members_are_pinned_with_their_keys() -> None:
    spec = tiny_spec(sum_="mpc", more=THREE)
    assert [m.address for m in spec.committee] == [i.to_bytes(20, "big") for i in range(3)]
    assert spec.committee[1].key == b"\1" * 1216
    assert StudySpec.from_canonical(spec.canonical()) == spec


@pytest.mark.parametrize(
    ("more", "sum_"),
    [
        ("", "mpc"),
        (THREE, "fhe"),
        (THREE.partition('[[committee]]\nname = "m2"')[0], "mpc"),
        (THREE.replace("m1", "m0"), "mpc"),
        (THREE.replace(KEYS[1], KEYS[0]), "mpc"),
        (THREE.replace(KEYS[1], KEYS[1][:-4]), "mpc"),
        (THREE.replace("0x", "0X"), "mpc"),
    ],
)
def test_anything_but_three_different_members_is_no_study(more: str, sum_: str) -> None:
    with pytest.raises(Misuse) as e:
        tiny_spec(sum_=sum_, more=more)
    assert "committee" in str(e.value)


def test_what_robust_may_say() -> None:
    robust_spec("tiny", NET, THREE)
    robust_spec("tiny", NET + 'combine = "trimmed"\ncut = 1', THREE)
    refused(NET + 'combine = "trimmed"', "robust.cut")
    refused(NET + 'combine = "trimmed"\ncut = 2', "robust.cut")
    refused(NET + "cut = 1", "robust.cut")
    refused('[robust]\nanalyses = ["other"]', "robust.analyses")
    with pytest.raises(Misuse) as e:
        tiny_spec(sum_="mpc", more='[robust]\nanalyses = ["m0"]\n' + THREE)
    assert "no L2 bound" in str(e.value)


@pytest.mark.parametrize("seed", range(3))
def test_an_honest_contribution_is_within_its_bound_and_the_largest_is_not(seed: int) -> None:
    spec = robust_spec("tiny", NET, THREE)
    net, state = build(spec, spec.analysis[0]), genesis(spec)
    bits = layouts.value_bits(2, len(spec.sites))
    layout = net.layout(spec, state)
    offsets = np.concatenate([np.full(b.size, b.offset) for b in layout.blocks])
    values = layout.encode(net.local(ill_table(seed)(spec), state), bits).astype(np.int64) - offsets
    bound = study_committee.norm_bound(spec, "net")
    assert bound is not None
    assert int((values * values).sum()) <= bound * bound
    assert int((offsets * offsets).sum()) > bound * bound
    assert study_committee.norm_bound(spec, "other") is None
