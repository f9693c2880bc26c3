//! Where values come from, each with the name of its source, merged by the `config` crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use jwks_verifier::IdentityProvider;

use super::key::PREFIX;
use super::own::Section;
use super::problem::{Problem, Problems};
use super::settings::KEYS;
use super::toml_text::BUILT_IN;
use super::{dot_env, files, shown, suggestions, toml_text};
use crate::identity;

/// config/default.toml, compiled in: the documented defaults are the defaults.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");
/// config/local.toml, compiled in: what `dev` adds to the defaults.
pub const LOCAL: &str = include_str!("../../config/local.toml");

/// The sources of one configuration; a later one wins. Their `Debug` shows no value: some are secret.
#[derive(Clone, Default)]
pub struct Sources {
    layers: Vec<Layer>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    /// The tables of the server's own, and the keys in them whose values are never shown.
    pub(super) sections: Vec<Section>,
    pub(super) secrets: Vec<&'static str>,
    provider: Option<Arc<dyn IdentityProvider>>,
    /// The variables of `.env` and the environment.
    pub(super) environment: BTreeMap<String, String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sources({} layers, redacted)", self.layers.len())
    }
}

/// A source's values, each marked with the source's name and, in a file, its place.
#[derive(Clone)]
struct Layer {
    values: Map<String, Value>,
    is_of_variables: bool,
}

/// The section whose tables variables name in any case, and with `_` for `-`.
const UPSTREAMS: &str = "upstreams";

// `Source` asks for it.
impl fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Layer(redacted)")
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone())
    }
}

impl Layer {
    fn new(values: Map<String, Value>) -> Self {
        Self { values, is_of_variables: false }
    }

    fn upstreams(&self) -> impl Iterator<Item = &String> {
        match self.values.get(UPSTREAMS).map(|value| &value.kind) {
            Some(ValueKind::Table(upstreams)) => Some(upstreams.keys()),
            _ => None,
        }
        .into_iter()
        .flatten()
    }
}

impl Sources {
    /// Creates sources of the defaults alone.
    #[must_use]
    pub fn defaults() -> Self {
        Self::default().text(BUILT_IN, DEFAULTS)
    }

    /// Adds what `serve` and `check` read: the file, `.env` and the environment.
    #[must_use]
    pub fn service(self, file: Option<&Path>, dot_env: &Path, environment: &[(String, String)]) -> Self {
        let sources = match file {
            Some(file) => self.file(file),
            None => self,
        };
        sources.dot_env(dot_env).environment(environment)
    }

    /// Sets the identity provider whose issuers are configured, instead of Auth0.
    #[must_use]
    pub fn identity_provider(mut self, provider: Arc<dyn IdentityProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    pub(super) fn provider(&self) -> Arc<dyn IdentityProvider> {
        self.provider.clone().unwrap_or_else(identity::provider)
    }

    /// Declares a table of the server's own.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// Declares a key of such a table whose value is never shown.
    #[must_use]
    pub fn secret(mut self, key: &'static str) -> Self {
        self.secrets.push(key);
        self
    }

    /// Adds a TOML file.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        let name = path.display().to_string();
        match files::read(path, files::MAX_CONFIG_BYTES) {
            Ok(text) => self.text(&name, &text),
            Err(error) => {
                self.problem(&name, error.to_string());
                self
            }
        }
    }

    /// Adds TOML text.
    #[must_use]
    pub fn text(mut self, name: &str, toml: &str) -> Self {
        match toml_text::parse(KEYS, name, toml) {
            Ok(values) => self.layers.push(Layer::new(values)),
            Err(problem) => self.problems.push(problem),
        }
        self
    }

    /// Adds a `.env` file, if there is one.
    #[must_use]
    pub fn dot_env(mut self, path: &Path) -> Self {
        let file = path.display().to_string();
        let text = match files::read(path, files::MAX_CONFIG_BYTES) {
            Ok(text) => text,
            Err(error) if error.is_missing() => return self,
            Err(error) => {
                self.problem(&file, error.to_string());
                return self;
            }
        };
        let (entries, mut problems) = dot_env::parse(KEYS, &file, &text);
        self.problems.append(&mut problems);
        self.environment.extend(entries.iter().map(|entry| (entry.name.clone(), entry.value.clone())));
        let variables = entries.into_iter().map(|entry| Variable {
            place: format!("{file}:{}", entry.line),
            name: entry.name,
            value: entry.value,
        });
        self.variables(variables, &named());
        self
    }

    /// Adds environment variables.
    #[must_use]
    pub fn environment(mut self, variables: &[(String, String)]) -> Self {
        self.environment.extend(variables.iter().cloned());
        self.variables(of_environment(variables), &named());
        self
    }

    /// Adds environment variables, but not those with names of their own: they belong to a real tenant.
    #[must_use]
    pub fn environment_without_tenant(mut self, variables: &[(String, String)]) -> Self {
        self.environment.extend(variables.iter().cloned());
        self.variables(of_environment(variables), &[]);
        self
    }

    /// Adds one value.
    #[must_use]
    pub fn set(mut self, name: &str, key: &str, value: impl Into<ValueKind>) -> Self {
        let mut table = Map::new();
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        insert(&mut table, &path, Value::new(Some(&name.to_owned()), value));
        self.layers.push(Layer::new(table));
        self
    }

