// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {Journal} from "./Journal.sol";

/// Who may do what, and which key speaks for whom. An organisation is its steward's address.
///
/// DEFAULT_ADMIN gives and takes every role; a REGISTRAR (optional) those of hospitals, sponsors and coordinators;
/// a REGULATOR may take these three away and pause.
abstract contract Organisations is AccessControlDefaultAdminRules, Journal, Pausable {
    bytes32 public constant REGISTRAR = keccak256("REGISTRAR");
    bytes32 public constant HOSPITAL = keccak256("HOSPITAL");
    bytes32 public constant SPONSOR = keccak256("SPONSOR");
    bytes32 public constant COORDINATOR = keccak256("COORDINATOR");
    bytes32 public constant REGULATOR = keccak256("REGULATOR");
    bytes32 public constant LEDGER = keccak256("LEDGER");

    /// One slot, so that the gate reads standing and agent at once. `hospital` mirrors the role.
    struct Organisation {
        address agent;
        bool hospital;
    }

    /// The one holder of LEDGER: two ledgers would each open a set of the same round. Shares a slot with `seq` and
    /// `paused`, which the gate reads anyway.
    address internal _ledger;
    mapping(address => Organisation) internal _orgs;

    event RoleSet(uint64 indexed seq, bytes32 indexed role, address indexed account, bool granted);
    event AdminTransferBegun(uint64 indexed seq, address indexed newAdmin, uint48 schedule);
    event AdminTransferCancelled(uint64 indexed seq);
    event AdminDelaySet(uint64 indexed seq, uint48 newDelay, uint48 schedule);
    event PauseSet(uint64 indexed seq, address indexed by, bool paused);
    event AgentSet(uint64 indexed seq, address indexed org, address indexed agent);

    error NotHospital(address account);
    error LedgerExists(address ledger);

    // --- agents ---------------------------------------------------------------------
    /// Delegates the key that signs this organisation's receipts and seals; a new one replaces it, zero takes it away.
    /// Taking away stays possible for a suspended hospital, and everything here while paused.
    function setAgent(address agent) external {
        Organisation storage o = _orgs[msg.sender];
        if (!o.hospital && (agent != address(0) || o.agent == address(0))) revert NotHospital(msg.sender);
        o.agent = agent;
        _record(AgentSet.selector, _word(msg.sender), _word(agent), "");
    }

    /// Zero: none.
    function agentOf(address org) external view returns (address) {
        return _orgs[org].agent;
    }

    function agentsOf(address[] calldata orgs) public view returns (address[] memory agents) {
        agents = new address[](orgs.length);
        for (uint256 i; i < orgs.length; ++i) {
            agents[i] = _orgs[orgs[i]].agent;
        }
    }

    // --- pause ----------------------------------------------------------------------
    /// Stops grants, registrations and locks; never revocation, withdrawal, attestation or a change of agent.
    function pause() external onlyRole(REGULATOR) {
        _pause();
        _record(PauseSet.selector, _word(msg.sender), abi.encode(true));
    }

    /// The regulator pauses alone, but cannot resume alone.
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
        _record(PauseSet.selector, _word(msg.sender), abi.encode(false));
    }

    // --- roles ----------------------------------------------------------------------
    function grantRole(bytes32 role, address account)
        public
        override(AccessControlDefaultAdminRules)
    {
        if (_isMember(role) && hasRole(REGISTRAR, msg.sender)) _grantRole(role, account);
        else super.grantRole(role, account);
    }

    function revokeRole(bytes32 role, address account)
        public
        override(AccessControlDefaultAdminRules)
    {
        if (_isMember(role) && (hasRole(REGISTRAR, msg.sender) || hasRole(REGULATOR, msg.sender))) {
            _revokeRole(role, account);
        } else {
            super.revokeRole(role, account);
        }
    }

    function _isMember(bytes32 role) private pure returns (bool) {
        return role == HOSPITAL || role == SPONSOR || role == COORDINATOR;
    }

    function _grantRole(bytes32 role, address account) internal override returns (bool changed) {
        changed = super._grantRole(role, account);
        if (changed) _setRole(role, account, true);
    }

    function _revokeRole(bytes32 role, address account) internal override returns (bool changed) {
        changed = super._revokeRole(role, account);
        if (changed) _setRole(role, account, false);
    }

    function _setRole(bytes32 role, address account, bool granted) private {
        if (role == HOSPITAL) _orgs[account].hospital = granted;
        if (role == LEDGER) {
            if (granted && _ledger != address(0)) revert LedgerExists(_ledger);
            _ledger = granted ? account : address(0);
        }
        _record(RoleSet.selector, role, _word(account), abi.encode(granted));
    }

    // --- transfers of the administration ----------------------------------------------
    function _beginDefaultAdminTransfer(address newAdmin) internal override {
        super._beginDefaultAdminTransfer(newAdmin);
        (, uint48 schedule) = pendingDefaultAdmin();
        _record(AdminTransferBegun.selector, _word(newAdmin), abi.encode(schedule));
    }

    function _cancelDefaultAdminTransfer() internal override {
        super._cancelDefaultAdminTransfer();
        _record(AdminTransferCancelled.selector, "");
    }

    function _changeDefaultAdminDelay(uint48 newDelay) internal override {
        super._changeDefaultAdminDelay(newDelay);
        (, uint48 schedule) = pendingDefaultAdminDelay();
        _record(AdminDelaySet.selector, abi.encode(newDelay, schedule));
    }

    /// Schedule zero: the change that was under way is off.
    function _rollbackDefaultAdminDelay() internal override {
        super._rollbackDefaultAdminDelay();
        _record(AdminDelaySet.selector, abi.encode(defaultAdminDelay(), uint48(0)));
    }
}
