//! The HTTP header fields that mirror a request's body, and the encoding of their values (2026-07-28,
//! basic/transports/streamable-http, "Request Metadata").

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A header field's value as the transport found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// The field is absent.
    Absent,
    /// The field is present once, in visible ASCII, spaces and tabs.
    Value(&'a str),
    /// The field is present more than once, or has other bytes.
    Malformed,
}

/// The port for header fields.
pub trait RequestFields: Send + Sync {
    /// Returns the field of this name, in any case.
    fn field(&self, name: &str) -> Field<'_>;
}

/// `MCP-Protocol-Version`.
pub(crate) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// `Mcp-Method`.
pub(crate) const METHOD: &str = "mcp-method";
/// `Mcp-Name`.
pub(crate) const NAME: &str = "mcp-name";

const SENTINEL_START: &str = "=?base64?";
const SENTINEL_END: &str = "?=";

/// Decodes a value that may stand in the base64 sentinel; `None` when the sentinel holds no base64 of UTF-8.
pub(crate) fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let sentinel = value.strip_prefix(SENTINEL_START).and_then(|rest| rest.strip_suffix(SENTINEL_END));
    let Some(encoded) = sentinel else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_examples_decode() {
        for (encoded, plain) in [
            ("us-west1", "us-west1"),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
            ("=?base64?IHBhZGRlZCA=?=", " padded "),
            ("=?base64?bGluZTEKbGluZTI=?=", "line1\nline2"),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="),
            ("=?base64??=", ""),
        ] {
            assert_eq!(decoded(encoded).as_deref(), Some(plain));
        }
    }

    #[test]
    fn what_is_no_sentinel_is_itself_and_a_broken_one_is_nothing() {
        for plain in ["=?BASE64?YQ==?=", "=?base64?YQ==", "YQ==?=", "=?base64?="] {
            assert_eq!(decoded(plain).as_deref(), Some(plain));
        }
        for broken in ["=?base64?YQ?=", "=?base64?Y Q=?=", "=?base64?/w==?=", "=?base64?%?="] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
