use super::*;
use crate::fixture::{DATABASE, DOCUMENT, api, assignment, new_tenant, role, used_tenant, wanted};
use crate::present::{Client, Connection, UserRoles};

fn main_tf(wanted: &Wanted, present: Option<&Present>) -> String {
    file(&terraform(wanted, present), "main.tf")
}

fn imports_tf(wanted: &Wanted, present: Option<&Present>) -> String {
    file(&terraform(wanted, present), "imports.tf")
}

fn yaml(wanted: &Wanted, present: Option<&Present>) -> String {
    file(&deploy_cli(wanted, present), "tenant.yaml")
}

fn file(files: &[File], path: &str) -> String {
    files.iter().find(|file| file.path == path).unwrap().content.clone()
}

/// Checks that a file has lines one after the other.
#[track_caller]
fn assert_has(file: &str, lines: &[&str]) {
    assert!(file.contains(&lines.join("\n")), "{}\nis not in:\n{file}", lines.join("\n"));
}

#[track_caller]
fn assert_lacks(file: &str, text: &str) {
    assert!(!file.contains(text), "{text} is in:\n{file}");
}

/// Returns what is imported, with its id.
fn imports(file: &str) -> Vec<(String, String)> {
    let values = |name: &str| -> Vec<String> {
        let prefix = format!("  {name} = ");
        file.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    };
    values("to").into_iter().zip(values("id")).collect()
}

#[test]
fn a_new_tenant_is_described_whole() {
    let (wanted, present) = (wanted(), new_tenant());
    let main = main_tf(&wanted, Some(&present));
    let kinds = [
        "tenant\" \"tenant",
        "connection\" \"username_password_authentication",
        "resource_server\" \"localhost_3001_mcp",
        "resource_server_scopes\" \"localhost_3001_mcp",
        "client_grant\" \"localhost_3001_mcp",
        "client_cimd\" \"client_example_com_client_json",
        "role\" \"mcp_admin",
        "role_permissions\" \"mcp_admin",
        "user_role\" \"auth0_1_mcp_admin",
    ];
    let headers = kinds.map(|kind| format!("resource \"auth0_{kind}\" {{"));
    let found: Vec<&str> = main.lines().filter(|line| line.starts_with("resource ")).collect();
    assert_eq!(found, headers);
    assert_has(
        &main,
        &[
            "  identifier           = \"http://localhost:3001/mcp\"",
            "  name                 = \"My server\"",
            "  signing_alg          = \"RS256\"",
            "  token_dialect        = \"rfc9068_profile_authz\"",
            "  enforce_policies     = true",
            "  allow_offline_access = true",
            "  token_lifetime       = 3600",
        ],
    );
    let yaml = yaml(&wanted, Some(&present));
    let keys: Vec<&str> =
        yaml.lines().filter(|line| !line.starts_with(['#', ' ']) && !line.is_empty()).collect();
    assert_eq!(keys, ["resourceServers:", "clientGrants:", "clients:", "roles:", "tenant:"]);
    assert_has(
        &yaml,
        &["    subject_type: \"user\"", "    scope:", "      - \"tool:greet\"", "      - \"tool:whoami\""],
    );
}

#[test]
fn terraform_adopts_what_exists() {
    let (wanted, mut present) = (wanted(), used_tenant());
    let (client_id, external_client_id) = ("tpc_1".to_owned(), Some(DOCUMENT.to_owned()));
    present.clients = vec![Client { client_id, external_client_id, ..Client::default() }];
    let user = "auth0|1".to_owned();
    let roles = wanted.assignments[0].roles.clone();
    present.users = vec![UserRoles { asked: user.clone(), user_id: user, roles }];
    let adopted = imports(&imports_tf(&wanted, Some(&present)));
    let expected = [
        ("auth0_tenant.tenant", "\"tenant\""),
        ("auth0_connection.username_password_authentication", "\"con_1\""),
        ("auth0_resource_server.localhost_3001_mcp", "\"rs_1\""),
        ("auth0_resource_server_scopes.localhost_3001_mcp", "\"http://localhost:3001/mcp\""),
        ("auth0_client_grant.localhost_3001_mcp", "\"cgr_users\""),
        ("auth0_client_cimd.client_example_com_client_json", "\"tpc_1\""),
        ("auth0_role.mcp_admin", "\"rol_1\""),
        ("auth0_role_permissions.mcp_admin", "\"rol_1\""),
        ("auth0_user_role.auth0_1_mcp_admin", "\"auth0|1::rol_1\""),
    ];
    assert_eq!(adopted, expected.map(|(to, id)| (to.to_owned(), id.to_owned())));
    let main = main_tf(&wanted, Some(&present));
    for (to, _) in adopted {
        let (kind, name) = to.split_once('.').unwrap();
        assert_has(&main, &[&format!("resource \"{kind}\" \"{name}\" {{")]);
    }
}

