//! The response to a [`Problem`](crate::problem::Problem): an OAuth error object, and its headers.

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use serde::Serialize;

use crate::answer_body::AnswerBody;
use crate::challenge::Challenges;
use crate::problem::{Cause, ErrorFacts, ErrorHeader};
use crate::quota_fields;

/// RFC 6749 section 5.2's error object, which clients know how to read.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// Returns the response, challenge included.
pub(crate) fn error_response(facts: &ErrorFacts<'_>, challenges: &Challenges) -> Response<AnswerBody> {
    let scope = match facts.cause {
        Cause::Denied(denial) => denial.to_request().map(ToString::to_string),
        Cause::Unspecific | Cause::Host | Cause::Origin | Cause::Token => None,
    };
    let body = ErrorBody { error: facts.error, error_description: &facts.description, scope };
    // Strings: rendering them can't fail.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(AnswerBody::whole(Bytes::from(body)));
    *response.status_mut() = facts.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(header(facts, challenges));
    quota_fields::add(facts.allowance, headers);
    if facts.ends_connection {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn header(facts: &ErrorFacts<'_>, challenges: &Challenges) -> Option<(HeaderName, HeaderValue)> {
    match facts.header {
        ErrorHeader::None => None,
        ErrorHeader::Allow(methods) => Some((ALLOW, HeaderValue::from_static(methods))),
        ErrorHeader::AcceptIdentity => Some((ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
        ErrorHeader::RetryAfter(after) => Some((RETRY_AFTER, whole_seconds(after))),
        ErrorHeader::LoginChallenge => Some((WWW_AUTHENTICATE, challenges.login())),
        ErrorHeader::ErrorChallenge => Some((WWW_AUTHENTICATE, challenges.error(facts))),
    }
}

/// Returns a time in whole seconds (RFC 9110 section 10.2.3), never too early.
pub(crate) fn whole_seconds(time: Duration) -> HeaderValue {
    HeaderValue::from(quota_fields::seconds_rounded_up(time).max(1))
}
