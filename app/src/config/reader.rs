//! Reading values one by one: each with its type and bounds, every fault noted, nothing left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use config::{Map, Value, ValueKind};
use serde::Serialize;

use super::fingerprint::Fingerprint;
use super::key::{Flag, Key, Keys, Ratio, Text, Texts, Whole, WordOr, Words};
use super::own::{self, OwnSections, Section};
use super::problem::{Problem, Problems};
use super::value::{Effective, is_variable, source};
use super::{files, shown, suggestions};

/// The maximum size of a file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The values that have not been read yet, by path, and what was noted on the way.
pub(super) struct Reader {
    values: BTreeMap<Vec<String>, Value>,
    /// The paths of all tables, also of empty ones.
    tables: BTreeSet<Vec<String>>,
    effective: Vec<Effective>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    own: own::Read,
    keys: Keys,
}

impl Reader {
    /// Takes the values apart; tables named in `whole` stay in one piece.
    pub(super) fn new(keys: Keys, values: Map<String, Value>, whole: &[&str]) -> Self {
        let (mut flat, mut tables) = (BTreeMap::new(), BTreeSet::new());
        for (key, value) in values {
            if whole.contains(&key.as_str()) {
                flat.insert(vec![key], value);
            } else {
                flatten(&[], key, value, &mut flat, &mut tables);
            }
        }
        Self {
            values: flat,
            tables,
            effective: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            own: own::Read::default(),
            keys,
        }
    }

