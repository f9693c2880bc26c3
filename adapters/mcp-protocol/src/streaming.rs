//! A job as a reply: one document if it ends before it was heard of, otherwise a stream that begins with what was heard.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::mpsc;
use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

use crate::feedback::{BACKLOG, Sink};
use crate::job::Job;
use crate::reply::{Body, Messages, Note, Reply, Source, Status};

type Work = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Works, and replies as soon as there is something to say.
pub(crate) async fn reply(mut job: Job, may_stream: bool) -> Reply {
    if !may_stream {
        return job.run(None).await;
    }
    let (sender, mut heard) = mpsc::channel(BACKLOG);
    let sink = Sink::new(sender, job.progress_token.take(), job.log_level);
    let note = job.note.clone();
    let work: Work = Box::pin(job.run(Some(sink)));
    match select(work, heard.next()).await {
        Either::Left((reply, _)) => {
            // The sink went with the work, so the channel ends behind what was heard.
            let before: Vec<Vec<u8>> = heard.collect().now_or_never().unwrap_or_default();
            if before.is_empty() { reply } else { told(before, reply) }
        }
        Either::Right((first, work)) => {
            let first = stream::iter(first);
            let rest = Rest { work: Some(work), heard, last: None };
            streamed_with(Source::Call, note, |note| first.chain(rest.into_stream(note)))
        }
    }
}

/// What is still to come.
struct Rest {
    work: Option<Work>,
    heard: mpsc::Receiver<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Rest {
    fn into_stream(self, note: Arc<Mutex<Note>>) -> impl Stream<Item = Vec<u8>> + Send {
        stream::unfold((self, note), |(mut rest, note)| async move {
            let message = rest.next(&note).await?;
            Some((message, (rest, note)))
        })
    }

    /// What was heard comes before the answer, whatever is ready first.
    async fn next(&mut self, note: &Mutex<Note>) -> Option<Vec<u8>> {
        if let Some(work) = &mut self.work {
            match select(self.heard.next(), work).await {
                Either::Left((Some(message), _)) => return Some(message),
                // The sink goes with the work; its answer is next.
                Either::Left((None, work)) => self.last = answer(work.await, note),
                Either::Right((reply, _)) => self.last = answer(reply, note),
            }
            self.work = None;
        }
        match self.heard.next().await {
            Some(message) => Some(message),
            None => self.last.take(),
        }
    }
}

/// The answer as a message, and its note kept for the log.
fn answer(reply: Reply, note: &Mutex<Note>) -> Option<Vec<u8>> {
    *note.lock().unwrap_or_else(PoisonError::into_inner) = reply.note;
    match reply.body {
        Body::Whole(document) => Some(document),
        // Who lacks scopes was told so before anything was heard.
        Body::Empty | Body::Stream(_) => None,
    }
}

/// A job that was heard of and has ended.
fn told(mut messages: Vec<Vec<u8>>, reply: Reply) -> Reply {
    let note = reply.note;
    if let Body::Whole(document) = reply.body {
        messages.push(document);
    }
    streamed_with(Source::Call, note, |_| stream::iter(messages))
}

/// A reply that is a stream.
pub(crate) fn streamed_with<S: Stream<Item = Vec<u8>> + Send + 'static>(
    source: Source,
    note: Note,
    make: impl FnOnce(Arc<Mutex<Note>>) -> S,
) -> Reply {
    let shared = Arc::new(Mutex::new(note.clone()));
    let stream = Box::pin(make(Arc::clone(&shared)));
    Reply { status: Status::Ok, body: Body::Stream(Messages { source, stream, note: shared }), note }
}
