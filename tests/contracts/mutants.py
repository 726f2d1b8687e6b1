"""Breaks the contracts on purpose, one rule at a time: ``python -m tests.contracts.mutants``.

Every mutant must be killed by the forge tests; one that survives names a rule without a test. Not part of the
suite: each needs a compilation.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from consent_contracts import compile as contracts
from tests.contracts.forge import ROOT, forge_test

REGISTRY, LEDGER, ROUNDS, STUDIES, DATASETS, ORGS, JOURNAL, SIGNATURES, HASHES = (
    f"src/{n}.sol"
    for n in (
        "ConsentRegistry",
        "AttestationLedger",
        "Rounds",
        "Studies",
        "Datasets",
        "Organisations",
        "Journal",
        "Signatures",
        "Hashes",
    )
)
# Hardly optimised: the same rules, compiled in two thirds of the time.
QUICK = {
    **contracts.SETTINGS,
    "optimizer": {
        "enabled": True,
        "runs": 1,
        "details": {"yul": True, "yulDetails": {"stackAllocation": True, "optimizerSteps": ":"}},
    },
}
# file, what stands there, what shall stand there
MUTANTS: list[tuple[str, str, str]] = [
    (REGISTRY, "if (_epoch(c) != u.epoch) revert", "if (false) revert"),
    (REGISTRY, "if (_version(d) != u.version) revert", "if (false) revert"),
    (REGISTRY, "if (block.timestamp >= expiry) return EXPIRED;", ""),
    (REGISTRY, "if (block.timestamp >= expiry)", "if (block.timestamp > expiry)"),
    (REGISTRY, "if (purposes & ~uint64(c) != 0) return PURPOSE;", ""),
    (REGISTRY, "if (uint64(c >> 64) & ~satisfies != 0) return CONDITION;", ""),
    (REGISTRY, "if (closed) return CLOSED;", ""),
    (REGISTRY, "if (uint32(d >> 192) != uint32(d >> 224)) return WITHDRAWALS;", ""),
    (REGISTRY, "if (!_orgs[_steward(d)].hospital) return SUSPENDED;", ""),
    (REGISTRY, "if (paused()) return PAUSED;", ""),
    (REGISTRY, "(c.expiry, c.epoch) = (0, epoch);", "c.expiry = 0;"),
    (REGISTRY, "uint32 epoch = c.epoch + 1;\n        // what", "uint32 epoch = c.epoch;\n        // what"),
    (REGISTRY, "if (id <= last) revert NotAscending();", ""),
    (REGISTRY, "if (orgs[i] <= orgs[i - 1]) revert NotAscending();", ""),
    (REGISTRY, "if (seen & (1 << i) == 0) revert NotInSet(orgs[i]);", ""),
    (REGISTRY, "|| orgs[lo] != org) revert", ") revert"),
    (REGISTRY, "if (msg.sender != _ledger) revert", "if (false) revert"),
    (REGISTRY, "(c.rhoSpent, c.deltaSpent) = (c.rhoSpent + rho, c.deltaSpent + delta);", ""),
    (REGISTRY, "(d.rhoSpent, d.deltaSpent) = (d.rhoSpent + rho, d.deltaSpent + delta);", ""),
    (REGISTRY, "(c.exactSpent, d.exactSpent) = (c.exactSpent + 1, d.exactSpent + 1);", ""),
    (REGISTRY, "< rho) revert", "<= rho) revert"),
    (REGISTRY, "d.deltaCap, d.deltaSpent) < delta) {", "d.deltaCap, d.deltaSpent) < 0) {"),
    (REGISTRY, "if (g.scope != 0 && g.scope != s.scope) revert", "if (false) revert"),
    (REGISTRY, "if (!onRoster[g.study][datasets[g.dataset].steward]) revert", "if (false) revert"),
    (REGISTRY, "if (block.timestamp > deadline) revert Late();", ""),
    (REGISTRY, "if (g.expiry <= block.timestamp) revert", "if (g.expiry < block.timestamp) revert"),
    (
        REGISTRY,
        "function grant(GrantTerms calldata g) external whenNotPaused",
        "function grant(GrantTerms calldata g) external",
    ),
    (REGISTRY, ") external whenNotPaused returns (address[] memory", ") external returns (address[] memory"),
    (
        REGISTRY,
        "_checkUses(study, uses, orgs);\n        if (charge) {",
        "if (charge) {\n            _checkUses(study, uses, orgs);",
    ),
    (REGISTRY, "_record(Charged.selector, study, lockId, abi.encode(msg.sender, mode, rho, delta));", ""),
    (REGISTRY, "_record(Charged.selector, study, lockId,", "_record(Charged.selector, lockId, study,"),
    (
        REGISTRY,
        "abi.encode(msg.sender, mode, rho, delta));\n        }",
        "abi.encode(msg.sender, mode, rho, delta));\n        } else _record(Charged.selector, study, lockId, '');",
    ),
    (REGISTRY, "return (agentsOf(orgs), seq, head());", "return (agentsOf(orgs), seq - 1, head());"),
    (
        LEDGER,
        "            e.registrySeq,\n            e.registryHead\n",
        "            0,\n            e.registryHead\n",
    ),
    (
        LEDGER,
        "            e.registrySeq,\n            e.registryHead\n",
        "            e.registrySeq,\n            0\n",
    ),
    (LEDGER, "if (block.timestamp > lockBy) revert Late();", ""),
    (LEDGER, "if (msg.sender != terms.coordinator) revert NotCoordinator();\n        if (n <", "if (n <"),
    (LEDGER, "if (msg.sender != terms.coordinator) revert NotCoordinator();\n        Chain", "Chain"),
    (LEDGER, "if (n < terms.minSites) revert TooFewSites(n, terms.minSites);", ""),
    (LEDGER, 'if (ctx.chainId != block.chainid) revert WrongContext("chainId");', ""),
    (LEDGER, 'if (ctx.registry != address(registry)) revert WrongContext("registry");', ""),
    (LEDGER, 'if (ctx.ledger != address(this)) revert WrongContext("ledger");', ""),
    (LEDGER, "ctx.noise) != bond) {", "ctx.noise) == 0) {"),
    (ROUNDS, 'if (ctx.round != c.attested + 1) revert WrongContext("round");', ""),
    (ROUNDS, 'if (ctx.prevSeal != c.tip) revert WrongContext("prevSeal");', ""),
    (
        ROUNDS,
        'if (c.attested != 0 && ctx.stateCommit != c.stateCommit) revert WrongContext("stateCommit");',
        "",
    ),
    (ROUNDS, "if (ctx.release != release) revert BadRelease(release, ctx.release);", ""),
    (
        ROUNDS,
        "if (!fresh && ctx.attempt <= c.attempt) revert",
        "if (!fresh && ctx.attempt < c.attempt) revert",
    ),
    (ROUNDS, "if (c.phase == Phase.Live && c.analysis != index) revert", "if (false) revert"),
    (ROUNDS, "if (!same && c.lockedBits & bit != 0) revert InputsChanged(ctx.analysis);", ""),
    (ROUNDS, "if (fixedSet != 0 && !accepted) revert", "if (fixedSet != 0 && !open) revert"),
    (ROUNDS, "bool accepted = open &&", "bool accepted ="),
    (ROUNDS, "if (!open) c.leaveBits &= ~bit;", ""),
    (ROUNDS, "charge = ctx.mode == DP ? !same", "charge = ctx.mode == DP ? c.phase == Phase.Idle"),
    (ROUNDS, "inputsRoot, ctx.stateCommit));", "inputsRoot));"),
    (ROUNDS, "abi.encode(ctx.analysis, set, inputsRoot", "abi.encode(ctx.analysis, inputsRoot"),
    (ROUNDS, "c.lockedBits | bit);", "bit);"),
    (LEDGER, "if (!agents[i].isFromKey(digest, sigs[i])) revert", "if (false) revert"),
    (LEDGER, "else if (!agents[i].isFromKey(sealId, sigs[i])) revert", "else if (false) revert"),
    (LEDGER, "if (c.phase != Phase.Live) revert NotLocked(seal.lockId);", ""),
    (LEDGER, "if (seal.lockId != lockId || Hashes", "if (Hashes"),
    (LEDGER, "|| Hashes.lockId(seal.planHash, seal.receiptsRoot) != lockId) {", ") {"),
    (LEDGER, "        c.lockId = lockId;\n", ""),
    (LEDGER, "h.lockId = c.lockId;", ""),
    (LEDGER, 'if (seal.prevSeal != c.tip) revert WrongSeal("prevSeal");', ""),
    (LEDGER, 'if (seal.stateBefore != c.stateCommit) revert WrongSeal("stateBefore");', ""),
    (LEDGER, "orgs.tail()) != c.expected) {", "orgs.tail()) == 0) {"),
    (LEDGER, "if (block.timestamp < until) revert WindowOpen(until);", ""),
    (LEDGER, "|| present < terms.minSites", ""),
    (LEDGER, "|| missing > terms.collusion", ""),
    (LEDGER, "if (!registry.mayAbandon(study, msg.sender)) revert NotAllowed(msg.sender);", ""),
    (LEDGER, "if (c.phase != Phase.Live || lockId !=", "if (lockId !="),
    (LEDGER, "|| lockId != c.lockId) revert", ") revert"),
    (LEDGER, "c.phase = Phase.Abandoned;", ""),
    (LEDGER, "if (c.recovering) revert Recovering(lockId);", ""),
    (ROUNDS, "if (c.recovering && !same) revert", "if (false) revert"),
    (ROUNDS, "if (c.recovering && !same) revert", "if (c.recovering) revert"),
    (LEDGER, "c.recovering = true;", ""),
    (LEDGER, "c.recovering = false;", ""),
    (
        ROUNDS,
        "(c.phase, c.analysis, c.lockedBits) = (Phase.Live, index, c.lockedBits | bit);",
        "(c.phase, c.analysis, c.lockedBits, c.recovering) = (Phase.Live, index, c.lockedBits | bit, false);",
    ),
    (LEDGER, "if (!registry.onRoster(study, org)) revert NotOnRoster(org);", ""),
    (LEDGER, "if (orgs[i] == org) revert AlreadyRecovered(org);", ""),
    (LEDGER, "_notBefore(uint256(c.lockedAt) + terms.window / 2);", ""),
    (LEDGER, "terms.window / 2);", "terms.window);"),
    (LEDGER, "terms.window / 2);", "(terms.window + 1) / 2);"),
    (LEDGER, "_notBefore(uint256(lockedAt) + terms.window);", ""),
    (LEDGER, "orgs.push(org);", ""),
    (LEDGER, "h.recovered = _recovered[h.lockId];", ""),
    (HASHES, "if (!u.leaveSiteOut) open = false;", ""),
    (HASHES, "mstore(add(place, 32), version)", ""),
    (STUDIES, "if (roster[i] <= last) revert", "if (roster[i] < last) revert"),
    (STUDIES, "if (!_orgs[last].hospital) revert NotHospital(last);", ""),
    (STUDIES, "if (s.purposes != 0) revert Exists(id);", ""),
    (STUDIES, "if (!hasRole(COORDINATOR, coordinator)) coordinator = address(0);", ""),
    (STUDIES, "uint256(t.collusion) + 2", "uint256(t.collusion) + 1"),
    (STUDIES, "if (t.minSites < MIN_SITES) revert", "if (t.minSites < 2) revert"),
    (STUDIES, "if (s.sponsor != msg.sender && !hasRole(REGULATOR, msg.sender)) revert", "if (false) revert"),
    (DATASETS, "if (applied != d.tombstones) revert", "if (false) revert"),
    (DATASETS, "if (tombstoned[dataset][leaf]) revert Exists(leaf);", ""),
    (DATASETS, "if (!key.isFrom(digest, sig)) revert BadSignature();", ""),
    (DATASETS, "if (!MerkleProof.verifyCalldata(proof, d.cohortRoot, leaf)) revert Unknown(leaf);", ""),
    (DATASETS, "uint32 version = ++d.version;", "uint32 version = d.version;"),
    (DATASETS, "if (d.steward != msg.sender) revert NotSteward(id);", ""),
    (ORGS, "if (granted && _ledger != address(0)) revert", "if (false) revert"),
    (ORGS, "if (!o.hospital && (agent", "if (false && (agent"),
    (ORGS, "|| hasRole(REGULATOR, msg.sender))) {", ")) {"),
    (
        JOURNAL,
        "_head = keccak256(abi.encode(_head, topic0, s, a, b, keccak256(data)));",
        "_head = keccak256(data);",
    ),
    (SIGNATURES, "ok := staticcall(WALLET_GAS", "ok := staticcall(gas()"),
    (SIGNATURES, "&& found == signer", ""),
]


class Bench:
    """A copy of the contracts' folder whose artifacts can be broken."""

    def __init__(self, top: Path) -> None:
        self.root = top / "consent_contracts"
        (self.root / "artifacts").mkdir(parents=True)
        (top / "tests").mkdir()
        (top / "tests/vectors").symlink_to(ROOT.parent / "tests/vectors")
        for shared in ("src", "forge-test", "node_modules"):
            (self.root / shared).symlink_to(ROOT / shared)
        shutil.copy(ROOT / "foundry.toml", self.root)
        self.sound = contracts.compile_contracts(contracts.CONTRACTS, QUICK, strict=False)

    def passes(self, artifacts: dict[str, str]) -> bool:
        for name, text in {**self.sound, **artifacts}.items():
            (self.root / "artifacts" / f"{name}.json").write_text(text)
        # the invariants take longest, so only those that live so far meet them
        for which in ("--no-match-contract", "--match-contract"):
            code, _, _ = forge_test(self.root, "--fail-fast", which, "InvariantTest")
            if code:
                return False
        return True


