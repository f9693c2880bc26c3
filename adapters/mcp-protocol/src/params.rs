//! The members of `params`, and what several methods read of them.

use std::collections::BTreeMap;

use domain::{ClientCapabilities, LogLevel, Memory};
use serde_json::Value;
use serde_json::value::RawValue;
use syntax::strict_json::{Json, MapAccess, Members, Nothing, Unparsed, Unread};

use crate::message::is_id;
use crate::reply::{Failure, code};
use crate::{Reference, Refusal, Typed};

/// The members of `params` that some method reads.
#[derive(Default)]
pub(crate) struct Params<'a> {
    pub(crate) meta: Option<Meta<'a>>,
    pub(crate) name: Option<Json<'a>>,
    pub(crate) uri: Option<Json<'a>>,
    pub(crate) arguments: Option<Unparsed<&'a RawValue>>,
    pub(crate) cursor: Option<Json<'a>>,
    pub(crate) protocol_version: Option<Json<'a>>,
    pub(crate) level: Option<Json<'a>>,
    pub(crate) reference: Option<Json<'a, Reference<'a>>>,
    pub(crate) argument: Option<Json<'a, Typed<'a>>>,
    pub(crate) input_responses: Option<Unparsed<&'a RawValue>>,
    pub(crate) request_state: Option<Json<'a>>,
    pub(crate) notifications: Option<Unparsed<&'a RawValue>>,
}

impl<'a> Members<'a> for Params<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        match name {
            "_meta" => self.meta = value.read()?.object(),
            "name" => self.name = Some(value.read()?),
            "uri" => self.uri = Some(value.read()?),
            "arguments" => self.arguments = Some(value.unparsed()?),
            "cursor" => self.cursor = Some(value.read()?),
            "protocolVersion" => self.protocol_version = Some(value.read()?),
            "level" => self.level = Some(value.read()?),
            "ref" => self.reference = Some(value.read()?),
            "argument" => self.argument = Some(value.read()?),
            "inputResponses" => self.input_responses = Some(value.unparsed()?),
            "requestState" => self.request_state = Some(value.read()?),
            "notifications" => self.notifications = Some(value.unparsed()?),
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
}

impl<'a> Members<'a> for Meta<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        match name {
            "io.modelcontextprotocol/protocolVersion" => self.version = given(value.read()?),
            "io.modelcontextprotocol/clientCapabilities" => self.capabilities = given(value.read()?),
            "io.modelcontextprotocol/clientInfo" => self.client_info = given(value.read()?),
            "io.modelcontextprotocol/logLevel" => self.log_level = given(value.read()?),
            "progressToken" => self.progress_token = Some(value.raw()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// In `_meta`, `null` means absence.
fn given<M>(json: Json<'_, M>) -> Option<Json<'_, M>> {
    (!matches!(json, Json::Null)).then_some(json)
}

/// `ClientCapabilities` in the schema: each an object where the client has it.
#[derive(Default)]
pub(crate) struct Capabilities(ClientCapabilities);

impl<'a> Members<'a> for Capabilities {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
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

/// The text of a member, if it is one.
pub(crate) fn text<'a>(member: Option<&'a Json<'_>>) -> Option<&'a str> {
    member.and_then(Json::text)
}

pub(crate) fn bad_params(message: impl Into<String>) -> Refusal {
    Failure::inline(code::INVALID_PARAMS, message).into()
}

/// A member of `params` that must be text.
pub(crate) fn required_text(name: &str, member: Option<&Json<'_>>) -> Result<String, Refusal> {
    let value = text(member).map(ToOwned::to_owned);
    value.ok_or_else(|| bad_params(format!("params.{name} is not a string")))
}

impl<'a> Params<'a> {
    /// The arguments, an object; absent or null, there are none.
    pub(crate) fn arguments(&self) -> Result<Option<&Unparsed<&'a RawValue>>, Refusal> {
        object("arguments", self.arguments.as_ref())
    }

    /// Answers to earlier questions, for whose trees there must be memory.
    pub(crate) fn answers(&self, memory: &mut Memory) -> Result<BTreeMap<String, Value>, Refusal> {
        let Some(responses) = object("inputResponses", self.input_responses.as_ref())? else {
            return Ok(BTreeMap::new());
        };
        memory.add(responses.tree_bytes())?;
        Ok(members(responses.parse()))
    }
}

/// A member of `params` that is an object; none for `null` and absence.
fn object<'r, 'a>(
    name: &str,
    value: Option<&'r Unparsed<&'a RawValue>>,
) -> Result<Option<&'r Unparsed<&'a RawValue>>, Refusal> {
    let value = value.filter(|value| value.text() != "null");
    match value {
        Some(value) if !value.text().starts_with('{') => {
            Err(bad_params(format!("params.{name} is not an object")))
        }
        value => Ok(value),
    }
}

/// An object's members, moved out of it.
pub(crate) fn members(object: Value) -> BTreeMap<String, Value> {
    if let Value::Object(members) = object { members.into_iter().collect() } else { BTreeMap::new() }
}

impl Meta<'_> {
    /// The least level that the client wants to hear of; `None` if it wants none.
    pub(crate) fn log_level(&self) -> Result<Option<LogLevel>, Refusal> {
        let unknown = || bad_params("params._meta: io.modelcontextprotocol/logLevel is no log level");
        let level = |named: &Json<'_>| named.text().and_then(level).ok_or_else(unknown);
        self.log_level.as_ref().map(level).transpose()
    }

    /// A progress token is a string or an integer.
    pub(crate) fn progress_token(&self) -> Option<Box<RawValue>> {
        self.progress_token.filter(|token| is_id(token)).map(ToOwned::to_owned)
    }

    /// What the client declares that it can do.
    pub(crate) fn declared(&self) -> ClientCapabilities {
        match &self.capabilities {
            Some(Json::Object(capabilities)) => capabilities.0,
            _ => ClientCapabilities::default(),
        }
    }
}

/// The log level of this name.
pub(crate) fn level(name: &str) -> Option<LogLevel> {
    LEVELS.into_iter().find(|(known, _)| *known == name).map(|(_, level)| level)
}

/// And its name.
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
