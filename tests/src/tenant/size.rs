//! Many scopes, roles and clients: every page is read. And limits of requests.

use std::fmt::Write as _;

use local_tenant::{Fault, ManagementAnswer};
use serde_json::{Value, json};

use super::{API, Fresh, id, path_text, scope_names, texts};

/// In the configuration. Together with the server's own and those of the API before it is an API's maximum.
const SCOPES: usize = 500;
const THEIRS: usize = SCOPES - 2;
/// More than a page of 50 has.
const ROLES: usize = 60;
const CLIENTS: usize = 120;

#[tokio::test]
async fn a_large_tenant_is_read_to_its_last_page() {
    let fresh = Fresh::new().await;
    let theirs: Vec<Value> = (0..THEIRS).map(|n| json!({"value": format!("their:{n}")})).collect();
    let api = json!({"identifier": API, "name": "Large", "scopes": theirs});
    fresh.api("POST", "resource-servers", api).await;
    for n in 0..ROLES {
        fresh.api("POST", "roles", json!({"name": format!("Role {n}")})).await;
    }
    // Beyond the first page, and looked for by a part of its name that others have, too.
    let last = id(&fresh.api("POST", "roles", json!({"name": "Role"})).await);
    for n in 0..CLIENTS {
        let client = json!({
            "name": format!("Client {n}"), "is_first_party": false, "app_type": "native",
            "callbacks": ["http://127.0.0.1/callback"],
        });
        fresh.api("POST", "clients", client).await;
    }
    let mut config = "[auth0.tenant.roles.Role]\nscopes = [\"our:499\"]\nusers = [\"user@example.com\"]\n\
                      [auth0.tenant.scopes]\n"
        .to_owned();
    for n in 0..SCOPES {
        writeln!(config, "\"our:{n}\" = \"Scope {n} of ours\"").unwrap();
    }
    let config = fresh.file("large.toml", &config);
    let config = ["--config", path_text(&config)];
    let plan = fresh.run(&[&["plan", "--json"], config.as_slice()].concat()).expect(2).json();
    let targets = texts(&plan["changes"], "target");
    assert!(
        !plan["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| { change["target"] == "role Role" && change["action"] == "create" }),
        "{targets:?}"
    );
    assert_eq!(plan["kept"].as_array().unwrap().len(), THEIRS);

    fresh.apply(&config);
    assert_eq!(scope_names(&fresh.our_api().await).len(), THEIRS + SCOPES + 2);
    assert_eq!(fresh.our_grant().await["scope"].as_array().unwrap().len(), SCOPES + 2);
    let administrators = id(&fresh.find_role("Tool Administrator").await);
    let permitted = fresh.get(&format!("roles/{administrators}/permissions?include_totals=true")).await;
    assert_eq!(permitted["total"], SCOPES + 2);
    assert_eq!(fresh.find_role("Role").await["id"], last.as_str());
    fresh.run(&[&["plan"], config.as_slice()].concat()).expect(0);
    let doctor = fresh.run(&[&["doctor", "--json"], config.as_slice()].concat()).json();
    let counted = doctor["findings"].as_array().unwrap().iter().find(|it| it["setting"] == "client_count");
    assert_eq!(counted.unwrap()["seen"], format!("there are {CLIENTS} third-party clients"));
    let prune = [&["plan", "--prune", "--json"], config.as_slice()].concat();
    assert_eq!(fresh.run(&prune).expect(2).json()["changes"][0]["fields"].as_array().unwrap().len(), THEIRS);
}

impl Fresh {
    /// Of two roles whose names begin alike, the one with this name.
    async fn find_role(&self, name: &str) -> Value {
        let found = self.get(&format!("roles?per_page=100&name_filter={}", super::encoded(name))).await;
        found.as_array().unwrap().iter().find(|role| role["name"] == name).unwrap().clone()
    }
}

#[tokio::test]
async fn a_limit_of_requests_is_waited_for() {
    let fresh = Fresh::new().await;
    fresh.tenant.inject(&Fault::Management(ManagementAnswer::Rate { burst: 4, per_second: 4 }));
    let plan = fresh.run(&["plan"]).expect(2);
    assert!(plan.err.starts_with("the tenant's limit of requests is reached: waiting 1 s\n"), "{plan:?}");
    assert!(plan.out.ends_with("update:tenant_settings\n"), "{plan:?}");
}
