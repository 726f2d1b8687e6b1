// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {ILedger, IRegistry, Vm} from "./Interfaces.sol";

bytes32 constant REGISTRAR = keccak256("REGISTRAR");
bytes32 constant HOSPITAL = keccak256("HOSPITAL");
bytes32 constant SPONSOR = keccak256("SPONSOR");
bytes32 constant COORDINATOR = keccak256("COORDINATOR");
bytes32 constant REGULATOR = keccak256("REGULATOR");
bytes32 constant LEDGER = keccak256("LEDGER");

/// One attempt as the coordinator brings it to `lock`.
struct Attempt {
    Ctx ctx;
    Use[] uses;
    address[] orgs;
    bytes32 readyRoot;
    bytes32 inputsRoot;
    uint64 lockBy;
    bytes32[] uploads;
    bytes[] sigs;
}

/// A council of five hospitals with one dataset each, an exact and a dp study, and hashes written a second time.
contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 internal constant N = 5;
    uint256 internal constant T0 = 1_800_000_000;
    uint32 internal constant WINDOW = 600;
    bytes32 internal constant A1 = "analysis 1";
    bytes32 internal constant A2 = "analysis 2";

    IRegistry internal registry;
    ILedger internal ledger;
    address internal sponsor = address(0x51);
    address internal coordinator = address(0xC0);
    address internal regulator = address(0x4E6);
    bytes32 internal exact;
    bytes32 internal dp;

    address[] internal orgs; // ascending
    mapping(address => uint256) internal orgKey;
    mapping(address => uint256) internal agentKey;
    mapping(address => bytes32) internal datasetOf;

    function setUp() public virtual {
        vm.warp(T0);
        registry = IRegistry(deploy("ConsentRegistry", abi.encode(address(this), uint48(1 days))));
        ledger = ILedger(deploy("AttestationLedger", abi.encode(registry)));
        registry.grantRole(LEDGER, address(ledger));
        registry.grantRole(SPONSOR, sponsor);
        registry.grantRole(COORDINATOR, coordinator);
        registry.grantRole(REGULATOR, regulator);
        for (uint256 i; i < N; ++i) _admit(0xA11CE + i);
        exact = register(terms("exact", EXACT));
        dp = register(terms("dp", DP));
        for (uint256 i; i < N; ++i) {
            grant(orgs[i], exact);
            grant(orgs[i], dp);
        }
    }

    /// The checked-in bytes.
    function deploy(string memory name, bytes memory arguments) internal returns (address found) {
        string memory json = vm.readFile(string.concat("artifacts/", name, ".json"));
        bytes memory code = bytes.concat(vm.parseJsonBytes(json, ".bytecode"), arguments);
        assembly ("memory-safe") {
            found := create(0, add(code, 32), mload(code))
        }
        assert(found != address(0));
    }

    function _admit(uint256 key) private {
        address org = vm.addr(key);
        registry.grantRole(HOSPITAL, org);
        (orgKey[org], agentKey[org]) = (key, uint256(keccak256(abi.encode("agent", key))));
        vm.prank(org);
        registry.setAgent(vm.addr(agentKey[org]));
        vm.prank(org);
        bytes32 id = registry.registerDataset("nonce", "root", "schema", "terms", "cohort");
        datasetOf[org] = id;
        vm.prank(org);
        registry.setBudget(id, 1000, 1000, 10);
        orgs.push(org);
        for (uint256 j = orgs.length - 1; j > 0 && orgs[j - 1] > org; --j) (orgs[j - 1], orgs[j]) = (org, orgs[j - 1]);
    }

    // --- studies and consents -------------------------------------------------------
    function terms(bytes32 spec, uint8 mode) internal view returns (StudyTerms memory t) {
        Analysis[] memory analyses = new Analysis[](2);
        bool noisy = mode == DP;
        analyses[0] = Analysis(A1, noisy ? 10 : 0, noisy ? 3 : 0, noisy ? bytes32("noise 1") : bytes32(0));
        analyses[1] = Analysis(A2, noisy ? 20 : 0, noisy ? 5 : 0, noisy ? bytes32("noise 2") : bytes32(0));
        t = StudyTerms(spec, coordinator, 5, 3, "MONDO", mode, 3, 1, WINDOW, "key", orgs, analyses);
    }

    function register(StudyTerms memory t) internal returns (bytes32) {
        vm.prank(sponsor);
        return registry.registerStudy(t);
    }

    function consent(address org, bytes32 study) internal view returns (GrantTerms memory) {
        uint40 expiry = uint40(block.timestamp + 30 days);
        return GrantTerms(datasetOf[org], study, 7, 1, "MONDO", expiry, 500, 500, 5);
    }

    function grant(address org, bytes32 study) internal {
        GrantTerms memory g = consent(org, study);
        vm.prank(org);
        registry.grant(g);
    }

    function revoke(address org, bytes32 study) internal {
        bytes32 id = datasetOf[org];
        vm.prank(org);
        registry.revoke(id, study);
    }

    function gateOf(address org, bytes32 study) internal view returns (Gate memory) {
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = datasetOf[org];
        return registry.gate(study, ids)[0];
    }

    // --- rounds ---------------------------------------------------------------------
    /// An attempt of the first `n` hospitals as the chain stands, unsigned; `inputs` names what they committed to.
    function attempt(bytes32 study, bytes32 analysis, uint256 n, bytes32 inputs)
        internal
        view
        returns (Attempt memory a)
    {
        Head memory h = ledger.head(study);
        StudyView memory s = registry.study(study);
        Analysis memory p = registry.analysis(study, analysis);
        a.ctx = Ctx({
            chainId: block.chainid,
            registry: address(registry),
            ledger: address(ledger),
            study: study,
            analysis: analysis,
            specHash: s.specHash,
            codeHash: "code",
            round: h.attested + 1,
            release: h.lockId == 0 ? 1 : h.release,
            attempt: h.attempt + 1,
            prevSeal: h.tip,
            stateCommit: h.attested == 0 ? bytes32("genesis") : h.stateCommit,
            mode: s.mode,
            rho: p.rho,
            delta: p.delta,
            noise: p.noise
        });
        (a.readyRoot, a.inputsRoot) = (keccak256(abi.encode("ready", inputs)), inputs);
        a.lockBy = uint64(block.timestamp + 60);
        (a.orgs, a.uses) = (new address[](n), new Use[](n));
        (a.uploads, a.sigs) = (new bytes32[](n), new bytes[](n));
        for (uint256 i; i < n; ++i) {
            address org = orgs[i];
            a.orgs[i] = org;
            a.uploads[i] = keccak256(abi.encode(org, inputs, h.attempt));
            Gate memory g = gateOf(org, study);
            Use memory u = Use(datasetOf[org], g.version, g.epoch, false);
            uint256 j = i;
            for (; j > 0 && a.uses[j - 1].dataset > u.dataset; --j) a.uses[j] = a.uses[j - 1];
            a.uses[j] = u;
        }
    }

    function acceptLeaving(Attempt memory a) internal pure returns (Attempt memory) {
        for (uint256 i; i < a.uses.length; ++i) a.uses[i].leaveSiteOut = true;
        return a;
    }

    function planHash(Attempt memory a) internal pure returns (bytes32) {
        bytes32 ctx = keccak256(abi.encode(CTX_TYPEHASH, a.ctx));
        bytes32 uses = keccak256(abi.encode(USES_TYPEHASH, a.uses));
        return keccak256(abi.encode(PLAN_TYPEHASH, ctx, uses, a.readyRoot, a.inputsRoot, a.lockBy));
    }

    function receiptsRoot(Attempt memory a) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPTS_TYPEHASH, a.orgs, a.uploads));
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function typed(address at_, string memory name, bytes32 structHash) internal view returns (bytes32) {
        bytes32 kind =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 domain = keccak256(abi.encode(kind, keccak256(bytes(name)), keccak256("1"), block.chainid, at_));
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function sign(Attempt memory a) internal view returns (Attempt memory) {
        bytes32 plan = planHash(a);
        for (uint256 i; i < a.orgs.length; ++i) {
            bytes32 receipt = keccak256(abi.encode(RECEIPT_TYPEHASH, plan, a.orgs[i], a.uploads[i]));
            a.sigs[i] = signed(agentKey[a.orgs[i]], typed(address(ledger), "AttestationLedger", receipt));
        }
        return a;
    }

    function lock(Attempt memory a) internal returns (bytes32) {
        vm.prank(coordinator);
        return ledger.lock(a.ctx, a.uses, a.orgs, a.readyRoot, a.inputsRoot, a.lockBy, a.uploads, a.sigs);
    }

    function lock(bytes32 study, bytes32 analysis, uint256 n, bytes32 inputs) internal returns (bytes32) {
        return lock(sign(attempt(study, analysis, n, inputs)));
    }

    function refuseLock(Attempt memory a, bytes memory why) internal {
        vm.prank(coordinator);
        vm.expectRevert(why);
        ledger.lock(a.ctx, a.uses, a.orgs, a.readyRoot, a.inputsRoot, a.lockBy, a.uploads, a.sigs);
    }

    function refuseLock(Attempt memory a, bytes4 why) internal {
        vm.prank(coordinator);
        vm.expectPartialRevert(why);
        ledger.lock(a.ctx, a.uses, a.orgs, a.readyRoot, a.inputsRoot, a.lockBy, a.uploads, a.sigs);
    }

    function sealOf(Attempt memory a) internal pure returns (Seal memory) {
        (bytes32 plan, bytes32 root) = (planHash(a), receiptsRoot(a));
        return Seal({
            lockId: keccak256(abi.encode(LOCK_TYPEHASH, plan, root)),
            planHash: plan,
            receiptsRoot: root,
            stateBefore: a.ctx.stateCommit,
            stateAfter: keccak256(abi.encode(a.ctx.stateCommit, a.inputsRoot)),
            resultHash: "result",
            rho: a.ctx.rho,
            delta: a.ctx.delta,
            method: "fhe",
            params: "params",
            codeHash: a.ctx.codeHash,
            prevSeal: a.ctx.prevSeal
        });
    }

    function sealId(Seal memory s) internal view returns (bytes32) {
        return typed(address(ledger), "AttestationLedger", keccak256(abi.encode(SEAL_TYPEHASH, s)));
    }

    function sealSigs(Seal memory s, address[] memory who) internal view returns (bytes[] memory sigs) {
        sigs = new bytes[](who.length);
        for (uint256 i; i < who.length; ++i) sigs[i] = signed(agentKey[who[i]], sealId(s));
    }

    function attest(Attempt memory a) internal returns (bytes32) {
        Seal memory s = sealOf(a);
        bytes[] memory sigs = sealSigs(s, a.orgs);
        vm.prank(coordinator);
        return ledger.attest(a.ctx.study, s, a.orgs, sigs);
    }

    function refuseAttest(bytes32 study, Seal memory s, address[] memory who, bytes[] memory sigs, bytes memory why)
        internal
    {
        vm.prank(coordinator);
        vm.expectRevert(why);
        ledger.attest(study, s, who, sigs);
    }

    /// Lock and seal one round.
    function round(bytes32 study, bytes32 analysis, uint256 n, bytes32 inputs) internal {
        Attempt memory a = sign(attempt(study, analysis, n, inputs));
        lock(a);
        attest(a);
    }
}
