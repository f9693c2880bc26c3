//! A JSON Schema 2020-12 document together with the validator made from it.

mod bounds;

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationOptions};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use self::bounds::bounds_more_than_its_type;

/// A schema that is shown to clients and is what validates: there is no second description of the same thing, but that
/// [`Schema::fit`] takes null for absence. Clones are cheap.
#[derive(Clone)]
pub struct Schema {
    json: Arc<Value>,
    /// `None` where another server validates.
    validator: Option<Arc<jsonschema::Validator>>,
    /// The type whose every value that has no null is written as what fits.
    result: Option<TypeId>,
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
    /// Optional members are `Option` fields, or those with `#[serde(default)]`; the schema does not say that they may be
    /// null, since some clients refuse lists of types, but [`Schema::fit`] takes null for absence. Other members than the
    /// type's are allowed, unless it says `#[serde(deny_unknown_fields)]`. Doc comments of members become descriptions.
    ///
    /// # Errors
    /// [`SchemaError`] when the type does not give an object schema.
    pub fn of<T: JsonSchema>() -> Result<Self, SchemaError> {
        let json = Self::document_of::<T>();
        // `()`, and other types without a value: no arguments.
        let is_unit = json.get("type").is_some_and(|kind| kind == "null");
        Self::from_json(if is_unit { json!({"type": "object", "properties": {}}) } else { json })
    }

    /// The document alone of [`Schema::of`], whatever type it is of.
    pub(crate) fn document_of<T: JsonSchema>() -> Value {
        published(Self::document::<T>(SchemaSettings::draft2020_12()))
    }

    /// The schema of what a Rust type is written as. A member may be left out if it says `skip_serializing_if`.
    ///
    /// # Errors
    /// As [`Schema::of`].
    pub fn of_result<T: JsonSchema + 'static>() -> Result<Self, SchemaError> {
        let document = Self::document::<T>(SchemaSettings::draft2020_12().for_serialize());
        let result = (!bounds_more_than_its_type(&document)).then(TypeId::of::<T>);
        Ok(Self { result, ..Self::from_json(published(document))? })
    }

    /// Whether every value of this type that has no null is written as what fits, unless the type's `JsonSchema` and its `Serialize`
    /// contradict each other.
    pub(crate) fn is_of_result(&self, kind: TypeId) -> bool {
        self.result == Some(kind)
    }

    /// What `schemars` makes of a type, without what is said of the type.
    fn document<T: JsonSchema>(settings: SchemaSettings) -> Value {
        let settings = settings.with(|settings| settings.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<T>();
        // The name of a Rust type, and what is said of it, are for whoever reads the code: the tool has its own.
        schema.remove("title");
        schema.remove("description");
        schema.to_value()
    }

    /// A schema written by hand. `$ref` to another document is an error: nothing is ever fetched.
    ///
    /// # Errors
    /// [`SchemaError`] when it is not a valid 2020-12 schema of `"type": "object"`, the form MCP requires.
    pub fn from_json(json: Value) -> Result<Self, SchemaError> {
        Self::built(json, &jsonschema::draft202012::options())
    }

    /// As [`Schema::from_json`], with patterns whose matching takes linear time: they have no look-around and no back references.
    ///
    /// # Errors
    /// As [`Schema::from_json`], and for a pattern that has such.
    pub fn with_linear_patterns(json: Value) -> Result<Self, SchemaError> {
        Self::built(json, &jsonschema::draft202012::options().with_pattern_options(PatternOptions::regex()))
    }

    fn built(json: Value, options: &ValidationOptions) -> Result<Self, SchemaError> {
        if json.get("type").and_then(Value::as_str) != Some("object") {
            return Err(SchemaError("its type is not \"object\"".into()));
        }
        let validator = options.build(&json).map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { json: Arc::new(json), validator: Some(Arc::new(validator)), result: None })
    }

    /// A schema of another server's, which validates by it: everything fits here.
    ///
    /// # Errors
    /// [`SchemaError`] when it is not a schema of `"type": "object"`.
    pub fn of_another_server(json: Value) -> Result<Self, SchemaError> {
        if json.get("type").and_then(Value::as_str) != Some("object") {
            return Err(SchemaError("its type is not \"object\"".into()));
        }
        Ok(Self { json: Arc::new(json), validator: None, result: None })
    }

    /// The document.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.json
    }

    /// Whether `instance` fits.
    #[must_use]
    pub fn is_valid(&self, instance: &Value) -> bool {
        self.validator.as_ref().is_none_or(|validator| validator.is_valid(instance))
    }

    /// Gives `instance` back if it fits, without the members that are null where null says no more than absence: those
    /// that are optional, and of a type that excludes null.
    ///
    /// # Errors
    /// As [`Schema::validate`].
    pub fn fit(&self, mut instance: Value) -> Result<Value, String> {
        if !self.is_valid(&instance) {
            remove_absent(&self.json, &mut instance);
            self.validate(&instance)?;
        }
        Ok(instance)
    }

    /// What is wrong with `instance`, for whoever wrote it; the values in it are not repeated.
    ///
    /// # Errors
    /// The text, such as `/name: value is not of type "string"`.
    pub fn validate(&self, instance: &Value) -> Result<(), String> {
        let Some(validator) = self.validator.as_ref().filter(|validator| !validator.is_valid(instance))
        else {
            return Ok(());
        };
        let violations: Vec<String> = validator
            .iter_errors(instance)
            .take(Self::REPORTED)
            .map(|error| violation(&error, instance))
            .collect();
        Err(violations.join("; "))
    }
}

