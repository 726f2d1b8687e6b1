"""What the demo says to a visitor whose files do not fit, and what it does to folders, files and the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consent_contracts import abi
from consent_contracts.laptop import dev_key
from consent_contracts.proxy import Proxy
from consent_contracts.rpc import Rpc
from consent_contracts.sender import MemoryStore, Sender
from consilium_errors import Error, Misuse, Refused
from crypto.identity import AgentKey
from deploy.commands.demo import demo
from deploy.demo import funds, own
from deploy.demo.federation import Federation
from deploy.demo.files import hospital_file
from deploy.demo.folder import prepared
from deploy.demo.line import Line
from deploy.provision import files
from participants.config import HospitalConfig
from tests.deploy.visitor import SITES, Visitor


@pytest.fixture
def visitor(home: Path) -> Visitor:
    return Visitor(home)


# what may be wrong ----------------------------------------------------------------------------------------


def test_files_that_fit_are_taken_in_the_order_of_the_study(visitor: Visitor) -> None:
    spec, seats = own.check(visitor.study, visitor.hospitals[::-1])
    assert [seat.name for seat in seats] == list(spec.sites) == list(SITES)


def _unmapped(v: Visitor) -> None:
    v.edit(v.hospitals[1], '[columns.bmi]\nfrom = "BMI"', "")


def _foreign_site(v: Visitor) -> None:
    v.edit(v.hospitals[1], 'site = "b"', 'site = "z"')


def _same_site(v: Visitor) -> None:
    v.edit(v.hospitals[1], 'site = "b"', 'site = "a"')


def _two(v: Visitor) -> None:
    v.hospitals.pop()


def _fourth_site(v: Visitor) -> None:
    v.edit(v.study, '["a", "b", "c"]', '["a", "b", "c", "d"]')


def _no_file(v: Visitor) -> None:
    v.hospitals[2] = v.hospitals[2].with_name("nothing.toml")


def _no_study(v: Visitor) -> None:
    v.study = v.study.with_name("nothing.toml")


def _no_table(v: Visitor) -> None:
    v.edit(v.hospitals[0], "data/table.csv", "data/nothing.csv")


def _no_column(v: Visitor) -> None:
    v.edit(v.hospitals[0], '"AGE"', '"ALTER"')


def _other_unit(v: Visitor) -> None:
    v.edit(v.hospitals[0], 'unit = "a"', 'unit = "kg"')


def _in_the_clear(v: Visitor) -> None:
    v.edit(v.study, 'sum = "fhe"', 'sum = "clear"')


def _other_purpose(v: Visitor) -> None:
    v.edit(v.hospitals[2], "DUO:0000042", "DUO:0000007")


def _too_few_rows(v: Visitor) -> None:
    table = v.hospitals[2].parent / "data" / "table.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:10]) + "\n")


@pytest.mark.parametrize(
    ("spoil", "code", "named"),
    [
        (_two, "demo.hospitals", "2 hospitals"),
        (_foreign_site, "demo.site_unknown", "z"),
        (_same_site, "demo.site_twice", "a"),
        (_fourth_site, "demo.site_missing", "d"),
        (_no_file, "demo.file", "nothing.toml"),
        (_no_study, "demo.file", "nothing.toml"),
        (_no_table, "source.not_found", "hospital.toml"),
        (_no_column, "source.column", "ALTER"),
        (_unmapped, "demo.columns", "bmi"),
        (_other_unit, "units.dimension", "hospital.toml"),
        (_in_the_clear, "demo.sum", "clear"),
        (_other_purpose, "policy.purpose", "hospital.toml"),
        (_too_few_rows, "disclosure.min_rows", "hospital.toml"),
    ],
)
def test_what_does_not_fit_is_named(
    visitor: Visitor, spoil: Callable[[Visitor], None], code: str, named: str
) -> None:
    spoil(visitor)
    with pytest.raises((Misuse, Refused)) as caught:
        own.check(visitor.study, visitor.hospitals)
    error: Error = caught.value
    assert error.code == code
    assert named in str(error)
    assert error.remedy


def test_hospitals_without_a_study_are_a_mistake(visitor: Visitor) -> None:
    with pytest.raises(Misuse) as caught:
        demo(hospital=visitor.hospitals)
    assert caught.value.code == "demo.study"


def test_a_folder_with_anything_else_in_it_is_left_alone(home: Path) -> None:
    kept = home / "thesis.tex"
    kept.write_text("years of work")
    with pytest.raises(Misuse) as caught:
        prepared(home)
    assert caught.value.code == "demo.folder"
    assert kept.read_text() == "years of work"


def test_the_demos_own_folder_is_used_again(home: Path) -> None:
    folder = prepared(home / "demo")
    (folder / "logs").mkdir()
    (folder / "logs" / "old.log").touch()
    assert [path.name for path in prepared(folder).iterdir()] == [".consilium-demo"]


def test_a_visitors_file_works_from_elsewhere_and_nothing_else_in_it_changes(visitor: Visitor) -> None:
    before = HospitalConfig.load(visitor.hospitals[0])
    peers = [b"\1" * 20, b"\2" * 20]
    after = HospitalConfig.load(hospital_file(before, peers, "auto"))
    assert after.path == before.path.resolve()
    assert after.policy.trusted_addresses == set(peers)
    assert after.policy.approve == "auto"
    assert (after.columns, after.disclosure, after.budget) == (
        before.columns,
        before.disclosure,
        before.budget,
    )
    assert before.policy.approve == "manual"


@pytest.mark.chain
def test_the_line_delays_a_lock_and_nothing_else(chain_url: str) -> None:
    ledger = b"\7" * 20
    lock = abi.contract(abi.LEDGER).functions["lock"].selector
    with Line(chain_url, ledger) as line:
        line.delay()
        kept = MemoryStore()
        sender = Sender(Rpc(line.url, timeout=0.5), dev_key(9), kept, timeout=0.6)
        sender.send("plain", ledger, b"\1\2\3\4")  # goes through at once
        assert not line.held.is_set()
        with pytest.raises(Error) as caught:
            sender.send("lock", ledger, lock + bytes(32))
        assert caught.value.code in ("chain.not_mined", "rpc.unreachable")
        assert line.held.is_set()
        name = "0x" + line.transaction.hex()
        assert Rpc(chain_url).call("eth_getTransactionReceipt", name) is None
        line.let_go()
        Sender(line.url, dev_key(9), kept).send("lock", ledger, lock + bytes(32))
        assert Rpc(chain_url).call("eth_getTransactionReceipt", name) is not None


# another chain --------------------------------------------------------------------------------------------


class Elsewhere(Proxy):
    """A node of a chain where anvil's public accounts own nothing."""

    def told(self, method: str, params: list[Any], result: Any) -> Any:
        return "0x539" if method == "eth_chainId" else result


@pytest.mark.chain
def test_on_another_chain_somebody_must_pay(visitor: Visitor, home: Path, chain_url: str) -> None:
    _, seats = own.check(visitor.study, visitor.hospitals)
    with (
        Elsewhere(chain_url) as node,
        pytest.raises(Misuse) as caught,
        Federation(prepared(home / "demo"), seats, rpc=node.url),
    ):
        pass
    assert caught.value.code == "demo.admin"


@pytest.mark.chain
def test_new_accounts_get_what_their_transactions_cost_at_most(home: Path, chain_url: str) -> None:
    files.write(home / "admin.key", dev_key(8))
    accounts = [AgentKey.generate() for _ in range(2)]
    funds.spread(chain_url, "file:admin.key", [a.address for a in accounts], home)
    node = Rpc(chain_url)
    balances = [int(node.call("eth_getBalance", f"0x{a.address.hex()}", "latest"), 16) for a in accounts]
    assert balances[0] == balances[1] > 0
    sender = Sender(node, accounts[0].secret, MemoryStore())
    assert sender.send("first", accounts[1].address, b"").gas_used == 21_000
