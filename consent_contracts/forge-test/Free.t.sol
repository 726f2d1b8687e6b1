// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Attempt, Base, HOSPITAL, LEDGER} from "./Base.sol";
import {ILedger, IRegistry, Log} from "./Interfaces.sol";

/// What a charged lock and a free one leave in the two journals; and that both pass the same gate.
contract FreeTest is Base {
    struct Place {
        bool charged;
        uint256 time;
        uint256 seq;
        bytes32 head;
    }

    /// Locks it, and returns the logs.
    function _logsOf(Attempt memory a) private returns (Log[] memory) {
        vm.recordLogs();
        lock(a);
        return vm.getRecordedLogs();
    }

    /// The last words of Locked's head.
    function _place(Log memory l) private view returns (Place memory p) {
        assert(l.emitter == address(ledger) && l.topics.length == 4);
        bytes memory data = l.data;
        assembly ("memory-safe") {
            mcopy(p, add(data, add(32, mul(22, 32))), 128)
        }
    }

    function _free(Attempt memory a) private {
        (uint64 seq, bytes32 head) = (registry.seq(), registry.head());
        Log[] memory logs = _logsOf(a);
        assert(logs.length == 1);
        Place memory p = _place(logs[0]);
        assert(!p.charged && p.time == block.timestamp && p.seq == seq && p.head == head);
        assert(registry.seq() == seq && registry.head() == head);
    }

    function _charged(Attempt memory a) private {
        uint64 seq = registry.seq();
        Log[] memory logs = _logsOf(a);
        assert(logs.length == 2);
        Place memory p = _place(logs[1]);
        assert(p.charged && p.seq == seq + 1 && registry.seq() == seq + 1 && p.head == registry.head());
        bytes32[] memory t = logs[0].topics;
        assert(logs[0].emitter == address(registry) && t.length == 4);
        assert(t[0] == keccak256("Charged(uint64,bytes32,bytes32,address,uint8,uint64,uint64)"));
        assert(uint256(t[1]) == seq + 1 && t[2] == a.ctx.study && t[3] == ledger.head(a.ctx.study).lockId);
        bytes memory booked = abi.encode(address(ledger), a.ctx.mode, a.ctx.rho, a.ctx.delta);
        assert(keccak256(logs[0].data) == keccak256(booked));
    }

    function test_exact_later_rounds_are_in_the_ledgers_journal_alone() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        _charged(a);
        attest(a);
        a = sign(attempt(exact, A1, 3, "i2"));
        _free(a);
        attest(a);
        revoke(orgs[4], exact); // the next lock stands after it
        _free(sign(attempt(exact, A1, 3, "i3")));
    }

    function test_dp_retry_is_in_the_ledgers_journal_alone() public {
        _charged(sign(attempt(dp, A1, 3, "i1")));
        _free(sign(attempt(dp, A1, 3, "i1")));
        Attempt memory a = attempt(dp, A1, 3, "i2");
        a.ctx.release = 2;
        _charged(sign(a));
    }

    // --- the gate -------------------------------------------------------------------
    function _second() private returns (Attempt memory) {
        round(exact, A1, 3, "i1");
        return sign(attempt(exact, A1, 3, "i2"));
    }

    function _refusedFor(Attempt memory a, uint8 why) private {
        refuseLock(a, abi.encodeWithSelector(IRegistry.NoLiveConsent.selector, datasetOf[orgs[0]], why));
    }

    function test_free_lock_after_revocation_and_new_grant() public {
        Attempt memory a = _second();
        revoke(orgs[0], exact);
        _refusedFor(a, 1);
        grant(orgs[0], exact);
        refuseLock(
            a, abi.encodeWithSelector(IRegistry.StaleEpoch.selector, datasetOf[orgs[0]], uint32(3), uint32(1))
        );
    }

    function test_free_lock_after_withdrawal() public {
        Attempt memory a = _second();
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[0]);
        registry.withdraw(id, address(7), "patient", new bytes32[](0), "");
        _refusedFor(a, 6);
    }

    function test_free_lock_of_a_suspended_hospital() public {
        Attempt memory a = _second();
        registry.revokeRole(HOSPITAL, orgs[0]);
        _refusedFor(a, 7);
    }

    function test_free_lock_of_a_closed_study() public {
        Attempt memory a = _second();
        vm.prank(sponsor);
        registry.closeStudy(exact);
        refuseLock(a, IRegistry.NoLiveConsent.selector);
    }

    function test_free_lock_after_expiry() public {
        _second();
        vm.warp(T0 + 30 days);
        refuseLock(sign(attempt(exact, A1, 3, "i2")), IRegistry.NoLiveConsent.selector);
    }

    function test_free_lock_while_paused() public {
        Attempt memory a = _second();
        vm.prank(regulator);
        registry.pause();
        refuseLock(a, IRegistry.EnforcedPause.selector);
    }

    function test_free_lock_by_a_ledger_without_its_role() public {
        Attempt memory a = _second();
        registry.revokeRole(LEDGER, address(ledger));
        refuseLock(a, IRegistry.AccessControlUnauthorizedAccount.selector);
    }

    function test_free_lock_names_the_stewards() public {
        Attempt memory a = _second();
        (address[] memory three, address stranger) = (a.orgs, orgs[3]);
        three[2] = stranger;
        refuseLock(sign(a), abi.encodeWithSelector(IRegistry.NotInSet.selector, orgs[2]));
    }
}
