//! Configuration sections of a server that is built on this one, read into its types as strictly as our own keys are: a value
//! has the type that its place asks for, a key that nothing reads is a fault, and every fault names its key and source.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use config::{Map, Value, ValueKind};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::problem::Problem;
use super::reader::{Effective, is_variable, source};
use super::shown;

/// A section that a server declares: the name of its table, and the type that it is read into.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    pub(super) name: &'static str,
    parse: fn(&'static str, &Value) -> Result<Parsed, Vec<Problem>>,
}

#[derive(Clone)]
struct Parsed {
    value: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
}

impl Section {
    /// Declares the table `name`, read into `T`.
    #[must_use]
    pub fn of<T: DeserializeOwned + Send + Sync + 'static>(name: &'static str) -> Self {
        Self { name, parse: parse::<T> }
    }
}

/// The values of the declared sections. Their `Debug` shows none: some are secret.
#[derive(Clone, Default)]
pub struct OwnSections(BTreeMap<&'static str, Parsed>);

impl fmt::Debug for OwnSections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OwnSections({:?}, redacted)", self.0.keys())
    }
}

impl OwnSections {
    /// Returns a section's value.
    ///
    /// # Errors
    /// When the section was not declared, or with another type.
    pub fn get<T: Clone + 'static>(&self, name: &str) -> anyhow::Result<T> {
        let Some(Parsed { value, type_name: declared }) = self.0.get(name) else {
            anyhow::bail!(
                "the section [{name}] is not declared: add `.section::<_>({name:?})` to the builder"
            );
        };
        value.downcast_ref::<T>().cloned().ok_or_else(|| {
            anyhow::anyhow!("the section [{name}] is declared as {declared}, not as {}", type_name::<T>())
        })
    }
}

/// What was read of the declared sections.
#[derive(Default)]
pub(super) struct Read {
    pub(super) sections: OwnSections,
    pub(super) effective: Vec<Effective>,
    pub(super) problems: Vec<Problem>,
}

impl Read {
    /// Reads a section's table. Without one, every key has to have a default. `secrets` are keys whose values are never shown.
    pub(super) fn section(&mut self, section: Section, table: Option<Value>, secrets: &[&str]) {
        let table = table.unwrap_or_else(|| Value::new(None, ValueKind::Table(Map::new())));
        self.show(&[section.name.to_owned()], &table, secrets);
        match (section.parse)(section.name, &table) {
            Ok(parsed) => drop(self.sections.0.insert(section.name, parsed)),
            Err(mut problems) => self.problems.append(&mut problems),
        }
    }

    fn show(&mut self, path: &[String], value: &Value, secrets: &[&str]) {
        let key = shown::key(path);
        match &value.kind {
            _ if secrets.contains(&key.as_str()) => self.effective.push(Effective {
                key,
                value: "[redacted]".into(),
                json: serde_json::json!({"redacted": 1}),
                source: source(value).unwrap_or_default(),
            }),
            ValueKind::Table(table) => {
                for (name, value) in table {
                    self.show(&[path, std::slice::from_ref(name)].concat(), value, secrets);
                }
            }
            _ => self.effective.push(Effective {
                key,
                value: json(value).to_string(),
                json: json(value),
                source: source(value).unwrap_or_default(),
            }),
        }
    }
}

fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        ValueKind::Boolean(flag) => (*flag).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::String(text) => text.as_str().into(),
        ValueKind::Array(items) => items.iter().map(json).collect(),
        ValueKind::Table(table) => table.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
        ValueKind::Nil | ValueKind::I128(_) | ValueKind::U128(_) => serde_json::Value::Null,
    }
}

fn parse<T: DeserializeOwned + Send + Sync + 'static>(
    name: &'static str,
    table: &Value,
) -> Result<Parsed, Vec<Problem>> {
    let problems = RefCell::default();
    let path = vec![name.to_owned()];
    let parsed = T::deserialize(Strict { path: &path, value: table, problems: &problems });
    let mut problems = problems.into_inner();
    match parsed {
        Ok(value) if problems.is_empty() => {
            return Ok(Parsed { value: Arc::new(value), type_name: type_name::<T>() });
        }
        Ok(_) => {}
        Err(fault) => problems.push(fault.at(&path, table).into_problem()),
    }
    Err(problems)
}

/// A value and its path. What nothing reads becomes a problem.
struct Strict<'a> {
    path: &'a [String],
    value: &'a Value,
    problems: &'a RefCell<Vec<Problem>>,
}

/// Why a value can't be read. It repeats no value: that may be a secret.
#[derive(Debug)]
struct Fault {
    message: String,
    /// The field that is missing below the path.
    field: Option<&'static str>,
    place: Option<(Vec<String>, Option<String>)>,
}

