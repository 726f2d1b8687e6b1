from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consent_contracts.chain import Chain
from consent_contracts.index import Index
from consent_contracts.laptop import Anvil
from consent_contracts.rpc import NodeError
from consilium_errors import Hostile
from tests.consent.nodes import LyingProxy
from tests.consent.world import World

pytestmark = pytest.mark.chain

Logs = list[dict[str, Any]]


@pytest.fixture(scope="module")
def busy(world: World) -> bytes:
    study = world.granted()
    world.run(study, "a", "a", "b")
    return study


def test_all_events_in_order(world: World, busy: bytes) -> None:
    index = Index(world.chain(), step=20)
    snapshot = index.sync()
    for contract, journal in snapshot.journals.items():
        mine = [e for e in index.events if e.contract == contract]
        assert [e.seq for e in mine] == list(range(1, journal.seq + 1))
        assert mine[-1].head == journal.head
    names = [e.name for e in index.events]
    assert names.count("Locked") == names.count("Attested") == 3
    assert [e.args["charged"] for e in index.events if e.name == "Locked"] == [True, False, True]
    assert names.count("Charged") == 2
    locked = next(e for e in index.events if e.name == "Locked")
    assert locked.args["study"] == busy
    assert locked.args["orgs"] == tuple(x.org for x in world.hospitals)


def test_what_is_new_is_added(world: World, busy: bytes) -> None:
    index = Index(world.chain())
    index.sync()
    before = len(index.events)
    world.run(busy, "b")
    index.sync()
    assert [e.name for e in index.events[before:]] == ["Locked", "Attested"]  # the set is free by now


def test_small_answers_only(world: World, busy: bytes) -> None:
    def bounded(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) > 30:
            raise NodeError(-32005, "query returned more than 10 results")
        return result

    with LyingProxy(world.url, bounded) as proxy:
        index = Index(world.chain(proxy.url))
        index.sync()
        assert index._step <= 31


def data_flip(logs: Logs) -> Logs:
    last = next(log for log in reversed(logs) if len(log["data"]) > 2)
    last["data"] = last["data"][:-1] + ("1" if last["data"][-1] != "1" else "2")
    return logs


def topic_flip(logs: Logs) -> Logs:
    topic = logs[-1]["topics"][-1]
    logs[-1]["topics"][-1] = topic[:-1] + ("1" if topic[-1] != "1" else "2")
    return logs


def swap(logs: Logs) -> Logs:
    return [*logs[:-2], logs[-1], logs[-2]]


def swap_across(logs: Logs) -> Logs:
    """The lock before its entry in the registry: neither journal alone would show it."""
    i = max(i for i in range(1, len(logs)) if logs[i]["address"] != logs[i - 1]["address"])
    return [*logs[: i - 1], logs[i], logs[i - 1], *logs[i + 1 :]]


def foreign(logs: Logs) -> Logs:
    logs[-1]["address"] = "0x" + "11" * 20
    return logs


def removed(logs: Logs) -> Logs:
    logs[-1]["removed"] = True
    return logs


def elsewhere(logs: Logs) -> Logs:
    logs[-1]["blockNumber"] = "0xffffff"
    return logs


LIES: dict[str, tuple[Callable[[Logs], Logs], str]] = {
    "first": (lambda logs: logs[2:], "index.gap"),
    "middle": (lambda logs: logs[:-5] + logs[-4:], "index.gap"),
    "last": (lambda logs: logs[:-1], "index.gap"),
    "all": (lambda logs: [], "index.gap"),
    "twice": (lambda logs: [*logs, logs[-1]], "index.gap"),
    "data": (data_flip, "index.altered"),
    "topic": (topic_flip, "index.altered"),
    "order": (swap, "index.gap"),
    "order across journals": (swap_across, "index.order"),
    "foreign": (foreign, "index.foreign"),
    "removed": (removed, "index.removed"),
    "elsewhere": (elsewhere, "index.order"),
}


@pytest.mark.parametrize(("lie", "code"), LIES.values(), ids=LIES.keys())
def test_one_node_cannot_bend_the_logs(
    world: World, busy: bytes, lie: Callable[[Logs], Logs], code: str
) -> None:
    def bend(method: str, params: list[Any], result: Any) -> Any:
        return lie(result) if method == "eth_getLogs" else result

    with LyingProxy(world.url, bend) as proxy:
        with pytest.raises(Hostile) as caught:
            Index(Chain([proxy.url], world.addresses)).sync()
        assert caught.value.code == code
        with pytest.raises(Hostile) as caught:
            Index(world.chain(world.url, proxy.url)).sync()
        assert caught.value.code in ("chain.rpcs_disagree", code)


def test_a_moved_log_is_seen_by_the_second_node(world: World, busy: bytes) -> None:
    """The journal does not cover the transaction's hash: two nodes do."""

    def bend(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getLogs":
            result[-1]["transactionHash"] = "0x" + "11" * 32
        return result

    with LyingProxy(world.url, bend) as proxy, pytest.raises(Hostile) as caught:
        Index(world.chain(world.url, proxy.url)).sync()
    assert caught.value.code == "chain.rpcs_disagree"


def test_a_restarted_chain_keeps_its_journal(tmp_path: Any) -> None:
    with Anvil(block_time=0.03, state=tmp_path / "chain.json") as node:
        world = World(node)
        world.run(world.granted(), "a")
        before = Index(world.chain()).sync().journals
    with Anvil(block_time=0.03, state=tmp_path / "chain.json") as node:
        chain = Chain([node.url], world.addresses)
        index = Index(chain)
        assert index.sync().journals == before
