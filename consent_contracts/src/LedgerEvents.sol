// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ctx, Seal, Use} from "./Types.sol";

/// What the ledger writes into its journal, and why it refuses.
abstract contract LedgerEvents {
    event Locked(
        uint64 indexed seq,
        bytes32 indexed study,
        bytes32 indexed lockId,
        Ctx ctx,
        Use[] uses,
        address[] orgs,
        bytes32 readyRoot,
        bytes32 inputsRoot,
        uint64 lockBy,
        bytes32[] uploadHashes,
        bool charged,
        uint64 time,
        uint64 registrySeq,
        bytes32 registryHead
    );
    event Attested(
        uint64 indexed seq,
        bytes32 indexed study,
        bytes32 indexed sealId,
        Seal seal,
        address[] absent,
        uint64 time
    );
    event Recovered(
        uint64 indexed seq,
        bytes32 indexed study,
        bytes32 indexed lockId,
        address org,
        address by,
        uint64 time
    );
    event Abandoned(uint64 indexed seq, bytes32 indexed study, bytes32 indexed lockId, address by);

    error NotCoordinator();
    error NotAllowed(address account);
    error BadSize();
    error Late();
    error WrongContext(bytes32 field);
    error TooFewSites(uint256 have, uint256 want);
    error BadRelease(uint32 want, uint32 given);
    error StaleAttempt(uint32 last, uint32 given);
    error StillLocked(bytes32 lockId);
    error NotLocked(bytes32 lockId);
    error InputsChanged(bytes32 analysis);
    error SetFixed(bytes32 analysis, bytes32 set);
    error WrongSeal(bytes32 field);
    error BadSignature(address org);
    error WindowOpen(uint256 until);
    error NoQuorum(uint256 present);
    error NotOnRoster(address org);
    error AlreadyRecovered(address org);
    error Recovering(bytes32 lockId);
}
