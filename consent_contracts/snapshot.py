"""What is read of one final block. How nodes come to agree on it is `chain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from consent_contracts import abi
from consent_contracts.views import AnalysisView, GateView, HeadView, JournalView, StudyView
from consilium_errors import Hostile

if TYPE_CHECKING:
    from consent_contracts.chain import Chain

#: Reads of the last block that go along with the first of the next.
MOST_AT_ONCE = 24


class Read(NamedTuple):
    contract: str
    function: str
    calldata: bytes


@dataclass(frozen=True)
class Snapshot:
    """All reads of one final block, so that they fit each other. What was read is remembered."""

    chain: Chain
    number: int
    block_hash: bytes
    timestamp: int
    _asked: dict[Read, Mapping[str, Any]] = field(default_factory=dict, compare=False, repr=False)
    _raw: dict[Read, bytes] = field(default_factory=dict, compare=False, repr=False)
    _likely: list[Read] = field(default_factory=list, compare=False, repr=False)

    def after(self, last: Snapshot | None) -> Snapshot:
        """Begin with what ``last`` was asked: it will be asked again, and costs one request for all."""
        self._likely[:] = [] if last is None else list(last._asked)[-MOST_AT_ONCE:]
        return self

    def _read(self, contract: str, function: str, *args: object) -> Mapping[str, Any]:
        read = Read(contract, function, _calldata(contract, function, *map(_hashable, args)))
        known = self._asked.get(read)
        if known is None:
            known = self._asked[read] = self.chain.decoded(read, self._fetch(read))
        return known

    def _fetch(self, read: Read) -> bytes:
        likely, self._likely[:] = [each for each in self._likely if each != read], []
        if likely and read not in self._raw:
            wanted, to = [*likely, read], self.chain.addresses.of
            calls = [(to(each.contract), each.calldata) for each in wanted]
            answers = self.chain.everywhere(lambda rpc: rpc.eth_calls(calls, self.block_hash))
            self._raw.update({each: a for each, a in zip(wanted, answers, strict=True) if a is not None})
        if read not in self._raw:  # or refused: then this says why
            address = self.chain.addresses.of(read.contract)
            self._raw[read] = self.chain.everywhere(
                lambda rpc: rpc.eth_call(address, read.calldata, self.block_hash)
            )
        return self._raw[read]

    def study(self, study: bytes) -> StudyView:
        """Raises Refused ``chain.unknown``."""
        return StudyView.of(self._read(abi.REGISTRY, "study", study)["0"])

    def analysis(self, study: bytes, analysis: bytes) -> AnalysisView:
        """Raises Refused ``chain.unknown``."""
        found = self._read(abi.REGISTRY, "analysis", study, analysis)["0"]
        return AnalysisView(found["rho"], found["delta"], found["noise"])

    def gate(self, study: bytes, datasets: Sequence[bytes]) -> tuple[GateView, ...]:
        """In the order of ``datasets``; an unknown dataset or study shows as ``no_consent``."""
        gates = self._read(abi.REGISTRY, "gate", study, datasets)["gates"]
        if len(gates) != len(datasets):
            raise Hostile("chain.gate", "not one gate for each dataset")
        return tuple(GateView.of(dataset, g) for dataset, g in zip(datasets, gates, strict=True))

    def head(self, study: bytes) -> HeadView:
        return HeadView.of(self._read(abi.LEDGER, "head(bytes32)", study)["h"])

    def agents(self, orgs: Sequence[bytes]) -> dict[bytes, bytes]:
        """Organisation → agent, 20 bytes each; an organisation without one is left out."""
        found = self._read(abi.REGISTRY, "agentsOf", orgs)["agents"]
        if len(found) != len(orgs):
            raise Hostile("chain.agents", "not one agent for each organisation")
        return {org: agent for org, agent in zip(orgs, found, strict=True) if any(agent)}

    def analysis_set(self, study: bytes, analysis: bytes) -> tuple[bytes, bool]:
        """Exact mode: hash of the set that the analysis is bound to (zero: none), and may it change."""
        found = self._read(abi.LEDGER, "analysisSet", study, analysis)
        return found["set"], found["mayLeave"]

    def exact_spent(self, dataset: bytes) -> int:
        """Releases without noise that were ever charged to a dataset, over all studies."""
        return int(self._read(abi.REGISTRY, "datasets", dataset)["exactSpent"])

    def consent_epoch(self, dataset: bytes, study: bytes) -> int:
        return int(self._read(abi.REGISTRY, "consents", dataset, study)["epoch"])

    def now(self) -> int:
        return self.timestamp

    @cached_property
    def journals(self) -> dict[str, JournalView]:
        """Contract → count and running hash of its journal."""
        return {
            name: JournalView(self._read(name, "seq")["0"], self._read(name, "head()")["0"])
            for name in (abi.REGISTRY, abi.LEDGER)
        }


@lru_cache(maxsize=256)
def _calldata(contract: str, function: str, *args: object) -> bytes:
    return abi.contract(contract).encode(function, *args)


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