#[test]
fn lists_keep_what_others_put_into_them() {
    let (wanted, present) = (wanted(), used_tenant());
    let (main, yaml) = (main_tf(&wanted, Some(&present)), yaml(&wanted, Some(&present)));
    assert_has(&main, &["    name        = \"theirs\"", "    description = \"What they do\""]);
    assert_has(&main, &["  scopes       = [\"tool:whoami\", \"theirs\", \"tool:greet\"]"]);
    assert_has(
        &main,
        &["    name                       = \"other\"", "    resource_server_identifier = \"urn:other\""],
    );
    assert_has(&yaml, &["      - value: \"theirs\"", "        description: \"What they do\""]);
    assert_has(
        &yaml,
        &["      - \"tool:whoami\"", "      - \"theirs\"", "      - \"tool:greet\"", "clients:"],
    );
    assert_has(
        &yaml,
        &["      - permission_name: \"other\"", "        resource_server_identifier: \"urn:other\""],
    );
}

#[test]
fn what_exists_keeps_its_own_words() {
    let (wanted, present) = (wanted(), used_tenant());
    let (main, yaml) = (main_tf(&wanted, Some(&present)), yaml(&wanted, Some(&present)));
    for file in [&main, &yaml] {
        for replaced in ["My server", "Call whoami", "Made for MCP", "signing_alg", "rfc9068"] {
            assert_lacks(file, replaced);
        }
        assert_has(file, &["access_token_authz"]);
        assert_has(file, &["Their words"]);
        assert_has(file, &["Greet somebody"]);
    }
    assert_lacks(&main, "Their API");
    assert_has(&yaml, &["  - name: \"Their API\"", "    identifier: \"http://localhost:3001/mcp\""]);
    // The provider would see a difference in what the file does not name.
    assert_has(&main, &["    ignore_changes = [description]"]);
}

#[test]
fn terraform_does_not_empty_the_settings_of_others() {
    // Of these, the provider sends null when they are absent and the state has them, or when there is no state yet.
    for present in [None, Some(&used_tenant())] {
        assert_eq!(imports(&imports_tf(&wanted(), present))[0].0, "auth0_tenant.tenant");
        let main = main_tf(&wanted(), present);
        for field in ["country_codes", "default_token_quota", "error_page", "default_redirection_uri"] {
            assert_has(&main, &[&format!("      {field},")]);
        }
        assert_lacks(&main, "authorization_response_iss_parameter_supported");
        assert_has(
            &main,
            &["# Include Issuer in Authorization Responses (RFC 9207) is not in the provider."],
        );
    }
}

#[test]
fn a_connection_keeps_its_options_and_display_name() {
    let (mut wanted, mut present) = (wanted(), new_tenant());
    wanted.connections.push("google".to_owned());
    present.connections.push(Connection {
        id: "con_2".to_owned(),
        name: "google".to_owned(),
        display_name: Some("With Google".to_owned()),
        strategy: "google-oauth2".to_owned(),
        is_domain_connection: true,
    });
    let main = main_tf(&wanted, Some(&present));
    assert_has(
        &main,
        &[
            "  name                 = \"google\"",
            "  strategy             = \"google-oauth2\"",
            "  display_name         = \"With Google\"",
            "  is_domain_connection = true",
        ],
    );
    assert_eq!(main.matches("prevent_destroy = true").count(), 2);
    let yaml = yaml(&wanted, Some(&present));
    // The deploy CLI would replace the database's options.
    let database = format!(
        "# Not in here: connection \"{DATABASE}\", to be at domain level: the deploy CLI replaces its options"
    );
    assert_has(&yaml, &[&database]);
    assert_lacks(&yaml, "databases:");
    assert_has(
        &yaml,
        &[
            "connections:",
            "  - name: \"google\"",
            "    strategy: \"google-oauth2\"",
            "    display_name: \"With Google\"",
            "    is_domain_connection: true",
        ],
    );
    assert_lacks(&main, "  options");
    assert_lacks(&yaml, "options:");
}

