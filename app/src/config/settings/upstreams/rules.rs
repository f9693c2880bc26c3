//! What of an upstream is offered, under which names and for which scopes.

use std::time::Duration;

use domain::ToolName;
use upstream_mcp::rules::{Pattern, Rules, ToolRule};

use super::super::limits::Limits;
use super::super::tools::scopes_of;
use super::{warn_of_deadline, within};
use crate::config::key::{DAY, Flag, Key, Reload, Text, Texts, Whole, seconds};
use crate::config::reader::Reader;
use crate::config::shown;

pub(super) static PREFIX: Key<Text> = Key::new(
    "upstreams.NAME.prefix",
    Text("text"),
    Reload::RestartRequired,
    "what its tools' and prompts' names begin with here",
)
.or("empty");
pub(super) static READ: Key<Texts> = Key::new(
    "upstreams.NAME.scopes.read",
    Texts("scopes"),
    Reload::RestartRequired,
    "needed for tools that only read, by their `readOnlyHint`; an empty list: any accepted token will do",
)
.or("they are not offered");
pub(super) static WRITE: Key<Texts> = Key::new(
    "upstreams.NAME.scopes.write",
    Texts("scopes"),
    Reload::RestartRequired,
    "needed for all other tools",
)
.or("they are not offered");
pub(super) static DESTRUCTIVE: Key<Texts> = Key::new(
    "upstreams.NAME.scopes.destructive",
    Texts("scopes"),
    Reload::RestartRequired,
    "needed for those of them that may undo or overwrite: all that do not say `destructiveHint` is false",
)
.or("`scopes.write`");
pub(super) static RESOURCES: Key<Texts> = Key::new(
    "upstreams.NAME.scopes.resources",
    Texts("scopes"),
    Reload::RestartRequired,
    "needed for resources and their templates",
)
.or("they are not offered");
pub(super) static PROMPTS: Key<Texts> =
    Key::new("upstreams.NAME.scopes.prompts", Texts("scopes"), Reload::RestartRequired, "needed for prompts")
        .or("they are not offered");
pub(super) static TOOL_SCOPES: Key<Texts> = Key::new(
    "upstreams.NAME.tools.\"PATTERN\".scopes",
    Texts("scopes"),
    Reload::RestartRequired,
    "needed for tools whose name at the upstream fits, in which `*` is any text; a key counts of the most specific pattern \
     that has it",
)
.or("`scopes`, by hints");
pub(super) static TOOL_HIDDEN: Key<Flag> = Key::new(
    "upstreams.NAME.tools.\"PATTERN\".hidden",
    Flag,
    Reload::RestartRequired,
    "whether they are left out, whatever else is said of them",
)
.or("`false`");
pub(super) static TOOL_NAME: Key<Text> = Key::new(
    "upstreams.NAME.tools.\"PATTERN\".name",
    Text("text"),
    Reload::RestartRequired,
    "the name that clients see, behind the prefix; for one tool, without `*`",
)
.or("the upstream's");
pub(super) static TOOL_TITLE: Key<Text> = Key::new(
    "upstreams.NAME.tools.\"PATTERN\".title",
    Text("text"),
    Reload::RestartRequired,
    "the title for people",
)
.or("the upstream's");
pub(super) static TOOL_DESCRIPTION: Key<Text> = Key::new(
    "upstreams.NAME.tools.\"PATTERN\".description",
    Text("text"),
    Reload::RestartRequired,
    "what the model reads of it",
)
.or("the upstream's");
pub(super) static TOOL_TIMEOUT: Key<Whole> = Key::new(
    "upstreams.NAME.tools.\"PATTERN\".timeout_seconds",
    seconds(1, DAY),
    Reload::RestartRequired,
    "for one request of a call",
)
.or("`call_seconds`");

/// Reads the prefix of names.
pub(super) fn prefix(read: &mut Reader, name: &str) -> String {
    let prefix = read.text_of(&PREFIX, &[name]).unwrap_or_default();
    if !prefix.is_empty() && ToolName::parse(&prefix).is_err() {
        read.problem(
            &shown::key(&PREFIX.path(&[name])),
            format!(
                "must be of letters, digits and `_.-`, as tools' names are, not {}",
                shown::text(&prefix)
            ),
        );
    }
    prefix
}

/// Reads the rules.
pub(super) fn read(read: &mut Reader, name: &str, prefix: &str, limits: &Limits) -> Rules {
    let patterns = read.tables(&["upstreams", name, "tools"]);
    let says_scopes = says_scopes(read, name, &patterns);
    let rules = Rules {
        tools: patterns.iter().map(|text| rule(read, name, text, prefix, limits.tool_deadline)).collect(),
        read: scopes_of(read, &READ, &[name]),
        write: scopes_of(read, &WRITE, &[name]),
        destructive: scopes_of(read, &DESTRUCTIVE, &[name]),
        resources: scopes_of(read, &RESOURCES, &[name]),
        prompts: scopes_of(read, &PROMPTS, &[name]),
    };
    let by_hints = [&rules.read, &rules.write, &rules.destructive, &rules.resources, &rules.prompts];
    let by_name = rules.tools.iter().map(|(_, rule)| &rule.scopes);
    // Where scopes are said with a fault, that is told instead.
    if !says_scopes && by_hints.into_iter().chain(by_name).all(Option::is_none) {
        let key = shown::key(&["upstreams".to_owned(), name.to_owned()]);
        read.warn(
            &key,
            format!(
                "offers nothing, as no rule says for which scopes: set {key}.scopes.read, .write, .destructive, \
                 .resources and .prompts, or {key}.tools.\"NAME\".scopes"
            ),
        );
    }
    rules
}

/// Returns whether anything is said of scopes, however wrong.
fn says_scopes(read: &Reader, name: &str, patterns: &[String]) -> bool {
    let has = |table: &[&str]| read.names(table).iter().any(|key| key.starts_with("scope"));
    let by_name = patterns.iter().any(|pattern| has(&["upstreams", name, "tools", pattern]));
    by_name || has(&["upstreams", name]) || !read.names(&["upstreams", name, "scopes"]).is_empty()
}

fn rule(read: &mut Reader, name: &str, text: &str, prefix: &str, deadline: Duration) -> (Pattern, ToolRule) {
    let names = [name, text];
    let timeout = read.seconds_of(&TOOL_TIMEOUT, &names);
    warn_of_deadline(read, &shown::key(&TOOL_TIMEOUT.path(&names)), timeout, deadline);
    let rule = ToolRule {
        scopes: scopes_of(read, &TOOL_SCOPES, &names),
        hidden: read.flag_of(&TOOL_HIDDEN, &names),
        name: read.text_of(&TOOL_NAME, &names),
        title: read.text_of(&TOOL_TITLE, &names),
        description: read.text_of(&TOOL_DESCRIPTION, &names),
        timeout: timeout.map(|timeout| within(timeout, deadline)),
    };
    if let Some(new) = &rule.name {
        let key = shown::key(&TOOL_NAME.path(&names));
        if text.contains('*') {
            read.problem(
                &key,
                "is for one tool, and the pattern may fit several: give the rule the tool's whole name",
            );
        } else if ToolName::parse(&format!("{prefix}{new}")).is_err() {
            let shown = shown::text(&format!("{prefix}{new}"));
            read.problem(
                &key,
                format!("must be of letters, digits and `_.-`, at most 128 with the prefix, not {shown}"),
            );
        }
    }
    (Pattern::new(text), rule)
}
