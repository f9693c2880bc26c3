//! Logs: lines on standard error, for people in a terminal and for programs elsewhere.

use std::io::{IsTerminal, stderr};

use crate::config::{LogFormat, LogSettings};

/// Sends every `tracing` event to standard error from now on. A second call changes nothing.
pub(crate) fn start(settings: LogSettings) {
    let json = match settings.format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines =
        tracing_subscriber::fmt().with_writer(stderr).with_max_level(settings.level).with_target(false);
    if json {
        let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
        let _ = lines.try_init();
    } else {
        // Colors are for terminals; there the library heeds NO_COLOR unless it is told.
        let lines = if stderr().is_terminal() { lines } else { lines.with_ansi(false) };
        let _ = lines.try_init();
    }
}
