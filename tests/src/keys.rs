//! The Auth0 verifier against a key server that rotates, fails, hangs and lies. Time stands still until a test moves it.

use std::sync::Arc;
use std::time::Duration;

use auth0_verifier::{Auth0, Auth0Verifier};
use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{BearerToken, Claims, TokenVerifier, UnixMillis, UnixSeconds, Untrusted, VerifyError};
use fakes::ManualClock;
use jsonwebtoken::{Algorithm, EncodingKey};
use jwks_verifier::{JwksUrl, Options, SignatureCheck, Status};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::key_server::{Answer, KeyServer, SigningKey, base64url};

type Outcome = Result<Arc<Claims>, VerifyError>;

const HEADER: &str = r#"{"alg":"RS256","kid":"k1","typ":"at+jwt"}"#;

/// A verifier, its issuer and its time.
struct Bench {
    server: KeyServer,
    clock: Arc<ManualClock>,
    verifier: Arc<Auth0Verifier>,
}

impl Bench {
    /// A verifier that has made its first fetch, at uptime zero.
    async fn start(answer: Answer) -> Self {
        let bench = Self::cold(answer).await;
        bench.fetched(1).await;
        bench
    }

    /// A verifier whose first fetch is about to begin.
    async fn cold(answer: Answer) -> Self {
        Self::with(answer, |_| {}).await
    }

    async fn with(answer: Answer, change: impl FnOnce(&mut Options)) -> Self {
        let server = KeyServer::start(answer).await;
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        let mut options = Options::for_issuer(&Auth0, &server.issuer()).unwrap();
        // The one time that is not the clock's; no test may depend on how fast the machine is.
        options.fetch_timeout = Duration::from_mins(2);
        change(&mut options);
        let verifier = Arc::new(Auth0Verifier::start(&options, Arc::clone(&clock) as _));
        Self { server, clock, verifier }
    }

    /// Completes once this many fetches have ended in all.
    async fn fetched(&self, count: u64) -> Status {
        let mut status = self.verifier.status();
        let status = within(status.wait_for(|status| status.finished() >= count)).await;
        status.unwrap().clone()
    }

    /// How many fetches have begun once everybody who can act has acted.
    async fn begun(&self) -> u64 {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.verifier.status().borrow().started
    }

    async fn verify(&self, token: &str) -> Outcome {
        within(self.verifier.verify(&BearerToken::new(token).unwrap())).await
    }

    /// Verifies, and compares with what an inspection says: the same refusal, at the first check that fails, or none.
    async fn verify_and_inspect(&self, token: &str) -> Outcome {
        let outcome = self.verify(token).await;
        let inspection = within(self.verifier.inspect(&BearerToken::new(token).unwrap())).await;
        assert_eq!(inspection.failure(), outcome.as_ref().err().copied(), "{token}");
        assert_eq!(
            inspection.is_proved(),
            SignatureCheck::ALL.iter().take(6).all(|check| inspection.verdict(*check) == Some(Ok(())))
        );
        if let Ok(claims) = &outcome {
            assert_eq!(inspection.claims.as_ref(), Some(&**claims));
        }
        outcome
    }

    /// Verifies in the background; returns once that many wait for the clock, this request among them.
    async fn verify_waiting(&self, token: String, sleepers: usize) -> JoinHandle<Outcome> {
        let verifier = Arc::clone(&self.verifier);
        let request = tokio::spawn(async move { verifier.verify(&BearerToken::new(&token).unwrap()).await });
        within(self.clock.sleeping(sleepers)).await;
        request
    }

    fn advance_seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    #[track_caller]
    fn not_ready(&self) -> String {
        self.verifier.ready().unwrap_err().0
    }
}

/// A safety net for what would otherwise hang; nothing depends on its length.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("it ends")
}

fn claims() -> Value {
    json!({"iss": "https://t/", "sub": "auth0|a", "aud": "https://api", "exp": 1, "client_id": "c", "scope": "a b"})
}

/// Signed with the first key, which most tests publish as `k1`.
fn first(kid: &str) -> String {
    SigningKey::first().token(kid, &claims())
}

/// Signed with the second key: the next one after a rotation, or an attacker's.
fn second(kid: &str) -> String {
    SigningKey::second().token(kid, &claims())
}

fn k1() -> Answer {
    Answer::keys(&[SigningKey::first().jwk("k1")])
}

fn k2() -> Answer {
    Answer::keys(&[SigningKey::second().jwk("k2")])
}

