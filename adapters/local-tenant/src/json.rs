//! JSON that comes in: every text of another program's is read here, and nowhere else.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The member name by which `serde_json`, built with `raw_value`, passes raw JSON between its own types. A
/// `serde_json::Value` takes an object with this member for a text to parse, with a depth limit of its own, so one that
/// arrives from outside would hide what it holds from every check.
const RESERVED_NAME: &str = "$serde_json::private::RawValue";

/// Reads a text as a `T`.
///
/// # Errors
/// The text is not JSON, nests too deep, has a member of the reserved name, or is not a `T`.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    check(text)?;
    serde_json::from_slice(text)
}

/// Checks that a text is JSON without a member of the reserved name, at any depth.
///
/// # Errors
/// As [`parse`], but for the type.
pub(crate) fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice(text).map(|Unreserved| ())
}

/// Any JSON without a member of the reserved name.
struct Unreserved;

impl<'de> Deserialize<'de> for Unreserved {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnreservedVisitor)
    }
}

struct UnreservedVisitor;

impl<'de> Visitor<'de> for UnreservedVisitor {
    type Value = Unreserved;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Unreserved, E> {
        Ok(Unreserved)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unreserved, E> {
        Ok(Unreserved)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unreserved, E> {
        Ok(Unreserved)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unreserved, E> {
        Ok(Unreserved)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unreserved, E> {
        Ok(Unreserved)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unreserved, E> {
        Ok(Unreserved)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Unreserved, A::Error> {
        while elements.next_element::<Unreserved>()?.is_some() {}
        Ok(Unreserved)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unreserved, A::Error> {
        while members.next_entry::<UnreservedName, Unreserved>()?.is_some() {}
        Ok(Unreserved)
    }
}

/// A member's name, compared once its escapes are resolved.
struct UnreservedName;

impl<'de> Deserialize<'de> for UnreservedName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = UnreservedName;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<UnreservedName, E> {
        if name == RESERVED_NAME {
            return Err(E::custom(format_args!("the member name {RESERVED_NAME:?} is reserved; rename it")));
        }
        Ok(UnreservedName)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_reserved_name_is_refused_at_any_depth_and_in_any_spelling() {
        let name = RESERVED_NAME;
        for text in [
            format!(r#"{{"{name}": "1"}}"#),
            format!(r#"{{"{name}": null}}"#),
            format!(r#"{{"a": 1, "{name}": "1"}}"#),
            format!(r#"[[], {{"a": [{{"b": {{"{name}": {{}}}}}}]}}]"#),
            r#"{"\u0024serde_json::private::RawValue": "1"}"#.into(),
            r#"{"$serde_json\u003a:private::RawV\u0061lue": "1"}"#.into(),
        ] {
            let error = parse::<Value>(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("is reserved; rename it"), "{text}: {error}");
        }
        for text in [
            format!(r#"{{"a": "{name}"}}"#),
            format!(r#"["{name}"]"#),
            format!(r#"{{"{name} ": 1, "$serde_json::private::Number": "1"}}"#),
            "[null, true, -1, 1, 1.5, \"\", {}]".into(),
        ] {
            let read: Value = parse(text.as_bytes()).unwrap();
            assert_eq!(read, text.parse::<Value>().unwrap());
        }
    }

    #[test]
    fn what_is_not_json_or_too_deep_is_refused() {
        for text in [String::new(), "{".into(), "{} {}".into(), "[".repeat(1000), "{\"a\":".repeat(1000)] {
            assert!(check(text.as_bytes()).is_err(), "{text}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(check(deep(127).as_bytes()).is_ok());
        assert!(check(deep(128).as_bytes()).is_err());
    }
}
