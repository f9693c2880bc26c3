//! Escaping of text in HTML.

use std::fmt::{self, Display, Formatter, Write};

/// Text between tags. Characters that could reorder or hide the text around them become U+FFFD.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let shown = |c: char| if is_deceptive(c) { char::REPLACEMENT_CHARACTER } else { c };
        self.0.chars().map(shown).try_for_each(|c| write_escaped(formatter, c))
    }
}

/// A quoted attribute's value. The form sends it back, so nothing is replaced.
pub(super) struct Attribute<'a>(pub(super) &'a str);

impl Display for Attribute<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_escaped(formatter, c))
    }
}

fn write_escaped(formatter: &mut Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '&' => formatter.write_str("&amp;"),
        '<' => formatter.write_str("&lt;"),
        '>' => formatter.write_str("&gt;"),
        '"' => formatter.write_str("&quot;"),
        '\'' => formatter.write_str("&#39;"),
        _ => formatter.write_char(c),
    }
}

/// Controls, line and paragraph separators, and the bidirectional formatting characters (UAX #9 section 2).
fn is_deceptive(c: char) -> bool {
    let is_bidi =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_bidi || matches!(c, '\u{2028}' | '\u{2029}')
}
