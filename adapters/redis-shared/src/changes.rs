//! Changes as texts on a channel: `REPLICA tools`, `REPLICA prompts`, `REPLICA resources`, `REPLICA resource URI`.

use domain::Change;

/// The maximum length of a message on the channel of changes, in bytes.
pub(crate) const MAX_BYTES: usize = 8 * 1024;

/// Returns the message for a change that was made at this replica; `None` if it is none of the others' business, or too long.
pub(crate) fn message(replica: &str, change: &Change) -> Option<String> {
    let message = match change {
        Change::Tools => format!("{replica} tools"),
        Change::Prompts => format!("{replica} prompts"),
        Change::Resources => format!("{replica} resources"),
        Change::Resource(uri) => format!("{replica} resource {uri}"),
        Change::Reloaded | Change::Ending => return None,
    };
    (message.len() <= MAX_BYTES).then_some(message)
}

/// Reads a message; `None` for one of this replica's own, and for what is none.
pub(crate) fn read(replica: &str, message: &[u8]) -> Option<Change> {
    let message = std::str::from_utf8(message).ok().filter(|message| message.len() <= MAX_BYTES)?;
    let (from, change) = message.split_once(' ')?;
    if from == replica {
        return None;
    }
    match change.split_once(' ') {
        None => match change {
            "tools" => Some(Change::Tools),
            "prompts" => Some(Change::Prompts),
            "resources" => Some(Change::Resources),
            _ => None,
        },
        Some(("resource", uri)) if is_uri(uri) => Some(Change::Resource(uri.to_owned())),
        Some(_) => None,
    }
}

/// Whether a text can be a URI: it is compared with those that clients subscribed to, and goes nowhere else.
fn is_uri(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|character| character.is_control() || character == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written_and_never_by_who_wrote_them() {
        let changes =
            [Change::Tools, Change::Prompts, Change::Resources, Change::Resource("note://1/ü?a=b#c".into())];
        for change in changes {
            let message = message("a", &change).unwrap();
            assert_eq!(read("b", message.as_bytes()), Some(change));
            assert_eq!(read("a", message.as_bytes()), None, "an echo");
        }
        assert_eq!((message("a", &Change::Ending), message("a", &Change::Reloaded)), (None, None));
        assert_eq!(message("a", &Change::Resource("x".repeat(MAX_BYTES))), None);
    }

    #[test]
    fn what_is_no_change_is_dropped() {
        let long = format!("b resource {}", "x".repeat(MAX_BYTES));
        for bad in [
            &b""[..],
            b"tools",
            b"b",
            b"b ",
            b"b tool",
            b"b tools ",
            b"b tools x",
            b"b ending",
            b"b reloaded",
            b"b resource",
            b"b resource ",
            b"b resource a b",
            b"b resource a\nb",
            b"b resource a\xff",
            long.as_bytes(),
        ] {
            assert_eq!(read("a", bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
