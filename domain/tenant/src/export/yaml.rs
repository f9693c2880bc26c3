//! YAML in blocks, with the keys in the order that they were given in. Every text is quoted: a JSON string is one of YAML's.

use std::fmt::Write;

use super::hcl::escape;
use syntax::unseen::is_unseen;

/// A value.
pub(super) enum Node {
    Text(String),
    Number(u64),
    Bool(bool),
    Null,
    List(Vec<Node>),
    Map(Vec<(&'static str, Node)>),
}

pub(super) fn text(text: impl Into<String>) -> Node {
    Node::Text(text.into())
}

impl Node {
    /// Writes it as the value of what is before it on the line.
    fn write(&self, out: &mut String, indent: usize) {
        match self {
            Self::List(items) if items.is_empty() => out.push_str(" []\n"),
            Self::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            Self::List(items) => {
                out.push('\n');
                for item in items {
                    let _ = write!(out, "{:indent$}-", "");
                    item.write_item(out, indent + 2);
                }
            }
            Self::Map(entries) => {
                out.push('\n');
                write_entries(out, entries, indent, false);
            }
            scalar => {
                let _ = writeln!(out, " {}", scalar.scalar());
            }
        }
    }

    /// Writes it after a dash, where the first entry of a map is on the same line.
    fn write_item(&self, out: &mut String, indent: usize) {
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                out.push(' ');
                write_entries(out, entries, indent, true);
            }
            other => other.write(out, indent),
        }
    }

    fn scalar(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Bool(bool) => bool.to_string(),
            Self::Null | Self::List(_) | Self::Map(_) => "null".to_owned(),
        }
    }
}

/// Returns a document of these entries.
pub(super) fn document(entries: &[(&'static str, Node)]) -> String {
    let mut out = String::new();
    write_entries(&mut out, entries, 0, false);
    out
}

fn write_entries(out: &mut String, entries: &[(&'static str, Node)], indent: usize, is_on_line: bool) {
    for (index, (key, value)) in entries.iter().enumerate() {
        let indent_here = if is_on_line && index == 0 { 0 } else { indent };
        let _ = write!(out, "{:indent_here$}{key}:", "");
        value.write(out, indent + 2);
    }
}

/// Returns a text between quotes. The deploy CLI replaces `##NAME##` and `@@NAME@@` in the file before it reads it as YAML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    let mut before = None;
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '#' | '@' if before == Some(c) => escape(&mut quoted, c),
            c if is_unseen(c) => escape(&mut quoted, c),
            c => quoted.push(c),
        }
        before = Some(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_lists_are_blocks() {
        let item = || {
            Node::Map(vec![("value", text("a: b")), ("list", Node::List(vec![text("-"), Node::Number(1)]))])
        };
        let entries = [
            (
                "tenant",
                Node::Map(vec![
                    ("flag", Node::Bool(true)),
                    ("none", Node::Null),
                    ("empty", Node::Map(vec![])),
                ]),
            ),
            ("items", Node::List(vec![item(), item()])),
            ("nothing", Node::List(vec![])),
        ];
        let expected = r#"tenant:
  flag: true
  none: null
  empty: {}
items:
  - value: "a: b"
    list:
      - "-"
      - 1
  - value: "a: b"
    list:
      - "-"
      - 1
nothing: []
"#;
        assert_eq!(document(&entries), expected);
    }

    #[test]
    fn a_text_is_nothing_but_text() {
        let cases = [
            ("say \"hi\" \\", r#""say \"hi\" \\""#),
            ("a\nb\u{7f}\u{1b}\u{85}", r#""a\nb\u007f\u001b\u0085""#),
            ("##HOME## @@HOME@@ #1 a@b", r##""#\u0023HOME#\u0023 @\u0040HOME@\u0040 #1 a@b""##),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
            assert_eq!(serde_json::from_str::<String>(expected).unwrap(), text);
        }
    }
}
