"""Histories that no honest contract writes.

An honest history is read from a chain once; each test breaks one rule in it and replays it through the auditor's
model. So a contract with such a fault (or a mutant of the model without the rule) is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from eth_hash.auto import keccak

from consent_contracts import abi
from consent_contracts.auditor.replay import Replay
from consent_contracts.auditor.verdict import Findings
from consent_contracts.index import Event
from tests.consent.world import World

Change = Callable[["Story"], Any]
STRANGER = b"\x99" * 20


class Story:
    """A history that can be rewritten. ``locks`` and ``seals`` count from 0 over both studies (exact, then dp)."""

    def __init__(self, world: World, events: tuple[Event, ...], exact: bytes, dp: bytes) -> None:
        self.world, self.events, self.exact, self.dp = world, list(events), exact, dp

    def at(self, name: str, nth: int = 0, **match: Any) -> int:
        found = [
            i
            for i, e in enumerate(self.events)
            if e.name == name and all(e.args[k] == v for k, v in match.items())
        ]
        return found[nth]

    def edit(self, name: str, nth: int = 0, **args: Any) -> None:
        i = self.at(name, nth)
        self.events[i] = replace(self.events[i], args={**self.events[i].args, **args})

    def edit_in(self, name: str, key: str, nth: int = 0, **args: Any) -> None:
        self.edit(name, nth, **{key: {**self.events[self.at(name, nth)].args[key], **args}})

    def before(
        self, name: str, new: str, args: dict[str, Any], nth: int = 0, contract: str = abi.REGISTRY
    ) -> None:
        """Insert an event before the nth ``name``."""
        i = self.at(name, nth)
        self.events.insert(i, replace(self.events[i], contract=contract, name=new, args=args))

    def drop(self, name: str, nth: int = 0) -> None:
        del self.events[self.at(name, nth)]

    def broken(self) -> str:
        findings = Findings()
        Replay(self.world.addresses, findings, None).run(self.events)
        return "; ".join(c.detail for c in findings.checks if c.outcome == "failed")


def role(name: str) -> bytes:
    return keccak(name.encode())


def dataset(s: Story, i: int = 0) -> bytes:
    return s.world.hospitals[i].dataset


def revoked(s: Story) -> dict[str, Any]:
    return {"dataset": dataset(s), "study": s.exact, "epoch": 2, "by": s.world.hospitals[0].org}


def granted(s: Story, **args: Any) -> None:
    """Rewrite the first grant for the exact study."""
    i = s.at("ConsentGranted", study=s.exact)
    s.events[i] = replace(s.events[i], args={**s.events[i].args, **args})


def terms(s: Story, **args: Any) -> None:
    i = s.at("StudyRegistered", study=s.exact)
    s.events[i] = replace(
        s.events[i], args={**s.events[i].args, "terms": {**s.events[i].args["terms"], **args}}
    )


def price(**args: Any) -> Change:
    def change(s: Story) -> None:
        old = s.events[s.at("StudyRegistered", study=s.exact)].args["terms"]["analyses"]
        terms(s, analyses=({**old[0], **args}, *old[1:]))

    return change


def suspended(s: Story, what: str = "HOSPITAL", who: bytes | None = None) -> dict[str, Any]:
    account = s.world.hospitals[0].org if who is None else who
    return {"role": role(what), "account": account, "granted": False}


def use(s: Story, nth: int = 0, **args: Any) -> None:
    first, *rest = s.events[s.at("Locked", nth)].args["uses"]
    s.edit("Locked", nth, uses=({**first, **args}, *rest))


def again(s: Story, nth: int, **args: Any) -> None:
    """The nth lock, which was charged, once more, right after itself; if charged, with its entry in the registry."""
    i = s.at("Locked", nth)
    entry, locked = s.events[i - 1], s.events[i]
    assert entry.name == "Charged"
    ctx = {**locked.args["ctx"], **args.pop("ctx", {})}
    copy = replace(locked, args={**locked.args, "ctx": ctx, **args})
    s.events[i + 1 : i + 1] = [entry, copy] if copy.args["charged"] else [copy]


def recovered(s: Story, nth: int, **args: Any) -> None:
    """One hospital of the nth lock recovered, lawfully but for ``args``, right after that lock."""
    i = s.at("Locked", nth)
    locked = s.events[i]
    study = locked.args["study"]
    terms = s.events[s.at("StudyRegistered", study=study)].args["terms"]
    lawful = {
        "study": study,
        "lockId": locked.args["lockId"],
        "org": locked.args["orgs"][0],
        "by": s.world.coordinator.sender.address,
        "time": locked.args["time"] + terms["window"] // 2,
    }
    s.events.insert(i + 1, replace(locked, name="Recovered", args={**lawful, **args}))


def abandoned(s: Story, nth: int) -> None:
    """The nth lock, right after itself."""
    i = s.at("Locked", nth)
    args = {k: s.events[i].args[k] for k in ("study", "lockId")}
    args["by"] = s.world.sponsor.sender.address
    s.events.insert(i + 1, replace(s.events[i], name="Abandoned", args=args))


def smaller(s: Story, nth: int) -> dict[str, Any]:
    """The nth lock's lists without their first hospital."""
    args = s.events[s.at("Locked", nth)].args
    out = args["orgs"][0]
    gone = next(x.dataset for x in s.world.hospitals if x.org == out)
    return {
        "orgs": args["orgs"][1:],
        "uploadHashes": args["uploadHashes"][1:],
        "uses": tuple(u for u in args["uses"] if u["dataset"] != gone),
    }


def leaving(uses: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    return tuple({**u, "leaveSiteOut": True} for u in uses)
