//! The local tenant's grant `token-exchange`, as Auth0 documents its on-behalf-of exchange.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local_tenant::{Client, Fault, GrantType, LocalTenant, PublicKey, Secret, TokenRequest};
use serde_json::{Value, json};

use crate::local_tenant::{Answer, opened, published};
use crate::oauth::{encoded, post_form};
use crate::on_behalf_of::{API, CLIENT, SECRET, options, payload};

const ORDERS: &str = "https://orders.example.com/";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A new RSA key: the private one, and the public one, in PEM.
pub(crate) fn key_pair() -> (String, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let pem = |label: &str, der: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    };
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}

fn token(tenant: &LocalTenant, audience: Option<&str>) -> String {
    let request = TokenRequest { user: "admin".into(), scope: None, audience: audience.map(Into::into) };
    tenant.issue_token(&request).unwrap().access_token
}

/// Exchanges a token by a good request with these changes; an empty value leaves a parameter out.
async fn exchange(tenant: &LocalTenant, subject_token: &str, changes: &[(&str, &str)]) -> Answer {
    let good = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("subject_token", subject_token),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", ACCESS_TOKEN),
        ("audience", ORDERS),
        ("scope", "orders:read"),
    ];
    let kept = good.into_iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let form: Vec<(&str, &str)> = kept.chain(changes.iter().copied()).collect();
    post_form(tenant, "/oauth/token", &encoded(&form), "").await
}

async fn own_tenant() -> LocalTenant {
    let mut options = options();
    let client = |id: &str, change: &dyn Fn(&mut Client)| {
        let mut client = options.clients[0].clone();
        id.clone_into(&mut client.id);
        change(&mut client);
        client
    };
    let others = [
        client("machine", &|client| {
            client.on_behalf_of = false;
            client.grant_types = vec![GrantType::ClientCredentials];
        }),
        client("public", &|client| {
            client.on_behalf_of = false;
            client.secret = None;
        }),
    ];
    options.clients.extend(others);
    LocalTenant::start(options).await.unwrap()
}

#[tokio::test]
async fn a_users_token_becomes_one_for_another_api_by_which_the_client_acts() {
    let tenant = own_tenant().await;
    let subject = token(&tenant, None);
    let answer = exchange(&tenant, &subject, &[]).await;
    let answer_json = answer.json();
    assert_eq!(answer.status, 200, "{answer_json}");
    let mut members: Vec<&str> = answer_json.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    // The scope is named where it is another one than was asked for.
    assert_eq!(members, ["access_token", "expires_in", "issued_token_type", "token_type"]);
    assert_eq!(
        (&answer_json["issued_token_type"], &answer_json["token_type"]),
        (&json!(ACCESS_TOKEN), &json!("Bearer"))
    );
    let keys = published(tenant.port()).await;
    let (_, claims) = opened(answer_json["access_token"].as_str().unwrap(), &keys).unwrap();
    assert_eq!(claims["sub"], "auth0|local-admin");
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!(ORDERS), &json!("orders:read")));
    assert_eq!(claims["client_id"], CLIENT);
    assert_eq!(claims["act"], json!({"sub": CLIENT, "act": {"sub": "local-tenant-cli"}}));
}

#[tokio::test]
async fn scopes_are_those_of_the_users_roles_and_named_where_they_are_others() {
    let tenant = own_tenant().await;
    let subject = token(&tenant, None);
    for scope in ["orders:read orders:write", ""] {
        let answer = exchange(&tenant, &subject, &[("scope", scope)]).await.json();
        assert_eq!(answer["scope"], "orders:read", "{scope:?}: {answer}");
    }
    let refused = exchange(&tenant, &subject, &[("scope", "orders:write")]).await;
    assert_eq!(refused.error(), (403, "access_denied".into()));
}