def compiled(file: str, old: str, new: str) -> dict[str, str]:
    original = contracts.sources

    def mutated(roots: list[str]) -> dict[str, dict[str, str]]:
        found = original(roots)
        if file in found:
            text = found[file]["content"]
            if text.count(old) != 1:
                raise SystemExit(f"{file}: {text.count(old)} places with {old!r}")
            found[file] = {"content": text.replace(old, new)}
        return found

    names = [n for n in contracts.CONTRACTS if file in original([f"src/{n}.sol"])]
    if file not in (JOURNAL, SIGNATURES):  # the ledger imports the registry, but has none of its code
        names = ["AttestationLedger"] if file in (LEDGER, ROUNDS, HASHES) else ["ConsentRegistry"]
    contracts.sources = mutated  # the one door to the sources
    try:
        return contracts.compile_contracts(names, QUICK, strict=False)
    finally:
        contracts.sources = original


def main() -> int:
    wanted = [m for m in MUTANTS if not sys.argv[1:] or any(a in m[0] + m[1] for a in sys.argv[1:])]
    alive = []
    with tempfile.TemporaryDirectory() as top:
        bench = Bench(Path(top))
        if not bench.passes({}):
            print("the tests fail without a mutant")
            return 2
        for mutant in wanted:
            lives = bench.passes(compiled(*mutant))
            print("SURVIVES" if lives else "killed  ", mutant[0], json.dumps(mutant[1]), flush=True)
            alive += [mutant] if lives else []
    print(f"{len(wanted) - len(alive)} of {len(wanted)} killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
