// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Base} from "./Base.sol";
import {IRegistry as R} from "./Interfaces.sol";

/// A steward's wallet (ERC-1271). `mode` 0 honest, 1 burns all its gas, 2 says no, 3 answers with a megabyte.
contract Wallet {
    uint256 public mode;
    bytes32 public accepted;

    function accept(bytes32 digest, uint256 mode_) external {
        (accepted, mode) = (digest, mode_);
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        if (mode == 1) while (true) {}
        if (mode == 3) {
            assembly {
                return(0, 1000000)
            }
        }
        return mode == 0 && digest == accepted ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }

    function run(address to, bytes calldata data) external {
        (bool ok,) = to.call(data);
        require(ok);
    }
}

/// Datasets, grants, revocations, withdrawals.
contract ConsentTest is Base {
    bytes32 private constant GRANT = keccak256(
        "Grant(bytes32 dataset,bytes32 study,uint64 allowed,uint64 conditions,bytes32 scope,uint40 expiry,uint64 rhoCap,uint64 deltaCap,uint24 exactCap,uint32 epoch,uint64 deadline)"
    );
    bytes32 private constant REVOKE = keccak256("Revoke(bytes32 dataset,bytes32 study,uint32 epoch)");
    bytes32 private constant WITHDRAW = keccak256("Withdraw(bytes32 dataset,bytes32 leaf)");

    function _typed(bytes32 structHash) private view returns (bytes32) {
        return typed(address(registry), "ConsentRegistry", structHash);
    }

    function _grantDigest(GrantTerms memory g, uint32 epoch, uint64 deadline) private view returns (bytes32) {
        return _typed(keccak256(abi.encode(GRANT, g, epoch, deadline)));
    }

    function _bad(GrantTerms memory g, bytes32 field) private {
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.BadTerms.selector, field));
        registry.grant(g);
    }

    // --- grants ---------------------------------------------------------------------
    function test_grants_that_are_refused() public {
        GrantTerms memory g = consent(orgs[0], exact);
        g.allowed = 0;
        _bad(g, "allowed");
        g = consent(orgs[0], exact);
        g.expiry = uint40(block.timestamp);
        _bad(g, "expiry");
        g = consent(orgs[0], exact);
        g.scope = "another disease";
        _bad(g, "scope");
        g = consent(orgs[0], exact);
        g.study = "none";
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.Unknown.selector, bytes32("none")));
        registry.grant(g);
        g = consent(orgs[0], exact);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(R.NotSteward.selector, g.dataset));
        registry.grant(g);
    }

    function test_no_scope_means_any() public {
        GrantTerms memory g = consent(orgs[0], exact);
        g.scope = 0;
        vm.prank(orgs[0]);
        registry.grant(g);
        assert(registry.status(g.dataset, exact) == 0);
    }

    function test_only_the_roster_can_grant() public {
        StudyTerms memory t = terms("four", EXACT);
        address[] memory four = new address[](4);
        for (uint256 i; i < 4; ++i) four[i] = orgs[i + 1];
        t.roster = four;
        bytes32 study = register(t);
        GrantTerms memory g = consent(orgs[0], study);
        _bad(g, "roster");
        grant(orgs[1], study);
    }

    /// The status is exactly what the terms say.
    function testFuzz_status(uint64 allowed, uint64 conditions, uint32 ttl, uint32 later) public {
        GrantTerms memory g = consent(orgs[0], exact);
        (g.allowed, g.conditions) = (allowed == 0 ? 1 : allowed, conditions);
        g.expiry = uint40(block.timestamp + 1 + ttl);
        vm.prank(orgs[0]);
        registry.grant(g);
        vm.warp(block.timestamp + later);
        uint8 want;
        if (conditions & ~uint64(3) != 0) want = 4;
        if (5 & ~g.allowed != 0) want = 3;
        if (block.timestamp >= g.expiry) want = 2;
        assert(registry.status(g.dataset, exact) == want);
        assert(gateOf(orgs[0], exact).status == want);
    }

    function test_gate_tells_everything() public {
        bytes32 id = datasetOf[orgs[0]];
        Gate memory g = gateOf(orgs[0], dp);
        assert(g.status == 0 && g.version == 1 && g.epoch == 1 && g.steward == orgs[0]);
        assert(g.expiry == T0 + 30 days && g.rhoLeft == 500 && g.deltaLeft == 500 && g.exactLeft == 5);
        vm.prank(orgs[0]);
        registry.setBudget(id, 7, 8, 2);
        g = gateOf(orgs[0], dp);
        assert(g.rhoLeft == 7 && g.deltaLeft == 8 && g.exactLeft == 2);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(R.NotSteward.selector, id));
        registry.setBudget(id, 1, 1, 1);
        g = gateOf(address(0xBAD), dp); // unknown dataset
        assert(g.status == 1 && g.steward == address(0) && g.epoch == 0);
    }

    function test_budget_below_what_is_spent() public {
        round(dp, A1, 3, "i1");
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[0]);
        registry.setBudget(id, 5, 1, 0);
        Gate memory g = gateOf(orgs[0], dp);
        assert(g.rhoLeft == 0 && g.deltaLeft == 0 && g.exactLeft == 0);
    }

    // --- revocation -----------------------------------------------------------------
    function test_revoke() public {
        bytes32 id = datasetOf[orgs[0]];
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(R.NotSteward.selector, id));
        registry.revoke(id, exact);
        vm.prank(regulator);
        registry.revoke(id, exact);
        assert(registry.status(id, exact) == 1 && gateOf(orgs[0], exact).epoch == 2);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.NoLiveConsent.selector, id, uint8(1)));
        registry.revoke(id, exact);
        assert(registry.status(id, dp) == 0); // the other study's consent is another
    }

    // --- signatures of the steward ----------------------------------------------------
    function test_relayed_grant_and_revocation() public {
        address org = orgs[0];
        revoke(org, exact); // epoch 2
        GrantTerms memory g = consent(org, exact);
        bytes memory sig = signed(orgKey[org], _grantDigest(g, 2, uint64(T0 + 60)));
        vm.warp(T0 + 61);
        vm.expectRevert(R.Late.selector);
        registry.grantBySig(g, uint64(T0 + 60), sig);
        vm.warp(T0 + 60);
        registry.grantBySig(g, uint64(T0 + 60), sig); // epoch 3
        assert(registry.status(g.dataset, exact) == 0);

        vm.expectRevert(R.BadSignature.selector);
        registry.grantBySig(g, uint64(T0 + 60), sig); // its epoch is gone
        bytes memory revocation =
            signed(orgKey[org], _typed(keccak256(abi.encode(REVOKE, g.dataset, exact, uint32(3)))));
        registry.revokeBySig(g.dataset, exact, revocation);
        assert(registry.status(g.dataset, exact) == 1);
        vm.expectRevert(R.BadSignature.selector);
        registry.grantBySig(g, uint64(T0 + 60), sig); // the dead do not rise
        grant(org, exact);
        vm.expectRevert(R.BadSignature.selector);
        registry.revokeBySig(g.dataset, exact, revocation);
    }

    function test_agent_key_does_not_consent() public {
        GrantTerms memory g = consent(orgs[0], exact);
        bytes memory sig = signed(agentKey[orgs[0]], _grantDigest(g, 1, uint64(T0)));
        vm.expectRevert(R.BadSignature.selector);
        registry.grantBySig(g, uint64(T0), sig);
    }

    function testFuzz_any_flipped_bit_of_a_signed_grant_is_refused(uint256 bit, uint8 what) public {
        GrantTerms memory g = consent(orgs[0], exact);
        g.scope = 0;
        bytes memory sig = signed(orgKey[orgs[0]], _grantDigest(g, 1, uint64(T0)));
        uint64 flip = uint64(1) << uint64(bit % 63);
        uint64 deadline = uint64(T0);
        what %= 9;
        if (what == 0) g.allowed ^= flip << 1;
        if (what == 1) g.conditions ^= flip;
        if (what == 2) g.scope = "MONDO";
        if (what == 3) g.expiry += uint40(1 + (flip & 0xffff));
        if (what == 4) g.rhoCap ^= flip;
        if (what == 5) g.deltaCap ^= flip;
        if (what == 6) g.exactCap ^= uint24(1 << (bit % 24));
        if (what == 7) deadline += 1 + flip % 1e9;
        if (what == 8) sig[bit % 65] ^= bytes1(uint8(1 << (bit / 65 % 8)));
        vm.expectRevert(R.BadSignature.selector);
        registry.grantBySig(g, deadline, sig);
    }

    function test_signature_of_nobodys_dataset() public {
        GrantTerms memory g = consent(orgs[0], exact);
        g.dataset = "none";
        vm.expectRevert(abi.encodeWithSelector(R.Unknown.selector, bytes32("none")));
        registry.grantBySig(g, uint64(T0), new bytes(65)); // would recover to address zero, the steward of nothing
    }

    // --- contract wallets -------------------------------------------------------------
    function _wallet() private returns (Wallet w, bytes32 study, GrantTerms memory g) {
        w = new Wallet();
        registry.grantRole(keccak256("HOSPITAL"), address(w));
        w.run(address(registry), abi.encodeCall(R.registerDataset, ("nonce", "r", "s", "t", "c")));
        StudyTerms memory t = terms("wallet", EXACT);
        address[] memory roster = new address[](6);
        uint256 j = 5;
        for (; j > 0 && orgs[j - 1] > address(w); --j) roster[j] = orgs[j - 1];
        roster[j] = address(w);
        for (uint256 i; i < j; ++i) roster[i] = orgs[i];
        t.roster = roster;
        study = register(t);
        g = consent(orgs[0], study);
        g.dataset = keccak256(abi.encode(address(w), bytes32("nonce")));
    }

    function test_wallet_signs() public {
        (Wallet w, bytes32 study, GrantTerms memory g) = _wallet();
        w.accept(_grantDigest(g, 0, uint64(T0)), 0);
        registry.grantBySig(g, uint64(T0), "any");
        assert(registry.status(g.dataset, study) == 0);
    }

    function test_wallet_cannot_burn_the_relayers_gas() public {
        (Wallet w,, GrantTerms memory g) = _wallet();
        bytes32 digest = _grantDigest(g, 0, uint64(T0));
        for (uint256 mode = 1; mode < 4; ++mode) {
            w.accept(digest, mode);
            uint256 before = gasleft();
            vm.expectRevert(R.BadSignature.selector);
            registry.grantBySig(g, uint64(T0), "any");
            assert(before - gasleft() < 300_000);
        }
    }

    // --- withdrawals ------------------------------------------------------------------
    function _leaf(address key, bytes32 commitment) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(key, commitment))));
    }

    function _pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    /// A cohort of four; the patient is the third.
    function _cohort(uint256 key) private returns (bytes32 id, bytes32 leaf, bytes32[] memory proof) {
        leaf = _leaf(vm.addr(key), "salted");
        (id, proof) = (datasetOf[orgs[0]], new bytes32[](2));
        (proof[0], proof[1]) = (_leaf(address(4), "d"), _pair(_leaf(address(1), "a"), _leaf(address(2), "b")));
        vm.prank(orgs[0]);
        registry.replaceCohort(id, _pair(_pair(leaf, proof[0]), proof[1]), 0);
    }

    function test_patient_withdraws() public {
        (bytes32 id, bytes32 leaf, bytes32[] memory proof) = _cohort(0x9A7);
        address key = vm.addr(0x9A7);
        bytes memory sig = signed(0x9A7, _typed(keccak256(abi.encode(WITHDRAW, id, leaf))));
        vm.expectRevert(abi.encodeWithSelector(R.Unknown.selector, _leaf(key, "other")));
        registry.withdraw(id, key, "other", proof, sig);
        vm.expectRevert(R.BadSignature.selector);
        registry.withdraw(id, key, "salted", proof, signed(0x9A8, _typed(keccak256(abi.encode(WITHDRAW, id, leaf)))));
        bytes32 node = proof[0];
        proof[0] = "x";
        vm.expectRevert(abi.encodeWithSelector(R.Unknown.selector, leaf));
        registry.withdraw(id, key, "salted", proof, sig);
        proof[0] = node;
        registry.withdraw(id, key, "salted", proof, sig);
        assert(registry.status(id, exact) == 6);
        vm.expectRevert(abi.encodeWithSelector(R.Exists.selector, leaf));
        registry.withdraw(id, key, "salted", proof, sig);

        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.StaleCohort.selector, id, uint32(1), uint32(0)));
        registry.replaceCohort(id, "x", 0);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(R.NotSteward.selector, id));
        registry.replaceCohort(id, "x", 1);
        vm.prank(orgs[0]);
        registry.replaceCohort(id, "x", 1);
        assert(registry.status(id, exact) == 0 && gateOf(orgs[0], exact).version == 3);
    }

    function test_withdrawal_from_nothing() public {
        vm.expectRevert(abi.encodeWithSelector(R.Unknown.selector, bytes32("none")));
        registry.withdraw("none", address(1), "c", new bytes32[](0), "");
    }

    function test_dataset_ids_cannot_be_squatted() public {
        bytes32 id = datasetOf[orgs[0]];
        assert(id == keccak256(abi.encode(orgs[0], bytes32("nonce"))));
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.Exists.selector, id));
        registry.registerDataset("nonce", "r", "s", "t", "c");
    }
}
