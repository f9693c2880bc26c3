//! The connection to Redis: whether it is there, what happens when it goes and comes back, and what goes out and comes in beside
//! requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Announcer, Change, Clock, MessageReceiver, Subscription, Unreachable};
use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{Cmd, FromRedisValue, Msg, RedisError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::link::{Link, Reason, within};
use crate::names::Names;
use crate::{Options, changes};

/// How long connecting may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);
/// The first and the longest wait between two attempts to connect; each wait is twice the one before.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Who stayed connected for this long begins with the first wait again: what fails soon after connecting waits as well.
const STEADY: Duration = Duration::from_secs(30);
/// How often the subscription is tried: one that is dead without a word would never be noticed.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);
/// How many changes, and places in Redis that are to be cleared, may wait to be sent.
const MAX_OUTGOING: usize = 1024;

/// How many places are written with one command.
const AT_ONCE: usize = 256;

/// Why there is no connection at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the machine gives no randomness")]
pub struct StartError;

/// A connection to Redis, made again whenever it is lost. Clones share it, and it ends with the last of them.
#[derive(Clone)]
pub struct Redis {
    pub(crate) shared: Arc<Shared>,
    _task: Arc<Task>,
}

/// What every part of this crate shares.
pub(crate) struct Shared {
    pub(crate) names: Names,
    pub(crate) clock: Arc<dyn Clock>,
    /// The unguessable id of this replica.
    pub(crate) replica: String,
    options: Options,
    /// `None` while Redis is away.
    link: ArcSwapOption<Link>,
    /// Whether the last attempt to connect came to something; `None` before the first.
    attempt: watch::Sender<Option<bool>>,
    outgoing: mpsc::Sender<Outgoing>,
    announcer: OnceLock<(Announcer, Subscription)>,
    pub(crate) receiver: OnceLock<MessageReceiver>,
    /// What this replica waits for, until when by uptime: written again to a Redis that came back, which may have lost it.
    pub(crate) waiting: Mutex<HashMap<String, Duration>>,
}

/// What is sent when there is time.
pub(crate) enum Outgoing {
    Change(String),
    Forget(String),
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Redis {
    /// Begins to connect. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: Options, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| StartError)?;
        let (outgoing, waiting) = mpsc::channel(MAX_OUTGOING);
        let shared = Arc::new(Shared {
            names: Names::new(options.prefix.clone()),
            clock,
            replica: URL_SAFE_NO_PAD.encode(id),
            options,
            link: ArcSwapOption::empty(),
            attempt: watch::Sender::new(None),
            outgoing,
            announcer: OnceLock::new(),
            receiver: OnceLock::new(),
            waiting: Mutex::default(),
        });
        let task = tokio::spawn(Arc::clone(&shared).run(waiting));
        Ok(Self { shared, _task: Arc::new(Task(task)) })
    }

    /// Completes once it was tried to connect, whatever came of it.
    pub async fn tried(&self) {
        // The sender is in what this has.
        let _ = self.shared.attempt.subscribe().wait_for(Option::is_some).await;
    }

    /// Returns whether Redis is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.link.load().is_some()
    }

    /// Passes changes on between this announcer and those of other replicas, from now on; one announcer at most.
    pub fn share(&self, announcer: &Announcer) {
        self.shared.announcer.get_or_init(|| {
            let shared = Arc::downgrade(&self.shared);
            let subscription = announcer.share(move |change| {
                let Some(shared) = shared.upgrade() else { return };
                if let Some(message) = changes::message(&shared.replica, change) {
                    shared.send_later(Outgoing::Change(message));
                }
            });
            (announcer.clone(), subscription)
        });
    }
}

