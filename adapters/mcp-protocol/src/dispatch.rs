//! From a JSON-RPC request to its reply: its era, its method, its handler.

use std::mem::take;
use std::sync::OnceLock;

use domain::{Allowance, Exhausted, Operation, Principal, RequestTrace, Span, Throttle};
use serde_json::value::RawValue;

use crate::era::Era;
use crate::exchange::{Exchange, Served};
use crate::fields::{PROTOCOL_VERSION, RequestFields};
use crate::job::Job;
use crate::message::{CALL_TOOL, Request};
use crate::methods::{self, Found, Handler, INITIALIZE, Method};
use crate::params::{bad_params, text};
use crate::reply::{Failure, LogFields, Refusal, Reply};
use crate::{legacy, modern, streaming, trace, version};

/// Answers one request, if its sender may ask now.
pub(crate) async fn answer(
    served: Served<'_>,
    principal: &Principal,
    fields: &dyn RequestFields,
    request: &mut Request<'_>,
    may_stream: bool,
    traced: Option<&mut RequestTrace>,
) -> Reply {
    let id = request.id;
    let found = methods::find(&request.method, served.catalog());
    let (method, name) = found.map(|Found { method, name }| (method, name)).unzip();
    let mut log = LogFields { method: name, ..LogFields::default() };
    let span = trace::begin(traced, served.catalog(), fields, request, log.method.as_ref());
    let allowance = match served.snapshot.service().throttle.as_deref() {
        None => None,
        Some(throttle) => match count(throttle, served, principal, request, log.method.as_deref()).await {
            Ok(allowance) => allowance,
            Err(exhausted) => return refused(id, span, exhausted.into(), log),
        },
    };
    let reply = handle(&served, principal, fields, request, (method, &mut log, span), may_stream).await;
    Reply { allowance, ..reply }
}

/// Returns the reply to a request that has no result.
fn refused(id: &RawValue, span: Span, refusal: Refusal, log: LogFields) -> Reply {
    trace::end(span, Err(&refusal), false, &log);
    Reply::refused(id, refusal, log)
}

/// Counts a request by its sender and, if it is a call, its tool.
async fn count(
    throttle: &dyn Throttle,
    served: Served<'_>,
    principal: &Principal,
    request: &Request<'_>,
    method: Option<&str>,
) -> Result<Option<Allowance>, Exhausted> {
    let service = served.snapshot.service();
    let name = if method == Some(CALL_TOOL) { text(request.params.name.as_ref()) } else { None };
    let tool = name.and_then(|name| service.catalog.tools.spec(name)).map(|spec| &spec.name);
    let operation = Operation { method, tool };
    let verdict = throttle.take(principal, operation).verdict().await;
    if let Err(exhausted) = verdict {
        // In a box of its own: rare, and no room for it in the future of every request.
        Box::pin(service.throttled(principal, served.request_id, operation, exhausted)).await;
    }
    verdict
}

async fn handle(
    served: &Served<'_>,
    principal: &Principal,
    fields: &dyn RequestFields,
    request: &mut Request<'_>,
    (method, log, mut span): (Option<&'static Method>, &mut LogFields, Span),
    may_stream: bool,
) -> Reply {
    let id = request.id;
    let era = match era(fields, request) {
        Ok(era) => era,
        Err(failure) => return refused(id, span, failure.into(), take(log)),
    };
    let mut exchange = Exchange {
        served: *served,
        principal,
        fields,
        era,
        request,
        span: &mut span,
        would_refuse: OnceLock::new(),
    };
    let method = match admit(&exchange, method) {
        Ok(method) => method,
        Err(refusal) => return refused(id, span, refusal, take(log)),
    };
    let outcome = match &method.handler {
        Handler::Job(target) => {
            let target = target(&mut exchange);
            let mut job = match target.and_then(|target| Job::new(&mut exchange, method.name, target)) {
                Ok(job) => job,
                Err(refusal) => return refused(id, span, refusal, take(log)),
            };
            job.log = take(log);
            return streaming::reply(job, may_stream).await;
        }
        Handler::Immediate(handle) => {
            handle(&mut exchange).map(|result| Reply::success(id, &result, take(log)))
        }
        Handler::Waiting(handle) => handle(&mut exchange).await.map(|result| {
            let mut log = take(log);
            log.would_refuse(exchange.would_refuse.take().unwrap_or_default());
            Reply::success(id, &result, log)
        }),
        Handler::Stream(open) if may_stream => {
            let listen = served.snapshot.service().listen(principal, served.request_id, method.name);
            // In a box of its own: rare, and no room for it in the future of every request.
            match Box::pin(listen).await {
                Ok(()) => open(&mut exchange, log.clone()),
                Err(_) => Err(Failure::not_audited().into()),
            }
        }
        Handler::Stream(_) => {
            Err(bad_params(format!("{} answers with a stream: accept text/event-stream", method.name)))
        }
    };
    match outcome {
        Ok(reply) => {
            trace::end(span, Ok(()), false, &reply.log);
            reply
        }
        Err(refusal) => refused(id, span, refusal, take(log)),
    }
}

/// Checks what the era demands of every request, then that the method is served.
fn admit(exchange: &Exchange<'_, '_>, method: Option<&'static Method>) -> Result<&'static Method, Refusal> {
    let (fields, request, era) = (exchange.fields, &*exchange.request, exchange.era);
    let mcp_name = method.and_then(|method| method.mcp_name);
    match era {
        Era::Modern => modern::check_request(fields, request, mcp_name)?,
        Era::Legacy => legacy::check_mirrors_if_present(fields, request, mcp_name)?,
    }
    let catalog = &exchange.served.snapshot.service().catalog;
    method.filter(|method| method.is_served(era, catalog)).ok_or_else(|| era.method_not_found())
}

/// Returns the era of a request (2026-07-28, basic/versioning, "Backward Compatibility with Initialization-Based Versions").
fn era(fields: &dyn RequestFields, request: &Request<'_>) -> Result<Era, Failure> {
    let is_modern = modern::declared_in(&request.params);
    // A client can't know the version before it has initialized, so the header says nothing then.
    if request.method == INITIALIZE && !is_modern {
        return Ok(Era::Legacy);
    }
    let names_version = request.params.meta.as_ref().is_some_and(|meta| meta.version.is_some());
    if names_version {
        // The header is compared with the version in `_meta` before that is judged.
        return Ok(Era::Modern);
    }
    let version = fields.field(PROTOCOL_VERSION);
    if modern::declared_by(version) {
        return Ok(Era::Modern);
    }
    version::check_header(version)?;
    Ok(if is_modern { Era::Modern } else { Era::Legacy })
}
