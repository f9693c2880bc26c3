//! Whether a schema demands more of values than the Rust type that it was made of.

use serde_json::{Map, Value};

/// Returns whether a schema, as `schemars` made it of a type, bounds values more than the type does by itself: by attributes such as
/// `range`, `length` and `regex`, which nothing but the schema keeps. What is not known to be the type's own counts as more; null, which
/// some types write where their schemas have none, is not judged by this.
pub(super) fn bounds_more_than_its_type(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(keyword, value)| match keyword.as_str() {
            "$schema" | "$ref" | "title" | "description" | "default" | "examples" | "format" | "enum"
            | "const" | "deprecated" | "readOnly" | "writeOnly" | "type" => false,
            "properties" | "$defs" => {
                value.as_object().is_none_or(|schemas| schemas.values().any(bounds_more_than_its_type))
            }
            "items" | "prefixItems" | "additionalProperties" | "anyOf" | "oneOf" => {
                bounds_more_than_its_type(value)
            }
            "minimum" => range_of_its_type(members).0.is_none_or(|bound| *value != bound),
            "maximum" => range_of_its_type(members).1.is_none_or(|bound| *value != bound),
            // A map has no properties of its own.
            "required" => !members.contains_key("properties"),
            // Those of a tuple.
            "minItems" | "maxItems" => {
                let items = members.get("prefixItems").and_then(Value::as_array);
                items.is_none_or(|items| value.as_u64() != u64::try_from(items.len()).ok())
            }
            _ => true,
        }),
        Value::Array(schemas) => schemas.iter().any(bounds_more_than_its_type),
        _ => false,
    }
}

/// Returns the bounds that `schemars` writes for a Rust integer.
fn range_of_its_type(schema: &Map<String, Value>) -> (Option<i64>, Option<i64>) {
    match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (Some(0), Some(u8::MAX.into())),
        Some("uint16") => (Some(0), Some(u16::MAX.into())),
        Some("uint" | "uint32" | "uint64" | "uint128") => (Some(0), None),
        Some("int8") => (Some(i8::MIN.into()), Some(i8::MAX.into())),
        Some("int16") => (Some(i16::MIN.into()), Some(i16::MAX.into())),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::{JsonSchema, schema_for};

    use super::*;

    /// What types say by themselves.
    #[derive(JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Plain {
        /// A number.
        small: u8,
        numbers: (i8, i16, u16, i32, u32, i64, u64, usize),
        floats: (f32, Option<f64>),
        maybe: Option<u16>,
        many: Vec<Kind>,
        by_name: BTreeMap<String, Option<bool>>,
        minimum: Vec<Plain>,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    enum Kind {
        Short,
        Long { text: String },
    }

    macro_rules! bounded {
        ($attribute:meta, $kind:ty) => {{
            #[derive(JsonSchema)]
            #[allow(dead_code)]
            struct Bounded {
                #[schemars($attribute)]
                member: $kind,
            }
            schema_for!(Vec<Bounded>).to_value()
        }};
    }

    #[test]
    fn bounds_are_found_that_no_type_has() {
        let plain = schema_for!(Plain).to_value();
        assert!(!bounds_more_than_its_type(&plain), "{plain:#}");
        for bounded in [
            bounded!(range(min = 0), i32),
            bounded!(range(min = 1), u32),
            bounded!(range(max = 99), u8),
            bounded!(range(max = 99), Option<i64>),
            bounded!(range(min = 0.5), f64),
            bounded!(length(max = 3), String),
            bounded!(length(equal = 3), Vec<u8>),
            bounded!(regex(pattern = "^a"), String),
            bounded!(extend("uniqueItems" = true), Vec<u8>),
        ] {
            assert!(bounds_more_than_its_type(&bounded), "{bounded:#}");
        }
    }
}
