//! Suggestions for keys, variables and scopes that do not exist: what was probably meant.

use super::key::{Key, Keys, PREFIX};
use super::shown::{MAX_KEY_PART, unknown_key};

/// The maximum number of letters that are wrong, missing, too many or swapped in what is still taken for a misspelling.
const MAX_EDITS: usize = 2;

/// Returns the key that an environment variable sets, if there is such a key.
pub(super) fn key_of_variable(keys: Keys, name: &str) -> Option<String> {
    if let Some((_, key)) = keys.named_variables().find(|(known, _)| *known == name) {
        return Some(key.to_owned());
    }
    let key = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
    keys.names().any(|known| known == key).then_some(key)
}

/// Returns the table that an unknown path was probably meant to be in: one of a section with a name of the operator's, if the
/// section is misspelled, or the name left out.
pub(super) fn table_like(keys: Keys, path: &[String]) -> Option<String> {
    let [section, name, ..] = path else { return None };
    let with_tables = keys.iter().filter_map(|key| key.name.split_once(".NAME."));
    let tables: Vec<(&str, &str)> = with_tables.collect();
    let of_one = |section: &str, name: &str| tables.contains(&(section, name));
    if of_one(section, name) && path.len() == 2 {
        return Some(format!("[{section}.NAME]"));
    }
    let meant = section_like(keys, section)?;
    let name = if of_one(meant, name) && path.len() == 2 {
        "NAME".to_owned()
    } else {
        unknown_key(std::slice::from_ref(name))
    };
    Some(format!("[{meant}.{name}]"))
}

/// Returns the section of tables with names of the operator's that an unknown section was probably meant to be.
fn section_like(keys: Keys, section: &str) -> Option<&'static str> {
    let is_section = keys.iter().any(|key| key.name.split('.').next() == Some(section));
    let tables = keys.iter().filter_map(|key| Some(key.name.split_once(".NAME.")?.0));
    name_like(section, tables).filter(|_| !is_section)
}

/// Returns the key that an unknown one was probably meant to be.
pub(super) fn key_like(keys: Keys, path: &[String]) -> Option<String> {
    if let Some(section) = section_like(keys, &path[0]) {
        let meant: Vec<String> =
            std::iter::once(section).chain(path[1..].iter().map(String::as_str)).map(str::to_owned).collect();
        if keys.iter().any(|key| key.covers(&meant)) {
            return Some(meant.join("."));
        }
    }
    let key = path.join(".");
    // A key of an operator's table is a misspelling of another one there, or it is another table's of the same section.
    let is_of_section = |known: &[String]| known[0] == path[0];
    let with_names = keys.iter().filter(|key| key.has_placeholder()).filter_map(|key| key.path_like(path));
    let with_names: Vec<String> = with_names
        .filter(|known| is_of_section(known) && known != path)
        .map(|known| known.join("."))
        .collect();
    if let Some(meant) = closest(&key, with_names.iter().map(String::as_str)) {
        return Some(meant.to_owned());
    }
    if let [section, name, .., last] = path {
        let end = format!(".{last}");
        let of_table =
            |key: &&Key| key.name.starts_with(&format!("{section}.NAME.")) && key.name.ends_with(&end);
        let path = keys.iter().find(of_table).map(|key| key.path(&[name]));
        if let Some(path) = path.filter(|path| path.iter().all(|part| !part.is_empty())) {
            return Some(path.join("."));
        }
        let table = format!("{section}.NAME.");
        if keys.iter().any(|key| key.name.starts_with(&table)) {
            return None;
        }
    }
    let longer = format!("{key}_");
    let same_name = |known: &&str| path.last().is_some_and(|last| known.ends_with(&format!(".{last}")));
    closest(&key, keys.names())
        .or_else(|| keys.names().find(|known| known.starts_with(&longer)))
        .or_else(|| keys.names().find(same_name))
        .map(str::to_owned)
}

/// Returns the variable whose key an unknown one was probably meant to be.
pub(super) fn variable_like(keys: Keys, path: &[String]) -> Option<String> {
    key_like(keys, path).map(|key| variable(&key))
}

/// Returns the variable that an unread one is a misspelling of; `named` are the variables with names of their own. Other
/// programs' variables differ from ours by more letters.
pub(super) fn misspelled_variable(keys: Keys, name: &str, named: &[(&str, &str)]) -> Option<String> {
    // A short name differs from any other by a few letters.
    let long = named.iter().map(|(name, _)| *name).filter(|name| name.len() > 2 * MAX_EDITS);
    let known = long.map(str::to_owned).chain(keys.names().map(variable));
    let plain = |name: &str| {
        let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
        words.join("_").to_uppercase()
    };
    let plain_name = plain(name);
    let length = plain_name.chars().count();
    let distances = known.filter_map(|known| {
        let plain_known = plain(&known);
        // There are as many edits at least, and this costs less, for each variable of the environment and each key.
        let is_near = plain_known.chars().count().abs_diff(length) <= MAX_EDITS;
        is_near.then(|| (strsim::osa_distance(&plain_name, &plain_known), known))
    });
    distances.filter(|(edits, _)| *edits <= MAX_EDITS).min().map(|(_, known)| known)
}

