//! `[downstream]`: what makes it, what is refused, and that no secret of it is ever shown.

use fastmcp_auth0::config::Problems;
use fastmcp_auth0::wiring::shipped;
use fastmcp_auth0::{Settings, Sources};

const SECRET: &str = "s3cr3t-s3cr3t";
const ORDERS: &str =
    "[downstream.apis.orders]\naudience = \"https://orders.test/\"\nscopes = [\"orders:read\"]\n";

fn load(toml: &str) -> Result<Settings, Problems> {
    let sources = Sources::defaults()
        .set("test", "auth0.domain", "tenant.eu.auth0.com")
        .set("test", "auth0.audience", "http://localhost:3001/mcp")
        .text("my.toml", toml);
    Settings::load(sources, &shipped().catalog().unwrap())
}

#[track_caller]
fn assert_refused(toml: &str, expected: &[&str]) {
    let told: Vec<String> =
        load(toml).unwrap_err().problems.iter().map(|it| format!("{}: {}", it.key, it.message)).collect();
    assert_eq!(told.len(), expected.len(), "{toml}: {told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{toml}: {told}");
        assert!(!told.contains(SECRET), "{told}");
    }
}

fn with_client(lines: &str) -> String {
    format!("[downstream]\nclient_id = \"client\"\n{lines}\n{ORDERS}")
}

#[test]
fn it_is_off_until_an_api_is_named() {
    assert!(load("").unwrap().downstream.is_none());
    let toml = format!("[downstream]\nclient_id = \"client\"\nclient_secret = {SECRET:?}\n");
    assert!(load(&toml).unwrap().downstream.is_none());
    let downstream = load(&with_client(&format!("client_secret = {SECRET:?}"))).unwrap().downstream.unwrap();
    let api = &downstream.apis[0];
    assert_eq!((api.name.as_str(), api.audience.as_str()), ("orders", "https://orders.test/"));
    assert_eq!(api.scopes.to_string(), "orders:read");
    let exchange = &downstream.exchange;
    assert_eq!(exchange.token_endpoint.as_str(), "https://tenant.eu.auth0.com/oauth/token");
    assert_eq!(
        (exchange.issuer.as_str(), exchange.client_id.as_str()),
        ("https://tenant.eu.auth0.com/", "client")
    );
}

#[test]
fn a_secret_and_a_key_may_be_in_a_file_and_none_of_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, key) = (folder.path().join("secret"), folder.path().join("key.pem"));
    let (private, _) = crate::token_exchange::key_pair();
    std::fs::write(&secret, format!("  {SECRET}\n")).unwrap();
    std::fs::write(&key, &private).unwrap();
    let base64 = private.lines().nth(1).unwrap();
    let in_place = load(&with_client(&format!("client_secret = {SECRET:?}"))).unwrap();
    let in_file = load(&with_client(&format!("client_secret_file = {secret:?}"))).unwrap();
    let by_key = load(&with_client(&format!("private_key_file = {key:?}\nkey_id = \"k\""))).unwrap();
    assert_eq!(in_place.downstream, in_file.downstream);
    assert_ne!(in_place.downstream, by_key.downstream);
    for settings in [&in_place, &in_file, &by_key] {
        let shown: Vec<String> = settings
            .effective
            .iter()
            .map(|value| format!("{} {} {}", value.key, value.value, value.json))
            .collect();
        let all = format!("{} {settings:?}", shown.join("\n"));
        assert!(!all.contains(SECRET) && !all.contains(base64), "{all}");
    }
    let value = |settings: &Settings| {
        let found = settings.effective.iter().find(|value| value.key == "downstream.client_secret");
        found.unwrap().value.clone()
    };
    assert_eq!((value(&in_place).as_str(), value(&by_key).as_str()), ("[redacted]", "\"\""));
}

