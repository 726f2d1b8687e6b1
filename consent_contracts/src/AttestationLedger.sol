// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {ConsentRegistry} from "./ConsentRegistry.sol";
import {Hashes} from "./Hashes.sol";
import {Journal} from "./Journal.sol";
import {Rounds} from "./Rounds.sol";
import {Signatures} from "./Signatures.sol";
import "./Types.sol";
import {Words} from "./Words.sol";

/// One chain of rounds per study. `lock` is the gate: no sum can be opened before the exact set, under live consent,
/// is locked and charged: `Rounds` has the rules. `attest` records what came of it. Nothing is ever refunded. It does not
/// check what was computed: hospitals and auditors do.
contract AttestationLedger is EIP712, Journal, Rounds {
    using Signatures for address;
    using Words for *;

    uint256 public constant MAX_USES = 128;
    uint256 private constant LOCKED_HEAD = 26 * 32; // of event Locked: ctx, then ten words
    ConsentRegistry public immutable registry;

    /// What `lock` carries along: arrays as ABI tails, encoded once for hashes and log.
    struct Entry {
        bytes ctx;
        bytes uses;
        bytes orgs;
        bytes uploads;
        bytes32 planHash;
        bytes32 lockId;
        bool charged;
        uint64 registrySeq;
        bytes32 registryHead;
    }

    mapping(bytes32 => address[]) internal _recovered; // lock => organisations

    constructor(ConsentRegistry registry_) EIP712("AttestationLedger", "1") {
        registry = registry_;
    }

    // --- lock -----------------------------------------------------------------------
    /// The gate. `uses` ascending by dataset; `orgs`, `uploadHashes` and `sigs` (Receipts, by the agents in force)
    /// ascending by organisation.
    function lock(
        Ctx calldata ctx,
        Use[] calldata uses,
        address[] calldata orgs,
        bytes32 readyRoot,
        bytes32 inputsRoot,
        uint64 lockBy,
        bytes32[] calldata uploadHashes,
        bytes[] calldata sigs
    ) external returns (bytes32 lockId) {
        uint256 n = orgs.length;
        if (uses.length > MAX_USES || uploadHashes.length != n || sigs.length != n) revert BadSize();
        if (block.timestamp > lockBy) revert Late();
        LockTerms memory terms = registry.lockTerms(ctx.study, ctx.analysis);
        if (msg.sender != terms.coordinator) revert NotCoordinator();
        if (n < terms.minSites) revert TooFewSites(n, terms.minSites);
        _checkContext(ctx, terms.bond);

        Entry memory e;
        (e.ctx, e.uses, e.orgs, e.uploads) = (ctx.words(), uses.tail(), orgs.tail(), uploadHashes.tail());
        e.planHash = Hashes.planHash(Hashes.ctxHash(e.ctx), Hashes.usesHash(e.uses), readyRoot, inputsRoot, lockBy);
        e.lockId = lockId = Hashes.lockId(e.planHash, Hashes.receiptsRoot(n, e.orgs, e.uploads));
        e.charged = _admit(ctx, terms.index, uses, inputsRoot);
        _store(ctx, lockId, e.orgs);
        _consume(ctx, uses, orgs, uploadHashes, sigs, e);
        _journalLock(ctx, readyRoot, inputsRoot, lockBy, e);
    }

    function _store(Ctx calldata ctx, bytes32 lockId, bytes memory orgs) private {
        Chain storage c = _chains[ctx.study];
        c.lockId = lockId;
        c.expected = Hashes.expected(ctx.codeHash, ctx.rho, ctx.delta, orgs);
        if (c.attested == 0) c.stateCommit = ctx.stateCommit;
    }

    /// Passes the gate, and checks the receipts by the agents that it names.
    function _consume(
        Ctx calldata ctx,
        Use[] calldata uses,
        address[] calldata orgs,
        bytes32[] calldata uploadHashes,
        bytes[] calldata sigs,
        Entry memory e
    ) private {
        address[] memory agents;
        (agents, e.registrySeq, e.registryHead) =
            registry.consume(ctx.study, e.lockId, uses, orgs, ctx.mode, ctx.rho, ctx.delta, e.charged);
        bytes32 domain = _domainSeparatorV4();
        for (uint256 i; i < orgs.length; ++i) {
            bytes32 receipt = keccak256(abi.encode(RECEIPT_TYPEHASH, e.planHash, orgs[i], uploadHashes[i]));
            bytes32 digest = MessageHashUtils.toTypedDataHash(domain, receipt);
            if (!agents[i].isFromKey(digest, sigs[i])) revert BadSignature(orgs[i]);
        }
    }

    function _journalLock(
        Ctx calldata ctx,
        bytes32 readyRoot,
        bytes32 inputsRoot,
        uint64 lockBy,
        Entry memory e
    ) private {
        bytes memory scalars = abi.encode(
            LOCKED_HEAD,
            LOCKED_HEAD + e.uses.length,
            readyRoot,
            inputsRoot,
            lockBy,
            LOCKED_HEAD + e.uses.length + e.orgs.length,
            e.charged,
            uint64(block.timestamp),
            e.registrySeq,
            e.registryHead
        );
        bytes memory data = bytes.concat(e.ctx, scalars, e.uses, e.orgs, e.uploads);
        _record(Locked.selector, ctx.study, e.lockId, data);
    }

    function _checkContext(Ctx calldata ctx, bytes31 bond) private view {
        if (ctx.chainId != block.chainid) revert WrongContext("chainId");
        if (ctx.registry != address(registry)) revert WrongContext("registry");
        if (ctx.ledger != address(this)) revert WrongContext("ledger");
        if (bondOf(ctx.specHash, ctx.mode, ctx.rho, ctx.delta, ctx.noise) != bond) {
            revert WrongContext("terms"); // spec, mode, rho, delta, noise
        }
    }

    // --- attest ---------------------------------------------------------------------
    /// Records the round: `orgs` as locked, `sigs` (Seal, by the agents in force) in their order. An empty signature
    /// is an absence, lawful only after the window, with a quorum: more than half, at least minSites and n - t.
    /// No second look at consent: what was locked could be opened, so it belongs into the record.
    function attest(bytes32 study, Seal calldata seal, address[] calldata orgs, bytes[] calldata sigs)
        external
        returns (bytes32 sealId)
    {
        if (sigs.length != orgs.length) revert BadSize();
        (SealTerms memory terms, address[] memory agents) = registry.sealTerms(study, orgs);
        if (msg.sender != terms.coordinator) revert NotCoordinator();
        Chain storage c = _chains[study];
        _checkSeal(c, seal, orgs);
        sealId = sealDigest(seal);
        address[] memory absent = _checkSeals(sealId, orgs, agents, sigs);
        if (absent.length != 0) _checkQuorum(terms, c.lockedAt, orgs.length, absent.length);

        (c.tip, c.stateCommit) = (sealId, seal.stateAfter);
        (c.attested, c.release, c.attempt, c.phase, c.lockedBits) = (c.attested + 1, 0, 0, Phase.Idle, 0);
        c.recovering = false;
        _record(Attested.selector, study, sealId, abi.encode(seal, absent, uint64(block.timestamp)));
    }

    function _checkSeal(Chain storage c, Seal calldata seal, address[] calldata orgs) private view {
        if (c.phase != Phase.Live) revert NotLocked(seal.lockId);
        bytes32 lockId = c.lockId;
        if (seal.lockId != lockId || Hashes.lockId(seal.planHash, seal.receiptsRoot) != lockId) {
            revert WrongSeal("lockId"); // lock, plan, receipts
        }
        if (seal.prevSeal != c.tip) revert WrongSeal("prevSeal");
        if (seal.stateAfter == 0) revert WrongSeal("stateAfter");
        if (seal.stateBefore != c.stateCommit) revert WrongSeal("stateBefore");
        if (Hashes.expected(seal.codeHash, seal.rho, seal.delta, orgs.tail()) != c.expected) {
            revert WrongSeal("expected"); // code, rho, delta, organisations
        }
    }

    function _checkSeals(
        bytes32 sealId,
        address[] calldata orgs,
        address[] memory agents,
        bytes[] calldata sigs
    ) private pure returns (address[] memory absent) {
        uint256 n = orgs.length;
        uint256 missing;
        absent = new address[](n);
        for (uint256 i; i < n; ++i) {
            if (sigs[i].length == 0) absent[missing++] = orgs[i];
            else if (!agents[i].isFromKey(sealId, sigs[i])) revert BadSignature(orgs[i]);
        }
        assembly ("memory-safe") {
            mstore(absent, missing) // shorten
        }
    }

    function _checkQuorum(SealTerms memory terms, uint64 lockedAt, uint256 n, uint256 missing)
        private
        view
    {
        _notBefore(uint256(lockedAt) + terms.window);
        uint256 present = n - missing;
        if (present * 2 <= n || present < terms.minSites || missing > terms.collusion) revert NoQuorum(present);
    }

    function _notBefore(uint256 until) private view {
        if (block.timestamp < until) revert WindowOpen(until);
    }

    // --- recover, abandon -----------------------------------------------------------
    /// Says for good that an organisation of this lock does not open its part; its peers, who hold shares of what it owes,
    /// wait for this to be final. Not in the first half of the window: it had that time to open it itself.
    /// The set of a lock is known by its hash alone, so that `org` was locked is for the peers and auditors to see.
    function recover(bytes32 study, bytes32 lockId, address org) external {
        Chain storage c = _liveLock(study, lockId);
        if (!registry.onRoster(study, org)) revert NotOnRoster(org);
        address[] storage orgs = _recovered[lockId];
        uint256 n = orgs.length; // no more than the roster's
        for (uint256 i; i < n; ++i) {
            if (orgs[i] == org) revert AlreadyRecovered(org);
        }
        (SealTerms memory terms,) = registry.sealTerms(study, new address[](0));
        _notBefore(uint256(c.lockedAt) + terms.window / 2);
        orgs.push(org);
        c.recovering = true;
        _record(Recovered.selector, study, lockId, abi.encode(org, msg.sender, uint64(block.timestamp)));
    }

    /// Kills the lock; its charge stays booked. The round can then be locked again under the rules above.
    function abandon(bytes32 study, bytes32 lockId) external {
        Chain storage c = _liveLock(study, lockId);
        if (c.recovering) revert Recovering(lockId);
        c.phase = Phase.Abandoned;
        _record(Abandoned.selector, study, lockId, abi.encode(msg.sender));
    }

    function _liveLock(bytes32 study, bytes32 lockId) private view returns (Chain storage c) {
        if (!registry.mayAbandon(study, msg.sender)) revert NotAllowed(msg.sender);
        c = _chains[study];
        if (c.phase != Phase.Live || lockId != c.lockId) revert NotLocked(lockId);
    }

    // --- views ----------------------------------------------------------------------
    /// Where a study stands, in one call.
    function head(bytes32 study) external view returns (Head memory h) {
        Chain storage c = _chains[study];
        (h.attested, h.tip) = (c.attested, c.tip);
        if (c.attested != 0) h.stateCommit = c.stateCommit;
        if (c.phase == Phase.Idle) return h;
        h.lockId = c.lockId;
        (h.lockedAt, h.round, h.release, h.attempt) = (c.lockedAt, c.attested + 1, c.release, c.attempt);
        h.analysis = registry.analysisAt(study, c.analysis);
        h.abandoned = c.phase == Phase.Abandoned;
        h.recovered = _recovered[h.lockId];
    }

    /// Exact mode: the set that an analysis is bound to (zero: none yet), see `Hashes.setOf`; and whether every use of it so
    /// far accepted that another set may follow.
    function analysisSet(bytes32 study, bytes32 analysis) external view returns (bytes32 set, bool mayLeave) {
        uint256 bit = 1 << registry.lockTerms(study, analysis).index;
        return (_sets[study][analysis], _chains[study].leaveBits & bit != 0);
    }

    /// What an organisation's agent signs for its upload.
    function receiptDigest(bytes32 planHash, address org, bytes32 uploadHash) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECEIPT_TYPEHASH, planHash, org, uploadHash)));
    }

    /// What every agent signs about a round; also its id.
    function sealDigest(Seal calldata seal) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(bytes.concat(SEAL_TYPEHASH, seal.words())));
    }

    /// What `lock` makes of these: for clients that want to compare.
    function lockHashes(
        Ctx calldata ctx,
        Use[] calldata uses,
        address[] calldata orgs,
        bytes32 readyRoot,
        bytes32 inputsRoot,
        uint64 lockBy,
        bytes32[] calldata uploadHashes
    ) external pure returns (bytes32 planHash, bytes32 receiptsRoot, bytes32 lockId) {
        planHash = Hashes.planHash(Hashes.ctxHash(ctx.words()), Hashes.usesHash(uses.tail()), readyRoot, inputsRoot, lockBy);
        receiptsRoot = Hashes.receiptsRoot(orgs.length, orgs.tail(), uploadHashes.tail());
        lockId = Hashes.lockId(planHash, receiptsRoot);
    }
}
