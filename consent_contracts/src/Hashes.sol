// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {
    CTX_TYPEHASH,
    LOCK_TYPEHASH,
    PLAN_TYPEHASH,
    RECEIPTS_TYPEHASH,
    USES_TYPEHASH,
    Use
} from "./Types.sol";

/// The hashes that bind a round, as protos/digests.py makes them: keccak256 of abi.encode with a type hash in front. Arrays
/// and the context come as `Words` encodes them.
library Hashes {
    function ctxHash(bytes memory ctx) internal pure returns (bytes32) {
        return keccak256(bytes.concat(CTX_TYPEHASH, ctx));
    }

    function usesHash(bytes memory uses) internal pure returns (bytes32) {
        return keccak256(bytes.concat(abi.encode(USES_TYPEHASH, 64), uses));
    }

    function planHash(bytes32 ctx, bytes32 uses, bytes32 ready, bytes32 inputs, uint64 lockBy)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(PLAN_TYPEHASH, ctx, uses, ready, inputs, lockBy));
    }

    /// `n` organisations.
    function receiptsRoot(uint256 n, bytes memory orgs, bytes memory uploads) internal pure returns (bytes32) {
        return keccak256(bytes.concat(abi.encode(RECEIPTS_TYPEHASH, 96, 128 + n * 32), orgs, uploads));
    }

    function lockId(bytes32 plan, bytes32 receipts) internal pure returns (bytes32) {
        return keccak256(abi.encode(LOCK_TYPEHASH, plan, receipts));
    }

    /// What a seal must repeat, beside the lock's id, the seal before and the state.
    function expected(bytes32 codeHash, uint64 rho, uint64 delta, bytes memory orgs)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(bytes.concat(abi.encode(codeHash, rho, delta), orgs));
    }

    /// keccak256 over dataset (32 bytes) and version (32 bytes) of each use; and whether all accept another set.
    function setOf(Use[] calldata uses) internal pure returns (bytes32 set, bool open) {
        bytes memory members = new bytes(uses.length * 64);
        open = true;
        for (uint256 i; i < uses.length; ++i) {
            Use calldata u = uses[i];
            (bytes32 dataset, uint256 version) = (u.dataset, u.version);
            assembly ("memory-safe") {
                let place := add(members, add(32, shl(6, i)))
                mstore(place, dataset)
                mstore(add(place, 32), version)
            }
            if (!u.leaveSiteOut) open = false;
        }
        return (keccak256(members), open);
    }
}
