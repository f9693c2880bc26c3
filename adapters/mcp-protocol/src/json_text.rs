//! JSON that is written directly, without a tree or a type in between.

use serde::Serialize;

/// Appends a value. Texts, numbers and values made from JSON: that can't fail, and if it did, it would be `null`.
pub(crate) fn push_value(json: &mut Vec<u8>, value: &impl Serialize) {
    let begin = json.len();
    if let Err(error) = serde_json::to_writer(&mut *json, value) {
        tracing::error!(%error, "a result could not be rendered");
        json.truncate(begin);
        json.extend_from_slice(b"null");
    }
}

/// Appends a string. What needs no escape, which is nearly all of most texts, is found many bytes at a time and copied at once.
pub(crate) fn push_string(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((plain, escaped, behind)) = split_at_escape(rest) {
        json.extend_from_slice(plain);
        push_escape(json, escaped);
        rest = behind;
    }
    json.extend_from_slice(rest);
    json.push(b'"');
}

/// Returns the bytes before the first one that needs an escape, that one, and those behind it.
fn split_at_escape(text: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (chunks, _) = text.as_chunks::<CHUNK>();
    let plain = CHUNK * chunks.iter().take_while(|chunk| !any_needs_escape(chunk)).count();
    let at = plain + text.get(plain..)?.iter().position(|byte| needs_escape(*byte) != 0)?;
    let (before, found) = text.split_at_checked(at)?;
    found.split_first().map(|(escaped, behind)| (before, *escaped, behind))
}

const CHUNK: usize = 16;

/// Without a branch for each byte, so that many are compared at once.
fn any_needs_escape(bytes: &[u8; CHUNK]) -> bool {
    bytes.iter().fold(0, |found, byte| found | needs_escape(*byte)) != 0
}

/// Returns 1 for a byte that a string can't hold as it is (RFC 8259 section 7), and else 0.
fn needs_escape(byte: u8) -> u8 {
    u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\')
}

fn push_escape(json: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        b'"' | b'\\' => byte,
        _ => {
            json.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            return;
        }
    };
    json.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_reads_back_as_itself_wherever_its_escapes_are() {
        let special = (0..0x20u8).map(char::from).chain(['"', '\\', '\u{7f}', 'é', '\u{2028}', '😀']);
        for special in special {
            for length in [0, 1, 15, 16, 17, 32, 50] {
                let plain = "x".repeat(length);
                for text in [
                    format!("{plain}{special}"),
                    format!("{special}{plain}"),
                    format!("{plain}{special}{plain}{special}"),
                ] {
                    let mut json = Vec::new();
                    push_string(&mut json, &text);
                    assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
                }
            }
        }
    }

    #[test]
    fn what_can_not_be_written_is_null() {
        let mut json = b"[".to_vec();
        push_value(&mut json, &std::collections::BTreeMap::from([("a", f32::NAN)]));
        push_value(&mut json, &std::collections::BTreeMap::from([((), 1)]));
        assert_eq!(json, br#"[{"a":null}null"#);
    }
}
