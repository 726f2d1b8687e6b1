// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// Append-only hash chain over every state change.
///
/// A journalled event has `uint64 indexed seq` as its first parameter, counting 1, 2, 3 … per contract. With each
///
///   head = keccak256(abi.encode(head, topic0, topic1, topic2, topic3, keccak256(data)))
///
/// over the log's own words, absent topics as zero. So an index of raw logs is complete, unaltered and in order
/// iff its running hash ends at `head()` and its count at `seq()`. Events without `seq` (OpenZeppelin's own) repeat what a
/// journalled one says and are not covered.
abstract contract Journal {
    bytes32 private _head;
    uint64 public seq; // of the last event; the last variable, so that others can share its slot

    /// The running hash after the last event.
    function head() public view returns (bytes32) {
        return _head;
    }

    /// Writes one event and extends the chain. `data` is abi.encode of the parameters that are not indexed: encoded
    /// once, for the log and for the hash. `a`, `b`: the second and third topic.
    function _record(bytes32 topic0, bytes32 a, bytes32 b, bytes memory data) internal {
        uint64 s = _extend(topic0, a, b, data);
        assembly ("memory-safe") {
            log4(add(data, 32), mload(data), topic0, s, a, b)
        }
    }

    function _record(bytes32 topic0, bytes32 a, bytes memory data) internal {
        uint64 s = _extend(topic0, a, 0, data);
        assembly ("memory-safe") {
            log3(add(data, 32), mload(data), topic0, s, a)
        }
    }

    function _record(bytes32 topic0, bytes memory data) internal {
        uint64 s = _extend(topic0, 0, 0, data);
        assembly ("memory-safe") {
            log2(add(data, 32), mload(data), topic0, s)
        }
    }

    function _extend(bytes32 topic0, bytes32 a, bytes32 b, bytes memory data) private returns (uint64 s) {
        s = ++seq;
        _head = keccak256(abi.encode(_head, topic0, s, a, b, keccak256(data)));
    }

    function _word(address a) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(a)));
    }
}
