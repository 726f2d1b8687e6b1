// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Hashes} from "./Hashes.sol";
import {LedgerEvents} from "./LedgerEvents.sol";
import {Ctx, DP, Use} from "./Types.sol";

/// Which lock may follow which, and what it costs.
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
abstract contract Rounds is LedgerEvents {
    enum Phase {
        Idle,
        Live,
        Abandoned
    }

    struct Chain {
        bytes32 tip; // id of the last seal
        bytes32 stateCommit; // state after it; from the first lock on the state before, until the first seal
        bytes32 lockId; // this and the next two: the current lock; binds plan and receipts
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

    mapping(bytes32 => Chain) internal _chains;
    mapping(bytes32 => mapping(bytes32 => bytes32)) internal _sets; // exact mode: study => analysis => set

    /// Applies the rules above. Moves the chain to the new lock; true if it must be charged.
    function _admit(Ctx calldata ctx, uint8 index, Use[] calldata uses, bytes32 inputsRoot)
        internal
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
        if (c.phase == Phase.Live && c.analysis != index) revert StillLocked(c.lockId);
        if (c.recovering && !same) revert Recovering(c.lockId);
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
}
