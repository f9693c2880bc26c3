//! [`StructuredContent`]: what a tool returns for programs, as JSON.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Serializer, Value};
use syntax::strict_json::{self, MAX_PARSED_DEPTH, StrictJsonError};

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
    /// The deepest nesting of what is written of a type. Around it an answer has three levels, in a batch, and many clients read no more
    /// than `serde_json` does.
    const MAX_DEPTH: usize = MAX_PARSED_DEPTH - 3;

    /// Writes a type's JSON.
    ///
    /// # Errors
    /// [`ToolError`] for what JSON can't hold, and for what nests too deep to be read.
    pub(crate) fn of<T: Serialize + 'static>(data: &T) -> Result<Self, ToolError> {
        let mut json = Vec::with_capacity(128);
        let mut serializer = Serializer::with_formatter(&mut json, Shallow::default());
        data.serialize(&mut serializer).map_err(not_json)?;
        let json = String::from_utf8(json).map_err(not_json)?;
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
            // The text is JSON, and no deeper than is read.
            Form::Text { json, .. } => Cow::Owned(serde_json::from_str(json).unwrap_or_default()),
        }
    }

    /// Returns whether it fits the schema. With `trusts_types`, what was written of a type without a null fits the schema that the same
    /// type made.
    pub(crate) fn fits(&self, schema: &Schema, trusts_types: bool) -> bool {
        match &self.0 {
            Form::Tree(value) => schema.is_valid(value),
            Form::Text { json, of } => {
                // Types write null where their schemas have none: an optional member that is not left out, a `#[schemars(required)]`
                // one, a number that is not finite. In a text it is no more than a reason to look.
                let is_trusted = trusts_types && schema.is_of_result(*of) && !json.contains("null");
                is_trusted || (!has_duplicates(json) && schema.is_valid(&self.to_value()))
            }
        }
    }
}

/// Returns whether an object has two members of one name, as several `#[serde(flatten)]` may write them: a tree shows one of them.
fn has_duplicates(json: &str) -> bool {
    strict_json::check(json.as_bytes(), MAX_PARSED_DEPTH) == Err(StrictJsonError::DuplicateMember)
}

const TOO_DEEP: StrictJsonError = StrictJsonError::TooDeep(StructuredContent::MAX_DEPTH);

/// Writes JSON without white space, at most [`StructuredContent::MAX_DEPTH`] levels deep.
#[derive(Default)]
struct Shallow {
    /// The number of arrays and objects that are open.
    depth: usize,
}

impl Shallow {
    fn enter(&mut self) -> io::Result<()> {
        if self.depth == StructuredContent::MAX_DEPTH {
            return Err(io::Error::other(TOO_DEEP));
        }
        self.depth += 1;
        Ok(())
    }
}

impl Formatter for Shallow {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn write_raw_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, json: &str) -> io::Result<()> {
        let levels = StructuredContent::MAX_DEPTH - self.depth;
        strict_json::check(json.as_bytes(), levels).map_err(|error| match error {
            StrictJsonError::TooDeep(_) => io::Error::other(TOO_DEEP),
            error => io::Error::other(error),
        })?;
        writer.write_all(json.as_bytes())
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
    use std::collections::BTreeMap;
    use std::error::Error;

    use schemars::JsonSchema;
    use serde_json::json;
    use serde_json::value::RawValue;

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

    /// Writes null for numbers that are not finite.
    #[derive(Serialize, JsonSchema)]
    struct Float {
        sum: f64,
    }

    #[derive(Serialize, JsonSchema)]
    struct Optional {
        note: Option<String>,
    }

    /// Writes null where it is optional, so that clients' schema has none there.
    #[derive(Serialize, JsonSchema)]
    #[expect(clippy::option_option, reason = "null beside absence")]
    struct Nullable {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<Option<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        count: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        choice: Option<Choice>,
    }

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
    fn is_zero(count: &Option<u32>) -> bool {
        *count == Some(0)
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(untagged)]
    enum Choice {
        Nothing,
        Text(String),
    }

    /// Says that there always is a note.
    #[derive(Serialize, JsonSchema)]
    struct Required {
        #[schemars(required)]
        note: Option<String>,
    }

    /// Writes `sum` twice if there is more of it.
    #[derive(Serialize, JsonSchema)]
    struct Twice {
        sum: u8,
        #[serde(flatten)]
        more: BTreeMap<String, u8>,
    }

