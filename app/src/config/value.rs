//! A value in force, and where it comes from.

use config::Value;

use super::fingerprint::Fingerprint;
use super::key::PREFIX;

/// A value in force, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The key, as `section.key`.
    pub key: String,
    /// The value as TOML; a secret's says how many there are.
    pub value: String,
    /// The value as JSON; a secret's says how many there are.
    pub json: serde_json::Value,
    /// The source's name.
    pub source: String,
    /// The parts of the key.
    pub(crate) path: Vec<String>,
    /// Of the value itself, also a secret's.
    pub(crate) fingerprint: Fingerprint,
}

/// Whether an origin names a variable, as `environment: NAME` and `.env:LINE: NAME` do; files end in `:LINE:COLUMN`.
pub(super) fn is_variable(origin: &str) -> bool {
    let name = origin.rsplit_once(": ").map(|(_, name)| name);
    // A variable of ours may end in a scope, which has more characters.
    let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "_.".contains(c));
    name.is_some_and(|name| name.starts_with(PREFIX) || is_plain(name))
}

pub(super) fn source(value: &Value) -> Option<String> {
    value.origin().map(str::to_owned)
}
