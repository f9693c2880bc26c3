//! Header fields that mirror a member of the body: gateways route by the one, this server acts by the other
//! (2026-07-28, basic/transports/streamable-http, "Standard Request Headers").

use serde_json::Value;

use crate::fields::{Field, METHOD, NAME, RequestFields, decoded};
use crate::message::Request;
use crate::params::text;
use crate::reply::{Failure, code};

const PREFIX: &str = "mcp-param-";

/// The header fields that mirror arguments of one tool, by the `x-mcp-header` annotations of its schema.
pub(crate) struct ParamHeaders(Vec<ParamHeader>);

struct ParamHeader {
    /// In lower case.
    field: String,
    /// As the tool writes it.
    shown: String,
    /// From the arguments to the value.
    path: Vec<String>,
}

impl ParamHeaders {
    /// Finds the annotations.
    ///
    /// # Errors
    /// The rule that one of them breaks ("Schema Extension"): clients would not list such a tool.
    pub(crate) fn of(schema: &Value) -> Result<Self, String> {
        let mut found = Self(Vec::new());
        found.search(schema, &[])?;
        Ok(found)
    }

    fn search(&mut self, schema: &Value, path: &[String]) -> Result<(), String> {
        let Some(properties) = schema["properties"].as_object() else {
            return Ok(());
        };
        for (name, property) in properties {
            let path = [path, std::slice::from_ref(name)].concat();
            if let Some(annotation) = property.get("x-mcp-header") {
                self.add(annotation, property, path.clone())?;
            }
            self.search(property, &path)?;
        }
        Ok(())
    }

    fn add(&mut self, annotation: &Value, property: &Value, path: Vec<String>) -> Result<(), String> {
        let is_token_byte = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let name = annotation.as_str().filter(|name| !name.is_empty() && name.bytes().all(is_token_byte));
        let name =
            name.ok_or_else(|| format!("x-mcp-header {annotation} is no part of a header field's name"))?;
        if !["string", "integer", "boolean"].iter().any(|kind| property["type"] == *kind) {
            return Err(format!("x-mcp-header {name:?} stands at what is no string, integer or boolean"));
        }
        let field = format!("{PREFIX}{}", name.to_ascii_lowercase());
        if self.0.iter().any(|other| other.field == field) {
            return Err(format!("x-mcp-header {name:?} is there twice"));
        }
        self.0.push(ParamHeader { field, shown: format!("Mcp-Param-{name}"), path });
        Ok(())
    }

    /// Whether the fields say what the arguments say.
    ///
    /// # Errors
    /// -32020.
    pub(crate) fn check(&self, fields: &dyn RequestFields, arguments: &Value) -> Result<(), Failure> {
        self.0.iter().try_for_each(|header| header.check(fields, arguments))
    }
}

impl ParamHeader {
    fn check(&self, fields: &dyn RequestFields, arguments: &Value) -> Result<(), Failure> {
        let value = self.path.iter().try_fold(arguments, |value, name| value.get(name));
        let text = value.and_then(|value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            // Absent to the header; the tool's schema judges it.
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        });
        if let (Some(Value::Number(number)), Field::Value(field)) = (value, fields.field(&self.field))
            && same_number(number, field)
        {
            return Ok(());
        }
        check(fields, &self.field, &self.shown, text.as_deref(), true)
    }
}

/// "Server Validation": integers are compared as numbers, so that `42.0` is `42`.
fn same_number(number: &serde_json::Number, field: &str) -> bool {
    let field = decoded(field).and_then(|text| text.trim().parse::<f64>().ok());
    field.is_some_and(|field| number.as_f64() == Some(field))
}

/// `Mcp-Method`.
pub(crate) fn check_method(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    check(fields, METHOD, "Mcp-Method", Some(&request.method), false)
}

