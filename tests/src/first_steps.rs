//! What somebody meets who sets a tenant up for the first time and does not know the commands yet.

use std::process::Output;

use local_tenant::{LocalTenant, Options};

use crate::binary::{command, text};

/// The server's endpoint, where nothing listens.
const API: &str = "http://localhost:1/mcp";

async fn fresh() -> LocalTenant {
    LocalTenant::start(Options::default().with_fresh_state()).await.unwrap()
}

/// Runs `tenant` as the management client, with another secret if one is given.
async fn tenant(
    tenant: &LocalTenant,
    arguments: &[&str],
    secret: Option<&str>,
) -> (Option<i32>, String, String) {
    let (id, own) = tenant.management_client();
    let environment = [
        ("AUTH0_ISSUER", tenant.issuer()),
        ("AUTH0_AUDIENCE", API),
        ("MCP_SERVER_URL", "http://localhost:1"),
        ("AUTH0_CLIENT_ID", id),
        ("AUTH0_CLIENT_SECRET", secret.unwrap_or(own.expose())),
    ];
    let mut command = command(&[&["tenant"], arguments].concat(), &environment);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let Output { status, stdout, stderr } = ran;
    (status.code(), text(&stdout), text(&stderr))
}

#[tokio::test]
async fn a_diagnosis_with_a_wrong_secret_says_what_clients_see_all_the_same() {
    let fresh = fresh().await;
    let (code, out, err) = tenant(&fresh, &["doctor"], Some("wrong")).await;
    assert_eq!(code, Some(1));
    assert!(
        out.contains("ok       discovery") && out.contains("not judged: the tenant's settings\n"),
        "{out}"
    );
    assert!(err.contains("error: no token for the Management API: "), "{err}");
    let (code, out, _) = tenant(&fresh, &["doctor", "--json"], Some("wrong")).await;
    assert_eq!(code, Some(1));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(report["error"].as_str().unwrap().starts_with("no token"), "{out}");
    assert!(!report["online"].as_array().unwrap().is_empty(), "{out}");
}

#[tokio::test]
async fn a_plan_warns_of_an_audience_that_is_not_the_endpoint() {
    let fresh = fresh().await;
    let (_, _, err) = tenant(&fresh, &["plan"], None).await;
    assert_eq!(err, "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.toml");
    std::fs::write(&file, "[server]\npath = \"/other\"\n").unwrap();
    let (code, _, err) = tenant(&fresh, &["plan", "--config", file.to_str().unwrap()], None).await;
    assert_eq!(code, Some(2));
    assert!(err.contains("is neither the endpoint http://localhost:1/other nor a prefix of it"), "{err}");
}

#[tokio::test]
async fn spaces_around_an_assignment_do_not_count() {
    let fresh = fresh().await;
    let assign = ["plan", "--assign", " admin@example.com = Tool Administrator "];
    let (code, out, err) = tenant(&fresh, &assign, None).await;
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(out.contains("user admin@example.com\n"), "{out}");
}

#[tokio::test]
async fn what_can_not_be_done_is_said_with_what_there_is_and_again_after_an_apply() {
    let fresh = fresh().await;
    let (code, out, err) =
        tenant(&fresh, &["apply", "--yes", "--assign", "admin@example.com=Nope"], None).await;
    assert_eq!(code, Some(1), "{out}{err}");
    let said = "user admin@example.com: there is no role \"Nope\" at the tenant or in auth0.tenant.roles; there are: Tool \
                Administrator";
    assert!(out.contains(&format!("  ! {said}\n")), "{out}");
    assert!(err.contains(&format!("not done: {said}\n")), "{err}");
}

#[tokio::test]
async fn an_apply_that_makes_roles_says_that_nobody_has_them_unless_users_were_named() {
    let (one, other) = (fresh().await, fresh().await);
    let (code, out, err) = tenant(&one, &["apply", "--yes"], None).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("--assign 'USER=ROLE'; new: Tool Administrator\n"), "{out}");
    let assign = ["apply", "--yes", "--assign", "admin@example.com=Tool Administrator"];
    let (code, out, err) = tenant(&other, &assign, None).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(!out.contains("--assign"), "{out}");
    let assign = ["apply", "--yes", "--assign", "user@example.com=Tool Administrator"];
    let (_, out, _) = tenant(&other, &assign, None).await;
    assert!(out.ends_with("Done: 1 change.\n"), "{out}");
}

#[tokio::test]
async fn an_export_takes_either_tool_and_says_so() {
    let fresh = fresh().await;
    let (code, _, err) = tenant(&fresh, &["export"], None).await;
    assert_eq!(code, Some(2));
    assert!(err.contains("--terraform <FOLDER>|--deploy-cli <FOLDER>"), "{err}");
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) =
        tenant(&fresh, &["export", "--deploy-cli", folder.path().to_str().unwrap()], None).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.ends_with("tenant.yaml\n"), "{out}");
}

#[tokio::test]
async fn options_that_are_no_access_do_not_stand_below_management_access() {
    let fresh = fresh().await;
    for subcommand in ["plan", "apply", "doctor", "drift", "export"] {
        let (_, help, _) = tenant(&fresh, &[subcommand, "--help"], None).await;
        let (options, access) = help.split_once("\nManagement access: ").unwrap();
        assert!(options.contains("--assign") && !access.contains("--assign"), "{help}");
        assert!(access.contains("--token-file") && access.contains("--client-secret-file"), "{help}");
    }
}

#[tokio::test]
async fn a_secret_that_can_not_be_read_is_said_once() {
    let fresh = fresh().await;
    let (code, _, err) = tenant(&fresh, &["plan", "--token-file", "absent"], None).await;
    assert_eq!(code, Some(1));
    assert_eq!(err.matches("No such file").count(), 1, "{err}");
}
