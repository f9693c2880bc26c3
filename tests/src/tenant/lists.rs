//! What others put into the tenant stays, unless `--prune` says otherwise; and then what it says goes, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use ::tenant::{Prune, Wanted, WantedApi, WantedRole, WantedScope, plan};
use auth0_management::{Credentials, Management, Reading, Secret};
use serde_json::{Value, json};
use url::Url;

use super::{API, ASSIGN, DATABASE, Fresh, encoded, id, path_text, scope_names, texts};
use crate::oauth::document_server;

const ADMINISTRATORS: &str = "Tool Administrator";

async fn permissions(fresh: &Fresh, role: &str) -> BTreeSet<(String, String)> {
    let role = id(&fresh.role(role).await);
    let found = fresh.get(&format!("roles/{role}/permissions?per_page=100")).await;
    let found = found.as_array().unwrap().iter();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    found.map(|it| (text(it, "resource_server_identifier"), text(it, "permission_name"))).collect()
}

/// A tenant that others use as well: for the same API, with the same connection and the same role.
async fn shared() -> Fresh {
    let fresh = Fresh::new().await;
    fresh
        .change_settings(json!({
            "friendly_name": "Acme", "support_email": "help@example.com", "session_lifetime": 12,
            "flags": {"enable_sso": true, "revoke_refresh_token_grant": true},
        }))
        .await;
    let connection = id(&fresh.find("connections", "name", DATABASE).await.unwrap());
    let change =
        json!({"display_name": "Staff", "options": {"passwordPolicy": "good"}, "show_as_button": true});
    fresh.api("PATCH", &format!("connections/{connection}"), change).await;
    for (identifier, scopes) in [
        (API, json!([{"value": "tool:whoami", "description": "Written by others"}, {"value": "other:read"}])),
        ("https://other.example/", json!([{"value": "tool:greet"}])),
    ] {
        let api =
            json!({"identifier": identifier, "name": "Theirs", "token_lifetime": 600, "scopes": scopes});
        fresh.api("POST", "resource-servers", api).await;
    }
    let grant = json!({
        "default_for": "third_party_clients", "audience": API, "subject_type": "user", "scope": ["other:read"],
    });
    fresh.api("POST", "client-grants", grant).await;
    let role = json!({"name": ADMINISTRATORS, "description": "Ours"});
    let role = id(&fresh.api("POST", "roles", role).await);
    let permission =
        |api: &str, name: &str| json!({"resource_server_identifier": api, "permission_name": name});
    let added = [permission(API, "other:read"), permission("https://other.example/", "tool:greet")];
    fresh.api("POST", &format!("roles/{role}/permissions"), json!({"permissions": added})).await;
    fresh
}

#[tokio::test]
async fn what_others_put_into_lists_stays_and_is_said_to_stay() {
    let fresh = shared().await;
    let settings = fresh.get("tenants/settings").await;
    let other_api = fresh.get(&format!("resource-servers/{}", encoded("https://other.example/"))).await;
    let applied = fresh.apply(&[]);
    for kept in
        ["role Tool Administrator: permissions[other:read]", "scope[other:read]", "scopes[other:read]"]
    {
        assert!(
            applied.out.lines().any(|line| line.contains(kept) && line.ends_with("(stays)")),
            "{applied:?}"
        );
    }
    let now = fresh.get("tenants/settings").await;
    for name in ["friendly_name", "support_email", "session_lifetime"] {
        assert_eq!(now[name], settings[name], "{name}");
    }
    assert_eq!(
        (&now["flags"]["enable_sso"], &now["flags"]["revoke_refresh_token_grant"]),
        (&json!(true), &json!(true))
    );
    let connection = fresh.find("connections", "name", DATABASE).await.unwrap();
    assert_eq!(connection["is_domain_connection"], true);
    assert_eq!((&connection["display_name"], &connection["show_as_button"]), (&json!("Staff"), &json!(true)));
    assert_eq!(connection["options"], json!({"passwordPolicy": "good"}));
    let api = fresh.our_api().await;
    assert_eq!((&api["name"], &api["token_lifetime"]), (&json!("Theirs"), &json!(600)));
    assert_eq!(
        api["scopes"],
        json!([
            {"value": "tool:whoami", "description": "Read who you are"}, {"value": "other:read"},
            {"value": "tool:greet", "description": "Greet you by name"},
        ])
    );
    assert_eq!(fresh.our_grant().await["scope"], json!(["other:read", "tool:greet", "tool:whoami"]));
    assert_eq!(fresh.role(ADMINISTRATORS).await["description"], "Ours");
    let theirs = ("https://other.example/".to_owned(), "tool:greet".to_owned());
    let ours = ["other:read", "tool:greet", "tool:whoami"].map(|scope| (API.to_owned(), scope.to_owned()));
    assert_eq!(permissions(&fresh, ADMINISTRATORS).await, ours.into_iter().chain([theirs]).collect());
    assert_eq!(
        fresh.get(&format!("resource-servers/{}", encoded("https://other.example/"))).await,
        other_api
    );
    // That something else is there is worth a look, and no reason to plan anything.
    fresh.run(&["plan"]).expect(0);
    let doctor = fresh.run(&["doctor", "--json"]).json();
    assert_eq!(texts(&doctor["findings"], "severity"), ["warning"], "{doctor}");
}

