//! The body of a response: a document, or a stream of events (Server-Sent Events) that is made while it is sent.
//!
//! hyper asks for the next part only when it can send it, so a client that reads slowly slows its own answer and nothing
//! else; and it drops the body when the client goes away, which ends the work behind it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use domain::{Clock, Holder, Lease};
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Method, StatusCode, Uri};
use mcp_protocol::Messages;

use crate::access_log::Record;
use crate::activity::RequestGuard;
use crate::limiter::Limiter;
use crate::outbox::{Chunk, Delivery, FREE_UNSENT, Outbox, StreamHandle};

/// Proxies end connections on which nothing happens, commonly after 30 or 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// How much of a watched document hyper gets at a time, in bytes.
const PART: usize = 64 * 1024;

/// The body of a response.
pub(crate) enum AnswerBody {
    Whole(Whole),
    Events(Box<Events>),
}

/// A document.
#[derive(Default)]
pub(crate) struct Whole {
    left: Bytes,
    delivery: Option<Arc<Delivery>>,
    /// The HTTP/2 stream stays open until the last part was taken, so that it can be reset until then.
    stays: bool,
}

/// A stream of events.
pub(crate) struct Events {
    messages: Messages,
    clock: Arc<dyn Clock>,
    /// Passes no later than a sign of life is due.
    silence: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When something was sent last, in uptime.
    silent_since: Duration,
    watch: Option<Watch>,
    /// The last event that is on its way.
    delivery: Option<Arc<Delivery>>,
    ending: Option<Ending>,
    /// Held for its drop.
    _lease: Lease,
}

/// What watches events.
struct Watch {
    outbox: Arc<Outbox>,
    holder: Holder,
    limiter: Arc<Limiter>,
}

/// What happens when a stream ends, however it ends: its line is logged, and its connection's activity ends.
struct Ending {
    record: Record,
    method: Method,
    target: Uri,
    clock: Arc<dyn Clock>,
    started: Duration,
    /// Held for its drop.
    _guard: RequestGuard,
}

impl AnswerBody {
    pub(crate) fn empty() -> Self {
        Self::Whole(Whole::default())
    }

    pub(crate) fn whole(document: Bytes) -> Self {
        Self::Whole(Whole { left: document, ..Whole::default() })
    }

    pub(crate) fn events(messages: Messages, clock: Arc<dyn Clock>, lease: Lease) -> Self {
        let (silence, silent_since) = (sleep(&clock, KEEP_ALIVE), clock.uptime());
        Self::Events(Box::new(Events {
            messages,
            clock,
            silence,
            silent_since,
            watch: None,
            delivery: None,
            ending: None,
            _lease: lease,
        }))
    }
}

impl Whole {
    pub(crate) fn len(&self) -> usize {
        self.left.len()
    }

    /// Watches it until it was taken.
    pub(crate) fn watch(&mut self, delivery: Option<Arc<Delivery>>) {
        self.stays = delivery.is_some() && self.len() > FREE_UNSENT;
        self.delivery = delivery;
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        if self.left.is_empty() {
            if let Some(delivery) = self.delivery.as_ref().filter(|_| self.stays) {
                ready!(delivery.poll_taken(cx));
            }
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match &self.delivery {
            None => Chunk::plain(std::mem::take(&mut self.left)),
            Some(delivery) => delivery.chunk(self.left.split_to(self.left.len().min(PART))),
        }))
    }
}

impl Events {
    /// Logs the request and ends its activity when the stream ends, not before.
    pub(crate) fn at_end(
        &mut self,
        mut record: Record,
        (method, target): (Method, Uri),
        started: Duration,
        guard: RequestGuard,
    ) {
        guard.streams();
        record.is_stream = true;
        let clock = Arc::clone(&self.clock);
        self.ending = Some(Ending { record, method, target, clock, started, _guard: guard });
    }

    /// Watches each event until it was taken.
    pub(crate) fn watch(&mut self, outbox: Arc<Outbox>, holder: Holder, limiter: Arc<Limiter>) {
        self.watch = Some(Watch { outbox, holder, limiter });
    }

    /// Returns the next event, once the one before was taken, or while there is little unsent: no more is held.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        if let Some(delivery) = &self.delivery {
            if !delivery.may_be_followed() {
                ready!(delivery.poll_taken(cx));
            }
            self.delivery = None;
        }
        match self.messages.stream.as_mut().poll_next(cx) {
            Poll::Ready(Some(message)) => {
                self.silent_since = self.clock.uptime();
                Poll::Ready(self.watched(event(&message)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(self.poll_silence(cx));
                Poll::Ready(self.watched(COMMENT))
            }
        }
    }

    /// Returns ready when a sign of life is due. The timer is set again when it has passed, and not with each event.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.silence.as_mut().poll(cx));
            let now = self.clock.uptime();
            let left = (self.silent_since + KEEP_ALIVE).saturating_sub(now);
            if left.is_zero() {
                (self.silence, self.silent_since) = (sleep(&self.clock, KEEP_ALIVE), now);
                // The new timer must be polled, too.
                cx.waker().wake_by_ref();
                return Poll::Ready(());
            }
            self.silence = sleep(&self.clock, left);
        }
    }

    /// Returns the event as a watched part; `None` where there is no memory for it, which ends the stream.
    fn watched(&mut self, event: Bytes) -> Option<Chunk> {
        let Some(Watch { outbox, holder, limiter }) = &self.watch else {
            return Some(Chunk::plain(event));
        };
        let is_much = outbox.unsent() + event.len() > FREE_UNSENT;
        let lease = if is_much { Some(limiter.try_acquire_unsent(*holder, event.len()).ok()?) } else { None };
        let delivery = outbox.deliver(event.len(), lease, StreamHandle::current());
        let chunk = delivery.chunk(event);
        self.delivery = Some(delivery);
        Some(chunk)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(mut ending) = self.ending.take() {
            ending.record.protocol = self.messages.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let took = ending.clock.uptime().saturating_sub(ending.started);
            ending.record.log((&ending.method, &ending.target), StatusCode::OK, took);
        }
    }
}

impl Body for AnswerBody {
    type Data = Chunk;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Infallible>>> {
        let part = match self.get_mut() {
            Self::Whole(whole) => whole.poll_part(cx),
            Self::Events(events) => events.poll_event(cx),
        };
        part.map(|part| part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.left.is_empty() && !whole.stays,
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => SizeHint::with_exact(whole.len() as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

fn sleep(clock: &Arc<dyn Clock>, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let clock = Arc::clone(clock);
    Box::pin(async move { clock.sleep(duration).await })
}

/// Returns an event. A message is JSON, and one `data` field: what ends lines in it, as another server may have written it, is
/// white space between tokens and becomes blanks.
pub(crate) fn event(message: &[u8]) -> Bytes {
    let begin = b"event: message\ndata: ";
    let mut event = [begin, message, b"\n\n"].concat();
    let message = begin.len()..begin.len() + message.len();
    event[message].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    event.into()
}

#[cfg(test)]
mod tests {
    use super::event;

    #[test]
    fn line_ends_between_the_tokens_of_a_message_end_no_line_of_its_event() {
        let expected = "event: message\ndata: {  \"a\":  1   ,\"b\":\"\\n\"}\n\n";
        assert_eq!(event(b"{\n \"a\":\r\n1\r\r ,\"b\":\"\\n\"}"), expected);
    }
}
