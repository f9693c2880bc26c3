//! Batches (2025-03-26, basic, "Batching"): several messages in one body, answered in one array.
//!
//! The messages are handled one after another, within the limits of one request, each as if it were sent alone; but nothing is
//! streamed, so that progress and log messages are dropped, and a tool can't request input.

use std::sync::Arc;

use domain::{Allowance, Denial, Memory, Principal, RequestTrace};
use serde_json::value::RawValue;
use tracing::field::display;

use crate::exchange::Served;
use crate::fields::{PROTOCOL_VERSION, RequestFields};
use crate::message::{Incoming, InvalidMessage, Request};
use crate::methods::INITIALIZE;
use crate::reply::{Body, Failure, LogFields, Refusal, Reply, Status};
use crate::{dispatch, forwarding, trace, version};

/// The parts of a batch, each parsed.
pub(crate) type Parts<'a> = Vec<Result<Incoming<'a>, InvalidMessage<'a>>>;

/// The responses so far.
struct Responses {
    /// The JSON array, without its end.
    body: Vec<u8>,
    /// The number of responses, and of those that report a denial.
    count: usize,
    denied_count: usize,
    denied: Option<Denial>,
    /// A response was passed on, so the batch must not be sent again.
    took_response: bool,
    /// Where the memory of the array is counted.
    memory: Memory,
    /// What the last part that was counted left of a quota.
    allowance: Option<Allowance>,
}

/// Answers a batch.
pub(crate) async fn answer(
    served: Served<'_>,
    principal: &Principal,
    fields: &dyn RequestFields,
    parts: Parts<'_>,
    memory: Memory,
    mut trace: Option<&mut RequestTrace>,
) -> Reply {
    let log = LogFields { method: Some("batch".into()), ..LogFields::default() };
    if let Err(failure) = version::check_batch(fields.field(PROTOCOL_VERSION)) {
        return Reply::failure(None, &failure, log);
    }
    let is_malformed = parts.iter().all(Result::is_err);
    let mut responses = Responses {
        body: Vec::new(),
        count: 0,
        denied_count: 0,
        denied: None,
        took_response: false,
        memory,
        allowance: None,
    };
    for part in parts {
        match part {
            Ok(Incoming::Request(mut request)) => {
                let id = request.id;
                request.memory = Some(responses.memory.part());
                let reply = answer_request(served, principal, fields, &mut request, trace.as_deref_mut());
                responses.add(Some(id), reply.await);
            }
            Ok(Incoming::Response { id, result }) => {
                responses.took_response = true;
                let memory = responses.memory.part();
                let respond = forwarding::respond(served, principal, id.as_deref(), result.as_ref(), memory);
                if let Err(not_passed_on) = respond.await {
                    responses.add(None, not_passed_on.reply());
                }
            }
            Ok(Incoming::Notification) => {}
            Err(InvalidMessage { id, failure }) => {
                responses.add(id, Reply::failure(id, &failure, LogFields::default()));
            }
        }
    }
    responses.into_reply(is_malformed, log)
}

async fn answer_request(
    served: Served<'_>,
    principal: &Principal,
    fields: &dyn RequestFields,
    request: &mut Request<'_>,
    traced: Option<&mut RequestTrace>,
) -> Reply {
    if request.method == INITIALIZE {
        let method = Some(INITIALIZE.into());
        let span = trace::begin(traced, served.catalog(), fields, request, method.as_ref());
        let log = LogFields { method, ..LogFields::default() };
        // 2025-03-26, basic/lifecycle, "Initialization".
        let failure = Failure::invalid_request("initialize must not be part of a batch: send it alone");
        let refusal = Refusal::Failure(failure);
        trace::end(span, Err(&refusal), false, &log);
        return Reply::refused(request.id, refusal, log);
    }
    dispatch::answer(served, principal, fields, request, false, traced).await
}

impl Responses {
    fn add(&mut self, id: Option<&RawValue>, reply: Reply) {
        let LogFields { method, tool, reason, rules } = &reply.log;
        let method = method.as_deref();
        let tool = tool.as_ref().map(domain::ToolName::as_str);
        let would_refuse = rules.as_deref().and_then(|rules| names_list(&rules.would_refuse)).map(display);
        let rules = rules.as_deref().and_then(|rules| names_list(&rules.refused)).map(display);
        tracing::info!(rpc = method, tool, reason, rules, would_refuse, "part of a batch");
        self.allowance = reply.quota_left().or(self.allowance);
        let body = match (reply.status, reply.body) {
            (Status::Denied(denied), _) => {
                let body = document(Reply::failure(id, &Failure::denied(&denied), LogFields::default()));
                self.denied_count += 1;
                self.denied = Some(match self.denied.take() {
                    Some(before) => before.and(*denied),
                    None => *denied,
                });
                body
            }
            (_, body) => document_of(body),
        };
        let body = match self.memory.add(body.len()) {
            Ok(()) => body,
            // The work is done, but there is no memory for its response.
            Err(exhausted) => document(match id {
                Some(id) => Reply::refused(id, Refusal::Exhausted(exhausted), LogFields::default()),
                None => Reply::failure(
                    None,
                    &Failure::invalid_request("not a JSON-RPC message"),
                    LogFields::default(),
                ),
            }),
        };
        self.body.push(if self.count == 0 { b'[' } else { b',' });
        self.body.extend(body);
        self.count += 1;
    }

    fn into_reply(mut self, is_malformed: bool, log: LogFields) -> Reply {
        if self.count == 0 {
            return Reply::accepted(log);
        }
        // Nothing was done: HTTP's challenge then has clients get what it takes.
        let nothing_done = self.denied_count == self.count && !self.took_response;
        if let Some(denied) = self.denied.take().filter(|_| nothing_done) {
            return Reply { allowance: self.allowance, ..Reply::denied(denied, log) };
        }
        self.body.push(b']');
        let status = if is_malformed { Status::BadRequest } else { Status::Ok };
        let reason = is_malformed.then_some("invalid_request");
        let log = LogFields { reason, ..log };
        Reply { status, body: Body::Whole(self.body), log, allowance: self.allowance }
    }
}

/// Returns names as JSON, which is a list in a JSON log; nothing if there are none.
fn names_list(names: &[Arc<str>]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    // Strings: rendering them can't fail.
    (!names.is_empty()).then(|| serde_json::to_string(&names).unwrap_or_default())
}

fn document(reply: Reply) -> Vec<u8> {
    document_of(reply.body)
}

fn document_of(body: Body) -> Vec<u8> {
    match body {
        Body::Whole(document) => document,
        // Parts are not streamed, and only denials are without a document.
        Body::Empty | Body::Stream(_) => b"null".to_vec(),
    }
}
