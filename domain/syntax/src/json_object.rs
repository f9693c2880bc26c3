//! JSON objects that are written member by member: lines of a log, of which there are many.

use std::cell::Cell;
use std::fmt::{self, Write as _};

/// The memory that a thread keeps for its lines, in bytes.
const KEPT: usize = 1024;

thread_local! {
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// Has a line made that is an object, and handed on with its end. The memory for it is used again.
pub fn with_line<T>(make: impl FnOnce(&mut JsonObject<'_>), hand_on: impl FnOnce(&str) -> T) -> T {
    // A line that is made amid this, by what is displayed, finds an empty one.
    let mut text = LINE.take();
    let mut object = JsonObject::begin(&mut text);
    make(&mut object);
    object.end();
    text.push('\n');
    let outcome = hand_on(&text);
    text.clear();
    text.shrink_to(KEPT);
    LINE.set(text);
    outcome
}

/// Returns whether a text has nothing to escape in JSON.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !needs_escapes(text.as_bytes())
}

/// A JSON object in the making, at the end of a text.
#[derive(Debug)]
pub struct JsonObject<'t> {
    text: &'t mut String,
    is_empty: bool,
}

/// Where a member's value goes, which has to come.
#[derive(Debug)]
#[must_use]
pub struct Place<'t>(&'t mut String);

impl<'t> JsonObject<'t> {
    /// Begins an object.
    pub fn begin(text: &'t mut String) -> Self {
        text.push('{');
        Self { text, is_empty: true }
    }

    /// Ends the object.
    pub fn end(self) {
        self.text.push('}');
    }

    /// Begins a member with a name that is written in the source, and [plain](is_plain).
    #[inline]
    pub fn member(&mut self, name: &'static str) -> Place<'_> {
        debug_assert!(is_plain(name), "{name}");
        self.text.push_str(if self.is_empty { "\"" } else { ",\"" });
        self.is_empty = false;
        self.text.push_str(name);
        self.text.push_str("\":");
        Place(self.text)
    }

    /// Begins a member with any name.
    pub fn any_member(&mut self, name: &str) -> Place<'_> {
        self.separate();
        push_string(self.text, name);
        self.text.push(':');
        Place(self.text)
    }

    /// Adds the members of another object.
    pub fn members_of(&mut self, object: &str) {
        let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        if !members.is_empty() {
            self.separate();
            self.text.push_str(members);
        }
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.push(',');
        }
    }
}

impl<'t> Place<'t> {
    /// Puts a string there.
    pub fn string(self, value: &str) {
        push_string(self.0, value);
    }

    /// Puts there what is displayed, as a string.
    pub fn displayed(self, value: impl fmt::Display) {
        self.0.push('"');
        // Writing to memory can't fail.
        let _ = write!(Escaping(self.0), "{value}");
        self.0.push('"');
    }

    /// Puts a list of strings there.
    pub fn strings<'s>(self, values: impl IntoIterator<Item = &'s str>) {
        self.0.push('[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            push_string(self.0, value);
        }
        self.0.push(']');
    }

    /// Puts an integer there.
    pub fn integer(self, value: impl itoa::Integer) {
        self.json(itoa::Buffer::new().format(value));
    }

    /// Puts a value there that is JSON already.
    pub fn json(self, json: &str) {
        self.0.push_str(json);
    }

    /// Puts a string there that is added to a text, and [plain](is_plain).
    pub fn plain(self, add: impl FnOnce(&mut String)) {
        self.0.push('"');
        add(self.0);
        self.0.push('"');
    }

    /// Begins an object there.
    #[must_use]
    pub fn object(self) -> JsonObject<'t> {
        JsonObject::begin(self.0)
    }
}

/// What is written through this is escaped as a part of a JSON string.
struct Escaping<'t>(&'t mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

fn push_string(to: &mut String, value: &str) {
    to.push('"');
    push_escaped(to, value);
    to.push('"');
}

/// Adds a part of a JSON string. Most texts have nothing to escape.
fn push_escaped(to: &mut String, text: &str) {
    if needs_escapes(text.as_bytes()) {
        push_by_characters(to, text);
    } else {
        to.push_str(text);
    }
}

#[cold]
fn push_by_characters(to: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{0}'..='\u{1f}' => {
                let _ = write!(to, "\\u{:04x}", u32::from(character));
            }
            other => to.push(other),
        }
    }
}

/// Returns whether there is a byte that a JSON string has as an escape sequence only (RFC 8259 section 7).
fn needs_escapes(text: &[u8]) -> bool {
    let escaped = |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    // Of an array, all bytes are compared at once; the last one may overlap the one before.
    let has_escaped = |bytes: &[u8; 8]| bytes.iter().fold(0, |any, byte| any | escaped(*byte)) != 0;
    if let Some(last) = text.last_chunk() {
        return has_escaped(last) || text.as_chunks().0.iter().any(has_escaped);
    }
    let mut padded = [b' '; 8];
    padded.iter_mut().zip(text).for_each(|(to, byte)| *to = *byte);
    has_escaped(&padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(add: impl FnOnce(&mut JsonObject<'_>)) -> String {
        let mut text = "before ".to_owned();
        let mut object = JsonObject::begin(&mut text);
        add(&mut object);
        object.end();
        text.strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn members_are_in_their_order() {
        assert_eq!(object(|_| {}), "{}");
        let text = object(|object| {
            object.members_of("{}");
            object.member("a").string("b");
            object.any_member("\"").integer(-7);
            object.member("empty").strings([]);
            object.member("list").strings(["x", "\""]);
            object.member("shown").displayed(format_args!("{}\"", 1));
            object.member("json").json("null");
            object.member("plain").plain(|text| text.push('7'));
            object.member("object").object().end();
            object.members_of(r#"{"c":1,"d":2}"#);
            object.any_member("last").string("");
        });
        let list = r#""empty":[],"list":["x","\""]"#;
        assert_eq!(
            text,
            format!(
                r#"{{"a":"b","\"":-7,{list},"shown":"1\"","json":null,"plain":"7","object":{{}},"c":1,"d":2,"last":""}}"#
            )
        );
    }

    #[test]
    fn a_line_is_an_object_with_its_end_also_amid_another() {
        let line = |name: &'static str| with_line(|object| object.member(name).integer(1), str::to_owned);
        for _ in 0..2 {
            let mut inner = String::new();
            let outer = with_line(
                |object| {
                    inner = line("inner");
                    object.member("outer").string(&"x".repeat(2 * KEPT));
                },
                str::to_owned,
            );
            assert_eq!(inner, "{\"inner\":1}\n");
            assert_eq!(outer, format!("{{\"outer\":\"{}\"}}\n", "x".repeat(2 * KEPT)));
        }
        assert!(LINE.take().capacity() <= KEPT);
    }

    #[test]
    fn every_character_is_read_as_it_was() {
        let all: String = ('\u{0}'..='\u{17f}').chain(['\u{2028}', '\u{202e}', '\u{1f600}']).collect();
        let mut texts: Vec<String> = all.chars().map(|character| format!("a{character}b")).collect();
        for position in 0..20 {
            texts.push(format!("{}\n{}", "x".repeat(position), "x".repeat(19 - position)));
        }
        texts.push(all);
        for text in texts {
            let json = object(|object| object.any_member(&text).string(&text));
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read[&text], text.as_str());
            assert!(!json.chars().any(|character| character < ' '), "{json:?}");
        }
    }
}
