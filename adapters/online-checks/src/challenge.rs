//! `WWW-Authenticate` (RFC 9110 section 11.6.1), as far as the challenge of the scheme `Bearer` is concerned.

use std::collections::BTreeMap;

/// The parameters of a challenge, by their names in lower case; the first of a name counts.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Returns the parameters of the first challenge of the scheme `Bearer` in a field's value.
pub(crate) fn bearer(value: &str) -> Option<Parameters> {
    let mut found: Option<Parameters> = None;
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if rest.is_empty() {
            return found;
        }
        let (name, after) = token(rest);
        if let Some(value) = after.trim_start().strip_prefix('=').filter(|_| !name.is_empty()) {
            let (value, after) = parameter_value(value.trim_start());
            if let Some(parameters) = &mut found {
                parameters.entry(name.to_ascii_lowercase()).or_insert(value);
            }
            rest = after;
        } else if found.is_some() {
            return found;
        } else {
            found = name.eq_ignore_ascii_case("Bearer").then(Parameters::new);
            // Whatever is no token can't be read past: its first character is skipped.
            rest = if name.is_empty() { skip_one(after) } else { after };
        }
    }
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
    text.split_at(end.unwrap_or(text.len()))
}

/// Returns a token or quoted string, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

fn skip_one(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next();
    characters.as_str()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_parameters_of_bearer_are_found_among_other_challenges() {
        let expected = Some(parameters(&[("realm", "a, b"), ("resource_metadata", "https://h/m")]));
        for value in [
            "Bearer realm=\"a, b\", resource_metadata=\"https://h/m\"",
            "bearer Realm = \"a, b\" ,resource_metadata=https://h/m",
            "Basic realm=\"Bearer x=y\", Bearer realm=\"a, b\", resource_metadata=\"https://h/m\"",
            "Negotiate YWJj==, Bearer realm=\"\\a, b\", resource_metadata=\"https://h/m\", Basic realm=\"x\"",
            "Bearer realm=\"a, b\",, resource_metadata=\"https://h/m\", realm=\"second\"",
        ] {
            assert_eq!(bearer(value), expected, "{value}");
        }
        assert_eq!(bearer("Bearer"), Some(parameters(&[])));
        assert_eq!(bearer("Bearer, Basic realm=\"x\""), Some(parameters(&[])));
    }

    #[test]
    fn no_text_is_too_strange() {
        for value in ["", ",", "Basic realm=\"x\"", "Bearers x=y", "= \" =", "\u{e9}\"", "x=\"\\"] {
            assert_eq!(bearer(value), None, "{value}");
        }
        assert_eq!(bearer("Bearer x=\"\\"), Some(parameters(&[("x", "")])));
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end_and_no_more_comes_of_it(text in "([Bb]earer|[a=,\"\\\\ \t\u{e9}])*") {
            let length = |(name, value): (&String, &String)| name.len() + value.len();
            let found = bearer(&text).unwrap_or_default();
            prop_assert!(found.iter().map(length).sum::<usize>() <= text.len());
        }

        #[test]
        fn quoted_values_are_read_as_they_were_written(value in ".*", before in "(Basic realm=\"[a-z, ]*\", )?") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let found = bearer(&format!("{before}Bearer scope=\"{quoted}\", a=b"));
            prop_assert_eq!(found, Some(parameters(&[("scope", &value), ("a", "b")])));
        }
    }
}
