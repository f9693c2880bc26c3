//! From a request to its route: `Host` and `Origin` first, then CORS, then the method.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use domain::Exhausted;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::access_log::{BodyRead, Record, is_id};
use crate::activity::RequestGuard;
use crate::answer_body::AnswerBody;
use crate::error_response::error_response;
use crate::head::{Fields, Single};
use crate::host_policy::{Caller, NamedHost};
use crate::problem::Problem;
use crate::public::Route;
use crate::shared::{Shared, Snapshot};
use crate::socket::Peer;
use crate::target::Target;
use crate::{body, cors, endpoint, trace};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long a metadata document may be cached: a change is visible within minutes.
const DOCUMENT_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Answers a request: the id, the conversion of a problem and the log line are made here, once. On a spare connection, which
/// `ending` ends, only probes are answered, and only one request.
///
/// No async fn: it would have room for its arguments twice, and all of it is copied into its box.
pub(crate) fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    guard: RequestGuard,
    peer: Peer,
    ending: Option<CancellationToken>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> {
    let started = shared.clock().uptime();
    let snapshot = shared.snapshot();
    let (head, mut body) = request.into_parts();
    let mut record = Record::new(peer, &snapshot.service().observer);
    async move {
        let is_spare = ending.is_some();
        let fields = Fields::of(&head.headers);
        let has_body = !body.is_end_stream();
        record.id = incoming_id(fields.request_id).unwrap_or_else(|| shared.ids.next());
        let (target, host) = Target::of(&snapshot, &head, &fields);
        record.is_probe = target.route.is_some_and(Route::is_probe);
        if target.route == Some(Route::Endpoint) {
            trace::begin(snapshot.service(), &head, &mut record);
        }
        let mut response = 'answered: {
            let admitted = check_connection(target.route, &guard, is_spare);
            let caller = match admitted.and_then(|()| admit(target, host, shared.limits.header_bytes)) {
                Ok(caller) => caller,
                Err(problem) => break 'answered refuse(target, &problem, &mut record),
            };
            let span = tracing::info_span!("request", id = record.id);
            let mut response = if target.route == Some(Route::Endpoint) && head.method != Method::OPTIONS {
                let answered = async {
                    let answered = endpoint::answer(&shared, &target, &mut body, &mut record).await;
                    answered.unwrap_or_else(|problem| refuse(target, &problem, &mut record))
                };
                // In a box of its own: an allocation of more than 1 KiB takes the allocator several times as long as two.
                Box::pin(answered.instrument(span)).await
            } else {
                let answered = span.in_scope(|| shared.answer_at_once(target, caller));
                answered.unwrap_or_else(|problem| refuse(target, &problem, &mut record))
            };
            if let Some(route) = target.route {
                cors::allow(route.readers(), caller, response.headers_mut());
            }
            response
        };
        trace::end(target.endpoint, &head, response.status(), &mut record);
        if has_body
            && may_discard(&head, &fields, &record, &response, is_spare)
            // In a box of its own: rare.
            && Box::pin(body::discard(&mut body)).await
        {
            record.body = BodyRead::Whole;
        }
        if head.method == Method::HEAD {
            *response.body_mut() = AnswerBody::empty();
        }
        if let Err(problem) = shared.hold(&mut response, &record, &guard) {
            response = refuse(target, &problem, &mut record);
            // The status and the headers are always sent; the body only where there is memory for it.
            if shared.hold(&mut response, &record, &guard).is_err() {
                *response.body_mut() = AnswerBody::empty();
            }
        }
        let is_unread = has_body && record.body != BodyRead::Whole;
        if is_unread {
            guard.left_unread();
        }
        finish(&mut response, &record.id, head.version, is_spare || is_unread || shared.is_draining());
        match response.body_mut() {
            AnswerBody::Events(events) => {
                events.at_end(record, (head.method.clone(), head.uri.clone()), started, guard);
            }
            AnswerBody::Whole(_) => {
                let took = shared.clock().uptime().saturating_sub(started);
                record.log((&head.method, &head.uri), response.status(), took);
            }
        }
        if let Some(ending) = ending {
            ending.cancel();
        }
        Ok(response)
    }
}

impl Shared {
    /// Watches the answer until its client has taken it, and leases the memory that it needs until then.
    fn hold(
        &self,
        response: &mut Response<AnswerBody>,
        record: &Record,
        guard: &RequestGuard,
    ) -> Result<(), Problem> {
        match response.body_mut() {
            AnswerBody::Whole(whole) => {
                let delivery = guard
                    .deliver(whole.len(), |bytes| self.limiter.try_acquire_unsent(record.holder, bytes))?;
                whole.watch(delivery);
            }
            AnswerBody::Events(events) => {
                events.watch(guard.outbox(), record.holder, Arc::clone(&self.limiter));
            }
        }
        Ok(())
    }

    /// Answers what needs no authentication.
    fn answer_at_once(
        &self,
        target: Target<'_>,
        caller: Caller<'_>,
    ) -> Result<Response<AnswerBody>, Problem> {
        let Target { head, endpoint, .. } = target;
        let Some(route) = target.route else {
            return Err(Problem::NotFound { endpoint: endpoint.public_path() });
        };
        let is_read = head.method == Method::GET || head.method == Method::HEAD;
        Ok(match route {
            _ if head.method == Method::OPTIONS => preflight(route, caller, &head.headers),
            // Whatever else is asked of it, `endpoint` answers.
            Route::Endpoint => return Err(Problem::MethodNotAllowed { allow: "POST" }),
            _ if !is_read => return Err(Problem::MethodNotAllowed { allow: "GET, HEAD" }),
            Route::ProtectedResource => document(endpoint.documents.protected_resource.clone()),
            Route::AuthorizationServer => document(endpoint.documents.authorization_server.clone()),
            Route::Health => plain(StatusCode::OK, json!({"status": "ok"}).to_string()),
            Route::Ready => self.ready(target.snapshot),
            Route::Ping => plain(StatusCode::OK, json!({"status": "pong"}).to_string()),
        })
    }

