//! Progress and log messages on their way to the client, as notifications on the call's own stream.

use std::sync::{Mutex, PoisonError};

use domain::{Feedback, LogLevel, LogMessage, Progress};
use futures_channel::mpsc;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::params::level_name;
use crate::reply::notification;

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
    fn offer(&self, message: Vec<u8>) {
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
        let Progress { progress, total, message } = progress;
        let params = ProgressParams { progress_token, progress, total, message };
        self.offer(notification("notifications/progress", &params));
    }

    fn log(&self, message: LogMessage) {
        if self.log_level.is_none_or(|least| message.level < least) {
            return;
        }
        let params =
            LogParams { level: level_name(message.level), data: message.data, logger: message.logger };
        self.offer(notification("notifications/message", &params));
    }
}
