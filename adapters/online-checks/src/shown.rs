//! Texts from the network, as people may see them.

use syntax::unseen::is_unseen;

/// More of a text is never shown.
const MAX_CHARS: usize = 200;

/// Returns the beginning of a text, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(MAX_CHARS).flat_map(escaped).collect();
    if characters.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// Returns the beginning of bytes that may be text, in quotes.
pub(crate) fn shown_bytes(bytes: &[u8]) -> String {
    format!("\"{}\"", shown(&String::from_utf8_lossy(bytes)))
}

/// Quotes stay as they are: most of what is shown is JSON.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let is_unseen = is_unseen(character);
    let escaped = is_unseen.then(|| character.escape_default());
    (!is_unseen).then_some(character).into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_control_characters_escaped() {
        assert_eq!(shown("a \"b\" \u{1b}[2J\r\n\u{202e}é"), "a \"b\" \\u{1b}[2J\\r\\n\\u{202e}é");
        assert_eq!(shown(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(shown(&"x".repeat(201)), format!("{}...", "x".repeat(200)));
        assert_eq!(shown_bytes(b"\xff{}"), "\"\u{fffd}{}\"");
    }
}
