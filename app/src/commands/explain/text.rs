//! Texts of a token's, as they are shown: cut, and without anything that a terminal would act on.

use std::fmt::Write;

use syntax::unseen::is_unseen;

/// The maximum length of a value that is repeated, in characters.
const MAX_VALUE: usize = 200;
/// The maximum number of values that are repeated.
const MAX_VALUES: usize = 8;

/// Returns a text with everything but line breaks escaped, as JSON does it, that can't be seen: control characters, which
/// terminals act on, and marks that change the order of what is read. What was JSON is the same JSON.
pub(in crate::commands) fn for_terminals(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_unseen(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns a text in quotes, escaped and cut.
pub(super) fn quoted(text: &str) -> String {
    let shown = cut(text);
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{more}")
}

/// Returns the beginning of a text.
pub(super) fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_VALUE).map_or(text, |(end, _)| &text[..end])
}

/// Returns texts in quotes, the first ones.
pub(super) fn all_quoted<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.into_iter().collect();
    let mut shown: Vec<String> = texts.iter().take(MAX_VALUES).map(|text| quoted(text)).collect();
    if texts.len() > MAX_VALUES {
        shown.push(format!("and {} more", texts.len() - MAX_VALUES));
    }
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let hostile = "{\n  \"a\": \"x\u{7f}\u{9b}31m\u{202e}\u{1b}[2J\t\r\u{e0001}é\"\n}";
        let shown = for_terminals(hostile);
        assert_eq!(
            shown,
            "{\n  \"a\": \"x\\u007f\\u009b31m\\u202e\\u001b[2J\\u0009\\u000d\\udb40\\udc01é\"\n}"
        );
        let json = serde_json::to_string(&"\u{9b}\u{202e}\"\\é").unwrap();
        let again: String = serde_json::from_str(&for_terminals(&json)).unwrap();
        assert_eq!(again, "\u{9b}\u{202e}\"\\é");
    }

    #[test]
    fn values_are_cut() {
        assert_eq!(quoted(&"é".repeat(1000)), format!("\"{}\"...", "é".repeat(MAX_VALUE)));
        let many = all_quoted(["a"; 10]);
        assert!(many.ends_with("\"a\", and 2 more"), "{many}");
        assert_eq!(all_quoted([]), "none");
    }
}
