//! A job's reply: one document if the job ends before it sends a message, otherwise a stream that begins with its messages.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::mpsc;
use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

use crate::feedback::{MAX_QUEUED, Sink};
use crate::job::Job;
use crate::reply::{Body, LogFields, Messages, Reply, Source, Status};

type Work = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Runs a job, and replies with its first message or its end.
pub(crate) async fn reply(mut job: Job, may_stream: bool) -> Reply {
    if !may_stream {
        return job.run(None).await;
    }
    let (sender, mut messages) = mpsc::channel(MAX_QUEUED);
    let sink = Sink::new(sender, job.progress_token.take(), job.log_level);
    let log = job.log.clone();
    let work: Work = Box::pin(job.run(Some(sink)));
    match select(work, messages.next()).await {
        Either::Left((reply, _)) => {
            // The sink was dropped with the work, so the channel ends after its messages.
            let before: Vec<Vec<u8>> = messages.collect().now_or_never().unwrap_or_default();
            if before.is_empty() { reply } else { completed_stream(before, reply) }
        }
        Either::Right((first, work)) => {
            let first = stream::iter(first);
            let rest = Rest { work: Some(work), messages, last: None };
            streamed_with(Source::Call, log, |log| first.chain(rest.into_stream(log)))
        }
    }
}

/// The rest of a stream.
struct Rest {
    work: Option<Work>,
    messages: mpsc::Receiver<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Rest {
    fn into_stream(self, log: Arc<Mutex<LogFields>>) -> impl Stream<Item = Vec<u8>> + Send {
        stream::unfold((self, log), |(mut rest, log)| async move {
            let message = rest.next(&log).await?;
            Some((message, (rest, log)))
        })
    }

    /// Returns the next message. Messages come before the response, whatever is ready first.
    async fn next(&mut self, log: &Mutex<LogFields>) -> Option<Vec<u8>> {
        if let Some(work) = &mut self.work {
            match select(self.messages.next(), work).await {
                Either::Left((Some(message), _)) => return Some(message),
                // The sink was dropped; the response is next.
                Either::Left((None, work)) => self.last = response(work.await, log),
                Either::Right((reply, _)) => self.last = response(reply, log),
            }
            self.work = None;
        }
        match self.messages.next().await {
            Some(message) => Some(message),
            None => self.last.take(),
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
