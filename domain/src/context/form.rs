//! Forms made from Rust types: MCP's restricted JSON Schema (2025-11-25 and 2026-07-28, client/elicitation), an object whose
//! members are strings, numbers, booleans, and choices among names.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::schema::{Schema, SchemaError};

/// Returns the form whose fields are those of `T`.
///
/// # Errors
/// [`SchemaError`] for a type that is no struct, or has a field that a form can't have.
pub(super) fn schema<T: JsonSchema>() -> Result<Value, SchemaError> {
    let mut schema = Schema::document_of::<T>();
    let refused = |text: String| SchemaError(format!("no form: {text}"));
    let Some(Value::Object(properties)) = schema.get_mut("properties").map(Value::take) else {
        return Err(refused("the type is not a struct".into()));
    };
    let field = |(name, property): (String, Value)| match field(property) {
        Some(field) => Ok((name, field)),
        None => Err(refused(format!("the field {name:?} is no text, number, boolean or choice"))),
    };
    let properties: Map<String, Value> = properties.into_iter().map(field).collect::<Result<_, _>>()?;
    let required = schema.get_mut("required").map_or_else(|| json!([]), Value::take);
    Ok(json!({"type": "object", "properties": properties, "required": required}))
}

/// Returns a property as a field of a form.
fn field(mut property: Value) -> Option<Value> {
    // An enum whose variants have doc comments.
    if let Some(Value::Array(choices)) = property.get_mut("oneOf").map(Value::take) {
        property["type"] = "string".into();
        property["oneOf"] = choices.iter().map(named).collect::<Option<Vec<_>>>()?.concat().into();
    }
    let is_flat = match property.get("type")?.as_str()? {
        "string" | "number" | "integer" | "boolean" => true,
        "array" => property["items"]["type"] == "string" && property["items"].get("enum").is_some(),
        _ => false,
    };
    is_flat.then_some(property)
}

/// Returns the names that an alternative allows, each with a title: one variant with a doc comment, or all without.
fn named(alternative: &Value) -> Option<Vec<Value>> {
    if let Some(Value::Array(names)) = alternative.get("enum") {
        return names.iter().map(|name| Some(json!({"const": name.as_str()?, "title": name}))).collect();
    }
    let name = alternative.get("const")?.as_str()?;
    let title = alternative.get("description").and_then(Value::as_str).unwrap_or(name);
    Some(vec![json!({"const": name, "title": title})])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Table {
        /// Which day.
        day: String,
        seats: Option<u8>,
        outside: bool,
        size: Size,
        place: Place,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Size {
        Small,
        Large,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Place {
        /// By the window.
        Window,
        Corner,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Deep {
        table: Table,
    }

    #[test]
    fn a_struct_of_plain_fields_is_a_form() {
        let form = schema::<Table>().unwrap();
        assert_eq!(form["required"], json!(["day", "outside", "size", "place"]));
        let fields = &form["properties"];
        assert_eq!(fields["day"], json!({"type": "string", "description": "Which day."}));
        assert_eq!(
            (&fields["seats"]["type"], &fields["outside"]["type"]),
            (&json!("integer"), &json!("boolean"))
        );
        assert_eq!(fields["size"], json!({"type": "string", "enum": ["small", "large"]}));
        let place =
            json!([{"const": "corner", "title": "corner"}, {"const": "window", "title": "By the window."}]);
        assert_eq!((&fields["place"]["type"], &fields["place"]["oneOf"]), (&json!("string"), &place));
    }

    #[test]
    fn other_types_are_none() {
        for error in [schema::<Deep>(), schema::<String>(), schema::<Vec<Table>>()] {
            assert!(error.unwrap_err().0.starts_with("no form: the "));
        }
    }
}
