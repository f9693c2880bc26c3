//! [`StructuredContent`]: what a tool returns for programs, as JSON.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::schema::Schema;
use crate::tool_error::{ToolError, not_json};

/// What a tool returns for programs (`CallToolResult.structuredContent` in MCP's schema): JSON, as a [`Value`] or as the text that
/// [`Json`](crate::Json) wrote of a type. The text is sent as it is.
#[derive(Clone)]
pub struct StructuredContent(Form);

#[derive(Clone)]
enum Form {
    Tree(Value),
    Text { json: String, of: TypeId },
}

impl StructuredContent {
    /// Writes a type's JSON.
    pub(crate) fn of<T: Serialize + 'static>(data: &T) -> Result<Self, ToolError> {
        let json = serde_json::to_string(data).map_err(not_json)?;
        Ok(Self(Form::Text { json, of: TypeId::of::<T>() }))
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn to_json(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Tree(value) => Cow::Owned(value.to_string()),
            Form::Text { json, .. } => Cow::Borrowed(json),
        }
    }

    /// Appends the JSON text.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match &self.0 {
            // Neither a value nor a vector can fail.
            Form::Tree(value) => drop(serde_json::to_writer(out, value)),
            Form::Text { json, .. } => out.extend_from_slice(json.as_bytes()),
        }
    }

    /// Returns the value.
    #[must_use]
    pub fn to_value(&self) -> Cow<'_, Value> {
        match &self.0 {
            Form::Tree(value) => Cow::Borrowed(value),
            // The text is JSON; what nests too deep to be read again fits no schema.
            Form::Text { json, .. } => Cow::Owned(serde_json::from_str(json).unwrap_or_default()),
        }
    }

    /// Returns whether it fits the schema. With `trusts_types`, what was written of a type fits the schema that the same type made.
    pub(crate) fn fits(&self, schema: &Schema, trusts_types: bool) -> bool {
        let is_of_its_type = matches!(self.0, Form::Text { of, .. } if schema.is_of_result(of));
        (is_of_its_type && trusts_types) || schema.is_valid(&self.to_value())
    }
}

impl From<Value> for StructuredContent {
    fn from(value: Value) -> Self {
        Self(Form::Tree(value))
    }
}

impl PartialEq for StructuredContent {
    fn eq(&self, other: &Self) -> bool {
        self.to_value() == other.to_value()
    }
}

impl PartialEq<Value> for StructuredContent {
    fn eq(&self, other: &Value) -> bool {
        *self.to_value() == *other
    }
}

impl fmt::Debug for StructuredContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StructuredContent({})", self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde_json::json;

    use super::*;

    #[derive(Serialize, JsonSchema)]
    struct Sum {
        sum: u8,
    }

    /// Has a bound that its type does not have.
    #[derive(Serialize, JsonSchema)]
    struct Bounded {
        #[schemars(range(max = 2))]
        sum: u8,
    }

    /// Is written as something else than its schema says.
    #[derive(Serialize, JsonSchema)]
    struct Contradictory {
        #[schemars(with = "String")]
        sum: u8,
    }

    #[test]
    fn both_forms_are_the_same_json() {
        let (text, tree) =
            (StructuredContent::of(&Sum { sum: 3 }).unwrap(), StructuredContent::from(json!({"sum": 3})));
        assert_eq!((text.to_json(), tree.to_json()), (r#"{"sum":3}"#.into(), r#"{"sum":3}"#.into()));
        let written = |content: &StructuredContent| {
            let mut written = Vec::new();
            content.write_json(&mut written);
            written
        };
        assert_eq!((written(&text), written(&tree)), (br#"{"sum":3}"#.to_vec(), br#"{"sum":3}"#.to_vec()));
        assert!(text == tree && text == json!({"sum": 3}) && text != json!({"sum": 4}));
        assert_eq!(
            format!("{text:?} {tree:?}"),
            r#"StructuredContent({"sum":3}) StructuredContent({"sum":3})"#
        );
    }

    #[test]
    fn a_type_is_trusted_to_fit_the_schema_that_it_made_and_no_other() {
        let (own, contradictory) =
            (Schema::of_result::<Sum>().unwrap(), Schema::of_result::<Contradictory>().unwrap());
        let other = Schema::from_json(contradictory.as_json().clone()).unwrap();
        let sum = StructuredContent::of(&Sum { sum: 3 }).unwrap();
        assert!(sum.fits(&own, true) && sum.fits(&own, false));
        let written = StructuredContent::of(&Contradictory { sum: 3 }).unwrap();
        assert!(written.fits(&contradictory, true) && !written.fits(&contradictory, false));
        let (bounded, within) = (Schema::of_result::<Bounded>().unwrap(), Bounded { sum: 2 });
        for trusts_types in [true, false] {
            assert!(StructuredContent::of(&within).unwrap().fits(&bounded, trusts_types));
            let beyond = StructuredContent::of(&Bounded { sum: 3 }).unwrap();
            assert!(!beyond.fits(&bounded, trusts_types), "a bound that only the schema keeps");
            assert!(!sum.fits(&contradictory, trusts_types), "another type's");
            assert!(!written.fits(&other, trusts_types), "a schema written by hand");
            assert!(!StructuredContent::from(json!({"sum": "3"})).fits(&own, trusts_types), "a value");
            let hidden = StructuredContent::of(&json!({"sum": "3"})).unwrap();
            assert!(!hidden.fits(&own, trusts_types), "the text of a value");
        }
    }
}