impl Fault {
    fn new(message: String) -> Self {
        Self { message, field: None, place: None }
    }

    /// Sets the path and the source, if no inner value did.
    fn at(mut self, path: &[String], value: &Value) -> Self {
        self.place.get_or_insert_with(|| (path.to_vec(), source(value)));
        self
    }

    fn into_problem(self) -> Problem {
        let (path, source) = self.place.unwrap_or_default();
        let path = [path, self.field.map(str::to_owned).into_iter().collect()].concat();
        Problem { key: shown::key(&path), source, message: self.message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { field: Some(field), ..Self::new("is not set".into()) }
    }
}

impl<'a> Strict<'a> {
    /// Returns the text of a variable, which stands for a value of any type.
    fn variable(&self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::String(text) if self.value.origin().is_some_and(is_variable) => Some(text.trim()),
            _ => None,
        }
    }

    fn items<'de, V: Visitor<'de>>(&self, items: &[Value], visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Items { items: items.iter(), within: self })
    }

    fn members<'m>(&'m self, table: &'a Map<String, Value>) -> Members<'m> {
        Members { remaining: table.iter(), next: None, within: self }
    }
}

/// Reads a number or a flag: of a variable from its text, otherwise as it is.
macro_rules! from_variable {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.variable().map(str::parse::<$type>) {
                Some(Ok(value)) => visitor.$visit(value),
                Some(Err(_)) => Err(Fault::invalid_type(Unexpected::Other("a text"), &visitor)),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Strict<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let (path, value) = (self.path, self.value);
        let visited = match &value.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(flag) => visitor.visit_bool(*flag),
            ValueKind::I64(number) => visitor.visit_i64(*number),
            ValueKind::I128(number) => visitor.visit_i128(*number),
            ValueKind::U64(number) => visitor.visit_u64(*number),
            ValueKind::U128(number) => visitor.visit_u128(*number),
            ValueKind::Float(number) => visitor.visit_f64(*number),
            ValueKind::String(text) => visitor.visit_str(text),
            ValueKind::Array(items) => self.items(items, visitor),
            ValueKind::Table(table) => visitor.visit_map(self.members(table)),
        };
        visited.map_err(|fault| fault.at(path, value))
    }

    from_variable! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i64 i64,
        deserialize_i16 visit_i64 i64,
        deserialize_i32 visit_i64 i64,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u64 u64,
        deserialize_u16 visit_u64 u64,
        deserialize_u32 visit_u64 u64,
        deserialize_u64 visit_u64 u64,
        deserialize_f32 visit_f64 f64,
        deserialize_f64 visit_f64 f64,
    }

    /// The items of a variable are separated by commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Some(text) = self.variable() else {
            return self.deserialize_any(visitor);
        };
        let origin = self.value.origin().map(str::to_owned);
        let item = |text: &str| Value::new(origin.as_ref(), text.trim());
        let items: Vec<Value> = text.split(',').map(item).collect();
        self.items(&items, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (path, value) = (self.path, self.value);
        let visited = match &value.kind {
            ValueKind::String(text) => {
                visitor.visit_enum(IntoDeserializer::<Fault>::into_deserializer(text.trim()))
            }
            ValueKind::Table(table) => {
                MapAccessDeserializer::new(self.members(table)).deserialize_enum(name, variants, visitor)
            }
            _ => Err(Fault::new(format!("must be one of {}", variants.join(", ")))),
        };
        visited.map_err(|fault| fault.at(path, value))
    }

    /// Notes a key that no field has: serde calls this for it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let message = "there is no such key".to_owned();
        let (key, source) = (shown::unknown_key(self.path), source(self.value));
        self.problems.borrow_mut().push(Problem { key, source, message });
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

struct Items<'m, 'a> {
    items: std::slice::Iter<'m, Value>,
    within: &'m Strict<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        let Strict { path, problems, .. } = *self.within;
        seed.deserialize(Strict { path, value, problems }).map(Some)
    }
}