#[tokio::test]
async fn what_auth0_would_refuse_is_refused_with_its_status() {
    let tenant = own_tenant().await;
    let subject = token(&tenant, None);
    let of_orders = token(&tenant, Some(ORDERS));
    let forged = format!("{}x", &subject[..subject.len() - 1]);
    let machine = tenant_machine_token(&tenant).await;
    for (changes, status, code) in [
        (&[("subject_token", "")][..], 400, "invalid_request"),
        (&[("subject_token_type", "")], 400, "invalid_request"),
        (&[("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")], 400, "invalid_request"),
        (&[("requested_token_type", "")], 400, "invalid_request"),
        (
            &[("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")],
            400,
            "invalid_request",
        ),
        (&[("audience", "")], 400, "invalid_request"),
        (&[("audience", "https://nowhere.test/")], 403, "invalid_target"),
        (&[("client_secret", "wrong")], 401, "invalid_client"),
        (&[("client_secret", "")], 401, "invalid_client"),
        (&[("client_id", "nobody")], 401, "invalid_client"),
        (&[("client_id", "machine")], 403, "unauthorized_client"),
        (&[("client_id", "public"), ("client_secret", "")], 403, "unauthorized_client"),
        (&[("subject_token", &of_orders)], 401, "invalid_grant"),
        (&[("subject_token", &forged)], 401, "invalid_grant"),
        (&[("subject_token", "opaque")], 401, "invalid_grant"),
        (&[("subject_token", &machine)], 403, "access_denied"),
        // The API of the client itself: it has no grant for that.
        (&[("audience", API)], 403, "unauthorized_client"),
    ] {
        let answer = exchange(&tenant, &subject, changes).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{changes:?}: {}", answer.text);
        for secret in [subject.as_str(), SECRET] {
            assert!(!answer.text.contains(secret), "{changes:?}");
        }
    }
    tenant.inject(&Fault::Clock { ahead_seconds: 48 * 3600 });
    assert_eq!(
        exchange(&tenant, &subject, &[]).await.error(),
        (401, "invalid_grant".into()),
        "it has expired"
    );
}

/// Returns a token of a client of its own, for the server's API.
async fn tenant_machine_token(tenant: &LocalTenant) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "machine"),
        ("client_secret", SECRET),
        ("audience", API),
    ];
    let answer = post_form(tenant, "/oauth/token", &encoded(&form), "").await.json();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Each API's client exchanges the token of the one before, until there are five actors.
#[tokio::test]
async fn a_chain_of_more_than_five_actors_is_refused() {
    let tenant = own_tenant().await;
    let mut subject = token(&tenant, None);
    let mut audience = API.to_owned();
    let management = Management::of(&tenant).await;
    for number in 2..=6_usize {
        let next = format!("https://api{number}.test/");
        management.add_api(&next).await;
        let (id, secret) = management.add_client(&audience, &next).await;
        let changes = [
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
            ("audience", next.as_str()),
            ("scope", ""),
        ];
        let answer = exchange(&tenant, &subject, &changes).await;
        if number == 6 {
            assert_eq!(answer.error(), (400, "invalid_request".into()), "{}", answer.text);
            assert!(answer.text.contains("depth exceeds the maximum allowed limit"), "{}", answer.text);
            return;
        }
        assert_eq!(answer.status, 200, "{number}: {}", answer.text);
        subject = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(depth(&payload(&subject)["act"]), number);
        audience = next;
    }
}

fn depth(act: &Value) -> usize {
    if act.is_object() { 1 + depth(&act["act"]) } else { 0 }
}

/// The Management API, as whoever sets a client up uses it.
struct Management<'a> {
    tenant: &'a LocalTenant,
    token: String,
}

impl<'a> Management<'a> {
    async fn of(tenant: &'a LocalTenant) -> Self {
        let (id, secret) = tenant.management_client();
        let audience = format!("{}api/v2/", tenant.issuer());
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret.expose()),
            ("audience", &audience),
        ];
        let answer = post_form(tenant, "/oauth/token", &encoded(&form), "").await.json();
        Self { tenant, token: answer["access_token"].as_str().unwrap().to_owned() }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let headers = format!("content-type: application/json\r\nauthorization: Bearer {}\r\n", self.token);
        let path = format!("/api/v2/{path}");
        let answer =
            crate::local_tenant::send(self.tenant.port(), "POST", &path, &headers, &body.to_string()).await;
        assert_eq!(answer.status, 201, "{path} {}", answer.text);
        answer.json()
    }

    async fn add_api(&self, identifier: &str) {
        self.post("resource-servers", &json!({"name": identifier, "identifier": identifier})).await;
    }

    /// Adds the client of an API, with a grant for another one, and returns its id and secret.
    async fn add_client(&self, api: &str, audience: &str) -> (String, String) {
        let client = self
            .post(
                "clients",
                &json!({
                    "name": api,
                    "app_type": "resource_server",
                    "resource_server_identifier": api,
                    "token_exchange": {"allow_any_profile_of_type": ["on_behalf_of_token_exchange"]},
                }),
            )
            .await;
        let text = |name: &str| client[name].as_str().unwrap().to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        let grant = json!({"client_id": id, "audience": audience, "scope": [], "subject_type": "user"});
        self.post("client-grants", &grant).await;
        (id, secret)
    }
}

