//! Keys and values as messages show them: escaped, cut, and never a secret.

use config::{Value, ValueKind};

/// The maximum length of a part of an unknown key that is repeated, in characters. No key of ours is as long, and a secret
/// at a key's place is longer.
pub(super) const MAX_KEY_PART: usize = 32;
/// The maximum length of a value that is repeated, in characters.
const MAX_VALUE: usize = 80;
/// From this length on, a run of Base64 is taken for a secret at the wrong place.
const SECRET_RUN: usize = 40;

/// Returns a path as TOML writes it.
pub(crate) fn key(path: &[String]) -> String {
    let bare = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let parts: Vec<String> =
        path.iter().map(|part| if bare(part) { part.clone() } else { format!("{part:?}") }).collect();
    parts.join(".")
}

/// Returns an unknown key as TOML writes it; a part that may be a misplaced secret is described instead.
pub(super) fn unknown_key(path: &[String]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|part| match part.chars().count() {
            length if length > MAX_KEY_PART => format!("(a name of {length} characters)"),
            _ => key(std::slice::from_ref(part)),
        })
        .collect();
    parts.join(".")
}

/// Returns a text in quotes, escaped and cut; what may be a secret is described instead.
pub(super) fn text(text: &str) -> String {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    if text.split(|c| !is_base64(c)).any(|run| run.len() >= SECRET_RUN) {
        return format!("a text of {} characters", text.chars().count());
    }
    // What stands before it in a URL is a user's name and password.
    let text = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("***@{rest}"));
    match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Returns a single value as TOML writes it, and nothing for a list or a table.
pub(super) fn value(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::String(string) => Some(text(string)),
        ValueKind::Boolean(flag) => Some(flag.to_string()),
        ValueKind::I64(number) => Some(number.to_string()),
        ValueKind::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_parts_of_an_unknown_key_are_described() {
        let part = |text: &str| text.to_owned();
        assert_eq!(unknown_key(&[part("mcp"), part("x y")]), "mcp.\"x y\"");
        assert_eq!(unknown_key(&[part("mcp"), "k".repeat(33)]), "mcp.(a name of 33 characters)");
    }

    #[test]
    fn values_are_escaped_and_cut_and_secrets_are_described() {
        assert_eq!(text("${AUTH0_DOMAIN}"), "\"${AUTH0_DOMAIN}\"");
        assert_eq!(text("a\u{1b}[31m\n\"b"), "\"a\\u{1b}[31m\\n\\\"b\"");
        assert_eq!(text(&"é ".repeat(50)), format!("{:?}...", "é ".repeat(40)));
        assert_eq!(text("https://user:password@host/"), "\"***@host/\"");
        assert_eq!(text("dzHF8dbAAX8KLEJwi69e/jLB9/3Ai02sJYE/3CTFoy0="), "a text of 44 characters");
        assert_eq!(text("x dzHF8dbAAX8KLEJwi69e/jLB9/3Ai02sJYE/3CTF"), "a text of 42 characters");
    }
}
