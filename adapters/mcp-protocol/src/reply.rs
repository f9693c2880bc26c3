//! Replies: JSON-RPC results and errors as bytes, with what a transport needs to send them.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use domain::{Allowance, CallError, Denial, Exhausted, ToolName};
use futures_util::Stream;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::json_text::push_value;

/// JSON-RPC error codes: the standard's, and MCP's own (2026-07-28, basic/index, "Error Codes").
pub(crate) mod code {
    pub(crate) const PARSE_ERROR: i32 = -32700;
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
    pub(crate) const INVALID_PARAMS: i32 = -32602;
    pub(crate) const INTERNAL_ERROR: i32 = -32603;
    /// Before 2026-07-28, server/resources.
    pub(crate) const RESOURCE_NOT_FOUND: i32 = -32002;
    pub(crate) const HEADER_MISMATCH: i32 = -32020;
    pub(crate) const MISSING_CAPABILITY: i32 = -32021;
    pub(crate) const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;
    /// This server's own, outside the range that JSON-RPC reserves: the equivalent HTTP statuses.
    pub(crate) const UNAUTHORIZED: i32 = 401;
    pub(crate) const FORBIDDEN: i32 = 403;
    pub(crate) const OVERLOADED: i32 = 503;
    pub(crate) const TOO_MANY_REQUESTS: i32 = 429;
}

/// The body of a reply.
pub enum Body {
    /// No body.
    Empty,
    /// One JSON document.
    Whole(Vec<u8>),
    /// A stream of JSON documents; the last one is the response.
    Stream(Messages),
}

/// A stream of messages. Dropping it ends the work behind it.
pub struct Messages {
    /// The work behind it.
    pub source: Source,
    /// The messages.
    pub stream: Pin<Box<dyn Stream<Item = Vec<u8>> + Send>>,
    /// The fields of the log line, complete once they have ended.
    pub log: Arc<Mutex<LogFields>>,
}

/// The work behind a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A call: it ends by itself, or by its deadline.
    Call,
    /// A subscription: it lasts until the client ends it, and nothing is lost when it is refused.
    Subscription,
}

/// The reply to one HTTP request.
pub struct Reply {
    /// The outcome, for the status line.
    pub status: Status,
    /// The body.
    pub body: Body,
    /// The fields of the log line.
    pub log: LogFields,
    /// How much is left of the caller's quota, if it has one.
    pub allowance: Option<Allowance>,
}

/// The outcome in neutral terms, each with the HTTP status that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// A JSON-RPC response. HTTP 200.
    Ok,
    /// A notification or a response was accepted. HTTP 202, no body.
    Accepted,
    /// The message is invalid. HTTP 400.
    BadRequest,
    /// A modern request for a method that is not served. HTTP 404.
    NotFound,
    /// The token lacks scopes, or a rule refuses: HTTP 403 or 401, with a challenge where that helps (RFC 6750 section 3.1, RFC
    /// 9470 section 3); there is no JSON-RPC body.
    Denied(Box<Denial>),
    /// What a request needs is not there at the moment. HTTP 503; the body is a JSON-RPC error.
    Unavailable,
    /// A limit is reached: HTTP 503, or 429 for a limit of a subject or client. The body is a JSON-RPC error.
    Exhausted(Exhausted),
}

/// The protocol's fields of a log line; none has text of the client's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFields {
    /// The method, if it is one of MCP's or of the catalog.
    pub method: Option<Cow<'static, str>>,
    /// The tool, if it is in the catalog.
    pub tool: Option<ToolName>,
    /// The stable code of the reason for anything but success.
    pub reason: Option<&'static str>,
    /// The rules that refused or would have; `None` if there are none, so that other requests have no room for them.
    pub rules: Option<Box<LoggedRules>>,
}

/// The names of rules that a log line has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedRules {
    /// Those that refused.
    pub refused: Vec<Arc<str>>,
    /// Those in shadow mode that would have refused.
    pub would_refuse: Vec<Arc<str>>,
}

