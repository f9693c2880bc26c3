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

use super::fingerprint::Fingerprint;
use super::key::Keys;
use super::problem::Problem;
use super::value::{Effective, is_variable, source};
use super::{secret, shown};

const UNKNOWN: &str = "there is no such key";
/// What is said of a secret that can't be read, and nothing else.
const UNUSABLE: &str = "has a value that can't be used";
/// What is said in place of a type's own words about a table with secrets.
const UNUSABLE_TABLE: &str =
    "is refused by its type, whose words are not shown: they may repeat a secret of this table";

/// A section that a server declares: the name of its table, and the type that it is read into.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    pub(super) name: &'static str,
    parse: Parse,
}

/// Reads a section of a name from its table; the keys of the secrets come last.
type Parse = fn(&'static str, &Value, &[&'static str]) -> Result<Parsed, Vec<Problem>>;

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

/// Returns what is wrong with the declarations themselves, whatever the values are.
pub(super) fn misdeclared(keys: Keys, sections: &[Section], secrets: &[&'static str]) -> Vec<Problem> {
    let problem =
        |key: &str, message: &str| Problem { key: key.to_owned(), source: None, message: message.to_owned() };
    let names = sections.iter().enumerate().filter_map(|(index, Section { name, .. })| {
        let message = if is_ours(keys, name) {
            "can't be declared as a section: the table is the server's own"
        } else if sections[..index].iter().any(|earlier| earlier.name == *name) {
            "is declared as a section twice"
        } else if !is_plain(name) {
            "can't be a section's name: it has to be letters, digits, `_` and `-`"
        } else {
            return None;
        };
        Some(problem(name, message))
    });
    let is_within =
        |secret: &str| sections.iter().any(|section| secret.split('.').next() == Some(section.name));
    let secrets = secrets.iter().filter(|secret| !is_within(secret));
    names
        .chain(secrets.map(|key| problem(key, "is declared secret, but is in no declared section")))
        .collect()
}

/// Returns whether a table is read by something else than a declared section.
fn is_ours(keys: Keys, table: &str) -> bool {
    table == "tenant" || keys.iter().any(|key| key.name.split('.').next() == Some(table))
}

/// Returns whether a table's name needs no quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
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
    pub(super) fn section(&mut self, section: Section, table: Option<Value>, secrets: &[&'static str]) {
        let table = table.unwrap_or_else(|| Value::new(None, ValueKind::Table(Map::new())));
        self.show(&[section.name.to_owned()], &table, secrets);
        match (section.parse)(section.name, &table, secrets) {
            Ok(parsed) => drop(self.sections.0.insert(section.name, parsed)),
            Err(mut problems) => self.problems.append(&mut problems),
        }
    }

    fn show(&mut self, path: &[String], value: &Value, secrets: &[&str]) {
        let is_secret = secret::depth(secrets, path).is_some();
        match &value.kind {
            ValueKind::Table(table) if !is_secret => {
                for (name, value) in table {
                    self.show(&below(path, name), value, secrets);
                }
            }
            _ => {
                let json = json(path, value, secrets);
                self.effective.push(Effective {
                    key: shown::key(path),
                    path: path.to_vec(),
                    value: if is_secret { "[redacted]".into() } else { json.to_string() },
                    json,
                    source: source(value).unwrap_or_default(),
                    fingerprint: Fingerprint::of(&self::json(path, value, &[]).to_string()),
                });
            }
        }
    }
}

fn below(path: &[String], name: &str) -> Vec<String> {
    path.iter().map(String::as_str).chain([name]).map(str::to_owned).collect()
}

/// Returns a value as JSON, without the secrets in it.
fn json(path: &[String], value: &Value, secrets: &[&str]) -> serde_json::Value {
    if secret::depth(secrets, path).is_some() {
        return serde_json::json!({"redacted": 1});
    }
    match &value.kind {
        ValueKind::Boolean(flag) => (*flag).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::String(text) => text.as_str().into(),
        ValueKind::Array(items) => items.iter().map(|item| json(path, item, secrets)).collect(),
        ValueKind::Table(table) => {
            let members = table.iter().map(|(name, value)| (name, json(&below(path, name), value, secrets)));
            // In the order of their names.
            let members: BTreeMap<_, _> = members.collect();
            members.into_iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        ValueKind::Nil | ValueKind::I128(_) | ValueKind::U128(_) => serde_json::Value::Null,
    }
}

fn parse<T: DeserializeOwned + Send + Sync + 'static>(
    name: &'static str,
    table: &Value,
    secrets: &[&'static str],
) -> Result<Parsed, Vec<Problem>> {
    let reading = Reading { secrets, problems: RefCell::default(), structs: RefCell::default() };
    let path = vec![name.to_owned()];
    let parsed = T::deserialize(Strict { path: &path, value: table, reading: &reading });
    let mut problems = reading.unknown_secrets();
    problems.append(&mut reading.problems.borrow_mut());
    match parsed {
        Ok(value) if problems.is_empty() => {
            return Ok(Parsed { value: Arc::new(value), type_name: type_name::<T>() });
        }
        Ok(_) => {}
        Err(fault) => problems.push(fault.at(&path, table).into_problem(secrets)),
    }
    Err(problems)
}

/// What a section is read with, and what is noted on the way.
struct Reading<'a> {
    secrets: &'a [&'static str],
    problems: RefCell<Vec<Problem>>,
    /// The structures that were read: the path of each, and its fields.
    structs: RefCell<Vec<(Vec<String>, &'static [&'static str])>>,
}

