// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Attempt, Base, HOSPITAL} from "./Base.sol";
import {ILedger, IRegistry} from "./Interfaces.sol";

/// Lawful retries and their price, seals, abandonment.
contract RoundsTest is Base {
    function again(Attempt memory a, uint32 release) private pure returns (Attempt memory) {
        a.ctx.release = release;
        return a;
    }

    function abandon(address by, bytes32 study) private {
        bytes32 id = ledger.head(study).lockId;
        vm.prank(by);
        ledger.abandon(study, id);
    }

    function spent(address org, bytes32 study) private view returns (uint256 exactly, uint256 rho, uint256 delta) {
        Gate memory g = gateOf(org, study);
        return (5 - g.exactLeft, 500 - g.rhoLeft, 500 - g.deltaLeft);
    }

    function _exactSpent(address org) private view returns (uint256 n) {
        (n,,) = spent(org, exact);
    }

    // --- exact ----------------------------------------------------------------------
    function test_exact_charges_the_first_lock_only() public {
        for (uint256 i; i < 4; ++i) round(exact, A1, 3, bytes32(i + 1));
        assert(_exactSpent(orgs[0]) == 1 && _exactSpent(orgs[3]) == 0);
        round(exact, A2, 4, "other analysis");
        assert(_exactSpent(orgs[0]) == 2 && _exactSpent(orgs[3]) == 1);
        round(exact, A1, 3, "back"); // its own set, free
        assert(_exactSpent(orgs[0]) == 2);
    }

    function test_exact_retry_same_set_and_inputs() public {
        lock(exact, A1, 3, "i1");
        Attempt memory a = attempt(exact, A1, 3, "i1");
        refuseLock(sign(again(a, 2)), abi.encodeWithSelector(ILedger.BadRelease.selector, uint32(1), uint32(2)));
        lock(sign(again(a, 1)));
        assert(_exactSpent(orgs[0]) == 1);
        refuseLock(sign(a), abi.encodeWithSelector(ILedger.StaleAttempt.selector, uint32(2), uint32(2)));
        attest(a);
    }

    function test_exact_replaced_lock_cannot_be_attested() public {
        Attempt memory old = sign(attempt(exact, A1, 3, "i1"));
        lock(old);
        bytes32 current = lock(exact, A1, 3, "i1");
        Seal memory s = sealOf(old);
        bytes memory why = abi.encodeWithSelector(ILedger.WrongSeal.selector, bytes32("lockId"));
        refuseAttest(exact, s, old.orgs, sealSigs(s, old.orgs), why);
        s.lockId = current; // the lock's id over the dead one's plan and receipts
        refuseAttest(exact, s, old.orgs, sealSigs(s, old.orgs), why);
    }

    function test_exact_never_other_inputs_in_one_round() public {
        lock(exact, A1, 3, "i1");
        bytes memory why = abi.encodeWithSelector(ILedger.InputsChanged.selector, A1);
        refuseLock(sign(again(attempt(exact, A1, 3, "i2"), 2)), why);
        abandon(coordinator, exact);
        refuseLock(sign(again(attempt(exact, A1, 3, "i2"), 2)), why);
        // nor by way of another analysis
        lock(sign(again(attempt(exact, A2, 3, "i3"), 2)));
        abandon(coordinator, exact);
        refuseLock(sign(again(attempt(exact, A1, 3, "i2"), 3)), why);
    }

    function test_exact_first_state_is_part_of_the_inputs() public {
        lock(exact, A1, 3, "i1");
        Attempt memory a = attempt(exact, A1, 3, "i1");
        a.ctx.stateCommit = "another genesis";
        a.ctx.release = 2;
        refuseLock(sign(a), ILedger.InputsChanged.selector);
    }

    /// The two-set attack: one round over four, the next over three, shows the fourth.
    function test_exact_set_is_fixed() public {
        round(exact, A1, 4, "i1");
        refuseLock(sign(attempt(exact, A1, 3, "i2")), ILedger.SetFixed.selector);
        refuseLock(sign(attempt(exact, A1, 5, "i2")), ILedger.SetFixed.selector);
        refuseLock(sign(acceptLeaving(attempt(exact, A1, 3, "i2"))), ILedger.SetFixed.selector); // the old set did not accept
        lock(exact, A1, 4, "i2");
        refuseLock(sign(again(acceptLeaving(attempt(exact, A1, 3, "i3")), 2)), ILedger.SetFixed.selector);
    }

    function test_exact_set_is_of_versions() public {
        round(exact, A1, 3, "i1");
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[0]);
        registry.replaceCohort(id, "new", 0);
        refuseLock(sign(attempt(exact, A1, 3, "i2")), ILedger.SetFixed.selector);
    }

    function test_exact_regrant_keeps_the_set() public {
        round(exact, A1, 3, "i1");
        revoke(orgs[0], exact);
        grant(orgs[0], exact);
        round(exact, A1, 3, "i2");
        assert(_exactSpent(orgs[0]) == 1);
    }

    function test_exact_leaving_accepted_by_all() public {
        Attempt memory a = sign(acceptLeaving(attempt(exact, A1, 4, "i1")));
        lock(a);
        (bytes32 set, bool mayLeave) = ledger.analysisSet(exact, A1);
        assert(set != 0 && mayLeave);
        refuseLock(sign(again(attempt(exact, A1, 3, "i2"), 2)), ILedger.SetFixed.selector); // the new set must accept too
        Attempt memory b = acceptLeaving(attempt(exact, A1, 3, "i2"));
        refuseLock(sign(again(b, 1)), ILedger.BadRelease.selector);
        lock(sign(again(b, 2)));
        assert(_exactSpent(orgs[0]) == 2 && _exactSpent(orgs[3]) == 1);
        attest(b);
        round(exact, A1, 3, "i3"); // free again, and not accepting closes it
        assert(_exactSpent(orgs[0]) == 2);
        refuseLock(sign(acceptLeaving(attempt(exact, A1, 4, "i4"))), ILedger.SetFixed.selector);
    }

    /// One hospital's no is enough, whenever it was said since the set was fixed.
    function test_exact_one_refusal_to_leave_counts() public {
        Attempt memory a = acceptLeaving(attempt(exact, A1, 4, "i1"));
        a.uses[2].leaveSiteOut = false;
        lock(sign(a));
        attest(a);
        a = sign(acceptLeaving(attempt(exact, A1, 4, "i2")));
        lock(a);
        attest(a);
        refuseLock(sign(acceptLeaving(attempt(exact, A1, 3, "i3"))), ILedger.SetFixed.selector);
    }

    function test_exact_budgets() public {
        bytes32 id = datasetOf[orgs[1]];
        vm.prank(orgs[1]);
        registry.setBudget(id, 0, 0, 1);
        round(exact, A1, 3, "i1");
        refuseLock(
            sign(attempt(exact, A2, 3, "i2")), abi.encodeWithSelector(IRegistry.BudgetExceeded.selector, id, bytes32("exact"))
        );
        round(exact, A1, 3, "i2"); // nothing to pay
    }

    // --- dp -------------------------------------------------------------------------
    function test_dp_charges_every_release() public {
        round(dp, A1, 3, "i1");
        lock(dp, A2, 5, "i2");
        (uint256 none, uint256 rho, uint256 delta) = spent(orgs[0], dp);
        assert(none == 0 && rho == 30 && delta == 8);
        lock(sign(again(attempt(dp, A2, 5, "i2"), 1))); // same set and inputs: free
        (, rho,) = spent(orgs[0], dp);
        assert(rho == 30);
        refuseLock(sign(again(attempt(dp, A2, 4, "i2"), 1)), ILedger.BadRelease.selector);
        lock(sign(again(attempt(dp, A2, 4, "i2"), 2))); // another set
        (, rho, delta) = spent(orgs[0], dp);
        assert(rho == 50 && delta == 13);
        lock(sign(again(attempt(dp, A2, 4, "i3"), 3))); // other inputs: fresh noise, full charge
        (, rho,) = spent(orgs[0], dp);
        assert(rho == 70);
        (, rho,) = spent(orgs[4], dp);
        assert(rho == 20);
    }

    function test_dp_caps_of_consent_and_dataset() public {
        GrantTerms memory g = consent(orgs[0], dp);
        (g.rhoCap, g.deltaCap) = (19, 500);
        vm.prank(orgs[0]);
        registry.grant(g);
        round(dp, A1, 3, "i1");
        bytes memory why = abi.encodeWithSelector(IRegistry.BudgetExceeded.selector, datasetOf[orgs[0]], bytes32("rho"));
        refuseLock(sign(attempt(dp, A1, 3, "i2")), why);
        vm.prank(orgs[0]);
        registry.grant(g); // a new grant does not launder what is spent
        refuseLock(sign(attempt(dp, A1, 3, "i2")), why);
        (g.rhoCap, g.deltaCap) = (20, 5);
        vm.prank(orgs[0]);
        registry.grant(g);
        refuseLock(
            sign(attempt(dp, A1, 3, "i2")),
            abi.encodeWithSelector(IRegistry.BudgetExceeded.selector, datasetOf[orgs[0]], bytes32("delta"))
        );
        g.deltaCap = 6;
        vm.prank(orgs[0]);
        registry.grant(g);
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[0]);
        registry.setBudget(id, 19, 500, 0);
        refuseLock(sign(attempt(dp, A1, 3, "i2")), why);
        vm.prank(orgs[0]);
        registry.setBudget(id, 20, 500, 0);
        round(dp, A1, 3, "i2");
    }

    /// Spending in one study is missing in the other.
    function test_dataset_budget_counts_across_studies() public {
        bytes32 other = register(terms("dp 2", DP));
        for (uint256 i; i < 3; ++i) grant(orgs[i], other);
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[0]);
        registry.setBudget(id, 15, 500, 0);
        round(dp, A1, 3, "i1");
        refuseLock(sign(attempt(other, A1, 3, "i1")), abi.encodeWithSelector(IRegistry.BudgetExceeded.selector, id, bytes32("rho")));
    }

    // --- seals ----------------------------------------------------------------------
    function test_seal_must_match_the_lock() public {
        Attempt memory a = sign(attempt(dp, A1, 3, "i1"));
        lock(a);
        bytes32[9] memory fields =
            [bytes32("lockId"), "lockId", "lockId", "prevSeal", "stateAfter", "stateBefore", "expected", "expected", "expected"];
        for (uint256 i; i < fields.length; ++i) {
            Seal memory s = sealOf(a);
            if (i == 0) s.planHash = "x";
            if (i == 1) s.receiptsRoot = "x";
            if (i == 2) s.lockId = "x";
            if (i == 3) s.prevSeal = "x";
            if (i == 4) s.stateAfter = 0;
            if (i == 5) s.stateBefore = "x";
            if (i == 6) s.rho++;
            if (i == 7) s.delta--;
            if (i == 8) s.codeHash = "x";
            refuseAttest(dp, s, a.orgs, sealSigs(s, a.orgs), abi.encodeWithSelector(ILedger.WrongSeal.selector, fields[i]));
        }
    }

    function testFuzz_any_flipped_bit_of_a_seal_signature_is_refused(uint256 bit, uint8 who) public {
        Attempt memory a = sign(attempt(dp, A1, 4, "i1"));
        lock(a);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        bit %= 520;
        sigs[who % 4][bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.BadSignature.selector, a.orgs[who % 4]));
    }

    function testFuzz_unsigned_content_is_refused(uint256 bit, uint8 what) public {
        Attempt memory a = sign(attempt(dp, A1, 3, "i1"));
        lock(a);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        bytes32 flip = bytes32(uint256(1) << (bit % 256));
        if (what % 4 == 0) s.stateAfter ^= flip;
        if (what % 4 == 1) s.resultHash ^= flip;
        if (what % 4 == 2) s.method ^= flip;
        if (what % 4 == 3) s.params ^= flip;
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.BadSignature.selector, a.orgs[0]));
    }

    function test_seal_names_the_locked_organisations() public {
        Attempt memory a = sign(attempt(dp, A1, 4, "i1"));
        lock(a);
        Seal memory s = sealOf(a);
        address[] memory three = new address[](3);
        for (uint256 i; i < 3; ++i) three[i] = a.orgs[i];
        bytes memory why = abi.encodeWithSelector(ILedger.WrongSeal.selector, bytes32("expected"));
        refuseAttest(dp, s, three, sealSigs(s, three), why);
        refuseAttest(dp, s, a.orgs, new bytes[](3), abi.encodeWithSelector(ILedger.BadSize.selector));
    }

    function test_quorum_after_the_window() public {
        Attempt memory a = sign(attempt(dp, A1, 4, "i1"));
        lock(a);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        sigs[1] = "";
        vm.warp(T0 + WINDOW - 1);
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.WindowOpen.selector, T0 + WINDOW));
        vm.warp(T0 + WINDOW);
        sigs[2] = "";
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.NoQuorum.selector, uint256(2)));
        sigs[2] = signed(agentKey[a.orgs[2]], sealId(s));
        vm.prank(coordinator);
        ledger.attest(dp, s, a.orgs, sigs);
        assert(ledger.head(dp).attested == 1);
    }

    function test_quorum_never_below_the_minimum() public {
        Attempt memory a = sign(attempt(dp, A1, 3, "i1"));
        lock(a);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        sigs[0] = "";
        vm.warp(T0 + WINDOW);
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.NoQuorum.selector, uint256(2)));
    }

    function test_quorum_bears_as_many_absences_as_collusions() public {
        Attempt memory a = sign(attempt(dp, A1, 5, "i1"));
        lock(a);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        (sigs[0], sigs[4]) = (bytes(""), bytes(""));
        vm.warp(T0 + WINDOW);
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.NoQuorum.selector, uint256(3)));
    }

    function test_attest_by_the_coordinator_once() public {
        Attempt memory a = sign(attempt(dp, A1, 3, "i1"));
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        bytes memory none = abi.encodeWithSelector(ILedger.NotLocked.selector, s.lockId);
        refuseAttest(dp, s, a.orgs, sigs, none); // nothing locked yet
        lock(a);
        vm.expectRevert(ILedger.NotCoordinator.selector);
        ledger.attest(dp, s, a.orgs, sigs);
        attest(a);
        refuseAttest(dp, s, a.orgs, sigs, none);
    }

    /// No second gate: what was locked could be opened and belongs into the record.
    function test_attest_after_revocation_suspension_and_close() public {
        Attempt memory a = sign(attempt(dp, A1, 3, "i1"));
        lock(a);
        revoke(orgs[0], dp);
        registry.revokeRole(HOSPITAL, orgs[1]);
        vm.prank(sponsor);
        registry.closeStudy(dp);
        attest(a);
    }

    function test_agent_in_force_signs_the_seal() public {
        Attempt memory a = sign(attempt(dp, A1, 3, "i1"));
        lock(a);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        vm.prank(orgs[2]);
        registry.setAgent(vm.addr(0xBEEF));
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.BadSignature.selector, orgs[2]));
        agentKey[orgs[2]] = 0xBEEF;
        attest(a);
    }

    // --- abandon --------------------------------------------------------------------
    function test_abandoned_lock_is_dead_and_paid() public {
        Attempt memory a = sign(attempt(dp, A1, 3, "i1"));
        bytes32 id = lock(a);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotAllowed.selector, address(this)));
        ledger.abandon(dp, id);
        vm.prank(coordinator);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotLocked.selector, bytes32("other")));
        ledger.abandon(dp, "other");
        vm.prank(regulator);
        ledger.abandon(dp, id);
        assert(ledger.head(dp).abandoned);
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        refuseAttest(dp, s, a.orgs, sigs, abi.encodeWithSelector(ILedger.NotLocked.selector, s.lockId));
        vm.prank(sponsor);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotLocked.selector, id));
        ledger.abandon(dp, id);
        (, uint256 rho,) = spent(orgs[0], dp);
        assert(rho == 10);
        lock(sign(again(attempt(dp, A1, 3, "i1"), 1))); // same set and inputs may be locked again, free
        (, rho,) = spent(orgs[0], dp);
        assert(rho == 10);
        abandon(sponsor, dp);
    }

    function test_another_analysis_only_after_abandon() public {
        bytes32 id = lock(dp, A1, 3, "i1");
        Attempt memory a = again(attempt(dp, A2, 3, "i2"), 2);
        refuseLock(sign(a), abi.encodeWithSelector(ILedger.StillLocked.selector, id));
        vm.prank(coordinator);
        ledger.abandon(dp, id);
        lock(sign(a));
        attest(a);
        assert(ledger.head(dp).attested == 1);
    }
}