#[tokio::test]
async fn pruning_removes_what_it_says_and_nothing_else() {
    let fresh = shared().await;
    fresh.apply(&[]);
    let before = fresh.state().await;
    let plan = fresh.run(&["plan", "--prune", "--json"]).expect(2).json();
    assert_eq!(fresh.state().await, before);
    assert_eq!((&plan["kept"], &plan["blocked"]), (&json!([]), &json!([])));
    let removed: Vec<(String, String)> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|change| {
            assert_eq!(change["action"], "remove", "{change}");
            let target = change["target"].as_str().unwrap().to_owned();
            let fields = texts(&change["fields"], "field");
            fields.into_iter().map(move |field| (target.clone(), field))
        })
        .collect();
    let expected = [
        ("role Tool Administrator", "permissions[other:read]"),
        (&format!("default grant of third-party clients for {API}"), "scope[other:read]"),
        (&format!("api {API}"), "scopes[other:read]"),
    ];
    assert_eq!(removed, expected.map(|(target, field)| (target.to_owned(), field.to_owned())));

    fresh.apply(&["--prune"]);
    let expected = BTreeSet::from(["tool:greet", "tool:whoami"].map(str::to_owned));
    let api = fresh.our_api().await;
    assert_eq!(scope_names(&api), expected);
    assert_eq!(fresh.our_grant().await["scope"], json!(["tool:greet", "tool:whoami"]));
    let theirs = ("https://other.example/".to_owned(), "tool:greet".to_owned());
    let ours = ["tool:greet", "tool:whoami"].map(|scope| (API.to_owned(), scope.to_owned()));
    assert_eq!(permissions(&fresh, ADMINISTRATORS).await, ours.into_iter().chain([theirs]).collect());
    let now = fresh.state().await;
    assert_eq!((&now["settings"], &now["connections"]), (&before["settings"], &before["connections"]));
    fresh.run(&["plan", "--prune"]).expect(0);
}

#[tokio::test]
async fn registration_that_is_not_wanted_stays_on_unless_it_is_pruned() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let config = fresh.file("none.toml", "[auth0.tenant]\nregistration = []\n");
    let config = ["--config", path_text(&config)];
    let plan = fresh.run(&[&["plan"], config.as_slice()].concat()).expect(0);
    assert!(plan.out.contains("flags.enable_dynamic_client_registration is on"), "{plan:?}");
    fresh.apply(&config);
    assert_eq!(fresh.get("tenants/settings").await["flags"]["enable_dynamic_client_registration"], true);
    fresh.apply(&[config.as_slice(), &["--prune"]].concat());
    let flags = fresh.get("tenants/settings").await["flags"].clone();
    assert_eq!(
        (&flags["enable_dynamic_client_registration"], &flags["use_scope_descriptions_for_consent"]),
        (&json!(false), &json!(true))
    );
    // No client could get an id any more.
    assert_eq!(
        fresh.run(&[&["doctor", "--json"], config.as_slice()].concat()).settings(),
        ["dynamic_registration"]
    );
}

#[tokio::test]
async fn a_description_that_somebody_wrote_replaces_one_at_the_tenant_and_a_generated_one_does_not() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    let theirs = |name: &str| json!({"value": name, "description": "Theirs"});
    let scopes = ["tool:all", "tool:greet", "tool:whoami"].map(theirs);
    fresh.change_api(json!({"scopes": scopes})).await;
    let text = "[scopes.implies]\n\"tool:all\" = [\"tool:greet\"]\n\
                [auth0.tenant.scopes]\n\"tool:whoami\" = \"See yourself\"\n";
    let config = fresh.file("described.toml", text);
    let config = ["--config", path_text(&config)];
    let plan = fresh.run(&[&["plan", "--json"], config.as_slice()].concat()).expect(2).json();
    let fields = &plan["changes"][0]["fields"];
    let described = |index: usize| (fields[index]["field"].clone(), fields[index]["after"].clone());
    assert_eq!(described(0), (json!("scopes[tool:greet]"), json!("Greet you by name")));
    assert_eq!(described(1), (json!("scopes[tool:whoami]"), json!("See yourself")));
    assert_eq!((fields.as_array().unwrap().len(), &fields[0]["before"]), (2, &json!("Theirs")));
    fresh.apply(&config);
    let scope = |name: &str, description: &str| json!({"value": name, "description": description});
    let expected = [
        scope("tool:all", "Theirs"),
        scope("tool:greet", "Greet you by name"),
        scope("tool:whoami", "See yourself"),
    ];
    assert_eq!(fresh.our_api().await["scopes"], json!(expected));
    fresh.run(&[&["plan"], config.as_slice(), ASSIGN.as_slice()].concat()).expect(0);
}