    /// Returns whether a table has anything in it.
    pub(crate) fn has_any_of(&self, table: &str) -> bool {
        let has = |layer: &Layer| match layer.values.get(table).map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => !table.is_empty(),
            other => other.is_some(),
        };
        self.layers.iter().any(has)
    }

    /// Returns a variable of `.env` or the environment that is no part of the configuration; a blank one counts as none.
    #[cfg(feature = "tenant")]
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Merges the sources.
    ///
    /// # Errors
    /// The problems of the sources themselves.
    pub(super) fn merge(mut self) -> Result<Map<String, Value>, Problems> {
        self.name_upstreams_as_files_do();
        let mut problems = self.problems;
        let mut builder = Config::builder();
        for layer in self.layers {
            builder = builder.add_source(layer);
        }
        match builder.build().and_then(|config| config.collect()) {
            Ok(values) if problems.is_empty() => return Ok(values),
            Ok(_) => {}
            Err(error) => {
                problems.push(Problem {
                    key: "configuration".into(),
                    source: None,
                    message: error.to_string(),
                });
            }
        }
        Err(Problems::new(problems))
    }

    /// Gives the upstreams of variables, whose names have neither capitals nor `-`, the names that they have in files.
    fn name_upstreams_as_files_do(&mut self) {
        let in_files = self.layers.iter().filter(|layer| !layer.is_of_variables);
        let named: BTreeSet<String> = in_files.flat_map(Layer::upstreams).cloned().collect();
        for layer in self.layers.iter_mut().filter(|layer| layer.is_of_variables) {
            let Some(ValueKind::Table(upstreams)) =
                layer.values.get_mut(UPSTREAMS).map(|value| &mut value.kind)
            else {
                continue;
            };
            let others: Vec<String> =
                upstreams.keys().filter(|name| !named.contains(*name)).cloned().collect();
            for name in others {
                let mut meant = named.iter().filter(|named| in_variable(named) == in_variable(&name));
                if let (Some(meant), None) = (meant.next(), meant.next())
                    && !upstreams.contains_key(meant)
                    && let Some(table) = upstreams.remove(&name)
                {
                    upstreams.insert(meant.clone(), table);
                }
            }
        }
    }

    /// Takes out what is probably not meant, a line each.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn problem(&mut self, source: &str, message: String) {
        self.problems.push(Problem { key: source.to_owned(), source: None, message });
    }

    /// A blank value counts as none: that is what deployment tools make of a variable that is not set.
    fn variables(&mut self, variables: impl Iterator<Item = Variable>, named: &[(&str, &str)]) {
        let mut table = Map::new();
        // In the order of their names; the last one of a name counts.
        let variables = variables.filter(|variable| !variable.value.trim().is_empty());
        let variables: BTreeMap<String, Variable> =
            variables.map(|variable| (variable.name.clone(), variable)).collect();
        for (name, variable) in &variables {
            if let Some(meant) = unread(name, named).filter(|meant| !variables.contains_key(meant)) {
                self.warnings
                    .push(format!("nothing reads {name} ({}): did you mean {meant}?", variable.place));
            }
        }
        for (name, variable) in variables {
            let path: Option<Vec<String>> = match named.iter().find(|(known, _)| *known == name) {
                Some((_, key)) => Some(key.split('.').map(str::to_owned).collect()),
                None => {
                    name.strip_prefix(PREFIX).map(|rest| rest.split("__").map(str::to_lowercase).collect())
                }
            };
            if let Some(path) = path {
                let origin = format!("{}: {name}", variable.place);
                if !insert(&mut table, &path, Value::new(Some(&origin), variable.value)) {
                    let message = "is within a key that another variable sets".to_owned();
                    let (key, source) = (shown::unknown_key(&path), Some(origin));
                    self.problems.push(Problem { key, source, message });
                }
            }
        }
        self.layers.push(Layer { values: table, is_of_variables: true });
    }
}

/// Returns a name as a variable's name can have it, in small letters.
fn in_variable(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// A variable, and where it is set.
struct Variable {
    name: String,
    value: String,
    /// The file and the line, or the environment.
    place: String,
}

/// Returns the variable that one that nothing reads was probably meant to be.
fn unread(name: &str, named: &[(&str, &str)]) -> Option<String> {
    let is_read = name.starts_with(PREFIX) || KEYS.named_variables().any(|(known, _)| known == name);
    if is_read { None } else { suggestions::misspelled_variable(KEYS, name, named) }
}

/// Returns the variables with names of their own, and their keys.
fn named() -> Vec<(&'static str, &'static str)> {
    KEYS.named_variables().collect()
}

fn of_environment(variables: &[(String, String)]) -> impl Iterator<Item = Variable> {
    variables.iter().map(|(name, value)| Variable {
        name: name.clone(),
        value: value.clone(),
        place: "environment".to_owned(),
    })
}

/// Sets a value in nested tables; returns false if a part of the path is a value already.
fn insert(table: &mut Map<String, Value>, path: &[String], value: Value) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return true;
    }
    let inner = table.entry(first.clone()).or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    match &mut inner.kind {
        ValueKind::Table(inner) => insert(inner, rest, value),
        _ => false,
    }
}

/// Returns the path of `.env` in the working directory.
#[must_use]
pub fn dot_env_here() -> PathBuf {
    PathBuf::from(".env")
}
