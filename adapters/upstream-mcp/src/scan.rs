//! [`Scanner`]: whose answer a message is that is too long to keep.

use rmcp::model::RequestId;

/// The maximum length of the texts that are compared: an id, or a member's name.
const MAX_TOKEN: usize = 256;

/// Reads the id of a JSON-RPC message that passes by, and keeps nothing else of it. The id may be its last member.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// A name or a value of the outermost object, as it is written.
    token: Vec<u8>,
    name: Vec<u8>,
    id: Option<Vec<u8>>,
    has_method: bool,
}

impl Scanner {
    /// Reads on.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.in_text {
                self.keep(byte);
                (self.escaped, self.in_text) = match byte {
                    _ if self.escaped => (false, true),
                    b'\\' => (true, true),
                    b'"' => (false, false),
                    _ => (false, true),
                };
                continue;
            }
            match byte {
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.member_ends();
                    self.depth = self.depth.saturating_sub(1);
                }
                b',' => self.member_ends(),
                b':' if self.depth == 1 => self.name = std::mem::take(&mut self.token),
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => {
                    self.in_text = byte == b'"';
                    self.keep(byte);
                }
            }
        }
    }

    /// Returns the request that the message answers; `None` if it is no response, or its id is not to be seen.
    pub(crate) fn answers(&self) -> Option<RequestId> {
        let id = self.id.as_ref().filter(|_| !self.has_method)?;
        serde_json::from_slice(id).ok()
    }

    /// Returns whether it is a request or a notification.
    pub(crate) fn has_method(&self) -> bool {
        self.has_method
    }

    fn keep(&mut self, byte: u8) {
        // One byte too many is no id, and no name that is asked for.
        if self.depth == 1 && self.token.len() <= MAX_TOKEN {
            self.token.push(byte);
        }
    }

    fn member_ends(&mut self) {
        if self.depth != 1 {
            return;
        }
        match self.name.as_slice() {
            b"\"id\"" if self.token.len() <= MAX_TOKEN => self.id = Some(std::mem::take(&mut self.token)),
            b"\"method\"" => self.has_method = true,
            _ => {}
        }
        self.name.clear();
        self.token.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Scanner {
        let mut whole = Scanner::default();
        whole.feed(text.as_bytes());
        let mut parts = Scanner::default();
        text.as_bytes().chunks(1).for_each(|part| parts.feed(part));
        assert_eq!(whole.answers(), parts.answers());
        whole
    }

    #[test]
    fn the_id_of_a_response_is_found_wherever_it_stands() {
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"id":1,"method":"x"}}"#,
            r#"{"result":{"content":[{"id":1},{"text":"\"id\":2}"}]},"jsonrpc":"2.0","id":7}"#,
            r#" { "result" : [ "}", "\\" ] , "id" : 7 }"#,
        ] {
            assert_eq!(scan(text).answers(), Some(RequestId::Number(7)), "{text}");
            assert!(!scan(text).has_method());
        }
        let text = r#"{"error":{"message":"a"},"id":"s\"1"}"#;
        assert_eq!(scan(text).answers(), Some(RequestId::String("s\"1".into())));
    }

    #[test]
    fn other_messages_answer_nothing() {
        assert!(scan(r#"{"id":1,"method":"ping","params":{}}"#).has_method());
        for text in [
            r#"{"id":1,"method":"ping","params":{}}"#,
            r#"{"method":"notifications/message","params":{"id":1}}"#,
            r#"{"result":{"id":1}}"#,
            r#"{"id":null,"error":{}}"#,
            r#"{"id":1.5,"result":{}}"#,
            r#"{"id":"#,
            "no JSON at all: id, 1",
            "}}}]]],,,",
        ] {
            assert_eq!(scan(text).answers(), None, "{text}");
        }
        assert_eq!(scan(&format!(r#"{{"id":"{}"}}"#, "a".repeat(10_000))).answers(), None);
    }

    #[test]
    fn it_keeps_nothing_of_the_rest() {
        let mut scanner = Scanner::default();
        scanner.feed(br#"{"id":3,"result":{"text":""#);
        (0..1000).for_each(|_| scanner.feed(&[b'a'; 1000]));
        scanner.feed(br#""},"other":""#);
        (0..1000).for_each(|_| scanner.feed(&[b'a'; 1000]));
        assert!(scanner.token.capacity() <= 2 * MAX_TOKEN);
        scanner.feed(br#""}"#);
        assert_eq!(scanner.answers(), Some(RequestId::Number(3)));
    }
}
