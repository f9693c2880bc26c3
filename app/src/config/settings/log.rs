//! `[log]`: how to log.

use tracing::Level;

use super::context::Context;
use crate::config::key::{Key, Reload, Words};
use crate::config::reader::Reader;

/// The levels by their names, the most important first.
pub(crate) const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

static FORMAT: Key<Words<LogFormat>> = Key::new(
    "log.format",
    Words(&[("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)]),
    Reload::RestartRequired,
    "`auto`: human in a terminal, JSON otherwise",
);
static LEVEL: Key<Words<Level>> = Key::new(
    "log.level",
    Words(&LEVELS),
    Reload::RestartRequired,
    "the least important lines that are written",
);

pub(super) const KEYS: &[&Key] = &[&FORMAT, &LEVEL];

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least important lines that are written.
    pub level: Level,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human in a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// For programs.
    Json,
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Log {
    Log {
        format: read.choice(&FORMAT).unwrap_or(LogFormat::Auto),
        level: read.choice(&LEVEL).unwrap_or(Level::INFO),
    }
}
