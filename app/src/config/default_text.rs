//! Every default of a server as one TOML text: config/default.toml with the server's own defaults put in.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::sources::DEFAULTS;

/// Returns config/default.toml with other defaults, of which a later text wins. A default of ours is replaced on its line; the
/// tables that only one text has follow as they are written there, and the others are written anew.
pub(crate) fn merged(texts: &[String]) -> String {
    let parts: Vec<Part<'_>> =
        texts.iter().enumerate().flat_map(|(index, text)| Part::all_of(index, text)).collect();
    let (mut replaced, mut kept) = (Table::new(), Vec::new());
    for part in &parts {
        if part.tables.keys().all(|name| is_of_one_text(name, &parts)) {
            kept.push(part.text.trim().to_owned());
        } else {
            merge(&mut replaced, part.tables.clone());
        }
    }
    let ours = with_replaced_lines(&mut replaced);
    let mut all = vec![ours.trim_end().to_owned()];
    write_tables("", replaced, &mut all);
    all.extend(kept.into_iter().filter(|text| !text.is_empty()));
    all.join("\n\n")
}

/// A part of a text that is TOML by itself.
struct Part<'a> {
    /// The index of its text.
    of: usize,
    text: &'a str,
    tables: Table,
}

impl<'a> Part<'a> {
    /// Takes a text apart before each of its tables, or leaves it whole where a part is no TOML: a line that looks like a
    /// table's may be within a value.
    fn all_of(of: usize, text: &'a str) -> Vec<Self> {
        let part = |text: &'a str| text.parse().ok().map(|tables| Self { of, text, tables });
        let parts: Option<Vec<Self>> = split(text).into_iter().map(part).collect();
        // What is no TOML at all stops the start.
        parts.unwrap_or_else(|| part(text).into_iter().collect())
    }

    /// Returns whether it can follow a table.
    fn begins_with_table(&self) -> bool {
        let mut lines = self.text.lines().map(str::trim_start);
        lines.find(|line| !line.is_empty() && !line.starts_with('#')).is_none_or(|line| line.starts_with('['))
    }
}

/// Splits a text before each table and the comment above it.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut comment, mut offset) = (Vec::new(), 0, None, 0);
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            let end = comment.unwrap_or(offset);
            parts.push(&text[begin..end]);
            begin = end;
        }
        comment = if line.starts_with('#') { comment.or(Some(offset)) } else { None };
        offset += line.len();
    }
    parts.push(&text[begin..]);
    parts
}

