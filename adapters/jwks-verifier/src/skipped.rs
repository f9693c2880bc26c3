//! Keys in log lines: those that a document contains and this server can't use, and lists of kids. Lines stay short,
//! whatever the issuer sends.

use std::fmt;

/// The maximum number of keys that a line names.
const MAX_LISTED: usize = 8;

/// The maximum number of characters of each `kid`.
const MAX_KID_CHARS: usize = 64;

/// The keys of a document that can't be used, and why. The first ones are named, the others counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SkippedKeys {
    first: Vec<SkippedKey>,
    others: usize,
}

/// A key that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkippedKey {
    /// The key's `kid`, if it can be read.
    pub(crate) kid: Option<String>,
    pub(crate) reason: &'static str,
}

impl SkippedKeys {
    pub(crate) fn push(&mut self, key: SkippedKey) {
        if self.first.len() == MAX_LISTED {
            self.others += 1;
        } else {
            self.first.push(key);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kid = self.kid.as_deref().map_or_else(|| "a key".to_owned(), shortened);
        write!(f, "{kid} ({})", self.reason)
    }
}

/// One line, whatever the kids contain; empty if no key was skipped.
impl fmt::Display for SkippedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        f.write_str(&first.join(", "))?;
        if self.others > 0 { write!(f, ", and {} more", self.others) } else { Ok(()) }
    }
}

fn shortened(kid: &str) -> String {
    kid.chars().take(MAX_KID_CHARS).collect::<String>().escape_debug().to_string()
}

/// Returns the first kids as a JSON list, in one line whatever they contain.
pub(crate) fn json_list<'a>(kids: impl Iterator<Item = &'a str>) -> String {
    let mut kids = kids.fuse();
    let mut each: Vec<String> = kids.by_ref().take(MAX_LISTED).map(shortened).collect();
    let others = kids.count();
    if others > 0 {
        each.push(format!("and {others} more"));
    }
    // Rendering strings can't fail.
    serde_json::to_string(&each).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: Option<&str>) -> SkippedKey {
        SkippedKey { kid: kid.map(str::to_owned), reason: "r" }
    }

    #[test]
    fn skipped_keys_are_one_short_line() {
        let mut skipped = SkippedKeys::default();
        skipped.push(key(Some(&format!("a\n{}", "x".repeat(1000)))));
        assert_eq!(skipped.to_string(), format!("a\\n{} (r)", "x".repeat(62)));
        for _ in 0..1_000_000 {
            skipped.push(key(None));
        }
        let line = skipped.to_string();
        assert!(line.ends_with("a key (r), and 999993 more") && line.len() < 500, "{line}");
    }

    #[test]
    fn a_list_of_kids_is_short_json() {
        let kids: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
        let first = r#"["k0","k1","k2","k3","k4","k5","k6","k7","and 2 more"]"#;
        assert_eq!(json_list(kids.iter().map(String::as_str)), first);
        assert_eq!(json_list(std::iter::empty()), "[]");
    }
}
