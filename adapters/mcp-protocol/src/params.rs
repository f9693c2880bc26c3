//! The members of `params`, and what several methods read of them.

use std::collections::BTreeMap;

use domain::strict_json::{Json, MapAccess, Members, Nothing, Unread};
use domain::{ClientCapabilities, LogLevel};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::Refusal;
use crate::message::is_id;
use crate::reply::{Failure, code};

/// The members of `params` that some method reads.
#[derive(Default)]
pub(crate) struct Params<'a> {
    pub(crate) meta: Option<Meta<'a>>,
    pub(crate) name: Option<Json<'a>>,
    pub(crate) uri: Option<Json<'a>>,
    pub(crate) arguments: Option<Value>,
    pub(crate) cursor: Option<Json<'a>>,
    pub(crate) protocol_version: Option<Json<'a>>,
    pub(crate) level: Option<Json<'a>>,
    pub(crate) reference: Option<Value>,
    pub(crate) argument: Option<Value>,
    pub(crate) input_responses: Option<Value>,
    pub(crate) request_state: Option<Json<'a>>,
    pub(crate) notifications: Option<Value>,
}

impl<'a> Members<'a> for Params<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        match name {
            "_meta" => self.meta = value.read()?.object(),
            "name" => self.name = Some(value.read()?),
            "uri" => self.uri = Some(value.read()?),
            "arguments" => self.arguments = Some(value.value()?),
            "cursor" => self.cursor = Some(value.read()?),
            "protocolVersion" => self.protocol_version = Some(value.read()?),
            "level" => self.level = Some(value.read()?),
            "ref" => self.reference = Some(value.value()?),
            "argument" => self.argument = Some(value.value()?),
            "inputResponses" => self.input_responses = Some(value.value()?),
            "requestState" => self.request_state = Some(value.read()?),
            "notifications" => self.notifications = Some(value.value()?),
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

impl Params<'_> {
    /// A tool's arguments; absent or null, they mean `{}`.
    pub(crate) fn tool_arguments(&mut self) -> Result<Value, Refusal> {
        match self.arguments.take().unwrap_or_default() {
            Value::Null => Ok(Value::Object(Map::new())),
            arguments @ Value::Object(_) => Ok(arguments),
            _ => Err(bad_params("params.arguments is not an object")),
        }
    }

    /// A prompt's arguments, which are texts.
    pub(crate) fn prompt_arguments(&mut self) -> Result<BTreeMap<String, String>, Refusal> {
        members(&mut self.arguments).map_err(|_| bad_params("params.arguments is not an object of strings"))
    }

    /// Answers to earlier questions.
    pub(crate) fn answers(&mut self) -> Result<BTreeMap<String, Value>, Refusal> {
        members(&mut self.input_responses).map_err(|_| bad_params("params.inputResponses is not an object"))
    }
}

/// An object's members; absent or null, there are none.
fn members<T: DeserializeOwned>(object: &mut Option<Value>) -> serde_json::Result<BTreeMap<String, T>> {
    let members: Option<_> = serde_json::from_value(object.take().unwrap_or_default())?;
    Ok(members.unwrap_or_default())
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