/// Returns a type's schema as clients get it.
fn published(mut json: Value) -> Value {
    drop_optional_nulls(&mut json);
    drop_rust_formats(&mut json);
    // Some clients refuse an object schema without it.
    if let Some(schema) = json.as_object_mut().filter(|schema| schema.get("type") == Some(&"object".into())) {
        schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
    json
}

/// Takes `null` from the types of all members that are optional.
fn drop_optional_nulls(schema: &mut Value) {
    match schema {
        Value::Object(schema) => {
            let required = schema.get("required").cloned().unwrap_or_default();
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                let optional = properties.iter_mut().filter(|(name, _)| !names(&required, name));
                optional.filter_map(|(_, property)| property.as_object_mut()).for_each(drop_null);
            }
            schema.iter_mut().for_each(|(keyword, value)| match (keyword.as_str(), value) {
                // Their names are no keywords: a member may be called `properties`.
                ("properties" | "$defs", Value::Object(schemas)) => {
                    schemas.values_mut().for_each(drop_optional_nulls);
                }
                (_, value) => drop_optional_nulls(value),
            });
        }
        Value::Array(items) => items.iter_mut().for_each(drop_optional_nulls),
        _ => {}
    }
}

/// Removes the formats of Rust's numbers, such as `uint8`: JSON Schema has none for numbers, and clients warn of them.
fn drop_rust_formats(schema: &mut Value) {
    match schema {
        Value::Object(schema) => {
            let is_number = |kind: &Value| kind == "integer" || kind == "number";
            let is_numeric = match schema.get("type") {
                Some(Value::Array(kinds)) => kinds.iter().any(is_number),
                Some(kind) => is_number(kind),
                None => false,
            };
            if is_numeric && schema.get("format").is_some_and(Value::is_string) {
                schema.remove("format");
            }
            schema.values_mut().for_each(drop_rust_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_rust_formats),
        _ => {}
    }
}

/// What `Option` adds to a type's schema.
fn drop_null(schema: &mut Map<String, Value>) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [Value::Object(only)] = &mut choices[..] {
        let only = std::mem::take(only);
        schema.remove("anyOf");
        for (name, value) in only {
            // The member's own description says more than its type's.
            schema.entry(name).or_insert(value);
        }
    }
}

