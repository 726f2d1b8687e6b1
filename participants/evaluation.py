"""How good a model is on a hospital's own rows; computed and kept at home."""

from __future__ import annotations

from analytics.scores import Score, score
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from consilium_errors import Unavailable
from consilium_records import RecordStore
from protos import wire
from protos.consilium.v1 import round_pb2 as pb


def latest_state(store: RecordStore, study: bytes) -> StudyState:
    """The study's state after the last round that this hospital settled.

    Raises:
        Unavailable: ``study.no_state``.
    """
    held = store.slots(study.hex(), "state-")
    if not held:
        raise Unavailable("study.no_state", "this hospital holds no state of the study")
    last = max(held, key=lambda slot: int(slot.removeprefix("state-")))
    return StudyState.from_bytes(wire.parse(pb.StateHandover, held[last]).state)


def score_locally(store: RecordStore, study: bytes, spec: StudySpec, analysis: str, table: Table) -> Score:
    """Accuracy and AUC of one analysis's model on this hospital's rows."""
    return score(spec, analysis, latest_state(store, study), table)
