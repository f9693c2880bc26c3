//! `/mcp`: authenticate on the headers, read the body, let the protocol answer.

use std::sync::Arc;

use domain::{Holder, Lease, Principal, RequestTrace, Service};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Response, StatusCode};
use mcp_protocol::{Body, PostRequest, Reply, Source, Status};

use crate::access_log::{BodyRead, Record};
use crate::answer_body::{AnswerBody, event};
use crate::body;
use crate::credentials::bearer_token;
use crate::error_response::whole_seconds;
use crate::head::{Fields, Single};
use crate::problem::{Problem, SOON, limit_status};
use crate::quota_fields;
use crate::shared::Shared;
use crate::socket::Peer;
use crate::target::Target;
use crate::trace;

/// What the official SDKs send; more of the header could add nothing to it.
const USUAL_ACCEPT: &str = "application/json, text/event-stream";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The media types that the client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepts {
    Json,
    JsonOrStream,
    Stream,
}

/// Answers one request. Only POST is served, but a request of any method is authenticated first: clients begin their login
/// with a GET, HEAD or DELETE as much as with a POST.
pub(crate) async fn answer(
    shared: &Shared,
    target: &Target<'_>,
    body: &mut Incoming,
    record: &mut Record,
) -> Result<Response<AnswerBody>, Problem> {
    let (service, resource) = (target.snapshot.service(), &target.endpoint.resource);
    count_address(target, record.peer).await?;
    let principal = match authenticate(service, resource, target.fields, record.trace.as_deref_mut()).await {
        Ok(principal) => principal,
        Err(problem) => {
            // In a box of its own: no room for it in the future of every request.
            Box::pin(service.refused(&record.id, resource, problem.facts().reason)).await;
            return Err(problem);
        }
    };
    record.holder = Holder::of(&principal);
    trace::authenticated(&principal, record);
    let answered = answer_principal(shared, target, &principal, body, record).await;
    // A stream's record lives as long as the stream; the caller's token need not.
    record.principal = Some(principal.without_token());
    answered
}

/// Answers an authenticated request.
async fn answer_principal(
    shared: &Shared,
    target: &Target<'_>,
    principal: &Principal,
    body: &mut Incoming,
    record: &mut Record,
) -> Result<Response<AnswerBody>, Problem> {
    let &Target { head, fields, snapshot, .. } = target;
    let holder = record.holder;
    if head.method != Method::POST {
        return Err(Problem::MethodNotAllowed { allow: "POST" });
    }
    check_content_coding(fields)?;
    let accepts = check_media_types(fields)?;
    record.body = BodyRead::Begun;
    let (body, memory) = body::read(shared, body, fields.head_bytes(&head.method, &head.uri), holder).await?;
    record.body = BodyRead::Whole;
    let lease = shared.limiter.try_acquire_request(holder)?;
    let may_stream = accepts != Accepts::Json;
    let post = PostRequest {
        principal,
        fields,
        body: &body,
        may_stream,
        request_id: &record.id,
        memory,
        trace: record.trace.as_deref_mut(),
    };
    // In a box of its own: more than half of a request's future, which the many that wait for their bodies do not need.
    let reply = Box::pin(shared.mcp.answer(&snapshot.protocol, post)).await;
    respond(shared, reply, accepts, (holder, lease), record)
}

/// Counts a request by its address, before it costs anything.
async fn count_address(target: &Target<'_>, peer: Peer) -> Result<(), Problem> {
    let Some(throttle) = &target.snapshot.service().throttle else { return Ok(()) };
    let address = target.snapshot.trusted_proxies.client(peer, &target.head.headers);
    throttle.take_address(address).verdict().await.map_err(Problem::Exhausted)?;
    Ok(())
}

/// Authenticates a request before any of its body is read, so that a refused one costs no more than a head.
async fn authenticate(
    service: &Service,
    resource: &Arc<str>,
    fields: &Fields<'_>,
    trace: Option<&mut RequestTrace>,
) -> Result<Principal, Problem> {
    let token = bearer_token(fields)?;
    service.authenticate(token.as_ref(), resource, trace).await.map_err(Problem::Unauthenticated)
}

/// Checks that the body has no content coding: nothing is decompressed here, so that no body is larger than what was sent of
/// it.
fn check_content_coding(fields: &Fields<'_>) -> Result<(), Problem> {
    if fields.content_encoding == Single::Absent {
        return Ok(());
    }
    let is_identity = |value: &HeaderValue| {
        value.to_str().is_ok_and(|list| {
            list.split(',')
                .map(str::trim)
                .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
        })
    };
    let good = fields.all().get_all(CONTENT_ENCODING).iter().all(is_identity);
    if good { Ok(()) } else { Err(Problem::UnsupportedContentCoding) }
}

