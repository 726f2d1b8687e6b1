"""Differential privacy of a study: what it promises, the noise that keeps the promise, and what it costs.

The unit is a patient, who has one row. Two cohorts are neighbours when they differ in one patient: present or
absent, or with another row. The promise is (epsilon, delta) for all that a study ever opens together. It is
booked as concentrated differential privacy (zCDP), which adds up over rounds, releases and studies.

`zcdp` has the theorems, `plan` solves a study for its noise, `simulation` shows what that does to the
answers, `accounting` asks dp-accounting what it adds up to, `words` says it to people. Sampling is `crypto.privacy`.
"""

from analytics.privacy.plan import Noise, Plan, Query, label, noise_of, plan_of, terms_of
from analytics.privacy.price import NOTHING, Price, added, cap, epsilon_at

__all__ = [
    "NOTHING",
    "Noise",
    "Plan",
    "Price",
    "Query",
    "added",
    "cap",
    "epsilon_at",
    "label",
    "noise_of",
    "plan_of",
    "terms_of",
]
