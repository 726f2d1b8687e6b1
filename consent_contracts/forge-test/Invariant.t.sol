// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Attempt, Base, HOSPITAL} from "./Base.sol";
import {Log} from "./Interfaces.sol";

/// Random grants, revocations, withdrawals, suspensions, time, locks, seals, recoveries and abandonments, beside a shadow that
/// keeps only what the rules need. Exact and dp studies run at once over the same datasets.
contract Handler is Base {
    uint256 public wrong; // accepted against the shadow, or refused against it
    uint256 public locks;
    uint256 public seals;

    struct Shadow {
        bytes32 tip;
        uint32 attested;
        Attempt current; // empty ctx.round: none
        bool abandoned;
        uint256 lockedAt;
        address[] recovered; // of the current lock
        bool bound; // somebody was recovered in this round
    }

    mapping(bytes32 => mapping(address => uint256)) private expiry; // study => org
    mapping(bytes32 => mapping(address => uint256)) private rho; // spent
    mapping(bytes32 => mapping(address => uint256)) private exactly;
    mapping(address => uint256) private rhoAll;
    mapping(address => uint256) private exactAll;
    mapping(address => bool) private dirty;
    mapping(address => bool) private suspended;
    mapping(address => uint32) private withdrawn;
    mapping(address => uint256) private version; // cohorts rebuilt
    mapping(bytes32 => bytes32) private fixedSet; // analysis of the exact study => hospitals and versions
    mapping(bytes32 => mapping(uint256 => mapping(bytes32 => bytes32))) private lockedInputs; // study, round, analysis
    mapping(bytes32 => bytes32) private setLocked; // study => set of the current lock
    mapping(bytes32 => Shadow) private shadow;

    // the journals, rebuilt from raw logs
    mapping(address => bytes32) private heads;
    mapping(address => uint64) private counts;

    function setUp() public override {}

    constructor() {
        vm.recordLogs();
        super.setUp();
        for (uint256 i; i < N; ++i) (expiry[exact][orgs[i]], expiry[dp][orgs[i]]) = (T0 + 30 days, T0 + 30 days);
    }

    function _study(uint256 which) private view returns (bytes32) {
        return which % 2 == 0 ? exact : dp;
    }

    // --- consent --------------------------------------------------------------------
    /// Makes everything live again, else hardly any lock would ever be lawful.
    function healX() external {
        for (uint256 i; i < N; ++i) {
            address org = orgs[i];
            if (suspended[org]) registry.grantRole(HOSPITAL, org);
            if (dirty[org]) {
                vm.prank(org);
                registry.replaceCohort(datasetOf[org], "rebuilt", withdrawn[org]);
                version[org]++;
            }
            (suspended[org], dirty[org]) = (false, false);
            for (uint256 k; k < 2; ++k) {
                bytes32 study = _study(k);
                if (block.timestamp < expiry[study][org]) continue;
                grant(org, study);
                expiry[study][org] = block.timestamp + 30 days;
            }
        }
    }

    function grantX(uint256 i, uint256 which) external {
        grant(orgs[i % N], _study(which));
        expiry[_study(which)][orgs[i % N]] = block.timestamp + 30 days;
    }

    function revokeX(uint256 i, uint256 which) external {
        (address org, bytes32 study) = (orgs[i % N], _study(which));
        if (expiry[study][org] == 0 || i % 3 != 0) return;
        revoke(org, study);
        expiry[study][org] = 0;
    }

    function withdrawX(uint256 i, bytes32 patient) external {
        address org = orgs[i % N];
        bytes32 id = datasetOf[org];
        if (i % 4 != 0) return;
        vm.prank(org);
        try registry.withdraw(id, address(1), patient, new bytes32[](0), "") {
            dirty[org] = true;
            withdrawn[org]++;
        } catch {}
    }

    function suspendX(uint256 i) external {
        address org = orgs[i % N];
        if (i % 4 != 0) return;
        if (suspended[org]) registry.grantRole(HOSPITAL, org);
        else registry.revokeRole(HOSPITAL, org);
        suspended[org] = !suspended[org];
    }

    function timeX(uint32 by) external {
        vm.warp(block.timestamp + (by % 20 == 0 ? by % 40 days : by % 1000));
    }

    // --- rounds ---------------------------------------------------------------------
    function _live(bytes32 study, uint256 n) private view returns (bool) {
        for (uint256 i; i < n; ++i) {
            address org = orgs[i];
            if (block.timestamp >= expiry[study][org] || dirty[org] || suspended[org]) return false;
        }
        return true;
    }

    function _set(uint256 n) private view returns (bytes32 set) {
        for (uint256 i; i < n; ++i) set = keccak256(abi.encode(set, orgs[i], version[orgs[i]]));
    }

    function _affordable(bytes32 study, uint256 n, uint256 price) private view returns (bool) {
        for (uint256 i; i < n; ++i) {
            address org = orgs[i];
            if (study == exact && (exactly[study][org] >= 5 || exactAll[org] >= 10)) return false;
            if (study == dp && (rho[study][org] + price > 500 || rhoAll[org] + price > 1000)) return false;
        }
        return true;
    }

    /// The same `inputs` for few calls, so that lawful retries happen too.
    function lockX(uint256 which, uint256 second, uint256 n, uint256 inputs, uint256 release) external {
        bytes32 study = _study(which);
        bytes32 analysis = second % 3 == 0 ? A2 : A1;
        n = n % 16 == 0 ? 2 : 3 + n % 16 / 7;
        Shadow storage s = shadow[study];
        Attempt memory a = attempt(study, analysis, n, bytes32(inputs % 2 + 1));
        a.ctx.release += uint32(release % 3 == 0 ? 1 : 0);
        a = sign(a);
        (bool ok, bool charge) = _allowed(s, a, study, n);
        vm.prank(coordinator);
        try ledger.lock(a.ctx, a.uses, a.orgs, a.readyRoot, a.inputsRoot, a.lockBy, a.uploads, a.sigs) {
            if (!ok) ++wrong;
            ++locks;
            _book(s, a, study, n, charge);
        } catch {
            if (ok) ++wrong;
        }
    }

    function _allowed(Shadow storage s, Attempt memory a, bytes32 study, uint256 n)
        private
        view
        returns (bool ok, bool charge)
    {
        bool locked = s.current.ctx.round != 0;
        bool same = locked && s.current.ctx.analysis == a.ctx.analysis && s.current.orgs.length == n
            && s.current.inputsRoot == a.inputsRoot && setLocked[study] == _set(n);
        uint32 want = !locked ? 1 : same ? s.current.ctx.release : s.current.ctx.release + 1;
        ok = n >= 3 && a.ctx.release == want && _live(study, n);
        if (locked && !s.abandoned && s.current.ctx.analysis != a.ctx.analysis) ok = false;
        if (s.bound && !same) ok = false;
        if (study == dp) {
            charge = !same;
        } else {
            bytes32 old = fixedSet[a.ctx.analysis];
            charge = old == 0;
            if (old != 0 && old != _set(n)) ok = false;
            if (!same && lockedInputs[study][s.attested][a.ctx.analysis] != 0) ok = false;
        }
        if (charge && !_affordable(study, n, a.ctx.rho)) ok = false;
    }

    function _book(Shadow storage s, Attempt memory a, bytes32 study, uint256 n, bool charge) private {
        if (study == exact) fixedSet[a.ctx.analysis] = _set(n);
        setLocked[study] = _set(n);
        lockedInputs[study][s.attested][a.ctx.analysis] = a.inputsRoot;
        for (uint256 i; charge && i < n; ++i) {
            address org = orgs[i];
            rho[study][org] += a.ctx.rho;
            rhoAll[org] += a.ctx.rho;
            if (study == exact) (exactly[study][org], exactAll[org]) = (exactly[study][org] + 1, exactAll[org] + 1);
        }
        delete s.current;
        s.current.ctx = a.ctx;
        for (uint256 i; i < a.uses.length; ++i) s.current.uses.push(a.uses[i]);
        (s.current.orgs, s.current.uploads) = (a.orgs, a.uploads);
        (s.current.readyRoot, s.current.inputsRoot, s.current.lockBy) = (a.readyRoot, a.inputsRoot, a.lockBy);
        delete s.recovered;
        (s.abandoned, s.lockedAt) = (false, block.timestamp);
    }

    function attestX(uint256 which, uint256 missing) external {
        bytes32 study = _study(which);
        Shadow storage s = shadow[study];
        if (s.current.ctx.round == 0) return;
        Attempt memory a = s.current;
        Seal memory seal = sealOf(a);
        bytes[] memory sigs = sealSigs(seal, a.orgs);
        bool absent = missing % 4 == 0;
        if (absent) sigs[missing / 4 % sigs.length] = "";
        bool late = block.timestamp >= ledger.head(study).lockedAt + WINDOW;
        bool ok = !s.abandoned && (!absent || (late && sigs.length > 3));
        vm.prank(coordinator);
        try ledger.attest(study, seal, a.orgs, sigs) returns (bytes32 id) {
            if (!ok) ++wrong;
            ++seals;
            (s.tip, s.attested) = (id, s.attested + 1);
            delete s.current;
            delete s.recovered;
            (s.abandoned, s.bound) = (false, false);
        } catch {
            if (ok) ++wrong;
        }
    }

    function abandonX(uint256 which) external {
        bytes32 study = _study(which);
        Shadow storage s = shadow[study];
        if (s.current.ctx.round == 0 || s.abandoned) return;
        bytes32 id = ledger.head(study).lockId;
        vm.prank(sponsor);
        try ledger.abandon(study, id) {
            if (s.bound) ++wrong;
            s.abandoned = true;
        } catch {
            if (!s.bound) ++wrong;
        }
    }

    function recoverX(uint256 which, uint256 i) external {
        bytes32 study = _study(which);
        Shadow storage s = shadow[study];
        address org = orgs[i / 2 % N];
        uint256 due = s.lockedAt + WINDOW / 2;
        if (i % 2 != 0 && !s.bound) return; // else hardly any lock would be abandoned
        if (i % 3 == 0 && block.timestamp < due) vm.warp(due);
        bool ok = s.current.ctx.round != 0 && !s.abandoned && block.timestamp >= due;
        for (uint256 j; j < s.recovered.length; ++j) if (s.recovered[j] == org) ok = false;
        bytes32 id = ledger.head(study).lockId;
        vm.prank(regulator);
        try ledger.recover(study, id, org) {
            if (!ok) ++wrong;
            s.recovered.push(org);
            s.bound = true;
        } catch {
            if (ok) ++wrong;
        }
    }

    // --- what must hold ---------------------------------------------------------------
    function agrees() external view returns (bool) {
        for (uint256 k; k < 2; ++k) {
            bytes32 study = _study(k);
            Head memory h = ledger.head(study);
            Shadow storage s = shadow[study];
            if (h.tip != s.tip || h.attested != s.attested || h.abandoned != s.abandoned) return false;
            if ((h.lockId != 0) != (s.current.ctx.round != 0)) return false;
            if (keccak256(abi.encode(h.recovered)) != keccak256(abi.encode(s.recovered))) return false;
            for (uint256 i; i < N; ++i) {
                address org = orgs[i];
                Gate memory g = gateOf(org, study);
                uint256 left = 500 - rho[study][org];
                if (1000 - rhoAll[org] < left) left = 1000 - rhoAll[org];
                if (g.rhoLeft != left || g.exactLeft != 5 - exactly[study][org]) return false;
                bool live = block.timestamp < expiry[study][org] && !dirty[org] && !suspended[org];
                if ((g.status == 0) != live) return false;
            }
        }
        return true;
    }

    /// Every log since the deployment, hashed anew, ends at both journals' heads.
    function journalsAgree() external returns (bool) {
        Log[] memory logs = vm.getRecordedLogs(); // since the last call
        for (uint256 i; i < logs.length; ++i) {
            Log memory l = logs[i];
            bool ours = l.emitter == address(registry) || l.emitter == address(ledger);
            if (!ours || _foreign(l.topics[0])) continue;
            bytes32[4] memory t;
            for (uint256 j; j < l.topics.length; ++j) t[j] = l.topics[j];
            if (uint256(t[1]) != ++counts[l.emitter]) return false;
            heads[l.emitter] =
                keccak256(abi.encode(heads[l.emitter], t[0], t[1], t[2], t[3], keccak256(l.data)));
        }
        return heads[address(registry)] == registry.head() && counts[address(registry)] == registry.seq()
            && heads[address(ledger)] == ledger.head() && counts[address(ledger)] == ledger.seq();
    }

    /// OpenZeppelin's own events.
    function _foreign(bytes32 topic) private pure returns (bool) {
        return topic == keccak256("RoleGranted(bytes32,address,address)")
            || topic == keccak256("RoleRevoked(bytes32,address,address)");
    }
}

/// As forge wants them.
struct Selectors {
    address target;
    bytes4[] selectors;
}

contract InvariantTest {
    Handler private handler;

    function setUp() public {
        handler = new Handler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (Selectors[] memory chosen) {
        chosen = new Selectors[](1);
        bytes4[] memory s = new bytes4[](14);
        (s[0], s[1], s[2]) = (Handler.grantX.selector, Handler.revokeX.selector, Handler.withdrawX.selector);
        (s[3], s[4], s[5]) = (Handler.suspendX.selector, Handler.timeX.selector, Handler.abandonX.selector);
        (s[6], s[7]) = (Handler.attestX.selector, Handler.attestX.selector);
        (s[8], s[9]) = (Handler.lockX.selector, Handler.lockX.selector);
        (s[10], s[11], s[12]) = (Handler.lockX.selector, Handler.lockX.selector, Handler.healX.selector);
        s[13] = Handler.recoverX.selector;
        chosen[0] = Selectors(address(handler), s);
    }

    function invariant_contracts_and_shadow_agree() public view {
        assert(handler.wrong() == 0);
        assert(handler.agrees());
    }

    function invariant_journals_are_complete() public {
        assert(handler.journalsAgree());
    }
}
