//! The grammar of OAuth scopes (RFC 6749 section 3.3).

/// Returns whether `text` is one `scope-token`: `1*( %x21 / %x23-5B / %x5D-7E )`.
#[must_use]
pub fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_scope_token_byte)
}

/// Returns whether `text` consists of the characters of a `scope` parameter: those of `scope-token`s, and spaces. Empty
/// tokens are allowed, because many clients send two spaces or a trailing one.
#[must_use]
pub fn has_scope_characters(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || is_scope_token_byte(byte))
}

const fn is_scope_token_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_token_is_printable_ascii_without_space_quote_and_backslash() {
        for good in ["tool:greet", "a", "!", "https://api/x", "[]", "~"] {
            assert!(is_scope_token(good), "{good}");
            assert!(has_scope_characters(good), "{good}");
        }
        for bad in ["a\"b", "a\\b", "é", "a\n", "\u{7f}"] {
            assert!(!is_scope_token(bad), "{bad:?}");
            assert!(!has_scope_characters(bad), "{bad:?}");
        }
        for several in ["", " ", "a b", "a  b", "a "] {
            assert!(!is_scope_token(several), "{several:?}");
            assert!(has_scope_characters(several), "{several:?}");
        }
    }
}
