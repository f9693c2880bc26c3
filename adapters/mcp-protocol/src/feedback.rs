//! Progress and log messages on their way to the client, as notifications on the call's own stream.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use domain::{Feedback, LogLevel, LogMessage, Progress};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::params::level_name;
use crate::reply::notification;

/// The maximum number of messages that wait for a slow client; more are dropped.
pub(crate) const MAX_QUEUED: usize = 64;

/// Takes the messages of one call. They are put in while the call is polled, and taken out in between by whoever polls it: so
/// nobody has to be woken for them.
pub(crate) struct Sink {
    messages: Mutex<VecDeque<Vec<u8>>>,
    /// `None` if the client did not ask for progress.
    progress_token: Option<Box<RawValue>>,
    /// `None` if the client did not ask for log messages.
    log_level: Option<LogLevel>,
}

impl Sink {
    pub(crate) fn new(progress_token: Option<Box<RawValue>>, log_level: Option<LogLevel>) -> Self {
        Self { messages: Mutex::default(), progress_token, log_level }
    }

    /// Sends a message that must arrive: the call waits until there is room for it.
    pub(crate) async fn send(&self, message: Vec<u8>) {
        let mut message = Some(message);
        poll_fn(|_| {
            let mut messages = self.messages();
            if messages.len() >= MAX_QUEUED {
                return Poll::Pending;
            }
            messages.extend(message.take());
            Poll::Ready(())
        })
        .await;
    }

    /// Sends a message that may be dropped: a client that reads slowly does not slow the work.
    fn try_send(&self, message: Vec<u8>) {
        let mut messages = self.messages();
        if messages.len() < MAX_QUEUED {
            messages.push_back(message);
        }
    }

    /// Takes the first message, if there is one.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        self.messages().pop_front()
    }

    /// Takes all messages that there are.
    pub(crate) fn take_all(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.messages()).into()
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use futures_util::future::poll_immediate;

    use super::*;

    #[test]
    fn what_must_arrive_waits_for_room_and_the_rest_is_dropped() {
        let sink = Sink::new(RawValue::from_string("1".into()).ok(), None);
        for n in 0..MAX_QUEUED {
            assert_eq!(sink.send(n.to_string().into()).now_or_never(), Some(()), "{n}");
        }
        let mut waiting = pin!(sink.send("last".into()));
        assert_eq!(poll_immediate(&mut waiting).now_or_never(), Some(None), "there is no room");
        sink.progress(Progress::new(1.0));
        assert_eq!(sink.messages().len(), MAX_QUEUED);
        assert_eq!(sink.take(), Some("0".into()));
        assert_eq!(waiting.now_or_never(), Some(()));
        let sent = sink.take_all();
        assert_eq!((sent.len(), sent.last()), (MAX_QUEUED, Some(&"last".into())));
    }
}
