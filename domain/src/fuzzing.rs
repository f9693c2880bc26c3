//! What must hold for any bytes: called by the fuzz targets of `fuzz/` and by tests. It is in no other build.

use crate::scope::{Scope, ScopeSet};

/// Scopes as a token or a challenge writes them: what is read, printed and read again is the same.
///
/// # Panics
/// When an invariant does not hold.
pub fn scope_string(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let granted = ScopeSet::granted_by(text.split(' '));
    for scope in granted.iter() {
        assert!(is_rfc_6749(scope.as_str()), "{scope:?} is none by the grammar");
    }
    for word in text.split(' ') {
        let parsed = Scope::parse(word).ok();
        assert_eq!(parsed.is_some(), is_rfc_6749(word), "{word:?}");
        assert!(parsed.is_none_or(|scope| granted.contains(&scope)), "{word:?} got lost");
    }
    let printed = granted.to_string();
    let again = ScopeSet::granted_by(printed.split(' '));
    assert_eq!(again, granted, "reading what was printed");
    assert_eq!(again.to_string(), printed);
    // An operator's list is read strictly, and to the same end.
    let strict = ScopeSet::parse_all(text.split(' '));
    assert_eq!(strict.is_ok(), text.split(' ').all(is_rfc_6749));
    assert!(strict.is_err() || strict == Ok(granted));
}

/// Section 3.3, in its own words: `1*( %x21 / %x23-5B / %x5D-7E )`.
fn is_rfc_6749(text: &str) -> bool {
    let excluded = ['"', '\\', ' ', '\u{7f}'];
    !text.is_empty() && text.chars().all(|c| c.is_ascii() && !c.is_control() && !excluded.contains(&c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_seeds_hold() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/scope_string");
        for seed in std::fs::read_dir(seeds).unwrap() {
            scope_string(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_text_holds(text in ".{0,80}") {
            scope_string(text.as_bytes());
        }

        #[test]
        fn texts_of_few_characters_hold(text in "[ab:\"\\\\\u{7f}é! ]{0,24}") {
            scope_string(text.as_bytes());
        }
    }
}
