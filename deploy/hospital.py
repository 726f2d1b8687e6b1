"""A hospital's process from its kit: the same objects as in `deploy.council`, one hospital, for as long as it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from consent_contracts.chain import Chain
from consent_contracts.code import code_hash
from consent_contracts.contracts import Contracts
from consent_contracts.proxy import Proxy
from consent_contracts.sender import Sender, SqliteStore
from consilium_errors import Misuse
from consilium_records import RecordStore
from crypto import keyfiles
from crypto.identity import AgentKey
from crypto.vault import Vault
from deploy.kit import HospitalKit
from deploy.locks import alone
from participants.approvals import Approvals
from participants.config import HospitalConfig
from participants.consent_desk import ConsentDesk
from participants.datasets import Dataset, Datasets
from participants.hospital import Hospital, Identity
from participants.store import open_store
from protos.mailbox import Mailbox, MemoryMailbox

READY = "serving.json"
LOOK_S = 2.0


class Home:
    """What the kit of a hospital opens; close it, or use it in a ``with`` block.

    Args:
        account: the steward's key file; default account.key of the kit, if it is there.

    Raises:
        Misuse: ``kit.*``, ``key_file.*``, ``config.invalid``. Unavailable: ``disk.full``, ``store.unusable``.
    """

    def __init__(self, kit: HospitalKit, account: Path | None = None) -> None:
        self.kit, self._stack = kit, ExitStack()
        kit.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.org = kit.config.organisation
        self.vault = Vault.load_or_create(kit.state / "vault.key")
        self.datasets = Datasets(self.org, kit.state, self.vault, tuple(_datasets(kit)))
        self._account = account or kit.below("account.key")

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def chain(self) -> Chain:
        """Read through proxies of our own, one for each node that the kit names; never fewer than two."""
        its = self.kit.config.chain
        upstream = its.rpc if len(its.rpc) > 1 else its.rpc * 2
        urls = [self._stack.enter_context(Proxy(url)).url for url in upstream]
        chain = Chain(urls, its.addresses(), finality=its.finality)
        self._stack.callback(chain.close)
        return chain

    def agent(self) -> AgentKey:
        return AgentKey.load_or_create(self.kit.below("agent.key"))

    def desk(self) -> ConsentDesk | None:
        """The steward's desk; None without the account's key.

        Raises:
            Misuse: ``key_file.*``; ``account.foreign`` for another organisation's key.
        """
        try:
            key = keyfiles.load(self._account)
        except FileNotFoundError:
            return None
        its = self.kit.config.chain
        store = SqliteStore(self.kit.state / "transactions.db")
        self._stack.callback(store.close)
        sender = Sender(its.rpc[0], key, store, finality=its.finality)
        if sender.address != self.org:
            raise Misuse(
                "account.foreign",
                f"{self._account.name} is the key of 0x{sender.address.hex()}, not of this hospital",
                "name the steward's own key file with --account",
            )
        return ConsentDesk(Contracts(sender, its.addresses()))

    def steward(self) -> ConsentDesk:
        """Raises Misuse ``account.missing``."""
        desk = self.desk()
        if desk is None:
            raise Misuse(
                "account.missing",
                "this needs the steward's key, which is not in the kit",
                "name its file with --account",
            )
        return desk

    def store(self) -> RecordStore:
        """The kit's store, opened anew: one for each thread."""
        store = open_store(self.kit.store_url, self.vault)
        self._stack.callback(store.close)
        return store

    def hospital(self, chain: Chain, mailbox: Mailbox | None = None) -> Hospital:
        """Over the kit's store. Without a mailbox it only remembers and decides."""
        its = self.kit.config
        peers = frozenset(its.sites.values()) - {self.org}
        identity = Identity(
            self.org, self.agent(), its.coordinator.address, self.datasets.trusted or peers, code_hash()
        )
        hospital = Hospital(
            identity,
            store=self.store(),
            mailbox=MemoryMailbox() if mailbox is None else mailbox,
            chain=chain,
            table_of=self.datasets.table,
            rules=self.datasets.rules,
            floor_of=self.datasets.floor,
            look_s=LOOK_S,
        )
        self._stack.callback(hospital.close)
        return hospital

    def approvals(self) -> Approvals:
        return Approvals(self.hospital(self.chain()), self.datasets)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process of this hospital serves meanwhile.

        Raises:
            Misuse: ``participant.running``.
        """
        with alone(self.kit.state, "participant.running"):
            yield


def _datasets(kit: HospitalKit) -> Iterator[Dataset]:
    for section in kit.config.dataset:
        config = HospitalConfig.load(kit.below(section.config))
        yield Dataset(section.name or section.config, config, section.studies)
