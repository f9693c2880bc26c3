//! What the commands print, how they end, and which Management scopes they take.

use std::collections::BTreeSet;

use local_tenant::{Options, User};
use serde_json::{Value, json};

use super::{API, ASSIGN, DATABASE, Fresh, Ran, id, path_text, texts};

#[tokio::test]
async fn a_plan_of_a_fresh_tenant_names_every_setting_with_its_reason() {
    let fresh = Fresh::new().await;
    let before = fresh.state().await;
    let plan = fresh.run(&["plan", "--json"]).expect(2).json();
    assert_eq!(fresh.state().await, before, "a plan changes nothing");
    assert_eq!(plan["tenant"], fresh.tenant.issuer());
    let members: Vec<&String> = plan.as_object().unwrap().keys().collect();
    assert_eq!(members, ["blocked", "changes", "kept", "scopes", "tenant"]);
    assert_eq!((&plan["kept"], &plan["blocked"]), (&json!([]), &json!([])));
    let changes = plan["changes"].as_array().unwrap();
    let grant = format!("default grant of third-party clients for {API}");
    let expected = [
        ("update", "tenant settings".to_owned()),
        ("update", format!("connection {DATABASE}")),
        ("create", format!("api {API}")),
        ("create", grant),
        ("create", "role Tool Administrator".to_owned()),
        ("update", "role Tool Administrator".to_owned()),
    ];
    let shown: Vec<(&str, String)> = changes
        .iter()
        .map(|change| (change["action"].as_str().unwrap(), change["target"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(shown, expected);
    let fields: Vec<&Value> =
        changes.iter().flat_map(|change| change["fields"].as_array().unwrap()).collect();
    let settings: BTreeSet<&str> = fields.iter().map(|field| field["setting"].as_str().unwrap()).collect();
    let expected = [
        "api",
        "api_scopes",
        "default_grant",
        "domain_connection",
        "dynamic_registration",
        "grant_scopes",
        "issuer_in_responses",
        "offline_access",
        "rbac",
        "resource_parameter_profile",
        "role",
        "role_permissions",
        "scope_descriptions_at_consent",
        "signing_algorithm",
        "token_dialect",
    ];
    assert_eq!(settings, BTreeSet::from(expected));

    // The same for people: every field, and every reason.
    let text = fresh.run(&["plan"]).expect(2).out;
    for field in fields {
        for member in ["field", "reason"] {
            assert!(text.contains(field[member].as_str().unwrap()), "{field} in {text}");
        }
    }
    assert!(text.contains("Plan: 3 to create, 3 to update, 0 to prune."), "{text}");
    let scopes: Vec<String> = plan["scopes"]["apply"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap().to_owned())
        .collect();
    assert!(
        text.contains(&format!("Management scopes that applying takes: {}\n", scopes.join(" "))),
        "{text}"
    );
}

#[tokio::test]
async fn what_was_applied_leaves_nothing_to_plan_and_nothing_to_find() {
    let fresh = Fresh::new().await;
    let applied = fresh.apply(&[]);
    assert!(applied.out.contains("[1/7] tenant settings: updated\n"), "{applied:?}");
    assert!(applied.out.ends_with("Done: 7 changes.\n"), "{applied:?}");
    assert_eq!(fresh.run(&["plan"]).expect(0).out, "Nothing to change.\n");
    let plan = fresh.run(&["plan", "--json"]).expect(0).json();
    assert_eq!(plan["changes"], json!([]));
    assert_eq!(fresh.run(&["drift"]).expect(0).out, "");
    assert_eq!(fresh.run(&["doctor", "--json"]).json()["findings"], json!([]));
    let doctor = fresh.run(&["doctor"]).out;
    assert!(doctor.contains("The tenant's settings are as the server needs them."), "{doctor}");
    let writes = fresh.writes();
    assert_eq!(fresh.run(&["apply", "--yes"]).expect(0).out, "Nothing to change.\n");
    // Nothing is asked where there is nothing to do.
    fresh.run(&["apply"]).expect(0);
    assert_eq!(fresh.writes(), writes);
}

#[tokio::test]
async fn what_an_apply_did_is_one_json_document() {
    let fresh = Fresh::new().await;
    let outcome = fresh.run(&["apply", "--yes", "--json"]).expect(0).json();
    assert_eq!(outcome["done"].as_array().unwrap().len(), 6);
    assert_eq!((&outcome["left"], &outcome["blocked"]), (&json!([]), &json!([])));
    assert_eq!(outcome.get("failed"), None);
    let refused = fresh.run(&["apply", "--json"]).expect(2);
    assert!(refused.err.contains("--yes"), "{refused:?}");
}

#[tokio::test]
async fn nothing_is_applied_without_a_yes() {
    let fresh = Fresh::new().await;
    let writes = fresh.writes();
    let refused = fresh.run(&["apply"]).expect(1);
    assert!(refused.err.contains("--yes applies without a question"), "{refused:?}");
    assert_eq!(fresh.writes(), writes);
}

/// The scopes that a plan names are enough, and without any one of them it can't be done.
#[tokio::test]
async fn the_management_scopes_that_a_plan_names_are_enough_and_all_needed() {
    let fresh = Fresh::new().await;
    let plan = fresh.run(&["plan", "--json"]).expect(2).json();
    let scopes = |kind: &str| -> Vec<String> {
        plan["scopes"][kind].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let (to_plan, to_apply) = (scopes("plan"), scopes("apply"));
    assert!(to_plan.iter().all(|scope| scope.starts_with("read:") && to_apply.contains(scope)));
    let token = fresh.token_of(Some(&to_plan.join(" "))).await;
    fresh.run_with_token(&token, &["plan"]).expect(2);
    for missing in &to_apply {
        let rest: Vec<&str> = to_apply.iter().filter(|scope| *scope != missing).map(String::as_str).collect();
        let token = fresh.token_of(Some(&rest.join(" "))).await;
        let refused = fresh.run_with_token(&token, &["apply", "--yes"]).expect(1);
        let said = &refused.err;
        assert!(
            said.contains(missing) && said.contains("this takes the Management scopes"),
            "{missing}: {said}"
        );
        fresh.forget().await;
    }
    let token = fresh.token_of(Some(&to_apply.join(" "))).await;
    fresh.run_with_token(&token, &["apply", "--yes"]).expect(0);
    fresh.run(&["plan"]).expect(0);
}

#[tokio::test]
async fn the_scopes_for_updates_and_assignments_are_enough_too() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    fresh.change_api(json!({"scopes": [{"value": "tool:whoami", "description": "Who"}]})).await;
    fresh.change_grant(json!({"scope": ["tool:whoami"]})).await;
    let assign = ["--assign", "auth0|local-user=Tool Administrator"];
    let plan = fresh.run(&[&["plan", "--json"], assign.as_slice()].concat()).expect(2).json();
    let scopes: Vec<&str> =
        plan["scopes"]["apply"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let token = fresh.token_of(Some(&scopes.join(" "))).await;
    fresh.run_with_token(&token, &[&["apply", "--yes"], assign.as_slice()].concat()).expect(0);
    fresh.run(&[&["plan"], ASSIGN.as_slice(), assign.as_slice()].concat()).expect(0);
}

#[tokio::test]
async fn a_configuration_at_fault_says_what_to_write() {
    let fresh = Fresh::new().await;
    let config = fresh.file("roles.toml", "[auth0.tenant.roles.Reader]\nscopes = [\"tool:whoam\"]\n");
    let refused = fresh.run(&["plan", "--config", path_text(&config)]).expect(64);
    for part in ["auth0.tenant.roles.\"Reader\".scopes", "tool:whoam;", "did you mean tool:whoami?"] {
        assert!(refused.err.contains(part), "{part}: {refused:?}");
    }
    let config = fresh.file("word.toml", "[auth0.tenant]\nregistration = [\"dcr\"]\n");
    let refused = fresh.run(&["plan", "--config", path_text(&config)]).expect(64);
    assert!(refused.err.contains("auth0.tenant.registration") && refused.err.contains("dcr"), "{refused:?}");
    for nonsense in ["admin@example.com", "=Tool Administrator", "admin@example.com=", "admin=Tool User"] {
        let refused = fresh.run(&["plan", "--assign", nonsense]).expect(1);
        assert!(refused.err.contains(nonsense.trim_end_matches("=Tool User")), "{nonsense}: {refused:?}");
    }
}

#[tokio::test]
async fn what_no_change_can_bring_about_is_said_and_ends_with_1() {
    let fresh = Fresh::new().await;
    for (assign, said) in [
        ("auth0|nobody=Tool Administrator", "there is no such user"),
        ("nobody@example.com=Tool Administrator", "there is no such user"),
        ("admin@example.com=Tool Operator", "there is no role \"Tool Operator\""),
    ] {
        let plan = fresh.run(&["plan", "--json", "--assign", assign]).expect(1).json();
        assert_eq!(texts(&plan["blocked"], "setting"), ["role_assignment"], "{plan}");
        assert!(plan["blocked"][0]["problem"].as_str().unwrap().contains(said), "{plan}");
    }
    let config = fresh.file("connection.toml", "[auth0.tenant]\nconnections = [\"google-oauth2\"]\n");
    let plan = fresh.run(&["plan", "--config", path_text(&config)]).expect(1);
    assert!(plan.out.contains(&format!("the tenant has {DATABASE}")), "{plan:?}");
    // The rest is done all the same, and the end says that it is not all.
    let applied = fresh.run(&["apply", "--yes", "--config", path_text(&config)]).expect(1);
    assert!(applied.out.contains("Done: 5 changes."), "{applied:?}");
}

#[tokio::test]
async fn the_scopes_for_pruning_are_enough_and_all_needed() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let more = async || {
        let other = json!({"value": "other:read"});
        let ours = ["tool:greet", "tool:whoami"].map(|name| json!({"value": name, "description": "Ours"}));
        fresh.change_api(json!({"scopes": [other, ours[0], ours[1]]})).await;
        fresh.change_grant(json!({"scope": ["other:read", "tool:greet", "tool:whoami"]})).await;
        let role = id(&fresh.role("Tool Administrator").await);
        let permission = json!({"resource_server_identifier": API, "permission_name": "other:read"});
        fresh.api("POST", &format!("roles/{role}/permissions"), json!({"permissions": [permission]})).await;
        fresh.change_settings(json!({"client_id_metadata_document_supported": true})).await;
    };
    more().await;
    let plan = fresh.run(&["plan", "--prune", "--json"]).expect(2).json();
    let scopes: Vec<&str> =
        plan["scopes"]["apply"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(
        !scopes.iter().any(|scope| scope.starts_with("delete:")),
        "nothing is deleted as a whole: {scopes:?}"
    );
    for missing in &scopes {
        more().await;
        let rest: Vec<&str> = scopes.iter().copied().filter(|scope| scope != missing).collect();
        let token = fresh.token_of(Some(&rest.join(" "))).await;
        let refused = fresh.run_with_token(&token, &["apply", "--yes", "--prune"]).expect(1);
        assert!(refused.err.contains(missing), "{missing}: {refused:?}");
    }
    more().await;
    let token = fresh.token_of(Some(&scopes.join(" "))).await;
    fresh.run_with_token(&token, &["apply", "--yes", "--prune"]).expect(0);
    fresh.run(&["plan", "--prune"]).expect(0);
}

/// What `doctor` asks for without credentials is enough to judge everything.
#[tokio::test]
async fn the_scopes_that_a_diagnosis_asks_for_are_enough() {
    let fresh = Fresh::new().await;
    let unjudged = |ran: &Ran| ran.json()["not_judged"].to_string();
    let said = unjudged(&fresh.run_with(&[], &["doctor", "--json"]));
    let scopes = said.split("authorize one for ").nth(1).unwrap().split(';').next().unwrap();
    assert!(scopes.split(' ').all(|scope| scope.starts_with("read:")), "{scopes}");
    let token = fresh.token_of(Some(scopes)).await;
    let judged = fresh.run_with_token(&token, &["doctor", "--json"]);
    assert!(!unjudged(&judged).contains("read:"), "{judged:?}");
    assert!(judged.settings().contains(&"api".to_owned()), "{judged:?}");
    // Without a scope that a plan takes there is no diagnosis, and the error names what it takes.
    let token = fresh.token_of(Some(&scopes.replace("read:resource_servers", ""))).await;
    let refused = fresh.run_with_token(&token, &["doctor"]).expect(1);
    assert!(refused.err.contains("read:resource_servers"), "{refused:?}");
}

#[tokio::test]
async fn every_audience_gets_its_api_its_grant_and_its_permissions() {
    let fresh = Fresh::new().await;
    let other = "http://localhost:2/mcp";
    let config = format!("[endpoints.internal]\nurl = \"http://localhost:2\"\naudience = \"{other}\"\n");
    let config = fresh.file("endpoints.toml", &config);
    let config = ["--config", path_text(&config)];
    fresh.apply(&config);
    let role = id(&fresh.role("Tool Administrator").await);
    let permissions = fresh.get(&format!("roles/{role}/permissions")).await;
    for audience in [API, other] {
        let api = fresh.find("resource-servers", "identifier", audience).await.unwrap();
        assert_eq!(api["enforce_policies"], true);
        let grant = fresh.find("client-grants", "audience", audience).await.unwrap();
        assert_eq!(grant["subject_type"], "user");
        let of_it = texts(&permissions, "resource_server_identifier");
        assert_eq!(of_it.iter().filter(|identifier| *identifier == audience).count(), 2, "{permissions}");
    }
    fresh.run(&[&["plan"], config.as_slice(), ASSIGN.as_slice()].concat()).expect(0);
}

#[tokio::test]
async fn an_address_of_several_users_is_none() {
    let twin = |key: &str| User {
        key: key.to_owned(),
        sub: format!("auth0|{key}"),
        name: None,
        email: Some("twin@example.com".to_owned()),
        org_id: None,
        claims: std::collections::BTreeMap::new(),
        roles: Vec::new(),
    };
    let options = Options { users: vec![twin("one"), twin("other")], ..Options::default() };
    let fresh = Fresh::of(options).await;
    let assign = ["--assign", "twin@example.com=Tool Administrator"];
    let writes = fresh.writes();
    let refused = fresh.run(&[&["apply", "--yes"], assign.as_slice()].concat()).expect(1);
    let said = "twin@example.com is the address of several users: auth0|one, auth0|other; name one by its id";
    assert!(refused.err.contains(said), "{refused:?}");
    assert_eq!(fresh.writes(), writes);
    fresh.run(&["apply", "--yes", "--assign", "auth0|other=Tool Administrator"]).expect(0);
    let roles = fresh.get("users/auth0%7Cother/roles").await;
    assert_eq!(texts(&roles, "name"), ["Tool Administrator"]);
    assert_eq!(fresh.get("users/auth0%7Cone/roles").await, json!([]));
}
