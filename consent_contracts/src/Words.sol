// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ctx, Seal, Use} from "./Types.sol";

/// ABI encoding of static structs and arrays of static words, copied from calldata whole instead of field by field. It is
/// what abi.encode gives, save that dirty high bits are copied too: callers read every narrow field as well, which
/// refuses them.
library Words {
    function words(Ctx calldata s) internal pure returns (bytes memory out) {
        out = new bytes(512);
        assembly ("memory-safe") {
            calldatacopy(add(out, 32), s, 512)
        }
    }

    function words(Seal calldata s) internal pure returns (bytes memory out) {
        out = new bytes(384);
        assembly ("memory-safe") {
            calldatacopy(add(out, 32), s, 384)
        }
    }

    /// The tail that stands behind the head of an abi.encode: the count, then the elements.
    function tail(Use[] calldata a) internal pure returns (bytes memory) {
        uint256 from;
        assembly ("memory-safe") {
            from := a.offset
        }
        return _tail(a.length, from, a.length * 128);
    }

    function tail(address[] calldata a) internal pure returns (bytes memory) {
        uint256 from;
        assembly ("memory-safe") {
            from := a.offset
        }
        return _tail(a.length, from, a.length * 32);
    }

    function tail(bytes32[] calldata a) internal pure returns (bytes memory) {
        uint256 from;
        assembly ("memory-safe") {
            from := a.offset
        }
        return _tail(a.length, from, a.length * 32);
    }

    function _tail(uint256 count, uint256 from, uint256 size) private pure returns (bytes memory out) {
        assembly ("memory-safe") {
            out := mload(0x40)
            mstore(out, add(size, 32))
            mstore(add(out, 32), count)
            calldatacopy(add(out, 64), from, size)
            mstore(0x40, add(out, add(size, 64)))
        }
    }
}
