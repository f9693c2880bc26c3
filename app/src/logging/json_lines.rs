//! The log for programs: JSON, an object a line.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::UnixMicros;
use serde_json::value::RawValue;
use syntax::json_object::JsonObject;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The fields that are JSON lists. `tracing` has no lists: their text, which people see as it is, is JSON.
const LISTS: [&str; 6] = ["kids", "held_scopes", "missing_scopes", "rules", "would_refuse", "unverified_aud"];

/// The memory that a thread keeps for its lines, in bytes.
const KEPT: usize = 1024;

thread_local! {
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// One JSON object a line: the time, the level, the event's fields, and the span that it is in. The library's own format
/// can't write lists, and takes several times as long.
pub(super) struct JsonLines<W> {
    writer: W,
}

/// A span's fields: a JSON object.
struct SpanFields(String);

impl<W> JsonLines<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let fields = object(|fields| attributes.record(fields));
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            fields.0 = merged(&fields.0, &object(|fields| values.record(fields)));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // What is logged amid this, by what is displayed, finds an empty one.
        let mut text = TEXT.take();
        let mut line = Line(JsonObject::begin(&mut text));
        let time = line.0.name("timestamp");
        time.push('"');
        now().push_rfc3339(time);
        time.push('"');
        line.0.string("level", event.metadata().level().as_str());
        event.record(&mut line);
        if let Some(span) = context.lookup_current() {
            let mut inner = JsonObject::begin(line.0.name("span"));
            if let Some(SpanFields(fields)) = span.extensions().get() {
                inner.members_of(fields);
            }
            inner.string("name", span.name());
            inner.end();
        }
        line.0.end();
        text.push('\n');
        // Nobody could be told.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(text.as_bytes());
        text.clear();
        text.shrink_to(KEPT);
        TEXT.set(text);
    }
}

/// The machine's time, which every line has.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is decided by it, and the log is there before any clock"
)]
fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMicros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn object(record: impl FnOnce(&mut Line<'_>)) -> String {
    let mut text = String::with_capacity(64);
    let mut line = Line(JsonObject::begin(&mut text));
    record(&mut line);
    line.0.end();
    text
}

/// Returns the members of both objects; of those that both have, the later ones.
fn merged(earlier: &str, later: &str) -> String {
    let members = |text| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text).unwrap_or_default();
    let mut all = members(earlier);
    all.extend(members(later));
    serde_json::to_string(&all).unwrap_or_default()
}

/// A line in the making.
struct Line<'t>(JsonObject<'t>);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        if LISTS.contains(&name) {
            let text = format!("{value:?}");
            return match serde_json::from_str::<&RawValue>(&text) {
                Ok(json) if text.starts_with('[') => self.0.raw(name, json.get()),
                _ => self.0.string(name, &text),
            };
        }
        self.0.displayed(name, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.string(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinities.
        if value.is_finite() {
            // With a point in each: who stores them may guess the type from the first.
            self.0.raw(field.name(), zmij::Buffer::new().format_finite(value));
        } else {
            self.0.raw(field.name(), "null");
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.integer(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.integer(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.raw(field.name(), if value { "true" } else { "false" });
    }
}
