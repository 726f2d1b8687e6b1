"""What differential privacy costs in time: drawing noise, solving a study for it, simulating the loss.

python -m benchmarks.noise [--json]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from analytics.privacy import plan_of
from analytics.privacy.simulation import losses
from analytics.study import StudySpec
from benchmarks.report import Measure, publish
from crypto import privacy

VALUES = 100_000
SIGMA = 5_000_000
STUDY = Path(__file__).parents[1] / "examples" / "breast_cancer" / "study.toml"
PROMISE = '[privacy]\nepsilon = "4"\ndelta = "0.000001"\nclip = "1"\n\n[cohort]'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    privacy.discrete_gaussian(SIGMA, 1)  # the library is loaded
    draw = _seconds(lambda: privacy.discrete_gaussian(SIGMA, VALUES))
    spec = _private()
    solve = _seconds(lambda: plan_of(spec))
    simulate = _seconds(lambda: losses(spec, 150))
    publish(
        [
            Measure("draw_cpu", 1e6 * draw / VALUES, "µs/value"),
            Measure("solve_cpu", solve, "s"),
            Measure("simulate_cpu", simulate, "s"),
        ],
        as_json=asked.json,
        title="differential privacy",
        goals={"simulate_cpu": 10.0},
    )


def _seconds(work: Callable[[], object]) -> float:
    """Of processor time, over all threads: OpenDP keeps every core busy."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _private() -> StudySpec:
    """The example's means and network, with noise."""
    text = STUDY.read_text().replace('mode = "exact"', 'mode = "dp"').replace("[cohort]", PROMISE)
    head, *analyses = text.split("[[analysis]]")
    kept = [a for a in analyses if 'kind = "moments"' in a or 'kind = "network"' in a]
    kept = [a.replace("epochs = ", "epochs = 1 # ") for a in kept]
    return StudySpec.load("[[analysis]]".join([head, *kept]))


if __name__ == "__main__":
    main()
