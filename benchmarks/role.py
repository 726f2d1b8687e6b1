"""A hospital's process whose updates are made rather than trained: ``python -m benchmarks.role --kit folder``.

Everything else is the product: `deploy.hospital_process` with this one part exchanged. Before each update it works
for ``--work-s`` seconds of processor time in one torch thread, as training would.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from analytics.study import StudySpec
from benchmarks.council import MadeAnalyst
from deploy import hospital, hospital_process
from deploy.kit import HospitalKit
from participants.analyst import SpecAnalyst
from participants.hospital import Hospital
from participants.ports import ports_for
from participants.round import Ports
from participants.round.words import Contribution


class WorkingAnalyst(MadeAnalyst):
    """Args: ``work_s``: processor seconds before each update."""

    def __init__(self, spec: StudySpec, work_s: float) -> None:
        super().__init__(spec)
        self._work_s = work_s

    def contribute(self, state: bytes) -> Contribution:
        work(self._work_s)
        return super().contribute(state)


def work(seconds: float) -> None:
    """Matrix products in this thread for so many seconds of its own processor time."""
    if seconds <= 0:
        return
    import torch

    torch.set_num_threads(1)
    a = torch.rand(256, 256)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        a = torch.nn.functional.normalize(a @ a)


def _ports(name: str, analyst: SpecAnalyst, *, work_s: float) -> Ports:
    return ports_for(name, WorkingAnalyst(analyst._spec, work_s))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.role")
    parser.add_argument("--kit", type=Path, required=True)
    parser.add_argument("--work-s", type=float, default=0.0)
    options = parser.parse_args(argv)
    made = partial(Hospital, ports=partial(_ports, work_s=options.work_s))
    setattr(hospital, "Hospital", made)  # noqa: B010
    hospital_process.serve(HospitalKit.load(options.kit))


if __name__ == "__main__":
    main()