/// `Mcp-Name`, for the methods that have one.
pub(crate) fn check_name(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    let source = match request.method.as_ref() {
        "tools/call" | "prompts/get" => &request.params.name,
        "resources/read" => &request.params.uri,
        _ => return Ok(()),
    };
    check(fields, NAME, "Mcp-Name", text(source.as_ref()), true)
}

/// Whether the header field says what the body says.
///
/// # Errors
/// -32020.
pub(crate) fn check(
    fields: &dyn RequestFields,
    name: &str,
    shown: &str,
    body: Option<&str>,
    encodable: bool,
) -> Result<(), Failure> {
    let mismatch =
        |what: &str| Err(Failure::malformed(code::HEADER_MISMATCH, format!("the {shown} header {what}")));
    let value = match (fields.field(name), body) {
        (Field::Value(value), Some(_)) => value,
        // Without a value in the body there is nothing to mirror; what is missing there is said later.
        (Field::Absent, None) => return Ok(()),
        (Field::Absent, Some(_)) => return mismatch("is missing"),
        (Field::Value(_), None) => return mismatch("mirrors nothing in the body"),
        (Field::Malformed, _) => return mismatch("is malformed"),
    };
    let value = if encodable { decoded(value) } else { Some(value.into()) };
    match value {
        None => mismatch("is malformed"),
        Some(value) if Some(value.as_ref()) == body => Ok(()),
        Some(_) => mismatch("differs from the body"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    struct Fields(HashMap<&'static str, &'static str>);

    impl RequestFields for Fields {
        fn field(&self, name: &str) -> Field<'_> {
            self.0.get(name).map_or(Field::Absent, |value| Field::Value(value))
        }
    }

    fn check(arguments: impl std::borrow::Borrow<Value>, field: Option<&'static str>) -> bool {
        let schema = json!({"properties": {"where": {"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
        }}, "count": {"type": "integer", "x-mcp-header": "Count"}}});
        let headers = ParamHeaders::of(&schema).unwrap();
        let arguments = arguments.borrow();
        let name = if arguments.get("count").is_some() { "mcp-param-count" } else { "mcp-param-region" };
        let fields = Fields(field.map(|value| (name, value)).into_iter().collect());
        headers.check(&fields, arguments).is_ok()
    }

    #[test]
    fn a_field_says_what_its_argument_says() {
        let region = |value: Value| json!({"where": {"region": value}});
        assert!(check(region(json!("eu")), Some("eu")));
        assert!(check(region(json!("Zürich")), Some("=?base64?WsO8cmljaA==?=")));
        assert!(check(json!({}), None) && check(region(json!(null)), None));
        assert!(!check(region(json!("eu")), None), "missing");
        assert!(!check(region(json!("eu")), Some("us")), "different");
        assert!(!check(json!({}), Some("eu")), "mirrors nothing");
        assert!(!check(region(json!("eu")), Some("=?base64?%?=")), "malformed");
        assert!(check(json!({"count": 42}), Some("42")) && check(json!({"count": 42}), Some("42.0")));
        assert!(!check(json!({"count": 42}), Some("43")) && !check(json!({"count": 42}), Some("x")));
    }

    #[test]
    fn annotations_that_clients_would_refuse_are_refused() {
        let with = |annotation: Value, kind: &str| {
            ParamHeaders::of(&json!({"properties": {"a": {"type": kind, "x-mcp-header": annotation}}}))
        };
        assert!(with(json!("Region"), "string").is_ok());
        for bad in [json!(""), json!("a b"), json!("a:b"), json!(1), json!("é")] {
            assert!(with(bad.clone(), "string").is_err(), "{bad}");
        }
        assert!(with(json!("Region"), "object").is_err() && with(json!("Region"), "number").is_err());
        let twice = json!({"properties": {
            "a": {"type": "string", "x-mcp-header": "X"}, "b": {"type": "string", "x-mcp-header": "x"}}});
        assert!(ParamHeaders::of(&twice).is_err());
    }
}