impl LogFields {
    /// Adds why a request is denied.
    pub(crate) fn denied(mut self, denial: &Denial) -> Self {
        self.reason = Some(denial.code());
        if !denial.rules().is_empty() {
            self.rules.get_or_insert_default().refused = denial.rules().to_vec();
        }
        self
    }

    /// Sets the rules in shadow mode that would have refused.
    pub(crate) fn would_refuse(&mut self, rules: Vec<Arc<str>>) {
        if !rules.is_empty() {
            self.rules.get_or_insert_default().would_refuse = rules;
        }
    }
}

/// Why a request has no result.
pub(crate) enum Refusal {
    /// A JSON-RPC error.
    Failure(Failure),
    /// The token lacks scopes, or a rule refuses, which HTTP reports, not JSON-RPC.
    Denied(Denial),
    /// A limit is reached.
    Exhausted(Exhausted),
}

impl From<Exhausted> for Refusal {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// The `result` of a response, as JSON text.
pub(crate) struct RenderedResult(Vec<u8>);

impl RenderedResult {
    /// The usual length of a result, in bytes: a longer one is reallocated as it grows.
    pub(crate) const USUAL_BYTES: usize = 1024;

    /// Creates the result whose JSON text this is.
    pub(crate) fn of_json(text: Vec<u8>) -> Self {
        Self(text)
    }
}

/// Renders a result.
pub(crate) fn rendered(result: &impl Serialize) -> RenderedResult {
    let mut text = Vec::with_capacity(RenderedResult::USUAL_BYTES);
    push_value(&mut text, result);
    RenderedResult(text)
}

/// A JSON-RPC error.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl Failure {
    /// Creates the error for what is no valid JSON-RPC request: -32600, and HTTP's 400.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::malformed(code::INVALID_REQUEST, message)
    }

    /// Creates an error that HTTP reports, too, with 400.
    pub(crate) fn malformed(code: i32, message: impl Into<String>) -> Self {
        Self { status: Status::BadRequest, code, message: message.into(), data: None }
    }

    /// Creates the error for what is permitted, but can't be accounted for.
    pub(crate) fn not_audited() -> Self {
        let failure = Self::inline(code::OVERLOADED, CallError::NotAudited.to_string());
        Self { status: Status::Unavailable, ..failure }
    }

    /// Creates the error that has the content of the HTTP response to a single request.
    pub(crate) fn denied(denial: &Denial) -> Self {
        let error = denial.error();
        let (code, data) = match (denial.lacking(), denial.login()) {
            (Some(lacking), _) => {
                (code::FORBIDDEN, json!({"error": error, "scope": lacking.to_request.to_string()}))
            }
            (None, Some(demand)) => {
                let mut data = json!({"error": error, "scope": demand.scopes.to_string()});
                if let Some(max_age) = demand.max_age {
                    data["max_age"] = max_age.as_secs().into();
                }
                if !demand.acr_values.is_empty() {
                    data["acr_values"] = demand.acr_values.join(" ").into();
                }
                (code::UNAUTHORIZED, data)
            }
            (None, None) => (code::FORBIDDEN, json!({"error": error})),
        };
        Self::inline(code, denial.description()).with_data(data)
    }

    /// Creates an error inside a 200.
    pub(crate) fn inline(code: i32, message: impl Into<String>) -> Self {
        Self { status: Status::Ok, code, message: message.into(), data: None }
    }

    pub(crate) fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    pub(crate) const fn reason(&self) -> &'static str {
        match self.code {
            code::PARSE_ERROR => "parse_error",
            code::INVALID_REQUEST => "invalid_request",
            code::METHOD_NOT_FOUND => "method_not_found",
            code::INVALID_PARAMS => "invalid_params",
            code::HEADER_MISMATCH => "header_mismatch",
            code::MISSING_CAPABILITY => "missing_client_capability",
            code::RESOURCE_NOT_FOUND => "unknown_resource",
            code::OVERLOADED => CallError::NotAudited.code(),
            code::UNSUPPORTED_PROTOCOL_VERSION => "unsupported_protocol_version",
            _ => "internal_error",
        }
    }
}

