//! The members of `params`, each still JSON text, and what several methods read of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::{ClientCapabilities, LogLevel};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::Refusal;
use crate::reply::{Failure, code};

/// The members of `params` that some method reads, each still JSON text.
#[derive(Default, Deserialize)]
pub(crate) struct Params<'a> {
    #[serde(borrow, rename = "_meta", default, deserialize_with = "present")]
    pub(crate) meta: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) uri: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) arguments: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) cursor: Option<&'a RawValue>,
    #[serde(borrow, rename = "protocolVersion", default, deserialize_with = "present")]
    pub(crate) protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) level: Option<&'a RawValue>,
    #[serde(borrow, rename = "ref", default, deserialize_with = "present")]
    pub(crate) reference: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) argument: Option<&'a RawValue>,
    #[serde(borrow, rename = "inputResponses", default, deserialize_with = "present")]
    pub(crate) input_responses: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestState", default, deserialize_with = "present")]
    pub(crate) request_state: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) notifications: Option<&'a RawValue>,
}

/// The reserved members of a request's `_meta` (basic/index, "_meta").
#[derive(Default, Deserialize)]
pub(crate) struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(crate) version: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(crate) capabilities: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientInfo")]
    pub(crate) client_info: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/logLevel")]
    pub(crate) log_level: Option<&'a RawValue>,
    #[serde(borrow, rename = "progressToken")]
    pub(crate) progress_token: Option<&'a RawValue>,
}

/// Keeps `null` apart from absence: an id of `null` is refused, an absent one makes a notification.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A JSON string's text, borrowed where it holds no escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string; `None` for any other value.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

pub(crate) fn bad_params(message: impl Into<String>) -> Refusal {
    Failure::inline(code::INVALID_PARAMS, message).into()
}

/// A member of `params` that must be text.
pub(crate) fn required_text(name: &str, raw: Option<&RawValue>) -> Result<String, Refusal> {
    let value = raw.and_then(text).map(Cow::into_owned);
    value.ok_or_else(|| bad_params(format!("params.{name} is not a string")))
}

impl<'a> Params<'a> {
    pub(crate) fn parsed_meta(&self) -> Option<Meta<'a>> {
        let meta = self.meta.filter(|meta| is_object(meta))?;
        serde_json::from_str(meta.get()).ok()
    }

    /// A tool's arguments; absent or null, they mean `{}`.
    pub(crate) fn tool_arguments(&self) -> Result<Value, Refusal> {
        let not_an_object = || bad_params("params.arguments is not an object");
        let parsed = self.arguments.map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get()));
        match parsed.map_err(|_| not_an_object())? {
            Value::Null => Ok(Value::Object(Map::new())),
            arguments @ Value::Object(_) => Ok(arguments),
            _ => Err(not_an_object()),
        }
    }

    /// A prompt's arguments, which are texts.
    pub(crate) fn prompt_arguments(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let parsed = self.arguments.map_or(Ok(None), |raw| serde_json::from_str::<Option<_>>(raw.get()));
        Ok(parsed
            .map_err(|_| bad_params("params.arguments is not an object of strings"))?
            .unwrap_or_default())
    }

    /// Answers to earlier questions.
    pub(crate) fn answers(&self) -> Result<BTreeMap<String, Value>, Refusal> {
        let parsed =
            self.input_responses.map_or(Ok(None), |raw| serde_json::from_str::<Option<_>>(raw.get()));
        Ok(parsed.map_err(|_| bad_params("params.inputResponses is not an object"))?.unwrap_or_default())
    }
}

impl Meta<'_> {
    /// The least level that the client wants to hear of; `None` if it wants none.
    pub(crate) fn log_level(&self) -> Result<Option<LogLevel>, Refusal> {
        let unknown = || bad_params("params._meta: io.modelcontextprotocol/logLevel is no log level");
        self.log_level.map(|raw| text(raw).and_then(|name| level(&name)).ok_or_else(unknown)).transpose()
    }

    /// A progress token is a string or an integer.
    pub(crate) fn progress_token(&self) -> Option<Box<RawValue>> {
        let is_token = |raw: &&RawValue| {
            raw.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
        };
        self.progress_token.filter(is_token).map(ToOwned::to_owned)
    }

    /// What the client declares that it can do.
    pub(crate) fn declared(&self) -> ClientCapabilities {
        let declared = self.capabilities.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        let has = |name: &str| declared.as_ref().is_some_and(|declared| declared[name].is_object());
        ClientCapabilities { elicitation: has("elicitation"), sampling: has("sampling"), roots: has("roots") }
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
