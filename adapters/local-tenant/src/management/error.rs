//! Refused requests, with Auth0's error object. The codes of conflicts are not documented by Auth0; its statuses are.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::http::problem::Problem;
use crate::http::response::{self, NO_STORE};

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    code: Option<&'static str>,
    /// Whether the rest of the request is not read.
    ends_connection: bool,
}

/// What there can be none of with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entity {
    Api,
    ClientGrant,
    Client,
    Connection,
    Role,
    User,
    Organization,
    Rule,
    Hook,
}

impl Entity {
    const fn facts(self) -> (&'static str, &'static str) {
        match self {
            Self::Api => ("inexistent_resource_server", "The resource server does not exist"),
            Self::ClientGrant => ("inexistent_client_grant", "The client grant does not exist"),
            Self::Client => ("inexistent_client", "The client does not exist"),
            Self::Connection => ("inexistent_connection", "The connection does not exist"),
            Self::Role => ("inexistent_role", "The role does not exist"),
            Self::User => ("inexistent_user", "The user does not exist."),
            Self::Organization => ("inexistent_organization", "The organization does not exist"),
            Self::Rule => ("inexistent_rule", "The rule does not exist"),
            Self::Hook => ("inexistent_hook", "The hook does not exist"),
        }
    }
}

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code, ends_connection: false }
    }

    pub(super) fn missing_authentication() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, "Missing authentication")
    }

    pub(super) fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, "Invalid token")
    }

    pub(super) fn insufficient_scope(expected: &[&str]) -> Self {
        let message = format!("Insufficient scope, expected any of: {}", expected.join(","));
        Self::new(StatusCode::FORBIDDEN, Some("insufficient_scope"), message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Some("operation_not_supported"), message)
    }

    pub(super) fn too_many_entities(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Some("too_many_entities"), message)
    }

    /// Refuses a body for one of its members.
    pub(super) fn property(name: &str, why: impl AsRef<str>) -> Self {
        let name: String = name.chars().take(100).collect();
        Self::invalid_body(format!("Payload validation error: '{}' on property {name}.", why.as_ref()))
    }

    pub(super) fn invalid_body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalid_body"), message)
    }

    pub(super) fn invalid_query(name: &str, why: impl AsRef<str>) -> Self {
        let message = format!("Query validation error: '{}' on property {name}.", why.as_ref());
        Self::new(StatusCode::BAD_REQUEST, Some("invalid_query_string"), message)
    }

    pub(super) fn invalid_uri() -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalid_uri"), "The path is not percent-encoded UTF-8")
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, None, "Not Found")
    }

    pub(super) fn no_such(entity: Entity) -> Self {
        let (code, message) = entity.facts();
        Self::new(StatusCode::NOT_FOUND, Some(code), message)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, None, "Method Not Allowed")
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Some("conflict"), message)
    }

    pub(super) fn too_many_requests() -> Self {
        let message = "Global limit has been reached";
        Self::new(StatusCode::TOO_MANY_REQUESTS, Some("too_many_requests"), message)
    }

    pub(super) fn no_randomness() -> Self {
        let message = "The operating system provides no random numbers";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, message)
    }

    /// What a fault demands.
    pub(super) fn fault(status: u16) -> Self {
        Self::new(response::failure_status(status), None, "A fault is in force")
    }

    /// Returns the error's code, or `refused` for those without one.
    pub(super) fn code(&self) -> &'static str {
        self.code.unwrap_or("refused")
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the status and the body.
    pub(super) fn parts(&self) -> (StatusCode, Value) {
        let mut body = json!({
            "statusCode": self.status.as_u16(),
            "error": self.status.canonical_reason().unwrap_or("Error"),
            "message": self.message,
        });
        if let Some(code) = self.code {
            body["errorCode"] = code.into();
        }
        (self.status, body)
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let (status, body) = self.parts();
        let mut response = response::json(&body, NO_STORE);
        *response.status_mut() = status;
        if self.ends_connection {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The body could not be read.
impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self {
            ends_connection: problem.ends_connection(),
            ..Self::new(problem.status(), Some("invalid_body"), problem.description())
        }
    }
}
