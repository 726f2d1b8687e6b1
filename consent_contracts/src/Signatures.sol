// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

library Signatures {
    /// What a contract wallet may burn. OpenZeppelin's SignatureChecker forwards everything, which lets a
    /// signer's wallet eat the relayer's gas.
    uint256 internal constant WALLET_GAS = 150_000;

    /// True iff `signer`, a key or a contract wallet (ERC-1271), signed `digest`.
    function isFrom(address signer, bytes32 digest, bytes calldata sig) internal view returns (bool) {
        return signer.code.length == 0 ? isFromKey(signer, digest, sig) : _isFromWallet(signer, digest, sig);
    }

    /// True iff the key behind `signer` signed `digest`: 65 bytes, low s. False for the zero address.
    function isFromKey(address signer, bytes32 digest, bytes calldata sig) internal pure returns (bool) {
        (address found, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(digest, sig);
        return err == ECDSA.RecoverError.NoError && found == signer;
    }

    function _isFromWallet(address wallet, bytes32 digest, bytes calldata sig) private view returns (bool ok) {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, sig));
        bytes32 answer;
        uint256 size;
        assembly ("memory-safe") {
            // at most one word is copied back, whatever the wallet returns
            ok := staticcall(WALLET_GAS, wallet, add(question, 32), mload(question), 0, 32)
            size := returndatasize()
            answer := mload(0)
        }
        return ok && size >= 32 && answer == bytes32(IERC1271.isValidSignature.selector);
    }
}