    /// Takes a value that something else will read.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.values.remove(&[key.to_owned()][..])
    }

    /// Reads the tables of the server's own.
    pub(super) fn read_own(&mut self, sections: &[Section], secrets: &[&'static str]) {
        for section in sections {
            let table = self.take(section.name);
            self.own.section(*section, table, secrets);
        }
    }

    /// Returns what was read of them.
    pub(super) fn own_sections(&self) -> OwnSections {
        self.own.sections.clone()
    }

    /// The names of the tables inside a table, in order.
    pub(super) fn tables(&self, table: &[&str]) -> Vec<String> {
        let inner = self.tables.iter().filter_map(|path| path.split_last());
        inner.filter(|(_, above)| *above == table).map(|(name, _)| name.clone()).collect()
    }

    /// The names of the values inside a table, in order.
    pub(super) fn names(&self, table: &[&str]) -> Vec<String> {
        let inner = self.values.keys().filter_map(|path| path.split_last());
        inner.filter(|(_, above)| *above == table).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn text(&mut self, key: &Key<Text>) -> String {
        self.text_of(key, &[]).unwrap_or_default()
    }

    /// Reads a text whose key has `names` in it.
    pub(super) fn text_of(&mut self, key: &Key<Text>, names: &[&str]) -> Option<String> {
        self.read(key, names, "a text", |value, _| match &value.kind {
            ValueKind::String(text) => Some(text.trim().to_owned()),
            _ => None,
        })
    }

    /// Returns whether a key has an empty text, which was not read yet.
    pub(super) fn is_empty_text(&self, key: &Key<Text>) -> bool {
        let value = self.values.get(&key.path(&[]));
        value.is_some_and(|value| matches!(&value.kind, ValueKind::String(text) if text.trim().is_empty()))
    }

    /// Reads a flag whose key has `names` in it.
    pub(super) fn flag_of(&mut self, key: &Key<Flag>, names: &[&str]) -> Option<bool> {
        self.read(key, names, "true or false", |value, variable| match &value.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text) if variable => text.parse().ok(),
            _ => None,
        })
    }

    pub(super) fn texts(&mut self, key: &Key<Texts>) -> Vec<String> {
        let texts = self.texts_of(key, &[]).unwrap_or_default();
        if key.secret {
            self.redact(key, texts.len());
        }
        texts
    }

    /// Reads texts whose key has `names` in it; a variable's are comma-separated. An empty item is a fault: left out, it could
    /// leave a list of scopes empty, and its tool open.
    pub(super) fn texts_of(&mut self, key: &Key<Texts>, names: &[&str]) -> Option<Vec<String>> {
        self.read(key, names, "a list of texts, none of them empty", texts)
    }

    /// Reads a word with a meaning of its own, or texts as [`Reader::texts_of`] does.
    pub(super) fn word_or_texts(&mut self, key: &Key<WordOr>) -> Option<WordOrTexts> {
        let WordOr(word, _) = key.values;
        let expected = format!("{word:?} or a list of texts, none of them empty");
        self.read(key, &[], &expected, |value, variable| match &value.kind {
            ValueKind::String(text) if text.trim() == word => Some(WordOrTexts::Word(word)),
            _ => texts(value, variable).map(WordOrTexts::Texts),
        })
    }

    /// Notes what a secret list stands for, and the source that it comes from, if that is not its own key's.
    pub(super) fn set_secret(&mut self, key: &Key<Texts>, secrets: &[Vec<u8>], source: Option<&str>) {
        self.redact(key, secrets.len());
        for effective in self.effective.iter_mut().filter(|effective| effective.key == key.name) {
            effective.fingerprint = Fingerprint::of(secrets);
            if let Some(source) = source {
                source.clone_into(&mut effective.source);
            }
        }
    }

    fn redact(&mut self, key: &Key<Texts>, count: usize) {
        let effective = self.effective.iter_mut().filter(|effective| effective.key == key.name && count > 0);
        for effective in effective {
            effective.value = format!("[{count} redacted]");
            effective.json = serde_json::json!({"redacted": count});
        }
    }

    pub(super) fn whole<N: TryFrom<u64> + Default + fmt::Debug + Serialize>(
        &mut self,
        key: &Key<Whole>,
    ) -> N {
        self.whole_of(key, &[]).unwrap_or_default()
    }

    /// Reads a whole number whose key has `names` in it.
    pub(super) fn whole_of<N: TryFrom<u64> + fmt::Debug + Serialize>(
        &mut self,
        key: &Key<Whole>,
        names: &[&str],
    ) -> Option<N> {
        let Whole { min, max, .. } = key.values;
        let expected = format!("a whole number from {min} to {max}");
        self.read(key, names, &expected, |value, variable| {
            let number = match &value.kind {
                ValueKind::I64(number) => u64::try_from(*number).ok()?,
                ValueKind::U64(number) => *number,
                ValueKind::String(text) if variable => text.parse().ok()?,
                _ => return None,
            };
            (min..=max).contains(&number).then(|| N::try_from(number).ok())?
        })
    }

    /// Reads a number from 0 to 1.
    pub(super) fn ratio(&mut self, key: &Key<Ratio>) -> f64 {
        let ratio = self.read(key, &[], "a number from 0 to 1", |value, variable| {
            let number = match &value.kind {
                ValueKind::Float(number) => *number,
                ValueKind::I64(0) => 0.0,
                ValueKind::I64(1) => 1.0,
                ValueKind::String(text) if variable => text.parse().ok()?,
                _ => return None,
            };
            (0.0..=1.0).contains(&number).then_some(number)
        });
        ratio.unwrap_or_default()
    }

    pub(super) fn seconds(&mut self, key: &Key<Whole>) -> Duration {
        Duration::from_secs(self.whole(key))
    }

    /// Reads seconds whose key has `names` in it.
    pub(super) fn seconds_of(&mut self, key: &Key<Whole>, names: &[&str]) -> Option<Duration> {
        self.whole_of(key, names).map(Duration::from_secs)
    }

    /// Reads one of several words, and returns what it stands for.
    pub(super) fn choice<T: Copy>(&mut self, key: &Key<Words<T>>) -> Option<T> {
        self.choice_of(key, &[])
    }

    /// Reads one of several words, whose key has `names` in it, and returns what it stands for.
    pub(super) fn choice_of<T: Copy>(&mut self, key: &Key<Words<T>>, names: &[&str]) -> Option<T> {
        let Words(words) = key.values;
        let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let expected = format!("one of {}", known.join(", "));
        let word = self.read(key, names, &expected, |value, _| match &value.kind {
            ValueKind::String(text) => words.iter().map(|(word, _)| *word).find(|word| word == text),
            _ => None,
        })?;
        words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
    }

    /// Reads a text that is never shown, as it is.
    pub(super) fn secret_of(&mut self, key: &Key<Text>, names: &[&str]) -> Option<String> {
        let text = self.read(key, names, "a text", |value, _| match &value.kind {
            ValueKind::String(text) => Some(text.clone()),
            _ => None,
        });
        // That there is none is no secret.
        if key.has_placeholder() || text.as_deref() != Some("") {
            self.show(&shown::key(&key.path(names)), "[redacted]", &serde_json::json!({"redacted": 1}));
        }
        text
    }

    /// Reads the text of the file that is named, if one is, as [`Reader::secret_file_of`] does.
    pub(super) fn named_secret_file(&mut self, key: &Key<Text>) -> Option<String> {
        let is_named = self
            .values
            .get(&key.path(&[]))
            .is_some_and(|value| !matches!(&value.kind, ValueKind::String(text) if text.trim().is_empty()));
        if is_named {
            return self.secret_file_of(key, &[]);
        }
        self.text(key);
        None
    }

    /// Reads the text of the file that is named, without the white space at its ends. The path is shown, but by no message: it
    /// may be the secret itself, in the wrong place.
    pub(super) fn secret_file_of(&mut self, key: &Key<Text>, names: &[&str]) -> Option<String> {
        let path = self.text_of(key, names)?;
        self.secret_in_file(&shown::key(&key.path(names)), &path)
    }

    /// Reads the text of the file that a key names, as [`Reader::secret_file_of`] does.
    pub(super) fn secret_in_file(&mut self, key: &str, path: &str) -> Option<String> {
        match files::read(Path::new(path), MAX_SECRET_BYTES) {
            Ok(text) if text.trim().is_empty() => self.problem(key, "names a file in which nothing is"),
            Ok(text) => {
                self.stands_for(key, &text);
                return Some(text.trim().to_owned());
            }
            Err(error) => {
                self.problem(key, format!("must be the path of a file with the secret; it {error}"));
            }
        }
        None
    }

    /// Reads a value of which no more is shown than `show` says, as TOML and as JSON, and of a bad one nothing.
    pub(super) fn partly_shown<V: ?Sized, T: fmt::Debug + Serialize>(
        &mut self,
        key: &Key<V>,
        names: &[&str],
        expected: &str,
        parse: impl Fn(&Value, bool) -> Option<T>,
        show: impl FnOnce(&T) -> (String, serde_json::Value),
    ) -> Option<T> {
        let parsed = self.read_as(key, names, expected, true, parse)?;
        let (value, json) = show(&parsed);
        self.show(&shown::key(&key.path(names)), &value, &json);
        Some(parsed)
    }

    /// Returns whether a key with `names` in it has a value that was not read yet.
    pub(super) fn is_set<V: ?Sized>(&self, key: &Key<V>, names: &[&str]) -> bool {
        self.values.contains_key(&key.path(names))
    }

    /// Returns whether a value that was not read yet is a variable's.
    pub(super) fn is_from_variable<V: ?Sized>(&self, key: &Key<V>, names: &[&str]) -> bool {
        self.values.get(&key.path(names)).is_some_and(|value| value.origin().is_some_and(is_variable))
    }

    /// Sets what is shown of a value.
    fn show(&mut self, key: &str, value: &str, json: &serde_json::Value) {
        for effective in self.effective.iter_mut().filter(|effective| effective.key == key) {
            value.clone_into(&mut effective.value);
            effective.json.clone_from(json);
        }
    }

    /// Notes what else than its text a value stands for, so that a reload sees that change.
    pub(super) fn stands_for(&mut self, key: &str, meaning: &impl std::hash::Hash) {
        for effective in self.effective.iter_mut().filter(|effective| effective.key == key) {
            effective.fingerprint = Fingerprint::of(meaning);
        }
    }

    /// Notes a fault of a value, or a table of values, that was read, or of one that is missing.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let source = self.source_of(key);
        self.problems.push(Problem { key: key.to_owned(), source, message: message.into() });
    }

    /// Notes that a value that was read is probably not meant.
    pub(super) fn warn(&mut self, key: &str, message: String) {
        let warning = Problem { key: key.to_owned(), source: self.source_of(key), message };
        self.warnings.push(warning.to_string());
    }

    fn source_of(&self, key: &str) -> Option<String> {
        let belongs = |effective: &&Effective| {
            effective.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.effective.iter().find(belongs).map(|effective| effective.source.clone())
    }

    /// Notes a fault of a whole table, whose values are then not read.
    pub(super) fn reject_table(&mut self, table: &[String], message: String) {
        let within = |path: &[String]| path.starts_with(table);
        let first = self.values.iter().find(|(path, _)| within(path));
        let source = first.and_then(|(_, value)| source(value));
        self.values.retain(|path, _| !within(path));
        self.problems.push(Problem { key: shown::unknown_key(table), source, message });
    }

    /// Ends the reading: whatever was not read is unknown. Returns the values in force, and the warnings.
    pub(super) fn finish(mut self) -> Result<(Vec<Effective>, Vec<String>), Problems> {
        for (path, value) in std::mem::take(&mut self.values) {
            self.problems.push(unknown(self.keys, &path, &value));
        }
        self.problems.append(&mut self.own.problems);
        self.effective.append(&mut self.own.effective);
        if self.problems.is_empty() {
            Ok((self.effective, self.warnings))
        } else {
            Err(Problems::new(self.problems).with_warnings(self.warnings))
        }
    }

    /// Reads the value of a key, with `names` in place of the key's parts in capitals.
    fn read<V: ?Sized, T: fmt::Debug + Serialize>(
        &mut self,
        key: &Key<V>,
        names: &[&str],
        expected: &str,
        parse: impl Fn(&Value, bool) -> Option<T>,
    ) -> Option<T> {
        self.read_as(key, names, expected, key.secret, parse)
    }

    /// Reads the value of a key; a bad one that is `secret` is not repeated.
    fn read_as<V: ?Sized, T: fmt::Debug + Serialize>(
        &mut self,
        key: &Key<V>,
        names: &[&str],
        expected: &str,
        secret: bool,
        parse: impl Fn(&Value, bool) -> Option<T>,
    ) -> Option<T> {
        let path = key.path(names);
        let Some(value) = self.values.remove(&path) else {
            if !key.has_placeholder() {
                self.miss(&path);
            }
            return None;
        };
        // Variables are texts; in a file a number is a number.
        let variable = value.origin().is_some_and(is_variable);
        let parsed = parse(&value, variable);
        let key = shown::key(&path);
        if parsed.is_none() {
            let bad = shown::value(&value).filter(|_| !secret);
            let bad = bad.map(|bad| format!(", not {bad}")).unwrap_or_default();
            let message = format!("must be {expected}{bad}");
            self.problems.push(Problem { key: key.clone(), source: source(&value), message });
        }
        self.effective.push(Effective {
            key,
            value: parsed.as_ref().map(|parsed| format!("{parsed:?}")).unwrap_or_default(),
            json: serde_json::to_value(&parsed).unwrap_or_default(),
            source: source(&value).unwrap_or_default(),
            path,
            fingerprint: Fingerprint::of(&format!("{parsed:?}")),
        });
        parsed
    }

    /// Notes that a key has no value, not even a default; unless something else stands in its place, which is a fault by itself.
    fn miss(&mut self, path: &[String]) {
        let mut others = self.values.keys();
        if !others.any(|other| path.starts_with(other) || other.starts_with(path)) {
            self.problem(&shown::key(path), "is not set, and has no default here");
        }
    }
}

