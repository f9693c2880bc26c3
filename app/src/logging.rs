//! Logs: lines on standard error, for people in a terminal and for programs elsewhere.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::value::RawValue;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, registry};

use crate::config::{Log, LogFormat};

/// The fields that are JSON lists. `tracing` has no lists: their text, which people see as it is, is JSON.
const LISTS: [&str; 4] = ["kids", "held_scopes", "missing_scopes", "unverified_aud"];

/// The libraries that write of what they carry, as the targets of their events begin.
const LIBRARIES: [&str; 8] =
    ["rmcp", "sse_stream", "hyper", "hyper_util", "hyper_rustls", "rustls", "h2", "tokio_rustls"];

/// The level of the log that [`start`] started.
static STARTED: OnceLock<LogLevel> = OnceLock::new();

/// Sends every `tracing` event to standard error from now on. A second call changes nothing.
pub(crate) fn start(settings: Log) {
    let json = match settings.format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    // No colors outside a terminal; inside one the library itself follows NO_COLOR, unless `with_ansi` is called.
    let colors = if stderr().is_terminal() { None } else { Some(false) };
    let level = LogLevel::new(settings.level);
    if tracing::subscriber::set_global_default(subscriber(json, colors, level.clone(), stderr)).is_ok() {
        let _ = STARTED.set(level);
    }
}

/// Returns the level of the log; `None` where the program has one of its own.
pub(crate) fn level() -> Option<&'static LogLevel> {
    STARTED.get()
}

fn subscriber<W>(
    json: bool,
    colors: Option<bool>,
    level: LogLevel,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    if json {
        Box::new(registry().with(lines.event_format(JsonLines).fmt_fields(JsonFields::new())).with(level))
    } else {
        let lines = match colors {
            Some(colors) => lines.with_ansi(colors),
            None => lines,
        };
        Box::new(registry().with(lines).with(level))
    }
}

/// The least important level that is written, which can change. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogLevel(Arc<AtomicUsize>);

impl LogLevel {
    /// The levels, the most important first.
    const ALL: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

    fn new(level: Level) -> Self {
        Self(Arc::new(AtomicUsize::new(Self::index(level))))
    }

    pub(crate) fn get(&self) -> Level {
        Self::ALL[self.0.load(Ordering::Relaxed) % Self::ALL.len()]
    }

    /// Writes by another level from now on, and says so in a line that either level shows.
    pub(crate) fn set(&self, level: Level) {
        let before = self.get();
        let say =
            || tracing::warn!(from = %before, to = %level, "the log level was changed by the admin listener");
        if level < before {
            say();
        }
        self.0.store(Self::index(level), Ordering::Relaxed);
        // What each place in the code remembers of whether it is written.
        tracing_core::callsite::rebuild_interest_cache();
        if level >= before {
            say();
        }
    }

    fn index(level: Level) -> usize {
        Self::ALL.iter().position(|known| *known == level).unwrap_or_default()
    }

    /// Leaves out what libraries say of their work: their lines have whole messages in them, so callers' data and tokens. rmcp's
    /// warnings, too, have texts and session ids of upstreams; what fails is logged by `upstream-mcp`.
    fn writes(&self, metadata: &Metadata<'_>) -> bool {
        let level = LevelFilter::from_level(self.get());
        let library = metadata.target().split("::").next().unwrap_or_default();
        let level = match library {
            "rmcp" => LevelFilter::OFF,
            library if LIBRARIES.contains(&library) => level.min(LevelFilter::WARN),
            _ => level,
        };
        *metadata.level() <= level
    }
}

impl<S: Subscriber> Layer<S> for LogLevel {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.writes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.writes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.get()))
    }
}

/// One JSON object a line: the time, the level, the event's fields, and the span that it is in. The library's own format
/// can't write lists.
struct JsonLines;

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
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Line(Vec::with_capacity(512));
        line.entry("timestamp", &timestamp);
        line.entry("level", event.metadata().level().as_str());
        event.record(&mut line);
        if let Some(span) = context.lookup_current() {
            let mut inner = Line(Vec::new());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                // `JsonFields` has made an object of them.
                inner.0.extend(fields.trim_end().strip_suffix('}').unwrap_or_default().bytes());
            }
            inner.entry("name", span.name());
            line.raw("span", &inner.finish());
        }
        writer.write_str(std::str::from_utf8(&line.finish()).map_err(|_| fmt::Error)?)?;
        writer.write_char('\n')
    }
}

/// A JSON object in the making.
struct Line(Vec<u8>);

impl Line {
    fn entry<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        // Writing to memory can't fail, nor can rendering texts, numbers and booleans.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    /// Adds a value that is JSON already.
    fn raw(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.extend(value);
    }