#[derive(Serialize)]
struct FailureBody<'a> {
    jsonrpc: &'static str,
    /// Left out when the request's id could not be read (2026-07-28, basic/index, "Error Responses").
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

#[derive(Serialize)]
struct Notification<'a, P> {
    jsonrpc: &'static str,
    method: &'a str,
    params: &'a P,
}

/// Returns a response with a result; the id stays as it was written.
pub(crate) fn success(id: &RawValue, result: &RenderedResult) -> Vec<u8> {
    [br#"{"jsonrpc":"2.0","id":"#, id.get().as_bytes(), br#","result":"#, &result.0, b"}"].concat()
}

/// Returns a notification; what is raw in `params` stays as it is.
pub(crate) fn notification<P: Serialize>(method: &str, params: &P) -> Vec<u8> {
    // Strings, numbers and values made from JSON: rendering them can't fail.
    serde_json::to_vec(&Notification { jsonrpc: "2.0", method, params }).unwrap_or_default()
}

impl Reply {
    /// Returns how much is left of the caller's quota, also where that is why there is no result.
    #[must_use]
    pub fn quota_left(&self) -> Option<Allowance> {
        match self.status {
            Status::Exhausted(exhausted) => exhausted.allowance().or(self.allowance),
            _ => self.allowance,
        }
    }

    pub(crate) fn accepted(log: LogFields) -> Self {
        Self { status: Status::Accepted, body: Body::Empty, log, allowance: None }
    }

    pub(crate) fn denied(denial: Denial, log: LogFields) -> Self {
        let log = log.denied(&denial);
        Self { status: Status::Denied(Box::new(denial)), body: Body::Empty, log, allowance: None }
    }

    /// Creates the reply to a request that has no result.
    pub(crate) fn refused(id: &RawValue, refusal: Refusal, log: LogFields) -> Self {
        match refusal {
            Refusal::Denied(denial) => Self::denied(denial, log),
            Refusal::Failure(failure) => Self::failure(Some(id), &failure, log),
            Refusal::Exhausted(exhausted) => Self::exhausted(Some(id), exhausted, log),
        }
    }

    /// Creates the reply to what exceeds a limit.
    pub(crate) fn exhausted(id: Option<&RawValue>, exhausted: Exhausted, log: LogFields) -> Self {
        let code = match exhausted {
            Exhausted::Pool | Exhausted::Uncounted { .. } => code::OVERLOADED,
            Exhausted::Share | Exhausted::Rate { .. } => code::TOO_MANY_REQUESTS,
        };
        let failure = Failure::inline(code, format!("{exhausted}; try again"));
        let failure = Failure { status: Status::Exhausted(exhausted), ..failure };
        Self::failure(id, &failure, LogFields { reason: Some(exhausted.code()), ..log })
    }

    pub(crate) fn success(id: &RawValue, result: &RenderedResult, log: LogFields) -> Self {
        Self { status: Status::Ok, body: Body::Whole(success(id, result)), log, allowance: None }
    }

    pub(crate) fn failure(id: Option<&RawValue>, failure: &Failure, log: LogFields) -> Self {
        let error =
            ErrorObject { code: failure.code, message: &failure.message, data: failure.data.as_ref() };
        // Strings and values made from JSON: rendering them can't fail.
        let body = serde_json::to_vec(&FailureBody { jsonrpc: "2.0", id, error }).unwrap_or_default();
        let log = LogFields { reason: log.reason.or(Some(failure.reason())), ..log };
        Self { status: failure.status.clone(), body: Body::Whole(body), log, allowance: None }
    }
}
