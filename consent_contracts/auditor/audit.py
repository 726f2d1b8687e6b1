"""The audit as a whole: an RPC URL and two addresses are enough for the decisions; a bundle adds the content.

It trusts the chain's consensus and this installation's code, nobody else. A bad study raises nothing: each
failed check is an entry. Only a node that is away raises (`Unavailable`).
"""

from __future__ import annotations

from collections.abc import Sequence

from consent_contracts.auditor.content import check_rounds
from consent_contracts.auditor.openings import Arithmetic, ArithmeticOf, check_openings, open_all
from consent_contracts.auditor.replay import Replay
from consent_contracts.auditor.signatures import Signatures
from consent_contracts.auditor.spend import check_spend
from consent_contracts.auditor.verdict import Findings, Verdict, short
from consent_contracts.chain import Addresses, Chain
from consent_contracts.index import Event, Index
from consent_contracts.rpc import Rpc
from consilium_errors import Hostile
from protos import digests, wire
from protos.consilium.v1 import round_pb2 as pb


def audit(
    rpcs: str | Sequence[str | Rpc],
    addresses: Addresses,
    *,
    bundle: bytes | None = None,
    regulator_key: bytes | None = None,
    study: bytes | None = None,
    finality: str | int = "finalized",
    arithmetic: ArithmeticOf | None = None,
) -> Verdict:
    """Repeat every decision of both contracts, and what the bundle shows of one study.

    Args:
        bundle: `Bundle` of round.proto, as a hospital hands it out.
        regulator_key: HPKE secret that opens the bundle's sums and states.
        study: look closely at this study only; default all, or the bundle's.
        arithmetic: default `arithmetic.SpecArithmetic`.

    Raises:
        Unavailable: a node cannot be reached, or has no final block.
    """
    findings = Findings()
    urls = [rpcs] if isinstance(rpcs, str) else list(rpcs)
    chain = Chain(urls, addresses, finality=finality, max_age=None)
    try:
        events = _journal(chain, findings)
        if events is not None:
            _replay(chain, events, findings, bundle, regulator_key, study, arithmetic)
    finally:
        chain.close()
    return findings.verdict()


def _journal(chain: Chain, findings: Findings) -> tuple[Event, ...] | None:
    index = Index(chain)
    with findings.checking("code", "both contracts"):
        chain.check()
    if findings.checks[-1].outcome == "failed":
        return None
    snapshot = findings.attempt("journal", "both contracts", index.sync)
    if snapshot is None:
        return None
    findings.block, findings.events = snapshot.number, len(index.events)
    return index.events


def _replay(
    chain: Chain,
    events: tuple[Event, ...],
    findings: Findings,
    bundle: bytes | None,
    regulator_key: bytes | None,
    study: bytes | None,
    arithmetic: ArithmeticOf | None,
) -> None:
    replay = Replay(chain.addresses, findings, study)
    replay.run(events)
    if not any(c.name == "event" for c in findings.checks):
        findings.passed("events", "both contracts", f"{len(events)} lawful")
    if study is not None and study not in replay.registry.studies:
        findings.failed("study", short(study), "audit.unknown_study", "the chain knows no such study")
        return
    signatures = Signatures(chain.rpcs, chain.addresses, findings)
    for history_of, history in replay.histories.items():
        if replay.wanted(history_of):
            for locking in history.locks:
                signatures.receipts(locking)
            for sealed in history.sealed:
                signatures.seal(sealed)
    if bundle is not None:
        _bundle(bundle, regulator_key, study, replay, findings, arithmetic)


def _bundle(
    data: bytes,
    regulator_key: bytes | None,
    study: bytes | None,
    replay: Replay,
    findings: Findings,
    arithmetic: ArithmeticOf | None,
) -> None:
    message = findings.attempt("bundle", "form", lambda: wire.parse(pb.Bundle, data))
    if message is None:
        return
    named = findings.attempt("bundle", "study", lambda: _study_of(message, study, replay))
    if named is None:
        return
    history = replay.histories.get(named)
    chain = history.sealed if history is not None else []
    spec_hash = replay.registry.studies[named].terms["specHash"]
    plans = check_rounds(message, chain, spec_hash, findings)
    made = findings.attempt("spec", "analyses", lambda: (arithmetic or _real)(message.spec))
    if made is not None:
        check_spend(made, replay.registry.studies[named], history, findings)
    if regulator_key is None:
        findings.skipped("openings", "bundle", "no regulator's key was given")
        return
    openings = findings.attempt("envelope", "bundle", lambda: open_all(message, named, regulator_key))
    if openings is not None and made is not None:
        check_openings(openings, chain, plans, made, findings)


def _study_of(bundle: pb.Bundle, study: bytes | None, replay: Replay) -> bytes:
    """The asked study, or the one that the bundle's spec names.

    Raises:
        Hostile: ``audit.unknown_study``.
    """
    if study is not None:
        return study
    spec_hash = digests.tagged("spec", bundle.spec)
    named = [i for i, s in replay.registry.studies.items() if s.terms["specHash"] == spec_hash]
    if len(named) != 1:
        raise Hostile("audit.unknown_study", f"the bundle's spec names {len(named)} registered studies")
    return named[0]


def _real(spec: bytes) -> Arithmetic:
    from consent_contracts.auditor.arithmetic import SpecArithmetic

    return SpecArithmetic(spec)
