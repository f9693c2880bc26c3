//! The log for programs: JSON, an object a line.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::UnixMicros;
use serde_json::value::RawValue;
use syntax::json_object::{self, JsonObject, Place};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::callsite::Identifier;
use tracing_core::span::Current;
use tracing_subscriber::fmt::MakeWriter;

use super::spans::{self, Spans};

/// The fields that are JSON lists. `tracing` has no lists: their text, which people see as it is, is JSON.
const LISTS: [&str; 6] = ["kids", "held_scopes", "missing_scopes", "rules", "would_refuse", "unverified_aud"];

thread_local! {
    /// The place in the code that a thread's latest event is of, and whether its names are plain.
    static LATEST: Cell<Option<(Identifier, bool)>> = const { Cell::new(None) };
}

/// One JSON object a line: the time, the level, the event's fields, and the span that it is in. The library's own format
/// can't write lists, and takes several times as long.
pub(super) struct JsonLines<W> {
    writer: W,
    spans: Spans,
}

impl<W> JsonLines<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, spans: Spans::default() }
    }

    fn add_members(&self, line: &mut JsonObject<'_>, event: &Event<'_>) {
        line.member("timestamp").plain(|text| now().push_rfc3339(text));
        line.member("level").string(event.metadata().level().as_str());
        event.record(&mut Line { object: line, has_plain_names: has_plain_names(event.metadata()) });
        self.spans.with_current(|_, span| {
            let mut inner = line.member("span").object();
            inner.members_of(&span.fields);
            inner.member("name").string(span.metadata.name());
            inner.end();
        });
    }
}

/// What is written is up to a layer above this.
impl<W> Subscriber for JsonLines<W>
where
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        // Before it is there: what is displayed may log.
        let fields = object(|fields| attributes.record(fields));
        self.spans.add(attributes.metadata(), fields)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let added = object(|fields| values.record(fields));
        self.spans.with(id, |span| span.fields = merged(&span.fields, &added));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        json_object::with_line(
            |line| self.add_members(line, event),
            |line| {
                // Nobody could be told.
                let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
            },
        );
    }

    fn enter(&self, id: &Id) {
        spans::enter(id);
    }

    fn exit(&self, id: &Id) {
        spans::exit(id);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.spans.share(id);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.spans.release(&id)
    }

    fn current_span(&self) -> Current {
        let current = self.spans.with_current(|id, span| Current::new(id.clone(), span.metadata));
        current.unwrap_or_else(Current::none)
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

/// Returns an object of a span's fields.
fn object(record: impl FnOnce(&mut Line<'_, '_>)) -> String {
    let mut text = String::with_capacity(64);
    let mut object = JsonObject::begin(&mut text);
    record(&mut Line { object: &mut object, has_plain_names: false });
    object.end();
    text
}

/// Returns whether no field's name has anything to escape. Most events are of the same place in the code as the one before.
fn has_plain_names(metadata: &Metadata<'_>) -> bool {
    let place = metadata.callsite();
    let latest = LATEST.take().filter(|(latest, _)| *latest == place);
    let is_plain = || metadata.fields().iter().all(|field| json_object::is_plain(field.name()));
    let (place, has_plain_names) = latest.unwrap_or_else(|| (place, is_plain()));
    LATEST.set(Some((place, has_plain_names)));
    has_plain_names
}

/// Returns the members of both objects; of those that both have, the later ones.
fn merged(earlier: &str, later: &str) -> String {
    let members = |text| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text).unwrap_or_default();
    let mut all = members(earlier);
    all.extend(members(later));
    serde_json::to_string(&all).unwrap_or_default()
}

/// A line in the making.
struct Line<'l, 't> {
    object: &'l mut JsonObject<'t>,
    /// Whether its names are known to have nothing to escape.
    has_plain_names: bool,
}

impl Line<'_, '_> {
    fn member(&mut self, field: &Field) -> Place<'_> {
        if self.has_plain_names {
            self.object.member(field.name())
        } else {
            self.object.any_member(field.name())
        }
    }
}

impl Visit for Line<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let place = self.member(field);
        if LISTS.contains(&field.name()) {
            let text = format!("{value:?}");
            return match serde_json::from_str::<&RawValue>(&text) {
                Ok(json) if text.starts_with('[') => place.json(json.get()),
                _ => place.string(&text),
            };
        }
        place.displayed(format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field).string(value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let place = self.member(field);
        // JSON has no infinities.
        if value.is_finite() {
            // With a point in each: who stores them may guess the type from the first.
            place.json(zmij::Buffer::new().format_finite(value));
        } else {
            place.json("null");
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field).integer(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field).integer(value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field).json(if value { "true" } else { "false" });
    }
}