    /// Returns whether a result fits its own type's schema: with trust in types, and without.
    fn fits<T: Serialize + JsonSchema + 'static>(data: &T) -> [bool; 2] {
        let (content, schema) = (StructuredContent::of(data).unwrap(), Schema::of_result::<T>().unwrap());
        [true, false].map(|trusts_types| content.fits(&schema, trusts_types))
    }

    #[test]
    fn a_null_that_the_schema_lacks_is_found_however_types_are_trusted() {
        let nullable = |note, count, choice| fits(&Nullable { note, count, choice });
        let (some, note) = (|text: &str| Some(text.to_owned()), Some(Some("null".to_owned())));
        assert_eq!(nullable(None, Some(0), None), [true; 2]);
        assert_eq!(nullable(note, Some(1), some("null").map(Choice::Text)), [true; 2]);
        assert_eq!(nullable(Some(None), Some(1), None), [false; 2]);
        assert_eq!(nullable(None, None, None), [false; 2]);
        assert_eq!(nullable(None, Some(1), Some(Choice::Nothing)), [false; 2]);
        assert_eq!(
            (fits(&Required { note: some("a") }), fits(&Required { note: None })),
            ([true; 2], [false; 2])
        );
        assert_eq!(
            (fits(&Optional { note: some("a") }), fits(&Optional { note: None })),
            ([true; 2], [true; 2])
        );
        assert_eq!(fits(&Float { sum: 0.5 }), [true; 2]);
        for sum in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(fits(&Float { sum }), [false; 2], "{sum}");
        }
    }

    /// Demands by attributes what types could say, too.
    #[derive(Serialize, JsonSchema, Default)]
    #[schemars(extend("additionalProperties" = false, "required" = ["note"]))]
    struct Demanding {
        #[schemars(extend("enum" = ["", "a"]))]
        text: String,
        #[schemars(extend("const" = 0))]
        sum: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(flatten)]
        more: BTreeMap<String, u8>,
    }

    #[test]
    fn what_attributes_demand_as_types_do_is_found_without_trust_alone() {
        let demanding = || Demanding { note: Some(String::new()), ..Demanding::default() };
        assert_eq!(fits(&demanding()), [true; 2]);
        for breach in [
            Demanding { text: "b".into(), ..demanding() },
            Demanding { sum: 1, ..demanding() },
            Demanding { note: None, ..demanding() },
            Demanding { more: BTreeMap::from([("more".into(), 1)]), ..demanding() },
        ] {
            assert_eq!(fits(&breach), [true, false], "{}", StructuredContent::of(&breach).unwrap().to_json());
        }
    }

    #[test]
    fn a_member_that_is_written_twice_is_found_where_results_are_judged() {
        let with = |name: &str| Twice { sum: 1, more: BTreeMap::from([(name.to_owned(), 1)]) };
        assert_eq!(*StructuredContent::of(&with("sum")).unwrap().to_json(), *r#"{"sum":1,"sum":1}"#);
        assert_eq!((fits(&with("sum")), fits(&with("more"))), ([true, false], [true; 2]));
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

    /// Lists in lists, and in the innermost a text that is JSON.
    struct Nested<'a> {
        lists: usize,
        inner: &'a str,
    }

    impl Serialize for Nested<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.lists.checked_sub(1) {
                None => RawValue::from_string(self.inner.to_owned()).unwrap().serialize(serializer),
                Some(lists) => serializer.collect_seq([Nested { lists, ..*self }]),
            }
        }
    }

    #[test]
    fn no_result_nests_deeper_than_is_read_in_a_batch() {
        const DEEPEST: usize = StructuredContent::MAX_DEPTH;
        let text = r#""[[[[{{{{""#;
        for (lists, inner) in [(DEEPEST, text), (DEEPEST - 1, r#"{"a":"["}"#), (DEEPEST - 3, "[[[]]]")] {
            let content = StructuredContent::of(&Nested { lists, inner }).unwrap();
            let answer = format!(r#"[{{"result":{{"structuredContent":{}}}}}]"#, content.to_json());
            let read: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(read[0]["result"]["structuredContent"], *content.to_value());
        }
        let beside_each_other = vec![json!([{"a": []}]); 2 * DEEPEST];
        assert_eq!(StructuredContent::of(&beside_each_other).unwrap(), Value::from(beside_each_other));
        // One level deeper, of either kind; and so many that the stack would overflow, were they written.
        for (lists, inner) in [(DEEPEST, r#"{"a":1}"#), (DEEPEST - 2, "[[[]]]"), (1_000_000, text)] {
            let error = StructuredContent::of(&Nested { lists, inner }).unwrap_err();
            let cause = error.source().map(ToString::to_string);
            assert_eq!(error.to_string(), "the result can't be given as JSON");
            assert_eq!(cause.as_deref(), Some("nested deeper than 124 levels"), "{lists} {inner}");
        }
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
