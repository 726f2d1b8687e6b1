"""Writes privacy.json: epsilon of composed Gaussian mechanisms by Google's dp-accounting.

Run where ``dp-accounting==0.6.0`` is installed (it asks for attrs below 24, which our lock does not have, so not here):

    python tests/vectors/make_privacy.py > tests/vectors/privacy.json
"""

from __future__ import annotations

import json
import math
import sys

CASES = [(0.8, 1), (1.0, 1), (1.0, 20), (5.0, 20), (5.0, 200), (20.0, 1), (28.65, 40), (100.0, 1000)]
DELTAS = (1e-3, 1e-6, 1e-10)


def main() -> None:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    orders = [1 + math.exp(t / 100) for t in range(-600, 900)]
    found = []
    for multiplier, rounds in CASES:
        event = dp_accounting.GaussianDpEvent(multiplier)
        rdp, pld = RdpAccountant(orders=orders), PLDAccountant()
        rdp.compose(event, rounds)
        pld.compose(event, rounds)
        for delta in DELTAS:
            found.append(
                {
                    "multiplier": multiplier,
                    "rounds": rounds,
                    "delta": delta,
                    "rdp": float(rdp.get_epsilon(delta)),
                    "pld": float(pld.get_epsilon(delta)),
                }
            )
    json.dump({"library": "dp-accounting 0.6.0", "cases": found}, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
