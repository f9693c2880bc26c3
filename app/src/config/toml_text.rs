//! TOML text into values, each with its place in the text. Faults name a place and a key, and never repeat the text.

use config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::Keys;
use super::problem::Problem;
use super::{shown, suggestions};

/// The name of the defaults in messages.
pub(super) const BUILT_IN: &str = "config/default.toml, built in";

/// A text's name, and where its lines begin.
struct Positions<'a> {
    name: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Positions<'a> {
    fn new(name: &'a str, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { name, text, line_starts: std::iter::once(0).chain(ends).collect() }
    }

    /// The index of the line that holds an offset.
    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Returns `name:line:column`, counted from 1; the defaults' name alone.
    fn show(&self, offset: usize) -> String {
        if self.name == BUILT_IN {
            return self.name.to_owned();
        }
        let line = self.line(offset);
        let before = self.text.get(self.line_starts[line]..offset).unwrap_or_default();
        format!("{}:{}:{}", self.name, line + 1, before.chars().count() + 1)
    }
}

/// Parses TOML; `name` and the position become each value's origin.
pub(super) fn parse(keys: Keys, name: &str, text: &str) -> Result<Map<String, Value>, Problem> {
    let positions = Positions::new(name, text);
    match DeTable::parse(text) {
        Ok(table) => values(&positions, &[], table.into_inner()),
        Err(error) => Err(syntax_fault(keys, &positions, &error)),
    }
}

/// The error's own `Display` would print the line, which may hold a secret; its message is the grammar's words alone.
fn syntax_fault(keys: Keys, positions: &Positions<'_>, error: &toml::de::Error) -> Problem {
    let message = format!("not TOML: {}", error.message());
    let Some(span) = error.span() else {
        return Problem { key: positions.name.to_owned(), source: None, message };
    };
    let place = positions.show(span.start);
    match suggestions::key_at_line(keys, positions.text, positions.line(span.start)) {
        Some(key) => Problem { key, source: Some(place), message },
        None => Problem { key: place, source: None, message },
    }
}

fn values(
    positions: &Positions<'_>,
    above: &[String],
    table: DeTable<'_>,
) -> Result<Map<String, Value>, Problem> {
    let mut values = Map::new();
    for (key, value) in table {
        let origin = positions.show(key.span().start);
        let path: Vec<String> = above.iter().cloned().chain([key.into_inner().into_owned()]).collect();
        let kind = kind(positions, &path, &origin, value)?;
        if let Some(name) = path.last() {
            values.insert(name.clone(), Value::new(Some(&origin), kind));
        }
    }
    Ok(values)
}

fn kind(
    positions: &Positions<'_>,
    path: &[String],
    origin: &str,
    value: Spanned<DeValue<'_>>,
) -> Result<ValueKind, Problem> {
    let fault = |message: &str| Problem {
        key: shown::unknown_key(path),
        source: Some(origin.to_owned()),
        message: message.to_owned(),
    };
    Ok(match value.into_inner() {
        DeValue::String(text) => ValueKind::String(text.into_owned()),
        DeValue::Boolean(flag) => ValueKind::Boolean(flag),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(ValueKind::I64)
            .map_err(|_| fault("must be a number of at most 64 bits"))?,
        DeValue::Float(number) => {
            number.as_str().parse().map(ValueKind::Float).map_err(|_| fault("must be a number"))?
        }
        DeValue::Table(table) => ValueKind::Table(values(positions, path, table)?),
        DeValue::Array(items) => {
            let items = items
                .into_iter()
                .map(|item| Ok(Value::new(Some(&origin.to_owned()), kind(positions, path, origin, item)?)));
            ValueKind::Array(items.collect::<Result<_, _>>()?)
        }
    })
}
