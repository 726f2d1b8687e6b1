// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Signatures} from "./Signatures.sol";
import {Studies} from "./Studies.sol";

/// What a steward answers for: tables by fingerprint, their cohorts and withdrawals, and what they may spend over all
/// studies.
abstract contract Datasets is EIP712, Studies {
    using Signatures for address;

    struct Dataset {
        address steward;
        uint32 version; // one more with every cohort
        uint32 tombstones; // withdrawals ever published
        uint32 applied; // withdrawals that the cohort leaves out
        uint64 rhoCap; // budget over all studies; rho in 1e-9 zCDP, delta in 1e-18
        uint64 rhoSpent;
        uint64 deltaCap;
        uint64 deltaSpent;
        uint32 exactCap; // releases without noise
        uint32 exactSpent;
        bytes32 fingerprint; // keccak256(abi.encode(merkleRoot, schemaHash, termsHash))
        bytes32 cohortRoot; // over salted commitments, one per patient
    }

    bytes32 public constant WITHDRAW_TYPEHASH = keccak256("Withdraw(bytes32 dataset,bytes32 leaf)");

    mapping(bytes32 => Dataset) public datasets;
    mapping(bytes32 => mapping(bytes32 => bool)) public tombstoned; // dataset => patient's leaf

    event DatasetRegistered(
        uint64 indexed seq,
        bytes32 indexed dataset,
        address indexed steward,
        bytes32 root,
        bytes32 schemaHash,
        bytes32 termsHash,
        bytes32 cohortRoot
    );
    event CohortReplaced(
        uint64 indexed seq, bytes32 indexed dataset, bytes32 cohortRoot, uint32 applied, uint32 version
    );
    event BudgetSet(
        uint64 indexed seq, bytes32 indexed dataset, uint64 rhoCap, uint64 deltaCap, uint32 exactCap
    );
    event PatientWithdrew(uint64 indexed seq, bytes32 indexed dataset, bytes32 indexed leaf);

    error NotSteward(bytes32 dataset);
    error BadSignature();
    error StaleCohort(bytes32 dataset, uint32 have, uint32 given);

    // --- datasets -------------------------------------------------------------------
    /// id = keccak256(abi.encode(steward, nonce)): nobody can take it first. Without a budget nothing can be charged.
    function registerDataset(
        bytes32 nonce,
        bytes32 root,
        bytes32 schemaHash,
        bytes32 termsHash,
        bytes32 cohortRoot
    ) external onlyRole(HOSPITAL) whenNotPaused returns (bytes32 id) {
        id = keccak256(abi.encode(msg.sender, nonce));
        Dataset storage d = datasets[id];
        if (d.steward != address(0)) revert Exists(id);
        (d.steward, d.version) = (msg.sender, 1);
        d.fingerprint = keccak256(abi.encode(root, schemaHash, termsHash));
        d.cohortRoot = cohortRoot;
        _record(
            DatasetRegistered.selector,
            id,
            _word(msg.sender),
            abi.encode(root, schemaHash, termsHash, cohortRoot)
        );
    }

    /// What the dataset may spend over all studies. A cap below what is spent stops it.
    function setBudget(bytes32 id, uint64 rhoCap, uint64 deltaCap, uint32 exactCap) external {
        Dataset storage d = _owned(id);
        (d.rhoCap, d.deltaCap, d.exactCap) = (rhoCap, deltaCap, exactCap);
        _record(BudgetSet.selector, id, abi.encode(rhoCap, deltaCap, exactCap));
    }

    /// The steward publishes a cohort that leaves out all withdrawals so far; `applied` says how many it knows of.
    function replaceCohort(bytes32 id, bytes32 cohortRoot, uint32 applied) external {
        Dataset storage d = _owned(id);
        if (applied != d.tombstones) revert StaleCohort(id, d.tombstones, applied);
        (d.cohortRoot, d.applied) = (cohortRoot, applied);
        uint32 version = ++d.version;
        _record(CohortReplaced.selector, id, abi.encode(cohortRoot, applied, version));
    }

    /// A patient withdraws with a one-time key: leaf = keccak256(keccak256(abi.encode(key, commitment))) under the
    /// cohort's root, commitment = hash(salt, record) with the salt off chain. Or the steward does it for a patient
    /// who asked on paper (proof and signature empty). The dataset stops until its cohort is rebuilt.
    function withdraw(
        bytes32 dataset,
        address key,
        bytes32 commitment,
        bytes32[] calldata proof,
        bytes calldata sig
    ) external {
        Dataset storage d = datasets[dataset];
        if (d.steward == address(0)) revert Unknown(dataset);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(key, commitment))));
        if (tombstoned[dataset][leaf]) revert Exists(leaf);
        if (msg.sender != d.steward) {
            if (!MerkleProof.verifyCalldata(proof, d.cohortRoot, leaf)) revert Unknown(leaf);
            bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(WITHDRAW_TYPEHASH, dataset, leaf)));
            if (!key.isFrom(digest, sig)) revert BadSignature();
        }
        tombstoned[dataset][leaf] = true;
        ++d.tombstones;
        _record(PatientWithdrew.selector, dataset, leaf, "");
    }

    // --- internals ------------------------------------------------------------------
    function _owned(bytes32 id) internal view returns (Dataset storage d) {
        d = datasets[id];
        if (d.steward != msg.sender) revert NotSteward(id);
    }
}
