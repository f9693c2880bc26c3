//! A client that sends one request after the other, and opens another connection when the server has closed its own.

use std::time::Duration;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::Version;
use hyper::body::Incoming;
use hyper::http::response::Parts;
use tokio::time::timeout;

use super::Target;
use super::message::Message;
use crate::wire::Connection;

const PATIENCE: Duration = Duration::from_mins(1);
/// The time that an answer is read once it has begun: some are streams without an end.
const READ: Duration = Duration::from_secs(1);

pub(super) struct Client {
    target: Target,
    version: Version,
    connection: Option<Connection>,
}

impl Client {
    pub(super) const fn new(target: Target, version: Version) -> Self {
        Self { target, version, connection: None }
    }

    /// Sends a message, and counts it and its answer.
    pub(super) async fn send(&mut self, message: &Message) {
        self.target.journal.sent();
        let answer = timeout(PATIENCE, self.begin(message)).await;
        let answer = answer.context("no answer in time").and_then(|answer| answer);
        let Ok((head, body)) = answer else {
            self.target.journal.closed();
            self.connection = None;
            return;
        };
        self.target.journal.began(&head);
        let read = timeout(READ, body.collect()).await;
        if !matches!(read, Ok(Ok(_))) {
            self.connection = None;
        }
    }

    async fn begin(&mut self, message: &Message) -> anyhow::Result<(Parts, Incoming)> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.target.address, self.version).await?,
        };
        let connection = self.connection.insert(connection);
        let request = message.request(self.version, &self.target.token)?;
        Ok(connection.begin(request).await?.into_parts())
    }
}
