//! Every way a request ends without reaching its goal, and the response that says so.

use bytes::Bytes;
use domain::{AuthError, Denied, Exhausted, Rejection};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::answer_body::AnswerBody;
use crate::challenge::Challenges;

/// Why a request is refused. Each has one status, one code and one text; none repeats what the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The MCP endpoint is elsewhere, and where.
    NotFound {
        endpoint: String,
    },
    MethodNotAllowed {
        allow: &'static str,
    },
    BadHost,
    ForeignHost,
    ForeignOrigin,
    HeadTooLarge {
        limit: usize,
    },
    NotAcceptable,
    UnsupportedMediaType,
    UnsupportedContentCoding,
    BodyTooLarge {
        limit: usize,
    },
    BodyTooSlow,
    BodyBroken,
    BadCoding,
    BadAuthorization,
    Unauthenticated(AuthError),
    Denied(Denied),
    /// There is nothing left of something: for everyone (503), or for this subject or client (429).
    Exhausted(Exhausted),
    /// The connection's client has yet to take earlier answers.
    NotTaken,
}

/// RFC 6749 section 5.2's error object, which clients know how to read.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

impl Problem {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadHost | Self::BodyBroken | Self::BadCoding | Self::BadAuthorization => {
                StatusCode::BAD_REQUEST
            }
            Self::ForeignHost | Self::ForeignOrigin | Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::HeadTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::UnsupportedMediaType | Self::UnsupportedContentCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthenticated(AuthError::NoToken | AuthError::Rejected(_)) => StatusCode::UNAUTHORIZED,
            Self::Unauthenticated(AuthError::KeysUnavailable { .. }) | Self::Exhausted(Exhausted::Pool) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Exhausted(Exhausted::Share) | Self::NotTaken => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The `error` of the body and of the challenge.
    pub(crate) const fn error(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::BadHost => "bad_host",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
            Self::HeadTooLarge { .. } => "head_too_large",
            Self::NotAcceptable => "not_acceptable",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UnsupportedContentCoding => "unsupported_content_encoding",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::BadCoding => "bad_transfer_coding",
            Self::BadAuthorization => "invalid_request",
            Self::Unauthenticated(AuthError::NoToken) => "unauthorized",
            Self::Unauthenticated(AuthError::Rejected(_)) => "invalid_token",
            Self::Unauthenticated(AuthError::KeysUnavailable { .. }) => "temporarily_unavailable",
            Self::Denied(_) => "insufficient_scope",
            Self::Exhausted(Exhausted::Pool) => "overloaded",
            Self::Exhausted(Exhausted::Share) => "share_exhausted",
            Self::NotTaken => "answers_not_taken",
        }
    }

    /// The code for the log: finer than [`Problem::error`] where a token was rejected.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Unauthenticated(AuthError::NoToken) => "no_token",
            Self::Unauthenticated(AuthError::Rejected(rejection)) => rejection.code(),
            Self::Unauthenticated(AuthError::KeysUnavailable { .. }) => "keys_unavailable",
            Self::BadAuthorization => "bad_authorization",
            other => other.error(),
        }
    }

    /// What to do about it.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::NotFound { endpoint } => {
                format!("there is nothing at this path; the MCP endpoint is {endpoint}")
            }
            Self::MethodNotAllowed { allow } => format!("this path takes {allow}"),
            Self::BadHost => "the request must name one host (RFC 9112 section 3.2)".into(),
            Self::ForeignHost => "this server does not answer to that host; see http.allowed_hosts".into(),
            Self::ForeignOrigin => "this origin may not call the endpoint; see http.allowed_origins".into(),
            Self::HeadTooLarge { limit } => {
                format!("the request's head is longer than {limit} bytes, or has too many fields")
            }
            Self::NotAcceptable => {
                "the answer is application/json or text/event-stream; accept one of them".into()
            }
            Self::UnsupportedMediaType => "the body must be application/json".into(),
            Self::UnsupportedContentCoding => "send the body without a Content-Encoding".into(),
            Self::BodyTooLarge { limit } => format!("the request's body is longer than {limit} bytes"),
            Self::BodyTooSlow => "the request's body did not arrive in time".into(),
            Self::BodyBroken => "the request's body broke off or is malformed".into(),
            Self::BadCoding => "the only transfer coding is chunked, once (RFC 9112 section 6.1)".into(),
            Self::BadAuthorization => "bad_authorization: there is more than one Authorization header".into(),
            Self::Unauthenticated(AuthError::NoToken) => {
                "no_token: send an access token in the Authorization header (Bearer)".into()
            }
            Self::Unauthenticated(AuthError::Rejected(rejection)) => described(*rejection),
            Self::Unauthenticated(AuthError::KeysUnavailable { .. }) => {
                "keys_unavailable: the issuer's signing keys can't be had at the moment; try again".into()
            }
            Self::Exhausted(exhausted) => format!("{exhausted}; try again"),
            Self::NotTaken => {
                "earlier answers on this connection have yet to be read; read them first".into()
            }
            Self::Denied(denied) => {
                format!("the token lacks scopes that this tool needs: {}", denied.missing)
            }
        }
    }

    /// The response, challenge included.
    pub(crate) fn into_response(self, challenges: &Challenges) -> Response<AnswerBody> {
        let scope = match &self {
            Self::Denied(denied) => Some(denied.to_request.to_string()),
            _ => None,
        };
        let description = self.description();
        let body = ErrorBody { error: self.error(), error_description: &description, scope };
        // Strings: rendering them can't fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(AnswerBody::whole(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.header(challenges) {
            headers.insert(name, value);
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The one header that this problem brings.
    fn header(&self, challenges: &Challenges) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotAllowed { allow } => Some((ALLOW, HeaderValue::from_static(allow))),
            // RFC 9110 section 12.5.3: what a request may have that gets this answer.
            Self::UnsupportedContentCoding => Some((ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            Self::Unauthenticated(AuthError::KeysUnavailable { retry_after }) => {
                // Whole seconds (RFC 9110 section 10.2.3), never too early.
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                Some((RETRY_AFTER, HeaderValue::from(seconds.max(1))))
            }
            Self::Exhausted(_) | Self::NotTaken => Some((RETRY_AFTER, HeaderValue::from_static("1"))),
            Self::Unauthenticated(AuthError::NoToken) => Some((WWW_AUTHENTICATE, challenges.no_token())),
            Self::Unauthenticated(AuthError::Rejected(_)) | Self::BadAuthorization => {
                Some((WWW_AUTHENTICATE, challenges.rejected(self.error(), &self.description())))
            }
            Self::Denied(denied) => Some((WWW_AUTHENTICATE, challenges.denied(denied, &self.description()))),
            _ => None,
        }
    }

    /// Whether what is left of the request on the wire is not worth reading.
    const fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::BodyTooLarge { .. }
                | Self::BodyTooSlow
                | Self::BodyBroken
                | Self::BadCoding
                | Self::HeadTooLarge { .. }
                | Self::BadHost
        )
    }
}

/// The stable code, then words: what docs/troubleshooting.md is searched by.
fn described(rejection: Rejection) -> String {
    format!("{}: {rejection}", rejection.code())
}
