//! [`Upstream`]: one upstream as a [`Provider`], and what keeps it running.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Change, Clock, DynTool, NotReady, Prompt, Provider, Resource};
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream};
use rmcp::model::{ClientRequest, DiscoverRequest, DiscoverRequestParams, PingRequest, SubscriptionFilter};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::connection::{Connection, RequestError, Running};
use crate::legacy;
use crate::lists::Lists;
use crate::options::Options;
use crate::relay::Relay;
use crate::report::Report;
use crate::stderr::shown;
use crate::wire::Reading;

/// The time before an upstream that ended is started again: this, twice as long after each failure, and at most the other.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An upstream that ran for this long is started again after the first wait.
const STEADY: Duration = Duration::from_mins(1);
/// The minimum time between two readings of the lists, whatever an upstream announces.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The time for an answer to the question whether an upstream is still there.
const PROBE: Duration = Duration::from_secs(5);
/// The number of changes that a follower may be behind; one that is further behind reads all lists.
const MAX_BEHIND: usize = 256;

/// Another MCP server, whose tools, resources and prompts are offered here. Clones share it.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Why an upstream is not there; for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the upstream {name}: {problem}")]
pub struct StartError {
    name: String,
    problem: String,
}

/// Completes when a subscription that was there has ended. What it says is taken off before it gets here.
async fn ended(subscription: &mut Option<rmcp::service::Subscription>) {
    match subscription {
        Some(subscription) => while let Ok(Some(_)) = subscription.next().await {},
        None => std::future::pending().await,
    }
}

struct Inner {
    relay: Arc<Relay>,
    state: watch::Sender<State>,
    changes: broadcast::Sender<Change>,
    stop: watch::Sender<bool>,
}

#[derive(Clone, Default)]
struct State {
    is_connected: bool,
    /// Those of the last connection, if there is none now.
    lists: Arc<Lists>,
    /// Why there is none; `None` before the first attempt ended.
    problem: Option<String>,
}

impl Upstream {
    /// Starts connecting; must be called within a tokio runtime.
    #[must_use]
    pub fn start(options: Options, clock: Arc<dyn Clock>) -> Self {
        let inner = Arc::new(Inner {
            relay: Arc::new(Relay::new(options, clock)),
            state: watch::Sender::default(),
            changes: broadcast::Sender::new(MAX_BEHIND),
            stop: watch::Sender::new(false),
        });
        let task = tokio::spawn(Arc::clone(&inner).run());
        Self { inner, task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Waits until the upstream was reached and its lists are there; at most as long as its options give it for the start.
    ///
    /// # Errors
    /// [`StartError`]; it is tried again all the same.
    pub async fn first_lists(&self) -> Result<(), StartError> {
        let mut state = self.inner.state.subscribe();
        // The attempt itself is bounded by the same time, and says more; this is for what comes after it.
        let limit = self.inner.relay.options.limits.start.saturating_mul(2);
        let reached = std::pin::pin!(state.wait_for(|state| state.is_connected || state.problem.is_some()));
        match select(reached, self.inner.relay.clock.sleep(limit)).await {
            Either::Left((Ok(state), _)) if state.is_connected => Ok(()),
            _ => Err(self.inner.start_error()),
        }
    }

    /// Ends the upstream: a child's standard input is closed, then it is sent SIGTERM, then SIGKILL.
    pub async fn stop(&self) {
        self.inner.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// Returns its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.relay.options.name
    }

    /// Returns whether it is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.state.borrow().is_connected
    }

    /// Returns what the upstream has, and what is offered of it.
    #[must_use]
    pub fn report(&self) -> Report {
        let state = self.inner.state.borrow().clone();
        let info = self.inner.relay.connection().and_then(|connection| connection.info());
        let server = info.as_ref().and_then(|info| info.server_info.as_ref());
        let lists = &state.lists;
        Report {
            name: self.inner.relay.options.name.clone(),
            server: server.map(|server| shown(&format!("{} {}", server.name, server.version))),
            protocol: info.as_ref().map(|info| shown(&info.protocol_version.to_string())),
            problem: state.problem.filter(|_| !state.is_connected),
            tools: lists.reported_tools(),
            resources: lists.resources.len(),
            templates: lists.templates.len(),
            prompts: lists.prompts.len(),
            uncovered: lists.uncovered,
        }
    }
}

impl Provider for Upstream {
    fn tools(&self) -> Vec<Arc<dyn DynTool>> {
        self.inner.lists().tools(&self.inner.relay)
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        self.inner.lists().resources(&self.inner.relay)
    }

