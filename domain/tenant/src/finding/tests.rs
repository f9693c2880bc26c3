use std::collections::BTreeSet;

use super::*;
use crate::present::{
    ApiScope, Client, ClientGrant, Connection, DefaultFor, Organization, Permission, Prompts, ResourceServer,
    Role, TenantFlags, TenantSettings,
};
use crate::wanted::{WantedApi, WantedRole, WantedScope};

const API: &str = "https://mcp.example.com/mcp";

fn wanted() -> Wanted {
    let scope = WantedScope { description: "Greet".to_owned(), is_written: false };
    Wanted {
        apis: vec![WantedApi {
            identifier: API.to_owned(),
            name: "Mine".to_owned(),
            scopes: [("tool:greet".to_owned(), scope)].into(),
            token_lifetime: None,
            allow_offline_access: true,
        }],
        dynamic_registration: true,
        connections: vec!["db".to_owned()],
        roles: vec![WantedRole {
            name: "Admin".to_owned(),
            description: String::new(),
            scopes: BTreeSet::from(["tool:greet".to_owned()]),
        }],
        issuer_hosts: vec!["example.auth0.com".to_owned()],
        ..Wanted::default()
    }
}

/// A tenant that has it all.
fn present() -> Present {
    let permission =
        Permission { resource_server_identifier: API.to_owned(), permission_name: "tool:greet".to_owned() };
    Present {
        settings: TenantSettings {
            resource_parameter_profile: Some("compatibility".to_owned()),
            flags: TenantFlags {
                enable_dynamic_client_registration: Some(true),
                use_scope_descriptions_for_consent: Some(true),
            },
            authorization_response_iss_parameter_supported: Some(true),
            ..TenantSettings::default()
        },
        apis: vec![ResourceServer {
            id: "1".to_owned(),
            identifier: API.to_owned(),
            scopes: vec![ApiScope { value: "tool:greet".to_owned(), description: Some("Hi".to_owned()) }],
            token_dialect: Some("access_token_authz".to_owned()),
            enforce_policies: true,
            allow_offline_access: true,
            ..ResourceServer::default()
        }],
        grants: vec![ClientGrant {
            id: "2".to_owned(),
            default_for: Some(DefaultFor::ThirdPartyClients),
            audience: API.to_owned(),
            scope: vec!["tool:greet".to_owned()],
            subject_type: SubjectType::User,
            ..ClientGrant::default()
        }],
        connections: vec![Connection {
            name: "db".to_owned(),
            is_domain_connection: true,
            ..Connection::default()
        }],
        roles: vec![Role {
            id: "3".to_owned(),
            name: "Admin".to_owned(),
            permissions: BTreeSet::from([permission]),
        }],
        ..Present::default()
    }
}

/// What is found after a change of a tenant that has it all.
fn found(change: impl FnOnce(&mut Present)) -> Vec<(Setting, Severity, String)> {
    let mut present = present();
    change(&mut present);
    let found = findings(&wanted(), &present).into_iter();
    found.map(|finding| (finding.setting, finding.severity, finding.seen)).collect()
}

fn one(setting: Setting, severity: Severity, seen: &str) -> Vec<(Setting, Severity, String)> {
    vec![(setting, severity, seen.to_owned())]
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("n{n}")).collect()
}

#[test]
fn nothing_is_found_where_all_is_there_and_nothing_more_was_read() {
    assert_eq!(found(|_| ()), []);
    let read = |present: &mut Present| {
        present.unassigned_roles = Some(Vec::new());
        present.prompts = Some(Prompts { universal_login_experience: Some("new".to_owned()) });
        present.rules = Some(Vec::new());
        present.hooks = Some(Vec::new());
        present.organizations = Some(vec![Organization {
            third_party_client_access: Some("allow".to_owned()),
            ..Organization::default()
        }]);
        present.custom_domains = Some(vec!["example.auth0.com".to_owned()]);
    };
    assert_eq!(found(read), []);
}

#[test]
fn a_custom_domain_whose_tokens_are_refused_is_found() {
    let domains = |present: &mut Present| {
        present.custom_domains = Some(vec!["login.example.com".to_owned(), "example.auth0.com".to_owned()]);
    };
    let [(Setting::CustomDomain, Severity::Warning, seen)] = &found(domains)[..] else { panic!() };
    assert!(seen.contains("no tokens that name it"), "{seen}");
}

#[test]
fn what_blocks_strict_clients_is_found_with_a_bounded_list_of_names() {
    let rules = found(|present| present.rules = Some(names(12)));
    let listed = "active: n1, n2, n3, n4, n5, n6, n7, n8, n9, n10 and 2 more";
    assert_eq!(rules, one(Setting::Rules, Severity::Problem, listed));
    let hooks = found(|present| present.hooks = Some(names(1)));
    assert_eq!(hooks, one(Setting::Hooks, Severity::Problem, "active: n1"));
    let classic = Some(Prompts { universal_login_experience: Some("classic".to_owned()) });
    let seen = "universal_login_experience is \"classic\"";
    assert_eq!(
        found(|present| present.prompts = classic),
        one(Setting::LoginExperience, Severity::Problem, seen)
    );
}

