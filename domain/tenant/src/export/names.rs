//! Names for things whose own names may be anything.

use std::collections::BTreeSet;

/// Longer names are cut.
const MAX_LENGTH: usize = 60;

/// Names of one kind of thing: letters, digits and underscores, each given once. The same things in the same order get the same names.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// Returns a name that is like a text.
    pub(super) fn name(&mut self, text: &str) -> String {
        let base = plain(text);
        let mut name = base.clone();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{base}_{number}");
        }
        name
    }
}

fn plain(text: &str) -> String {
    let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("_").to_ascii_lowercase();
    name.truncate(MAX_LENGTH);
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_given_once() {
        let mut names = Names::default();
        let texts = ["http://localhost:3001/mcp", "Localhost 3001 MCP", "localhost-3001-mcp", "", "§", "1st"];
        let given: Vec<String> = texts.iter().map(|text| names.name(text)).collect();
        let expected =
            ["localhost_3001_mcp", "localhost_3001_mcp_2", "localhost_3001_mcp_3", "_", "__2", "_1st"];
        assert_eq!(given, expected);
    }

    #[test]
    fn a_name_that_looks_numbered_takes_the_number() {
        let mut names = Names::default();
        assert_eq!(["a_2", "a", "a"].map(|text| names.name(text)), ["a_2", "a", "a_3"]);
    }
}
