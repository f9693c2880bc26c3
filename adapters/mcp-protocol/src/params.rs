//! The members of `params` that methods read.

use std::collections::BTreeMap;

use domain::{ClientCapabilities, CompletionRef, LogLevel, Memory, TraceContext};
use serde_json::Value;
use serde_json::value::RawValue;
use syntax::strict_json::{Fault, Json, Members, Nothing, Unparsed, Unread};

use crate::reply::{Failure, Refusal, code};

/// The members of `params`, of whatever method. It is moved often, so it is kept small: members that many requests don't have
/// are in boxes.
#[derive(Default)]
pub(crate) struct Params<'a> {
    pub(crate) meta: Option<Box<Meta<'a>>>,
    pub(crate) name: Option<Json<'a>>,
    pub(crate) uri: Option<Json<'a>>,
    pub(crate) arguments: Option<Unparsed<&'a str>>,
    more: Option<Box<MoreParams<'a>>>,
}

/// Members that few requests have.
#[derive(Default)]
pub(crate) struct MoreParams<'a> {
    pub(crate) cursor: Option<Json<'a>>,
    pub(crate) protocol_version: Option<Json<'a>>,
    pub(crate) level: Option<Json<'a>>,
    pub(crate) reference: Option<Json<'a, Reference<'a>>>,
    pub(crate) argument: Option<Json<'a, CompletionArgument<'a>>>,
    pub(crate) context: Option<Json<'a, CompletionContext<'a>>>,
    pub(crate) input_responses: Option<Unparsed<&'a str>>,
    pub(crate) request_state: Option<Json<'a>>,
    pub(crate) notifications: Option<Unparsed<&'a str>>,
}

impl<'a> Members<'a> for Params<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "_meta" => self.meta = value.read()?.object().map(Box::new),
            "name" => self.name = Some(value.read()?),
            "uri" => self.uri = Some(value.read()?),
            "arguments" => self.arguments = Some(value.unparsed()?),
            "cursor" => self.more_mut().cursor = Some(value.read()?),
            "protocolVersion" => self.more_mut().protocol_version = Some(value.read()?),
            "level" => self.more_mut().level = Some(value.read()?),
            "ref" => self.more_mut().reference = Some(value.read()?),
            "argument" => self.more_mut().argument = Some(value.read()?),
            "context" => self.more_mut().context = Some(value.read()?),
            "inputResponses" => self.more_mut().input_responses = Some(value.unparsed()?),
            "requestState" => self.more_mut().request_state = Some(value.read()?),
            "notifications" => self.more_mut().notifications = Some(value.unparsed()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// The reserved members of a request's `_meta` (basic/index, "_meta").
#[derive(Default)]
pub(crate) struct Meta<'a> {
    pub(crate) version: Option<Json<'a>>,
    pub(crate) capabilities: Option<Json<'a, Capabilities>>,
    pub(crate) client_info: Option<Json<'a>>,
    pub(crate) log_level: Option<Json<'a>>,
    pub(crate) progress_token: Option<&'a RawValue>,
    traceparent: Option<Json<'a>>,
    tracestate: Option<Json<'a>>,
}

impl<'a> Members<'a> for Meta<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "io.modelcontextprotocol/protocolVersion" => self.version = present(value.read()?),
            "io.modelcontextprotocol/clientCapabilities" => self.capabilities = present(value.read()?),
            "io.modelcontextprotocol/clientInfo" => self.client_info = present(value.read()?),
            "io.modelcontextprotocol/logLevel" => self.log_level = present(value.read()?),
            "progressToken" => self.progress_token = Some(value.raw()?),
            "traceparent" => self.traceparent = Some(value.read()?),
            "tracestate" => self.tracestate = Some(value.read()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// Reads a member of `_meta`, where `null` means absence.
fn present<M>(json: Json<'_, M>) -> Option<Json<'_, M>> {
    (!matches!(json, Json::Null)).then_some(json)
}

/// `ClientCapabilities` in the schema: a capability is an object if the client has it.
#[derive(Default)]
pub(crate) struct Capabilities(ClientCapabilities);

impl<'a> Members<'a> for Capabilities {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        let has = matches!(value.read::<Nothing>()?, Json::Object(_));
        match name {
            "elicitation" => self.0.elicitation = has,
            "sampling" => self.0.sampling = has,
            "roots" => self.0.roots = has,
            _ => {}
        }
        Ok(())
    }
}

/// `PromptReference` and `ResourceTemplateReference` in the schema.
#[derive(Default)]
pub(crate) struct Reference<'a> {
    kind: Option<Json<'a>>,
    name: Option<Json<'a>>,
    uri: Option<Json<'a>>,
}

impl<'a> Members<'a> for Reference<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "type" => self.kind = Some(value.read()?),
            "name" => self.name = Some(value.read()?),
            "uri" => self.uri = Some(value.read()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl Reference<'_> {
    /// Returns what is referred to; `None` for a malformed reference.
    pub(crate) fn parse(&self) -> Option<CompletionRef<'_>> {
        match text(self.kind.as_ref())? {
            "ref/prompt" => text(self.name.as_ref()).map(CompletionRef::Prompt),
            "ref/resource" => text(self.uri.as_ref()).map(CompletionRef::Template),
            _ => None,
        }
    }
}

/// The `argument` of `CompleteRequestParams` in the schema: its name, and the value so far.
#[derive(Default)]
pub(crate) struct CompletionArgument<'a> {
    pub(crate) name: Option<Json<'a>>,
    pub(crate) value: Option<Json<'a>>,
}

