"""Privacy, recomputed: what the study's noise costs, what was booked for it, and what that adds up to.

Nobody can see from a sum that noise was drawn. What can be checked is that each opening was booked at the price
of the noise that the study file asks for, and that all of them together keep its promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from analytics.privacy import Price, added, epsilon_at
from analytics.privacy.accounting import agreed
from consent_contracts.auditor.gate import Study
from consent_contracts.auditor.openings import Arithmetic
from consent_contracts.auditor.replay import History
from consent_contracts.auditor.verdict import Findings, expect
from consilium_errors import Hostile
from protos import digests


def check_spend(arithmetic: Arithmetic, study: Study, history: History | None, findings: Findings) -> None:
    """Entries named ``privacy``; codes ``audit.price``, ``audit.spend``, ``audit.honest``,
    ``audit.overspent``, ``privacy.accountants``."""
    plan = arithmetic.promise
    prices = {digests.analysis_id(name): price for name, price in arithmetic.prices().items()}
    with findings.checking("privacy", "prices", f"{len(prices)} analyses at the price of their noise"):
        for id_, price in prices.items():
            booked = study.price(id_)
            found = None if booked is None else (booked["rho"], booked["delta"], booked["noise"])
            expect("audit.price", "price of an opening", price, found)
    if plan is None or history is None:
        return
    with findings.checking("privacy", "seals", f"{len(history.sealed)} seals with their price"):
        for sealed in history.sealed:
            rho, delta, _ = prices.get(sealed.lock.ctx.analysis, (0, 0, b""))
            expect("audit.spend", "spend of a seal", (rho, delta), (sealed.seal.rho, sealed.seal.delta))
    with findings.checking("privacy", "honest", "as many honest hospitals as the noise counts on"):
        least = study.terms["minSites"] - study.terms["collusion"]
        expect(
            "audit.honest",
            "honest hospitals",
            [n.honest for n in plan.noises.values()],
            [least] * len(prices),
        )
    charged, spent = _spent(history, prices)
    openings = f"{charged} opening" + ("s" if charged != 1 else "")
    total = added(spent.items())
    says = f"{openings}: epsilon {epsilon_at(total, plan.delta)} at delta {plan.delta:f}"
    with findings.checking("privacy", "promise", says):
        if not total.within(plan.total):
            raise Hostile("audit.overspent", f"{says}, promised was epsilon {plan.epsilon:f}")
    with findings.checking(
        "privacy", "accountants", "dp-accounting composes the openings to the same epsilon"
    ):
        agreed(spent.items(), plan.delta)


def _spent(
    history: History, prices: Mapping[bytes, tuple[int, int, bytes]]
) -> tuple[int, Mapping[Price, int]]:
    """Charged openings, and how often at which price the dataset that was used most was opened."""
    charged = [x.lock for x in history.locks if x.lock.event.args["charged"]]
    by_dataset: dict[bytes, Counter[Price]] = {}
    for lock in charged:
        rho, delta, _ = prices.get(lock.ctx.analysis, (0, 0, b""))
        for use in lock.uses:
            by_dataset.setdefault(use.dataset, Counter())[Price(rho, delta)] += 1
    return len(charged), max(by_dataset.values(), key=lambda its: added(its.items()).rho, default=Counter())
