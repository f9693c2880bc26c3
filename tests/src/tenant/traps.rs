//! Everything that keeps users out, one at a time: what finds it, and whether an apply mends it.

use serde_json::{Value, json};

use super::{API, ASSIGN, DATABASE, Fresh, id, path_text};

const PERMISSION: &str = "tool:greet";

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cure {
    /// An apply mends it.
    Apply,
    /// No change can mend it; a plan says so.
    Blocked,
    /// It is not `apply`'s to change.
    ByHand,
}

type Broken<'a> = (&'static str, Cure, &'a [&'static str]);

impl Fresh {
    /// Checks that doctor and drift name exactly these settings, that an apply does what can be done, and that then nothing
    /// is found any more.
    fn check(&self, what: &str, (settings, cure, more): Broken<'_>) {
        let with = |command: &[&'static str]| [command, more, ASSIGN.as_slice()].concat();
        let found = self.run(&with(&["doctor", "--json"]));
        let expected: Vec<&str> = settings.split(' ').collect();
        assert_eq!(found.settings(), expected, "{what}: {found:?}");
        for finding in found.json()["findings"].as_array().unwrap() {
            for member in ["target", "seen", "symptom", "dashboard", "command"] {
                assert!(!finding[member].as_str().unwrap().is_empty(), "{what}: {finding}");
            }
        }
        // Advice is no difference.
        let json = found.json();
        let differences = json["findings"].as_array().unwrap().iter().filter(|it| it["severity"] != "advice");
        let expected: Vec<&str> = differences.map(|finding| finding["setting"].as_str().unwrap()).collect();
        let drift = self.run(&with(&["drift"])).expect(if expected.is_empty() { 0 } else { 2 });
        let lines: Vec<&str> = drift.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(lines, expected, "{what}: {drift:?}");
        match cure {
            Cure::Apply => {
                self.run(&with(&["apply", "--yes"])).expect(0);
            }
            Cure::Blocked => {
                assert_eq!(
                    self.run(&with(&["plan", "--json"])).expect(1).json()["changes"],
                    json!([]),
                    "{what}"
                );
                return;
            }
            Cure::ByHand => {
                self.run(&with(&["plan"])).expect(0);
                return;
            }
        }
        self.check_clean(what, more);
    }

    fn check_clean(&self, what: &str, more: &[&'static str]) {
        let with = |command: &[&'static str]| [command, more, ASSIGN.as_slice()].concat();
        let clean = self.run(&with(&["doctor", "--json"]));
        assert!(clean.settings().is_empty(), "{what}: {clean:?}");
        self.run(&with(&["drift"])).expect(0);
        self.run(&with(&["plan"])).expect(0);
    }

    async fn delete(&self, path: &str) {
        self.api("DELETE", path, Value::Null).await;
    }
}

#[tokio::test]
async fn a_setting_of_the_tenant_that_is_off_is_found_and_mended() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    for (setting, change) in [
        ("resource_parameter_profile", json!({"resource_parameter_profile": "audience"})),
        ("issuer_in_responses", json!({"authorization_response_iss_parameter_supported": false})),
        ("dynamic_registration", json!({"flags": {"enable_dynamic_client_registration": false}})),
        ("scope_descriptions_at_consent", json!({"flags": {"use_scope_descriptions_for_consent": false}})),
    ] {
        fresh.change_settings(change).await;
        fresh.check(setting, (setting, Cure::Apply, &[]));
    }
    let connection = id(&fresh.find("connections", "name", DATABASE).await.unwrap());
    fresh.api("PATCH", &format!("connections/{connection}"), json!({"is_domain_connection": false})).await;
    fresh.check("connection", ("domain_connection", Cure::Apply, &[]));
}

#[tokio::test]
async fn metadata_documents_that_are_not_announced_are_found_where_they_are_wanted() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    fresh.file("documents.toml", "[auth0.tenant]\nregistration = [\"metadata_documents\", \"dynamic\"]\n");
    fresh.check("documents", ("metadata_documents", Cure::Apply, &["--config", "documents.toml"]));
}

#[tokio::test]
async fn a_wrong_setting_of_the_api_is_found_and_mended() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    for (what, setting, change) in [
        ("RBAC", "rbac", json!({"enforce_policies": false})),
        ("dialect", "token_dialect", json!({"token_dialect": "access_token"})),
        ("dialect", "token_dialect", json!({"token_dialect": "rfc9068_profile"})),
        ("offline", "offline_access", json!({"allow_offline_access": false})),
        ("encryption", "token_encryption", json!({"token_encryption": {"format": "compact-nested-jwe"}})),
        (
            "policy",
            "user_access_policy",
            json!({"subject_type_authorization":
                {"user": {"policy": "deny_all"}, "client": {"policy": "deny_all"}}}),
        ),
    ] {
        fresh.change_api(change).await;
        fresh.check(what, (setting, Cure::Apply, &[]));
    }
    let api = fresh.our_api().await;
    assert_eq!(api["subject_type_authorization"]["client"]["policy"], "deny_all", "that was someone else's");
    let scopes: Vec<Value> = api["scopes"].as_array().unwrap().clone();
    fresh
        .change_api(
            json!({"scopes": scopes.into_iter().filter(|it| it["value"] != PERMISSION).collect::<Vec<_>>()}),
        )
        .await;
    fresh.check("scope", ("api_scopes", Cure::Apply, &[]));
    fresh.change_api(json!({"signing_alg": "HS256"})).await;
    fresh.check("algorithm", ("signing_algorithm", Cure::Blocked, &[]));
}