/// Returns the variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").replace('-', "_").to_uppercase())
}

fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.map(|known| (strsim::osa_distance(name, known), known));
    distances.filter(|(edits, _)| *edits <= MAX_EDITS).min().map(|(_, known)| known)
}

/// Returns the scope or tool that an unknown one was probably meant to be; the shorter it is, the fewer letters may differ.
pub(crate) fn name_like<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known).filter(|meant| 2 * strsim::osa_distance(name, meant) < name.len())
}

/// Returns the known key that a text assigns to at `line`, counted from 0: on that line, or on one before it if that line
/// begins no assignment of its own.
pub(super) fn key_at_line(keys: Keys, text: &str, line: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().take(line + 1).map(str::trim).collect();
    let (index, name) = lines.iter().enumerate().rev().find_map(|(index, line)| {
        let (name, _) = line.split_once('=')?;
        let name = name.trim();
        // Base64 ends in `=`: what is longer than a key is a value on a line of its own.
        let is_name = !line.starts_with('#') && name.len() <= MAX_KEY_PART && !name.is_empty();
        is_name.then_some((index, name))
    })?;
    let section = lines[..index].iter().rev().find_map(|line| {
        let (name, _) = line.strip_prefix('[')?.split_once(']')?;
        name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)).then_some(name)
    });
    let key = section.map_or_else(|| name.to_owned(), |section| format!("{section}.{name}"));
    keys.names().any(|known| known == key).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::KEYS;

    fn named() -> Vec<(&'static str, &'static str)> {
        KEYS.named_variables().collect()
    }

    #[test]
    fn a_key_is_found_by_the_line_of_its_assignment_and_a_value_is_never_taken_for_one() {
        let text = "[mcp]\nstate_keys = [\n  MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=,\n]\nunknown = 1\n";
        assert_eq!(key_at_line(KEYS, text, 1).as_deref(), Some("mcp.state_keys"));
        assert_eq!(key_at_line(KEYS, text, 2).as_deref(), Some("mcp.state_keys"));
        assert_eq!(key_at_line(KEYS, text, 4), None);
        assert_eq!(key_at_line(KEYS, "state_keys = [", 0), None, "outside of its section");
        assert_eq!(key_at_line(KEYS, "mcp.state_keys = [", 0).as_deref(), Some("mcp.state_keys"));
        assert_eq!(key_at_line(KEYS, "[mcp]\n[other]\nstate_keys = [", 2), None);
        assert_eq!(key_at_line(KEYS, "", 0), None);
    }

    #[test]
    fn misspelled_keys_are_recognized_and_others_are_not() {
        for (unknown, meant) in [
            ("auth0.domian", Some("auth0.domain")),
            ("servr.port", Some("server.port")),
            ("limits.tool", Some("limits.tool_seconds")),
            ("http.port", Some("server.port")),
            ("tools.greet.scope", Some("tools.greet.scopes")),
            ("tools.greet.colour", None),
            ("mcp.colour", None),
            ("stray", None),
        ] {
            let path: Vec<String> = unknown.split('.').map(str::to_owned).collect();
            assert_eq!(key_like(KEYS, &path).as_deref(), meant, "{unknown}");
        }
    }

    #[test]
    fn misspelled_variables_are_recognized_and_those_of_other_programs_are_not() {
        for (name, meant) in [
            ("AUTH0_ISUER", "AUTH0_ISSUER"),
            ("auth0_domain", "AUTH0_DOMAIN"),
            ("AUHT0_DOMAIN", "AUTH0_DOMAIN"),
            ("MCP_SERVER_ULR", "MCP_SERVER_URL"),
            ("FASTMCP_SERVER_PORT", "FASTMCP__SERVER__PORT"),
            ("FASTMCP_LIMIT_BODY_BYTES", "FASTMCP__LIMITS__BODY_BYTES"),
        ] {
            assert_eq!(misspelled_variable(KEYS, name, &named()).as_deref(), Some(meant), "{name}");
        }
        for name in [
            "AUTH0_CLIENT_ID",
            "AUTH0_CLIENT_SECRET",
            "AUTH0_SECRET",
            "AUTH0_BASE_URL",
            "AUTH0_ISSUER_BASE_URL",
            "AUTH0_SCOPE",
            "AUTH0_TOKEN",
            "AUTH0_API_TOKEN",
            "AUTH0_CALLBACK_URL",
            "AUTH0_DEBUG",
            "AUTH0_TENANT",
            "MCP_SERVER_NAME",
            "MCP_SERVER_PORT",
            "FASTMCP_LOG_FILE",
            "HOST",
            "SORT",
            "POST",
            "PATH",
            "HOME",
            "PORTS",
        ] {
            assert_eq!(misspelled_variable(KEYS, name, &named()), None, "{name}");
        }
        assert_eq!(misspelled_variable(KEYS, "AUTH0_ISUER", &[]), None);
    }
}