/// Lists are read again right before they are written.
#[tokio::test]
async fn what_is_added_between_the_plan_and_the_write_stays() {
    let fresh = Fresh::new().await;
    fresh.apply(&[]);
    fresh.change_api(json!({"scopes": [{"value": "tool:whoami"}, {"value": "old:read"}]})).await;
    fresh.change_grant(json!({"scope": ["old:read"]})).await;
    let (mut management, wanted) = (management(&fresh), wanted());
    let present = management.read(&wanted, Reading::Plan).unwrap();
    let plan = plan(&wanted, &present, Prune::Remove);

    let late = json!({"value": "late:read", "description": "Late", });
    fresh
        .change_api(
            json!({"scopes": [{"value": "old:read"}, late, {"value": "tool:whoami", "description": "Who"}]}),
        )
        .await;
    fresh.change_grant(json!({"scope": ["late:read", "old:read"]})).await;
    let connection = id(&fresh.find("connections", "name", DATABASE).await.unwrap());
    fresh.api("PATCH", &format!("connections/{connection}"), json!({"display_name": "Renamed"})).await;

    for change in &plan.changes {
        management.carry_out(&change.operation).unwrap();
    }
    let api = fresh.our_api().await;
    let expected = BTreeSet::from(["late:read", "tool:greet", "tool:whoami"].map(str::to_owned));
    assert_eq!(scope_names(&api), expected);
    assert!(
        api["scopes"].as_array().unwrap().contains(&json!({"value": "late:read", "description": "Late"}))
    );
    let granted = fresh.our_grant().await["scope"].clone();
    let granted: BTreeSet<&str> = granted.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(granted, BTreeSet::from(["late:read", "tool:greet", "tool:whoami"]));
}

/// `tenant plan` and `tenant apply` take https URLs alone; on this machine there is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_metadata_document_is_imported_once() {
    let fresh = Fresh::new().await;
    let url =
        document_server(|url| json!({"client_id": url, "redirect_uris": ["http://127.0.0.1/c"]}).to_string());
    let url = url.await;
    let wanted = Wanted { client_documents: vec![url.clone()], ..wanted() };
    let mut management = management(&fresh);
    let planned = |management: &mut Management| {
        plan(&wanted, &management.read(&wanted, Reading::Plan).unwrap(), Prune::Keep).changes
    };
    let changes = planned(&mut management);
    let import = changes.iter().find(|change| change.target == format!("client {url}")).unwrap();
    // An apply that was stopped before it heard of it imports it again.
    for _ in 0..2 {
        management.carry_out(&import.operation).unwrap();
    }
    assert!(planned(&mut management).iter().all(|change| !change.target.starts_with("client ")));
    let clients = fresh.get("clients?is_first_party=false").await;
    assert_eq!(texts(&clients, "external_client_id"), [url]);
}

fn management(fresh: &Fresh) -> Management {
    let token = Credentials::Token(Secret::new(fresh.token.clone()));
    Management::new(Url::parse(fresh.tenant.issuer()).unwrap(), token, |_| panic!("nothing limits this"))
}

fn wanted() -> Wanted {
    let scope =
        |name: &str| (name.to_owned(), WantedScope { description: format!("May {name}"), is_written: false });
    let scopes: BTreeMap<String, WantedScope> = ["tool:greet", "tool:whoami"].map(scope).into();
    let role = WantedRole {
        name: ADMINISTRATORS.to_owned(),
        description: String::new(),
        scopes: scopes.keys().cloned().collect(),
    };
    Wanted {
        apis: vec![WantedApi {
            identifier: API.to_owned(),
            name: "Ours".to_owned(),
            scopes,
            token_lifetime: None,
            allow_offline_access: true,
        }],
        dynamic_registration: true,
        connections: vec![DATABASE.to_owned()],
        roles: vec![role],
        ..Wanted::default()
    }
}
