//! Every way a request ends without reaching its goal, as RFC 6749 section 5.2's error object.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::tokens::TokenError;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NotFound,
    NotBuilt,
    MethodNotAllowed { allow: &'static str },
    BadHost,
    ForeignHost,
    WebPage,
    UnsupportedMediaType,
    BodyTooLarge { limit: usize },
    BodyTooSlow,
    BodyBroken,
    BadRequest(String),
    Token(TokenError),
}

/// The error object, as it is sent and as the client reads it.
#[derive(Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: String,
    pub(crate) error_description: String,
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotBuilt => StatusCode::NOT_IMPLEMENTED,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ForeignHost | Self::WebPage => StatusCode::FORBIDDEN,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Token(TokenError::Signing) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadHost | Self::BodyBroken | Self::BadRequest(_) | Self::Token(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    const fn error(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::NotBuilt => "temporarily_unavailable",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::BadHost => "bad_host",
            Self::ForeignHost => "foreign_host",
            Self::WebPage => "foreign_origin",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::BadRequest(_) => "invalid_request",
            Self::Token(TokenError::UnknownUser { .. }) => "invalid_grant",
            // RFC 8707 section 2.
            Self::Token(TokenError::UnknownAudience { .. }) => "invalid_target",
            Self::Token(TokenError::UnknownScope { .. }) => "invalid_scope",
            Self::Token(TokenError::Signing) => "server_error",
        }
    }

    fn description(&self) -> String {
        match self {
            Self::NotFound => "there is nothing at this path; start from /.well-known/openid-configuration".into(),
            Self::NotBuilt => {
                "the local tenant can't do this yet; `fastmcp-auth0 token` gets an access token without a login".into()
            }
            Self::MethodNotAllowed { allow } => format!("this path takes {allow}"),
            Self::BadHost => "the request must name one host (RFC 9112 section 3.2)".into(),
            Self::ForeignHost => "the local tenant answers to localhost, 127.0.0.1 and [::1] only".into(),
            Self::WebPage => "web pages may not call this; it is for commands on this machine".into(),
            Self::UnsupportedMediaType => "the body must be application/json".into(),
            Self::BodyTooLarge { limit } => format!("the request's body is longer than {limit} bytes"),
            Self::BodyTooSlow => "the request's body did not arrive in time".into(),
            Self::BodyBroken => "the request's body broke off or is malformed".into(),
            Self::BadRequest(why) => why.clone(),
            Self::Token(error) => error.to_string(),
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let body = ErrorBody { error: self.error().to_owned(), error_description: self.description() };
        // Strings: rendering them can't fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Whether what is left of the request on the wire is not worth reading.
    const fn ends_connection(&self) -> bool {
        matches!(self, Self::BodyTooLarge { .. } | Self::BodyTooSlow | Self::BodyBroken | Self::BadHost)
    }
}
