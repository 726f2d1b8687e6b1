from __future__ import annotations

import pytest

from analytics.registry import advance, build, current, genesis, results
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Misuse, Refused
from tests.analytics import data


def test_a_study_goes_through_its_analyses_in_order(
    breast: StudySpec, finished: StudyState, hospitals: list[Table]
) -> None:
    state, seen = genesis(breast), []
    while (analysis := current(breast, state)) is not None:
        seen.append((analysis.name, analysis.kind, state.position.round))
        state = data.run_round(breast, state, hospitals)
    assert [name for name, _, number in seen if number == 0] == ["scale", "risk", "net"]
    assert [number for name, _, number in seen if name == "net"] == list(range(8))
    assert state.position.total == len(seen)
    assert state.to_bytes() == finished.to_bytes()


def test_everyone_derives_what_comes_next_from_the_state_alone(breast: StudySpec, fitted: StudyState) -> None:
    again = StudyState.from_bytes(fitted.to_bytes())
    spec = StudySpec.from_canonical(breast.canonical())
    analysis, other = current(breast, fitted), current(spec, again)
    assert analysis is not None
    assert other is not None
    assert other.name == analysis.name == "net"
    assert other.layout(spec, again).params_bytes() == analysis.layout(breast, fitted).params_bytes()


def test_results_hold_finished_analyses_only_and_name_their_mode(
    breast: StudySpec, scaled: StudyState, finished: StudyState
) -> None:
    assert list(results(breast, genesis(breast))) == []
    assert list(results(breast, scaled)) == ["scale"]
    done = results(breast, finished)
    assert list(done) == ["scale", "risk", "net"]
    assert all(result["mode"] == "exact" for result in done.values())


def test_genesis_depends_on_the_spec_alone(breast: StudySpec) -> None:
    spec = StudySpec.from_canonical(breast.canonical())
    assert genesis(spec).to_bytes() == genesis(breast).to_bytes()


@pytest.mark.parametrize("parties", [0, 1, 2, 5])
def test_too_few_or_too_many_sites_move_nothing(
    breast: StudySpec, scaled: StudyState, hospitals: list[Table], parties: int
) -> None:
    totals, _ = data.summed(breast, scaled, hospitals)
    with pytest.raises(Refused) as caught:
        advance(breast, scaled, totals, parties)
    assert caught.value.code == "study.too_few_sites"


def test_after_the_last_analysis_nothing_moves(breast: StudySpec, finished: StudyState) -> None:
    assert current(breast, finished) is None
    with pytest.raises(Misuse) as caught:
        advance(breast, finished, {}, 4)
    assert caught.value.code == "study.over"


def test_every_kind_can_be_built_and_keeps_to_its_own_names(breast: StudySpec) -> None:
    lung = StudySpec.load(data.EXAMPLES / "lung" / "study.toml")
    for spec in (breast, lung):
        for entry in spec.analysis:
            analysis = build(spec, entry)
            assert (analysis.name, analysis.kind) == (entry.id, entry.kind)
            mine = set(analysis.begin(StudyState()).arrays) - {"cursor"}
            assert all(name.startswith(f"{entry.id}.") for name in mine)