impl<'a> Members<'a> for CompletionArgument<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "name" => self.name = Some(value.read()?),
            "value" => self.value = Some(value.read()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// The `context` of `CompleteRequestParams` in the schema: the arguments that are filled already.
#[derive(Default)]
pub(crate) struct CompletionContext<'a> {
    pub(crate) arguments: Option<Unparsed<&'a str>>,
}

impl<'a> Members<'a> for CompletionContext<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "arguments" => self.arguments = Some(value.unparsed()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// Returns whether this is a JSON-RPC id or a progress token as MCP narrows them: a string or a number, not `null`.
pub(crate) fn is_id(id: &RawValue) -> bool {
    id.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// Returns the text of a member, if it is one.
pub(crate) fn text<'a>(member: Option<&'a Json<'_>>) -> Option<&'a str> {
    member.and_then(Json::text)
}

/// Returns the refusal of params: -32602.
pub(crate) fn bad_params(message: impl Into<String>) -> Refusal {
    Failure::inline(code::INVALID_PARAMS, message).into()
}

/// Returns a member of `params` that must be text.
pub(crate) fn required_text(name: &str, member: Option<&Json<'_>>) -> Result<String, Refusal> {
    let value = text(member).map(ToOwned::to_owned);
    value.ok_or_else(|| bad_params(format!("params.{name} is not a string")))
}

impl<'a> Params<'a> {
    /// Returns the members that few requests have; `None` if there is none of them.
    pub(crate) fn more(&self) -> Option<&MoreParams<'a>> {
        self.more.as_deref()
    }

    /// Takes the members that few requests have.
    pub(crate) fn take_more(&mut self) -> MoreParams<'a> {
        self.more.take().map(|more| *more).unwrap_or_default()
    }

    fn more_mut(&mut self) -> &mut MoreParams<'a> {
        self.more.get_or_insert_default()
    }

    /// Returns the arguments, an object; `None` for null and absence.
    pub(crate) fn arguments(&self) -> Result<Option<&Unparsed<&'a str>>, Refusal> {
        object("arguments", self.arguments.as_ref())
    }

    /// Returns the responses to earlier requests for input, and the memory of their trees, which is counted before they are
    /// made.
    pub(crate) fn input_responses(
        &self,
        memory: &mut Memory,
    ) -> Result<(BTreeMap<String, Value>, usize), Refusal> {
        let responses = self.more().and_then(|more| more.input_responses.as_ref());
        let Some(responses) = object("inputResponses", responses)? else {
            return Ok((BTreeMap::new(), 0));
        };
        memory.add(responses.tree_bytes())?;
        Ok((members(responses.parse()), responses.tree_bytes()))
    }
}

/// Returns a member of `params` that must be an object; `None` for null and absence.
fn object<'r, 'a>(
    name: &str,
    value: Option<&'r Unparsed<&'a str>>,
) -> Result<Option<&'r Unparsed<&'a str>>, Refusal> {
    let value = value.filter(|value| value.text() != "null");
    match value {
        Some(value) if !value.text().starts_with('{') => {
            Err(bad_params(format!("params.{name} is not an object")))
        }
        value => Ok(value),
    }
}

/// Returns the members of an object.
pub(crate) fn members(object: Value) -> BTreeMap<String, Value> {
    if let Value::Object(members) = object { members.into_iter().collect() } else { BTreeMap::new() }
}

impl Meta<'_> {
    /// Returns the lowest level of log messages that the client asks for; `None` if it asks for none.
    pub(crate) fn log_level(&self) -> Result<Option<LogLevel>, Refusal> {
        let unknown = || bad_params("params._meta: io.modelcontextprotocol/logLevel is no log level");
        let level = |named: &Json<'_>| named.text().and_then(level).ok_or_else(unknown);
        self.log_level.as_ref().map(level).transpose()
    }

    /// Returns the progress token, a string or a number.
    pub(crate) fn progress_token(&self) -> Option<Box<RawValue>> {
        self.progress_token.filter(|token| is_id(token)).map(ToOwned::to_owned)
    }

    /// Returns the span that the request belongs to (2026-07-28, basic/index, "_meta": the W3C's Trace Context); `None` where
    /// none is named, or not well.
    pub(crate) fn trace_context(&self) -> Option<TraceContext> {
        TraceContext::parse(text(self.traceparent.as_ref())?, text(self.tracestate.as_ref()))
    }

    /// Returns the capabilities that the client declares.
    pub(crate) fn declared(&self) -> ClientCapabilities {
        match &self.capabilities {
            Some(Json::Object(capabilities)) => capabilities.0,
            _ => ClientCapabilities::default(),
        }
    }
}

/// Returns the log level of this name.
pub(crate) fn level(name: &str) -> Option<LogLevel> {
    LEVELS.into_iter().find(|(known, _)| *known == name).map(|(_, level)| level)
}

/// Returns the name of a log level.
pub(crate) fn level_name(level: LogLevel) -> &'static str {
    LEVELS.into_iter().find(|(_, known)| *known == level).map_or("info", |(name, _)| name)
}

const LEVELS: [(&str, LogLevel); 8] = [
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("notice", LogLevel::Notice),
    ("warning", LogLevel::Warning),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Critical),
    ("alert", LogLevel::Alert),
    ("emergency", LogLevel::Emergency),
];