    fn name(&mut self, name: &str) {
        match self.0.last() {
            None => self.0.push(b'{'),
            // The object is empty.
            Some(b'{') => {}
            Some(_) => self.0.push(b','),
        }
        let _ = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let list = LISTS.contains(&field.name()) && text.starts_with('[');
        match serde_json::from_str::<&RawValue>(&text) {
            Ok(json) if list => self.raw(field.name(), json.get().as_bytes()),
            _ => self.entry(field.name(), &text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.entry(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.entry(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.entry(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.entry(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.entry(field.name(), &value);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of the events, without the first member, which is the time.
    fn written(events: impl FnOnce()) -> Vec<String> {
        written_at(Level::INFO, events)
    }

    fn written_at(level: Level, events: impl FnOnce()) -> Vec<String> {
        let text = text(true, level, events);
        let lines = text.strip_suffix('\n').unwrap().split('\n');
        lines
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(value["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
                line.split_once(',').unwrap().1.to_owned()
            })
            .collect()
    }

    fn text(json: bool, level: Level, events: impl FnOnce()) -> String {
        text_by(json, LogLevel::new(level), events)
    }

    fn text_by(json: bool, level: LogLevel, events: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        tracing::subscriber::with_default(
            subscriber(json, Some(false), level, move || writer.clone()),
            events,
        );
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_one_object_whatever_is_in_it() {
        let hostile = "a\"}\r\n{\"level\":\"ERROR\"}\u{1b}[31m\u{0}";
        let lines = written(|| {
            tracing::info!(status = 200_u16, ms = 0.97, small = -1, yes = true, none = None::<&str>, "done");
            tracing::warn!(text = hostile, debug = ?hostile, "it says {hostile}");
        });
        assert_eq!(
            lines[0],
            r#""level":"INFO","message":"done","status":200,"ms":0.97,"small":-1,"yes":true}"#
        );
        assert_eq!(lines.len(), 2, "{lines:?}");
        let second: serde_json::Value = serde_json::from_str(&format!("{{{}", lines[1])).unwrap();
        assert_eq!((&second["level"], &second["text"]), (&"WARN".into(), &hostile.into()));
        assert_eq!(second["debug"], format!("{hostile:?}"));
    }

    #[test]
    fn what_libraries_say_of_their_work_is_left_out_at_every_level() {
        const SECRET: &str = "Bearer eyJhbGciOi";
        for level in [Level::INFO, Level::DEBUG, Level::TRACE] {
            let lines = written_at(level, || {
                tracing::info!(target: "rmcp::service", message = SECRET, "received notification");
                tracing::debug!(target: "rmcp::service", result = SECRET, "response message");
                tracing::trace!(target: "rmcp::transport::async_rw", SECRET);
                tracing::debug!(target: "hyper_util::client::legacy::pool", SECRET);
                tracing::debug!(target: "rustls::client::hs", SECRET);
                let _span =
                    tracing::info_span!(target: "rmcp::service", "serve_inner", params = SECRET).entered();
                tracing::error!(target: "rmcp::service", SECRET);
                tracing::warn!(target: "hyper_util::client", "library");
                tracing::info!(target: "upstream_mcp::child", "ours");
                tracing::info!(target: "hyper_transport::access_log", "ours");
            });
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(!lines.concat().contains("eyJ"), "{lines:?}");
            assert!(lines[0].contains("library") && lines[1].contains("ours"), "{lines:?}");
        }
        let human = text(false, Level::TRACE, || {
            tracing::debug!(target: "rmcp::service", SECRET);
            tracing::trace!(target: "hyper_transport::router", "ours");
        });
        assert!(human.contains("ours") && !human.contains("eyJ"), "{human}");
        let none = written_at(Level::ERROR, || {
            tracing::warn!(target: "hyper_util::client", "below");
            tracing::error!(target: "hyper_util::client", "error");
        });
        assert_eq!(none.len(), 1, "{none:?}");
    }

    #[test]
    fn a_changed_level_counts_at_once_and_the_change_is_always_said() {
        let level = LogLevel::new(Level::INFO);
        let text = text_by(true, level.clone(), || {
            let work = |name: &str| {
                tracing::debug!("debug {name}");
                tracing::info!("info {name}");
                tracing::debug!(target: "hyper::proto", "library {name}");
            };
            work("one");
            level.set(Level::DEBUG);
            work("two");
            level.set(Level::ERROR);
            work("three");
            level.set(Level::WARN);
            work("four");
        });
        let said: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| match line["to"].as_str() {
                Some(to) => format!("{} {to}", line["from"].as_str().unwrap()),
                None => line["message"].as_str().unwrap().to_owned(),
            })
            .collect();
        assert_eq!(said, ["info one", "INFO DEBUG", "debug two", "info two", "DEBUG ERROR", "ERROR WARN"]);
    }

    #[test]
    fn lists_are_lists_where_a_field_is_one() {
        let list = r#"["a","b\"]\n"]"#;
        let lines = written(|| {
            tracing::info!(kids = %list, other = %list, "lists");
            tracing::info!(kids = %"[\"a\"", missing_scopes = "[]", held_scopes = %"{}", "no lists");
        });
        assert_eq!(lines[0], format!(r#""level":"INFO","message":"lists","kids":{list},"other":{list:?}}}"#));
        let members = r#""kids":"[\"a\"","missing_scopes":"[]","held_scopes":"{}"}"#;
        assert_eq!(lines[1], format!(r#""level":"INFO","message":"no lists",{members}"#));
    }

    #[test]
    fn the_span_of_an_event_is_in_its_line() {
        let lines = written(|| {
            let _outer = tracing::info_span!("request", id = "1-\"2").entered();
            tracing::info!("within");
            let _inner = tracing::info_span!("bare").entered();
            tracing::info!("deeper");
        });
        assert!(
            lines[0].ends_with(r#""message":"within","span":{"id":"1-\"2","name":"request"}}"#),
            "{lines:?}"
        );
        assert!(lines[1].ends_with(r#""message":"deeper","span":{"name":"bare"}}"#), "{lines:?}");
    }
}
