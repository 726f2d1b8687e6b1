// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Organisations} from "./Organisations.sol";
import {
    Analysis,
    DP,
    EXACT,
    LockTerms,
    SealTerms,
    StudyTerms,
    StudyView,
    bondOf
} from "./Types.sol";

/// What is asked, by whom, of whom, and at what price. A study never changes after its registration.
abstract contract Studies is Organisations {
    uint256 public constant MAX_SITES = 128;
    uint256 public constant MAX_ANALYSES = 32; // the ledger keeps one bit for each
    uint256 public constant MIN_SITES = 3; // with two, each knows the other's input

    struct Study {
        uint64 purposes; // slot 1: what the gate reads
        uint64 satisfies;
        bool closed;
        address coordinator; // slot 2: what the ledger reads
        uint32 window;
        uint8 mode;
        uint8 minSites;
        uint8 collusion;
        address sponsor;
        bytes32 specHash;
        bytes32 scope;
        bytes32 sponsorKey;
        address[] roster;
        bytes32[] analyses;
    }

    struct Price {
        bytes31 bond; // never zero once registered; slot 1: what the ledger reads
        uint8 index;
        uint64 rho;
        uint64 delta;
        bytes32 noise;
    }

    mapping(bytes32 => Study) internal _studies;
    mapping(bytes32 => mapping(bytes32 => Price)) internal _prices; // study => analysis
    mapping(bytes32 => mapping(address => bool)) public onRoster; // study => hospital

    event StudyRegistered(uint64 indexed seq, bytes32 indexed study, address indexed sponsor, StudyTerms terms);
    event StudyClosed(uint64 indexed seq, bytes32 indexed study, address indexed by);

    error Unknown(bytes32 id);
    error Exists(bytes32 id);
    error BadTerms(bytes32 field);
    error NotAllowed(address account);

    /// id = keccak256(abi.encode(sponsor, specHash)): nobody can take it first.
    function registerStudy(StudyTerms calldata terms)
        external
        onlyRole(SPONSOR)
        whenNotPaused
        returns (bytes32 id)
    {
        _checkTerms(terms);
        id = keccak256(abi.encode(msg.sender, terms.specHash));
        Study storage s = _studies[id];
        if (s.purposes != 0) revert Exists(id);
        (s.sponsor, s.purposes, s.mode) = (msg.sender, terms.purposes, terms.mode);
        (s.minSites, s.collusion) = (terms.minSites, terms.collusion);
        (s.coordinator, s.satisfies, s.window) = (terms.coordinator, terms.satisfies, terms.window);
        (s.specHash, s.scope, s.sponsorKey) = (terms.specHash, terms.scope, terms.sponsorKey);
        _setRoster(id, s, terms.roster);
        _setAnalyses(id, s, terms.analyses);
        _record(StudyRegistered.selector, id, _word(msg.sender), abi.encode(terms));
    }

    /// For good. Rounds already locked can still be attested.
    function closeStudy(bytes32 id) external {
        Study storage s = _study(id);
        if (s.sponsor != msg.sender && !hasRole(REGULATOR, msg.sender)) revert NotAllowed(msg.sender);
        if (s.closed) revert BadTerms("closed");
        s.closed = true;
        _record(StudyClosed.selector, id, _word(msg.sender), "");
    }

    // --- views ----------------------------------------------------------------------
    function study(bytes32 id) external view returns (StudyView memory) {
        Study storage s = _study(id);
        return StudyView({
            specHash: s.specHash,
            sponsor: s.sponsor,
            coordinator: s.coordinator,
            purposes: s.purposes,
            satisfies: s.satisfies,
            scope: s.scope,
            mode: s.mode,
            minSites: s.minSites,
            collusion: s.collusion,
            window: s.window,
            sponsorKey: s.sponsorKey,
            roster: s.roster,
            closed: s.closed,
            analyses: s.analyses
        });
    }

    function analysis(bytes32 id, bytes32 analysisId) external view returns (Analysis memory) {
        Price storage p = _price(id, analysisId);
        return Analysis(analysisId, p.rho, p.delta, p.noise);
    }

    function analysisAt(bytes32 id, uint256 index) external view returns (bytes32) {
        return _study(id).analyses[index];
    }

    function lockTerms(bytes32 id, bytes32 analysisId) external view returns (LockTerms memory) {
        Study storage s = _studies[id];
        Price storage p = _price(id, analysisId);
        address coordinator = s.coordinator;
        if (!hasRole(COORDINATOR, coordinator)) coordinator = address(0);
        return LockTerms(coordinator, s.minSites, p.index, p.bond);
    }

    function sealTerms(bytes32 id, address[] calldata orgs)
        external
        view
        returns (SealTerms memory, address[] memory agents)
    {
        Study storage s = _studies[id];
        return (SealTerms(s.coordinator, s.minSites, s.collusion, s.window), agentsOf(orgs));
    }

    function mayAbandon(bytes32 id, address account) external view returns (bool) {
        Study storage s = _study(id);
        return account == s.coordinator || account == s.sponsor || hasRole(REGULATOR, account);
    }

    // --- internals ------------------------------------------------------------------
    function _study(bytes32 id) internal view returns (Study storage s) {
        s = _studies[id];
        if (s.purposes == 0) revert Unknown(id);
    }

    function _price(bytes32 id, bytes32 analysisId) private view returns (Price storage p) {
        p = _prices[id][analysisId];
        if (p.bond == 0) revert Unknown(analysisId);
    }

    function _checkTerms(StudyTerms calldata t) private view {
        if (t.specHash == 0) revert BadTerms("specHash");
        if (!hasRole(COORDINATOR, t.coordinator)) revert BadTerms("coordinator");
        if (t.purposes == 0) revert BadTerms("purposes");
        if (t.mode != EXACT && t.mode != DP) revert BadTerms("mode");
        if (t.minSites < MIN_SITES) revert BadTerms("minSites");
        // two honest hospitals must remain, else the one knows the other's input
        if (uint256(t.collusion) + 2 > t.minSites) revert BadTerms("collusion");
        if (t.window == 0) revert BadTerms("window");
        if (t.sponsorKey == 0) revert BadTerms("sponsorKey");
        if (t.roster.length < t.minSites || t.roster.length > MAX_SITES) revert BadTerms("roster");
        if (t.analyses.length == 0 || t.analyses.length > MAX_ANALYSES) revert BadTerms("analyses");
    }

    function _setRoster(bytes32 id, Study storage s, address[] calldata roster) private {
        address last;
        for (uint256 i; i < roster.length; ++i) {
            if (roster[i] <= last) revert BadTerms("roster");
            last = roster[i];
            if (!_orgs[last].hospital) revert NotHospital(last);
            onRoster[id][last] = true;
        }
        s.roster = roster;
    }

    function _setAnalyses(bytes32 id, Study storage s, Analysis[] calldata analyses) private {
        for (uint256 i; i < analyses.length; ++i) {
            Analysis calldata a = analyses[i];
            Price storage p = _prices[id][a.id];
            if (a.id == 0 || p.bond != 0) revert BadTerms("analyses");
            if (s.mode == EXACT ? (a.rho != 0 || a.delta != 0 || a.noise != 0) : (a.rho == 0 || a.noise == 0)) {
                revert BadTerms("noise");
            }
            (p.bond, p.index) = (bondOf(s.specHash, s.mode, a.rho, a.delta, a.noise), uint8(i));
            (p.rho, p.delta, p.noise) = (a.rho, a.delta, a.noise);
            s.analyses.push(a.id);
        }
    }
}
