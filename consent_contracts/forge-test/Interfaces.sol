// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";

/// What the tests use of the compiled contracts. The tests run the checked-in artifacts, not a compilation of their own:
/// a signature that drifts from the source fails there.
interface IJournal {
    function seq() external view returns (uint64);
    function head() external view returns (bytes32);
}

interface IRegistry is IJournal {
    error Unknown(bytes32 id);
    error Exists(bytes32 id);
    error BadTerms(bytes32 field);
    error NotAllowed(address account);
    error NotHospital(address account);
    error LedgerExists(address ledger);
    error NotSteward(bytes32 dataset);
    error BadSignature();
    error Late();
    error NoLiveConsent(bytes32 dataset, uint8 why);
    error StaleEpoch(bytes32 dataset, uint32 have, uint32 given);
    error StaleVersion(bytes32 dataset, uint32 have, uint32 given);
    error StaleCohort(bytes32 dataset, uint32 have, uint32 given);
    error BudgetExceeded(bytes32 dataset, bytes32 what);
    error NotAscending();
    error NotInSet(address org);
    error EnforcedPause();
    error ExpectedPause();
    error AccessControlUnauthorizedAccount(address account, bytes32 role);
    error AccessControlEnforcedDefaultAdminRules();
    error AccessControlEnforcedDefaultAdminDelay(uint48 schedule);

    function grantRole(bytes32 role, address account) external;
    function revokeRole(bytes32 role, address account) external;
    function renounceRole(bytes32 role, address account) external;
    function hasRole(bytes32 role, address account) external view returns (bool);
    function defaultAdmin() external view returns (address);
    function beginDefaultAdminTransfer(address admin) external;
    function cancelDefaultAdminTransfer() external;
    function acceptDefaultAdminTransfer() external;
    function changeDefaultAdminDelay(uint48 delay) external;
    function rollbackDefaultAdminDelay() external;
    function pause() external;
    function unpause() external;
    function setAgent(address agent) external;
    function agentOf(address org) external view returns (address);
    function registerDataset(bytes32 nonce, bytes32 root, bytes32 schema, bytes32 terms, bytes32 cohort)
        external
        returns (bytes32);
    function setBudget(bytes32 id, uint64 rhoCap, uint64 deltaCap, uint32 exactCap) external;
    function replaceCohort(bytes32 id, bytes32 cohortRoot, uint32 applied) external;
    function withdraw(bytes32 id, address key, bytes32 commitment, bytes32[] calldata proof, bytes calldata sig)
        external;
    function registerStudy(StudyTerms calldata terms) external returns (bytes32);
    function closeStudy(bytes32 id) external;
    function study(bytes32 id) external view returns (StudyView memory);
    function analysis(bytes32 id, bytes32 analysisId) external view returns (Analysis memory);
    function grant(GrantTerms calldata g) external;
    function grantBySig(GrantTerms calldata g, uint64 deadline, bytes calldata sig) external;
    function revoke(bytes32 dataset, bytes32 study) external;
    function revokeBySig(bytes32 dataset, bytes32 study, bytes calldata sig) external;
    function status(bytes32 dataset, bytes32 study) external view returns (uint8);
    function gate(bytes32 study, bytes32[] calldata ids) external view returns (Gate[] memory);
    function consume(
        bytes32 study,
        bytes32 lockId,
        Use[] calldata uses,
        address[] calldata orgs,
        uint8 mode,
        uint64 rho,
        uint64 delta,
        bool charge
    ) external returns (address[] memory, uint64, bytes32);
}

interface ILedger is IJournal {
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

    function lock(
        Ctx calldata ctx,
        Use[] calldata uses,
        address[] calldata orgs,
        bytes32 readyRoot,
        bytes32 inputsRoot,
        uint64 lockBy,
        bytes32[] calldata uploadHashes,
        bytes[] calldata sigs
    ) external returns (bytes32);
    function attest(bytes32 study, Seal calldata seal, address[] calldata orgs, bytes[] calldata sigs)
        external
        returns (bytes32);
    function recover(bytes32 study, bytes32 lockId, address org) external;
    function abandon(bytes32 study, bytes32 lockId) external;
    function head(bytes32 study) external view returns (Head memory);
    function analysisSet(bytes32 study, bytes32 analysis) external view returns (bytes32 set, bool mayLeave);
    function receiptDigest(bytes32 planHash, address org, bytes32 uploadHash) external view returns (bytes32);
    function sealDigest(Seal calldata seal) external view returns (bytes32);
    function lockHashes(
        Ctx calldata ctx,
        Use[] calldata uses,
        address[] calldata orgs,
        bytes32 readyRoot,
        bytes32 inputsRoot,
        uint64 lockBy,
        bytes32[] calldata uploadHashes
    ) external pure returns (bytes32 planHash, bytes32 receiptsRoot, bytes32 lockId);
}

interface Vm {
    function addr(uint256) external pure returns (address);
    function sign(uint256, bytes32) external pure returns (uint8, bytes32, bytes32);
    function prank(address) external;
    function warp(uint256) external;
    function chainId(uint256) external;
    function etch(address, bytes calldata) external;
    function expectRevert(bytes4) external;
    function expectRevert(bytes calldata) external;
    function expectPartialRevert(bytes4) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function readFile(string calldata) external view returns (string memory);
    function parseJsonBytes(string calldata, string calldata) external pure returns (bytes memory);
    function parseJsonBytes32(string calldata, string calldata) external pure returns (bytes32);
    function parseJsonBytes32Array(string calldata, string calldata) external pure returns (bytes32[] memory);
    function parseJsonAddress(string calldata, string calldata) external pure returns (address);
    function parseJsonAddressArray(string calldata, string calldata) external pure returns (address[] memory);
    function parseJsonUint(string calldata, string calldata) external pure returns (uint256);
    function parseJsonBool(string calldata, string calldata) external pure returns (bool);
    function keyExistsJson(string calldata, string calldata) external view returns (bool);
    function toString(uint256) external pure returns (string memory);
}

/// One log, as `Vm.getRecordedLogs` gives it.
struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}
