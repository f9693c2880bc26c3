//! `explain`, the real binary, beside an issuer in this process: every refusal by its reason, what may be called, and that the
//! token stays where it is.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use domain::Clock;
use local_tenant::{Fault, LocalTenant, Options, TokenForm, TokenRequest};
use serde_json::{Value, json};
use system_clock::SystemClock;

use crate::binary::{Dev, command, run, text};
use crate::key_server::{Answer, KeyServer, SigningKey, base64url};
use crate::local_tenant::API;

/// What came of one call.
pub(crate) struct Explained {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Explained {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }

    /// The verdict of a check.
    #[track_caller]
    fn verdict(&self, name: &str) -> String {
        self.check(name)["verdict"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn check(&self, name: &str) -> Value {
        let json = self.json();
        json["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone()
    }

    /// Fails if a part of the token can be read anywhere.
    #[track_caller]
    pub(crate) fn keeps_to_itself(&self, token: &str) {
        for part in token.split('.').filter(|part| part.len() > 3).chain([token]) {
            assert!(!self.out.contains(part) && !self.err.contains(part), "{}\n{}", self.out, self.err);
        }
    }
}

/// Runs `explain` with a token on standard input.
fn explain(issuer: &str, arguments: &[&str], environment: &[(&str, &str)], token: &str) -> Explained {
    let environment = [&[("AUTH0_ISSUER", issuer), ("AUTH0_AUDIENCE", API)], environment].concat();
    explain_in(arguments, &environment, token)
}

pub(crate) fn explain_in(arguments: &[&str], environment: &[(&str, &str)], token: &str) -> Explained {
    let mut command = command(&[&["explain"], arguments].concat(), environment);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What is too long is not read to its end.
    let _ = child.stdin.take().unwrap().write_all(token.as_bytes());
    let output = child.wait_with_output().unwrap();
    Explained { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

async fn tenant() -> LocalTenant {
    let mut options = Options::default().with_api_identifier(API);
    for scope in ["tool:greet", "tool:whoami"] {
        options = options.with_scope(scope, scope);
    }
    LocalTenant::start(options.with_permission("Tool User", "tool:whoami")).await.unwrap()
}

fn token(tenant: &LocalTenant, user: &str, scope: Option<&str>) -> String {
    let request = TokenRequest { user: user.into(), scope: scope.map(Into::into), audience: None };
    tenant.issue_token(&request).unwrap().access_token
}

#[tokio::test]
async fn a_good_token_passes_every_check_in_the_servers_order_however_it_is_given() {
    let tenant = tenant().await;
    let token = token(&tenant, "admin", None);
    let issuer = tenant.issuer();
    let piped = explain(issuer, &["--json"], &[], &format!("  Authorization: Bearer {token}\n"));
    assert_eq!((piped.code, piped.err.as_str()), (Some(0), ""), "{}", piped.out);
    let report = piped.json();
    assert_eq!(
        (&report["accepted"], &report["proved"], &report["form"]),
        (&true.into(), &true.into(), &"signed_jwt".into())
    );
    let names: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    let order = "form parts header algorithm extensions key signature claims token_type issuer audience expiry start subject \
                 client binding";
    assert_eq!(names.join(" ").replace("token type", "token_type"), order);
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["verdict"] == "pass"), "{report}");
    assert_eq!(report["payload"]["sub"], "auth0|local-admin");
    assert_eq!(report["endpoints"], json!([API]));
    assert!(report["tools"].as_array().unwrap().iter().all(|tool| tool["may_call"] == true), "{report}");
    assert_eq!(report.get("reason"), None);
    piped.keeps_to_itself(&token);

    let in_words = explain(issuer, &["-"], &[], &token);
    assert!(in_words.out.ends_with("accepted; 3 of 3 tools\n"), "{}", in_words.out);
    assert!(in_words.out.contains("  exp       2") && in_words.out.contains("Z, in 2"), "{}", in_words.out);
    in_words.keeps_to_itself(&token);
    for arguments in [&[token.as_str()][..], &["Bearer", &token], &[&format!("Bearer {token}")]] {
        let given = explain(issuer, arguments, &[], "");
        assert_eq!((given.code, untimed(&given.out)), (Some(0), untimed(&in_words.out)));
        assert!(given.err.starts_with("warning: the token is in this shell's history"), "{}", given.err);
        given.keeps_to_itself(&token);
    }
}

/// Returns what was printed without how long ago or ahead times are: seconds pass between two runs.
fn untimed(out: &str) -> Vec<&str> {
    out.lines().map(|line| line.split("Z, ").next().unwrap_or_default()).collect()
}

/// A bad token: what is wrong, the token, its reason, and the check that says so.
type Bad = (&'static str, String, &'static str, &'static str);

fn bad_tokens(issuer: &str, now: i64) -> Vec<Bad> {
    let good = || json!({"iss": issuer, "sub": "auth0|a", "aud": API, "exp": now + 3600, "iat": now, "client_id": "c", "scope": "tool:whoami"});
    let key = SigningKey::first();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = good();
        change(&mut claims);
        key.token("k1", &claims)
    };
    let header = |header: &str| key.sign(header, &good().to_string());
    let jws = key.token("k1", &good());
    let forged = SigningKey::second().token("k1", &good());
    let payload = good().to_string();
    let twice = payload.replacen('{', "{\"sub\":\"auth0|b\",", 1);
    let jwe = base64url(r#"{"alg":"dir","enc":"A256GCM","iss":"https://t/"}"#);
    vec![
        ("characters", format!("\"{jws}\""), "malformed_token", "form"),
        ("length", jws.repeat(40), "token_too_large", "form"),
        ("a reference", "kJx2vNqPz8opaque".into(), "opaque_token", "parts"),
        ("encrypted", format!("{jwe}..aXYtaXY.Y2lwaGVydGV4dA.dGFnLXRhZw"), "opaque_token", "parts"),
        ("two parts", "Z2FyYmFnZQ.Z2FyYmFnZQ".into(), "malformed_token", "parts"),
        ("garbage", "Z2FyYmFnZQ.Z2FyYmFnZQ.Z2FyYmFnZQ".into(), "malformed_token", "header"),
        ("HS256", header(r#"{"alg":"HS256","kid":"k1","typ":"at+jwt"}"#), "wrong_algorithm", "algorithm"),
        ("none", header(r#"{"alg":"none","kid":"k1","typ":"at+jwt"}"#), "wrong_algorithm", "algorithm"),
        (
            "crit",
            header(r#"{"alg":"RS256","kid":"k1","typ":"at+jwt","crit":["b64"]}"#),
            "critical_header",
            "extensions",
        ),
        ("no kid", header(r#"{"alg":"RS256","typ":"at+jwt"}"#), "unknown_key", "key"),
        ("another kid", key.token("k9", &good()), "unknown_key", "key"),
        ("forged", forged, "bad_signature", "signature"),
        (
            "a duplicate",
            key.sign(r#"{"alg":"RS256","kid":"k1","typ":"at+jwt"}"#, &twice),
            "malformed_token",
            "claims",
        ),
        (
            "no exp",
            with(&|claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
            "missing_claim",
            "claims",
        ),
        ("a number", with(&|claims| claims["scope"] = 7.into()), "invalid_claim", "claims"),
        (
            "an ID token's type",
            header(r#"{"alg":"RS256","kid":"k1","typ":"id+jwt"}"#),
            "wrong_token_type",
            "token type",
        ),
        ("another issuer", with(&|claims| claims["iss"] = "https://other/".into()), "wrong_issuer", "issuer"),
        (
            "another audience",
            with(&|claims| claims["aud"] = "https://other/".into()),
            "wrong_audience",
            "audience",
        ),
        ("expired", with(&|claims| claims["exp"] = (now - 3600).into()), "expired", "expiry"),
        ("too early", with(&|claims| claims["nbf"] = (now + 1800).into()), "not_yet_valid", "start"),
        ("no subject", with(&|claims| claims["sub"] = "".into()), "no_subject", "subject"),
        ("no client", with(&|claims| claims["client_id"] = "".into()), "no_client", "client"),
        ("bound", with(&|claims| claims["cnf"] = json!({"jkt": "x"})), "sender_constrained", "binding"),
    ]
}

pub(crate) fn now() -> i64 {
    SystemClock::start().now().seconds().0
}

/// Calls what blocks, while the key server goes on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn every_refusal_has_its_reason_at_its_check_and_no_part_of_the_token_is_shown() {
    let server = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
    let issuer = server.issuer().to_string();
    for (what, token, reason, check) in bad_tokens(&issuer, now()) {
        let issuer = issuer.clone();
        blocking(move || {
            let explained = explain(&issuer, &["--json"], &[("FASTMCP__LOG__LEVEL", "trace")], &token);
            assert_eq!(explained.code, Some(1), "{what}: {}", explained.err);
            let report = explained.json();
            assert_eq!((&report["accepted"], &report["reason"]), (&false.into(), &reason.into()), "{what}");
            let found = explained.check(check);
            assert_eq!(
                (&found["verdict"], &found["reason"]),
                (&"fail".into(), &reason.into()),
                "{what}: {found}"
            );
            assert!(found["advice"].as_str().is_some_and(|advice| advice.len() > 20), "{what}");
            let checks = report["checks"].as_array().unwrap();
            let first = checks.iter().find(|check| check["verdict"] == "fail").unwrap();
            assert_eq!(first["name"], check, "{what}: what fails first is the reason");
            explained.keeps_to_itself(&token);
            let in_words = explain(&issuer, &[], &[], &token);
            assert!(in_words.out.contains(&format!("refused: {reason} ")), "{what}: {}", in_words.out);
            in_words.keeps_to_itself(&token);
        })
        .await;
    }
}

#[tokio::test]
async fn what_can_be_judged_after_a_failure_is() {
    let server = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
    let issuer = server.issuer().to_string();
    let claims = json!({"iss": "https://other-tenant/", "sub": "s", "aud": API, "exp": now() - 10_000, "client_id": "c"});
    let token = SigningKey::second().token("k2", &claims);
    let explained = blocking(move || explain(&issuer, &["--json"], &[], &token)).await;
    assert_eq!(explained.json()["reason"], "unknown_key");
    for (check, verdict) in [
        ("key", "fail"),
        ("signature", "not_judged"),
        ("claims", "pass"),
        ("issuer", "fail"),
        ("audience", "pass"),
        ("expiry", "fail"),
    ] {
        assert_eq!(explained.verdict(check), verdict, "{check}");
    }
    let key = explained.check("key")["detail"].as_str().unwrap().to_owned();
    assert!(key.starts_with("kid \"k2\"; published at ") && key.ends_with(": \"k1\""), "{key}");
    assert_eq!(explained.json()["tools"][0]["may_call"], Value::Null, "whose token is it?");
}

#[tokio::test]
async fn opaque_encrypted_and_expired_tokens_of_a_tenant_are_told_apart() {
    let tenant = tenant().await;
    let of = |form: TokenForm| {
        tenant.inject(&Fault::Tokens { form });
        let token = token(&tenant, "user", None);
        (explain(tenant.issuer(), &["--json"], &[], &token), explain(tenant.issuer(), &[], &[], &token))
    };
    let (json, words) = of(TokenForm::Opaque);
    assert_eq!((&json.json()["form"], &json.json()["header"]), (&"opaque".into(), &Value::Null));
    assert!(
        words.out.starts_with("nothing of this token can be decoded")
            && words.out.contains("Resource Parameter"),
        "{}",
        words.out
    );
    let (json, words) = of(TokenForm::Encrypted);
    assert_eq!(json.json()["header"], json!({"alg": "dir", "enc": "A256GCM", "iss": tenant.issuer()}));
    assert_eq!(json.json()["form"], "encrypted_jwt");
    assert!(
        words.out.contains("an encrypted JWT (JWE)") && words.out.contains("settings encrypt"),
        "{}",
        words.out
    );
    let (json, words) = of(TokenForm::Expired);
    assert_eq!(
        (&json.json()["reason"], &json.json()["tools"][1]["may_call"]),
        (&"expired".into(), &true.into())
    );
    assert!(words.out.contains("granted by scope, while the token is valid: tool:whoami"), "{}", words.out);
    assert!(words.out.contains("exp ") && words.out.contains("60 minutes ago"), "{}", words.out);
}

#[tokio::test]
async fn a_missing_scope_comes_with_where_it_can_come_from() {
    let tenant = tenant().await;
    let advice = |token: &str, environment: &[(&str, &str)]| {
        let explained = explain(tenant.issuer(), &["--json"], environment, token);
        assert_eq!(explained.code, Some(0), "{}", explained.out);
        let report = explained.json();
        let greet =
            report["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "greet").unwrap().clone();
        assert_eq!(
            (&greet["may_call"], &greet["missing"]),
            (&false.into(), &json!(["tool:greet"])),
            "{report}"
        );
        assert_eq!(report["missing_scopes"][0]["scope"], "tool:greet");
        report["missing_scopes"][0]["advice"].as_str().unwrap().to_owned()
    };
    let not_assigned = token(&tenant, "user", None);
    let not_requested = token(&tenant, "admin", Some("tool:whoami"));
    assert!(advice(&not_assigned, &[]).starts_with("no role of the user's"));
    assert!(advice(&not_requested, &[]).contains("did not ask for it"));
    let by_permissions = [("FASTMCP__TOKENS__AUTHORITY", "permissions")];
    assert!(advice(&not_assigned, &by_permissions).starts_with("no role of the user's"));
    let explained = explain(tenant.issuer(), &[], &by_permissions, &not_requested);
    assert!(
        explained.out.contains("granted by permissions: ") && explained.out.ends_with("3 of 3 tools\n"),
        "{}",
        explained.out
    );
}

#[tokio::test]
async fn of_several_endpoints_the_tokens_own_is_found() {
    let tenant = tenant().await;
    let token = token(&tenant, "admin", None);
    let environment = [
        ("AUTH0_AUDIENCE", "https://mcp.example.com/mcp"),
        ("MCP_SERVER_URL", "https://mcp.example.com"),
        ("FASTMCP__ENDPOINTS__LOCAL__URL", "http://localhost:3001"),
        ("FASTMCP__ENDPOINTS__LOCAL__AUDIENCE", API),
    ];
    let explained = explain(tenant.issuer(), &["--json"], &environment, &token);
    assert_eq!(
        (explained.code, &explained.json()["endpoints"]),
        (Some(0), &json!([API])),
        "{}",
        explained.out
    );
}

#[test]
fn offline_nobody_is_asked_and_the_signature_is_not_judged() {
    let issuer = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", issuer.local_addr().unwrap());
    let claims = json!({"iss": url, "sub": "s", "aud": API, "exp": now() + 600, "client_id": "c"});
    let token = SigningKey::first().token("k1", &claims);
    let explained = explain(&url, &["--offline", "--json"], &[], &token);
    assert_eq!(explained.code, Some(0), "{}", explained.err);
    assert_eq!(explained.json()["proved"], false);
    for check in ["key", "signature"] {
        assert_eq!(
            (explained.verdict(check).as_str(), &explained.check(check)["detail"]),
            ("not_judged", &"no keys are fetched with --offline".into())
        );
    }
    let in_words = explain(&url, &["--offline"], &[], &token);
    assert!(
        in_words.out.ends_with("accepted, if the signature is good, which was not judged; 1 of 3 tools\n"),
        "{}",
        in_words.out
    );
    issuer.set_nonblocking(true).unwrap();
    assert_eq!(issuer.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// The keys of the configured issuer are fetched, and nothing is sent with that. No address of the token's is asked.
#[tokio::test]
async fn nothing_is_asked_but_the_configured_issuer_for_its_keys() {
    let server = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = format!("http://{}/", elsewhere.local_addr().unwrap());
    let header =
        json!({"alg": "RS256", "kid": "k1", "typ": "at+jwt", "jku": there, "x5u": there, "iss": there});
    let claims =
        json!({"iss": there, "sub": "s", "aud": there, "exp": now() + 600, "client_id": "c", "jku": there});
    let token = SigningKey::first().sign(&header.to_string(), &claims.to_string());
    let issuer = server.issuer().to_string();
    let explained = blocking(move || explain(&issuer, &["--json"], &[], &token)).await;
    assert_eq!(
        (explained.verdict("signature").as_str(), &explained.json()["reason"]),
        ("pass", &"wrong_issuer".into())
    );
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // A slow first fetch is tried again before it has ended.
    assert!(server.requests() > 0);
    assert_eq!(server.last_header("authorization"), None);
}

#[test]
fn keys_that_are_not_to_be_had_say_so() {
    let claims =
        json!({"iss": "http://127.0.0.1:1/", "sub": "s", "aud": API, "exp": now() + 600, "client_id": "c"});
    let token = SigningKey::first().token("k1", &claims);
    let quick = [("FASTMCP__KEYS__WAIT_SECONDS", "1")];
    let explained = explain("http://127.0.0.1:1/", &["--json"], &quick, &token);
    assert_eq!((explained.code, &explained.json()["reason"]), (Some(1), &"keys_unavailable".into()));
    assert!(
        explained.check("key")["detail"].as_str().unwrap().contains("can't be reached"),
        "{}",
        explained.out
    );
    assert_eq!(explained.verdict("issuer"), "pass");
}

#[tokio::test]
async fn what_a_terminal_would_act_on_is_escaped_and_output_is_bounded() {
    let server = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
    let issuer = server.issuer().to_string();
    let hostile = "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\r";
    let claims = json!({"iss": hostile, "sub": hostile, "aud": [hostile], "exp": now() + 600, "client_id": hostile, hostile: hostile});
    let header = json!({"alg": "RS256", "kid": hostile, "typ": hostile, hostile: 1});
    let payload = claims.to_string();
    let key = SigningKey::first();
    let twice = payload.replacen('{', "{\"aud\":\"\u{202e}\",", 1);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(30), "]".repeat(30))
        .replace("[]", &format!("[{}0]", "0,".repeat(5000)));
    let tokens = [
        key.token("k1", &claims),
        key.sign(&header.to_string(), &payload),
        key.sign(&header.to_string(), &twice),
        key.sign("{}", &deep),
    ];
    for token in tokens {
        for arguments in [&[][..], &["--json"]] {
            let (issuer, token) = (issuer.clone(), token.clone());
            let explained = blocking(move || explain(&issuer, arguments, &[], &token)).await;
            assert_eq!(explained.code, Some(1), "{}", explained.err);
            let shown = explained.out.replace('\n', "") + &explained.err.replace('\n', "");
            let bad = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!shown.contains(bad), "{shown:?}");
            assert!(shown.len() < 1024 * 1024);
        }
    }
}

#[test]
fn what_is_no_token_or_no_configuration_is_told_without_repeating_it() {
    let canary = "canary-Zm9vYmFyYmF6cXV4";
    let too_long = explain("http://127.0.0.1:1/", &[], &[], &canary.repeat(4000));
    assert_eq!((too_long.code, too_long.out.as_str()), (Some(1), ""));
    assert!(too_long.err.contains("more than 64 KiB"), "{}", too_long.err);
    let nothing = explain("http://127.0.0.1:1/", &[], &[], " Bearer \n");
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.err.contains("there is no token"), "{}", nothing.err);
    for arguments in [&[&format!("-{canary}")][..], &["--json=canary-Zm9vYmFyYmF6cXV4".to_owned()].each_ref()]
    {
        let arguments: Vec<&str> = arguments.iter().map(|argument| argument.as_str()).collect();
        let misread = explain("http://127.0.0.1:1/", &arguments, &[], "");
        assert_eq!(misread.code, Some(2));
        misread.keeps_to_itself(canary);
    }
    let bad = explain_in(&["--json"], &[], canary);
    assert_eq!((bad.code, &bad.json()["valid"]), (Some(64), &false.into()));
    assert!(bad.err.contains("AUTH0_DOMAIN"), "{}", bad.err);
    bad.keeps_to_itself(canary);
}

#[test]
fn a_token_of_the_running_dev_is_explained_as_dev_would_judge_it() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("XDG_RUNTIME_DIR", folder.path().to_str().unwrap())];
    let dev = Dev::start_in(&[], &environment);
    for (user, tools) in [("admin", "3 of 3"), ("user", "2 of 3")] {
        let token = text(&run(&["token", "--user", user], &environment).stdout);
        let explained = explain_in(&["--local"], &environment, &token);
        assert_eq!((explained.code, explained.err.as_str()), (Some(0), ""), "{}", explained.out);
        assert!(explained.out.ends_with(&format!("accepted; {tools} tools\n")), "{}", explained.out);
        assert!(explained.out.contains(&format!("endpoint {}\n", dev.endpoint())), "{}", explained.out);
    }
    let ipv4 = dev.token_for("admin", &dev.endpoint().replace("localhost", "127.0.0.1"));
    assert_eq!(explain_in(&["--local"], &environment, &ipv4).code, Some(0));
}
