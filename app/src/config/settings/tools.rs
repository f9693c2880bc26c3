//! `[tools]`: other scopes than the tools ask for, and which tools are off.

use std::collections::BTreeMap;

use domain::{ScopeSet, ToolName};

use super::context::{Completeness, Context};
use crate::config::key::{Flag, Key, Reload, Texts};
use crate::config::reader::Reader;
use crate::config::{shown, suggestions};

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
    let mut rules = BTreeMap::new();
    for name in read.tables(&["tools"]) {
        let table = ["tools".to_owned(), name.clone()];
        let (tool, warning) = match named(context, &name) {
            Ok(named) => named,
            Err(message) => {
                read.reject_table(&table, message);
                continue;
            }
        };
        let scopes = scopes_of(read, &SCOPES, &[&name]);
        let enabled = read.flag_of(&ENABLED, &[&name]).unwrap_or(true);
        if let Some(warning) = warning {
            read.warn(&shown::key(&table), warning);
        }
        rules.insert(tool, ToolRule { scopes, enabled });
    }
    rules
}

/// Reads a list of scopes whose key has `names` in it.
pub(super) fn scopes_of(read: &mut Reader, key: &Key<Texts>, names: &[&str]) -> Option<ScopeSet> {
    let texts = read.texts_of(key, names)?;
    let scopes = ScopeSet::parse_all(texts.iter().map(String::as_str));
    scopes.map_err(|error| read.problem(&shown::key(&key.path(names)), error.to_string())).ok()
}

/// Returns the tool that a rule is for, and a warning if there is none now but may be one later.
///
/// # Errors
/// What is wrong with a rule for no tool.
pub(super) fn named(context: &Context<'_>, name: &str) -> Result<(ToolName, Option<String>), String> {
    let catalog = &context.catalog.tools;
    let listed = || catalog.specs().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
    let unknown = || format!("there is no such tool; the tools are {}", listed());
    let tool = ToolName::parse(name).map_err(|_| unknown())?;
    match context.completeness {
        _ if catalog.spec(name).is_some() => Ok((tool, None)),
        Completeness::Partial => Ok((tool, None)),
        Completeness::Complete => Err(unknown()),
        Completeness::Changing(fixed) => {
            match suggestions::name_like(name, fixed.specs().map(|spec| spec.name.as_str())) {
                Some(meant) => Err(format!("there is no such tool; did you mean {meant}?")),
                None => Ok((
                    tool,
                    Some(format!(
                        "there is no such tool now, and the rule waits for one; the tools are {}",
                        listed()
                    )),
                )),
            }
        }
    }
}
