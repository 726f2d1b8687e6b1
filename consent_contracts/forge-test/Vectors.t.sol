// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Base} from "./Base.sol";
import {ILedger} from "./Interfaces.sol";

/// tests/vectors/digests.json, written by Python: the contract's own code must come to the same hashes.
contract VectorsTest is Base {
    string private json;

    function setUp() public override {
        json = vm.readFile("../tests/vectors/digests.json");
    }

    function test_vectors_agree() public {
        uint256 n;
        for (; vm.keyExistsJson(json, string.concat(".chain[", vm.toString(n), "]")); ++n) {
            _check(string.concat(".chain[", vm.toString(n), "]"));
        }
        assert(n >= 4);
    }

    function _check(string memory at_) private {
        Ctx memory ctx = _ctx(string.concat(at_, ".ctx"));
        // the code keeps the name and version of the domain, and makes it anew at another address
        vm.etch(ctx.ledger, deploy("AttestationLedger", abi.encode(address(0))).code);
        vm.chainId(ctx.chainId);
        ILedger open = ILedger(ctx.ledger);
        _checkLock(open, ctx, at_);
        string memory want = string.concat(at_, ".expected.");
        address[] memory who = vm.parseJsonAddressArray(json, string.concat(at_, ".orgs"));
        bytes32[] memory uploads = vm.parseJsonBytes32Array(json, string.concat(at_, ".uploads"));
        bytes32[] memory receipts = vm.parseJsonBytes32Array(json, string.concat(want, "receipts"));
        assert(receipts.length == who.length);
        for (uint256 i; i < who.length; ++i) {
            assert(open.receiptDigest(_word(want, "plan_hash"), who[i], uploads[i]) == receipts[i]);
        }
        assert(open.sealDigest(_seal(string.concat(at_, ".seal."))) == _word(want, "seal_id"));
    }

    function _checkLock(ILedger open, Ctx memory ctx, string memory at_) private view {
        string memory want = string.concat(at_, ".expected.");
        string memory dot = string.concat(at_, ".");
        (bytes32 plan, bytes32 root, bytes32 lockId) = open.lockHashes(
            ctx,
            _uses(string.concat(dot, "uses")),
            vm.parseJsonAddressArray(json, string.concat(dot, "orgs")),
            _word(dot, "ready_root"),
            _word(dot, "inputs_root"),
            uint64(_number(dot, "lock_by")),
            vm.parseJsonBytes32Array(json, string.concat(dot, "uploads"))
        );
        assert(plan == _word(want, "plan_hash"));
        assert(root == _word(want, "receipts_root"));
        assert(lockId == _word(want, "lock_id"));
    }

    function _ctx(string memory at_) private view returns (Ctx memory c) {
        at_ = string.concat(at_, ".");
        c.chainId = _number(at_, "chain_id");
        c.registry = vm.parseJsonAddress(json, string.concat(at_, "registry"));
        c.ledger = vm.parseJsonAddress(json, string.concat(at_, "ledger"));
        (c.study, c.analysis) = (_word(at_, "study"), _word(at_, "analysis"));
        (c.specHash, c.codeHash) = (_word(at_, "spec_hash"), _word(at_, "code_hash"));
        c.round = uint32(_number(at_, "round"));
        (c.release, c.attempt) = (uint32(_number(at_, "release")), uint32(_number(at_, "attempt")));
        (c.prevSeal, c.stateCommit) = (_word(at_, "prev_seal"), _word(at_, "state_commit"));
        c.mode = uint8(_number(at_, "mode"));
        (c.rho, c.delta) = (uint64(_number(at_, "rho")), uint64(_number(at_, "delta")));
        c.noise = _word(at_, "noise");
    }

    function _uses(string memory at_) private view returns (Use[] memory uses) {
        uint256 n;
        while (vm.keyExistsJson(json, string.concat(at_, "[", vm.toString(n), "]"))) ++n;
        uses = new Use[](n);
        for (uint256 i; i < n; ++i) {
            string memory u = string.concat(at_, "[", vm.toString(i), "].");
            uses[i].dataset = _word(u, "dataset");
            (uses[i].version, uses[i].epoch) = (uint32(_number(u, "version")), uint32(_number(u, "epoch")));
            uses[i].leaveSiteOut = vm.parseJsonBool(json, string.concat(u, "leave_site_out"));
        }
    }

    function _seal(string memory at_) private view returns (Seal memory s) {
        (s.lockId, s.planHash) = (_word(at_, "lock_id"), _word(at_, "plan_hash"));
        (s.receiptsRoot, s.resultHash) = (_word(at_, "receipts_root"), _word(at_, "result_hash"));
        (s.stateBefore, s.stateAfter) = (_word(at_, "state_before"), _word(at_, "state_after"));
        (s.rho, s.delta) = (uint64(_number(at_, "rho")), uint64(_number(at_, "delta")));
        (s.method, s.params) = (_word(at_, "method"), _word(at_, "params"));
        (s.codeHash, s.prevSeal) = (_word(at_, "code_hash"), _word(at_, "prev_seal"));
    }

    function _word(string memory at_, string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(at_, key));
    }

    function _number(string memory at_, string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(at_, key));
    }
}
