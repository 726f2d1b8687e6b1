// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What the parties of a round agree on, as it is hashed and signed. `protos/digests.py` is the same in Python;
/// tests/vectors/digests.json keeps the two together.

/// Context of one attempt. `rho` in 1e-9 zCDP, `delta` in 1e-18, `mode` 1 exact, 2 dp.
struct Ctx {
    uint256 chainId;
    address registry;
    address ledger;
    bytes32 study;
    bytes32 analysis;
    bytes32 specHash;
    bytes32 codeHash;
    uint32 round;
    uint32 release;
    uint32 attempt;
    bytes32 prevSeal;
    bytes32 stateCommit;
    uint8 mode;
    uint64 rho;
    uint64 delta;
    bytes32 noise;
}

/// One dataset as it is used: its cohort version, the epoch of its consent, and whether its steward accepts that
/// a later opening of the same analysis may have another set (and so show the difference).
struct Use {
    bytes32 dataset;
    uint32 version;
    uint32 epoch;
    bool leaveSiteOut;
}

/// What every participant signs about a round.
struct Seal {
    bytes32 lockId;
    bytes32 planHash;
    bytes32 receiptsRoot;
    bytes32 stateBefore;
    bytes32 stateAfter;
    bytes32 resultHash;
    uint64 rho;
    uint64 delta;
    bytes32 method;
    bytes32 params;
    bytes32 codeHash;
    bytes32 prevSeal;
}

struct Analysis {
    bytes32 id;
    uint64 rho; // 1e-9 zCDP, per release
    uint64 delta; // 1e-18, per release
    bytes32 noise; // hash of the noise parameters; zero in exact mode
}

struct StudyTerms {
    bytes32 specHash;
    address coordinator;
    uint64 purposes; // DUO permission bits the study claims
    uint64 satisfies; // DUO modifier bits the study undertakes to satisfy
    bytes32 scope; // hash of DUO parameters such as the disease; 0 = none
    uint8 mode; // 1 exact, 2 dp
    uint8 minSites;
    uint8 collusion; // t: as many of a round's hospitals may collude or be absent from its seal
    uint32 window; // seconds after the lock in which every hospital must have signed the seal
    bytes32 sponsorKey; // sha256 of the HPKE key that the result may be released to
    address[] roster; // ascending
    Analysis[] analyses;
}

struct StudyView {
    bytes32 specHash;
    address sponsor;
    address coordinator;
    uint64 purposes;
    uint64 satisfies;
    bytes32 scope;
    uint8 mode;
    uint8 minSites;
    uint8 collusion;
    uint32 window;
    bytes32 sponsorKey;
    address[] roster;
    bool closed;
    bytes32[] analyses; // ids, in the order of registration
}

/// What the ledger holds a lock against.
struct LockTerms {
    address coordinator; // zero: it lost its role
    uint8 minSites;
    uint8 index; // of the analysis
    bytes31 bond; // see `bondOf`
}

/// What the ledger holds a seal against.
struct SealTerms {
    address coordinator;
    uint8 minSites;
    uint8 collusion;
    uint32 window;
}

struct GrantTerms {
    bytes32 dataset;
    bytes32 study;
    uint64 allowed;
    uint64 conditions;
    bytes32 scope; // 0 = any; else the study's own
    uint40 expiry;
    uint64 rhoCap;
    uint64 deltaCap;
    uint24 exactCap;
}

struct Gate {
    uint8 status;
    uint32 version;
    uint32 epoch;
    uint40 expiry;
    address steward;
    uint64 rhoLeft; // the lesser of what consent and dataset leave
    uint64 deltaLeft;
    uint32 exactLeft;
}

struct Head {
    uint32 attested;
    bytes32 tip;
    bytes32 stateCommit;
    bytes32 lockId; // binds plan and receipts; zero, with all that follows, if nothing is locked in this round
    uint64 lockedAt;
    uint32 round;
    uint32 release;
    uint32 attempt;
    bytes32 analysis;
    bool abandoned;
    address[] recovered; // organisations of this lock, in the order in which they were
}

uint8 constant EXACT = 1;
uint8 constant DP = 2;

// preimages of the type hashes; EIP-712's rule for names (referenced types follow) is kept throughout
bytes32 constant CTX_TYPEHASH = keccak256(
    "Ctx(uint256 chainId,address registry,address ledger,bytes32 study,bytes32 analysis,bytes32 specHash,bytes32 codeHash,uint32 round,uint32 release,uint32 attempt,bytes32 prevSeal,bytes32 stateCommit,uint8 mode,uint64 rho,uint64 delta,bytes32 noise)"
);
bytes32 constant USES_TYPEHASH =
    keccak256("Uses(Use[] uses)Use(bytes32 dataset,uint32 version,uint32 epoch,bool leaveSiteOut)");
bytes32 constant PLAN_TYPEHASH =
    keccak256("Plan(bytes32 ctxHash,bytes32 usesHash,bytes32 readyRoot,bytes32 inputsRoot,uint64 lockBy)");
bytes32 constant RECEIPTS_TYPEHASH = keccak256("Receipts(address[] orgs,bytes32[] uploadHashes)");
bytes32 constant LOCK_TYPEHASH = keccak256("Lock(bytes32 planHash,bytes32 receiptsRoot)");
bytes32 constant RECEIPT_TYPEHASH = keccak256("Receipt(bytes32 planHash,address org,bytes32 uploadHash)");
bytes32 constant SEAL_TYPEHASH = keccak256(
    "Seal(bytes32 lockId,bytes32 planHash,bytes32 receiptsRoot,bytes32 stateBefore,bytes32 stateAfter,bytes32 resultHash,uint64 rho,uint64 delta,bytes32 method,bytes32 params,bytes32 codeHash,bytes32 prevSeal)"
);

/// What a context must repeat of its study and analysis, in one word: the ledger compares it with a single read.
function bondOf(bytes32 specHash, uint8 mode, uint64 rho, uint64 delta, bytes32 noise) pure returns (bytes31) {
    return bytes31(keccak256(abi.encode(specHash, mode, rho, delta, noise)));
}
