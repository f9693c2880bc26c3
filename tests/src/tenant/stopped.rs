//! An apply that is killed or that fails in the middle, and goes on when it is run again.

use local_tenant::{Fault, ManagementAnswer};
use serde_json::{Value, json};

use super::{Fresh, NO_LIMIT, path_text};
use crate::harness::soon;

/// A change of every kind: settings, a connection, an API, a grant, two roles with their permissions, a user.
const CONFIG: &str =
    "[auth0.tenant.roles.\"Tool User\"]\nscopes = [\"tool:whoami\"]\nusers = [\"user@example.com\"]\n";

/// What is there when it begins.
#[derive(Debug, Clone, Copy)]
enum Start {
    Fresh,
    /// Set up, and then changed by someone, so that lists are updated.
    Changed,
}

async fn begin(fresh: &Fresh, start: Start, arguments: &[&str]) {
    fresh.forget().await;
    match start {
        Start::Fresh => {}
        Start::Changed => {
            fresh.run(&[&["apply", "--yes"], arguments].concat()).expect(0);
            fresh.change_settings(json!({"resource_parameter_profile": "audience"})).await;
            fresh
                .change_api(json!({"enforce_policies": false, "scopes": [
                    {"value": "other:read", "description": "Of others"}, {"value": "tool:whoami"},
                ]}))
                .await;
            fresh.change_grant(json!({"scope": ["other:read"]})).await;
            for name in ["Tool Administrator", "Tool User"] {
                let role = super::id(&fresh.role(name).await);
                let permission =
                    json!({"resource_server_identifier": super::API, "permission_name": "tool:whoami"});
                fresh
                    .api("DELETE", &format!("roles/{role}/permissions"), json!({"permissions": [permission]}))
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_is_killed_after_any_write_goes_on_when_it_is_run_again() {
    let fresh = Fresh::new().await;
    let config = fresh.file("config.toml", CONFIG);
    let arguments = ["--config", path_text(&config)];
    for (start, changes) in [(Start::Fresh, 9), (Start::Changed, 5)] {
        begin(&fresh, start, &arguments).await;
        let planned = fresh.run(&[&["plan", "--json"], arguments.as_slice()].concat()).expect(2).json();
        assert_eq!(planned["changes"].as_array().unwrap().len(), changes, "{planned:#}");
        fresh.run(&[&["apply", "--yes"], arguments.as_slice()].concat()).expect(0);
        let undisturbed = fresh.state().await;
        for writes in 1..=u64::try_from(changes).unwrap() {
            begin(&fresh, start, &arguments).await;
            let before = fresh.writes();
            fresh.tenant.inject(&Fault::Management(ManagementAnswer::Hang { after_writes: writes }));
            let mut child = fresh.spawn(&[&["apply", "--yes"], arguments.as_slice()].concat());
            soon(fresh.tenant.management_writes(before + writes)).await;
            child.kill().unwrap();
            let killed = fresh.checked(child.wait_with_output().unwrap());
            assert_eq!(killed.code, None, "{killed:?}");
            fresh.tenant.inject(&Fault::Reset);
            fresh.tenant.inject(&NO_LIMIT);
            fresh.run(&[&["apply", "--yes"], arguments.as_slice()].concat()).expect(0);
            assert_eq!(fresh.state().await, undisturbed, "{start:?}, killed after write {writes}");
            fresh.run(&[&["plan"], arguments.as_slice()].concat()).expect(0);
        }
    }
}

#[tokio::test]
async fn an_apply_that_fails_in_the_middle_says_what_was_done_and_what_was_not() {
    let fresh = Fresh::new().await;
    let writes = 3;
    fresh.tenant.inject(&Fault::Management(ManagementAnswer::Status { status: 500, after_writes: writes }));
    // Reads fail as well from then on; nothing was written, so a plan works.
    let failed = fresh.run(&["apply", "--yes", "--json"]).expect(1).json();
    let names = |list: &Value| super::texts(list, "target");
    assert_eq!(names(&failed["done"]).len(), 3);
    let grant = format!("default grant of third-party clients for {}", super::API);
    assert_eq!(failed["failed"]["change"]["target"], grant);
    let error = failed["failed"]["error"].as_str().unwrap();
    assert_eq!(error, "POST client-grants was answered 500: A fault is in force");
    assert_eq!(names(&failed["left"]), ["role Tool Administrator", "role Tool Administrator"]);

    fresh.tenant.inject(&Fault::Management(ManagementAnswer::Status { status: 503, after_writes: 1 }));
    let failed = fresh.run(&["apply", "--yes"]).expect(1);
    assert!(failed.out.contains(&format!("[1/3] {grant}: created")), "{failed:?}");
    assert!(failed.err.contains("error: role Tool Administrator: POST roles was answered 503"), "{failed:?}");
    assert!(
        failed.err.contains("1 of 3 changes were done; not begun: role Tool Administrator."),
        "{failed:?}"
    );
    fresh.tenant.inject(&Fault::Reset);
    fresh.tenant.inject(&NO_LIMIT);
    fresh.run(&["apply", "--yes"]).expect(0);
    fresh.run(&["plan"]).expect(0);
}

#[tokio::test]
async fn a_tenant_that_fails_at_once_is_left_alone() {
    let fresh = Fresh::new().await;
    for status in [500, 502, 404] {
        fresh.tenant.inject(&Fault::Management(ManagementAnswer::Status { status, after_writes: 0 }));
        for arguments in [&["plan"][..], &["apply", "--yes"], &["doctor"], &["drift"]] {
            let failed = fresh.run(arguments).expect(1);
            let said = format!("GET tenants/settings was answered {status}");
            assert!(failed.err.contains(&said), "{failed:?}");
        }
    }
}