/// Checks the body's media type, and returns those that the client accepts.
fn check_media_types(fields: &Fields<'_>) -> Result<Accepts, Problem> {
    let is_json = |value: &str| essence(value).eq_ignore_ascii_case("application/json");
    // Exactly one, so that no proxy can have read another (RFC 9110 section 5.3).
    match fields.content_type {
        Single::Once(value) if *value == JSON || value.to_str().is_ok_and(is_json) => {}
        _ => return Err(Problem::UnsupportedMediaType),
    }
    match fields.accept {
        Single::Once(accept) if accept == USUAL_ACCEPT => return Ok(Accepts::JsonOrStream),
        _ => {}
    }
    // Without the header, everything is acceptable (RFC 9110 section 12.5.1).
    let accepted = fields.all().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut takes_all, mut takes_json, mut takes_stream) = (true, false, false);
    for range in accepted.flat_map(|list| list.split(',')).map(essence) {
        takes_all = false;
        takes_json |= is_json(range) || matches!(range, "*/*" | "application/*");
        // Only by its name: many clients that accept anything read no stream.
        takes_stream |= range.eq_ignore_ascii_case("text/event-stream");
    }
    match (takes_all || takes_json, takes_stream) {
        (true, false) => Ok(Accepts::Json),
        (true, true) => Ok(Accepts::JsonOrStream),
        (false, true) => Ok(Accepts::Stream),
        (false, false) => Err(Problem::NotAcceptable),
    }
}

/// A media type or range without its parameters.
fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

fn respond(
    shared: &Shared,
    reply: Reply,
    accepts: Accepts,
    (holder, lease): (Holder, Lease),
    record: &mut Record,
) -> Result<Response<AnswerBody>, Problem> {
    let allowance = reply.quota_left();
    let Reply { status, body, log, allowance: _ } = reply;
    record.protocol = log;
    let mut retry_after = None;
    let status = match status {
        Status::Ok => StatusCode::OK,
        Status::Accepted => StatusCode::ACCEPTED,
        Status::BadRequest => StatusCode::BAD_REQUEST,
        Status::NotFound => StatusCode::NOT_FOUND,
        Status::Denied(denied) => return Err(Problem::Denied(*denied)),
        Status::Unavailable => {
            retry_after = Some(SOON);
            StatusCode::SERVICE_UNAVAILABLE
        }
        Status::Exhausted(exhausted) => {
            retry_after = Some(exhausted.retry_after());
            limit_status(exhausted)
        }
    };
    let (body, content_type) = match body {
        Body::Empty => (AnswerBody::empty(), None),
        // A client that accepts only a stream gets one of one event. Other statuses than 200 have a JSON body.
        Body::Whole(document) if accepts == Accepts::Stream && status == StatusCode::OK => {
            (AnswerBody::whole(event(&document)), Some(EVENT_STREAM))
        }
        Body::Whole(document) => (AnswerBody::whole(document.into()), Some(JSON)),
        Body::Stream(messages) => {
            let lease = match messages.source {
                Source::Subscription => shared.limiter.try_acquire_subscription(holder)?,
                Source::Call => shared.limiter.streaming_call(holder, lease),
            };
            (AnswerBody::events(messages, shared.owned_clock(), lease), Some(EVENT_STREAM))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    quota_fields::add(allowance, headers);
    if let Some(retry_after) = retry_after {
        headers.insert(RETRY_AFTER, whole_seconds(retry_after));
    }
    if content_type == Some(EVENT_STREAM) {
        // nginx would collect events, and hand them on all at once.
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn check(content_type: Option<&str>, accept: &[&str]) -> Result<Accepts, Problem> {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        check_media_types(&Fields::of(&headers))
    }

    #[test]
    fn bodies_are_json() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"] {
            assert_eq!(check(Some(good), &[]), Ok(Accepts::Json), "{good}");
        }
        for bad in [None, Some("text/plain"), Some("application/jsonx"), Some("")] {
            assert_eq!(check(bad, &[]), Err(Problem::UnsupportedMediaType), "{bad:?}");
        }
    }

    #[test]
    fn a_stream_is_for_those_who_name_it() {
        for (accept, expected) in [
            (&["*/*"][..], Ok(Accepts::Json)),
            (&["application/*"], Ok(Accepts::Json)),
            (&["application/json;q=0.5"], Ok(Accepts::Json)),
            (&["text/html", "application/json"], Ok(Accepts::Json)),
            (&["application/json, text/event-stream"], Ok(Accepts::JsonOrStream)),
            (&["TEXT/event-stream;q=0.1, */*"], Ok(Accepts::JsonOrStream)),
            (&["text/event-stream", "application/json"], Ok(Accepts::JsonOrStream)),
            (&["text/event-stream"], Ok(Accepts::Stream)),
            (&["Text/Event-Stream; x=y"], Ok(Accepts::Stream)),
            (&["text/event-stream, text/html"], Ok(Accepts::Stream)),
            (&["text/html"], Err(Problem::NotAcceptable)),
            (&["text/*"], Err(Problem::NotAcceptable)),
            (&[""], Err(Problem::NotAcceptable)),
        ] {
            assert_eq!(check(Some("application/json"), accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_body_has_no_content_coding() {
        let check = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            check_content_coding(&Fields::of(&headers))
        };
        for good in [&[][..], &["identity"], &["Identity"], &["identity", "identity , identity"], &[""]] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for bad in
            [&["gzip"][..], &["identity, gzip"], &["identity", "br"], &["identityx"], &["identity;q=1"]]
        {
            assert_eq!(check(bad), Err(Problem::UnsupportedContentCoding), "{bad:?}");
        }
    }
}