    fn ready(&self, snapshot: &Snapshot) -> Response<AnswerBody> {
        match self.not_ready(snapshot) {
            None => plain(StatusCode::OK, json!({"status": "ready"}).to_string()),
            Some(reason) => {
                let body = json!({"status": "not ready", "reason": reason}).to_string();
                plain(StatusCode::SERVICE_UNAVAILABLE, body)
            }
        }
    }
}

/// Checks what every request must fulfil, whatever its route, and returns its sender.
fn admit(
    Target { head, fields, snapshot, route, .. }: Target<'_>,
    host: Result<NamedHost, Problem>,
    max_head: usize,
) -> Result<Caller<'_>, Problem> {
    fields.check_head_size(head, max_head)?;
    body::check_coding(fields.transfer_encoding)?;
    let is_probe = route.is_some_and(Route::is_probe);
    // Every request names one host, and a probe any (RFC 9112 section 3.2).
    match host {
        Ok(host) if !is_probe => snapshot.host_policy.check_host(&host)?,
        Err(_) if is_probe && names_none(head, fields) => {}
        host => drop(host?),
    }
    let caller = snapshot.host_policy.check_origin(fields.origin);
    // The other routes are for any page, which may not read all of their answers.
    let is_for_any = route.is_some_and(|route| route != Route::Endpoint);
    if is_for_any { Ok(caller.unwrap_or(Caller::Direct)) } else { caller }
}

/// Returns the request id that a proxy or a client has given already, so that their logs and ours have one. It is a client's
/// text: not well formed, or there twice, it is not taken.
fn incoming_id(field: Single<'_>) -> Option<String> {
    let Single::Once(id) = field else { return None };
    id.to_str().ok().filter(|id| is_id(id)).map(ToOwned::to_owned)
}

/// Returns whether a request names no host, as HTTP/1.0 permits: load balancers still probe with it.
fn names_none(head: &Parts, fields: &Fields<'_>) -> bool {
    head.version < Version::HTTP_11 && fields.host == Single::Absent && head.uri.authority().is_none()
}

/// Checks that the connection may have a request answered now.
fn check_connection(route: Option<Route>, guard: &RequestGuard, is_spare: bool) -> Result<(), Problem> {
    if is_spare && !route.is_some_and(Route::is_probe) {
        return Err(Problem::Exhausted(Exhausted::Pool));
    }
    if guard.must_read_first() { Err(Problem::NotTaken) } else { Ok(()) }
}

/// Returns whether an unread body may be thrown away, so that the connection can be kept. Never after a part of it was
/// read, since what is wrong with it may be known already; nor where its client waits for the go-ahead to send it.
fn may_discard(
    head: &Parts,
    fields: &Fields<'_>,
    record: &Record,
    response: &Response<AnswerBody>,
    is_spare: bool,
) -> bool {
    let is_kept = !is_spare && !response.headers().contains_key(CONNECTION);
    let is_http1 = head.version <= Version::HTTP_11;
    is_kept && is_http1 && record.body == BodyRead::Nothing && fields.expect == Single::Absent
}

fn refuse(target: Target<'_>, problem: &Problem, record: &mut Record) -> Response<AnswerBody> {
    let facts = problem.facts();
    record.refuse(&facts, target.head, target.snapshot.service());
    error_response(&facts, &target.endpoint.challenges)
}

fn preflight(route: Route, caller: Caller<'_>, request: &HeaderMap) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors::preflight(route.methods(), caller, request, response.headers_mut());
    response
}

fn document(body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, DOCUMENT_CACHING);
    response
}

fn plain(status: StatusCode, json: String) -> Response<AnswerBody> {
    let mut response = document(Bytes::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds the headers of every response. `closes` ends an HTTP/1.1 connection with this answer: what follows a body that was not
/// read to its verified end may be anybody's request.
fn finish(response: &mut Response<AnswerBody>, id: &str, version: Version, closes: bool) {
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // Ours is hexadecimal digits and a dash, and a client's has an alphabet.
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    // HTTP/2 has no such header (RFC 9113 section 8.2.2).
    if version > Version::HTTP_11 {
        response.headers_mut().remove(CONNECTION);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::EXPECT;

    use super::*;

    #[test]
    fn a_body_is_thrown_away_only_where_its_end_can_be_verified_and_the_connection_be_kept() {
        let ask = |version, expect: Option<&str>, body, closes, is_spare| {
            let request = Request::post("/mcp").version(version);
            let request = expect.into_iter().fold(request, |request, value| request.header(EXPECT, value));
            let (head, ()) = request.body(()).unwrap().into_parts();
            let observer: Arc<dyn domain::Observer> = Arc::new(domain::NoopObserver);
            let mut record = Record::new(Peer::Unix, &observer);
            record.body = body;
            let mut response = Response::new(AnswerBody::empty());
            if closes {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            may_discard(&head, &Fields::of(&head.headers), &record, &response, is_spare)
        };
        let old = Version::HTTP_11;
        assert!(ask(old, None, BodyRead::Nothing, false, false));
        assert!(!ask(Version::HTTP_2, None, BodyRead::Nothing, false, false));
        assert!(!ask(old, Some("100-continue"), BodyRead::Nothing, false, false));
        // What is wrong with it may be known already, and its next frame may look like its end.
        assert!(!ask(old, None, BodyRead::Begun, false, false));
        assert!(!ask(old, None, BodyRead::Nothing, true, false));
        assert!(!ask(old, None, BodyRead::Nothing, false, true));
    }
}