#[test]
fn the_deploy_cli_file_has_no_connection_whose_options_it_would_replace() {
    let (wanted, mut present) = (wanted(), new_tenant());
    for strategy in ["auth0", "email"] {
        present.connections[0].strategy = strategy.to_owned();
        for is_domain_connection in [false, true] {
            present.connections[0].is_domain_connection = is_domain_connection;
            let yaml = yaml(&wanted, Some(&present));
            assert_lacks(&yaml, "\n  - name: \"Username");
            assert_eq!(yaml.contains("# Not in here: connection"), !is_domain_connection, "{yaml}");
        }
    }
}

#[test]
fn a_connection_that_is_not_there_is_not_made() {
    let (mut wanted, present) = (wanted(), new_tenant());
    wanted.connections = vec!["no\nwhere".to_owned()];
    let (main, yaml) = (main_tf(&wanted, Some(&present)), yaml(&wanted, Some(&present)));
    assert_has(&main, &["# The tenant has no connection \"no\\nwhere\"."]);
    assert_lacks(&main, "auth0_connection");
    assert_has(
        &yaml,
        &[
            "# Not in here: connection \"no\\nwhere\", to be at domain level: the tenant has none of that name.",
        ],
    );
    assert_lacks(&yaml, "connections:");
}

#[test]
fn a_tenant_without_a_domain_connection_is_noted() {
    let (mut wanted, mut present) = (wanted(), new_tenant());
    wanted.connections.clear();
    let note = "# No connection is at domain level";
    assert_has(&main_tf(&wanted, Some(&present)), &[note]);
    assert_lacks(&main_tf(&wanted, None), note);
    present.connections[0].is_domain_connection = true;
    assert_lacks(&main_tf(&wanted, Some(&present)), note);
}

#[test]
fn without_access_terraform_looks_connections_up() {
    let found = "data.auth0_connection.username_password_authentication";
    let main = main_tf(&wanted(), None);
    assert_has(&main, &[&format!("  strategy             = {found}.strategy")]);
    assert_has(&main, &["# Written without access to the tenant"]);
    let adopted = imports(&imports_tf(&wanted(), None));
    let to = "auth0_connection.username_password_authentication".to_owned();
    assert_eq!(adopted[1..], [(to, format!("{found}.id"))]);
    let yaml = yaml(&wanted(), None);
    let line = format!(
        "# Not in here: connection \"{DATABASE}\", to be at domain level: what kind it is, is not known."
    );
    assert_has(&yaml, &[&line]);
    assert_lacks(&yaml, "connections:");
}

#[test]
fn what_is_in_the_way_is_taken_away() {
    let (wanted, mut present) = (wanted(), used_tenant());
    let api = &mut present.apis[0];
    api.token_encryption = Some(serde_json::json!({"encryption_key": {"pem": "a key"}}));
    api.subject_type_authorization.user.policy = Some("deny_all".to_owned());
    api.subject_type_authorization.client.policy = Some("deny_all".to_owned());
    let (main, yaml) = (main_tf(&wanted, Some(&present)), yaml(&wanted, Some(&present)));
    assert_has(&main, &["  token_encryption {", "    disable = true", "  }"]);
    assert_has(&main, &["    user {", "      policy = \"require_client_grant\""]);
    assert_has(&main, &["    client {", "      policy = \"deny_all\""]);
    assert_has(&yaml, &["    token_encryption: null", "    subject_type_authorization:"]);
    assert_has(
        &yaml,
        &["        policy: \"require_client_grant\"", "      client:", "        policy: \"deny_all\""],
    );
}

#[test]
fn a_grant_of_every_scope_stays_one() {
    let (wanted, mut present) = (wanted(), used_tenant());
    present.grants[1].allow_all_scopes = Some(true);
    assert_has(&main_tf(&wanted, Some(&present)), &["  allow_all_scopes = true"]);
    assert_has(&yaml(&wanted, Some(&present)), &["    allow_all_scopes: true", "clients:"]);
}