#[tokio::test]
async fn a_lifetime_and_a_description_that_were_decided_are_found_and_mended() {
    let fresh = Fresh::new().await;
    let text = "[auth0.tenant]\ntoken_lifetime_seconds = 600\n[auth0.tenant.scopes]\n\"tool:greet\" = \"Say hello\"\n";
    fresh.file("decided.toml", text);
    let more = ["--config", "decided.toml"];
    fresh.apply(&more);
    fresh.check_clean("decided", &more);
    fresh.change_api(json!({"token_lifetime": 601})).await;
    fresh.check("lifetime", ("token_lifetime", Cure::Apply, &more));
    fresh
        .change_api(json!({"scopes": [
            {"value": "tool:greet", "description": "Shout"}, {"value": "tool:whoami", "description": "Who"},
        ]}))
        .await;
    fresh.check("description", ("scope_description", Cure::Apply, &more));
}

#[tokio::test]
async fn an_api_that_is_gone_is_found_and_made_again() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    fresh.delete(&super::api_path()).await;
    // Its grant and its permissions are gone with it.
    fresh.check("api", ("api default_grant role_permissions", Cure::Apply, &[]));
}

#[tokio::test]
async fn an_identifier_that_differs_by_a_slash_is_another_api() {
    let fresh = Fresh::new().await;
    let similar = format!("{API}/");
    fresh.api("POST", "resource-servers", json!({"identifier": similar, "name": "Almost"})).await;
    let plan = fresh.run(&["plan", "--json"]).expect(2).json();
    assert_eq!(super::texts(&plan["kept"], "target"), [format!("api {similar}")]);
}

#[tokio::test]
async fn a_default_grant_that_is_not_for_users_is_found_and_made() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let grant = || async { format!("client-grants/{}", id(&fresh.our_grant().await)) };
    fresh.delete(&grant().await).await;
    fresh.check("gone", ("default_grant", Cure::Apply, &[]));
    fresh.change_grant(json!({"scope": ["tool:whoami"]})).await;
    fresh.check("scope", ("grant_scopes", Cure::Apply, &[]));
    fresh.change_grant(json!({"allow_all_scopes": true})).await;
    fresh.check_clean("everything", &[]);
    fresh.delete(&grant().await).await;
    // What a request makes that leaves subject_type out.
    let machines = json!({"default_for": "third_party_clients", "audience": API, "scope": [PERMISSION]});
    fresh.api("POST", "client-grants", machines).await;
    let doctor = fresh.run(&["doctor", "--json"]).json();
    assert!(doctor["findings"][0]["seen"].as_str().unwrap().contains("for machines"), "{doctor}");
    fresh.check("machines", ("default_grant", Cure::Apply, &[]));
}

#[tokio::test]
async fn a_role_that_gives_nobody_anything_is_found_and_mended() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let role = || async { format!("roles/{}", id(&fresh.role("Tool Administrator").await)) };
    let permission = json!({"resource_server_identifier": API, "permission_name": PERMISSION});
    let path = format!("{}/permissions", role().await);
    fresh.api("DELETE", &path, json!({"permissions": [permission]})).await;
    fresh.check("permission", ("role_permissions", Cure::Apply, &[]));
    let roles = json!({"roles": [id(&fresh.role("Tool Administrator").await)]});
    fresh.api("DELETE", "users/auth0%7Clocal-admin/roles", roles).await;
    let unassigned = fresh.run(&["doctor", "--json"]);
    assert_eq!(unassigned.settings(), ["role_assignment"], "{unassigned:?}");
    assert_eq!(unassigned.json()["findings"][0]["severity"], "advice");
    fresh.check("assignment", ("role_assignment role_assignment", Cure::Apply, &[]));
    fresh.delete(&role().await).await;
    fresh.check("role", ("role role_permissions role_assignment", Cure::Apply, &[]));
}

