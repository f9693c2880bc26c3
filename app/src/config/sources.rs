//! Where values come from, each with the name of its source, merged by the `config` crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, FileFormat, Format, Map, Source, Value, ValueKind};

use super::problem::{Problem, Problems};

/// config/default.toml, compiled in: the documented defaults are the defaults.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");
/// config/local.toml, compiled in: what `dev` adds to the defaults.
pub const LOCAL: &str = include_str!("../../../config/local.toml");

/// The variables with names of their own, and their keys.
const NAMED: [(&str, &str); 5] = [
    ("AUTH0_DOMAIN", "auth0.domain"),
    ("AUTH0_AUDIENCE", "auth0.audience"),
    ("AUTH0_ISSUER", "auth0.issuer"),
    ("MCP_SERVER_URL", "server.url"),
    ("PORT", "server.port"),
];
const PREFIX: &str = "FASTMCP__";

/// The sources of one configuration; a later one wins.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    layers: Vec<Layer>,
    problems: Vec<Problem>,
}

/// A source's values, each marked with the source's name.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Sources {
    /// The defaults alone.
    #[must_use]
    pub fn defaults() -> Self {
        Self::default().text("config/default.toml, built in", DEFAULTS)
    }

    /// What `serve` and `check` read.
    #[must_use]
    pub fn of_service(file: Option<&Path>, dot_env: &Path, environment: &[(String, String)]) -> Self {
        let sources = Self::defaults();
        let sources = match file {
            Some(file) => sources.file(file),
            None => sources,
        };
        sources.dot_env(dot_env).environment(environment)
    }

    /// Adds a TOML file.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&name, &text),
            Err(error) => {
                self.problem(&name, format!("can't be read: {error}"));
                self
            }
        }
    }

    /// Adds TOML text.
    #[must_use]
    pub fn text(mut self, name: &str, toml: &str) -> Self {
        match FileFormat::Toml.parse(None, toml) {
            Ok(values) => self.layers.push(Layer(marked(values, name))),
            Err(error) => self.problem(name, format!("not TOML: {error}")),
        }
        self
    }

    /// Adds a `.env` file, if there is one.
    #[must_use]
    pub fn dot_env(mut self, path: &Path) -> Self {
        let name = path.display().to_string();
        let entries = match dotenvy::from_path_iter(path) {
            Ok(entries) => entries,
            Err(error) if error.not_found() => return self,
            Err(error) => {
                self.problem(&name, format!("can't be read: {error}"));
                return self;
            }
        };
        let mut variables = Vec::new();
        for entry in entries {
            match entry {
                Ok(variable) => variables.push(variable),
                // The error would repeat the line, which may hold a secret.
                Err(_) => self.problem(&name, "a line is not NAME=VALUE".into()),
            }
        }
        self.variables(&variables, &name, &NAMED);
        self
    }

    /// Adds environment variables.
    #[must_use]
    pub fn environment(mut self, variables: &[(String, String)]) -> Self {
        self.variables(variables, "environment", &NAMED);
        self
    }

    /// Adds environment variables, but not those with names of their own: they speak of a real tenant.
    #[must_use]
    pub fn environment_without_tenant(mut self, variables: &[(String, String)]) -> Self {
        self.variables(variables, "environment", &[]);
        self
    }

    /// Adds one value.
    #[must_use]
    pub fn set(mut self, name: &str, key: &str, value: impl Into<ValueKind>) -> Self {
        let mut table = Map::new();
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        insert(&mut table, &path, Value::new(Some(&name.to_owned()), value));
        self.layers.push(Layer(table));
        self
    }

    /// Everything merged.
    ///
    /// # Errors
    /// The problems of the sources themselves.
    pub(super) fn merge(self) -> Result<Map<String, Value>, Problems> {
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

    fn problem(&mut self, source: &str, message: String) {
        self.problems.push(Problem { key: source.to_owned(), source: None, message });
    }

    /// A blank value counts as none: that is what deployment tools make of a variable that is not set.
    fn variables(&mut self, variables: &[(String, String)], source: &str, named: &[(&str, &str)]) {
        let mut table = Map::new();
        let variables: BTreeMap<_, _> =
            variables.iter().filter(|(_, value)| !value.trim().is_empty()).cloned().collect();
        for (name, value) in &variables {
            let path: Option<Vec<String>> = match named.iter().find(|(known, _)| known == name) {
                Some((_, key)) => Some(key.split('.').map(str::to_owned).collect()),
                None => {
                    name.strip_prefix(PREFIX).map(|rest| rest.split("__").map(str::to_lowercase).collect())
                }
            };
            if let Some(path) = path {
                insert(&mut table, &path, Value::new(Some(&format!("{source}: {name}")), value.clone()));
            }
        }
        self.layers.push(Layer(table));
    }
}

fn insert(table: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return;
    }
    let inner = table.entry(first.clone()).or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    if let ValueKind::Table(inner) = &mut inner.kind {
        insert(inner, rest, value);
    }
}

/// Gives every value, and every value in a table, the source's name.
fn marked(values: Map<String, Value>, name: &str) -> Map<String, Value> {
    let mark = |(key, value): (String, Value)| {
        let kind = match value.kind {
            ValueKind::Table(inner) => ValueKind::Table(marked(inner, name)),
            kind => kind,
        };
        (key, Value::new(Some(&name.to_owned()), kind))
    };
    values.into_iter().map(mark).collect()
}

/// The `.env` of the folder the program was started in.
#[must_use]
pub fn dot_env_here() -> PathBuf {
    PathBuf::from(".env")
}
