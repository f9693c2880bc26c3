//! What `check` says of a certificate, and what the configuration may say of listening.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use super::tls::Site;
use crate::binary::{run, text};

fn check(site: &Site, arguments: &[&str], more: &[(&str, &str)]) -> Output {
    let (certificate, key) = (site.certificate(), site.key());
    let environment = [
        ("AUTH0_DOMAIN", "tenant.eu.auth0.com"),
        ("AUTH0_AUDIENCE", "https://mcp.tenant.dev/mcp"),
        ("MCP_SERVER_URL", "https://mcp.tenant.dev"),
        ("FASTMCP__TLS__CERTIFICATE_FILE", certificate.to_str().unwrap()),
        ("FASTMCP__TLS__KEY_FILE", key.to_str().unwrap()),
    ];
    run(&[&["check"], arguments].concat(), &[&environment, more].concat())
}

fn set_mode(site: &Site, mode: u32) {
    std::fs::set_permissions(site.key(), std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn check_reads_the_certificate_and_says_what_is_wrong_with_it() {
    let site = Site::new();
    set_mode(&site, 0o600);
    let good = check(&site, &["--json"], &[]);
    let report: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert_eq!(report["certificate"]["valid_until"], "2100-01-01T00:00:00Z");
    assert_eq!(report["warnings"], serde_json::json!([]));
    assert!(text(&check(&site, &[], &[]).stdout).contains(", valid until 2100-01-01T00:00:00Z"));

    set_mode(&site, 0o644);
    let told = text(&check(&site, &[], &[]).stderr);
    assert!(told.contains("warning: tls.key_file: every user of this machine can read "), "{told}");
    let told = text(&check(&site, &[], &[("MCP_SERVER_URL", "http://mcp.tenant.dev")]).stderr);
    assert!(told.contains("warning: server.url (environment: MCP_SERVER_URL): is no https URL"), "{told}");

    for (years, expected) in [
        ((2020, 2021), "error: the certificate has expired at 2021-01-01T00:00:00Z\n"),
        ((2100, 2101), "error: the certificate is valid from 2100-01-01T00:00:00Z on, not yet\n"),
    ] {
        let site = Site::valid_in(years);
        set_mode(&site, 0o600);
        let refused = check(&site, &[], &[]);
        assert_eq!((refused.status.code(), text(&refused.stderr).as_str()), (Some(1), expected));
    }
}

#[test]
fn check_refuses_a_certificate_without_its_key() {
    let (site, other) = (Site::new(), Site::new());
    std::fs::copy(other.key(), site.key()).unwrap();
    let refused = check(&site, &["--json"], &[]);
    let report: Value = serde_json::from_slice(&refused.stdout).unwrap();
    let problem = report["certificate"]["problem"].as_str().unwrap();
    assert!(problem.ends_with(": the first certificate is not that of the key"), "{problem}");
    assert_eq!(refused.status.code(), Some(1));
    std::fs::remove_file(site.certificate()).unwrap();
    let told = text(&check(&site, &[], &[]).stderr);
    assert!(told.contains("error: tls.certificate_file: ") && told.contains("can't be read"), "{told}");
}

#[test]
fn what_is_said_of_listening_is_judged_at_the_start() {
    let told = |environment: &[(&str, &str)]| {
        let basic =
            [("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_AUDIENCE", "https://mcp.tenant.dev/mcp")];
        text(&run(&["check"], &[&basic, environment].concat()).stderr)
    };
    for (environment, expected) in [
        (
            [("FASTMCP__SERVER__BIND", "unix:run/mcp.sock"), ("PORT", "1")],
            "or a Unix socket, such as unix:/run/",
        ),
        ([("FASTMCP__SERVER__SOCKET_MODE", "0668"), ("PORT", "1")], "must be permissions in octal"),
        ([("FASTMCP__SERVER__SOCKET_MODE", "1777"), ("PORT", "1")], "must be permissions in octal"),
        // Who is behind them can't be told `localhost`.
        ([("FASTMCP__SERVER__BIND", "systemd"), ("PORT", "1")], "is not set, and server.bind is systemd: "),
        ([("FASTMCP__SERVER__BIND", "unix:/s"), ("PORT", "1")], "is not set, and server.bind is unix:/s: "),
        (
            [("FASTMCP__TLS__KEY_FILE", "/k"), ("PORT", "1")],
            "tls.certificate_file (config/default.toml, built in): is not set",
        ),
        (
            [("FASTMCP__TLS__CERTIFICATE_FILE", "/c"), ("PORT", "1")],
            "and tls.certificate_file is: TLS needs both",
        ),
    ] {
        let told = told(&environment);
        assert!(told.contains(expected), "{environment:?}: {told}");
    }
    let refused =
        run(&["dev"], &[("FASTMCP__SERVER__BIND", "unix:/s"), ("MCP_SERVER_URL", "http://localhost")]);
    assert!(text(&refused.stderr).contains("dev listens on loopback only, not on unix:/s"), "{refused:?}");
    let both = [("FASTMCP__TLS__CERTIFICATE_FILE", "/c"), ("FASTMCP__TLS__KEY_FILE", "/k")];
    assert!(text(&run(&["dev"], &both).stderr).contains("dev has no TLS"));
}
