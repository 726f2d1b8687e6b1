from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from consent_contracts import abi
from consent_contracts.chain import CACHE_SECONDS, Chain, check_code
from consent_contracts.contracts import sign_grant, sign_revoke
from consent_contracts.laptop import Anvil, dev_key
from consent_contracts.proxy import Proxy
from consent_contracts.rpc import Rpc
from consent_contracts.snapshot import MOST_AT_ONCE
from consilium_errors import Error, Hostile, Misuse, Refused, Unavailable
from crypto.identity import AgentKey
from protos import digests
from tests.consent.nodes import LyingProxy
from tests.consent.world import DELTA, RHO, World, h

pytestmark = pytest.mark.chain


def code_of(call: Callable[[], object], kind: type[Error]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def test_views_are_what_was_written(world: World) -> None:
    study, chain = world.study(mode=digests.DP), world.chain()
    view = chain.study(study)
    assert view.roster == tuple(x.org for x in world.hospitals)
    assert view.analyses == (digests.analysis_id("a"), digests.analysis_id("b"))
    assert (view.mode, view.min_sites, view.collusion, view.window, view.closed) == (2, 3, 1, 600, False)
    assert view.sponsor == world.sponsor.sender.address
    assert chain.analysis(study, view.analyses[0]).rho == RHO
    hospital, other = world.hospitals[:2]
    world.grant(hospital, study)
    chain.refresh()
    live, none = chain.snapshot().gate(study, [hospital.dataset, other.dataset])
    assert (live.status, live.reason, live.epoch, live.version) == (0, "live", 1, 1)
    assert (live.rho_left, live.delta_left, live.exact_left) == (10**9, 10**12, 20)
    assert (none.reason, none.steward) == ("no_consent", other.org)
    assert chain.agents([hospital.org, b"\1" * 20]) == {hospital.org: hospital.agent.address}
    assert chain.head(study).lock is None
    assert code_of(lambda: chain.study(h("?")), Refused) == "chain.unknown"


def test_a_round_shows_in_the_head(world: World) -> None:
    study, chain = world.granted(mode=digests.DP), world.chain()
    round_ = world.plan(study)
    world.lock(round_)
    chain.refresh()
    head = chain.head(study)
    assert head.lock is not None
    assert head.lock.lock_id == round_.lock_id
    assert (head.attested, head.tip, head.state_commit) == (0, bytes(32), bytes(32))
    assert (head.lock.round, head.lock.release, head.lock.attempt) == (1, 1, 1)
    assert chain.gate(study, [round_.uses[0].dataset])[0].rho_left == 10**9 - RHO
    assert chain.gate(study, [round_.uses[0].dataset])[0].delta_left == 10**12 - DELTA
    seal_id = world.attest(round_)
    chain.refresh()
    head = chain.head(study)
    assert (head.attested, head.tip, head.state_commit, head.lock) == (1, seal_id, h("state 1"), None)
    second = world.plan(study)
    world.lock(second)
    world.coordinator.abandon(study, second.lock_id)
    chain.refresh()
    lock = chain.head(study).lock
    assert lock is not None
    assert lock.abandoned


def test_a_recovery_shows_in_the_head(world: World) -> None:
    study, chain = world.granted(mode=digests.DP, window=1), world.chain()
    round_ = world.plan(study)
    world.lock(round_)
    first, second = round_.orgs[2], round_.orgs[0]
    sent = [world.coordinator.recover(study, round_.lock_id, org) for org in (first, second, first)]
    assert sent[2] == sent[0] != sent[1]  # the same effect is sent once
    chain.refresh()
    lock = chain.head(study).lock
    assert lock is not None
    assert (lock.recovered, lock.abandoned) == ((first, second), False)
    for refused, code in (
        (lambda: world.sponsor.recover(study, round_.lock_id, first), "chain.already_recovered"),
        (lambda: world.coordinator.recover(study, round_.lock_id, b"\7" * 20), "chain.not_on_roster"),
        (lambda: world.coordinator.recover(study, h("x"), second), "chain.not_locked"),
        (lambda: world.coordinator.abandon(study, round_.lock_id), "chain.recovering"),
        (lambda: world.lock(world.plan(study, attempt=2, release=2, inputs="x")), "chain.recovering"),
    ):
        assert code_of(refused, Refused) == code
    again = world.plan(study, attempt=2)
    world.lock(again)
    chain.refresh()
    lock = chain.head(study).lock
    assert lock is not None
    assert (lock.lock_id, lock.recovered) == (again.lock_id, ())
    world.attest(again)
    chain.refresh()
    assert chain.head(study).lock is None


def test_a_recovery_waits_for_half_of_the_window(world: World) -> None:
    study = world.granted(window=600)
    round_ = world.plan(study)
    world.lock(round_)
    early = partial(world.coordinator.recover, study, round_.lock_id, round_.orgs[0])
    assert code_of(early, Refused) == "chain.window_open"
    stranger = partial(world.hospitals[0].contracts.recover, study, round_.lock_id, round_.orgs[0])
    assert code_of(stranger, Refused) == "chain.not_allowed"
    world.coordinator.abandon(study, round_.lock_id)


def test_refusals_carry_the_contracts_name(world: World) -> None:
    study = world.granted()
    round_ = world.plan(study)
    world.revoke(round_.hospitals[0], study)
    assert code_of(lambda: world.lock(round_), Refused) == "chain.no_live_consent"
    assert code_of(lambda: world.lock(replace(round_, lock_by=1)), Refused) == "chain.late"
    stranger = world.writer(18)
    assert (
        code_of(lambda: stranger.grant_role("HOSPITAL", stranger.sender.address), Refused)
        == "chain.access_control_unauthorized_account"
    )
    assert code_of(lambda: stranger.abandon(study, h("x")), Refused) == "chain.not_allowed"


def test_relayed_consent(world: World) -> None:
    study, hospital, chain = world.study(), world.hospitals[0], world.chain()
    steward = AgentKey.from_bytes(
        dev_key(next(i for i in range(20) if AgentKey.from_bytes(dev_key(i)).address == hospital.org))
    )
    terms, deadline = world.grant_terms(hospital, study), 1 << 40
    epoch = chain.snapshot().consent_epoch(hospital.dataset, study)
    signature = sign_grant(steward, world.addresses, terms, epoch=epoch, deadline=deadline)
    forged = replace(terms, exact_cap=21)
    assert (
        code_of(lambda: world.coordinator.grant_by_sig(forged, deadline, signature), Refused)
        == "chain.bad_signature"
    )
    world.coordinator.grant_by_sig(terms, deadline, signature)
    chain.refresh()
    assert chain.gate(study, [hospital.dataset])[0].status == 0
    revocation = sign_revoke(steward, world.addresses, hospital.dataset, study, epoch=1)
    world.coordinator.revoke_by_sig(hospital.dataset, study, revocation)
    chain.refresh()
    assert chain.gate(study, [hospital.dataset])[0].reason == "no_consent"
    # neither signature works again
    replay = abi.contract(abi.REGISTRY).encode("grantBySig", tuple(vars(terms).values()), deadline, signature)
    assert (
        code_of(lambda: world.sponsor.sender.send("replay", world.addresses.registry, replay), Refused)
        == "chain.bad_signature"
    )


def flip(text: str) -> str:
    return text[:-1] + ("1" if text[-1] != "1" else "2")


LIES: dict[str, Callable[[str, list[Any], Any], Any]] = {
    "every read": lambda m, p, r: flip(r) if m == "eth_call" else r,
    "block hash": lambda m, p, r: {**r, "hash": flip(r["hash"])} if m == "eth_getBlockByNumber" else r,
    "time": lambda m, p, r: {**r, "timestamp": flip(r["timestamp"])} if m == "eth_getBlockByNumber" else r,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("first", [True, False])
def test_one_lying_node_is_caught(world: World, lie: Any, first: bool) -> None:
    study = world.granted()
    with LyingProxy(world.url, lambda m, p, r: r) as proxy:
        urls = (proxy.url, world.url) if first else (world.url, proxy.url)
        chain = world.chain(*urls)
        assert chain.gate(study, [world.hospitals[0].dataset])[0].status == 0
        proxy.lie = lie
        chain = world.chain(*urls)
        assert (
            code_of(lambda: chain.gate(study, [world.hospitals[0].dataset]), Hostile) == "chain.rpcs_disagree"
        )
        assert code_of(lambda: chain.head(study), Hostile) == "chain.rpcs_disagree"


def test_a_node_that_hides_a_revocation_is_caught(world: World) -> None:
    study, hospital = world.granted(), world.hospitals[0]
    gate = abi.contract(abi.REGISTRY).functions["gate"].selector.hex()
    kept: list[Any] = []

    def old_gate(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_call" and params[0]["data"][2:10] == gate:
            kept.append(result)
            return kept[0]
        return result

    with LyingProxy(world.url, old_gate) as proxy:
        alone, two = world.chain(proxy.url), world.chain(proxy.url, world.url)
        assert two.gate(study, [hospital.dataset])[0].status == 0
        world.revoke(hospital, study)
        alone.refresh()
        two.refresh()
        assert alone.gate(study, [hospital.dataset])[0].status == 0  # one node alone can deceive
        assert code_of(lambda: two.gate(study, [hospital.dataset]), Hostile) == "chain.rpcs_disagree"


def test_wrong_chain_and_wrong_code(world: World) -> None:
    other = replace(world.addresses, chain_id=1)
    assert code_of(lambda: Chain([world.url], other).now(), Hostile) == "chain.wrong_id"
    swapped = replace(world.addresses, registry=world.addresses.ledger, ledger=world.addresses.registry)
    assert code_of(lambda: Chain([world.url], swapped).now(), Hostile) == "chain.wrong_code"
    empty = replace(world.addresses, ledger=b"\5" * 20)
    assert code_of(lambda: Chain([world.url], empty).now(), Hostile) == "chain.wrong_code"


def test_a_ledger_of_another_registry_is_wrong_code(world: World) -> None:
    ledger = world.sponsor.sender.send(
        "other", None, abi.contract(abi.LEDGER).deployment(world.addresses.ledger)
    )
    assert ledger.created is not None
    foreign = replace(world.addresses, ledger=ledger.created)
    assert code_of(lambda: Chain([world.url], foreign).now(), Hostile) == "chain.wrong_code"


def test_one_changed_instruction_is_wrong_code(world: World) -> None:
    for name in (abi.REGISTRY, abi.LEDGER):
        code = world.rpc.code(world.addresses.of(name))
        check_code(name, code, world.addresses)
        for i in (0, len(code) // 2, len(code) - 1):
            mutant = code[:i] + bytes([code[i] ^ 1]) + code[i + 1 :]
            assert code_of(partial(check_code, name, mutant, world.addresses), Hostile) == "chain.wrong_code"
        assert (
            code_of(partial(check_code, name, code + b"\0", world.addresses), Hostile) == "chain.wrong_code"
        )


def test_away_or_old_or_backwards_is_unavailable(world: World) -> None:
    assert (
        code_of(lambda: world.chain(world.url, "http://127.0.0.1:1").now(), Unavailable) == "rpc.unreachable"
    )
    old = Chain([world.url], world.addresses, clock=lambda: 1e12)
    assert code_of(old.now, Unavailable) == "chain.stale"
    with LyingProxy(world.url, lambda m, p, r: r) as proxy:
        chain = world.chain(proxy.url, world.url)
        seen = chain.snapshot().number

        def behind(method: str, params: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and params[0] == "finalized":
                return {**result, "number": hex(seen - 1)}
            return result

        proxy.lie = behind
        chain.refresh()
        assert code_of(chain.now, Unavailable) == "chain.behind"


def test_reads_of_one_moment_cost_little(world: World) -> None:
    study, calls = world.granted(), list[str]()

    def count(method: str, params: list[Any], result: Any) -> Any:
        calls.append(method)
        return result

    with LyingProxy(world.url, count) as proxy:
        chain = world.chain(proxy.url)
        chain.now()
        calls.clear()
        chain.refresh()
        view = chain.snapshot()
        view.gate(study, [x.dataset for x in world.hospitals])
        view.head(study)
        view.head(study)
        assert calls == ["eth_getBlockByNumber"] + ["eth_call"] * 2


def test_what_was_read_of_the_last_block_comes_in_one_request_of_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, requests = world.granted(), list[object]()
    datasets = [x.dataset for x in world.hospitals]
    post = Rpc._post

    def counted(rpc: Rpc, body: bytes) -> bytes:
        requests.append(json.loads(body))
        return post(rpc, body)

    def read(chain: Chain) -> list[Any]:
        view = chain.snapshot()
        return [view.study(study), view.gate(study, datasets), view.head(study)]

    with Proxy(world.url) as proxy:
        chain = world.chain(proxy.url)
        before = read(chain)
        world.hospitals[0].contracts.revoke(datasets[0], study)
        chain.refresh()
        monkeypatch.setattr(Rpc, "_post", counted)
        after = read(chain)
        asked = [r for r in requests if "eth_getBlockByNumber" not in str(r)]
        assert [len(r) for r in asked] == [3, 3]  # ours, and the proxy's of its node
        assert before[0] == after[0]
        assert before[1][0].reason == "live"
        assert after[1][0].reason == "no_consent"


def test_a_view_is_new_enough_that_was_read_after_a_given_time(world: World) -> None:
    calls: list[str] = []

    def count(method: str, params: list[Any], result: Any) -> Any:
        calls.append(method)
        return result

    with LyingProxy(world.url, count) as proxy:
        chain = world.chain(proxy.url)
        begun = time.monotonic()
        first = chain.snapshot(begun)
        world.rpc.call("evm_mine")
        time.sleep(2 * CACHE_SECONDS)
        calls.clear()
        assert chain.snapshot(begun) is first
        assert calls == []
        assert chain.snapshot(time.monotonic()).number > first.number
        world.rpc.call("evm_mine")
        chain.refresh()  # whoever was told of something newer wants to see it
        assert chain.snapshot(begun).number > first.number + 1


def test_answers_like_the_last_blocks_are_decoded_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    study, decoded = world.granted(), list[str]()
    datasets = [x.dataset for x in world.hospitals]
    decode = abi.Contract.decode

    def counted(contract: abi.Contract, function: str, data: bytes) -> dict[str, Any]:
        decoded.append(function)
        return decode(contract, function, data)

    chain = world.chain(world.url)

    def read() -> str:
        chain.refresh()
        view = chain.snapshot()
        assert view.study(study).roster
        return view.gate(study, datasets)[0].reason

    monkeypatch.setattr(abi.Contract, "decode", counted)
    assert [read(), read()] == ["live", "live"]
    assert sorted(decoded) == ["gate", "study"]
    world.hospitals[0].contracts.revoke(datasets[0], study)
    assert read() == "no_consent"
    assert sorted(decoded) == ["gate", "gate", "study"]
    for number in range(3 * MOST_AT_ONCE):
        chain.snapshot().consent_epoch(number.to_bytes(32, "big"), study)
    assert len(chain._decoded) == MOST_AT_ONCE


@pytest.mark.parametrize("says", [b'{"error": {"code": -32600}}', b"Bad Request"])
def test_a_node_without_batches_is_asked_one_by_one(world: World, says: bytes) -> None:
    study = world.granted()

    class Single(Proxy):
        def answer(self, body: bytes) -> bytes:
            return says if body.startswith(b"[") else super().answer(body)

    with Single(world.url) as proxy:
        rpc, registry = Rpc(proxy.url), world.addresses.registry
        good = abi.contract(abi.REGISTRY).encode("study", study)
        bad = abi.contract(abi.REGISTRY).encode("study", bytes(32))
        found = rpc.eth_calls([(registry, good), (registry, bad)], "latest")
        assert found == [world.rpc.eth_call(registry, good), None]
        assert found == world.rpc.eth_calls([(registry, good), (registry, bad)], "latest")


MANGLED: dict[str, Callable[[list[Any]], list[Any]]] = {
    "one is missing": lambda a: a[:1],
    "one twice": lambda a: [*a, a[0]],
    "another's": lambda a: [{**a[0], "id": "x"}, *a[1:]],
    "another order": lambda a: a[::-1],
}


@pytest.mark.parametrize("how", MANGLED)
def test_answers_of_a_batch_belong_to_its_requests(world: World, how: str) -> None:
    study = world.granted()
    call = (world.addresses.registry, abi.contract(abi.REGISTRY).encode("study", study))
    other = (world.addresses.ledger, abi.contract(abi.LEDGER).encode("seq"))

    class Mangling(Proxy):
        def answer(self, body: bytes) -> bytes:
            return json.dumps(MANGLED[how](json.loads(super().answer(body)))).encode()

    with Mangling(world.url) as proxy:
        rpc = Rpc(proxy.url)
        if how == "another order":  # which a node may choose
            assert rpc.eth_calls([call, other], "latest") == world.rpc.eth_calls([call, other], "latest")
        else:
            assert code_of(lambda: rpc.eth_calls([call, other], "latest"), Hostile) == "rpc.wrong_id"


def test_confirmations_hold_back(world: World) -> None:
    deep = Chain([world.url], world.addresses, finality=3)
    number = deep.snapshot().number
    assert world.rpc.block("latest")["number"] - number >= 3


def test_a_chain_needs_a_node(world: World) -> None:
    assert code_of(lambda: Chain([], world.addresses), Misuse) == "chain.no_rpc"


def test_a_reverted_transaction_may_be_repeated() -> None:
    """It passes the check, is overtaken, and reverts when mined; once lawful again the same key sends it."""
    with Anvil(block_time=0.03) as node:
        world = World(node)
        study, hospital = world.granted(), world.hospitals[0]
        sender, to = hospital.contracts.sender, world.addresses.registry
        call = abi.contract(abi.REGISTRY).encode("revoke", hospital.dataset, study)
        world.rpc.call("evm_setIntervalMining", 3600)
        sender._timeout = 0.1
        for key in ("first", "second"):
            assert code_of(partial(sender.send, key, to, call), Unavailable) == "chain.not_mined"
        world.rpc.call("evm_setIntervalMining", 1)
        sender._timeout = 10
        sender.send("first", to, call)
        assert code_of(partial(sender.send, "second", to, call), Refused) == "chain.no_live_consent"
        world.grant(hospital, study)
        sender.send("second", to, call)
        assert world.chain().gate(study, [hospital.dataset])[0].epoch == 4
