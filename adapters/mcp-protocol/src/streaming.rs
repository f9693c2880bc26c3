//! A job's reply: one document if the job ends before it sends a message, otherwise a stream that begins with its messages.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::{Stream, stream};

use crate::feedback::Sink;
use crate::job::Job;
use crate::reply::{Body, LogFields, Messages, Reply, Source, Status};

type Work = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Runs a job, and replies with its first message or its end.
pub(crate) async fn reply(mut job: Box<Job>, may_stream: bool) -> Reply {
    if !may_stream {
        // In a box here, too: no room for it in the future of every request.
        return Box::pin(job.run(None)).await;
    }
    let sink = Arc::new(Sink::new(job.progress_token.take(), job.log_level));
    let log = job.log.clone();
    let mut work: Work = Box::pin(job.run(Some(Arc::clone(&sink))));
    let begun = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(reply) => Poll::Ready(Ok(reply)),
        Poll::Pending => sink.take().map_or(Poll::Pending, |message| Poll::Ready(Err(message))),
    })
    .await;
    match begun {
        Ok(reply) => {
            let before = sink.take_all();
            if before.is_empty() { reply } else { completed_stream(before, reply) }
        }
        Err(first) => streamed_with(Source::Call, log, |log| {
            let mut rest = Rest { first: Some(first), work: Some(work), sink, log, last: None };
            stream::poll_fn(move |cx| rest.poll_next(cx))
        }),
    }
}

/// A stream under way.
struct Rest {
    first: Option<Vec<u8>>,
    work: Option<Work>,
    sink: Arc<Sink>,
    log: Arc<Mutex<LogFields>>,
    last: Option<Vec<u8>>,
}

impl Rest {
    /// Polls for the next message. Messages come before the response.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.first.take().or_else(|| self.sink.take()) {
                return Poll::Ready(Some(message));
            }
            let Some(work) = &mut self.work else { return Poll::Ready(self.last.take()) };
            match work.as_mut().poll(cx) {
                Poll::Ready(reply) => {
                    self.last = response(reply, &self.log);
                    self.work = None;
                }
                Poll::Pending => {
                    return self.sink.take().map_or(Poll::Pending, |next| Poll::Ready(Some(next)));
                }
            }
        }
    }
}

/// Returns the response as a message, and keeps the fields of its log line.
fn response(reply: Reply, log: &Mutex<LogFields>) -> Option<Vec<u8>> {
    *log.lock().unwrap_or_else(PoisonError::into_inner) = reply.log;
    match reply.body {
        Body::Whole(document) => Some(document),
        // Missing scopes were refused before any message.
        Body::Empty | Body::Stream(_) => None,
    }
}

/// Returns the stream of a job that has sent messages and has ended.
fn completed_stream(mut messages: Vec<Vec<u8>>, reply: Reply) -> Reply {
    let log = reply.log;
    if let Body::Whole(document) = reply.body {
        messages.push(document);
    }
    streamed_with(Source::Call, log, |_| stream::iter(messages))
}

/// Returns a reply that is a stream.
pub(crate) fn streamed_with<S: Stream<Item = Vec<u8>> + Send + 'static>(
    source: Source,
    log: LogFields,
    make: impl FnOnce(Arc<Mutex<LogFields>>) -> S,
) -> Reply {
    let shared = Arc::new(Mutex::new(log.clone()));
    let stream = Box::pin(make(Arc::clone(&shared)));
    let body = Body::Stream(Messages { source, stream, log: shared });
    Reply { status: Status::Ok, body, log, allowance: None }
}