impl Reading<'_> {
    /// Returns the problems of secrets that name a field which the structure at its place does not have.
    fn unknown_secrets(&self) -> Vec<Problem> {
        let structs = self.structs.borrow();
        // Those of one depth are of one place: of a list's items, or of what stands at a `*`.
        let is_unknown_at = |secret: &str, depth: usize| {
            let read = structs.iter().filter(|(path, _)| path.len() == depth);
            let mut read =
                read.filter_map(|(path, fields)| Some((secret::next(secret, path)?, fields))).peekable();
            read.peek().is_some() && !read.any(|(name, fields)| name == "*" || fields.contains(&name))
        };
        let is_unknown =
            |secret: &str| (1..secret.split('.').count()).any(|depth| is_unknown_at(secret, depth));
        let unknown = self.secrets.iter().filter(|secret| is_unknown(secret));
        let message = "is declared secret, but its section's type has no such key";
        unknown.map(|key| Problem { key: (*key).to_owned(), source: None, message: message.into() }).collect()
    }
}

/// A value and its path. What nothing reads becomes a problem.
struct Strict<'a> {
    path: &'a [String],
    value: &'a Value,
    reading: &'a Reading<'a>,
}

/// Why a value can't be read. It repeats no value, as that may be a secret, but for the words of a type's own.
#[derive(Debug)]
struct Fault {
    message: String,
    /// Whether the place is a key that is not expected there.
    is_key: bool,
    /// Whether the message is in the words of a type's own, which may repeat the value.
    is_custom: bool,
    /// The field that is missing below the path.
    field: Option<&'static str>,
    place: Option<(Vec<String>, Option<String>)>,
}

impl Fault {
    fn new(message: String) -> Self {
        Self { message, is_key: false, is_custom: false, field: None, place: None }
    }

    /// Sets the path and the source, if no inner value did.
    fn at(mut self, path: &[String], value: &Value) -> Self {
        self.place.get_or_insert_with(|| (path.to_vec(), source(value)));
        self
    }

    fn into_problem(self, secrets: &[&str]) -> Problem {
        let (path, source) = self.place.unwrap_or_default();
        if let Some(problem) = of_secret(secrets, &path, source.as_ref()) {
            return problem;
        }
        let message = match self.message {
            _ if self.is_custom && secret::any_below(secrets, &path) => UNUSABLE_TABLE.to_owned(),
            message => message,
        };
        let path = [path, self.field.map(str::to_owned).into_iter().collect()].concat();
        let key = if self.is_key { shown::unknown_key(&path) } else { shown::key(&path) };
        Problem { key, source, message }
    }
}

/// Returns the problem of a secret that a path is, or is below. What is below is part of the secret, names too.
fn of_secret(secrets: &[&str], path: &[String], source: Option<&String>) -> Option<Problem> {
    let depth = secret::depth(secrets, path)?;
    Some(Problem { key: shown::key(&path[..depth]), source: source.cloned(), message: UNUSABLE.to_owned() })
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { is_custom: true, ..Self::new(message.to_string()) }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(UNKNOWN.to_owned())
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

    /// Returns the problem of a key that nothing reads.
    fn unknown_key(&self) -> Problem {
        let source = source(self.value);
        of_secret(self.reading.secrets, self.path, source.as_ref()).unwrap_or_else(|| Problem {
            key: shown::unknown_key(self.path),
            source,
            message: UNKNOWN.to_owned(),
        })
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
            _ => Err(Fault::unknown_variant("", variants)),
        };
        visited.map_err(|fault| fault.at(path, value))
    }

    /// Notes the fields, by which a misspelled secret is known.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.reading.structs.borrow_mut().push((self.path.to_vec(), fields));
        self.deserialize_any(visitor)
    }

    /// Notes a key that no field has: serde calls this for it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.reading.problems.borrow_mut().push(self.unknown_key());
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map identifier
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
        let Strict { path, reading, .. } = *self.within;
        seed.deserialize(Strict { path, value, reading }).map(Some)
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
        let Some((name, value)) = self.next else {
            return Ok(None);
        };
        let key = seed.deserialize(name.as_str().into_deserializer());
        key.map(Some)
            .map_err(|fault| Fault { is_key: true, ..fault }.at(&below(self.within.path, name), value))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (name, value) = self.next.take().ok_or_else(|| Fault::new("a value without its key".into()))?;
        let path = below(self.within.path, name);
        let strict = Strict { path: &path, value, reading: self.within.reading };
        seed.deserialize(strict).map_err(|fault| fault.at(&path, value))
    }
}

#[cfg(test)]
mod tests;