struct Members<'m> {
    remaining: <&'m Map<String, Value> as IntoIterator>::IntoIter,
    next: Option<(&'m String, &'m Value)>,
    within: &'m Strict<'m>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.next = self.remaining.next();
        let key = self.next.map(|(name, _)| seed.deserialize(name.as_str().into_deserializer()));
        key.transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (name, value) = self.next.take().ok_or_else(|| Fault::new("a value without its key".into()))?;
        let path = [self.within.path, std::slice::from_ref(name)].concat();
        let strict = Strict { path: &path, value, problems: self.within.problems };
        seed.deserialize(strict).map_err(|fault| fault.at(&path, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::Sources;
    use super::*;

    #[derive(Debug, Clone, PartialEq, Deserialize)]
    struct Orders {
        url: String,
        #[serde(default)]
        pool: u16,
        #[serde(default)]
        fast: bool,
        #[serde(default)]
        regions: Vec<String>,
        #[serde(default)]
        mode: Mode,
        limit: Option<f64>,
        #[serde(default)]
        names: BTreeMap<String, u8>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Slow,
        Fast,
    }

    fn read(toml: &str, variables: &[(&str, &str)]) -> Read {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(owned).collect();
        let mut values = Sources::default().text("my.toml", toml).environment(&variables).merge().unwrap();
        let mut read = Read::default();
        read.section(Section::of::<Orders>("orders"), values.remove("orders"), &["orders.url"]);
        read
    }

    fn problems(toml: &str, variables: &[(&str, &str)]) -> Vec<String> {
        read(toml, variables).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_have_the_types_of_their_fields_and_a_variables_text_stands_for_any() {
        let toml = "[orders]\nurl = \"u\"\npool = 5\nfast = true\nregions = [\"a\", \"b\"]\nmode = \"fast\"\nlimit = 0.5\n\
                    [orders.names]\na = 1\n";
        let expected = Orders {
            url: "u".into(),
            pool: 5,
            fast: true,
            regions: vec!["a".into(), "b".into()],
            mode: Mode::Fast,
            limit: Some(0.5),
            names: BTreeMap::from([("a".into(), 1)]),
        };
        assert_eq!(read(toml, &[]).sections.get::<Orders>("orders").unwrap(), expected);
        let variables = [
            ("FASTMCP__ORDERS__URL", "u"),
            ("FASTMCP__ORDERS__POOL", "5"),
            ("FASTMCP__ORDERS__FAST", "true"),
            ("FASTMCP__ORDERS__REGIONS", "a, b"),
            ("FASTMCP__ORDERS__MODE", "fast"),
            ("FASTMCP__ORDERS__LIMIT", "0.5"),
            ("FASTMCP__ORDERS__NAMES__A", "1"),
        ];
        assert_eq!(read("", &variables).sections.get::<Orders>("orders").unwrap(), expected);
    }

    #[test]
    fn faults_name_the_key_and_its_source_and_repeat_no_value() {
        for (toml, expected) in [
            ("", "orders.url: is not set"),
            ("[orders]\nurl = 5\n", "orders.url (my.toml:2:1): must be a string"),
            ("[orders]\nurl = \"u\"\npool = \"5\"\n", "orders.pool (my.toml:3:1): must be u16"),
            ("[orders]\nurl = \"u\"\npool = 70000\n", "orders.pool (my.toml:3:1): must be u16"),
            ("[orders]\nurl = \"u\"\nregions = \"a\"\n", "orders.regions (my.toml:3:1): must be a sequence"),
            ("[orders]\nurl = \"u\"\nregions = [5]\n", "orders.regions (my.toml:3:1): must be a string"),
            ("[orders]\nurl = \"u\"\nuser = 1\n", "orders.user (my.toml:3:1): there is no such key"),
            ("[orders]\nurl = \"u\"\nnames = { a = 300 }\n", "orders.names.a (my.toml:3:11): must be u8"),
        ] {
            assert_eq!(problems(toml, &[]), [expected], "{toml}");
        }
        let variables = [("FASTMCP__ORDERS__URL", "u"), ("FASTMCP__ORDERS__POOL", "many")];
        assert_eq!(
            problems("", &variables),
            ["orders.pool (environment: FASTMCP__ORDERS__POOL): must be u16"]
        );
        assert_eq!(
            problems("[orders]\nurl = \"u\"\nmode = \"quick\"\n", &[]),
            ["orders.mode (my.toml:3:1): unknown variant `quick`, expected `slow` or `fast`"]
        );
    }

    #[test]
    fn values_are_shown_with_their_sources_and_secrets_are_not() {
        let read = read("[orders]\nurl = \"secret-url\"\npool = 5\nregions = [\"a\"]\n", &[]);
        let mut shown: Vec<String> =
            read.effective.iter().map(|e| format!("{} = {} # {}", e.key, e.value, e.source)).collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "orders.pool = 5 # my.toml:3:1",
                "orders.regions = [\"a\"] # my.toml:4:1",
                "orders.url = [redacted] # my.toml:2:1",
            ]
        );
        assert!(!format!("{:?}", read.sections).contains("secret-url"));
    }

    #[test]
    fn a_section_that_was_not_declared_says_how_to_declare_it() {
        let read = read("[orders]\nurl = \"u\"\n", &[]);
        let error = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        assert!(error(read.sections.get::<Orders>("other").map(drop)).contains("is not declared"));
        assert!(
            error(read.sections.get::<String>("orders").map(drop)).contains("not as alloc::string::String")
        );
    }
}
