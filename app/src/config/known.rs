//! The keys and variables that exist, for messages about those that do not.

use super::DEFAULTS;
use super::sources::{NAMED, PREFIX};

/// The maximum length of a part of a key that a message repeats, in characters. No key of ours is as long, and a secret at
/// a key's place is longer.
const MAX_SHOWN_PART: usize = 32;

/// Returns every key of config/default.toml, as `section.key`.
pub(super) fn keys() -> Vec<String> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.push(format!("{section}.{name}"));
        }
    }
    keys
}

/// Returns the key that an environment variable sets, if there is such a key.
pub(super) fn key_of_variable(name: &str) -> Option<String> {
    if let Some((_, key)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some((*key).to_owned());
    }
    let key = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
    keys().contains(&key).then_some(key)
}

/// Returns an unknown key as TOML writes it; a part that may be a misplaced secret is described instead.
pub(super) fn shown(path: &[String]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|part| match part.chars().count() {
            length if length > MAX_SHOWN_PART => format!("(a name of {length} characters)"),
            _ => super::reader::shown(std::slice::from_ref(part)),
        })
        .collect();
    parts.join(".")
}

/// Returns the known key that a text assigns to at `line`, counted from 0: on that line, or on one before it if that line
/// begins no assignment of its own.
pub(super) fn key_at_line(text: &str, line: usize) -> Option<String> {
    let known = keys();
    let lines: Vec<&str> = text.lines().take(line + 1).map(str::trim).collect();
    let (index, name) = lines.iter().enumerate().rev().find_map(|(index, line)| {
        let (name, _) = line.split_once('=')?;
        let name = name.trim();
        // Base64 ends in `=`: a longer name is not one, but a value that stands alone on its line.
        let is_name = !line.starts_with('#') && name.len() <= MAX_SHOWN_PART && !name.is_empty();
        is_name.then_some((index, name))
    })?;
    let section = lines[..index].iter().rev().find_map(|line| {
        let (name, _) = line.strip_prefix('[')?.split_once(']')?;
        name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)).then_some(name)
    });
    let key = section.map_or_else(|| name.to_owned(), |section| format!("{section}.{name}"));
    known.contains(&key).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_the_line_of_its_assignment_and_a_value_is_never_taken_for_one() {
        let text = "[mcp]\nstate_keys = [\n  MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=,\n]\nunknown = 1\n";
        assert_eq!(key_at_line(text, 1).as_deref(), Some("mcp.state_keys"));
        assert_eq!(key_at_line(text, 2).as_deref(), Some("mcp.state_keys"));
        assert_eq!(key_at_line(text, 4), None);
        assert_eq!(key_at_line("state_keys = [", 0), None, "outside of its section");
        assert_eq!(key_at_line("mcp.state_keys = [", 0).as_deref(), Some("mcp.state_keys"));
        assert_eq!(key_at_line("[mcp]\n[other]\nstate_keys = [", 2), None);
        assert_eq!(key_at_line("", 0), None);
    }

    #[test]
    fn long_parts_of_an_unknown_key_are_described() {
        let part = |text: &str| text.to_owned();
        assert_eq!(shown(&[part("mcp"), part("x y")]), "mcp.\"x y\"");
        assert_eq!(shown(&[part("mcp"), "k".repeat(33)]), "mcp.(a name of 33 characters)");
    }
}