#[tokio::test]
async fn what_strict_clients_do_not_log_in_with_is_found() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let rule = json!({"name": "my rule", "script": "function (a, b, c) {}", "enabled": true});
    fresh.api("POST", "rules", rule).await;
    fresh.check("rules", ("rules", Cure::ByHand, &[]));
    fresh.delete("rules/rul_my%20rule").await;
    let hook = json!({"name": "h", "script": "x", "triggerId": "post-user-registration"});
    fresh.api("POST", "hooks", hook).await;
    fresh.check("hooks", ("hooks", Cure::ByHand, &[]));
    fresh.delete("hooks/hook_h").await;
    fresh.api("PATCH", "prompts", json!({"universal_login_experience": "classic"})).await;
    fresh.check("login", ("login_experience", Cure::ByHand, &[]));
    assert_eq!(fresh.run(&["doctor"]).code, Some(1), "no third-party client logs in");
    fresh.api("PATCH", "prompts", json!({"universal_login_experience": "new"})).await;
    let organization = fresh.api("POST", "organizations", json!({"name": "acme"})).await;
    fresh.check("organization", ("organization_access", Cure::ByHand, &[]));
    let path = format!("organizations/{}", id(&organization));
    fresh.api("PATCH", &path, json!({"third_party_client_access": "allow"})).await;
    fresh.check_clean("all", &[]);
}

#[tokio::test]
async fn a_clients_own_grant_that_is_narrower_than_the_default_one_is_found() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let client = json!({
        "name": "Their client", "is_first_party": false, "app_type": "native",
        "callbacks": ["http://127.0.0.1/callback"],
    });
    let client = fresh.api("POST", "clients", client).await["client_id"].as_str().unwrap().to_owned();
    let grant =
        json!({"client_id": client, "audience": API, "subject_type": "user", "scope": ["tool:whoami"]});
    fresh.api("POST", "client-grants", grant).await;
    let found = fresh.run(&["doctor", "--json"]);
    assert_eq!(found.json()["findings"][0]["target"], format!("client {client}"));
    fresh.check("grant", ("grant_scopes", Cure::ByHand, &[]));
}

#[tokio::test]
async fn a_diagnosis_says_what_it_could_not_judge() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let scopes = "read:tenant_settings read:resource_servers read:client_grants read:connections read:roles \
                  read:users read:role_members read:clients";
    let token = fresh.token_of(Some(scopes)).await;
    fresh.api("PATCH", "prompts", json!({"universal_login_experience": "classic"})).await;
    let report = fresh.run_with_token(&token, &["doctor", "--json"]).json();
    assert_eq!(report["findings"], json!([]), "{report}");
    let said = report["not_judged"].to_string();
    for scope in ["read:prompts", "read:rules", "read:hooks", "read:organizations", "read:custom_domains"] {
        assert!(said.contains(scope), "{said}");
    }
    let text = fresh.run_with_token(&token, &["doctor"]).out;
    assert!(text.contains("not judged: ") && text.contains("read:prompts"), "{text}");
    let drift = fresh.run_with_token(&token, &["drift"]).expect(0);
    assert_eq!(drift.out, "");
    assert!(drift.err.contains("not judged: ") && drift.err.contains("read:prompts"), "{drift:?}");
}

#[tokio::test]
async fn what_others_named_is_shown_without_control_characters() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let hostile = "evil\u{1b}[31m\u{202e}\r\nrole";
    let organization = json!({"name": "rule", "script": "x"});
    fresh.api("POST", "rules", json!({"name": hostile, "script": organization["script"]})).await;
    fresh
        .change_api(
            json!({"scopes": [{"value": "tool:whoami", "description": "a\u{1b}]0;title\u{7}b\u{9b}31m"}]}),
        )
        .await;
    let config = fresh.file("own.toml", "[auth0.tenant.scopes]\n\"tool:whoami\" = \"Mine\"\n");
    // The colors that no output may have are looked for in every run.
    for command in ["doctor", "drift", "plan"] {
        let ran = fresh.run(&[command, "--config", path_text(&config)]);
        assert!(!ran.out.contains(['\u{202e}', '\u{7}', '\u{9b}', '\r']), "{ran:?}");
        assert!(ran.out.contains("1b"), "{ran:?}");
    }
}
