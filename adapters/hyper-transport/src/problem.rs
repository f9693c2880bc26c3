//! Every reason to refuse a request, with the facts of its response and its log line.

use std::borrow::Cow;
use std::time::Duration;

use domain::{Allowance, AuthError, Denial, Exhausted};
use hyper::StatusCode;

/// Why a request is refused. None repeats what the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The MCP endpoint is at another path.
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
    Denied(Denial),
    /// A limit is reached: of the server (503), or of this subject or client (429).
    Exhausted(Exhausted),
    /// The connection's client has yet to take earlier answers.
    NotTaken,
}

/// The facts of a problem.
#[derive(Debug)]
pub(crate) struct ErrorFacts<'p> {
    pub(crate) status: StatusCode,
    /// The `error` of the body and of the challenge.
    pub(crate) error: &'static str,
    /// The code for the log: finer than `error` where a token was rejected.
    pub(crate) reason: &'static str,
    /// The text for people: what is wrong, or what to do.
    pub(crate) description: Cow<'static, str>,
    /// The header that the response has because of it.
    pub(crate) header: ErrorHeader,
    /// The quota that is used up.
    pub(crate) allowance: Option<Allowance>,
    /// The part of the request that the log line shows.
    pub(crate) cause: Cause<'p>,
    /// Whether the connection ends, because the rest of the request is not read.
    pub(crate) ends_connection: bool,
}

/// A header of an error response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorHeader {
    None,
    /// `Allow`, with the methods of the path.
    Allow(&'static str),
    /// `Accept-Encoding: identity` (RFC 9110 section 12.5.3: what a request may have that gets this answer).
    AcceptIdentity,
    /// `Retry-After`.
    RetryAfter(Duration),
    /// `WWW-Authenticate` without an error (RFC 6750 section 3.1: the request has no credentials).
    LoginChallenge,
    /// `WWW-Authenticate` with the error.
    ErrorChallenge,
}

/// The part of a request that a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause<'p> {
    /// No part that the log line shows.
    Unspecific,
    Host,
    Origin,
    Token,
    Denied(&'p Denial),
}

/// When to try again, where the server knows no time.
pub(crate) const SOON: Duration = Duration::from_secs(1);

impl<'p> ErrorFacts<'p> {
    fn new(status: StatusCode, error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            error,
            reason: error,
            description: description.into(),
            header: ErrorHeader::None,
            allowance: None,
            cause: Cause::Unspecific,
            ends_connection: false,
        }
    }

    fn with_reason(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    fn with_header(self, header: ErrorHeader) -> Self {
        Self { header, ..self }
    }

    fn caused_by(self, cause: Cause<'p>) -> Self {
        Self { cause, ..self }
    }

    fn ending_connection(self) -> Self {
        Self { ends_connection: true, ..self }
    }
}

