//! Bodies: objects of known members. Each is taken by its name, and what nobody takes is refused.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use syntax::strict_json;

use super::error::ApiError;

/// The members of a body that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    pub(super) fn parse(text: &[u8]) -> Result<Self, ApiError> {
        match strict_json::parse(text) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(ApiError::invalid_body("Payload validation error: 'Expected type object'.")),
            Err(error) => Err(ApiError::invalid_body(format!("Payload validation error: '{error}'."))),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a member, if there is one. An `Option` of it may be null, which means that it is not set.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        self.0.remove(name).map(|value| read(name, value)).transpose()
    }

    pub(super) fn require<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ApiError> {
        self.take(name)?.ok_or_else(|| missing(name))
    }

    /// Takes a text of at most `max` characters that is not empty.
    pub(super) fn text(&mut self, name: &str, max: usize) -> Result<Option<String>, ApiError> {
        let Some(text) = self.take_text(name, max)? else {
            return Ok(None);
        };
        if text.is_empty() { Err(ApiError::property(name, "String is too short")) } else { Ok(Some(text)) }
    }

    /// Takes a text of at most `max` characters.
    pub(super) fn take_text(&mut self, name: &str, max: usize) -> Result<Option<String>, ApiError> {
        let text: Option<String> = self.take(name)?;
        match text {
            Some(text) if text.chars().count() > max => {
                Err(ApiError::property(name, format!("String is longer than {max} characters")))
            }
            text => Ok(text),
        }
    }

    pub(super) fn require_text(&mut self, name: &str, max: usize) -> Result<String, ApiError> {
        self.text(name, max)?.ok_or_else(|| missing(name))
    }

    /// Takes texts of at most `max_chars` characters each.
    pub(super) fn texts(
        &mut self,
        name: &str,
        max: usize,
        max_chars: usize,
    ) -> Result<Option<Vec<String>>, ApiError> {
        let texts: Option<Vec<String>> = self.take(name)?;
        let Some(texts) = texts else {
            return Ok(None);
        };
        if texts.len() > max {
            return Err(ApiError::property(name, format!("Array has more than {max} items")));
        }
        if texts.iter().any(|text| text.is_empty() || text.chars().count() > max_chars) {
            return Err(ApiError::property(name, format!("An item is not from 1 to {max_chars} characters")));
        }
        Ok(Some(texts))
    }

    /// Moves members that decide nothing here into `others`, which an answer repeats. Null removes them.
    pub(super) fn keep(
        &mut self,
        names: &[(&str, Kind)],
        others: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        for (name, kind) in names {
            match self.0.remove(*name) {
                None => {}
                Some(Value::Null) => drop(others.remove(*name)),
                Some(value) if kind.is_that_of(&value) => drop(others.insert((*name).to_owned(), value)),
                Some(value) => return Err(wrong_type(name, kind.name(), &value)),
            }
        }
        Ok(())
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(additional(name)),
        }
    }

    pub(super) fn into_members(self) -> Map<String, Value> {
        self.0
    }
}

/// The type of a member that decides nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Number,
    List,
    Object,
}

impl Kind {
    pub(super) fn is_that_of(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Flag => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Flag => "boolean",
            Self::Number => "number",
            Self::List => "array",
            Self::Object => "object",
        }
    }
}

/// Returns the error of a body with a member that there is none of.
pub(super) fn additional(name: &str) -> ApiError {
    let name: String = name.chars().take(100).collect();
    ApiError::invalid_body(format!("Payload validation error: 'Additional properties not allowed: {name}'."))
}

pub(super) fn wrong_type(name: &str, expected: &str, found: &Value) -> ApiError {
    ApiError::property(name, format!("Expected {expected} but found type {}", kind_of(found)))
}

/// Reads a member's value. The error does not repeat it, because it may be a secret.
pub(super) fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, ApiError> {
    let kind = kind_of(&value);
    serde_json::from_value(value).map_err(|error| {
        let text = error.to_string();
        let expected = text.rsplit_once("expected ").map_or("another value", |(_, expected)| expected);
        ApiError::property(name, format!("Expected {expected} but found another value, of type {kind}"))
    })
}

fn missing(name: &str) -> ApiError {
    ApiError::invalid_body(format!("Payload validation error: 'Missing required property: {name}'."))
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
