//! Header fields that mirror members of the body: gateways route by the fields, this server acts by the body
//! (2026-07-28, basic/transports/streamable-http, "Standard Request Headers").

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::fields::{Field, RequestFields, decoded};
use crate::params::{Params, text};
use crate::reply::{Failure, code};

const PREFIX: &str = "mcp-param-";

/// The header fields that mirror a tool's arguments, by the `x-mcp-header` annotations of its schema.
pub(crate) struct ParamHeaders(Vec<ParamHeader>);

struct ParamHeader {
    /// The field's name, in lower case.
    field: String,
    /// The field's name as the tool writes it.
    shown: String,
    /// The path from the arguments to the value.
    path: Vec<String>,
}

impl ParamHeaders {
    /// Reads the annotations of a schema.
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

    /// Checks that the fields have the values that the arguments have.
    ///
    /// # Errors
    /// -32020.
    pub(crate) fn check(
        &self,
        fields: &dyn RequestFields,
        arguments: Option<&str>,
        presence: Presence,
    ) -> Result<(), Failure> {
        self.0.iter().try_for_each(|header| header.check(fields, arguments, presence))
    }
}

/// Whether a header field must be present when the body has the value that it mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It must, as 2026-07-28 demands.
    Required,
    /// It need not: earlier revisions have no such fields. One that is present must still have the body's value.
    Optional,
}

impl ParamHeader {
    fn check(
        &self,
        fields: &dyn RequestFields,
        arguments: Option<&str>,
        presence: Presence,
    ) -> Result<(), Failure> {
        let field = fields.field(&self.field);
        if presence == Presence::Optional && field == Field::Absent {
            return Ok(());
        }
        let value = arguments
            .and_then(|arguments| self.path.iter().try_fold(arguments, |object, name| member(object, name)));
        let text = value.and_then(|value| match value.as_bytes().first()? {
            b'"' => serde_json::from_str(value).ok(),
            // Not mirrored; the tool's schema judges it.
            b'n' | b'[' | b'{' => None,
            _ => Some(value.to_owned()),
        });
        if let (Some(value), Field::Value(field)) = (value, field)
            && same_number(value, field)
        {
            return Ok(());
        }
        check(field, &self.shown, text.as_deref(), true)
    }
}

/// Returns the JSON text of an object's member; `None` for what is no object. Numbers may be larger than any type.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let members: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(object).ok()?;
    members.get(name).map(|value| value.get())
}

/// Compares integers as numbers ("Server Validation"), so that `42.0` is `42`; exactly, whatever their size.
fn same_number(value: &str, field: &str) -> bool {
    let field = decoded(field).and_then(|text| Decimal::parse(text.trim()));
    field.is_some_and(|field| Decimal::parse(value) == Some(field))
}

/// A decimal number of any size (RFC 8259 section 6).
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    /// The digits without zeros at either end; empty for zero.
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let has_point = mantissa.len() > whole.len();
        if whole.is_empty() || (has_point && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction)
        {
            return None;
        }
        let digits = [whole, fraction].concat();
        let significant = digits.trim_end_matches('0');
        let zeros = digits.len() - significant.len();
        let exponent =
            i64::from(exponent) + i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
        let digits = significant.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits, exponent: 0 });
        }
        Some(Self { is_negative, digits, exponent })
    }
}

/// The member of `params` that `Mcp-Name` mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MirroredParam {
    /// `params.name`.
    Name,
    /// `params.uri`.
    Uri,
}

/// Checks `Mcp-Method`.
///
/// # Errors
/// -32020.
pub(crate) fn check_method(field: Field<'_>, method: &str) -> Result<(), Failure> {
    check(field, "Mcp-Method", Some(method), false)
}

/// Checks `Mcp-Name`, for the methods that have one.
///
/// # Errors
/// -32020.
pub(crate) fn check_name(
    field: Field<'_>,
    params: &Params<'_>,
    mirrored: Option<MirroredParam>,
) -> Result<(), Failure> {
    let param = match mirrored {
        Some(MirroredParam::Name) => &params.name,
        Some(MirroredParam::Uri) => &params.uri,
        None => return Ok(()),
    };
    check(field, "Mcp-Name", text(param.as_ref()), true)
}

/// Checks that a header field has the value that the body has.
///
/// # Errors
/// -32020.
pub(crate) fn check(
    field: Field<'_>,
    shown: &str,
    body: Option<&str>,
    encodable: bool,
) -> Result<(), Failure> {
    let mismatch =
        |what: &str| Err(Failure::malformed(code::HEADER_MISMATCH, format!("the {shown} header {what}")));
    let value = match (field, body) {
        (Field::Value(value), Some(_)) => value,
        // Nothing to mirror; a missing member is reported by its handler.
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
        check_text(&arguments.borrow().to_string(), field, Presence::Required)
    }

    fn check_text(arguments: &str, field: Option<&'static str>, presence: Presence) -> bool {
        let schema = json!({"properties": {"where": {"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
        }}, "count": {"type": "integer", "x-mcp-header": "Count"}}});
        let headers = ParamHeaders::of(&schema).unwrap();
        let name = if arguments.contains("count") { "mcp-param-count" } else { "mcp-param-region" };
        let fields = Fields(field.map(|value| (name, value)).into_iter().collect());
        headers.check(&fields, Some(arguments), presence).is_ok()
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
    fn numbers_are_compared_exactly() {
        let count = |number: &str, field| {
            check_text(&format!("{{\"count\":{number}}}"), Some(field), Presence::Required)
        };
        for (number, field) in [
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993", "9007199254740993.0"),
            ("9007199254740993.0", "9007199254740993"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1200", "1.2e3"),
            ("1e2", "100"),
            ("-0", "0.00"),
            ("-7", "-7e0"),
            ("100", "=?base64?MTAw?="),
        ] {
            assert!(count(number, field), "{number} {field}");
        }
        for (number, field) in [
            ("9007199254740993", "9007199254740992"),
            ("123456789012345678901234567890", "123456789012345678901234567891"),
            ("1", "1e1"),
            ("7", "-7"),
            ("1", "0x1"),
            ("1", "1e99999999999"),
            ("1", "1."),
            ("1", ".1"),
            ("1", ""),
            ("1", "+1"),
        ] {
            assert!(!count(number, field), "{number} {field}");
        }
    }

    #[test]
    fn where_no_field_is_demanded_one_that_is_there_is_compared() {
        let region = r#"{"where":{"region":"eu"}}"#;
        assert!(
            check_text(region, None, Presence::Optional)
                && check_text(region, Some("eu"), Presence::Optional)
        );
        assert!(!check_text(region, Some("us"), Presence::Optional));
        assert!(!check_text("{}", Some("us"), Presence::Optional));
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