/// A client that is made at the Management API lacks one of what it needs.
#[tokio::test]
async fn a_client_takes_its_api_the_permission_and_a_grant() {
    let tenant = own_tenant().await;
    let management = Management::of(&tenant).await;
    let subject = token(&tenant, None);
    let allowed = json!({"allow_any_profile_of_type": ["on_behalf_of_token_exchange"]});
    for (body, expected) in [
        (json!({"app_type": "resource_server", "resource_server_identifier": API}), "token_exchange"),
        (json!({"app_type": "resource_server", "token_exchange": allowed}), "resource_server_identifier"),
        (
            json!({"app_type": "non_interactive", "resource_server_identifier": API, "token_exchange": allowed}),
            "app_type resource_server",
        ),
        (
            json!({"app_type": "resource_server", "resource_server_identifier": API, "token_exchange": allowed}),
            "is not authorized to access resource server",
        ),
        (
            json!({
                "app_type": "resource_server", "resource_server_identifier": API, "token_exchange": allowed,
                "token_endpoint_auth_method": "none",
            }),
            "a client that proves nothing may not exchange tokens",
        ),
    ] {
        let mut body = body;
        body["name"] = "client".into();
        let client = management.post("clients", &body).await;
        let text = |name: &str| client[name].as_str().unwrap_or_default();
        let changes = [("client_id", text("client_id")), ("client_secret", text("client_secret"))];
        let answer = exchange(&tenant, &subject, &changes).await;
        assert_eq!(answer.status, 403, "{}", answer.text);
        assert!(answer.text.contains(expected), "{expected}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_client_with_a_key_is_let_in_by_good_assertions_alone() {
    let (private, public) = key_pair();
    let mut options = options();
    options.clients[0].secret = None;
    options.clients[0].public_key = PublicKey::from_pem(&public);
    let other = Client {
        id: "secretive".into(),
        secret: Some(Secret::new(SECRET)),
        public_key: None,
        ..options.clients[0].clone()
    };
    options.clients.push(other);
    let tenant = LocalTenant::start(options).await.unwrap();
    let subject = token(&tenant, None);
    let now = now();
    let good = json!({
        "iss": CLIENT, "sub": CLIENT, "aud": tenant.issuer(), "jti": "1", "iat": now, "exp": now + 60,
    });
    let send = async |assertion: &str, changes: &[(&str, &str)]| {
        let mut all = vec![
            ("client_secret", ""),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ];
        all.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        all.extend(changes);
        exchange(&tenant, &subject, &all).await
    };
    let sign = |claims: &Value| signed(&private, &json!({"alg": "RS256"}), claims);
    assert_eq!(send(&sign(&good), &[]).await.status, 200);
    assert_eq!(send(&sign(&good), &[("client_id", "")]).await.status, 200, "the assertion names it");
    for (name, bad) in [
        ("iss", json!("other")),
        ("sub", json!("other")),
        ("aud", json!("https://other.example/")),
        ("aud", json!("")),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 3600)),
        ("jti", json!(null)),
        ("jti", json!("")),
    ] {
        let mut claims = good.clone();
        claims[name] = bad;
        let answer = send(&sign(&claims), &[]).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()), "{name}: {}", answer.text);
    }
    let (another, _) = key_pair();
    let forged = signed(&another, &json!({"alg": "RS256"}), &good);
    let unsigned = signed(&private, &json!({"alg": "none"}), &good);
    for bad in [forged.as_str(), &unsigned, "a.b.c", "a"] {
        assert_eq!(send(bad, &[]).await.error(), (401, "invalid_client".into()), "{bad}");
    }
    // Neither without an assertion, nor in two ways, nor of another type, nor another client by it.
    assert_eq!(send(&sign(&good), &[("client_assertion", "")]).await.error().0, 401);
    assert_eq!(
        send(&sign(&good), &[("client_secret", SECRET)]).await.error(),
        (400, "invalid_request".into())
    );
    assert_eq!(
        send(&sign(&good), &[("client_assertion_type", "x")]).await.error(),
        (400, "invalid_request".into())
    );
    assert_eq!(
        send(&sign(&good), &[("client_id", "secretive")]).await.error(),
        (401, "invalid_client".into())
    );
}

fn now() -> i64 {
    use domain::Clock as _;
    system_clock::SystemClock::start().now().seconds().0
}

/// Returns a JWT that is signed with RS256, whatever its header says.
fn signed(pem: &str, header: &Value, claims: &Value) -> String {
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = KeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = aws_lc_rs::rand::SystemRandom::new();
    pair.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