#[track_caller]
fn accepted(outcome: &Outcome) {
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[track_caller]
fn refused(outcome: &Outcome, reason: Untrusted) {
    assert_eq!(*outcome, Err(VerifyError::Untrusted(reason)));
}

/// Compares whole seconds, rounded up as in a `Retry-After` header.
#[track_caller]
fn unavailable(outcome: &Outcome, retry_after_seconds: u64) {
    let Err(VerifyError::KeysUnavailable { retry_after }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(retry_after.as_millis().div_ceil(1000), u128::from(retry_after_seconds));
}

// What a token must be.

#[tokio::test]
async fn the_keys_age_begins_with_the_last_fetch_that_brought_some() {
    let bench = Bench::cold(Answer::Status(500)).await;
    bench.fetched(1).await;
    assert_eq!(bench.verifier.keys_age(), None, "none was ever there");
    let bench = Bench::start(k1()).await;
    assert_eq!(bench.verifier.keys_age(), Some(Duration::ZERO));
    bench.server.set(Answer::Status(500));
    bench.clock.advance(Duration::from_mins(10));
    bench.fetched(2).await;
    assert_eq!(
        bench.verifier.keys_age(),
        Some(Duration::from_mins(10)),
        "a fetch that failed makes none newer"
    );
}

#[tokio::test]
async fn a_good_token_is_proved_and_read_whatever_its_claims_are_worth() {
    let bench = Bench::start(k1()).await;
    let claims = bench.verify_and_inspect(&first("k1")).await.unwrap();
    assert_eq!(claims.subject, "auth0|a");
    assert_eq!(claims.expires_at, UnixSeconds(1), "long ago; the domain judges that");
    assert_eq!(claims.token_type.as_deref(), Some("at+jwt"));
    assert_eq!(claims.scope.to_string(), "a b");
}

#[tokio::test]
async fn a_signature_is_good_for_its_own_header_and_payload_and_key() {
    let bench = Bench::start(k1()).await;
    let good = first("k1");
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let root = base64url(claims().to_string().replace("auth0|a", "auth0|b"));
    let retyped = base64url(r#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#);
    let other = second("k1");
    let others_signature = other.rsplit('.').next().unwrap();
    for forged in [
        format!("{header}.{root}.{signature}"),
        format!("{retyped}.{payload}.{signature}"),
        format!("{header}.{payload}.{others_signature}"),
        format!("{header}.{payload}.{}", base64url([0; 256])),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{}", base64url([0; 255])),
        format!("{header}.{payload}.{signature}AAAA"),
        SigningKey::first().sign_parts(&format!("{header}.{payload}"), &RSA_PKCS1_SHA512),
        SigningKey::first().sign_parts(&format!("{header}.{payload}"), &RSA_PSS_SHA256),
    ] {
        refused(&bench.verify_and_inspect(&forged).await, Untrusted::Signature);
    }
}

#[tokio::test]
async fn a_token_is_judged_by_its_own_header_whatever_the_last_one_was() {
    let keys = Answer::keys(&[SigningKey::first().jwk("k1"), SigningKey::second().jwk("k2")]);
    let bench = Bench::start(keys).await;
    let untyped = r#"{"alg":"RS256","kid":"k1"}"#;
    for round in 0..3 {
        // Tokens that were not seen before.
        let claims =
            json!({"iss": "https://t/", "sub": "auth0|a", "aud": "https://api", "exp": round}).to_string();
        for (key, header, token_type) in [
            (SigningKey::first(), HEADER.to_owned(), Some("at+jwt")),
            (SigningKey::second(), HEADER.replace("k1", "k2"), Some("at+jwt")),
            (SigningKey::first(), untyped.to_owned(), None),
            (SigningKey::first(), HEADER.replace("at+jwt", "JWT"), Some("JWT")),
        ] {
            let proved = bench.verify(&key.sign(&header, &claims)).await.unwrap();
            assert_eq!(proved.token_type.as_deref(), token_type, "{header}");
            // By the other key, right after the header was kept.
            let other = if header.contains("k2") { SigningKey::first() } else { SigningKey::second() };
            refused(&bench.verify(&other.sign(&header, &claims)).await, Untrusted::Signature);
            let forged = SigningKey::first().sign(&header.replace("RS256", "none"), &claims);
            refused(&bench.verify(&forged).await, Untrusted::Algorithm);
        }
    }
}

#[tokio::test]
async fn no_header_chooses_another_algorithm() {
    let bench = Bench::start(k1()).await;
    let payload = base64url(claims().to_string());
    for alg in ["none", "None", "NONE", ""] {
        let header = base64url(format!(r#"{{"alg":"{alg}","kid":"k1"}}"#));
        refused(&bench.verify_and_inspect(&format!("{header}.{payload}.")).await, Untrusted::Algorithm);
    }
    let hs256 = format!("{}.{payload}", base64url(r#"{"alg":"HS256","kid":"k1"}"#));
    let public_key = SigningKey::first();
    for secret in [public_key.public_der(), public_key.jwk("k1")["n"].as_str().unwrap().as_bytes()] {
        let secret = EncodingKey::from_secret(secret);
        let mac = jsonwebtoken::crypto::sign(hs256.as_bytes(), &secret, Algorithm::HS256).unwrap();
        refused(&bench.verify_and_inspect(&format!("{hs256}.{mac}")).await, Untrusted::Algorithm);
    }
    let others: [(&str, &'static dyn RsaEncoding); 4] = [
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("rs256", &RSA_PKCS1_SHA256),
    ];
    for (alg, algorithm) in others {
        let header = base64url(format!(r#"{{"alg":"{alg}","kid":"k1"}}"#));
        let token = public_key.sign_parts(&format!("{header}.{payload}"), algorithm);
        refused(&bench.verify_and_inspect(&token).await, Untrusted::Algorithm);
    }
}

#[tokio::test]
async fn no_header_brings_its_own_key_or_makes_the_verifier_fetch_one() {
    let bench = Bench::start(k1()).await;
    let elsewhere = bench.server.issuer().join("elsewhere").unwrap();
    let jwk = SigningKey::second().jwk("k1");
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!(elsewhere.as_str())),
        ("x5u", json!(elsewhere.as_str())),
        ("x5c", json!([base64url(SigningKey::second().public_der())])),
    ] {
        let mut header = json!({"alg": "RS256", "kid": "k1"});
        header[name] = value;
        let forged = SigningKey::second().sign(&header.to_string(), &claims().to_string());
        refused(&bench.verify_and_inspect(&forged).await, Untrusted::Signature);
        let good = SigningKey::first().sign(&header.to_string(), &claims().to_string());
        accepted(&bench.verify_and_inspect(&good).await);
    }
    assert_eq!((bench.server.requests(), bench.server.redirects_followed()), (1, 0));
}

#[tokio::test]
async fn a_critical_extension_is_refused_though_signed() {
    let bench = Bench::start(k1()).await;
    for header in [
        r#"{"alg":"RS256","kid":"k1","crit":["b64"],"b64":false}"#,
        r#"{"alg":"RS256","kid":"k1","crit":[]}"#,
        r#"{"alg":"RS256","kid":"k1","crit":null}"#,
    ] {
        let token = SigningKey::first().sign(header, &claims().to_string());
        refused(&bench.verify_and_inspect(&token).await, Untrusted::CriticalHeader);
    }
}

#[tokio::test]
async fn what_is_not_a_strict_jws_is_refused_though_signed() {
    let bench = Bench::start(k1()).await;
    let payload = claims().to_string();
    let sign = |header: &str, payload: &str| SigningKey::first().sign(header, payload);
    let parts = |signed: String| SigningKey::first().sign_parts(&signed, &RSA_PKCS1_SHA256);
    let one_byte_more = format!("{payload} ");
    let odd_payload = [&payload, &one_byte_more].into_iter().find(|text| text.len() % 3 != 0).unwrap();
    let good = first("k1");
    for token in [
        sign(r#"{"alg":"none","alg":"RS256","kid":"k1"}"#, &payload),
        sign(r#"{"alg":"RS256","kid":"k9","kid":"k1"}"#, &payload),
        sign(r#"{"alg":"RS256","kid":1}"#, &payload),
        sign(r#"["RS256","k1"]"#, &payload),
        sign(HEADER, r#"{"iss":"i","sub":"s","sub":"root","aud":"a","exp":1}"#),
        sign(HEADER, r#"{"iss":"i","sub":"s","aud":"a","exp":1,"x":{"y":1,"y":1}}"#),
        sign(
            HEADER,
            &format!(r#"{{"iss":"i","sub":"s","aud":"a","exp":1,"x":{}{}}}"#, "[".repeat(99), "]".repeat(99)),
        ),
        sign(HEADER, "[]"),
        sign(HEADER, ""),
        sign(HEADER, &format!("{payload}{payload}")),
        parts(format!("{}.{}", base64url(HEADER), with_stray_bits(&base64url(odd_payload)))),
        with_stray_bits(&good),
        format!("{good}=="),
        format!("{good}.c"),
        good.rsplit_once('.').unwrap().0.to_owned(),
    ] {
        refused(&bench.verify_and_inspect(&token).await, Untrusted::Malformed);
    }
}

/// The same bytes with a bit set in the last character that no byte needs.
fn with_stray_bits(base64url: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = base64url.split_at(base64url.len() - 1);
    let index = ALPHABET.iter().position(|byte| *byte == last.as_bytes()[0]).unwrap();
    assert_eq!(index % 4, 0, "the last character has unused bits");
    format!("{rest}{}", ALPHABET[index | 1] as char)
}

#[tokio::test]
async fn claims_have_their_json_types() {
    let bench = Bench::start(k1()).await;
    let verify = async |change: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        bench.verify_and_inspect(&SigningKey::first().token("k1", &claims)).await
    };
    for name in ["iss", "aud", "exp", "sub"] {
        let outcome = verify(&|claims| drop(claims.as_object_mut().unwrap().remove(name))).await;
        refused(&outcome, Untrusted::MissingClaim(name));
    }
    for (name, value) in [
        ("iss", json!(["https://t/"])),
        ("aud", json!({"https://api": true})),
        ("aud", json!(["https://api", 1])),
        ("exp", json!("1")),
        ("sub", Value::Null),
        ("nbf", json!("0")),
        ("iat", json!(true)),
        ("client_id", json!(["c"])),
        ("azp", json!(1)),
        ("scope", json!(["a", "b"])),
        ("permissions", json!("a b")),
        ("name", json!(1)),
        ("email", json!([])),
        ("org_id", json!({})),
        ("act", json!("agent")),
    ] {
        let outcome = verify(&|claims| claims[name] = value.clone()).await;
        refused(&outcome, Untrusted::InvalidClaim(name));
    }
    for name in ["nbf", "iat", "client_id", "scope", "permissions", "name", "act", "https://a/team"] {
        accepted(&verify(&|claims| claims[name] = Value::Null).await);
    }
    let bound = verify(&|claims| claims["cnf"] = Value::Null).await.unwrap();
    assert!(bound.sender_constrained, "whatever the value");
}

#[tokio::test]
async fn a_token_that_is_no_jwt_is_called_opaque_and_causes_no_fetch() {
    let bench = Bench::start(k1()).await;
    bench.advance_seconds(5);
    for token in ["5d41402abc4b2a76b9719d911017c592", "eyJhbGciOiJkaXIi.a.b.c.d"] {
        refused(&bench.verify_and_inspect(token).await, Untrusted::Opaque);
    }
    let no_kid = SigningKey::first().sign(r#"{"alg":"RS256"}"#, &claims().to_string());
    refused(&bench.verify_and_inspect(&no_kid).await, Untrusted::UnknownKey);
    assert_eq!(bench.begun().await, 1);
}

// Which keys count.

#[tokio::test]
async fn keys_for_other_uses_and_ambiguous_keys_verify_nothing() {
    let first_with = |kid: &str, name: &str, value: Value| {
        let mut jwk = SigningKey::first().jwk(kid);
        jwk[name] = value;
        jwk
    };
    let bench = Bench::start(Answer::keys(&[
        first_with("enc", "use", json!("enc")),
        first_with("rs512", "alg", json!("RS512")),
        first_with("ops", "key_ops", json!(["sign"])),
        first_with("short", "n", json!(base64url([0xff; 128]))),
        SigningKey::first().jwk("twice"),
        SigningKey::second().jwk("twice"),
        SigningKey::second().jwk("k2"),
    ]))
    .await;
    accepted(&bench.verify(&second("k2")).await);
    assert_eq!(bench.verifier.status().borrow().kids, ["k2"]);
    for kid in ["enc", "rs512", "ops", "short", "twice"] {
        refused(&bench.verify(&first(kid)).await, Untrusted::UnknownKey);
    }
    refused(&bench.verify(&second("twice")).await, Untrusted::UnknownKey);
}

#[tokio::test]
async fn a_malformed_key_takes_no_good_key_with_it() {
    let good = SigningKey::second().jwk("k2");
    let doubled = SigningKey::first().jwk("k1").to_string().replacen('{', r#"{"kid":"k0","#, 1);
    let deep = format!(r#"{{"kid":"deep","kty":"RSA","x":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let bench = Bench::start(Answer::Body(format!(r#"{{"keys":[{doubled},{deep},7,{good}]}}"#))).await;
    assert_eq!(bench.verifier.status().borrow().kids, ["k2"]);
    accepted(&bench.verify(&second("k2")).await);
    for kid in ["k0", "k1", "deep"] {
        refused(&bench.verify(&first(kid)).await, Untrusted::UnknownKey);
    }
}

#[tokio::test]
async fn a_modulus_written_with_a_leading_zero_is_the_same_key() {
    let mut jwk = SigningKey::first().jwk("k1");
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    jwk["n"] = json!(base64url([&[0], &modulus[..]].concat()));
    let bench = Bench::start(Answer::keys(&[jwk])).await;
    accepted(&bench.verify(&first("k1")).await);
}

#[tokio::test]
async fn answers_that_are_no_keys_leave_the_old_keys_in_place() {
    let bench = Bench::start(k1()).await;
    let key = SigningKey::second().jwk("k2");
    let mut short = key.clone();
    short["n"] = json!(base64url([&[0x7f][..], &[0xff; 255]].concat()));
    let no_usable_key = "the document holds no usable RS256 key; skipped: none";
    let lies = [
        (Answer::Body("<html>".into()), "the document is not acceptable JSON: not JSON: line 1, column 1"),
        (Answer::keys(&[]), no_usable_key),
        (
            Answer::keys(&[short]),
            "the document holds no usable RS256 key; skipped: k2 (n has not between 2048 and 8192 bits)",
        ),
        (
            Answer::Body(json!({"keys": [key], "pad": "x".repeat(1 << 20)}).to_string()),
            "the document is longer than 1048576 bytes",
        ),
        (
            Answer::Body(format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#)),
            "the document is not a JWK set: it has two members named keys",
        ),
        (Answer::Redirect, "the key server redirected (302), which is not followed"),
        (Answer::Status(203), "the key server answered 203"),
        (Answer::Status(404), "the key server answered 404"),
        (Answer::Status(429), "the key server answered 429"),
        (Answer::Status(500), "the key server answered 500"),
    ];
    for (fetches, (lie, failure)) in (2..).zip(lies) {
        bench.server.set(lie);
        bench.advance_seconds(600);
        let status = bench.fetched(fetches).await;
        assert_eq!((status.last_failure.as_deref(), status.failed), (Some(failure), fetches - 1));
        accepted(&bench.verify(&first("k1")).await);
    }
    assert_eq!(bench.server.redirects_followed(), 0);
    bench.server.set(k2());
    bench.advance_seconds(600);
    let expected =
        Status { started: 12, succeeded: 2, failed: 10, last_failure: None, kids: vec!["k2".into()] };
    assert_eq!(bench.fetched(12).await, expected);
}

#[tokio::test]
async fn a_fetch_names_itself_and_asks_for_json() {
    let bench = Bench::start(k1()).await;
    let version = concat!("fastmcp-auth0/", env!("CARGO_PKG_VERSION"));
    assert_eq!(bench.server.last_header("user-agent").as_deref(), Some(version));
    assert_eq!(bench.server.last_header("accept").as_deref(), Some("application/json"));
}

#[tokio::test]
async fn a_fetch_that_hangs_is_given_up_after_its_timeout() {
    let bench = Bench::with(Answer::Hang, |options| options.fetch_timeout = Duration::from_millis(50)).await;
    let status = bench.fetched(1).await;
    assert_eq!(status.last_failure.as_deref(), Some("the key server timed out after 0.05 s"));
}

#[tokio::test]
async fn a_key_server_that_is_not_there_is_named_as_the_reason() {
    let Bench { server, clock, verifier } = Bench::start(k1()).await;
    drop(server);
    let mut status = verifier.status();
    clock.advance(Duration::from_mins(10));
    let status = within(status.wait_for(|status| status.failed == 1)).await.unwrap().clone();
    let failure = status.last_failure.unwrap();
    assert!(failure.starts_with("the key server can't be reached: "), "{failure}");
}

#[tokio::test]
async fn an_https_issuer_is_asked_over_tls_and_nothing_else() {
    let server = KeyServer::start(k1()).await;
    let mut options = Options::for_issuer(&Auth0, &server.issuer()).unwrap();
    let https = options.jwks_url.as_url().as_str().replacen("http:", "https:", 1);
    options.jwks_url = JwksUrl::new(https.parse().unwrap()).unwrap();
    let verifier = Auth0Verifier::start(&options, Arc::new(ManualClock::at(UnixMillis(0))));
    let mut status = verifier.status();
    let status = within(status.wait_for(|status| status.failed == 1)).await.unwrap().clone();
    let failure = status.last_failure.unwrap();
    assert!(failure.starts_with("the key server can't be reached: "), "{failure}");
    assert_eq!(server.requests(), 0);
}

// A cold start.

#[tokio::test]
async fn a_cold_request_is_answered_by_the_fetch_under_way() {
    let bench = Bench::cold(Answer::Hang).await;
    within(bench.server.requested(1)).await;
    assert_eq!(bench.not_ready(), "no keys yet: a fetch is under way");
    // The next fetch waits for the clock, too.
    let good = bench.verify_waiting(first("k1"), 2).await;
    let bad = bench.verify_waiting(second("k9"), 3).await;
    bench.server.set(k1());
    accepted(&within(good).await.unwrap());
    assert_eq!(bench.verifier.ready(), Ok(()));
    // The fetch may have been too early for this key: another one tells.
    refused(&within(bad).await.unwrap(), Untrusted::UnknownKey);
    assert_eq!(bench.begun().await, 2);
}

#[tokio::test]
async fn a_cold_request_waits_for_keys_3_seconds_and_no_longer() {
    let bench = Bench::cold(Answer::Stall).await;
    within(bench.server.requested(1)).await;
    let request = bench.verify_waiting(first("k1"), 2).await;
    bench.clock.advance(Duration::from_millis(2999));
    within(bench.server.requested(2)).await;
    assert!(!request.is_finished());
    bench.clock.advance(Duration::from_millis(1));
    unavailable(&within(request).await.unwrap(), 1);
}

#[tokio::test]
async fn while_there_are_no_keys_fetches_are_at_most_800_ms_apart() {
    let bench = Bench::start(Answer::Status(503)).await;
    assert_eq!(bench.not_ready(), "no keys yet: the key server answered 503");
    for (fetches, longest) in (2..).zip([100, 200, 400].into_iter().chain([800; 20])) {
        within(bench.clock.sleeping(1)).await;
        bench.clock.advance(Duration::from_millis(longest));
        bench.fetched(fetches).await;
    }
    within(bench.clock.sleeping(1)).await;
    bench.server.set(k1());
    bench.clock.advance(Duration::from_millis(800));
    accepted(&bench.verify(&first("k1")).await);
    assert_eq!(bench.verifier.ready(), Ok(()));
}

#[tokio::test]
async fn a_key_server_that_hangs_at_the_start_is_asked_again_all_the_same() {
    let bench = Bench::cold(Answer::Stall).await;
    within(bench.server.requested(1)).await;
    for (requests, longest) in (2..).zip([100, 200, 400]) {
        within(bench.clock.sleeping(1)).await;
        bench.clock.advance(Duration::from_millis(longest));
        within(bench.server.requested(requests)).await;
    }
    within(bench.clock.sleeping(1)).await;
    bench.server.set(k1());
    bench.clock.advance(Duration::from_millis(800));
    let mut status = bench.verifier.status();
    within(status.wait_for(|status| status.succeeded == 1)).await.unwrap();
    accepted(&bench.verify(&first("k1")).await);
}

#[tokio::test]
async fn without_keys_no_request_is_told_that_its_key_is_unknown() {
    let bench = Bench::with(Answer::Stall, |options| options.max_waiting = 2).await;
    within(bench.server.requested(1)).await;
    let waiting = [bench.verify_waiting(first("k1"), 2).await, bench.verify_waiting(second("k9"), 3).await];
    unavailable(&bench.verify(&second("k9")).await, 1);
    bench.advance_seconds(3);
    for request in waiting {
        unavailable(&within(request).await.unwrap(), 1);
    }
}

// Rotation and unknown keys.

#[tokio::test]
async fn a_rotated_key_is_accepted_by_the_first_request_that_uses_it() {
    for seconds in [0, 1, 5, 100] {
        let bench = Bench::start(k1()).await;
        bench.server.set(Answer::keys(&[SigningKey::first().jwk("k1"), SigningKey::second().jwk("k2")]));
        bench.advance_seconds(seconds);
        accepted(&bench.verify(&second("k2")).await);
        accepted(&bench.verify(&first("k1")).await);
        assert_eq!(bench.server.requests(), 2);
    }
}

#[tokio::test]
async fn an_unknown_key_causes_one_fetch_and_is_remembered_for_a_minute() {
    let bench = Bench::start(k1()).await;
    for seconds in [1, 0, 5, 54] {
        bench.advance_seconds(seconds);
        refused(&bench.verify(&second("k9")).await, Untrusted::UnknownKey);
        assert_eq!(bench.begun().await, 2);
    }
    bench.advance_seconds(1);
    refused(&bench.verify(&second("k9")).await, Untrusted::UnknownKey);
    assert_eq!(bench.begun().await, 3);
}

#[tokio::test]
async fn a_key_that_was_unknown_is_accepted_once_a_refresh_brings_it() {
    let bench = Bench::start(k1()).await;
    bench.advance_seconds(595);
    refused(&bench.verify(&second("k2")).await, Untrusted::UnknownKey);
    bench.server.set(k2());
    bench.advance_seconds(5);
    refused(&bench.verify(&second("k2")).await, Untrusted::UnknownKey);
    // Another unknown key makes the fetch that brings this one.
    refused(&bench.verify(&second("k9")).await, Untrusted::UnknownKey);
    accepted(&bench.verify(&second("k2")).await);
}

#[tokio::test]
async fn an_unknown_key_during_an_outage_is_not_called_unknown() {
    let bench = Bench::start(k1()).await;
    bench.server.set(Answer::Status(500));
    bench.advance_seconds(100);
    // Three requests use the budget up; the fourth gets no fetch.
    for (retry_after, fetches) in [(1, 2), (1, 3), (5, 4), (5, 4)] {
        unavailable(&bench.verify(&second("k2")).await, retry_after);
        assert_eq!(bench.begun().await, fetches);
        accepted(&bench.verify(&first("k1")).await);
    }
    bench.server.set(k2());
    bench.advance_seconds(5);
    accepted(&bench.verify(&second("k2")).await);
}

#[tokio::test]
async fn an_unknown_key_while_the_key_server_hangs_is_not_called_unknown() {
    let bench = Bench::start(k1()).await;
    bench.server.set(Answer::Hang);
    let request = bench.verify_waiting(second("k2"), 1).await;
    within(bench.server.requested(2)).await;
    bench.advance_seconds(3);
    unavailable(&within(request).await.unwrap(), 117);
    accepted(&bench.verify(&first("k1")).await);
}

#[tokio::test]
async fn a_withdrawn_key_is_unknown_even_in_an_outage() {
    let bench =
        Bench::start(Answer::keys(&[SigningKey::first().jwk("k1"), SigningKey::second().jwk("k2")])).await;
    bench.server.set(k2());
    bench.advance_seconds(600);
    bench.fetched(2).await;
    bench.server.set(Answer::Status(500));
    refused(&bench.verify(&first("k1")).await, Untrusted::UnknownKey);
    bench.advance_seconds(300);
    refused(&bench.verify(&first("k1")).await, Untrusted::UnknownKey);
    unavailable(&bench.verify(&first("k9")).await, 1);
}

// Floods.

#[tokio::test]
async fn a_flood_of_500_unknown_keys_costs_three_fetches_and_is_refused_at_once() {
    let bench = Bench::with(k1(), |options| options.remembered_tokens = 0).await;
    bench.fetched(1).await;
    bench.advance_seconds(100);
    for n in 0..500 {
        // Time stands still: whoever waited for it would wait forever.
        refused(&bench.verify(&second(&format!("unknown-{n}"))).await, Untrusted::UnknownKey);
        accepted(&bench.verify(&first("k1")).await);
    }
    assert_eq!((bench.server.requests(), bench.begun().await), (4, 4));
    // Nothing is left to do of it; the next token finds a rotated key.
    bench.advance_seconds(5);
    assert_eq!(bench.begun().await, 4);
    bench.server.set(k2());
    accepted(&bench.verify(&second("k2")).await);
    assert_eq!(bench.server.requests(), 5);
}

#[tokio::test]
async fn a_flood_of_concurrent_unknown_keys_costs_three_fetches() {
    let bench = Bench::start(k1()).await;
    bench.advance_seconds(100);
    let flood: Vec<JoinHandle<Outcome>> = (0..500)
        .map(|n| {
            let (verifier, token) = (Arc::clone(&bench.verifier), second(&format!("unknown-{n}")));
            tokio::spawn(async move { verifier.verify(&BearerToken::new(&token).unwrap()).await })
        })
        .collect();
    for request in flood {
        refused(&within(request).await.unwrap(), Untrusted::UnknownKey);
    }
    assert!(bench.server.requests() <= 4, "{}", bench.server.requests());
}

#[tokio::test]
async fn while_the_key_server_hangs_a_flood_keeps_nobody_with_a_known_key_waiting() {
    let bench = Bench::with(k1(), |options| options.remembered_tokens = 0).await;
    bench.fetched(1).await;
    bench.advance_seconds(100);
    bench.server.set(Answer::Hang);
    let mut waiting = vec![bench.verify_waiting(second("k2"), 1).await];
    within(bench.server.requested(2)).await;
    for n in 2..=64 {
        waiting.push(bench.verify_waiting(second(&format!("unknown-{n}")), n).await);
        accepted(&bench.verify(&first("k1")).await);
    }
    for n in 0..300 {
        refused(&bench.verify(&second(&format!("too-many-{n}"))).await, Untrusted::UnknownKey);
        accepted(&bench.verify(&first("k1")).await);
    }
    // Whoever waited gets the key that the fetch brings.
    bench.server.set(Answer::keys(&[SigningKey::first().jwk("k1"), SigningKey::second().jwk("k2")]));
    let mut outcomes = Vec::new();
    for request in waiting {
        outcomes.push(within(request).await.unwrap());
    }
    accepted(&outcomes[0]);
    outcomes[1..].iter().for_each(|outcome| refused(outcome, Untrusted::UnknownKey));
    accepted(&bench.verify(&first("k1")).await);
}

#[tokio::test]
async fn once_the_budget_is_gone_a_request_waits_less_than_a_second() {
    let bench = Bench::start(k1()).await;
    refused(&bench.verify(&second("k8")).await, Untrusted::UnknownKey);
    bench.server.set(Answer::Hang);
    let first_to_wait = bench.verify_waiting(second("k9"), 1).await;
    within(bench.server.requested(3)).await;
    let late = bench.verify_waiting(second("k10"), 2).await;
    bench.clock.advance(Duration::from_millis(750));
    // The key server hangs, so that the token may be good.
    unavailable(&within(late).await.unwrap(), 120);
    assert!(!first_to_wait.is_finished());
}

#[tokio::test]
async fn requests_that_need_a_new_key_share_one_fetch() {
    let bench = Bench::start(k1()).await;
    bench.server.set(Answer::Hang);
    let mut requests = vec![bench.verify_waiting(second("k2"), 1).await];
    within(bench.server.requested(2)).await;
    for sleepers in 2..=50 {
        requests.push(bench.verify_waiting(second("k2"), sleepers).await);
    }
    accepted(&bench.verify(&first("k1")).await);
    bench.server.set(k2());
    for request in requests {
        accepted(&within(request).await.unwrap());
    }
    assert_eq!((bench.server.requests(), bench.begun().await), (2, 2));
}

#[tokio::test]
async fn what_the_issuer_sends_is_told_in_one_short_line() {
    let odd = |n: usize| json!({"kty": "EC", "kid": format!("{n}\n{}", "x".repeat(1000))});
    let bench = Bench::start(Answer::keys(&(0..100).map(odd).collect::<Vec<_>>())).await;
    let reason = bench.not_ready();
    assert!(reason.contains("and 92 more") && !reason.contains('\n') && reason.len() < 2000, "{reason}");
}

// Refresh, revocation and outage.

#[tokio::test]
async fn a_revoked_key_is_refused_after_the_next_refresh() {
    let both = [SigningKey::first().jwk("k1"), SigningKey::second().jwk("k2")];
    let bench = Bench::start(Answer::keys(&both)).await;
    bench.server.set(k2());
    bench.advance_seconds(599);
    assert_eq!(bench.begun().await, 1);
    accepted(&bench.verify(&first("k1")).await);
    bench.advance_seconds(1);
    bench.fetched(2).await;
    refused(&bench.verify(&first("k1")).await, Untrusted::UnknownKey);
    accepted(&bench.verify(&second("k2")).await);
}

#[tokio::test]
async fn during_an_outage_fetches_are_retried_after_growing_waits() {
    let bench = Bench::start(k1()).await;
    bench.server.set(Answer::Status(500));
    bench.advance_seconds(600);
    bench.fetched(2).await;
    for (fetches, longest) in (2..).zip([10, 20, 40, 80, 160, 320, 600, 600]) {
        within(bench.clock.sleeping(1)).await;
        let shortest = Duration::from_secs(longest) / 2;
        bench.clock.advance(shortest.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(bench.begun().await, fetches, "not within {shortest:?}");
        bench.clock.advance(shortest + Duration::from_millis(1));
        bench.fetched(fetches + 1).await;
    }
    accepted(&bench.verify(&first("k1")).await);
}

#[tokio::test]
async fn keys_are_kept_through_an_outage_of_a_day_and_not_for_longer() {
    let bench = Bench::start(k1()).await;
    bench.server.set(Answer::Status(500));
    bench.advance_seconds(24 * 60 * 60);
    bench.fetched(2).await;
    accepted(&bench.verify(&first("k1")).await);
    assert_eq!(bench.verifier.ready(), Ok(()));

    bench.advance_seconds(1);
    assert_eq!(bench.not_ready(), "the keys are older than 86400 s: the key server answered 500");
    unavailable(&bench.verify(&first("k1")).await, 1);

    bench.server.set(k1());
    accepted(&bench.verify(&first("k1")).await);
    assert_eq!(bench.verifier.ready(), Ok(()));
}

#[tokio::test]
async fn a_dropped_verifier_fetches_no_more() {
    let Bench { server, clock, verifier } = Bench::start(k1()).await;
    within(clock.sleeping(1)).await;
    let mut status = verifier.status();
    drop(verifier);
    // The status ends with the task and the keys it belonged to.
    while within(status.changed()).await.is_ok() {}
    clock.advance(Duration::from_mins(10));
    assert_eq!((server.requests(), status.borrow().started), (1, 1));
}

// What is remembered of tokens.

/// The same claims, not equal ones: nothing was proved or read again.
fn same(one: &Outcome, other: &Outcome) -> bool {
    matches!((one, other), (Ok(one), Ok(other)) if Arc::ptr_eq(one, other))
}

#[tokio::test]
async fn a_token_is_proved_once_until_the_key_set_changes() {
    let bench = Bench::start(k1()).await;
    let proved = bench.verify(&first("k1")).await;
    assert!(same(&proved, &bench.verify(&first("k1")).await));
    bench.advance_seconds(600);
    bench.fetched(2).await;
    assert!(same(&proved, &bench.verify(&first("k1")).await), "the same keys again");
    bench.server.set(Answer::keys(&[SigningKey::first().jwk("k1"), SigningKey::second().jwk("k2")]));
    bench.advance_seconds(600);
    bench.fetched(3).await;
    let again = bench.verify(&first("k1")).await;
    accepted(&again);
    assert!(!same(&proved, &again), "a set with other keys begins without proofs");
}

#[tokio::test]
async fn a_key_that_changes_under_its_name_takes_its_tokens_along() {
    let bench = Bench::start(k1()).await;
    accepted(&bench.verify(&first("k1")).await);
    bench.server.set(Answer::keys(&[SigningKey::second().jwk("k1")]));
    bench.advance_seconds(600);
    bench.fetched(2).await;
    refused(&bench.verify(&first("k1")).await, Untrusted::Signature);
}

#[tokio::test]
async fn a_token_that_was_not_proved_is_not_remembered() {
    let bench = Bench::start(k1()).await;
    for _ in 0..2 {
        refused(&bench.verify(&second("k1")).await, Untrusted::Signature);
    }
    // The signature that was missing does not make the other one good.
    accepted(&bench.verify(&first("k1")).await);
    refused(&bench.verify(&second("k1")).await, Untrusted::Signature);
}

#[tokio::test]
async fn with_no_room_every_token_is_proved_anew() {
    let bench = Bench::with(k1(), |options| options.remembered_tokens = 0).await;
    bench.fetched(1).await;
    let proved = bench.verify(&first("k1")).await;
    assert!(!same(&proved, &bench.verify(&first("k1")).await));
}
