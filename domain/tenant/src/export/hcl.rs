//! Terraform's language, written as `terraform fmt` leaves it.

use std::fmt::Write;

use syntax::unseen::is_unseen;

/// A list on one line is no longer than this.
const MAX_LIST: usize = 100;

/// A value.
pub(super) enum Expression {
    Text(String),
    Number(u64),
    Bool(bool),
    List(Vec<Expression>),
    Object(Body),
    /// A reference, as it is written.
    Reference(String),
}

/// Blocks, attributes and comments.
#[derive(Default)]
pub(super) struct Body {
    items: Vec<Item>,
}

enum Item {
    /// A comment about what follows.
    Comment(String),
    /// A comment of its own.
    Paragraph(String),
    Attribute(&'static str, Expression),
    Block(String, Body),
}

pub(super) fn text(text: impl Into<String>) -> Expression {
    Expression::Text(text.into())
}

pub(super) fn reference(reference: impl Into<String>) -> Expression {
    Expression::Reference(reference.into())
}

pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Expression {
    Expression::List(texts.into_iter().map(text).collect())
}

pub(super) fn references<'a>(references: impl IntoIterator<Item = &'a str>) -> Expression {
    Expression::List(references.into_iter().map(reference).collect())
}

impl Body {
    /// Adds a comment about the next item, a line for each of its lines.
    pub(super) fn comment(&mut self, comment: impl Into<String>) {
        self.items.push(Item::Comment(comment.into()));
    }

    /// Adds a comment that stands alone.
    pub(super) fn paragraph(&mut self, comment: impl Into<String>) {
        self.items.push(Item::Paragraph(comment.into()));
    }

    pub(super) fn attribute(&mut self, name: &'static str, value: Expression) {
        self.items.push(Item::Attribute(name, value));
    }

    /// Adds a block, such as `resource "auth0_role" "admin"`, whose labels need no escapes.
    pub(super) fn block(&mut self, header: impl Into<String>, body: Self) {
        self.items.push(Item::Block(header.into(), body));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn write(&self, out: &mut String, indent: usize) {
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 && self.is_set_apart(index) {
                out.push('\n');
            }
            match item {
                Item::Comment(comment) | Item::Paragraph(comment) => {
                    for line in comment.lines() {
                        push_line(out, indent, format!("# {line}").trim_end());
                    }
                }
                Item::Attribute(name, value) => {
                    let padded = format!("{name:width$}", width = self.width(index));
                    push_line(out, indent, &format!("{padded} = {}", value.to_hcl(indent)));
                }
                Item::Block(header, body) if body.is_empty() => {
                    push_line(out, indent, &format!("{header} {{}}"));
                }
                Item::Block(header, body) => {
                    push_line(out, indent, &format!("{header} {{"));
                    body.write(out, indent + 2);
                    push_line(out, indent, "}");
                }
            }
        }
    }

    /// Returns whether an empty line is before an item: not between attributes on a line each, nor after a comment.
    fn is_set_apart(&self, index: usize) -> bool {
        let (before, item) = (&self.items[index - 1], &self.items[index]);
        !(matches!(before, Item::Comment(_)) || before.is_line() && item.is_line())
    }

    /// Returns the width of the names in an item's run of attributes on a line each, whose values are aligned.
    fn width(&self, index: usize) -> usize {
        if !self.items[index].is_line() {
            return 0;
        }
        let before = self.items[..index].iter().rev().take_while(|item| item.is_line());
        let after = self.items[index..].iter().take_while(|item| item.is_line());
        before.chain(after).map(Item::name_length).max().unwrap_or_default()
    }
}

impl std::fmt::Display for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.write(&mut out, 0);
        formatter.write_str(&out)
    }
}

impl Item {
    fn is_line(&self) -> bool {
        matches!(self, Self::Attribute(_, value) if !value.to_hcl(0).contains('\n'))
    }

    fn name_length(&self) -> usize {
        if let Self::Attribute(name, _) = self { name.len() } else { 0 }
    }
}

