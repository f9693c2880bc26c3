//! `[tools]`: other scopes than the tools ask for, and which tools are off.

use std::collections::BTreeMap;

use domain::{ScopeSet, ToolName};

use super::{Completeness, Context};
use crate::config::key::{Flag, Key, Reload, Texts};
use crate::config::reader::Reader;
use crate::config::shown;

static SCOPES: Key<Texts> =
    Key::new("tools.NAME.scopes", Texts("scopes"), Reload::Applied, "needed instead, all of them")
        .or("the tool's own");
static ENABLED: Key<Flag> =
    Key::new("tools.NAME.enabled", Flag, Reload::Applied, "whether the tool is on offer").or("`true`");

pub(super) const KEYS: &[&Key] = &[&SCOPES, &ENABLED];

/// What the configuration says of one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRule {
    /// The scopes it needs instead of those it asks for.
    pub scopes: Option<ScopeSet>,
    /// Whether it is on offer.
    pub enabled: bool,
}

pub(super) fn read(read: &mut Reader, context: &Context<'_>) -> BTreeMap<ToolName, ToolRule> {
    let catalog = &context.catalog.tools;
    let mut rules = BTreeMap::new();
    for name in read.tables("tools") {
        let is_known = |tool: &ToolName| {
            context.completeness == Completeness::Partial || catalog.spec(tool.as_str()).is_some()
        };
        let Some(tool) = ToolName::parse(&name).ok().filter(is_known) else {
            let known: Vec<&str> = catalog.specs().map(|spec| spec.name.as_str()).collect();
            let message = format!("there is no such tool; the tools are {}", known.join(", "));
            read.reject_table(&["tools".to_owned(), name], message);
            continue;
        };
        let scopes = read.texts_of(&SCOPES, &name);
        let enabled = read.flag_of(&ENABLED, &name).unwrap_or(true);
        let scopes = match scopes.map(|texts| ScopeSet::parse_all(texts.iter().map(String::as_str))) {
            Some(Err(error)) => {
                read.problem(&shown::key(&SCOPES.path(&name)), error.to_string());
                None
            }
            Some(Ok(scopes)) => Some(scopes),
            None => None,
        };
        rules.insert(tool, ToolRule { scopes, enabled });
    }
    rules
}
