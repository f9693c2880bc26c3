//! Progress and log messages on their way to the client, as notifications on the call's own stream.

use std::sync::{Mutex, PoisonError};

use domain::{Feedback, LogLevel, LogMessage, Progress};
use futures_channel::mpsc;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::params::level_name;
use crate::reply::notification;

/// The maximum number of messages that wait for a slow client; more are dropped.
pub(crate) const MAX_QUEUED: usize = 64;

/// Sends messages to the stream of one call.
pub(crate) struct Sink {
    messages: Mutex<mpsc::Sender<Vec<u8>>>,
    /// `None` if the client did not ask for progress.
    progress_token: Option<Box<RawValue>>,
    /// `None` if the client did not ask for log messages.
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

    /// Returns a sender for messages that must arrive.
    pub(crate) fn sender(&self) -> mpsc::Sender<Vec<u8>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a message that may be dropped: a client that reads slowly does not slow the work.
    fn try_send(&self, message: Vec<u8>) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = messages.try_send(message);
    }
}

/// `ProgressNotificationParams` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgressParams<'a> {
    /// As the client wrote it.
    progress_token: &'a RawValue,
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// `LoggingMessageNotificationParams` in the schema.
#[derive(Serialize)]
struct LogParams {
    level: &'static str,
    data: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    logger: Option<String>,
}

impl Feedback for Sink {
    fn progress(&self, progress: Progress) {
        let Some(progress_token) = &self.progress_token else {
            return;
        };
        let Progress { progress, total, message, .. } = progress;
        let params = ProgressParams { progress_token, progress, total, message };
        self.try_send(notification("notifications/progress", &params));
    }

    fn log(&self, message: LogMessage) {
        if self.log_level.is_none_or(|lowest| message.level < lowest) {
            return;
        }
        let params =
            LogParams { level: level_name(message.level), data: message.data, logger: message.logger };
        self.try_send(notification("notifications/message", &params));
    }

    fn log_level(&self) -> Option<LogLevel> {
        self.log_level
    }
}