#[test]
fn an_organization_blocks_third_parties_unless_it_allows_them() {
    let organization = |name: &str, access: Option<&str>| Organization {
        name: name.to_owned(),
        third_party_client_access: access.map(str::to_owned),
        ..Organization::default()
    };
    let organizations = vec![
        organization("a", None),
        organization("b", Some("block")),
        organization("c", Some("allow")),
        organization("d", Some("unknown")),
    ];
    let seen = "they do not admit third-party clients: a, b, d";
    assert_eq!(
        found(|present| present.organizations = Some(organizations)),
        one(Setting::OrganizationAccess, Severity::Advice, seen)
    );
}

#[test]
fn many_clients_are_found_from_the_hundred_and_first() {
    let clients = |count| vec![Client::default(); count];
    assert_eq!(found(|present| present.clients = clients(100)), []);
    assert_eq!(
        found(|present| present.clients = clients(101)),
        one(Setting::ClientCount, Severity::Advice, "there are 101 third-party clients")
    );
}

#[test]
fn a_clients_own_grant_is_found_where_it_is_for_users_and_narrower() {
    let grant = |scope: &[&str], subject_type, everything| ClientGrant {
        client_id: Some("tpc_1".to_owned()),
        audience: API.to_owned(),
        scope: scope.iter().map(|&scope| scope.to_owned()).collect(),
        subject_type,
        allow_all_scopes: everything,
        ..ClientGrant::default()
    };
    let with = |grant| found(|present: &mut Present| present.grants.push(grant));
    assert_eq!(with(grant(&["tool:greet", "more"], SubjectType::User, None)), []);
    assert_eq!(with(grant(&[], SubjectType::User, Some(true))), []);
    assert_eq!(with(grant(&[], SubjectType::Client, None)), []);
    let seen = "its own grant goes before the default one, and lacks tool:greet";
    let narrower = with(grant(&["more"], SubjectType::User, Some(false)));
    assert_eq!(narrower, one(Setting::GrantScopes, Severity::Warning, seen));
}

#[test]
fn roles_that_nobody_has_are_found_where_nobody_has_any() {
    let unassigned = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    let seen = "no user has any of the roles Admin";
    assert_eq!(
        found(|present| present.unassigned_roles = unassigned(&["Admin"])),
        one(Setting::RoleAssignment, Severity::Advice, seen)
    );
    assert_eq!(found(|present| present.unassigned_roles = unassigned(&[])), []);
}

#[test]
fn clients_without_any_way_to_an_id_are_found() {
    let mut present = present();
    present.settings.flags.enable_dynamic_client_registration = Some(false);
    let mut wanted = wanted();
    wanted.dynamic_registration = false;
    let settings = |present: &Present| -> Vec<Setting> {
        findings(&wanted, present).iter().map(|finding| finding.setting).collect()
    };
    assert_eq!(settings(&present), [Setting::DynamicRegistration]);
    present.clients = vec![Client::default()];
    assert_eq!(settings(&present), [], "one was made by hand");
    present.clients.clear();
    present.settings.client_id_metadata_document_supported = Some(true);
    assert_eq!(settings(&present), [], "documents are announced");
}

#[test]
fn problems_come_before_warnings_and_a_missing_api_is_one_finding() {
    let everything = findings(&wanted(), &Present::default());
    let severities: Vec<Severity> = everything.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted(), "{severities:?}");
    let of_api = everything.iter().filter(|finding| finding.target == format!("api {API}"));
    assert_eq!(of_api.map(|finding| finding.setting).collect::<Vec<_>>(), [Setting::Api]);
}

#[test]
fn a_default_grant_for_machines_is_told_from_none() {
    let none = found(|present| present.grants.clear());
    assert_eq!(none, one(Setting::DefaultGrant, Severity::Problem, "it does not exist"));
    let machines = found(|present| present.grants[0].subject_type = SubjectType::Client);
    let seen = "there is one for machines (subject_type client), and none for users";
    assert_eq!(machines, one(Setting::DefaultGrant, Severity::Problem, seen));
}

#[test]
fn a_finding_as_json_has_the_names_that_scripts_read() {
    let finding = findings(&wanted(), &Present { rules: Some(names(1)), ..present() });
    let json = serde_json::to_value(&finding[0]).unwrap();
    let members: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(members, ["command", "dashboard", "seen", "setting", "severity", "symptom", "target"]);
    assert_eq!((&json["setting"], &json["severity"]), (&"rules".into(), &"problem".into()));
}
