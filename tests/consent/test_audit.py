"""The auditor on a real chain: it accepts honest studies, and names what is wrong with others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from consent_contracts import abi
from consent_contracts.auditor import Verdict, audit, explain
from consent_contracts.laptop import Anvil
from consilium_errors import Hostile, Unavailable
from crypto.identity import AgentKey
from protos import digests
from tests.consent.nodes import LyingProxy
from tests.consent.world import World, h

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def busy(world: World) -> bytes:
    """Everything lawful that can happen, in exact mode and under DP."""
    exact, dp = world.granted(), world.granted(mode=digests.DP, window=1)
    world.run(exact, "a", "a", "b")
    retried = world.plan(exact, analysis="b", attempt=1)
    world.lock(retried)
    again = world.plan(exact, analysis="b", attempt=2)
    world.lock(again)
    world.coordinator.abandon(exact, again.lock_id)
    third = world.plan(exact, analysis="b", attempt=3)
    world.lock(third)
    rotated = world.hospitals[1]
    rotated.agent = AgentKey.generate()
    rotated.contracts.set_agent(rotated.agent.address)
    world.attest(third)
    changing = world.granted()
    for hospitals in (world.hospitals, world.hospitals[1:]):
        round_ = world.plan(changing, hospitals=hospitals, leave=True)
        world.lock(round_)
        world.attest(round_)
    world.run(dp, "a")
    world.lock(world.plan(dp))
    smaller = world.plan(dp, hospitals=world.hospitals[1:], release=2, attempt=2)
    world.lock(smaller)
    world.attest(smaller)
    late = world.plan(dp)
    world.lock(late)
    world.rpc.call("evm_increaseTime", 2)
    world.rpc.call("evm_mine")
    world.attest(late, absent=1)
    dead = world.plan(dp)
    world.lock(dead)
    world.coordinator.recover(dp, dead.lock_id, dead.orgs[0])
    again = world.plan(dp, attempt=2)
    world.lock(again)
    world.regulator.recover(dp, again.lock_id, again.orgs[3])
    world.attest(again)
    world.revoke(world.hospitals[2], exact)
    world.regulator.pause()
    world.governor.unpause()
    world.regulator.revoke_role("HOSPITAL", world.hospitals[3].org)
    world.governor.grant_role("HOSPITAL", world.hospitals[3].org)
    world.coordinator.sender.send(
        "head", world.addresses.ledger, abi.contract(abi.LEDGER).encode("head(bytes32)", exact)
    )
    world.sponsor.close_study(exact)
    return exact


def test_an_honest_chain_passes(world: World, busy: bytes) -> None:
    verdict = audit([world.url, world.url], world.addresses)
    assert not verdict.failed, verdict.failed
    verdict.verify()
    assert (verdict.locks, verdict.seals) == (14, 10)
    assert verdict.signatures == (6 * 4 + 4 + 3 + 4 + 4 + 3 + 4 + 4 + 4) + (4 * 4 + 4 + 3 + 4 + 3 + 3 + 4)
    assert [c.outcome for c in verdict.checks if c.name == "recovery"] == ["passed", "passed"]
    one = audit(world.url, world.addresses, study=busy)
    assert not one.failed
    assert (one.locks, one.seals) == (6, 4)


def test_an_unknown_study_fails(world: World, busy: bytes) -> None:
    verdict = audit(world.url, world.addresses, study=h("no such"))
    assert [c.code for c in verdict.failed] == ["audit.unknown_study"]
    with pytest.raises(Hostile) as caught:
        verdict.verify()
    assert caught.value.code == "audit.unknown_study"


def test_nothing_checked_is_no_verdict() -> None:
    with pytest.raises(Hostile):
        Verdict(()).verify()


def test_wrong_code_is_an_entry_and_an_absent_node_is_not(world: World) -> None:
    foreign = replace(world.addresses, ledger=world.addresses.registry)
    assert [c.code for c in audit(world.url, foreign).failed] == ["chain.wrong_code"]
    assert [c.code for c in audit(world.url, replace(world.addresses, chain_id=1)).failed] == [
        "chain.wrong_id"
    ]
    with pytest.raises(Unavailable):
        audit("http://127.0.0.1:1", world.addresses)


def call_of(result: Any, function: str) -> dict[str, Any] | None:
    signature = abi.contract(abi.LEDGER).functions[function]
    if not result or not result["input"].startswith("0x" + signature.selector.hex()):
        return None
    return signature.named(bytes.fromhex(result["input"][2:]))


def altered(function: str, change: Callable[[dict[str, Any]], None]) -> Callable[..., Any]:
    """A node that shows other calldata than was sent."""

    def lie(method: str, params: list[Any], result: Any) -> Any:
        call = call_of(result, function) if method == "eth_getTransactionByHash" else None
        if call is None:
            return result
        change(call)
        data = abi.contract(abi.LEDGER).encode(function, *call.values())
        return {**result, "input": "0x" + data.hex()}

    return lie


def flip_signature(call: dict[str, Any]) -> None:
    first, *rest = call["sigs"]
    call["sigs"] = (first[:40] + bytes([first[40] ^ 1]) + first[41:], *rest)


def swap_signatures(call: dict[str, Any]) -> None:
    a, b, *rest = call["sigs"]
    call["sigs"] = (b, a, *rest)


def drop_signature(call: dict[str, Any]) -> None:
    call["sigs"] = (b"", *call["sigs"][1:])


def drop_last(call: dict[str, Any]) -> None:
    call["sigs"] = call["sigs"][:-1]


@pytest.mark.parametrize("function", ["lock", "attest"])
@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (flip_signature, {"signature.wrong_signer", "signature.malformed"}),
        (swap_signatures, {"signature.wrong_signer"}),
        (drop_signature, {"signature.malformed", "audit.absent"}),
        (drop_last, {"audit.signatures"}),
    ],
)
def test_a_bad_signature_is_named(
    world: World, busy: bytes, function: str, change: Callable[[dict[str, Any]], None], codes: set[str]
) -> None:
    with LyingProxy(world.url, altered(function, change)) as proxy:
        verdict = audit(proxy.url, world.addresses, study=busy)
    failed = {"lock": "receipts", "attest": "signatures"}[function]
    assert {c.name for c in verdict.failed} == {failed}
    assert {c.code for c in verdict.failed} <= codes
    assert len(verdict.failed) == (verdict.locks if function == "lock" else verdict.seals)


def test_a_withheld_transaction_is_no_proof(world: World, busy: bytes) -> None:
    def lie(method: str, params: list[Any], result: Any) -> Any:
        return None if method == "eth_getTransactionByHash" else result

    with LyingProxy(world.url, lie) as proxy:
        verdict = audit(proxy.url, world.addresses, study=busy)
        assert {c.code for c in verdict.failed} == {"audit.no_calldata"}
        assert not audit([proxy.url, world.url], world.addresses, study=busy).failed


def test_another_transaction_is_no_proof(world: World, busy: bytes) -> None:
    seen: list[Any] = []

    def lie(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getTransactionByHash":
            return result
        seen.append(result)
        return seen[0]

    with LyingProxy(world.url, lie) as proxy:
        verdict = audit(proxy.url, world.addresses, study=busy)
    assert {c.code for c in verdict.failed} <= {
        "audit.calldata",
        "abi.selector",
        "signature.wrong_signer",
        "audit.signatures",
    }
    assert len(verdict.failed) == verdict.locks + verdict.seals - 1


def test_dropped_logs_are_an_entry(world: World, busy: bytes) -> None:
    def lie(method: str, params: list[Any], result: Any) -> Any:
        return result[:-1] if method == "eth_getLogs" else result

    with LyingProxy(world.url, lie) as proxy:
        assert [c.code for c in audit(proxy.url, world.addresses).failed] == ["index.gap"]
        two = audit([world.url, proxy.url], world.addresses)
        assert [c.code for c in two.failed] == ["chain.rpcs_disagree"]


def test_an_entry_moved_before_a_free_lock_is_seen(anvil: Anvil) -> None:
    """Neither journal covers its order with the other; the place that the lock names does."""
    world = World(anvil)
    study = world.granted()
    world.run(study, "a", "a")
    world.hospitals[0].contracts.set_budget(world.hospitals[0].dataset, 1, 1, 20)
    assert not audit(world.url, world.addresses).failed
    locked = (
        "0x" + next(s for s in abi.contract(abi.LEDGER).events.values() if s.name == "Locked").digest.hex()
    )

    def lie(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs" or not result:
            return result
        *logs, budget = result
        i = max(i for i, log in enumerate(logs) if log["topics"][0] == locked)
        assert int(logs[i]["logIndex"], 16) == 0  # free: the first log of its transaction
        moved = {**budget, **{k: logs[i][k] for k in ("blockNumber", "blockHash", "logIndex")}}
        return [*logs[:i], moved, {**logs[i], "logIndex": "0x1"}, *logs[i + 1 :]]

    with LyingProxy(world.url, lie) as proxy:
        (found,) = audit(proxy.url, world.addresses).failed
    assert (found.name, found.code) == ("gate", "audit.gate")
    assert found.detail.startswith("journal: expected")


def test_a_verdict_reads_well(world: World, busy: bytes) -> None:
    console = Console(width=100, record=True, color_system=None)
    console.print(explain(audit(world.url, world.addresses)))
    text = console.export_text()
    assert "verified" in text
    assert "10 seals, 14 locks" in text
    assert "each hospital whose part was recovered had had its time" in text
    console.print(explain(audit(world.url, world.addresses, study=h("[red]"))))
    text = console.export_text()
    assert "REFUSED" in text
    assert "audit.unknown_study" in text


def test_a_contract_made_with_hidden_state_is_found(anvil: Anvil) -> None:
    """Right code, but a role that no event ever gave: only the replay can see it."""
    world = World(anvil)
    study = world.granted()
    slot_zero = bytes(32)
    stranger = world.writer(17)
    role = abi.contract(abi.REGISTRY)
    # OpenZeppelin keeps _roles[role].hasRole[account]; find the mapping's slot by trying.
    from eth_hash.auto import keccak

    regulator = keccak(b"REGULATOR")
    account = stranger.sender.address.rjust(32, slot_zero[:1])
    for base in range(32):
        outer = keccak(regulator + base.to_bytes(32, "big"))
        slot = keccak(account + outer)
        world.rpc.call(
            "anvil_setStorageAt",
            "0x" + world.addresses.registry.hex(),
            "0x" + slot.hex(),
            "0x" + "00" * 31 + "01",
        )
        answer = world.rpc.eth_call(
            world.addresses.registry, role.encode("hasRole", regulator, stranger.sender.address)
        )
        if any(answer):
            break
        world.rpc.call(
            "anvil_setStorageAt", "0x" + world.addresses.registry.hex(), "0x" + slot.hex(), "0x" + "00" * 32
        )
    stranger.revoke(world.hospitals[0].dataset, study)
    stranger.pause()
    verdict = audit(world.url, world.addresses)
    assert [c.code for c in verdict.failed] == ["audit.event"]
    assert "not by the regulator" in verdict.failed[0].detail
