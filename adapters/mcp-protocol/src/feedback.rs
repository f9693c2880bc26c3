//! Progress and log messages on their way to the client, as notifications on the call's own stream.

use std::sync::{Mutex, PoisonError};

use domain::{Feedback, LogLevel, LogMessage, Progress};
use futures_channel::mpsc;
use serde_json::json;
use serde_json::value::RawValue;

use crate::params::level_name;

/// How many messages wait for a slow client before more are dropped.
pub(crate) const BACKLOG: usize = 64;

/// The way to one call's stream.
pub(crate) struct Sink {
    messages: Mutex<mpsc::Sender<Vec<u8>>>,
    /// Without one, nobody asked for progress.
    progress_token: Option<Box<RawValue>>,
    /// Without one, nobody asked for log messages.
    log_level: Option<LogLevel>,
}

impl Sink {
    pub(crate) fn new(
        messages: mpsc::Sender<Vec<u8>>,
        progress_token: Option<Box<RawValue>>,
        log_level: Option<LogLevel>,
    ) -> Self {
        Self { messages: Mutex::new(messages), progress_token, log_level }
    }

    /// Something that must not get lost.
    pub(crate) fn sender(&self) -> mpsc::Sender<Vec<u8>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something that may: a client that reads slowly does not slow the work.
    fn offer(&self, message: &serde_json::Value) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = messages.try_send(message.to_string().into_bytes());
    }
}

impl Feedback for Sink {
    fn progress(&self, progress: Progress) {
        let Some(token) = &self.progress_token else {
            return;
        };
        let mut params = json!({"progressToken": token, "progress": progress.progress});
        if let Some(total) = progress.total {
            params["total"] = total.into();
        }
        if let Some(message) = progress.message {
            params["message"] = message.into();
        }
        self.offer(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
    }

    fn log(&self, message: LogMessage) {
        if self.log_level.is_none_or(|least| message.level < least) {
            return;
        }
        let mut params = json!({"level": level_name(message.level), "data": message.data});
        if let Some(logger) = message.logger {
            params["logger"] = logger.into();
        }
        self.offer(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}));
    }
}
