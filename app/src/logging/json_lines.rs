//! The log for programs: JSON, an object a line.

use std::fmt::{self, Write as _};

use serde_json::value::RawValue;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// The fields that are JSON lists. `tracing` has no lists: their text, which people see as it is, is JSON.
const LISTS: [&str; 6] = ["kids", "held_scopes", "missing_scopes", "rules", "would_refuse", "unverified_aud"];

/// One JSON object a line: the time, the level, the event's fields, and the span that it is in. The library's own format
/// can't write lists, and takes several times as long.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line(String::with_capacity(512));
        line.name("timestamp");
        line.0.push('"');
        SystemTime.format_time(&mut Writer::new(&mut line.0))?;
        line.0.push('"');
        line.text("level", event.metadata().level().as_str());
        event.record(&mut line);
        if let Some(span) = context.lookup_current() {
            let mut inner = Line(String::new());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                // `JsonFields` has made an object of them.
                inner.0.push_str(fields.trim_end().strip_suffix('}').unwrap_or_default());
            }
            inner.text("name", span.name());
            line.raw("span", &inner.finish());
        }
        let mut line = line.finish();
        line.push('\n');
        writer.write_str(&line)
    }
}

/// A JSON object in the making.
struct Line(String);

impl Line {
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push('"');
        push_escaped(&mut self.0, value);
        self.0.push('"');
    }

    /// Adds a value that is JSON already.
    fn raw(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(value);
    }

    /// Adds a value that is JSON as it is displayed.
    fn displayed(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        // Writing to memory can't fail.
        let _ = write!(self.0, "{value}");
    }

    fn name(&mut self, name: &str) {
        match self.0.as_bytes().last() {
            None => self.0.push('{'),
            // The object is empty.
            Some(b'{') => {}
            Some(_) => self.0.push(','),
        }
        self.0.push('"');
        push_escaped(&mut self.0, name);
        self.0.push_str("\":");
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        if LISTS.contains(&name) {
            let text = format!("{value:?}");
            match serde_json::from_str::<&RawValue>(&text) {
                Ok(json) if text.starts_with('[') => self.raw(name, json.get()),
                _ => self.text(name, &text),
            }
            return;
        }
        self.name(name);
        self.0.push('"');
        let _ = write!(Escaped(&mut self.0), "{value:?}");
        self.0.push('"');
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinities.
        if value.is_finite() {
            // With a point in each: who stores them may guess the type from the first.
            self.displayed(field.name(), format_args!("{value:?}"));
        } else {
            self.raw(field.name(), "null");
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.displayed(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.displayed(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.displayed(field.name(), value);
    }
}

/// What is written through this is escaped as a part of a JSON string.
struct Escaped<'t>(&'t mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// Adds a part of a JSON string (RFC 8259 section 7). Most texts have nothing to escape.
fn push_escaped(to: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        return to.push_str(text);
    }
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