impl Expression {
    fn to_hcl(&self, indent: usize) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Bool(bool) => bool.to_string(),
            Self::Reference(reference) => reference.clone(),
            Self::List(items) => list(items, indent),
            Self::Object(body) => {
                let mut object = "{\n".to_owned();
                body.write(&mut object, indent + 2);
                let _ = write!(object, "{:indent$}}}", "");
                object
            }
        }
    }
}

fn list(items: &[Expression], indent: usize) -> String {
    let items: Vec<String> = items.iter().map(|item| item.to_hcl(indent + 2)).collect();
    let line = format!("[{}]", items.join(", "));
    if line.len() <= MAX_LIST {
        return line;
    }
    let mut list = "[\n".to_owned();
    for item in items {
        push_line(&mut list, indent + 2, &format!("{item},"));
    }
    let _ = write!(list, "{:indent$}]", "");
    list
}

fn push_line(out: &mut String, indent: usize, line: &str) {
    let _ = writeln!(out, "{:indent$}{line}", "");
}

/// Returns a text between quotes, in which nothing is a template and nothing is a control character.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    let mut characters = text.chars().peekable();
    let mut before = None;
    while let Some(c) = characters.next() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // After another one, doubling it would not be unambiguous.
            '$' | '%' if characters.peek() == Some(&'{') && before == Some(c) => escape(&mut quoted, c),
            '$' | '%' if characters.peek() == Some(&'{') => quoted.extend([c, c]),
            c if is_unseen(c) => escape(&mut quoted, c),
            c => quoted.push(c),
        }
        before = Some(c);
    }
    quoted.push('"');
    quoted
}

/// Adds a character by its number, which HCL and YAML write alike.
pub(super) fn escape(out: &mut String, c: char) {
    let _ = match u32::from(c) {
        number @ ..=0xffff => write!(out, "\\u{number:04x}"),
        number => write!(out, "\\U{number:08x}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_outside_of_the_basic_plane_have_eight_digits() {
        let mut out = String::new();
        escape(&mut out, '\u{202e}');
        escape(&mut out, '\u{e0041}');
        assert_eq!(out, "\\u202e\\U000e0041");
    }

    #[test]
    fn runs_are_aligned_and_blocks_set_apart() {
        let mut inner = Body::default();
        inner.attribute("enabled", Expression::Bool(true));
        let mut block = Body::default();
        block.attribute("a", text("1"));
        block.attribute("longer", Expression::Number(2));
        block.attribute("long", texts(["x".repeat(60).as_str(), "y".repeat(60).as_str()]));
        block.attribute("after", references(["a.b", "c.d"]));
        block.block("flags", inner);
        block.comment("Says\n\nthis.");
        block.block("empty", Body::default());
        let mut body = Body::default();
        body.block("resource \"a\" \"b\"", block);
        let (x, y) = ("x".repeat(60), "y".repeat(60));
        let expected = format!(
            r#"resource "a" "b" {{
  a      = "1"
  longer = 2

  long = [
    "{x}",
    "{y}",
  ]

  after = [a.b, c.d]

  flags {{
    enabled = true
  }}

  # Says
  #
  # this.
  empty {{}}
}}
"#
        );
        assert_eq!(body.to_string(), expected);
    }

    #[test]
    fn a_text_is_nothing_but_text() {
        let cases = [
            (r#"say "hi" \ there"#, r#""say \"hi\" \\ there""#),
            (
                "${file(\"/etc/passwd\")} %{if true} $5 100% $${x}",
                r#""$${file(\"/etc/passwd\")} %%{if true} $5 100% $\u0024{x}""#,
            ),
            ("a\nb\r\tc\u{1b}[0m\u{85}", r#""a\nb\r\tc\u001b[0m\u0085""#),
            ("\u{202e}\u{feff}é🦀", "\"\\u202e\\ufeffé🦀\""),
            ("", "\"\""),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }
}
