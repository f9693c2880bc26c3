//! JSON objects that are written member by member: lines of a log, of which there are many.

use std::fmt::{self, Write as _};

/// A JSON object in the making, at the end of a text.
#[derive(Debug)]
pub struct JsonObject<'t> {
    text: &'t mut String,
    is_empty: bool,
}

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

    /// Adds a string.
    pub fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        push_string(self.text, value);
    }

    /// Adds a string, if there is one.
    pub fn string_if_any(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(name, value);
        }
    }

    /// Adds what is displayed, as a string.
    pub fn displayed(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        self.text.push('"');
        // Writing to memory can't fail.
        let _ = write!(Escaping(self.text), "{value}");
        self.text.push('"');
    }

    /// Adds a list of strings.
    pub fn strings<'s>(&mut self, name: &str, values: impl IntoIterator<Item = &'s str>) {
        self.name(name);
        self.text.push('[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            push_string(self.text, value);
        }
        self.text.push(']');
    }

    /// Adds an integer.
    pub fn integer(&mut self, name: &str, value: impl itoa::Integer) {
        self.raw(name, itoa::Buffer::new().format(value));
    }

    /// Adds a value that is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.text.push_str(json);
    }

    /// Adds the members of another object.
    pub fn members_of(&mut self, object: &str) {
        let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        if !members.is_empty() {
            self.separate();
            self.text.push_str(members);
        }
    }

    /// Adds a member's name, and returns the text that its value, as JSON, goes to.
    pub fn name(&mut self, name: &str) -> &mut String {
        self.separate();
        push_string(self.text, name);
        self.text.push(':');
        self.text
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.push(',');
        }
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
            object.string("a", "b");
            object.string_if_any("none", None);
            object.integer("n", -7);
            object.strings("empty", []);
            object.strings("list", ["x", "\""]);
            object.displayed("shown", format_args!("{}\"", 1));
            object.raw("raw", "{");
            object.name("named").push_str("null");
            object.members_of(r#"{"c":1,"d":2}"#);
        });
        let list = r#""empty":[],"list":["x","\""]"#;
        assert_eq!(
            text,
            format!(r#"{{"a":"b","n":-7,{list},"shown":"1\"","raw":{{,"named":null,"c":1,"d":2}}"#)
        );
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
            let json = object(|object| object.string(&text, &text));
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read[&text], text.as_str());
            assert!(!json.chars().any(|character| character < ' '), "{json:?}");
        }
    }
}
