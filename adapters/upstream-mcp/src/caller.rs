//! What an upstream is told of the caller: nothing, a signed JWT of a minute's life, or plain fields beside a shared secret.

use domain::{DownstreamToken, Principal, UnixSeconds};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rmcp::model::RequestMetaObject;
use serde::Serialize;
use serde_json::{Value, json};

use crate::options::CallerIdentity;

/// The header field that has the JWT.
const JWT_FIELD: HeaderName = HeaderName::from_static("fastmcp-auth0-caller");
const SECRET_FIELD: HeaderName = HeaderName::from_static("fastmcp-auth0-secret");
const SUBJECT_FIELD: HeaderName = HeaderName::from_static("fastmcp-auth0-subject");
const CLIENT_FIELD: HeaderName = HeaderName::from_static("fastmcp-auth0-client");
const SCOPE_FIELD: HeaderName = HeaderName::from_static("fastmcp-auth0-scope");
/// The member of a request's `_meta` that has the same over stdio, which has no header fields.
const META_MEMBER: &str = "fastmcp-auth0/caller";
/// The life of a JWT, in seconds.
const LIFE: i64 = 60;

/// The claims of the JWT (RFC 7519; `client_id` and `scope` as in RFC 9068).
#[derive(Serialize)]
struct Claims<'a> {
    /// The protected resource that the caller's token was for: this server.
    iss: &'a str,
    /// The upstream's name.
    aud: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    scope: String,
    iat: i64,
    exp: i64,
}

/// What goes with a request.
#[derive(Default)]
pub(crate) struct Told {
    /// Over HTTP.
    pub(crate) headers: HeaderMap,
    /// Over stdio.
    pub(crate) meta: RequestMetaObject,
}

impl CallerIdentity {
    /// Returns what a request for this caller tells the upstream of this name.
    pub(crate) fn tell(&self, upstream: &str, principal: &Principal, now: UnixSeconds) -> Told {
        match self {
            Self::None => Told::default(),
            Self::Jwt(secret) => {
                let claims = claims(upstream, principal, now);
                let key = EncodingKey::from_secret(secret.expose().as_bytes());
                match jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key) {
                    Ok(jwt) => Told::of([(JWT_FIELD, jwt.clone())], json!({"jwt": jwt})),
                    // The upstream will refuse a request without it.
                    Err(error) => {
                        tracing::error!(upstream, "the caller's identity can't be signed: {error}");
                        Told::default()
                    }
                }
            }
            Self::Fields(secret) => {
                let Claims { sub, client_id, scope, .. } = claims(upstream, principal, now);
                let client = client_id.unwrap_or_default().to_owned();
                let meta = json!({
                    "secret": secret.expose(), "subject": sub, "client": client, "scope": scope,
                });
                let fields = [
                    (SECRET_FIELD, secret.expose().to_owned()),
                    (SUBJECT_FIELD, sub.to_owned()),
                    (CLIENT_FIELD, client),
                    (SCOPE_FIELD, scope),
                ];
                Told::of(fields, meta)
            }
        }
    }
}

impl Told {
    /// Adds a token for the upstream, in the place of what the configuration has there.
    pub(crate) fn authorize(&mut self, token: &DownstreamToken) {
        // A token's grammar fits a header field.
        if let Ok(mut value) = HeaderValue::from_str(&token.authorization()) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
    }

    fn of(fields: impl IntoIterator<Item = (HeaderName, String)>, meta: Value) -> Self {
        let mut told = Self::default();
        for (name, text) in fields {
            // A field that can't carry a text is empty: what is missing is refused, what is mistaken is not.
            let value = HeaderValue::from_bytes(text.as_bytes());
            let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
            value.set_sensitive(true);
            told.headers.insert(name, value);
        }
        told.meta.0.0.insert(META_MEMBER.to_owned(), meta);
        told
    }
}

fn claims<'a>(upstream: &'a str, principal: &'a Principal, now: UnixSeconds) -> Claims<'a> {
    Claims {
        iss: principal.resource(),
        aud: upstream,
        sub: principal.subject(),
        client_id: principal.client_id(),
        scope: principal.scopes().to_string(),
        iat: now.0,
        exp: now.0.saturating_add(LIFE),
    }
}
