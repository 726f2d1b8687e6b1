// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Datasets} from "./Datasets.sol";
import {Signatures} from "./Signatures.sol";
import {DP, Gate, GrantTerms, Use} from "./Types.sol";

/// Organisations, datasets, studies, consents, and the gate that every opening must pass.
/// Holds no value, is not upgradeable. Nothing stored or logged here may be derived from patient data without a
/// secret salt: the contract cannot check that.
contract ConsentRegistry is Datasets {
    using Signatures for address;

    struct Consent {
        uint64 allowed; // purposes permitted
        uint64 conditions; // modifiers that the study must satisfy
        uint40 expiry; // first second without consent; 0 = never granted, or revoked
        uint32 epoch; // one more with every grant and revocation: kills signatures given before
        uint24 exactCap;
        uint24 exactSpent;
        uint64 rhoCap; // all spending in this study, over all its grants
        uint64 rhoSpent;
        uint64 deltaCap;
        uint64 deltaSpent;
    }

    // reasons of `status`: stable, only ever added to
    uint8 internal constant LIVE = 0;
    uint8 internal constant NO_CONSENT = 1; // never granted, or revoked
    uint8 internal constant EXPIRED = 2;
    uint8 internal constant PURPOSE = 3; // the study claims a purpose that the consent does not allow
    uint8 internal constant CONDITION = 4; // the study does not satisfy a condition of the consent
    uint8 internal constant CLOSED = 5; // the study is closed
    uint8 internal constant WITHDRAWALS = 6; // patients withdrew and the cohort has not been rebuilt
    uint8 internal constant SUSPENDED = 7; // the steward is no hospital any more
    uint8 internal constant PAUSED = 8; // the regulator has paused everything

    bytes32 public constant GRANT_TYPEHASH = keccak256(
        "Grant(bytes32 dataset,bytes32 study,uint64 allowed,uint64 conditions,bytes32 scope,uint40 expiry,uint64 rhoCap,uint64 deltaCap,uint24 exactCap,uint32 epoch,uint64 deadline)"
    );
    bytes32 public constant REVOKE_TYPEHASH = keccak256("Revoke(bytes32 dataset,bytes32 study,uint32 epoch)");

    mapping(bytes32 => mapping(bytes32 => Consent)) public consents; // dataset => study

    event ConsentGranted(
        uint64 indexed seq,
        bytes32 indexed dataset,
        bytes32 indexed study,
        uint64 allowed,
        uint64 conditions,
        bytes32 scope,
        uint40 expiry,
        uint64 rhoCap,
        uint64 deltaCap,
        uint24 exactCap,
        uint32 epoch
    );
    event ConsentRevoked(
        uint64 indexed seq, bytes32 indexed dataset, bytes32 indexed study, uint32 epoch, address by
    );
    event Charged(
        uint64 indexed seq,
        bytes32 indexed study,
        bytes32 indexed lockId,
        address ledger,
        uint8 mode,
        uint64 rho,
        uint64 delta
    );

    error Late();
    error NoLiveConsent(bytes32 dataset, uint8 why);
    error StaleEpoch(bytes32 dataset, uint32 have, uint32 given);
    error StaleVersion(bytes32 dataset, uint32 have, uint32 given);
    error BudgetExceeded(bytes32 dataset, bytes32 what);
    error NotAscending();
    error NotInSet(address org);

    constructor(address admin, uint48 adminDelay)
        AccessControlDefaultAdminRules(adminDelay, admin)
        EIP712("ConsentRegistry", "1")
    {}

    // --- consent --------------------------------------------------------------------
    function grant(GrantTerms calldata g) external whenNotPaused {
        _owned(g.dataset);
        _grant(g);
    }

    /// Relayed. The signature names the current epoch, so one given before a grant or revocation is dead.
    function grantBySig(GrantTerms calldata g, uint64 deadline, bytes calldata sig) external whenNotPaused {
        if (block.timestamp > deadline) revert Late();
        uint32 epoch = consents[g.dataset][g.study].epoch;
        _checkSteward(g.dataset, keccak256(abi.encode(GRANT_TYPEHASH, g, epoch, deadline)), sig);
        _grant(g);
    }

    /// By the steward or the regulator; works while paused, and after the study is closed.
    function revoke(bytes32 dataset, bytes32 study) external {
        if (datasets[dataset].steward != msg.sender && !hasRole(REGULATOR, msg.sender)) {
            revert NotSteward(dataset);
        }
        _revoke(dataset, study);
    }

    function revokeBySig(bytes32 dataset, bytes32 study, bytes calldata sig) external {
        uint32 epoch = consents[dataset][study].epoch;
        _checkSteward(dataset, keccak256(abi.encode(REVOKE_TYPEHASH, dataset, study, epoch)), sig);
        _revoke(dataset, study);
    }

    // --- the gate -------------------------------------------------------------------
    /// 0 = live, else the reason (constants above). Budgets are not part of it.
    function status(bytes32 dataset, bytes32 study) public view returns (uint8) {
        if (paused()) return PAUSED;
        Study storage s = _studies[study];
        (uint256 d, uint256 c) = (_firstWord(datasets[dataset]), _firstWord(consents[dataset][study]));
        return _why(d, c, s.purposes, s.satisfies, s.closed);
    }

    /// All that a hospital needs before it computes, in one call.
    function gate(bytes32 study, bytes32[] calldata ids) external view returns (Gate[] memory gates) {
        gates = new Gate[](ids.length);
        for (uint256 i; i < ids.length; ++i) {
            Dataset storage d = datasets[ids[i]];
            Consent storage c = consents[ids[i]][study];
            gates[i] = Gate({
                status: status(ids[i], study),
                version: d.version,
                epoch: c.epoch,
                expiry: c.expiry,
                steward: d.steward,
                rhoLeft: uint64(_least(c.rhoCap, c.rhoSpent, d.rhoCap, d.rhoSpent)),
                deltaLeft: uint64(_least(c.deltaCap, c.deltaSpent, d.deltaCap, d.deltaSpent)),
                exactLeft: uint32(_least(c.exactCap, c.exactSpent, d.exactCap, d.exactSpent))
            });
        }
    }

    /// Reverts unless every dataset may be used now, exactly as named, and `orgs` are exactly their stewards. Every org is then
    /// on the study's roster: `grant` saw to it. A charge (dp: rho and delta; exact: one release) is booked and journalled.
    /// Without one nothing changes here: the ledger's journal tells of that lock, and by what is returned of its place in this
    /// one. Returns the agents of `orgs`, and the journal's count and head, the charge included.
    function consume(
        bytes32 study,
        bytes32 lockId,
        Use[] calldata uses,
        address[] calldata orgs,
        uint8 mode,
        uint64 rho,
        uint64 delta,
        bool charge
    ) external whenNotPaused returns (address[] memory agents, uint64 seq_, bytes32 head_) {
        if (msg.sender != _ledger) revert AccessControlUnauthorizedAccount(msg.sender, LEDGER);
        _checkUses(study, uses, orgs);
        if (charge) {
            for (uint256 i; i < uses.length; ++i) {
                bytes32 id = uses[i].dataset;
                if (mode == DP) _chargeDp(id, consents[id][study], rho, delta);
                else _chargeExact(id, consents[id][study]);
            }
            _record(Charged.selector, study, lockId, abi.encode(msg.sender, mode, rho, delta));
        }
        return (agentsOf(orgs), seq, head());
    }

    function _checkUses(bytes32 study, Use[] calldata uses, address[] calldata orgs) private view {
        Study storage s = _study(study);
        (uint64 purposes, uint64 satisfies, bool closed) = (s.purposes, s.satisfies, s.closed);
        uint256 n = orgs.length;
        for (uint256 i = 1; i < n; ++i) {
            if (orgs[i] <= orgs[i - 1]) revert NotAscending();
        }
        uint256 seen; // bit i: orgs[i] brings something
        bytes32 last;
        for (uint256 i; i < uses.length; ++i) {
            Use calldata u = uses[i];
            bytes32 id = u.dataset;
            if (id <= last) revert NotAscending();
            last = id;
            (uint256 d, uint256 c) = (_firstWord(datasets[id]), _firstWord(consents[id][study]));
            uint8 why = _why(d, c, purposes, satisfies, closed);
            if (why != LIVE) revert NoLiveConsent(id, why);
            if (_epoch(c) != u.epoch) revert StaleEpoch(id, _epoch(c), u.epoch);
            if (_version(d) != u.version) revert StaleVersion(id, _version(d), u.version);
            seen |= 1 << _indexOf(orgs, _steward(d));
        }
        for (uint256 i; i < n; ++i) {
            if (seen & (1 << i) == 0) revert NotInSet(orgs[i]);
        }
    }

    /// `d`, `c`: first words of dataset and consent.
    function _why(uint256 d, uint256 c, uint64 purposes, uint64 satisfies, bool closed)
        private
        view
        returns (uint8)
    {
        uint40 expiry = uint40(c >> 128);
        if (expiry == 0) return NO_CONSENT;
        if (block.timestamp >= expiry) return EXPIRED;
        if (purposes & ~uint64(c) != 0) return PURPOSE;
        if (uint64(c >> 64) & ~satisfies != 0) return CONDITION;
        if (closed) return CLOSED;
        if (uint32(d >> 192) != uint32(d >> 224)) return WITHDRAWALS;
        if (!_orgs[_steward(d)].hospital) return SUSPENDED;
        return LIVE;
    }

    // The first word of a dataset is steward, version, tombstones, applied; of a consent: allowed, conditions, expiry, epoch.
    // Lowest bits first. Read once and cut here: the compiler would read it anew for every field, for every dataset.
    function _firstWord(Dataset storage d) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(d.slot)
        }
    }

    function _firstWord(Consent storage c) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(c.slot)
        }
    }

    function _steward(uint256 d) private pure returns (address) {
        return address(uint160(d));
    }

    function _version(uint256 d) private pure returns (uint32) {
        return uint32(d >> 160);
    }

    function _epoch(uint256 c) private pure returns (uint32) {
        return uint32(c >> 168);
    }

    /// `orgs` ascending.
    function _indexOf(address[] calldata orgs, address org) private pure returns (uint256) {
        (uint256 lo, uint256 hi) = (0, orgs.length);
        while (lo < hi) {
            uint256 mid = (lo + hi) / 2;
            if (orgs[mid] < org) lo = mid + 1;
            else hi = mid;
        }
        if (lo == orgs.length || orgs[lo] != org) revert NotInSet(org);
        return lo;
    }

    // --- budgets --------------------------------------------------------------------
    function _chargeDp(bytes32 id, Consent storage c, uint64 rho, uint64 delta) private {
        Dataset storage d = datasets[id];
        if (_least(c.rhoCap, c.rhoSpent, d.rhoCap, d.rhoSpent) < rho) revert BudgetExceeded(id, "rho");
        if (_least(c.deltaCap, c.deltaSpent, d.deltaCap, d.deltaSpent) < delta) {
            revert BudgetExceeded(id, "delta");
        }
        (c.rhoSpent, c.deltaSpent) = (c.rhoSpent + rho, c.deltaSpent + delta);
        (d.rhoSpent, d.deltaSpent) = (d.rhoSpent + rho, d.deltaSpent + delta);
    }

    function _chargeExact(bytes32 id, Consent storage c) private {
        Dataset storage d = datasets[id];
        if (_least(c.exactCap, c.exactSpent, d.exactCap, d.exactSpent) == 0) {
            revert BudgetExceeded(id, "exact");
        }
        (c.exactSpent, d.exactSpent) = (c.exactSpent + 1, d.exactSpent + 1);
    }

    function _least(uint256 cap, uint256 spent, uint256 cap2, uint256 spent2) private pure returns (uint256) {
        uint256 left = cap > spent ? cap - spent : 0;
        uint256 left2 = cap2 > spent2 ? cap2 - spent2 : 0;
        return left < left2 ? left : left2;
    }

    // --- internals ------------------------------------------------------------------
    function _grant(GrantTerms calldata g) private {
        Study storage s = _study(g.study);
        if (s.closed) revert BadTerms("closed");
        if (!onRoster[g.study][datasets[g.dataset].steward]) revert BadTerms("roster");
        if (g.allowed == 0) revert BadTerms("allowed");
        if (g.expiry <= block.timestamp) revert BadTerms("expiry");
        if (g.scope != 0 && g.scope != s.scope) revert BadTerms("scope");
        Consent storage c = consents[g.dataset][g.study];
        uint32 epoch = c.epoch + 1;
        // what is spent stays: a new grant does not launder the budget
        (c.allowed, c.conditions, c.expiry, c.epoch) = (g.allowed, g.conditions, g.expiry, epoch);
        (c.exactCap, c.rhoCap, c.deltaCap) = (g.exactCap, g.rhoCap, g.deltaCap);
        _record(
            ConsentGranted.selector,
            g.dataset,
            g.study,
            abi.encode(
                g.allowed, g.conditions, g.scope, g.expiry, g.rhoCap, g.deltaCap, g.exactCap, epoch
            )
        );
    }

    function _revoke(bytes32 dataset, bytes32 study) private {
        Consent storage c = consents[dataset][study];
        if (c.expiry == 0) revert NoLiveConsent(dataset, NO_CONSENT);
        uint32 epoch = c.epoch + 1;
        (c.expiry, c.epoch) = (0, epoch);
        _record(ConsentRevoked.selector, dataset, study, abi.encode(epoch, msg.sender));
    }

    function _checkSteward(bytes32 dataset, bytes32 structHash, bytes calldata sig) private view {
        address steward = datasets[dataset].steward;
        if (steward == address(0)) revert Unknown(dataset);
        if (!steward.isFrom(_hashTypedDataV4(structHash), sig)) revert BadSignature();
    }
}
