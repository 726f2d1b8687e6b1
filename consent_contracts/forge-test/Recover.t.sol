// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Attempt, Base, HOSPITAL} from "./Base.sol";
import {ILedger, IRegistry, Log} from "./Interfaces.sol";

/// A hospital that does not open its part of a lock: from when on, by whom, and what it rules out.
contract RecoverTest is Base {
    function again(Attempt memory a, uint32 release) private pure returns (Attempt memory) {
        a.ctx.release = release;
        return a;
    }

    function recover(bytes32 study, bytes32 id, address org) private {
        vm.prank(coordinator);
        ledger.recover(study, id, org);
    }

    function refuse(address by, bytes32 study, bytes32 id, address org, bytes memory why) private {
        vm.prank(by);
        vm.expectRevert(why);
        ledger.recover(study, id, org);
    }

    function refuseAbandon(address by, bytes32 study, bytes32 id) private {
        vm.prank(by);
        vm.expectRevert(abi.encodeWithSelector(ILedger.Recovering.selector, id));
        ledger.abandon(study, id);
    }

    /// A dp lock of the first four, half of its window ago.
    function halfway() private returns (Attempt memory a, bytes32 id) {
        a = sign(attempt(dp, A1, 4, "i1"));
        id = lock(a);
        vm.warp(block.timestamp + WINDOW / 2);
    }

    // --- what it says ---------------------------------------------------------------
    function test_head_names_who_was_recovered() public {
        (Attempt memory a, bytes32 id) = halfway();
        assert(ledger.head(dp).recovered.length == 0);
        recover(dp, id, orgs[2]);
        recover(dp, id, orgs[0]);
        Head memory h = ledger.head(dp);
        assert(h.recovered.length == 2 && h.recovered[0] == orgs[2] && h.recovered[1] == orgs[0]);
        assert(h.lockId == id && !h.abandoned && h.lockedAt == T0 && h.release == 1 && h.attempt == 1);
        attest(a); // its seal is as of any other lock
        h = ledger.head(dp);
        assert(h.attested == 1 && h.lockId == 0 && h.recovered.length == 0);
    }

    function test_event() public {
        (, bytes32 id) = halfway();
        (uint64 seq, bytes32 head) = (ledger.seq(), ledger.head());
        vm.recordLogs();
        vm.prank(regulator);
        ledger.recover(dp, id, orgs[1]);
        Log[] memory logs = vm.getRecordedLogs();
        assert(logs.length == 1 && logs[0].emitter == address(ledger) && logs[0].topics.length == 4);
        bytes32[] memory t = logs[0].topics;
        assert(t[0] == keccak256("Recovered(uint64,bytes32,bytes32,address,address,uint64)"));
        assert(uint256(t[1]) == seq + 1 && t[2] == dp && t[3] == id);
        assert(keccak256(logs[0].data) == keccak256(abi.encode(orgs[1], regulator, T0 + WINDOW / 2)));
        assert(ledger.head() == keccak256(abi.encode(head, t[0], t[1], t[2], t[3], keccak256(logs[0].data))));
    }

    function test_a_recovered_hospital_may_be_absent_or_sign() public {
        (Attempt memory a, bytes32 id) = halfway();
        recover(dp, id, a.orgs[1]);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        sigs[1] = "";
        // it is no shorter wait for the quorum
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.WindowOpen.selector, T0 + WINDOW));
        vm.warp(T0 + WINDOW);
        vm.prank(coordinator);
        ledger.attest(dp, s, a.orgs, sigs);
        assert(ledger.head(dp).attested == 1);
    }

    // --- who, what, when ------------------------------------------------------------
    function test_by_coordinator_sponsor_or_regulator() public {
        (, bytes32 id) = halfway();
        address[3] memory strangers = [address(this), orgs[0], vm.addr(agentKey[orgs[0]])];
        for (uint256 i; i < 3; ++i) {
            refuse(strangers[i], dp, id, orgs[0], abi.encodeWithSelector(ILedger.NotAllowed.selector, strangers[i]));
        }
        address[3] memory lawful = [coordinator, sponsor, regulator];
        for (uint256 i; i < 3; ++i) {
            vm.prank(lawful[i]);
            ledger.recover(dp, id, orgs[i]);
        }
        assert(ledger.head(dp).recovered.length == 3);
    }

    function test_only_what_is_locked() public {
        bytes memory none = abi.encodeWithSelector(ILedger.NotLocked.selector, bytes32(0));
        refuse(coordinator, dp, 0, orgs[0], none); // nothing yet
        (Attempt memory a, bytes32 id) = halfway();
        refuse(coordinator, dp, "other", orgs[0], abi.encodeWithSelector(ILedger.NotLocked.selector, bytes32("other")));
        bytes memory why = abi.encodeWithSelector(ILedger.NotLocked.selector, id);
        refuse(coordinator, exact, id, orgs[0], why);
        refuse(coordinator, "none", id, orgs[0], abi.encodeWithSelector(IRegistry.Unknown.selector, bytes32("none")));
        a = sign(attempt(dp, A1, 4, "i1"));
        bytes32 second = lock(a);
        refuse(coordinator, dp, id, orgs[0], why); // replaced
        vm.prank(coordinator);
        ledger.abandon(dp, second);
        vm.warp(block.timestamp + WINDOW);
        why = abi.encodeWithSelector(ILedger.NotLocked.selector, second);
        refuse(coordinator, dp, second, orgs[0], why); // abandoned
        a = sign(attempt(dp, A1, 4, "i1"));
        bytes32 third = lock(a);
        attest(a);
        vm.warp(block.timestamp + WINDOW);
        refuse(coordinator, dp, third, orgs[0], abi.encodeWithSelector(ILedger.NotLocked.selector, third)); // sealed
    }

    function test_each_once() public {
        (, bytes32 id) = halfway();
        recover(dp, id, orgs[0]);
        recover(dp, id, orgs[1]);
        for (uint256 i; i < 2; ++i) {
            refuse(sponsor, dp, id, orgs[i], abi.encodeWithSelector(ILedger.AlreadyRecovered.selector, orgs[i]));
        }
        assert(ledger.head(dp).recovered.length == 2);
    }

    function test_only_of_the_roster() public {
        (, bytes32 id) = halfway();
        address[3] memory others = [address(0), address(0xBAD), coordinator];
        for (uint256 i; i < 3; ++i) {
            refuse(coordinator, dp, id, others[i], abi.encodeWithSelector(ILedger.NotOnRoster.selector, others[i]));
        }
        registry.revokeRole(HOSPITAL, orgs[0]); // a suspended one is dead too
        recover(dp, id, orgs[0]);
    }

    function testFuzz_not_in_the_first_half_of_the_window(uint32 window, uint256 wait) public {
        StudyTerms memory t = terms("other", EXACT);
        t.window = window == 0 ? 1 : window;
        bytes32 study = register(t);
        for (uint256 i; i < 3; ++i) grant(orgs[i], study);
        bytes32 id = lock(study, A1, 3, "i1");
        uint256 due = T0 + t.window / 2;
        vm.warp(T0 + wait % (uint256(t.window) + 2));
        if (block.timestamp < due) {
            refuse(coordinator, study, id, orgs[0], abi.encodeWithSelector(ILedger.WindowOpen.selector, due));
            vm.warp(due);
        }
        recover(study, id, orgs[0]);
        assert(ledger.head(study).recovered[0] == orgs[0]);
    }

    function test_the_second_before_half_of_the_window() public {
        (, bytes32 id) = halfway();
        vm.warp(T0 + WINDOW / 2 - 1);
        refuse(coordinator, dp, id, orgs[0], abi.encodeWithSelector(ILedger.WindowOpen.selector, T0 + WINDOW / 2));
    }

    // --- what it rules out ----------------------------------------------------------
    function test_abandon_and_recover_exclude_each_other() public {
        (, bytes32 id) = halfway();
        recover(dp, id, orgs[3]);
        refuseAbandon(coordinator, dp, id);
        refuseAbandon(sponsor, dp, id);
        refuseAbandon(regulator, dp, id);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotAllowed.selector, address(this)));
        ledger.abandon(dp, id);
        assert(!ledger.head(dp).abandoned);
    }

    function testFuzz_whichever_comes_first_stands(uint256 wait, bool abandonFirst) public {
        bytes32 id = lock(dp, A1, 4, "i1");
        vm.warp(T0 + WINDOW / 2 + wait % 1000 days);
        if (abandonFirst) {
            vm.prank(sponsor);
            ledger.abandon(dp, id);
            refuse(coordinator, dp, id, orgs[0], abi.encodeWithSelector(ILedger.NotLocked.selector, id));
        } else {
            recover(dp, id, orgs[0]);
            refuseAbandon(sponsor, dp, id);
        }
        Head memory h = ledger.head(dp);
        assert(h.abandoned == abandonFirst && h.recovered.length == (abandonFirst ? 0 : 1));
    }

    function test_only_the_same_opening_may_follow() public {
        (, bytes32 id) = halfway();
        recover(dp, id, orgs[3]);
        bytes memory why = abi.encodeWithSelector(ILedger.Recovering.selector, id);
        refuseLock(sign(again(attempt(dp, A1, 4, "i2"), 2)), why); // other inputs
        refuseLock(sign(again(attempt(dp, A1, 3, "i1"), 2)), why); // another set
        Attempt memory a = again(attempt(dp, A1, 4, "i1"), 2);
        a.ctx.stateCommit = "another genesis";
        refuseLock(sign(a), why);
        refuseLock(
            sign(again(attempt(dp, A2, 4, "i1"), 2)), abi.encodeWithSelector(ILedger.StillLocked.selector, id)
        );
        lock(sign(again(attempt(dp, A1, 4, "i1"), 1)));
    }

    /// Without the recovery this set would follow lawfully, and with the first sum show the fourth hospital.
    function test_nor_may_another_set_that_all_accepted() public {
        bytes32 id = lock(sign(acceptLeaving(attempt(exact, A1, 4, "i1"))));
        vm.warp(T0 + WINDOW / 2);
        Attempt memory a = sign(again(acceptLeaving(attempt(exact, A1, 3, "i1")), 2));
        recover(exact, id, orgs[3]);
        refuseLock(a, abi.encodeWithSelector(ILedger.Recovering.selector, id));
    }

    /// A retry has a lock of its own, but what opens the first is out.
    function test_a_retry_does_not_wash_it_off() public {
        (, bytes32 first) = halfway();
        recover(dp, first, orgs[3]);
        Attempt memory a = sign(attempt(dp, A1, 4, "i1"));
        bytes32 id = lock(a);
        assert(ledger.head(dp).recovered.length == 0);
        uint256 due = block.timestamp + WINDOW / 2;
        refuse(coordinator, dp, first, orgs[0], abi.encodeWithSelector(ILedger.NotLocked.selector, first));
        refuse(coordinator, dp, id, orgs[3], abi.encodeWithSelector(ILedger.WindowOpen.selector, due));
        refuseAbandon(coordinator, dp, id);
        refuseLock(
            sign(again(attempt(dp, A1, 3, "i1"), 2)), abi.encodeWithSelector(ILedger.Recovering.selector, id)
        );
        vm.warp(due);
        recover(dp, id, orgs[3]); // of this lock
        assert(ledger.head(dp).recovered.length == 1);
        attest(a);
    }

    function test_the_seal_ends_it() public {
        (Attempt memory a, bytes32 id) = halfway();
        recover(dp, id, orgs[0]);
        attest(a);
        lock(dp, A1, 4, "i2");
        bytes32 second = lock(sign(again(attempt(dp, A1, 3, "i2"), 2)));
        vm.prank(coordinator);
        ledger.abandon(dp, second);
        assert(ledger.head(dp).abandoned);
    }

    function test_other_studies_do_not_mind() public {
        bytes32 other = lock(exact, A1, 4, "i1");
        (, bytes32 id) = halfway();
        recover(dp, id, orgs[0]);
        vm.prank(coordinator);
        ledger.abandon(exact, other);
        assert(ledger.head(exact).abandoned && ledger.head(exact).recovered.length == 0);
    }
}