/// Removes the members that are null for want of a value.
fn remove_absent(schema: &Value, instance: &mut Value) {
    match instance {
        Value::Object(members) => {
            let Some(properties) = schema["properties"].as_object() else { return };
            let is_absent = |name: &str, value: &Value| {
                value.is_null()
                    && !names(&schema["required"], name)
                    && properties.get(name).is_some_and(excludes_null)
            };
            members.retain(|name, value| !is_absent(name, value));
            for (name, value) in members {
                if let Some(property) = properties.get(name) {
                    remove_absent(property, value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_absent(&schema["items"], item)),
        _ => {}
    }
}

/// Whether a list of names, such as `required`, has this one.
fn names(list: &Value, name: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|other| other == name))
}

fn excludes_null(schema: &Value) -> bool {
    match &schema["type"] {
        Value::String(name) => name != "null",
        types @ Value::Array(_) => !names(types, "null"),
        _ => false,
    }
}

fn violation(error: &jsonschema::ValidationError<'_>, instance: &Value) -> String {
    let path = error.instance_path().as_str();
    let place = if path.is_empty() { "arguments" } else { path };
    let text = match error.kind() {
        // What `additionalProperties: false` without properties comes down to, in words that say what to do.
        ValidationErrorKind::FalseSchema
            if error.schema_path().as_str().ends_with("/additionalProperties") =>
        {
            let members = instance.pointer(path).and_then(Value::as_object).into_iter().flat_map(Map::keys);
            let names: Vec<String> = members.take(Schema::REPORTED).map(|name| format!("'{name}'")).collect();
            format!("no members are allowed, not {}", names.join(", "))
        }
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

    use super::*;

    /// Doc.
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Strict {
        /// Whom to greet.
        name: Option<String>,
        count: u8,
    }

    #[derive(Deserialize, serde::Serialize, JsonSchema)]
    #[allow(dead_code)]
    struct Open {
        /// How.
        style: Option<Style>,
        /// Where.
        place: Option<Place>,
        #[serde(default)]
        times: u8,
        #[serde(default)]
        tags: Option<Vec<Place>>,
        name: String,
    }

    /// A style.
    #[derive(Deserialize, serde::Serialize, JsonSchema)]
    #[allow(dead_code)]
    enum Style {
        Short,
        Long,
    }

    /// A place.
    #[derive(Deserialize, serde::Serialize, JsonSchema)]
    #[allow(dead_code)]
    struct Place {
        city: Option<String>,
    }

    #[derive(serde::Serialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Result_ {
        always: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sometimes: Option<u8>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    #[test]
    fn a_type_gives_a_schema_that_is_closed_only_if_it_says_so() {
        let schema = Schema::of::<Strict>().unwrap();
        assert_eq!(schema.as_json()["additionalProperties"], json!(false));
        assert_eq!(schema.as_json()["required"], json!(["count"]));
        assert_eq!(
            schema.as_json()["properties"]["name"],
            json!({"type": "string", "description": "Whom to greet."})
        );
        assert_eq!(schema.as_json().get("title"), None);
        let open = Schema::of::<Open>().unwrap();
        assert_eq!(open.as_json().get("additionalProperties"), None);
        assert!(open.is_valid(&json!({"name": "Ada", "more": 1})));
        assert_eq!(Schema::of::<Nothing>().unwrap().as_json()["properties"], json!({}));
    }

    #[test]
    fn what_is_optional_is_published_without_null() {
        let schema = Schema::of::<Open>().unwrap();
        let place = |more: Value| {
            let mut place = json!({"type": "object", "properties": {"city": {"type": "string"}}});
            place.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            place
        };
        assert_eq!(
            schema.as_json()["properties"],
            json!({
                "style": {"type": "string", "enum": ["Short", "Long"], "description": "How."},
                "place": place(json!({"description": "Where."})),
                "times": {"type": "integer", "minimum": 0, "maximum": 255, "default": 0},
                "tags": {"type": "array", "items": place(json!({"description": "A place."}))},
                "name": {"type": "string"},
            })
        );
        let result = Schema::of_result::<Result_>().unwrap();
        assert_eq!(result.as_json()["required"], json!(["always"]));
        assert_eq!(result.as_json()["properties"]["always"]["type"], json!(["integer", "null"]));
        assert_eq!(result.as_json()["properties"]["sometimes"]["type"], json!("integer"));
    }

    #[test]
    fn members_that_are_called_as_keywords_are_members() {
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        struct Keywords {
            properties: Vec<Option<u8>>,
            required: Option<u8>,
        }
        let schema = Schema::of::<Keywords>().unwrap();
        let properties = &schema.as_json()["properties"];
        assert_eq!(properties["properties"]["items"]["type"], json!(["integer", "null"]));
        assert_eq!(properties["required"]["type"], json!("integer"));
    }

    #[test]
    fn null_for_what_is_optional_is_absence_and_nothing_else() {
        let schema = Schema::of::<Open>().unwrap();
        let fits = schema.fit(json!({"name": "Ada", "style": null, "place": {"city": null, "x": null},
            "times": null, "tags": [{"city": null}], "more": null}));
        assert_eq!(fits, Ok(json!({"name": "Ada", "place": {"x": null}, "tags": [{}], "more": null})));
        assert!(schema.fit(json!({"name": null})).unwrap_err().starts_with("/name: "), "it is required");
        assert!(schema.fit(json!({"name": "Ada", "tags": [null]})).unwrap_err().starts_with("/tags/0: "));
        let by_hand = json!({"type": "object", "properties": {
            "clear": {"type": ["string", "null"]}, "any": {}, "only": {"type": "null"}, "name": {"type": "string"}}});
        let by_hand = Schema::from_json(by_hand).unwrap();
        let meant = json!({"clear": null, "any": null, "only": null});
        let mut given = meant.clone();
        given["name"] = Value::Null;
        assert_eq!(by_hand.fit(given), Ok(meant), "where null is allowed it means something");
    }

    #[test]
    fn violations_name_the_place_and_not_the_value() {
        let schema = Schema::of::<Strict>().unwrap();
        assert_eq!(schema.validate(&json!({"count": 3})), Ok(()));
        let text = schema.validate(&json!({"name": ["secret"], "count": 3})).unwrap_err();
        assert_eq!(text, "/name: the value is not of type \"string\"");
        let long = schema.validate(&json!({"count": 1, "x".repeat(10_000): 1})).unwrap_err();
        assert!(long.len() <= Schema::REPORTED_CHARS, "{long}");
    }

    #[test]
    fn what_is_too_much_is_named() {
        let strict = Schema::of::<Strict>().unwrap().validate(&json!({"count": 1, "a": 1, "b": 2}));
        let text = "arguments: Additional properties are not allowed ('a', 'b' were unexpected)";
        assert_eq!(strict, Err(text.to_owned()));
        assert_eq!(Schema::of::<Nothing>().unwrap().validate(&json!({"a": 1, "b": 2})), Err(text.to_owned()));
        let nothing = Schema::from_json(json!({"type": "object", "additionalProperties": false})).unwrap();
        let text = "arguments: no members are allowed, not 'a', 'b'";
        assert_eq!(nothing.validate(&json!({"a": 1, "b": 2})), Err(text.to_owned()));
        let named = Schema::from_json(json!({"type": "object", "properties": {"a": false}})).unwrap();
        assert!(named.validate(&json!({"a": {"b": 1}})).unwrap_err().starts_with("/a: "));
    }

    #[test]
    fn a_schema_must_be_an_object_schema_and_fetch_nothing() {
        assert!(Schema::of::<u8>().is_err());
        assert!(Schema::from_json(json!({"type": "object", "properties": 5})).is_err());
        let remote = json!({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/s.json"}}});
        assert!(Schema::from_json(remote).is_err());
    }
}