/// A word with a meaning of its own, or texts.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum WordOrTexts {
    Word(&'static str),
    Texts(Vec<String>),
}

/// As the value is shown.
impl fmt::Debug for WordOrTexts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => word.fmt(formatter),
            Self::Texts(texts) => texts.fmt(formatter),
        }
    }
}

/// Reads a list of texts, none of them empty; a variable's are comma-separated.
pub(super) fn texts(value: &Value, variable: bool) -> Option<Vec<String>> {
    let item = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    match &value.kind {
        ValueKind::Array(items) => items
            .iter()
            .map(|value| match &value.kind {
                ValueKind::String(text) => item(text),
                _ => None,
            })
            .collect(),
        ValueKind::String(text) if variable => text.split(',').map(item).collect(),
        _ => None,
    }
}

/// The problem of a value that nothing reads.
fn unknown(keys: Keys, path: &[String], value: &Value) -> Problem {
    if let Some(secret) = keys.iter().find(|key| key.secret && key.covers(path)) {
        let what = if secret.values.describe().starts_with("list") { "a list of texts" } else { "a text" };
        let key = secret.path_like(&path[..secret.name.split('.').count()]);
        let key = shown::unknown_key(&key.unwrap_or_default());
        return Problem { key, source: source(value), message: format!("must be {what}, not a table") };
    }
    if let [section, table, ..] = path
        && (section.as_str(), table.as_str()) == ("scopes", "implies")
    {
        let message = "must be a table of lists, such as \"notes:admin\" = [\"notes:write\"] under [scopes.implies]; a scope \
                       with a dot stands in quotes, too";
        return Problem { key: shown::unknown_key(path), source: source(value), message: message.to_owned() };
    }
    if let Some(table) =
        suggestions::table_like(keys, path).filter(|_| !value.origin().is_some_and(is_variable))
    {
        let message = format!("there is no such key; did you mean {table}?");
        return Problem { key: shown::unknown_key(path), source: source(value), message };
    }
    if let Some(inner) = keys.iter().find(|key| key.has_placeholder() && key.is_in(path)) {
        let message = format!("must be a table, of keys such as {}", inner.name);
        return Problem { key: shown::unknown_key(path), source: source(value), message };
    }
    let is_variable = value.origin().is_some_and(is_variable);
    let meant =
        if is_variable { suggestions::variable_like(keys, path) } else { suggestions::key_like(keys, path) };
    let advice = match meant {
        Some(known) => format!("did you mean {known}?"),
        None => "`config default` prints them all".to_owned(),
    };
    let message = format!("there is no such key; {advice}");
    Problem { key: shown::unknown_key(path), source: source(value), message }
}

fn flatten(
    above: &[String],
    key: String,
    value: Value,
    flat: &mut BTreeMap<Vec<String>, Value>,
    tables: &mut BTreeSet<Vec<String>>,
) {
    let path: Vec<String> = above.iter().cloned().chain([key]).collect();
    match value.kind {
        ValueKind::Table(inner) => {
            for (key, value) in inner {
                flatten(&path, key, value, flat, tables);
            }
            tables.insert(path);
        }
        _ => {
            flat.insert(path, value);
        }
    }
}
