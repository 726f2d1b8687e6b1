// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import "../src/Types.sol";
import {Base, COORDINATOR, HOSPITAL, LEDGER, REGISTRAR, REGULATOR, SPONSOR} from "./Base.sol";
import {IRegistry as R} from "./Interfaces.sol";

/// Who may do what; studies and their terms.
contract RolesTest is Base {
    function _forbidden(address who, bytes32 role) private {
        vm.expectRevert(abi.encodeWithSelector(R.AccessControlUnauthorizedAccount.selector, who, role));
    }

    function test_strangers_have_no_power() public {
        address stranger = address(0xBAD);
        bytes32 admin = 0;
        vm.prank(stranger);
        _forbidden(stranger, admin);
        registry.grantRole(HOSPITAL, stranger);
        vm.prank(stranger);
        _forbidden(stranger, admin);
        registry.revokeRole(HOSPITAL, orgs[0]);
        vm.prank(stranger);
        _forbidden(stranger, REGULATOR);
        registry.pause();
        vm.prank(stranger);
        _forbidden(stranger, SPONSOR);
        registry.registerStudy(terms("x", EXACT));
        vm.prank(stranger);
        _forbidden(stranger, HOSPITAL);
        registry.registerDataset("n", "r", "s", "t", "c");
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(R.NotHospital.selector, stranger));
        registry.setAgent(stranger);
    }

    function test_registrar_admits_members_only() public {
        address registrar = address(0x4E7);
        registry.grantRole(REGISTRAR, registrar);
        bytes32[3] memory members = [HOSPITAL, SPONSOR, COORDINATOR];
        for (uint256 i; i < 3; ++i) {
            vm.prank(registrar);
            registry.grantRole(members[i], address(0x99));
            assert(registry.hasRole(members[i], address(0x99)));
            vm.prank(registrar);
            registry.revokeRole(members[i], address(0x99));
            assert(!registry.hasRole(members[i], address(0x99)));
        }
        bytes32[3] memory offices = [REGISTRAR, REGULATOR, LEDGER];
        for (uint256 i; i < 3; ++i) {
            vm.prank(registrar);
            _forbidden(registrar, 0);
            registry.grantRole(offices[i], address(0x99));
        }
    }

    function test_regulator_suspends_but_does_not_admit() public {
        vm.prank(regulator);
        _forbidden(regulator, 0);
        registry.grantRole(HOSPITAL, address(0x99));
        vm.prank(regulator);
        registry.revokeRole(HOSPITAL, orgs[0]);
        assert(registry.status(datasetOf[orgs[0]], exact) == 7);
        registry.grantRole(HOSPITAL, orgs[0]);
        assert(registry.status(datasetOf[orgs[0]], exact) == 0);
        vm.prank(regulator);
        _forbidden(regulator, 0);
        registry.revokeRole(LEDGER, address(ledger));
    }

    function test_admin_passes_on_only_in_two_steps() public {
        vm.expectRevert(R.AccessControlEnforcedDefaultAdminRules.selector);
        registry.grantRole(0, address(0xBEEF));
        registry.beginDefaultAdminTransfer(address(0xBEEF));
        vm.prank(address(0xBEEF));
        vm.expectPartialRevert(R.AccessControlEnforcedDefaultAdminDelay.selector);
        registry.acceptDefaultAdminTransfer();
        vm.warp(T0 + 1 days + 1);
        vm.prank(address(0xBEEF));
        registry.acceptDefaultAdminTransfer();
        assert(registry.defaultAdmin() == address(0xBEEF));
    }

    function test_every_change_of_the_administration_is_journalled() public {
        uint64 seq = registry.seq();
        registry.beginDefaultAdminTransfer(address(0xBEEF));
        assert(registry.seq() == ++seq);
        registry.cancelDefaultAdminTransfer();
        assert(registry.seq() == ++seq);
        registry.changeDefaultAdminDelay(2 days);
        assert(registry.seq() == ++seq);
        registry.rollbackDefaultAdminDelay();
        assert(registry.seq() == ++seq);
        registry.beginDefaultAdminTransfer(address(0xBEEF));
        vm.warp(T0 + 1 days + 1);
        vm.prank(address(0xBEEF));
        registry.acceptDefaultAdminTransfer();
        assert(registry.seq() == seq + 3); // begun, taken from one, given to the other
    }

    function test_renounced_role_counts() public {
        vm.prank(orgs[0]);
        registry.renounceRole(HOSPITAL, orgs[0]);
        assert(registry.status(datasetOf[orgs[0]], exact) == 7);
    }

    function test_one_ledger_at_a_time() public {
        vm.expectRevert(abi.encodeWithSelector(R.LedgerExists.selector, address(ledger)));
        registry.grantRole(LEDGER, address(0x1ED));
        registry.revokeRole(LEDGER, address(ledger));
        registry.grantRole(LEDGER, address(0x1ED));
        refuseLock(
            sign(attempt(exact, A1, 3, "i")),
            abi.encodeWithSelector(R.AccessControlUnauthorizedAccount.selector, address(ledger), LEDGER)
        );
    }

    function test_suspended_hospital_may_drop_its_agent_but_not_name_another() public {
        registry.revokeRole(HOSPITAL, orgs[0]);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.NotHospital.selector, orgs[0]));
        registry.setAgent(address(0xA9));
        vm.prank(orgs[0]);
        registry.setAgent(address(0));
        assert(registry.agentOf(orgs[0]) == address(0));
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.NotHospital.selector, orgs[0]));
        registry.setAgent(address(0)); // nothing to drop: no noise in the journal
    }

    // --- pause ----------------------------------------------------------------------
    function test_pause_stops_what_gives_and_nothing_that_takes() public {
        vm.prank(regulator);
        registry.pause();
        bytes4 why = R.EnforcedPause.selector;
        GrantTerms memory g = consent(orgs[0], exact);
        vm.prank(orgs[0]);
        vm.expectRevert(why);
        registry.grant(g);
        vm.expectRevert(why);
        registry.grantBySig(g, uint64(block.timestamp), "");
        vm.prank(orgs[0]);
        vm.expectRevert(why);
        registry.registerDataset("n2", "r", "s", "t", "c");
        vm.prank(sponsor);
        vm.expectRevert(why);
        registry.registerStudy(terms("x", EXACT));
        assert(registry.status(datasetOf[orgs[0]], exact) == 8);

        revoke(orgs[0], exact);
        bytes32 id = datasetOf[orgs[1]];
        vm.prank(orgs[1]);
        registry.withdraw(id, address(7), "patient", new bytes32[](0), "");
        vm.prank(orgs[1]);
        registry.replaceCohort(id, "without", 1);
        vm.prank(orgs[1]);
        registry.setAgent(address(0xA9));
        vm.prank(sponsor);
        registry.closeStudy(dp);

        vm.prank(regulator);
        vm.expectRevert(abi.encodeWithSelector(R.AccessControlUnauthorizedAccount.selector, regulator, bytes32(0)));
        registry.unpause();
        registry.unpause();
        assert(registry.status(datasetOf[orgs[0]], exact) == 1);
        assert(registry.status(datasetOf[orgs[1]], exact) == 0);
    }

    // --- studies --------------------------------------------------------------------
    function _bad(StudyTerms memory t, bytes32 field) private {
        vm.prank(sponsor);
        vm.expectRevert(abi.encodeWithSelector(R.BadTerms.selector, field));
        registry.registerStudy(t);
    }

    function test_terms_that_are_refused() public {
        StudyTerms memory t = terms(0, EXACT);
        _bad(t, "specHash");
        (t = terms("x", EXACT)).coordinator = address(0xBAD);
        _bad(t, "coordinator");
        (t = terms("x", EXACT)).purposes = 0;
        _bad(t, "purposes");
        _bad(terms("x", 0), "mode");
        _bad(terms("x", 3), "mode");
        (t = terms("x", EXACT)).minSites = 2;
        _bad(t, "minSites");
        (t = terms("x", EXACT)).collusion = 2;
        _bad(t, "collusion");
        (t = terms("x", EXACT)).collusion = 255;
        _bad(t, "collusion");
        (t = terms("x", EXACT)).window = 0;
        _bad(t, "window");
        (t = terms("x", EXACT)).sponsorKey = 0;
        _bad(t, "sponsorKey");
        (t = terms("x", EXACT)).minSites = 6;
        _bad(t, "roster");
        (t = terms("x", EXACT)).analyses = new Analysis[](0);
        _bad(t, "analyses");
        (t = terms("x", EXACT)).analyses = new Analysis[](33);
        _bad(t, "analyses");
    }

    function test_roster_is_of_distinct_hospitals() public {
        StudyTerms memory t = terms("x", EXACT);
        t.roster[1] = t.roster[0];
        _bad(t, "roster");
        t = terms("x", EXACT);
        (t.roster[0], t.roster[1]) = (t.roster[1], t.roster[0]);
        _bad(t, "roster");
        t = terms("x", EXACT);
        t.roster[4] = address(type(uint160).max);
        vm.prank(sponsor);
        vm.expectRevert(abi.encodeWithSelector(R.NotHospital.selector, t.roster[4]));
        registry.registerStudy(t);
    }

    function test_price_belongs_to_the_mode() public {
        StudyTerms memory t = terms("x", EXACT);
        t.analyses[1].rho = 1;
        _bad(t, "noise");
        (t = terms("x", EXACT)).analyses[1].delta = 1;
        _bad(t, "noise");
        (t = terms("x", EXACT)).analyses[1].noise = "n";
        _bad(t, "noise");
        (t = terms("x", DP)).analyses[1].rho = 0;
        _bad(t, "noise");
        (t = terms("x", DP)).analyses[1].noise = 0;
        _bad(t, "noise");
        (t = terms("x", DP)).analyses[1].id = A1;
        _bad(t, "analyses");
        (t = terms("x", DP)).analyses[1].id = 0;
        _bad(t, "analyses");
    }

    function test_study_ids_cannot_be_squatted() public {
        bytes32 id = keccak256(abi.encode(sponsor, bytes32("exact")));
        assert(exact == id);
        vm.prank(sponsor);
        vm.expectRevert(abi.encodeWithSelector(R.Exists.selector, exact));
        registry.registerStudy(terms("exact", EXACT));
        registry.grantRole(SPONSOR, address(0x52));
        vm.prank(address(0x52));
        assert(registry.registerStudy(terms("exact", EXACT)) != exact);
    }

    function test_study_view() public view {
        StudyView memory s = registry.study(dp);
        assert(s.specHash == "dp" && s.sponsor == sponsor && s.coordinator == coordinator && !s.closed);
        assert(s.purposes == 5 && s.satisfies == 3 && s.scope == "MONDO" && s.mode == DP && s.sponsorKey == "key");
        assert(s.minSites == 3 && s.collusion == 1 && s.window == WINDOW);
        assert(s.roster.length == N && s.roster[4] == orgs[4]);
        assert(s.analyses.length == 2 && s.analyses[0] == A1 && s.analyses[1] == A2);
        Analysis memory a = registry.analysis(dp, A2);
        assert(a.id == A2 && a.rho == 20 && a.delta == 5 && a.noise == "noise 2");
    }

    function test_close() public {
        vm.prank(coordinator);
        vm.expectRevert(abi.encodeWithSelector(R.NotAllowed.selector, coordinator));
        registry.closeStudy(exact);
        vm.prank(regulator);
        registry.closeStudy(exact);
        assert(registry.study(exact).closed && registry.status(datasetOf[orgs[0]], exact) == 5);
        vm.prank(sponsor);
        vm.expectRevert(abi.encodeWithSelector(R.BadTerms.selector, bytes32("closed")));
        registry.closeStudy(exact);
        GrantTerms memory g = consent(orgs[0], exact);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(R.BadTerms.selector, bytes32("closed")));
        registry.grant(g);
        revoke(orgs[0], exact); // still possible
    }
}