#[test]
fn the_deploy_cli_gets_default_grants_in_their_order() {
    // It takes them for each other otherwise.
    let (wanted, mut present) = (wanted(), used_tenant());
    let subjects = |yaml: &str| -> Vec<String> {
        yaml.lines()
            .filter_map(|line| line.trim().strip_prefix("subject_type: "))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(subjects(&yaml(&wanted, Some(&present))), ["\"client\"", "\"user\""]);
    present.grants.reverse();
    assert_eq!(subjects(&yaml(&wanted, Some(&present))), ["\"user\"", "\"client\""]);
    present.grants.remove(0);
    assert_eq!(subjects(&yaml(&wanted, Some(&present))), ["\"client\"", "\"user\""]);
}

#[test]
fn the_deploy_cli_gets_no_name_twice() {
    let mut wanted = wanted();
    wanted.apis.push(api("https://mcp.example.com/mcp"));
    let yaml = yaml(&wanted, None);
    assert_has(&yaml, &["  - name: \"My server\""]);
    assert_has(&yaml, &["  - name: \"My server https://mcp.example.com/mcp\""]);
}

#[test]
fn a_role_without_permissions_has_none_in_terraform_and_an_empty_list_for_the_deploy_cli() {
    let mut wanted = wanted();
    wanted.roles = vec![role("Empty", &["undefined"])];
    assert_lacks(&main_tf(&wanted, None), "auth0_role_permissions");
    assert_has(&yaml(&wanted, None), &["    permissions: []"]);
}

#[test]
fn users_are_named_by_id_and_roles_of_others_looked_up_once() {
    let mut wanted = wanted();
    let (known, unknown) = ("a@example.com", "b@example.com");
    wanted.assignments = vec![
        assignment(known, &["MCP Admin", "Theirs"]),
        assignment(unknown, &["Theirs"]),
        assignment("auth0|3", &["Theirs"]),
    ];
    let mut present = new_tenant();
    let (asked, user_id) = (known.to_owned(), "auth0|9".to_owned());
    present.users = vec![UserRoles { asked, user_id, ..UserRoles::default() }];
    let main = main_tf(&wanted, Some(&present));
    assert_has(&main, &["  user_id = \"auth0|9\"", "  role_id = auth0_role.mcp_admin.id"]);
    assert_has(&main, &["  user_id = \"auth0|9\"", "  role_id = data.auth0_role.theirs.id"]);
    assert_has(&main, &["  user_id = \"auth0|3\"", "  role_id = data.auth0_role.theirs.id"]);
    assert_eq!(main.matches("data \"auth0_role\"").count(), 1);
    assert_has(&main, &["# Roles are given to user ids, and which one \"b@example.com\" has is not known."]);
    assert_has(&yaml(&wanted, Some(&present)), &["# Not in here: roles of users"]);
}

#[test]
fn names_are_no_code() {
    let hostile = "x\"\n}\nresource \"auth0_user\" \"evil\" {\n# ${file(\"/etc/passwd\")}\nroles: []\n";
    let mut wanted = wanted();
    wanted.apis.push(api(hostile));
    wanted.apis[1].name = hostile.to_owned();
    wanted.apis[1].scopes.get_mut("tool:greet").unwrap().description = hostile.to_owned();
    wanted.connections = vec![hostile.to_owned()];
    wanted.client_documents = vec![hostile.to_owned()];
    wanted.roles = vec![role(hostile, &["tool:greet"])];
    wanted.assignments = vec![assignment(hostile, &[hostile]), assignment("auth0|1", &[hostile])];
    let mut present = used_tenant();
    for text in
        [&mut present.apis[0].scopes[0].value, &mut present.grants[1].scope[1], &mut present.roles[0].id]
    {
        *text = hostile.to_owned();
    }
    for present in [None, Some(&present)] {
        let files = terraform(&wanted, present);
        assert!(files.iter().all(|file| !file.content.replace("$${", "").contains("${")), "no template");
        let files = [files, deploy_cli(&wanted, present)].concat();
        for line in files.iter().flat_map(|file| file.content.lines()) {
            assert!(!line.starts_with("resource \"auth0_user\" ") && !line.starts_with("roles: ["), "{line}");
        }
    }
}

#[test]
fn the_deploy_cli_file_names_the_scopes_it_takes() {
    let mut wanted = wanted();
    (wanted.roles, wanted.assignments) = (Vec::new(), Vec::new());
    let yaml = yaml(&wanted, None);
    let line = yaml.lines().find(|line| line.starts_with("# Scopes of the Management API: ")).unwrap();
    assert!(line.contains(" update:tenant_settings") && line.contains(" create:client_grants "), "{line}");
    assert!(!line.contains("roles") && !line.contains("delete:"), "{line}");
}
