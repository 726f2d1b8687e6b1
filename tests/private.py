"""Small studies under differential privacy."""

from __future__ import annotations

import numpy as np

from analytics import registry
from analytics.state import StudyState
from analytics.study import StudySpec
from analytics.table import Table
from crypto.privacy import discrete_gaussian

STUDY = """
schema = "consilium.study/1"
id = "{id}"
protocol = {{ ethics = "TEST-1", plan_sha256 = "{plan}" }}
purpose = {{ duo = "DUO:0000042", commercial = false }}
sites = [{sites}]
min_sites = {min_sites}
collusion = {collusion}
sum = "fhe"
window_s = 60
row_cap = {row_cap}
[release]
mode = "dp"
recipient = "sponsor-key-1"
[privacy]
epsilon = "{epsilon}"
delta = "0.000001"
clip = "1"
{shares}
[cohort]
max_missing = "0.10"
[variables]
age = {{ kind = "number", unit = "a", range = [0, 120], centre = 60, scale = 10 }}
bmi = {{ kind = "number", unit = "kg/m2", range = [0, 80], centre = 25, scale = 5 }}
ill = {{ kind = "event" }}
{analyses}
"""
MOMENTS = '[[analysis]]\nid = "table1"\nkind = "moments"\ncolumns = ["age", "bmi"]\n'
NETWORK = (
    '[[analysis]]\nid = "net"\nkind = "network"\noutcome = "ill"\nterms = ["age", "bmi"]\n'
    'hidden = [{hidden}]\nactivation = "tanh"\nrounds = {rounds}\nrate = "{rate}"\n'
)


def private_text(
    name: str = "private",
    *,
    sites: str = "abcd",
    epsilon: str = "4",
    rounds: int = 0,
    hidden: str = "4",
    rate: str = "1",
    shares: str = "",
    moments: bool = True,
    min_sites: int = 3,
    collusion: int = 1,
    row_cap: int = 1000,
) -> str:
    analyses = MOMENTS if moments else ""
    if rounds:
        analyses += NETWORK.format(hidden=hidden, rounds=rounds, rate=rate)
        analyses += 'standardise = "table1"\n' if moments else ""
    return STUDY.format(
        id=name,
        plan="0" * 64,
        sites=", ".join(f'"{s}"' for s in sites),
        min_sites=min_sites,
        collusion=collusion,
        row_cap=row_cap,
        epsilon=epsilon,
        shares=shares,
        analyses=analyses,
    )


def private_spec(name: str = "private", **terms: object) -> StudySpec:
    return StudySpec.load(private_text(name, **terms))  # type: ignore[arg-type]


def patients(seed: int, n: int = 40) -> Table:
    """Seeded patients of one hospital; illness comes with age."""
    rng = np.random.default_rng(seed)
    age, bmi = rng.uniform(20, 90, n), rng.uniform(18, 40, n)
    ill = (rng.random(n) < 1 / (1 + np.exp(-(age - 55) / 8))).astype(np.int64)
    return Table({"age": age, "bmi": bmi}, {"ill": ill}, n)


def open_round(spec: StudySpec, state: StudyState, tables: list[Table], *, noise: bool = True) -> StudyState:
    """One round without the cipher: exact sums of the integers, with each hospital's share unless told otherwise."""
    analysis = registry.current(spec, state)
    assert analysis is not None
    layout = analysis.layout(spec, state)
    found = [analysis.local(table, state) for table in tables]
    from analytics.privacy import noise_of

    totals = {}
    for block in layout.blocks:
        total = np.sum([np.asarray(x[block.name]) for x in found], axis=0)
        if noise:
            sigma = noise_of(spec, analysis.name).sigma
            total = total + sum(discrete_gaussian(sigma, block.size).reshape(block.shape) for _ in tables)
        totals[block.name] = total
    return registry.advance(spec, state, totals, len(tables))


def run(spec: StudySpec, tables: list[Table], *, noise: bool = True) -> StudyState:
    state = registry.genesis(spec)
    while registry.current(spec, state) is not None:
        state = open_round(spec, state, tables, noise=noise)
    return state
