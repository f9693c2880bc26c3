//! A second identity provider: one small room, and one line that wires it. A generic issuer of RFC 9068 tokens: no `azp` and
//! no `permissions`, scopes as an array `scp` or as text, no slash at the end of the issuer, keys at a path of its own.

use std::sync::Arc;

use domain::{Claims, ScopeSet, Untrusted};
use fastmcp_auth0::{Ports, Settings, Sources, wiring};
use jwks_verifier::IdentityProvider;
use jwks_verifier::claims::{self, OwnClaims, optional, texts};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::key_server::{Answer, KeyServer, SigningKey};

// The room.

#[derive(Debug)]
struct Generic;

#[derive(Default)]
struct GenericClaims {
    scp: Option<Value>,
}

impl OwnClaims for GenericClaims {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Value>> {
        (name == "scp").then_some(&mut self.scp)
    }
}

impl IdentityProvider for Generic {
    fn jwks_url(&self, issuer: &Url) -> Url {
        issuer.join("/oauth2/keys").unwrap()
    }

    fn claims(&self, payload: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted> {
        let (mut claims, own) = claims::read::<GenericClaims>(payload, token_type)?;
        if let Some(scopes) = optional("scp", own.scp, texts)? {
            claims.scope = ScopeSet::granted_by(scopes.iter().map(String::as_str));
        }
        Ok(claims)
    }

    fn metadata(&self, issuer: &str) -> Map<String, Value> {
        let endpoint = |path: &str| Value::from(format!("{issuer}{path}"));
        let endpoints = [
            ("issuer", issuer.into()),
            ("authorization_endpoint", endpoint("/oauth2/authorize")),
            ("token_endpoint", endpoint("/oauth2/token")),
            ("jwks_uri", endpoint("/oauth2/keys")),
            ("response_types_supported", json!(["code"])),
        ];
        endpoints.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}

// What it is for.

const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// A server that trusts the provider, wired as `serve` wires it.
struct Deployment {
    keys: KeyServer,
    endpoint: String,
    server: tokio::task::JoinHandle<hyper_transport::Drained>,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How the provider writes the issuer: without a slash.
fn issuer(keys: &KeyServer) -> String {
    keys.issuer().as_str().trim_end_matches('/').to_owned()
}

fn settings(issuer: &str) -> Settings {
    let sources = Sources::defaults()
        .set("test", "auth0.issuer", issuer)
        .set("test", "auth0.audience", AUDIENCE)
        // However slow the machine: requests wait for the first keys.
        .set("test", "keys.wait_seconds", 60);
    // The one line.
    Settings::load(sources.identity_provider(Arc::new(Generic)), &wiring::shipped().catalog().unwrap())
        .unwrap()
}

impl Deployment {
    async fn start() -> Self {
        let keys = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let settings = settings(&issuer(&keys));
        let server =
            wiring::server(listener, &settings, Ports::real(&settings, wiring::shipped()).unwrap()).unwrap();
        let server = tokio::spawn(server.run(std::future::pending()));
        Self { keys, endpoint, server }
    }

    /// Claims that the server accepts, with others instead or besides.
    fn claims(&self, others: &Value) -> Value {
        let mut claims = json!({
            "iss": issuer(&self.keys), "aud": AUDIENCE, "sub": "user-1", "client_id": "client-1", "exp": 4_000_000_000_u64,
        });
        claims.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        claims
    }

    /// Calls a tool, and returns the status and the text of the answer.
    async fn call(&self, tool: &str, token: &str) -> (u16, String) {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}});
        let request = reqwest::Client::new().post(format!("{}/mcp", self.endpoint)).bearer_auth(token);
        let request = request.header("accept", "application/json, text/event-stream");
        let request =
            request.header("content-type", "application/json").header("mcp-protocol-version", "2025-11-25");
        let answer = request.body(call.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn call_with(&self, tool: &str, claims: &Value) -> (u16, String) {
        self.call(tool, &SigningKey::first().token("k1", &self.claims(claims))).await
    }
}

#[tokio::test]
async fn its_tokens_are_admitted_and_their_scopes_judged() {
    let server = Deployment::start().await;
    for scopes in [json!({"scp": ["tool:whoami", "x"]}), json!({"scope": "tool:whoami x"})] {
        let (status, text) = server.call_with("whoami", &scopes).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("user-1") && text.contains("client-1"), "{text}");
        let (status, text) = server.call_with("greet", &scopes).await;
        assert_eq!(status, 403, "{text}");
        assert!(text.contains("insufficient_scope"), "{text}");
    }
}

#[tokio::test]
async fn what_it_does_not_issue_is_refused() {
    let server = Deployment::start().await;
    let refused = |answer: (u16, String), reason: &str| {
        assert_eq!(answer.0, 401, "{}", answer.1);
        assert!(answer.1.contains(reason), "{} lacks {reason}", answer.1);
    };
    refused(server.call_with("whoami", &json!({"scp": "tool:whoami"})).await, "invalid_claim");
    refused(server.call_with("whoami", &json!({"iss": server.keys.issuer().as_str()})).await, "wrong_issuer");
    // `azp` is another provider's claim.
    refused(server.call_with("whoami", &json!({"client_id": null, "azp": "client-1"})).await, "no_client");
    // So is this type.
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}).to_string();
    let claims = server.claims(&json!({"scp": ["tool:whoami"]})).to_string();
    refused(server.call("whoami", &SigningKey::first().sign(&header, &claims)).await, "wrong_token_type");
    let stranger = SigningKey::second().token("k1", &server.claims(&json!({"scp": ["tool:whoami"]})));
    refused(server.call("whoami", &stranger).await, "bad_signature");
}

#[tokio::test]
async fn clients_are_sent_to_its_endpoints() {
    let server = Deployment::start().await;
    let get = async |path: &str| -> Value {
        let answer = reqwest::get(format!("{}{path}", server.endpoint)).await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    let issuer = issuer(&server.keys);
    let resource = get("/.well-known/oauth-protected-resource/mcp").await;
    assert_eq!(resource["authorization_servers"], json!([issuer]));
    let metadata = get("/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata["issuer"], issuer);
    assert_eq!(metadata["token_endpoint"], format!("{issuer}/oauth2/token"));
    assert_eq!(metadata.get("registration_endpoint"), None);
}

#[test]
fn its_rules_and_terms_are_in_the_messages_to_operators() {
    let problems = |key: &str, value: config::ValueKind| {
        let sources = Sources::defaults()
            .set("test", "auth0.issuer", "https://issuer.test")
            .set("test", "auth0.audience", AUDIENCE)
            .set("test", key, value);
        let settings = Settings::load(
            sources.identity_provider(Arc::new(Generic)),
            &wiring::shipped().catalog().unwrap(),
        );
        settings.unwrap_err().to_string()
    };
    let issuer = problems("auth0.issuer", "https://issuer.test?x".into());
    assert!(issuer.contains("such as https://login.example.com, not \"https://issuer.test?x\""), "{issuer}");
    let audience = problems("auth0.audience", "".into());
    assert!(audience.contains("AUTH0_AUDIENCE is your API's identifier at the issuer"), "{audience}");
    let refresh = problems("scopes.login", vec!["offline_access"].into());
    assert!(refresh.contains("permit refresh tokens at the issuer instead"), "{refresh}");
    assert_eq!(settings("https://issuer.test").auth0.issuer, "https://issuer.test");
    assert_eq!(settings("https://issuer.test/").auth0.issuer, "https://issuer.test/");
}
