// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {ConsentRegistry} from "./ConsentRegistry.sol";
import {Hashes} from "./Hashes.sol";
import {Journal} from "./Journal.sol";
import {Signatures} from "./Signatures.sol";
import "./Types.sol";
import {Words} from "./Words.sol";

/// One chain of rounds per study. `lock` is the gate: no sum can be opened before the exact set, under live consent,
/// is locked and charged. `attest` records what came of it.
///
/// A round is idle, live (locked) or abandoned. Lawful locks of round attested + 1, by what was locked before in it:
///   nothing                      release 1
///   same analysis, set, inputs   same release, free: the lock before is dead
///   anything else                release + 1; another analysis only after `abandon`
/// and the price
///   dp      full charge whenever the release is new: the noise is fresh
///   exact   the first lock of an analysis charges one exact release and fixes its set. Then that set is free in
///           every later round, but never twice in one round with other inputs. Another set shows the difference:
///           only if every use of the old set and of the new accepted it (leaveSiteOut), and for one more charge.
/// `recover` lets the peers of a hospital that does not open its part show their shares of it. From then on until its seal the
/// round is for that opening only: nothing in it can be abandoned, and only the same analysis, set, inputs and state be
/// locked, also after another such lock.
/// Nothing is ever refunded. It does not check what was computed: hospitals and auditors do.
contract AttestationLedger is EIP712, Journal {
    using Signatures for address;
    using Words for *;

    uint256 public constant MAX_USES = 128;
    uint256 private constant LOCKED_HEAD = 26 * 32; // of event Locked: ctx, then ten words
    ConsentRegistry public immutable registry;

    enum Phase {
        Idle,
        Live,
        Abandoned
    }

    struct Chain {
        bytes32 tip; // id of the last seal
        bytes32 stateCommit; // state after it; from the first lock on the state before, until the first seal
        bytes32 planHash; // this and the next three: the current lock
        bytes32 receiptsRoot;
        bytes32 opening; // analysis, set and inputs that may be opened
        bytes32 expected; // what else a seal must match; from round to round mostly the same, and then cheap
        uint32 attested;
        uint32 release;
        uint32 attempt;
        uint64 lockedAt;
        Phase phase;
        uint8 analysis; // index
        uint32 lockedBits; // analyses locked in this round
        uint32 leaveBits; // analyses of which every use so far accepted another set
        bool recovering; // a lock of this round knows a recovered organisation
    }

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

    mapping(bytes32 => Chain) internal _chains;
    mapping(bytes32 => mapping(bytes32 => bytes32)) internal _sets; // exact mode: study => analysis => set
    mapping(bytes32 => address[]) internal _recovered; // lock => organisations

    event Locked(
        uint64 indexed seq,
        bytes32 indexed study,
        bytes32 indexed lockId,
        Ctx ctx,
        Use[] uses,
        address[] orgs,
        bytes32 readyRoot,
        bytes32 inputsRoot,
        uint64 lockBy,
        bytes32[] uploadHashes,
        bool charged,
        uint64 time,
        uint64 registrySeq,
        bytes32 registryHead
    );
    event Attested(
        uint64 indexed seq,
        bytes32 indexed study,
        bytes32 indexed sealId,
        Seal seal,
        address[] absent,
        uint64 time
    );
    event Recovered(
        uint64 indexed seq,
        bytes32 indexed study,
        bytes32 indexed lockId,
        address org,
        address by,
        uint64 time
    );
    event Abandoned(uint64 indexed seq, bytes32 indexed study, bytes32 indexed lockId, address by);

    error NotCoordinator();
    error NotAllowed(address account);
    error BadSize();
    error Late();
    error WrongContext(bytes32 field);
    error TooFewSites(uint256 have, uint256 want);
    error BadRelease(uint32 want, uint32 given);
    error StaleAttempt(uint32 last, uint32 given);
    error StillLocked(bytes32 lockId);
    error NotLocked(bytes32 lockId);
    error InputsChanged(bytes32 analysis);
    error SetFixed(bytes32 analysis, bytes32 set);
    error WrongSeal(bytes32 field);
    error BadSignature(address org);
    error WindowOpen(uint256 until);
    error NoQuorum(uint256 present);
    error NotOnRoster(address org);
    error AlreadyRecovered(address org);
    error Recovering(bytes32 lockId);

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
        bytes32 receiptsRoot = Hashes.receiptsRoot(n, e.orgs, e.uploads);
        e.lockId = lockId = Hashes.lockId(e.planHash, receiptsRoot);
        e.charged = _admit(ctx, terms.index, uses, inputsRoot);
        _store(ctx, e.planHash, receiptsRoot, e.orgs);
        _consume(ctx, uses, orgs, uploadHashes, sigs, e);
        _journalLock(ctx, readyRoot, inputsRoot, lockBy, e);
    }

    function _store(Ctx calldata ctx, bytes32 planHash, bytes32 receiptsRoot, bytes memory orgs) private {
        Chain storage c = _chains[ctx.study];
        (c.planHash, c.receiptsRoot) = (planHash, receiptsRoot);
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

    /// Applies the rules in the contract's head. Moves the chain to the new lock; true if it must be charged.
    function _admit(Ctx calldata ctx, uint8 index, Use[] calldata uses, bytes32 inputsRoot)
        private
        returns (bool charge)
    {
        Chain storage c = _chains[ctx.study];
        if (ctx.round != c.attested + 1) revert WrongContext("round");
        if (ctx.prevSeal != c.tip) revert WrongContext("prevSeal");
        // the first state derives from the spec: hospitals check it
        if (c.attested != 0 && ctx.stateCommit != c.stateCommit) revert WrongContext("stateCommit");

        (bytes32 set, bool open) = Hashes.setOf(uses);
        bytes32 opening = keccak256(abi.encode(ctx.analysis, set, inputsRoot, ctx.stateCommit));
        bool same = _checkRelease(c, ctx, opening, index);
        uint32 bit = uint32(1) << index;
        charge = ctx.mode == DP ? !same : _admitExact(c, ctx, set, open, same, bit);
        c.opening = opening;
        (c.release, c.attempt, c.lockedAt) = (ctx.release, ctx.attempt, uint64(block.timestamp));
        (c.phase, c.analysis, c.lockedBits) = (Phase.Live, index, c.lockedBits | bit);
    }

    /// True if the round was locked before for the same opening.
    function _checkRelease(Chain storage c, Ctx calldata ctx, bytes32 opening, uint8 index)
        private
        view
        returns (bool same)
    {
        bool fresh = c.phase == Phase.Idle;
        same = !fresh && opening == c.opening;
        uint32 release = fresh ? 1 : same ? c.release : c.release + 1;
        if (ctx.release != release) revert BadRelease(release, ctx.release);
        if (!fresh && ctx.attempt <= c.attempt) revert StaleAttempt(c.attempt, ctx.attempt);
        if (c.phase == Phase.Live && c.analysis != index) {
            revert StillLocked(Hashes.lockId(c.planHash, c.receiptsRoot));
        }
        if (c.recovering && !same) revert Recovering(Hashes.lockId(c.planHash, c.receiptsRoot));
    }

    function _admitExact(Chain storage c, Ctx calldata ctx, bytes32 set, bool open, bool same, uint32 bit)
        private
        returns (bool charge)
    {
        bytes32 fixedSet = _sets[ctx.study][ctx.analysis];
        if (set == fixedSet) {
            if (!same && c.lockedBits & bit != 0) revert InputsChanged(ctx.analysis);
        } else {
            bool accepted = open && c.leaveBits & bit != 0;
            if (fixedSet != 0 && !accepted) revert SetFixed(ctx.analysis, fixedSet);
            _sets[ctx.study][ctx.analysis] = set;
            charge = true;
        }
        // acceptance once withheld stays withheld until the set changes, which then cannot happen
        if (fixedSet == 0 && open) c.leaveBits |= bit;
        if (!open) c.leaveBits &= ~bit;
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
        if (seal.planHash != c.planHash) revert WrongSeal("planHash");
        if (seal.receiptsRoot != c.receiptsRoot) revert WrongSeal("receiptsRoot");
        if (seal.lockId != Hashes.lockId(seal.planHash, seal.receiptsRoot)) revert WrongSeal("lockId");
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
        if (c.phase != Phase.Live || lockId != Hashes.lockId(c.planHash, c.receiptsRoot)) revert NotLocked(lockId);
    }

    // --- views ----------------------------------------------------------------------
    /// Where a study stands, in one call.
    function head(bytes32 study) external view returns (Head memory h) {
        Chain storage c = _chains[study];
        (h.attested, h.tip) = (c.attested, c.tip);
        if (c.attested != 0) h.stateCommit = c.stateCommit;
        if (c.phase == Phase.Idle) return h;
        (h.planHash, h.receiptsRoot) = (c.planHash, c.receiptsRoot);
        h.lockId = Hashes.lockId(c.planHash, c.receiptsRoot);
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
