//! A downstream API: orders over HTTP, for access tokens of its own. It checks them by this project's crates, as a resource server:
//! signature, issuer, audience, expiry and scope; and it says who acts for the caller. Try it: `cargo run --example orders_api`
//! ([docs/on-behalf-of.md](../../docs/on-behalf-of.md)).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use auth0_verifier::{Auth0, Auth0Verifier};
use bytes::Bytes;
use domain::{
    BearerToken, Clock, Principal, Rejection, Scope, ScopeAuthority, TokenPolicy, TokenVerifier, VerifyError,
};
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jwks_verifier::{IdentityProvider as _, Options};
use serde_json::json;
use system_clock::SystemClock;
use tokio::net::TcpListener;

/// The API's identifier at the tenant.
pub const AUDIENCE: &str = "https://orders.example.com/";
/// What reading orders takes.
const SCOPE: &str = "orders:read";
/// Where `dev` has its tenant.
const ISSUER: &str = "http://127.0.0.1:3002/";

/// The API.
pub struct OrdersApi {
    verifier: Auth0Verifier,
    policy: TokenPolicy,
    audience: Arc<str>,
    scope: Scope,
    clock: SystemClock,
}

impl OrdersApi {
    /// Creates the API for the tokens of this issuer. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the issuer is none.
    pub fn new(issuer: &str) -> anyhow::Result<Self> {
        let options = Options::for_issuer(&Auth0, &issuer.parse()?)?;
        let audience: Arc<str> = AUDIENCE.into();
        Ok(Self {
            verifier: Auth0Verifier::for_provider(Auth0, &options, Arc::new(SystemClock::start())),
            policy: TokenPolicy {
                token_types: Auth0.token_types(),
                issuers: vec![issuer.to_owned()],
                resources: vec![Arc::clone(&audience)],
                additional_audiences: Vec::new(),
                leeway: Duration::from_secs(30),
                authority: ScopeAuthority::Scope,
                hierarchy: Arc::default(),
            },
            audience,
            scope: Scope::parse(SCOPE)?,
            clock: SystemClock::start(),
        })
    }

    /// Serves a socket.
    ///
    /// # Errors
    /// When the socket is gone.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        let api = Arc::new(self);
        loop {
            let (socket, _) = listener.accept().await?;
            let api = Arc::clone(&api);
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let api = Arc::clone(&api);
                async move { Ok::<_, Infallible>(api.answer(request.headers()).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    }

    async fn answer(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        match self.caller(headers).await {
            Ok(caller) if caller.holds(&self.scope) => {
                let actors: Vec<&str> = caller.actors().iter().map(|actor| actor.subject.as_str()).collect();
                let orders = json!([{"id": 7, "item": "a kettle", "of": caller.subject()}]);
                respond(
                    StatusCode::OK,
                    None,
                    &json!({"orders": orders, "client": caller.client(), "actors": actors}),
                )
            }
            Ok(_) => respond(StatusCode::FORBIDDEN, Some("insufficient_scope"), &json!({"needed": SCOPE})),
            Err(Some(rejection)) => {
                respond(StatusCode::UNAUTHORIZED, Some("invalid_token"), &json!({"reason": rejection.code()}))
            }
            Err(None) => respond(StatusCode::UNAUTHORIZED, None, &json!({"reason": "no usable token"})),
        }
    }

    /// Returns who calls; the error has the reason, unless there is no token, or it can't be judged.
    async fn caller(&self, headers: &HeaderMap) -> Result<Principal, Option<Rejection>> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(None)?;
        let token = header.strip_prefix("Bearer ").ok_or(None)?;
        let token = BearerToken::new(token).map_err(|error| Some(error.into()))?;
        let claims = self.verifier.verify(&token).await.map_err(|error| match error {
            VerifyError::Untrusted(reason) => Some(reason.into()),
            VerifyError::KeysUnavailable { .. } => None,
        })?;
        Ok(self.policy.admit(&claims, &self.audience, self.clock.now().seconds())?)
    }
}

fn respond(status: StatusCode, error: Option<&str>, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        let challenge = error.map_or("Bearer".to_owned(), |error| format!("Bearer error=\"{error}\""));
        headers.extend(challenge.parse().ok().map(|challenge| (WWW_AUTHENTICATE, challenge)));
    }
    response
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:4000").await?;
    OrdersApi::new(ISSUER)?.serve(listener).await
}
