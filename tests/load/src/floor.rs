//! The floor: hyper with a fixed answer, and nothing else. It reads a request's body and forgets it.
//!
//! `floor PORT FILE` answers every request on 127.0.0.1:PORT with FILE's content. With another file it has listeners: a request for
//! `subscriptions/listen` is answered by a stream without an end, which begins with FILE's content, and any other request has all of
//! these streams go on with the other file's.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[derive(Parser)]
struct Arguments {
    port: u16,
    answer: PathBuf,
    event: Option<PathBuf>,
}

/// What is answered.
struct Answers {
    answer: Bytes,
    /// For listeners, where there may be any.
    event: Option<Bytes>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
}

/// A stream of events.
struct Events(mpsc::UnboundedReceiver<Bytes>);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { port, answer, event } = Arguments::parse();
    let event = event.map(|event| read(&event)).transpose()?;
    let answers = Arc::new(Answers { answer: read(&answer)?, event, listeners: Mutex::default() });
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let service = service_fn(move |request| fixed(request, Arc::clone(&answers)));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

fn read(file: &Path) -> anyhow::Result<Bytes> {
    Ok(Bytes::from(std::fs::read(file).with_context(|| format!("{}", file.display()))?))
}

async fn fixed(
    request: Request<Incoming>,
    answers: Arc<Answers>,
) -> Result<Response<Either<Full<Bytes>, Events>>, Infallible> {
    let listens = answers.event.is_some()
        && request.headers().get("mcp-method").is_some_and(|method| method == "subscriptions/listen");
    let _ = request.into_body().collect().await;
    let (body, content_type) = if listens {
        (Either::Right(answers.listen()), "text/event-stream")
    } else {
        answers.announce();
        (Either::Left(Full::new(answers.answer.clone())), "application/json")
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

impl Answers {
    fn listen(&self) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        // The receiver is here.
        let _ = sender.send(self.answer.clone());
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Events(receiver)
    }

    fn announce(&self) {
        let Some(event) = &self.event else { return };
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
