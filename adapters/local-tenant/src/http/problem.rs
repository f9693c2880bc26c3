//! Refused requests, and their HTTP responses with the error object of RFC 6749 section 5.2.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::http::response::{self, NO_STORE};
use crate::oauth::error::OAuthError;

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NotFound,
    MethodNotAllowed {
        allow: &'static str,
    },
    BadHost,
    ForeignHost,
    ForeignOrigin,
    UnsupportedMediaType {
        expected: &'static str,
    },
    BodyTooLarge {
        limit: usize,
    },
    BodyTooSlow,
    BodyBroken,
    BadRequest(String),
    /// With how many seconds to wait.
    TooManyRequests(u32),
    /// A failure on demand.
    Failing(StatusCode),
    OAuth(OAuthError),
}

impl From<OAuthError> for Problem {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl OAuthError {
    fn status(&self) -> StatusCode {
        if let Some(status) = self.status.and_then(|status| StatusCode::from_u16(status).ok()) {
            return status;
        }
        match self.code {
            "invalid_client" | "invalid_token" => StatusCode::UNAUTHORIZED,
            "insufficient_scope" | "access_denied" => StatusCode::FORBIDDEN,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the challenge that RFC 6749 section 5.2 and RFC 6750 section 3 demand.
    fn challenge(&self) -> Option<HeaderValue> {
        match self.code {
            "invalid_client" => Some(HeaderValue::from_static("Basic realm=\"local tenant\"")),
            "invalid_token" | "insufficient_scope" => {
                HeaderValue::from_str(&format!("Bearer error=\"{}\"", self.code)).ok()
            }
            _ => None,
        }
    }
}

/// The error object, as the tenant writes it and the `token` command reads it.
#[derive(Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: String,
    pub(crate) error_description: String,
}

impl Problem {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Failing(status) => *status,
            Self::OAuth(error) => error.status(),
            Self::BadHost | Self::BodyBroken | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) const fn error(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::BadHost => "bad_host",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::BadRequest(_) => "invalid_request",
            Self::TooManyRequests(_) => "too_many_requests",
            Self::Failing(_) => "server_error",
            Self::OAuth(error) => error.code,
        }
    }

    pub(crate) fn description(&self) -> String {
        match self {
            Self::NotFound => {
                "there is nothing at this path; start from /.well-known/openid-configuration".into()
            }
            Self::MethodNotAllowed { allow } => format!("this path supports {allow}"),
            Self::BadHost => "the request must name one host (RFC 9112 section 3.2)".into(),
            Self::ForeignHost => "the local tenant answers to localhost, 127.0.0.1 and [::1] only".into(),
            Self::ForeignOrigin => "web pages may not call this; it is for commands on this machine".into(),
            Self::UnsupportedMediaType { expected } => format!("the body must be {expected}"),
            Self::BodyTooLarge { limit } => format!("the request's body is longer than {limit} bytes"),
            Self::BodyTooSlow => "the request's body did not arrive in time".into(),
            Self::BodyBroken => "the request's body broke off or is malformed".into(),
            Self::BadRequest(why) => why.clone(),
            Self::TooManyRequests(_) => "Global limit has been reached".into(),
            Self::Failing(_) => "the local tenant fails on demand".into(),
            Self::OAuth(error) => error.description.clone(),
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let body = ErrorBody { error: self.error().to_owned(), error_description: self.description() };
        let mut response = response::json(&body, NO_STORE);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Self::TooManyRequests(seconds) = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::OAuth(error) = &self
            && let Some(challenge) = error.challenge()
        {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Returns whether the connection is closed, because the rest of the request is not read.
    pub(crate) const fn ends_connection(&self) -> bool {
        matches!(self, Self::BodyTooLarge { .. } | Self::BodyTooSlow | Self::BodyBroken | Self::BadHost)
    }
}
