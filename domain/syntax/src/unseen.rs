//! Characters that a reader does not see, or that a terminal obeys.

/// Returns whether a character is obeyed by terminals, is invisible, or might change how a line reads: controls, zero-width
/// characters, bidirectional marks, tags.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_marks_and_tags_are_unseen_and_letters_are_not() {
        for unseen in
            ['\u{1b}', '\u{9b}', '\n', '\u{7f}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}']
        {
            assert!(is_unseen(unseen), "{unseen:?}");
        }
        for seen in ['a', ' ', 'é', '"', '\\', '漢', '🦀'] {
            assert!(!is_unseen(seen), "{seen:?}");
        }
    }
}
