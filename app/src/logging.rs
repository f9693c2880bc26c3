//! Logs: lines on standard error, for people in a terminal and for programs elsewhere.

mod json_lines;
mod line_queue;
mod spans;

use std::io::{self, IsTerminal, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, registry};

use crate::config::{Log, LogFormat};

use json_lines::JsonLines;
use line_queue::LineQueue;

/// The libraries that write of what they carry, as the targets of their events begin.
const LIBRARIES: [&str; 8] =
    ["rmcp", "sse_stream", "hyper", "hyper_util", "hyper_rustls", "rustls", "h2", "tokio_rustls"];

/// The log that [`start`] started.
static STARTED: OnceLock<Started> = OnceLock::new();

struct Started {
    level: LogLevel,
    /// What JSON lines wait in; those for people are written at once.
    queue: Option<Arc<LineQueue>>,
}

/// Sends every `tracing` event to standard error from now on. A second call changes nothing.
///
/// # Errors
/// When the thread that writes can't be started.
pub(crate) fn start(settings: Log) -> io::Result<()> {
    let json = match settings.format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    // No colors outside a terminal; inside one the library itself follows NO_COLOR, unless `with_ansi` is called.
    let colors = if stderr().is_terminal() { None } else { Some(false) };
    let level = LogLevel::new(settings.level);
    let queue = json.then(|| LineQueue::start(stderr())).transpose()?.map(Arc::new);
    let subscriber = match queue.clone() {
        Some(queue) => subscriber(json, colors, level.clone(), queue),
        None => subscriber(json, colors, level.clone(), stderr),
    };
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = STARTED.set(Started { level, queue });
    }
    Ok(())
}

/// Waits until what was logged is written, for some seconds at most. Whoever ends the process has to.
pub(crate) fn flush() {
    if let Some(queue) = STARTED.get().and_then(|started| started.queue.as_ref()) {
        queue.flush();
    }
}

/// Returns what calls [`flush`] when it is dropped, so also when a panic ends the process.
pub(crate) fn flush_at_end() -> FlushAtEnd {
    FlushAtEnd
}

pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        flush();
    }
}

/// Returns the level of the log; `None` where the program has one of its own.
pub(crate) fn level() -> Option<&'static LogLevel> {
    STARTED.get().map(|started| &started.level)
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
    if json {
        return Box::new(JsonLines::new(writer).with(level));
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let lines = match colors {
        Some(colors) => lines.with_ansi(colors),
        None => lines,
    };
    Box::new(registry().with(lines).with(level))
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

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
    fn names_are_escaped_where_one_has_to_be_whichever_line_was_before() {
        let lines = written(|| {
            for _ in 0..2 {
                let _span = tracing::info_span!("odd", "a\"b" = 1).entered();
                tracing::info!(plain = 1, "plain");
                tracing::info!("a\"b" = 1, "odd");
            }
        });
        for pair in lines.chunks(2) {
            let span = r#""span":{"a\"b":1,"name":"odd"}}"#;
            assert_eq!(pair[0], format!(r#""level":"INFO","message":"plain","plain":1,{span}"#));
            assert_eq!(pair[1], format!(r#""level":"INFO","message":"odd","a\"b":1,{span}"#));
        }
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

    #[test]
    fn of_a_field_that_a_span_is_told_twice_the_later_value_counts() {
        use tracing::field::Empty;
        let lines = written(|| {
            let span = tracing::info_span!("work", id = 1, state = "new", done = Empty).entered();
            span.record("state", "\"old\"").record("done", true);
            tracing::info!("within");
        });
        let span = r#""span":{"done":true,"id":1,"state":"\"old\"","name":"work"}}"#;
        assert!(lines[0].ends_with(span), "{lines:?}");
    }

    #[test]
    fn what_is_logged_by_what_is_displayed_is_a_line_of_its_own() {
        struct Talks;
        impl std::fmt::Display for Talks {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                tracing::info!("inner");
                f.write_str("shown")
            }
        }
        let lines = written(|| {
            for _ in 0..2 {
                tracing::info!(what = %Talks, long = "x".repeat(5000), "outer");
            }
        });
        // `tracing` drops what is logged while it hands an event on, where it does so at all.
        let outer = |line: &&String| line.contains(r#""message":"outer","what":"shown","long":"xx"#);
        let inner = |line: &&String| *line == r#""level":"INFO","message":"inner"}"#;
        assert_eq!(lines.iter().filter(outer).count(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| outer(&line) || inner(&line)), "{lines:?}");
    }

    #[test]
    fn numbers_are_read_as_they_were() {
        for number in [0.0, -0.0, 0.97, 3.0, 1e-7, 1e16, 123.456, f64::MAX, f64::MIN_POSITIVE, f64::NAN] {
            let lines = written(|| tracing::info!(number, small = i64::MIN, large = u64::MAX, "numbers"));
            let line: serde_json::Value = serde_json::from_str(&format!("{{{}", lines[0])).unwrap();
            assert_eq!(line["number"].as_f64(), Some(number).filter(|number| number.is_finite()));
            assert_eq!((line["small"].as_i64(), line["large"].as_u64()), (Some(i64::MIN), Some(u64::MAX)));
        }
        let lines = written(|| tracing::info!(whole = 3.0, "with a point"));
        assert!(lines[0].ends_with(r#""whole":3.0}"#), "{lines:?}");
    }
}