impl Shared {
    /// Asks Redis, if it is there and answers in time.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unreachable> {
        self.with(async |connection| command.query_async(connection).await).await
    }

    /// Works with the connection. Whatever fails there loses it: it is made anew, and has to show that it works. An answer that is
    /// late loses it only if there was no other meanwhile: or else many requests at a time could bring the server to count nothing.
    pub(crate) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, Unreachable> {
        let Some(link) = self.link.load_full() else { return Err(Unreachable) };
        let mut connection = link.commands();
        let before = link.answered();
        let done = within(&*self.clock, self.options.timeout, work(&mut connection)).await;
        if done.is_ok() {
            link.was_answered();
        }
        done.map_err(|reason| {
            if matches!(reason, Reason::Silent) && link.answered() != before {
                return Unreachable;
            }
            link.lose(reason);
            // At once, so that no other request waits for what is gone; another link stays.
            self.link.compare_and_swap(&Some(link), None);
            Unreachable
        })
    }

    #[cfg(test)]
    pub(crate) async fn connected(&self) {
        let _ = self.attempt.subscribe().wait_for(|attempt| *attempt == Some(true)).await;
    }

    /// Sends something later; it is lost if there is too much already.
    pub(crate) fn send_later(&self, outgoing: Outgoing) {
        let _ = self.outgoing.try_send(outgoing);
    }

    async fn run(self: Arc<Self>, mut waiting: mpsc::Receiver<Outgoing>) {
        let mut wait = FIRST_WAIT;
        loop {
            let began = self.clock.uptime();
            let opened = Link::open(&self.options.address.0, &self.names, &self.replica);
            let reason = match within(&*self.clock, CONNECT, opened).await {
                Ok((link, messages)) => {
                    let link = Arc::new(link);
                    self.came_back(&link);
                    self.wait_again().await;
                    self.serve(&link, messages, &mut waiting).await
                }
                Err(reason) => reason,
            };
            self.went(reason);
            if self.clock.uptime().saturating_sub(began) > STEADY {
                wait = FIRST_WAIT;
            }
            self.clock.sleep(wait).await;
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    fn came_back(&self, link: &Arc<Link>) {
        self.link.store(Some(Arc::clone(link)));
        let before = self.attempt.send_replace(Some(true));
        tracing::info!(redis = %self.options.address, "connected to Redis");
        if before.is_some()
            && let Some((announcer, _)) = self.announcer.get()
        {
            // Other replicas may have announced some meanwhile.
            for change in [Change::Tools, Change::Prompts, Change::Resources] {
                announcer.deliver(&change);
            }
        }
    }

    /// Writes down what is still waited for, some at a time.
    async fn wait_again(&self) {
        let now = self.clock.uptime();
        let waiting: Vec<(String, Duration)> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.retain(|_, until| *until > now);
            waiting.iter().map(|(key, until)| (key.clone(), until.saturating_sub(now))).collect()
        };
        for some in waiting.chunks(AT_ONCE) {
            let mut pipe = redis::pipe();
            for (key, left) in some {
                pipe.add_command(self.place(key, *left)).ignore();
            }
            if self.with(async |connection| pipe.query_async::<()>(connection).await).await.is_err() {
                return;
            }
        }
    }

    /// Returns the command that says that this replica waits for a message.
    pub(crate) fn place(&self, key: &str, at_most: Duration) -> Cmd {
        let millis = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = redis::cmd("SET");
        command.arg(self.names.waiting(key)).arg(&self.replica).arg("PX").arg(millis);
        command
    }

    fn went(&self, reason: Reason) {
        self.link.store(None);
        if self.attempt.send_replace(Some(false)) != Some(false) {
            tracing::warn!(
                redis = %self.options.address,
                "Redis is away: {reason}; until it is there again, quotas are as quota.when_redis_is_away says, and replicas \
                 don't hear of each other"
            );
        }
    }

    /// Passes on what comes and goes, until the link is lost.
    async fn serve(
        &self,
        link: &Link,
        mut messages: PubSubStream,
        waiting: &mut mpsc::Receiver<Outgoing>,
    ) -> Reason {
        let mut is_heard = true;
        let mut beat = self.clock.sleep(HEARTBEAT);
        loop {
            tokio::select! {
                reason = link.lost() => return reason,
                message = messages.next() => match message {
                    Some(message) => {
                        is_heard = true;
                        self.received(&message);
                    }
                    None => return Reason::Unreachable,
                },
                Some(outgoing) = waiting.recv() => self.send(outgoing).await,
                () = &mut beat => {
                    if !std::mem::take(&mut is_heard) {
                        return Reason::Silent;
                    }
                    let own = self.names.replica(&self.replica);
                    let _ = self.ask::<()>(redis::cmd("PUBLISH").arg(own).arg("")).await;
                    beat = self.clock.sleep(HEARTBEAT);
                }
            }
        }
    }

    /// Takes a message of a channel.
    fn received(&self, message: &Msg) {
        let (channel, payload) = (message.get_channel_name(), message.get_payload_bytes());
        if channel == self.names.changes() {
            if let Some(change) = changes::read(&self.replica, payload)
                && let Some((announcer, _)) = self.announcer.get()
            {
                announcer.deliver(&change);
            }
        } else if payload.len() <= self.options.message_bytes
            && let Some(receiver) = self.receiver.get()
            && let Some((key, message)) = crate::replicas::split(payload)
        {
            receiver(key, message);
        }
    }

    async fn send(&self, outgoing: Outgoing) {
        let mut command = Cmd::new();
        match outgoing {
            Outgoing::Change(message) => command.arg("PUBLISH").arg(self.names.changes()).arg(message),
            Outgoing::Forget(key) => command.arg("DEL").arg(self.names.waiting(&key)),
        };
        // What can't be sent is lost: changes are announced when the connection is there again, and places expire.
        let _ = self.ask::<()>(&command).await;
    }
}
