//! A JSON Schema 2020-12 document together with the validator made from it.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// A schema that is shown to clients and is what validates: there is no second description of the same thing.
pub struct Schema {
    json: Value,
    validator: jsonschema::Validator,
}

/// Not a usable schema; says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable JSON Schema: {0}")]
pub struct SchemaError(pub String);

impl Schema {
    /// How many violations one message reports.
    const REPORTED: usize = 5;
    /// How many characters of one violation are reported; a member name in it may be of any length.
    const REPORTED_CHARS: usize = 200;

    /// The schema of a Rust type, with every subschema inline.
    ///
    /// `additionalProperties: false` comes from `#[serde(deny_unknown_fields)]` on the type; optional members are
    /// `Option` fields. Doc comments become descriptions.
    ///
    /// # Errors
    /// [`SchemaError`] when the type does not give an object schema.
    pub fn of<T: JsonSchema>() -> Result<Self, SchemaError> {
        let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<T>();
        // The name of a Rust type is of no use to a client.
        schema.remove("title");
        Self::from_json(schema.to_value())
    }

    /// A schema written by hand. `$ref` to another document is an error: nothing is ever fetched.
    ///
    /// # Errors
    /// [`SchemaError`] when it is not a valid 2020-12 schema of `"type": "object"`, the form MCP requires.
    pub fn from_json(json: Value) -> Result<Self, SchemaError> {
        if json.get("type").and_then(Value::as_str) != Some("object") {
            return Err(SchemaError("its type is not \"object\"".into()));
        }
        let validator = jsonschema::draft202012::options()
            .build(&json)
            .map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { json, validator })
    }

    /// The document.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.json
    }

    /// Whether `instance` fits.
    #[must_use]
    pub fn is_valid(&self, instance: &Value) -> bool {
        self.validator.is_valid(instance)
    }

    /// What is wrong with `instance`, for whoever wrote it; the values in it are not repeated.
    ///
    /// # Errors
    /// The text, such as `/name: value is not of type "string"`.
    pub fn validate(&self, instance: &Value) -> Result<(), String> {
        if self.is_valid(instance) {
            return Ok(());
        }
        let violations: Vec<String> = self
            .validator
            .iter_errors(instance)
            .take(Self::REPORTED)
            .map(|error| violation(&error))
            .collect();
        Err(violations.join("; "))
    }
}

fn violation(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "arguments" } else { &place };
    let text = match error.kind() {
        // What `additionalProperties: false` without properties comes down to, in words that say what to do.
        ValidationErrorKind::FalseSchema => "no members are allowed".to_owned(),
        _ => error.masked_with("the value").to_string(),
    };
    format!("{place}: {text}").chars().take(Schema::REPORTED_CHARS).collect()
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.json)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    /// Doc.
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Arguments {
        /// Whom to greet.
        name: Option<String>,
        count: u8,
    }

    #[test]
    fn a_type_gives_a_closed_schema() {
        let schema = Schema::of::<Arguments>().unwrap();
        assert_eq!(schema.as_json()["additionalProperties"], json!(false));
        assert_eq!(schema.as_json()["required"], json!(["count"]));
        assert_eq!(schema.as_json()["properties"]["name"]["description"], json!("Whom to greet."));
        assert_eq!(schema.as_json().get("title"), None);
    }

    #[test]
    fn violations_name_the_place_and_not_the_value() {
        let schema = Schema::of::<Arguments>().unwrap();
        assert_eq!(schema.validate(&json!({"count": 3})), Ok(()));
        let text = schema.validate(&json!({"name": ["secret"], "count": 3})).unwrap_err();
        assert!(text.starts_with("/name: the value is not of type"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let long = schema.validate(&json!({"count": 1, "x".repeat(10_000): 1})).unwrap_err();
        assert!(long.len() <= Schema::REPORTED_CHARS, "{long}");
    }

    #[test]
    fn a_schema_must_be_an_object_schema_and_fetch_nothing() {
        assert!(Schema::of::<u8>().is_err());
        assert!(Schema::from_json(json!({"type": "object", "properties": 5})).is_err());
        let remote = json!({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/s.json"}}});
        assert!(Schema::from_json(remote).is_err());
    }
}