impl Problem {
    /// Returns the facts, in one arm for each problem.
    pub(crate) fn facts(&self) -> ErrorFacts<'_> {
        match self {
            Self::NotFound { endpoint } => ErrorFacts::new(
                StatusCode::NOT_FOUND,
                "not_found",
                format!("there is nothing at this path; the MCP endpoint is {endpoint}"),
            ),
            Self::MethodNotAllowed { allow } => ErrorFacts::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("this path takes {allow}"),
            )
            .with_header(ErrorHeader::Allow(allow)),
            Self::BadHost => ErrorFacts::new(
                StatusCode::BAD_REQUEST,
                "bad_host",
                "the request must name one host (RFC 9112 section 3.2)",
            )
            .caused_by(Cause::Host)
            .ending_connection(),
            Self::ForeignHost => ErrorFacts::new(
                StatusCode::FORBIDDEN,
                "foreign_host",
                "this server does not answer to that host; see http.allowed_hosts",
            )
            .caused_by(Cause::Host),
            Self::ForeignOrigin => ErrorFacts::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "this origin may not call the endpoint; see http.allowed_origins",
            )
            .caused_by(Cause::Origin),
            Self::HeadTooLarge { limit } => ErrorFacts::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                format!("the request's head is longer than {limit} bytes, or has too many fields"),
            )
            .ending_connection(),
            Self::NotAcceptable => ErrorFacts::new(
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "the answer is application/json or text/event-stream; accept one of them",
            ),
            Self::UnsupportedMediaType => ErrorFacts::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be application/json",
            ),
            Self::UnsupportedContentCoding => ErrorFacts::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_encoding",
                "send the body without a Content-Encoding",
            )
            .with_header(ErrorHeader::AcceptIdentity),
            Self::BodyTooLarge { limit } => ErrorFacts::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the request's body is longer than {limit} bytes"),
            )
            .ending_connection(),
            Self::BodyTooSlow => ErrorFacts::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                "the request's body did not arrive in time",
            )
            .ending_connection(),
            Self::BodyBroken => ErrorFacts::new(
                StatusCode::BAD_REQUEST,
                "body_broken",
                "the request's body broke off or is malformed",
            )
            .ending_connection(),
            Self::BadCoding => ErrorFacts::new(
                StatusCode::BAD_REQUEST,
                "bad_transfer_coding",
                "the only transfer coding is chunked, once (RFC 9112 section 6.1)",
            )
            .ending_connection(),
            Self::BadAuthorization => ErrorFacts::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "bad_authorization: there is more than one Authorization header",
            )
            .with_reason("bad_authorization")
            .with_header(ErrorHeader::ErrorChallenge),
            Self::Unauthenticated(error) => unauthenticated(error),
            Self::Denied(denial) => denied(denial),
            Self::Exhausted(exhausted) => limit_reached(*exhausted),
            Self::NotTaken => ErrorFacts::new(
                StatusCode::TOO_MANY_REQUESTS,
                "answers_not_taken",
                "earlier answers on this connection have yet to be read; read them first",
            )
            .with_header(ErrorHeader::RetryAfter(SOON)),
        }
    }
}

fn denied(denial: &Denial) -> ErrorFacts<'_> {
    let (status, header) = match (denial.lacking(), denial.login()) {
        (Some(_), _) => (StatusCode::FORBIDDEN, ErrorHeader::ErrorChallenge),
        (None, Some(_)) => (StatusCode::UNAUTHORIZED, ErrorHeader::ErrorChallenge),
        // A challenge would promise that another token helps.
        (None, None) => (StatusCode::FORBIDDEN, ErrorHeader::None),
    };
    ErrorFacts::new(status, denial.error(), denial.description())
        .with_reason(denial.code())
        .caused_by(Cause::Denied(denial))
        .with_header(header)
}

fn limit_reached(exhausted: Exhausted) -> ErrorFacts<'static> {
    let facts = ErrorFacts::new(limit_status(exhausted), exhausted.code(), format!("{exhausted}; try again"))
        .with_header(ErrorHeader::RetryAfter(exhausted.retry_after()));
    ErrorFacts { allowance: exhausted.allowance(), ..facts }
}

/// Returns the status of a limit that is reached: of the server, or of a subject or client.
pub(crate) const fn limit_status(exhausted: Exhausted) -> StatusCode {
    match exhausted {
        Exhausted::Pool | Exhausted::Uncounted { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Exhausted::Share | Exhausted::Rate { .. } => StatusCode::TOO_MANY_REQUESTS,
    }
}

fn unauthenticated(error: &AuthError) -> ErrorFacts<'static> {
    match error {
        AuthError::NoToken => ErrorFacts::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "no_token: send an access token in the Authorization header (Bearer)",
        )
        .with_reason(error.code())
        .with_header(ErrorHeader::LoginChallenge),
        // The stable code, then words: what docs/troubleshooting.md is searched by.
        AuthError::Rejected(rejection) => ErrorFacts::new(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            format!("{}: {rejection}", rejection.code()),
        )
        .with_reason(error.code())
        .with_header(ErrorHeader::ErrorChallenge),
        AuthError::KeysUnavailable { retry_after } => ErrorFacts::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "keys_unavailable: the issuer's signing keys can't be had at the moment; try again",
        )
        .with_reason(error.code())
        .with_header(ErrorHeader::RetryAfter(*retry_after)),
    }
    .caused_by(Cause::Token)
}
