"""Random lives of both contracts on a real anvil against the model; the logs of each life rebuild both journals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from consent_contracts.laptop import Anvil
from consent_contracts.rpc import Rpc, data, quantity
from protos.digests import Use
from tests.contracts.driver import LEDGER, REGISTRY, STEWARDS, Council, account, word
from tests.contracts.model import FAULTS, WINDOW, Budget, Consent, Model, Request

HOSPITAL = keccak(b"HOSPITAL")
hospitals, datasets, studies = st.integers(0, 3), st.integers(0, 4), st.integers(0, 1)
# mostly everybody, so that many locks are lawful
sets = st.one_of(
    st.just((0, 1, 2, 3)),
    st.just((0, 1, 2)),
    st.lists(datasets, min_size=2, max_size=5, unique=True).map(lambda s: tuple(sorted(s))),
)
faults = st.one_of(st.just(""), st.just(""), st.just(""), st.sampled_from(sorted(FAULTS)))


class Life(RuleBasedStateMachine):
    council: Council
    start: tuple[Any, ...]

    @initialize()
    def begin(self) -> None:
        type(self).start = self.council.snapshot()
        self.c, self.from_block = self.council, quantity(self.council.rpc.call("eth_blockNumber")) + 1
        self.heads = {x.name: self._journal(x) for x in (REGISTRY, LEDGER)}
        self.m = Model(STEWARDS, self.c.now)
        for d in range(len(STEWARDS)):
            self._budget(d, (90, 30, 4))
            for s in range(2):
                self._grant(d, s, Consent(7, 1, self.c.now + 5000, 0, Budget((70, 24, 3))))

    def teardown(self) -> None:
        try:
            self._replay_journals()
        finally:
            self.council.restore(self.start)

    # --- what can happen ----------------------------------------------------------------------------------

    def _compare(self, expected: set[str], refused: str) -> None:
        assert (refused in expected) if expected else refused == "", (expected, refused)

    def _step(self, call: Callable[[], str], rules: Callable[[], set[str]]) -> None:
        self.m.now = self.c.now
        refused = call()
        self._compare(rules(), refused)

    def _grant(self, d: int, s: int, terms: Consent) -> None:
        study, (rho, delta, exact) = self.c.studies[s].id, terms.budget.caps
        args = (
            self.c.datasets[d],
            study,
            terms.allowed,
            terms.conditions,
            bytes(32),
            terms.expiry,
            rho,
            delta,
            exact,
        )
        steward = self.c.orgs[STEWARDS[d]]
        self._step(lambda: self.c.tell(steward, "grant", args), lambda: self.m.grant(d, s, terms))

    def _budget(self, d: int, caps: tuple[int, int, int]) -> None:
        self.c.must(self.c.orgs[STEWARDS[d]], "setBudget", self.c.datasets[d], *caps)
        self.m.datasets[d].budget.caps = caps

    @rule(d=datasets, s=studies, allowed=st.sampled_from([7, 7, 5, 4, 0]), conditions=st.integers(0, 4),
          ttl=st.sampled_from([-1, 0, 300, 5000]), caps=st.tuples(*[st.integers(0, 50)] * 3))  # fmt: skip
    def grant(
        self, d: int, s: int, allowed: int, conditions: int, ttl: int, caps: tuple[int, int, int]
    ) -> None:
        self._grant(d, s, Consent(allowed, conditions, self.c.now + ttl, 0, Budget(caps)))

    @rule(d=datasets, s=studies)
    def regrant(self, d: int, s: int) -> None:
        self._grant(d, s, Consent(7, 1, self.c.now + 5000, 0, Budget((70, 24, 3))))

    @rule()
    def heal(self) -> None:
        """Everything live again: without it hardly any lock would be lawful."""
        if self.m.paused:
            self.pause_and_resume()
        for h in {0, 1, 2, 3} - self.m.hospitals:
            self.suspend_or_admit(h)
        for d, entry in enumerate(self.m.datasets):
            if entry.tombstones != entry.applied:
                self.rebuild(d, 0)
            for s in range(2):
                if self.m.status(d, s) and not self.m.studies[s].closed:
                    self.regrant(d, s)

    @rule(d=datasets, s=studies, by_regulator=st.booleans())
    def revoke(self, d: int, s: int, by_regulator: bool) -> None:
        who = self.c.regulator if by_regulator else self.c.orgs[STEWARDS[d]]
        study = self.c.studies[s].id
        self._step(lambda: self.c.tell(who, "revoke", self.c.datasets[d], study), lambda: self.m.revoke(d, s))

    @rule(d=datasets, caps=st.tuples(*[st.integers(0, 60)] * 3))
    def budget(self, d: int, caps: tuple[int, int, int]) -> None:
        self._budget(d, caps)

    @rule(d=datasets, rebuild=st.booleans())
    def withdraw(self, d: int, rebuild: bool) -> None:
        """A patient withdraws; mostly the steward makes a new cohort."""
        steward, entry = self.c.orgs[STEWARDS[d]], self.m.datasets[d]
        self.c.must(steward, "withdraw", self.c.datasets[d], bytes(20), word("patient", self.c.now), [], b"")
        entry.tombstones += 1
        if rebuild:
            self.rebuild(d, 0)

    @rule(d=datasets, off=st.integers(0, 1))
    def rebuild(self, d: int, off: int) -> None:
        entry = self.m.datasets[d]
        args = (self.c.datasets[d], word("cohort", self.c.now), entry.tombstones + off)
        refused = self.c.tell(self.c.orgs[STEWARDS[d]], "replaceCohort", *args)
        self._compare({"StaleCohort"} if off else set(), refused)
        if not off:
            entry.applied, entry.version = entry.tombstones, entry.version + 1

    @rule(h=hospitals, really=st.integers(0, 2))
    def suspend(self, h: int, really: int) -> None:
        if h not in self.m.hospitals or really == 2:
            self.suspend_or_admit(h)

    def suspend_or_admit(self, h: int) -> None:
        out = h in self.m.hospitals
        who = self.c.regulator if out else self.c.admin
        self.c.must(who, "revokeRole" if out else "grantRole", HOSPITAL, self.c.orgs[h])
        self.m.hospitals ^= {h}

    @rule(h=hospitals)
    def rotate(self, h: int) -> None:
        key = PrivateKey(word("agent", h, self.c.now))
        refused = self.c.tell(self.c.orgs[h], "setAgent", account(key))
        self._compare(set() if h in self.m.hospitals else {"NotHospital"}, refused)
        if not refused:
            self.c.old_keys[h], self.c.keys[h] = self.c.keys[h], key

    @rule(seconds=st.sampled_from([1, 600, 3000]))
    def wait(self, seconds: int) -> None:
        self.c.now += seconds

    @rule(really=st.integers(0, 3))
    def pause(self, really: int) -> None:
        if self.m.paused or really == 2:
            self.pause_and_resume()

    def pause_and_resume(self) -> None:
        self.c.must(
            self.c.admin if self.m.paused else self.c.regulator, "unpause" if self.m.paused else "pause"
        )
        self.m.paused = not self.m.paused

    @rule(s=studies, really=st.integers(0, 9))
    def close(self, s: int, really: int) -> None:
        if really != 5 or self.m.studies[s].attested < 2:
            return  # a closed study is a dull life
        closed = self.m.studies[s].closed
        self._compare(
            {"BadTerms"} if closed else set(), self.c.tell(self.c.sponsor, "closeStudy", self.c.studies[s].id)
        )
        self.m.studies[s].closed = True

    def _lock(self, s: int, analysis: int, members: tuple[int, ...], leave: tuple[bool, ...], inputs: int,
              slip: int, fault: str) -> None:  # fmt: skip
        study = self.m.studies[s]
        old = study.lock
        versions = tuple((d, self.m.datasets[d].version) for d in members)
        same = old is not None and old.opening == (analysis, versions, inputs)
        release = max(1, (1 if old is None else old.release + (not same)) + (slip == 1))
        attempt = 1 if old is None else old.attempt + (slip != 2)
        if fault == "old agent" and not any(
            self.c.old_keys[STEWARDS[d]] != self.c.keys[STEWARDS[d]] for d in members
        ):
            fault = "signature"
        request = Request(s, analysis, members, leave[: len(members)], inputs, release, attempt, fault)
        uses = [
            Use(self.c.datasets[d], self.m.datasets[d].version, self.m.consents[d, s].epoch, out)
            for d, out in zip(members, request.leave, strict=True)
        ]
        self._step(lambda: self.c.lock(request, uses), lambda: self.m.lock(request))

    leaves = st.one_of(st.just((True,) * 5), st.just((False,) * 5), st.tuples(*[st.booleans()] * 5))

    @rule(s=studies, analysis=st.integers(0, 1), members=sets, leave=leaves, inputs=st.integers(0, 1),
          slip=st.integers(0, 9), fault=faults)  # fmt: skip
    def lock(self, s: int, analysis: int, members: tuple[int, ...], leave: tuple[bool, ...], inputs: int,
             slip: int, fault: str) -> None:  # fmt: skip
        self._lock(s, analysis, members, leave, inputs, slip, fault)

    @rule(s=studies, members=sets, inputs=st.integers(0, 1))
    def honest_lock(self, s: int, members: tuple[int, ...], inputs: int) -> None:
        self._lock(s, 0, members, (True,) * 5, inputs, 0, "")

    @rule(s=studies, leave=leaves, slip=st.integers(0, 4))
    def retry(self, s: int, leave: tuple[bool, ...], slip: int) -> None:
        """What is locked, once more."""
        if lock := self.m.studies[s].lock:
            self._lock(s, lock.analysis, tuple(d for d, _ in lock.members), leave, lock.inputs, slip, "")

    @rule(s=studies)
    def seal(self, s: int) -> None:
        self.attest(s, ())

    @rule(s=studies, absent=st.sampled_from([(), (), (0,), (1, 2)]), late=st.booleans())
    def round(self, s: int, absent: tuple[int, ...], late: bool) -> None:
        """A plain round of everybody, so that lives get somewhere."""
        self._lock(s, 0, (0, 1, 2, 3), (True,) * 5, 0, 0, "")
        if late:
            self.c.now += 600
        self.attest(s, absent)

    @rule(s=studies, absent=st.sampled_from([(), (), (0,), (1, 2)]))
    def attest(self, s: int, absent: tuple[int, ...]) -> None:
        if self.c.studies[s].sent is not None:
            self._step(lambda: self.c.attest(s, absent), lambda: self.m.attest(s, len(absent)))

    @rule(s=studies)
    def abandon(self, s: int) -> None:
        if self.m.studies[s].lock is None and self.m.studies[s].attested % 2:
            return
        self._step(lambda: self.c.abandon(s), lambda: self.m.abandon(s))

    @rule(s=studies, hospital=st.integers(0, 4), stranger=st.sampled_from([False, False, False, True]))
    def recover(self, s: int, hospital: int, stranger: bool) -> None:
        """``hospital`` 4 is on no roster."""
        self._step(
            lambda: self.c.recover(s, hospital, stranger=stranger),
            lambda: self.m.recover(s, hospital, stranger=stranger),
        )

    @rule(s=studies, hospital=hospitals, inputs=st.integers(0, 1), early=st.integers(0, 4))
    def outage(self, s: int, hospital: int, inputs: int, early: int) -> None:
        """A lock of everybody that one does not open: recovered when it is due, seldom a second before."""
        self._lock(s, 0, (0, 1, 2, 3), (True,) * 5, inputs, 0, "")
        if lock := self.m.studies[s].lock:
            self.c.now = max(self.c.now, lock.at + WINDOW // 2 - (early == 4))
            self.recover(s, hospital, False)

    @rule(s=studies, members=sets, inputs=st.integers(0, 1), abandon=st.booleans())
    def outage_and_then(self, s: int, members: tuple[int, ...], inputs: int, abandon: bool) -> None:
        self.outage(s, 0, 0, 0)
        if abandon:
            self.abandon(s)
        self._lock(s, 0, members, (True,) * 5, inputs, 0, "")

    # --- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def views_agree(self) -> None:
        for s, side in enumerate(self.c.studies):
            found = self.c.view(REGISTRY, "gate", side.id, self.c.datasets)["gates"]
            self.m.now = int(self.c.rpc.block("latest")["timestamp"])  # which a view sees
            for d, gate in enumerate(found):
                seen = (gate["status"], gate["version"], gate["epoch"], gate["expiry"])
                consent = self.m.consents[d, s]
                assert seen == (
                    self.m.status(d, s),
                    self.m.datasets[d].version,
                    consent.epoch,
                    consent.expiry,
                )
                assert (gate["rhoLeft"], gate["deltaLeft"], gate["exactLeft"]) == self.m.left(d, s)
            self._head_agrees(s)

    def _head_agrees(self, s: int) -> None:
        study, side = self.m.studies[s], self.c.studies[s]
        head = self.c.view(LEDGER, "head(bytes32)", side.id)["h"]
        assert (head["attested"], head["tip"]) == (study.attested, side.tip)
        lock = study.lock
        want = (
            (0, 0, 0, False) if lock is None else (study.attested + 1, lock.release, lock.attempt, lock.dead)
        )
        assert (head["round"], head["release"], head["attempt"], head["abandoned"]) == want
        recovered = () if lock is None else tuple(self.c.orgs[h] for h in lock.recovered)
        assert head["recovered"] == recovered
        if lock is not None and side.sent is not None:
            assert head["lockId"] == side.sent.seal.lock_id

    def _journal(self, contract: Any) -> tuple[bytes, int]:
        head = self.c.view(contract, "head()")
        return next(iter(head.values())), next(iter(self.c.view(contract, "seq").values()))

    def _replay_journals(self) -> None:
        """The rule of Journal.sol, over raw logs: nothing is missing, nothing happens beside it."""
        for contract, to in ((REGISTRY, self.c.registry), (LEDGER, self.c.ledger)):
            query = {"address": "0x" + to.hex(), "fromBlock": hex(self.from_block), "toBlock": "latest"}
            head, seq = self.heads[contract.name]
            for log in self.c.rpc.call("eth_getLogs", query):
                topics, body = [data(t, 32) for t in log["topics"]], data(log["data"])
                event = contract.events[topics[0]]
                if event.inputs[0]["name"] != "seq":
                    continue
                plain = [p for p in event.inputs if not p["indexed"]]
                assert len(topics) == 1 + len(event.inputs) - len(plain)
                assert repacked(plain, body) == body  # what is written raw is what the ABI says
                seq += 1
                padded = topics + [bytes(32)] * (4 - len(topics))
                assert int.from_bytes(topics[1], "big") == seq
                head = keccak(encode(["bytes32"] * 6, [head, *padded, keccak(body)]))
            assert (head, seq) == self._journal(contract)


def repacked(params: list[Any], body: bytes) -> bytes:
    from consent_contracts import abi

    return abi.pack(params, list(abi.unpack(params, body).values()))


@pytest.mark.slow
@pytest.mark.chain
def test_contracts_live_as_the_model_does() -> None:
    with Anvil(block_time=3600) as anvil:
        Life.council = Council(Rpc(anvil.url))
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=50,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