#[test]
fn what_can_not_be_meant_is_refused() {
    assert_refused(ORDERS, &["downstream.client_id: is not set", "downstream.client_secret: is not set"]);
    assert_refused(&with_client(""), &["downstream.client_secret: is not set"]);
    let twice = format!("client_secret = {SECRET:?}\nclient_secret_file = \"/nowhere\"");
    assert_refused(
        &with_client(&twice),
        &[
            "downstream.client_secret_file: must be the path of a file",
            "can't be set together with downstream.client_secret",
        ],
    );
    assert_refused(
        &with_client("private_key_file = \"/nowhere\""),
        &["downstream.private_key_file: must be the path of a file"],
    );
    let no_key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(no_key.path(), SECRET).unwrap();
    let no_key = format!("private_key_file = {:?}", no_key.path());
    assert_refused(
        &with_client(&no_key),
        &["downstream.private_key_file: names a file that has no private key in PEM"],
    );
    assert_refused(
        &with_client(&format!("client_secret = {SECRET:?}\nsigning_algorithm = \"HS256\"")),
        &["downstream.signing_algorithm: must be one of \"RS256\", \"RS384\", \"PS256\""],
    );
    assert_refused(
        &with_client(&format!("client_secret = {SECRET:?}\ntimeout_seconds = 0")),
        &["downstream.timeout_seconds: must be a whole number from 1 to 60"],
    );
    let api = |lines: &str| {
        format!(
            "[downstream]\nclient_id = \"c\"\nclient_secret = {SECRET:?}\n{ORDERS}[downstream.apis.{lines}"
        )
    };
    for (lines, expected) in [
        ("a]\naudience = \"urn:a\"", "downstream.apis.a.scopes: is not set"),
        ("a]\naudience = \"urn:a\"\nscopes = []", "downstream.apis.a.scopes: is not set"),
        ("a]\naudience = \"urn:a\"\nscopes = [\"a b\"]", "downstream.apis.a.scopes: not an OAuth scope"),
        ("a]\nscopes = [\"a\"]", "downstream.apis.a.audience: is not set"),
        (
            "a]\naudience = \"http://localhost:3001/mcp\"\nscopes = [\"a\"]",
            "downstream.apis.a.audience: is this server's own",
        ),
        (
            "a]\naudience = \"https://orders.test/\"\nscopes = [\"a\"]",
            "is another API's audience or name, too",
        ),
        (
            "a]\naudience = \"urn:more\"\nscopes = [\"a\"]\n[auth0]\nadditional_audiences = [\"urn:more\"]",
            "downstream.apis.a.audience: is this server's own",
        ),
        ("a]\naudience = \"orders\"\nscopes = [\"a\"]", "is another API's audience or name, too"),
        ("\"a.b\"]\naudience = \"urn:a\"\nscopes = [\"a\"]", "must be a name of letters, digits"),
        ("a]\naudience = \"urn:a\"\nscopes = [\"a\"]\nscope = \"b\"", "there is no such key"),
    ] {
        assert_refused(&api(lines), &[expected]);
    }
}

#[test]
fn an_upstream_names_an_api_and_has_a_url() {
    let with = |upstream: &str| {
        format!("{}[upstreams.up]\n{upstream}\n", with_client(&format!("client_secret = {SECRET:?}")))
    };
    let good = load(&with("url = \"https://up.test/mcp\"\ndownstream = \"orders\"")).unwrap();
    assert_eq!(good.upstreams[0].downstream.as_deref(), Some("orders"));
    for (upstream, expected) in [
        (
            "url = \"http://up.test/mcp\"\nallow_http = true\ndownstream = \"orders\"",
            "takes an https `url`, whatever `allow_http` says",
        ),
        ("url = \"https://up.test/mcp\"\ndownstream = \"other\"", "\"other\" is none of [downstream.apis]"),
        ("command = [\"/bin/cat\"]\ndownstream = \"orders\"", "is for an upstream with a `url`"),
    ] {
        assert_refused(&with(upstream), &[expected]);
    }
}
