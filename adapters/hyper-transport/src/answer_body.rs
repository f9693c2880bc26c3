//! What is sent: a document, or a stream of events (Server-Sent Events) that is made while it is sent.
//!
//! hyper asks for the next event only when it can send it, so a client that reads slowly slows its own stream and nothing
//! else; and it drops the body when the client goes away, which ends the work behind it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use domain::Clock;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use mcp_protocol::Messages;

use crate::access_log::Record;
use crate::activity::RequestGuard;
use crate::capacity::Place;

/// Proxies end connections on which nothing happens, commonly after 30 or 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// The body of a response.
pub(crate) enum AnswerBody {
    Whole(Full<Bytes>),
    Events(Box<Events>),
}

/// A stream of events.
pub(crate) struct Events {
    messages: Messages,
    clock: Arc<dyn Clock>,
    silence: Pin<Box<dyn Future<Output = ()> + Send>>,
    ending: Option<Ending>,
    /// Held for its drop.
    _place: Place,
}

/// What is due when a stream ends, however it ends: its line in the log, and the end of its connection's activity.
struct Ending {
    record: Record,
    id: String,
    clock: Arc<dyn Clock>,
    started: Duration,
    /// Held for its drop.
    _guard: RequestGuard,
}

impl AnswerBody {
    pub(crate) fn empty() -> Self {
        Self::Whole(Full::default())
    }

    pub(crate) fn whole(document: Bytes) -> Self {
        Self::Whole(Full::new(document))
    }

    pub(crate) fn events(messages: Messages, clock: Arc<dyn Clock>, place: Place) -> Self {
        let silence = silence(&clock);
        Self::Events(Box::new(Events { messages, clock, silence, ending: None, _place: place }))
    }
}

impl Events {
    /// Logs the request and ends its activity when the stream ends, not before.
    pub(crate) fn at_end(&mut self, record: Record, id: &str, started: Duration, guard: RequestGuard) {
        guard.streams();
        let (id, clock) = (id.to_owned(), Arc::clone(&self.clock));
        self.ending = Some(Ending { record, id, clock, started, _guard: guard });
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.messages.stream.as_mut().poll_next(cx) {
            Poll::Ready(Some(message)) => {
                self.silence = silence(&self.clock);
                Poll::Ready(Some(event(&message)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if self.silence.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.silence = silence(&self.clock);
                // The new silence has to be waited for, too.
                cx.waker().wake_by_ref();
                Poll::Ready(Some(COMMENT))
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(mut ending) = self.ending.take() {
            ending.record.note = self.messages.note.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let took = ending.clock.uptime().saturating_sub(ending.started);
            ending.record.log(&ending.id, StatusCode::OK, took);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Events(events) => {
                events.poll_event(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

fn silence(clock: &Arc<dyn Clock>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let clock = Arc::clone(clock);
    Box::pin(async move { clock.sleep(KEEP_ALIVE).await })
}

/// A message is JSON on one line, so it is one `data` field.
fn event(message: &[u8]) -> Bytes {
    [b"event: message\ndata: ", message, b"\n\n"].concat().into()
}