/// Returns whether a table is in one text only, and not in ours.
fn is_of_one_text(name: &str, parts: &[Part<'_>]) -> bool {
    let is_ours = DEFAULTS.lines().any(|line| line == format!("[{name}]"));
    let having: Vec<&Part<'_>> = parts.iter().filter(|part| part.tables.contains_key(name)).collect();
    let texts: BTreeSet<usize> = having.iter().map(|part| part.of).collect();
    !is_ours && texts.len() == 1 && having.iter().all(|part| part.begins_with_table())
}

/// Merges tables as the sources of a configuration are: table by table, and everything else as a whole.
fn merge(into: &mut Table, from: Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

/// Returns our text with other values on the lines of their keys, and takes them.
fn with_replaced_lines(values: &mut Table) -> String {
    let mut section = "";
    let lines = DEFAULTS.lines().map(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        }
        let key = line.split_once(" = ").map(|(key, _)| key).filter(|key| !key.starts_with('#'));
        let value = key.and_then(|key| Some((key, values.get_mut(section)?.as_table_mut()?.remove(key)?)));
        value.map_or_else(|| line.to_owned(), |(key, value)| format!("{key} = {value}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes each table that has values of its own.
fn write_tables(above: &str, tables: Table, texts: &mut Vec<String>) {
    for (name, value) in tables {
        let Value::Table(table) = value else {
            continue;
        };
        let path = if above.is_empty() { key(&name) } else { format!("{above}.{}", key(&name)) };
        let values = table.iter().filter(|(_, value)| !value.is_table());
        let values: Vec<String> = values.map(|(name, value)| format!("{} = {value}", key(name))).collect();
        if !values.is_empty() {
            texts.push(format!("[{path}]\n{}", values.join("\n")));
        }
        write_tables(&path, table, texts);
    }
}

/// Returns a name as a key of TOML, whose quoted ones are JSON's texts but for one character.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        return name.to_owned();
    }
    serde_json::Value::from(name).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::{Effective, Sources};
    use crate::server::{Server, ServerBuilder};

    #[derive(Debug, Clone, Deserialize)]
    struct Own {
        #[serde(rename = "text")]
        _text: String,
        #[serde(rename = "number", default)]
        _number: u8,
        #[serde(rename = "accounts", default)]
        _accounts: Vec<std::collections::BTreeMap<String, String>>,
    }

    fn effective(
        builder: &ServerBuilder,
        configure: impl FnOnce(Sources) -> Sources,
    ) -> Vec<(String, String)> {
        let sources = configure(builder.sources()).set("test", "auth0.issuer", "https://tenant.example/");
        let sources = sources.set("test", "auth0.audience", "urn:api");
        let shown = |value: Effective| (value.key, value.value);
        let mut shown: Vec<_> =
            builder.first_settings(sources).unwrap().effective.into_iter().map(shown).collect();
        shown.sort();
        shown
    }

    #[test]
    fn without_other_defaults_it_is_the_file() {
        assert_eq!(merged(&[]), DEFAULTS.trim_end());
        assert_eq!(Server::builder().profile.default_toml(), DEFAULTS.trim_end());
    }

    #[test]
    fn what_is_printed_is_a_configuration_that_changes_nothing() {
        let named = || Server::builder().identity("orders-server", "1.2.3");
        let first = "limits.requests = 7\n# About own.\n[own]\n# About text.\ntext = \"\"\"\n[a\n\"\"\"\n\n\
                     [mcp]\ninstructions = \"two\\nlines \\\"\\u007f\"\n";
        let second = "[other]\ntext = \"b\"\n[mcp]\ntitle = \"Orders\"\npage_size = 5\n[limits]\nrequests = 8\n\
                      [tools.greet]\nscopes = [\"a\"]\n[scopes]\nlogin = [\"b\"]\n[scopes.implies]\n\"a:b\" = [\"a\"]\n\
                      [endpoints.internal]\nurl = \"http://mcp.internal:3001\"\n";
        let third = "[other]\nnumber = 5\n[[other.accounts]]\nname = \"a\"\n";
        let sections = |builder: ServerBuilder| builder.section::<Own>("own").section::<Own>("other");
        for builder in [
            named(),
            named().setup(|setup| async { Ok(setup) }).defaults("[mcp]\ninstructions = \"hi\"\n"),
            sections(named().setup(|setup| async { Ok(setup) }))
                .defaults(first)
                .defaults(second)
                .defaults(third),
        ] {
            let printed = builder.profile.default_toml();
            let before = effective(&builder, |sources| sources);
            assert_eq!(effective(&builder, |sources| sources.text("printed.toml", &printed)), before);
            // Also where nothing else is built in.
            let alone = Sources::default().text("printed.toml", &printed);
            let alone = builder.profile.declared(alone);
            assert_eq!(effective(&builder, |_| alone), before, "{printed}");
            assert!(printed.contains("\nname = \"orders-server\"\n") && printed.contains("# The TCP port"));
        }
        let printed = sections(named()).defaults(first).defaults(third).profile.default_toml();
        assert!(!printed.contains("# About own."), "a text that is one part is written anew\n{printed}");
        let printed = sections(named()).defaults("[mcp]\npage_size = 5\n# About own.\n[own]\ntext = \"t\"\n");
        let printed = printed.profile.default_toml();
        assert!(printed.ends_with("\n\n# About own.\n[own]\ntext = \"t\""), "{printed}");
        assert!(printed.contains("\npage_size = 5\n") && !printed.contains("page_size = 100"), "{printed}");
    }
}