    fn prompts(&self) -> Vec<Arc<dyn Prompt>> {
        self.inner.lists().prompts(&self.inner.relay)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let next = |mut changes: broadcast::Receiver<Change>| async move {
            match changes.recv().await {
                Ok(change) => Some((change, changes)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((Change::Tools, changes)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        };
        stream::unfold(self.inner.changes.subscribe(), next).boxed()
    }

    fn ready(&self) -> Result<(), NotReady> {
        if self.inner.state.borrow().is_connected {
            return Ok(());
        }
        // Whoever asks need not be known: why it is not there is in the log.
        Err(NotReady(format!("the upstream {} is not there", self.inner.relay.options.name)))
    }
}

/// Returns the error of an upstream that refused, apart from that of one that did not answer.
fn not_refused<T>(answer: Result<T, RequestError>) -> Result<Option<RequestError>, RequestError> {
    match answer {
        Ok(_) => Ok(None),
        Err(error @ RequestError::Refused(_)) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// How a connection ended.
enum End {
    Stopped,
    /// Why.
    Lost(String),
}

impl Inner {
    fn lists(&self) -> Arc<Lists> {
        Arc::clone(&self.state.borrow().lists)
    }

    fn start_error(&self) -> StartError {
        let problem = self.state.borrow().problem.clone();
        let problem = problem.unwrap_or_else(|| "it has not answered yet".to_owned());
        StartError { name: self.relay.options.name.clone(), problem }
    }

    /// Connects, and connects again, until it is stopped.
    async fn run(self: Arc<Self>) {
        let mut wait = FIRST_WAIT;
        let mut stop = self.stop.subscribe();
        loop {
            let began = self.relay.clock.uptime();
            let open = Connection::open(&self.relay.options, &self.relay.clock);
            let opened = tokio::select! {
                opened = open => opened,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let end = match opened {
                Ok((connection, running)) => self.serve(Arc::new(connection), running, &mut stop).await,
                Err(error) => End::Lost(error.to_string()),
            };
            let End::Lost(problem) = end else { return };
            let problem = shown(&problem);
            let name = self.relay.options.name.as_str();
            if self.relay.clock.uptime().saturating_sub(began) > STEADY {
                wait = FIRST_WAIT;
            }
            tracing::warn!(
                upstream = name,
                "not available, trying again in {} s: {problem}",
                wait.as_secs_f64()
            );
            self.relay.set_connection(None);
            self.state.send_modify(|state| (state.is_connected, state.problem) = (false, Some(problem)));
            let stopped = std::pin::pin!(stop.wait_for(|stop| *stop));
            if let Either::Left(_) = select(stopped, self.relay.clock.sleep(wait)).await {
                return;
            }
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    /// Serves by a connection until it is lost, or the upstream is stopped.
    async fn serve(
        self: &Arc<Self>,
        connection: Arc<Connection>,
        running: Running,
        stop: &mut watch::Receiver<bool>,
    ) -> End {
        let token = running.cancellation_token();
        let mut closed = std::pin::pin!(running.waiting());
        let end = tokio::select! {
            _ = &mut closed => return End::Lost(connection.end()),
            _ = stop.wait_for(|stop| *stop) => End::Stopped,
            problem = self.follow_upstream(&connection) => End::Lost(problem),
        };
        self.relay.set_connection(None);
        self.state.send_modify(|state| state.is_connected = false);
        token.cancel();
        let _ = closed.await;
        end
    }

    /// Reads the lists, and again whenever they change; returns why the connection is of no use any more.
    async fn follow_upstream(self: &Arc<Self>, connection: &Arc<Connection>) -> String {
        if let Err(error) = self.in_time(self.prepare(connection)).await {
            return format!("its lists can't be read: {error}");
        }
        // Whether it takes subscriptions.
        let mut tells = true;
        let mut subscription = None;
        let mut subscribed = BTreeSet::new();
        loop {
            let subscribing = async {
                if tells {
                    self.subscribe(connection, &mut subscribed, &mut subscription).await
                } else {
                    Ok(())
                }
            };
            if let Err(error) = self.in_time(subscribing).await {
                if error.is_unknown_method() {
                    tells = false;
                    tracing::info!(
                        upstream = self.relay.options.name,
                        "it does not tell of changes: its lists are read again when it is connected again"
                    );
                    continue;
                }
                tracing::warn!(upstream = self.relay.options.name, "can't subscribe to its changes: {error}");
                if matches!(error, RequestError::Lost(_)) {
                    self.relay.suspect.notify_one();
                }
            }
            tokio::select! {
                () = connection.wire.changed.notified() => {
                    if let Err(error) = self.in_time(self.take_changes(connection)).await {
                        return format!("its lists can't be read: {error}");
                    }
                    self.relay.clock.sleep(MIN_INTERVAL).await;
                }
                () = self.relay.watching.notified() => {}
                () = ended(&mut subscription) => {
                    subscription = None;
                    self.relay.clock.sleep(MIN_INTERVAL).await;
                }
                () = self.relay.suspect.notified() => {
                    if let Err(problem) = self.probe(connection).await {
                        return problem;
                    }
                }
            }
        }
    }

    /// Bounds what the upstream could make wait forever, and everything after it.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let limit = self.relay.options.limits.start;
        match select(std::pin::pin!(work), self.relay.clock.sleep(limit)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                Err(RequestError::Lost(format!("no answer within {} s", limit.as_secs_f64())))
            }
        }
    }

    /// Reads the lists for the first time, and serves by the connection from then on.
    async fn prepare(&self, connection: &Arc<Connection>) -> Result<(), RequestError> {
        let info = connection.info();
        let logs = info.as_ref().is_some_and(|info| info.capabilities.logging.is_some());
        if logs && !connection.is_modern {
            // What it logs by default will do.
            let _ = connection.ask(legacy::set_level_to_info(), Reading::Call).await;
        }
        let lists = Lists::read(&self.relay.options, connection).await?;
        lists.log(&self.relay.options.name);
        let server = info.as_ref().and_then(|info| info.server_info.as_ref());
        let server = server.map(|server| shown(&format!("{} {}", server.name, server.version)));
        self.relay.set_connection(Some(Arc::clone(connection)));
        let state = State { is_connected: true, lists: Arc::new(lists), problem: None };
        self.state.send_replace(state);
        // Only now: whoever reads it may call.
        tracing::info!(upstream = self.relay.options.name, server, "connected");
        self.announce(Change::Tools);
        Ok(())
    }

    async fn take_changes(&self, connection: &Connection) -> Result<(), RequestError> {
        let changes = connection.wire.take_changes();
        for uri in changes.updated {
            self.announce(Change::Resource(uri));
        }
        if !(changes.tools || changes.resources || changes.prompts) {
            return Ok(());
        }
        let lists = Lists::read(&self.relay.options, connection).await?;
        lists.log_unless_as_before(&self.relay.options.name, &self.lists());
        self.state.send_modify(|state| state.lists = Arc::new(lists));
        self.announce(Change::Tools);
        Ok(())
    }

    fn announce(&self, change: Change) {
        // Nobody may follow yet.
        let _ = self.changes.send(change);
    }

    /// Subscribes to what is watched here, and to the lists of a modern upstream.
    async fn subscribe(
        &self,
        connection: &Connection,
        subscribed: &mut BTreeSet<String>,
        subscription: &mut Option<rmcp::service::Subscription>,
    ) -> Result<(), RequestError> {
        let wanted = self.relay.watched();
        let is_first = subscription.is_none();
        if connection.is_modern {
            if is_first || wanted != *subscribed {
                subscribed.clone_from(&wanted);
                let (lists, filter) = (connection.filter(BTreeSet::new()), connection.filter(wanted));
                if filter == SubscriptionFilter::new() {
                    return Ok(());
                }
                let opened = match connection.listen(filter).await {
                    // One caller's resource must not cost the others the lists.
                    Err(RequestError::Refused(_)) if is_first && lists != SubscriptionFilter::new() => {
                        connection.listen(lists).await
                    }
                    opened => opened,
                };
                *subscription = Some(opened?);
            }
            return Ok(());
        }
        if !connection.takes_subscriptions() {
            return Ok(());
        }
        let mut refused = None;
        for uri in wanted.difference(subscribed) {
            let answer = connection.ask(legacy::subscribe(uri), Reading::Call).await;
            // One caller's resource must not cost the others theirs. It is not asked for again.
            refused = not_refused(answer)?.or(refused);
        }
        for uri in subscribed.difference(&wanted) {
            let answer = connection.ask(legacy::unsubscribe(uri), Reading::Call).await;
            refused = not_refused(answer)?.or(refused);
        }
        *subscribed = wanted;
        refused.map_or(Ok(()), Err)
    }

    /// Asks the upstream whether it is there; returns the reason if it is not.
    async fn probe(&self, connection: &Connection) -> Result<(), String> {
        let request = if connection.is_modern {
            ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
        } else {
            ClientRequest::PingRequest(PingRequest::default())
        };
        let answer = std::pin::pin!(connection.ask(request, Reading::Call));
        match select(answer, self.relay.clock.sleep(PROBE)).await {
            Either::Left((Ok(_) | Err(RequestError::Refused(_)), _)) => Ok(()),
            Either::Left((Err(error), _)) => Err(error.to_string()),
            Either::Right(_) => Err("it does not answer".to_owned()),
        }
    }
}
