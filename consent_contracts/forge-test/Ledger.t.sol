// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Attempt, Base, COORDINATOR, HOSPITAL, LEDGER} from "./Base.sol";
import {ILedger, IRegistry} from "./Interfaces.sol";

contract LockTest is Base {
    // --- the honest round -----------------------------------------------------------
    function test_round_moves_the_chain() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        bytes32 id = lock(a);
        Head memory h = ledger.head(exact);
        Seal memory s = sealOf(a);
        assert(id == s.lockId && h.lockId == id);
        assert(h.attested == 0 && h.tip == 0 && h.stateCommit == 0);
        assert(h.round == 1 && h.release == 1 && h.attempt == 1 && h.lockedAt == T0 && !h.abandoned);
        assert(h.analysis == A1);
        bytes32 tip = attest(a);
        h = ledger.head(exact);
        assert(tip == sealId(s) && h.tip == tip && h.attested == 1 && h.stateCommit == s.stateAfter);
        assert(h.lockId == 0 && h.round == 0 && h.release == 0);
        round(exact, A1, 3, "i2");
        assert(ledger.head(exact).attested == 2);
    }

    function test_one_organisation_with_two_datasets() public {
        vm.prank(orgs[0]);
        bytes32 id = registry.registerDataset("second", "root", "schema", "terms", "cohort");
        vm.prank(orgs[0]);
        registry.setBudget(id, 1000, 1000, 10);
        GrantTerms memory g = consent(orgs[0], exact);
        g.dataset = id;
        vm.prank(orgs[0]);
        registry.grant(g);
        Attempt memory a = attempt(exact, A1, 3, "i1");
        Use[] memory uses = new Use[](4);
        uint256 k = 3;
        for (; k > 0 && a.uses[k - 1].dataset > id; --k) uses[k] = a.uses[k - 1];
        uses[k] = Use(id, 1, 1, false);
        for (uint256 i; i < k; ++i) uses[i] = a.uses[i];
        a.uses = uses;
        lock(sign(a));
    }

    // --- signatures -----------------------------------------------------------------
    function testFuzz_any_flipped_bit_of_a_receipt_is_refused(uint256 bit, uint8 who) public {
        Attempt memory a = sign(attempt(exact, A1, 4, "i1"));
        uint256 i = who % 4;
        bit %= 520;
        a.sigs[i][bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        refuseLock(a, abi.encodeWithSelector(ILedger.BadSignature.selector, a.orgs[i]));
    }

    function testFuzz_any_flipped_bit_of_what_is_signed_is_refused(uint256 bit, uint8 what) public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        bytes32 flip = bytes32(uint256(1) << (bit % 256));
        what %= 6;
        if (what == 0) a.readyRoot ^= flip;
        else if (what == 1) a.inputsRoot ^= flip;
        else if (what == 2) a.uploads[bit % 3] ^= flip;
        else if (what == 3) a.ctx.codeHash ^= flip;
        else if (what == 4) a.lockBy += uint64(1 + bit % 1e9);
        else a.uses[bit % 3].leaveSiteOut = true;
        address first = what == 2 ? a.orgs[bit % 3] : a.orgs[0];
        refuseLock(a, abi.encodeWithSelector(ILedger.BadSignature.selector, first));
    }

    function test_signatures_of_others_are_refused() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        (a.sigs[0], a.sigs[1]) = (a.sigs[1], a.sigs[0]);
        refuseLock(a, ILedger.BadSignature.selector);
        a = sign(attempt(exact, A1, 3, "i1"));
        a.sigs[2] = "";
        refuseLock(a, abi.encodeWithSelector(ILedger.BadSignature.selector, a.orgs[2]));
        a.sigs[2] = new bytes(64);
        refuseLock(a, abi.encodeWithSelector(ILedger.BadSignature.selector, a.orgs[2]));
    }

    function test_steward_key_does_not_speak_at_lock() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        bytes32 receipt = keccak256(abi.encode(RECEIPT_TYPEHASH, planHash(a), a.orgs[0], a.uploads[0]));
        a.sigs[0] = signed(orgKey[a.orgs[0]], typed(address(ledger), "AttestationLedger", receipt));
        refuseLock(a, abi.encodeWithSelector(ILedger.BadSignature.selector, a.orgs[0]));
    }

    function test_rotated_agent() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        vm.prank(orgs[1]);
        registry.setAgent(vm.addr(0xBEEF));
        refuseLock(a, abi.encodeWithSelector(ILedger.BadSignature.selector, orgs[1]));
        agentKey[orgs[1]] = 0xBEEF;
        lock(sign(a));
    }

    function test_without_agent_nobody_speaks() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        vm.prank(orgs[1]);
        registry.setAgent(address(0));
        a.sigs[1] = new bytes(65); // recovers to nobody
        refuseLock(a, abi.encodeWithSelector(ILedger.BadSignature.selector, orgs[1]));
    }

    // --- context --------------------------------------------------------------------
    function _wrong(Attempt memory a, bytes32 field) private {
        refuseLock(sign(a), abi.encodeWithSelector(ILedger.WrongContext.selector, field));
    }

    function test_wrong_context() public {
        Attempt memory a = attempt(dp, A1, 3, "i");
        a.ctx.chainId++;
        _wrong(a, "chainId");
        a = attempt(dp, A1, 3, "i");
        a.ctx.registry = address(1);
        _wrong(a, "registry");
        a = attempt(dp, A1, 3, "i");
        a.ctx.ledger = address(registry);
        _wrong(a, "ledger");
        a = attempt(dp, A1, 3, "i");
        a.ctx.specHash = "other";
        _wrong(a, "terms");
        a = attempt(dp, A1, 3, "i");
        a.ctx.mode = EXACT;
        _wrong(a, "terms");
        a = attempt(dp, A1, 3, "i");
        a.ctx.rho--;
        _wrong(a, "terms");
        a = attempt(dp, A1, 3, "i");
        a.ctx.delta--;
        _wrong(a, "terms");
        a = attempt(dp, A1, 3, "i");
        a.ctx.noise = "less";
        _wrong(a, "terms");
    }

    function test_order() public {
        round(dp, A1, 3, "i1");
        Attempt memory a = attempt(dp, A1, 3, "i2");
        a.ctx.round++;
        _wrong(a, "round");
        a.ctx.round = 1;
        _wrong(a, "round");
        a = attempt(dp, A1, 3, "i2");
        a.ctx.prevSeal = 0;
        _wrong(a, "prevSeal");
        a = attempt(dp, A1, 3, "i2");
        a.ctx.stateCommit = "genesis";
        _wrong(a, "stateCommit");
    }

    function test_unknown_analysis_and_study() public {
        Attempt memory a = attempt(exact, A1, 3, "i");
        a.ctx.analysis = "none";
        refuseLock(sign(a), abi.encodeWithSelector(IRegistry.Unknown.selector, bytes32("none")));
        a = attempt(exact, A1, 3, "i");
        a.ctx.study = "none";
        refuseLock(sign(a), abi.encodeWithSelector(IRegistry.Unknown.selector, A1));
    }

    function test_another_ledger_or_chain_cannot_replay() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        vm.chainId(999);
        a.ctx.chainId = 999;
        refuseLock(a, ILedger.BadSignature.selector);
    }

    function test_deadline() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        vm.warp(a.lockBy + 1);
        refuseLock(a, ILedger.Late.selector);
        vm.warp(a.lockBy);
        lock(a);
    }

    function test_only_the_studys_coordinator() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        registry.grantRole(COORDINATOR, address(0xBAD));
        vm.prank(address(0xBAD));
        vm.expectRevert(ILedger.NotCoordinator.selector);
        ledger.lock(a.ctx, a.uses, a.orgs, a.readyRoot, a.inputsRoot, a.lockBy, a.uploads, a.sigs);
        registry.revokeRole(COORDINATOR, coordinator);
        refuseLock(a, ILedger.NotCoordinator.selector);
    }

    // --- the set --------------------------------------------------------------------
    function test_fewer_than_three_are_refused() public {
        refuseLock(
            sign(attempt(exact, A1, 2, "i1")),
            abi.encodeWithSelector(ILedger.TooFewSites.selector, uint256(2), uint256(3))
        );
    }

    function test_duplicates_and_disorder() public {
        Attempt memory a = attempt(exact, A1, 4, "i1");
        (a.orgs[3], a.uses[3]) = (a.orgs[2], a.uses[2]);
        refuseLock(sign(a), IRegistry.NotAscending.selector);
        a = attempt(exact, A1, 4, "i1");
        a.uses[3] = a.uses[2];
        refuseLock(sign(a), IRegistry.NotAscending.selector);
        a = attempt(exact, A1, 4, "i1");
        (a.uses[0], a.uses[1]) = (a.uses[1], a.uses[0]);
        refuseLock(sign(a), IRegistry.NotAscending.selector);
        a = attempt(exact, A1, 4, "i1");
        (a.orgs[0], a.orgs[1]) = (a.orgs[1], a.orgs[0]);
        refuseLock(sign(a), IRegistry.NotAscending.selector);
    }

    function test_organisation_without_use_and_use_without_organisation() public {
        Attempt memory a = attempt(exact, A1, 4, "i1");
        Use[] memory three = new Use[](3);
        for (uint256 i; i < 3; ++i) three[i] = a.uses[i];
        address idle;
        for (uint256 i; i < 4; ++i) if (datasetOf[a.orgs[i]] == a.uses[3].dataset) idle = a.orgs[i];
        a.uses = three;
        refuseLock(sign(a), abi.encodeWithSelector(IRegistry.NotInSet.selector, idle));

        a = attempt(exact, A1, 3, "i1");
        Use[] memory four = attempt(exact, A1, 4, "i1").uses;
        a.uses = four;
        refuseLock(sign(a), abi.encodeWithSelector(IRegistry.NotInSet.selector, orgs[3]));

        for (uint256 gone; gone < 3; ++gone) {
            a = attempt(exact, A1, 4, "i1");
            address[] memory others = new address[](3);
            for (uint256 i; i < 3; ++i) others[i] = a.orgs[i < gone ? i : i + 1];
            (a.orgs, a.uploads, a.sigs) = (others, new bytes32[](3), new bytes[](3));
            refuseLock(sign(a), abi.encodeWithSelector(IRegistry.NotInSet.selector, orgs[gone]));
        }
    }

    function test_sizes() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        a.uploads = new bytes32[](4);
        refuseLock(a, ILedger.BadSize.selector);
        a = sign(attempt(exact, A1, 3, "i1"));
        a.sigs = new bytes[](2);
        refuseLock(a, ILedger.BadSize.selector);
        a = sign(attempt(exact, A1, 3, "i1"));
        a.uses = new Use[](129);
        refuseLock(a, ILedger.BadSize.selector);
    }

    /// Words are copied whole, so a dirty high bit must not slip into a hash.
    function test_dirty_calldata_is_refused() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        bytes memory call = abi.encodeCall(
            ledger.lock, (a.ctx, a.uses, a.orgs, a.readyRoot, a.inputsRoot, a.lockBy, a.uploads, a.sigs)
        );
        // word of: registry, round, release, attempt, mode, rho, delta; first use: version, epoch, flag; first org
        uint8[12] memory at_ = [1, 2, 7, 8, 9, 12, 13, 14, 25, 26, 27, 37];
        for (uint256 i; i < at_.length; ++i) {
            bytes memory dirty = bytes.concat(call);
            dirty[4 + uint256(at_[i]) * 32] = 0x01;
            vm.prank(coordinator);
            (bool ok,) = address(ledger).call(dirty);
            assert(!ok);
        }
        vm.prank(coordinator);
        (bool clean,) = address(ledger).call(call);
        assert(clean);
    }

    // --- consent at the gate --------------------------------------------------------
    function test_revoked_between_upload_and_lock() public {
        Attempt memory a = sign(attempt(exact, A1, 4, "i1"));
        revoke(orgs[3], exact);
        refuseLock(a, abi.encodeWithSelector(IRegistry.NoLiveConsent.selector, datasetOf[orgs[3]], uint8(1)));
        lock(exact, A1, 3, "i1"); // the others go on
        grant(orgs[3], exact);
        a.ctx.attempt = 9;
        a.ctx.release = 2;
        refuseLock(acceptLeaving(a), ILedger.SetFixed.selector);
    }

    function test_regranted_consent_has_another_epoch() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        revoke(orgs[0], exact);
        grant(orgs[0], exact);
        bytes32 id = datasetOf[orgs[0]];
        refuseLock(a, abi.encodeWithSelector(IRegistry.StaleEpoch.selector, id, uint32(3), uint32(1)));
    }

    function test_cohort_replaced() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[0]);
        registry.replaceCohort(id, "new", 0);
        refuseLock(a, abi.encodeWithSelector(IRegistry.StaleVersion.selector, id, uint32(2), uint32(1)));
    }

    function _dead(uint8 why) private {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        bytes32 id = a.uses[0].dataset;
        if (why > 4 && why != 6 && why != 7) {
            refuseLock(a, abi.encodeWithSelector(IRegistry.NoLiveConsent.selector, id, why));
        } else {
            refuseLock(a, abi.encodeWithSelector(IRegistry.NoLiveConsent.selector, datasetOf[orgs[0]], why));
        }
    }

    function test_withdrawal_stops_the_dataset() public {
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[0]);
        registry.withdraw(id, address(7), "patient", new bytes32[](0), "");
        _dead(6);
        vm.prank(orgs[0]);
        registry.replaceCohort(id, "without", 1);
        lock(exact, A1, 3, "i1");
    }

    function test_suspended_hospital() public {
        registry.revokeRole(HOSPITAL, orgs[0]);
        _dead(7);
    }

    function test_closed_study() public {
        vm.prank(sponsor);
        registry.closeStudy(exact);
        _dead(5);
    }

    function test_expired() public {
        vm.warp(T0 + 30 days - 1);
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        vm.warp(T0 + 30 days);
        refuseLock(a, abi.encodeWithSelector(IRegistry.NoLiveConsent.selector, a.uses[0].dataset, uint8(2)));
        vm.warp(T0 + 30 days - 1);
        lock(a);
    }

    function test_paused() public {
        Attempt memory a = sign(attempt(exact, A1, 3, "i1"));
        vm.prank(regulator);
        registry.pause();
        refuseLock(a, bytes4(keccak256("EnforcedPause()")));
        registry.unpause();
        lock(a);
        vm.prank(regulator);
        registry.pause();
        attest(a); // what was opened is recorded, paused or not
    }

    function test_nobody_else_consumes() public {
        Attempt memory a = attempt(exact, A1, 3, "i1");
        vm.expectRevert(
            abi.encodeWithSignature(
                "AccessControlUnauthorizedAccount(address,bytes32)", address(this), LEDGER
            )
        );
        registry.consume(exact, "lock", a.uses, a.orgs, EXACT, 0, 0, true);
    }
}
