//! `subscriptions/listen` (2026-07-28, basic/patterns/subscriptions): a stream of changes, until the client closes it, its
//! token expires, or the server ends. Every change is judged by the snapshot that is present when it is sent.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Change, Exhausted, Memory, Principal, Rejection, Service, Subscription, Watch};
use futures_channel::mpsc;
use futures_util::future::{Either, select};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::exchange::Exchange;
use crate::feedback::MAX_QUEUED;
use crate::listing::List;
use crate::params::{bad_params, members};
use crate::reply::{self, LogFields, Refusal, Reply, Source, rendered};
use crate::settings::Identity;
use crate::snapshot::ProtocolSnapshot;
use crate::streaming::streamed_with;
use crate::subscriptions::Subscriptions;

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";

/// The maximum number of resources of one subscription.
const MAX_RESOURCES: usize = 1000;

/// `SubscriptionFilter` in the schema: what a client asks for, and what it gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(skip_serializing_if = "is_false")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    resources_list_changed: bool,
    /// Each URI once.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    resource_subscriptions: BTreeSet<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Filter {
    /// Reads a client's filter; other members are for other servers.
    fn read(filter: Value) -> Result<Self, Refusal> {
        let malformed = || bad_params("params.notifications is no subscription filter");
        if !filter.is_object() {
            return Err(malformed());
        }
        let mut members = members(filter);
        let mut flag = |name: &str| match members.remove(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(malformed),
        };
        let mut wanted = Self {
            tools_list_changed: flag("toolsListChanged")?,
            prompts_list_changed: flag("promptsListChanged")?,
            resources_list_changed: flag("resourcesListChanged")?,
            ..Self::default()
        };
        let resources = match members.remove("resourceSubscriptions") {
            None => Vec::new(),
            Some(Value::Array(resources)) => resources,
            Some(_) => return Err(malformed()),
        };
        for resource in resources {
            let Value::String(uri) = resource else { return Err(malformed()) };
            wanted.resource_subscriptions.insert(uri);
        }
        if wanted.resource_subscriptions.len() > MAX_RESOURCES {
            let text = format!("params.notifications names more than {MAX_RESOURCES} resources");
            return Err(bad_params(text));
        }
        Ok(wanted)
    }

    /// Returns the memory that it takes, in bytes: here and where it is announced, with room for the nodes of sets.
    fn bytes(&self) -> usize {
        self.resource_subscriptions.iter().map(|uri| (uri.len() + 128) + (uri.len() + 192)).sum()
    }

    /// Returns the part of it that can be served: resources only as far as the principal may read them.
    fn honoured(self, service: &Service, principal: &Principal) -> Self {
        let catalog = &service.catalog;
        let readable = |uri: &String| service.may_read(principal, uri);
        Self {
            tools_list_changed: self.tools_list_changed,
            prompts_list_changed: self.prompts_list_changed && catalog.prompts.specs().next().is_some(),
            resources_list_changed: self.resources_list_changed && catalog.resources.specs().next().is_some(),
            resource_subscriptions: self.resource_subscriptions.into_iter().filter(readable).collect(),
        }
    }

    /// Returns the notification for a change, if it was asked for. Whether the principal may have it is judged elsewhere.
    fn notification<'a>(&self, change: &'a Change) -> Option<(&'static str, Params<'a>)> {
        let no_params = Params::default();
        match change {
            Change::Tools if self.tools_list_changed => Some((TOOLS_CHANGED, no_params)),
            Change::Prompts if self.prompts_list_changed => Some((PROMPTS_CHANGED, no_params)),
            Change::Resources if self.resources_list_changed => Some((RESOURCES_CHANGED, no_params)),
            Change::Resource(uri) if self.resource_subscriptions.contains(uri) => {
                Some(("notifications/resources/updated", Params { uri: Some(uri), ..no_params }))
            }
            Change::Tools
            | Change::Prompts
            | Change::Resources
            | Change::Resource(_)
            | Change::Reloaded
            | Change::Ending => None,
        }
    }

    /// Returns whether a subscription has something to do at a change.
    fn concerns(&self, change: &Change) -> bool {
        matches!(change, Change::Reloaded | Change::Ending) || self.notification(change).is_some()
    }

    /// Returns the lists that were asked for, each with the notification for a change of it.
    fn lists(&self) -> impl Iterator<Item = (List, &'static str)> {
        [
            (self.tools_list_changed, List::Tools, TOOLS_CHANGED),
            (self.prompts_list_changed, List::Prompts, PROMPTS_CHANGED),
            (self.resources_list_changed, List::Resources, RESOURCES_CHANGED),
            (self.resources_list_changed, List::Templates, RESOURCES_CHANGED),
        ]
        .into_iter()
        .filter_map(|(is_wanted, list, method)| is_wanted.then_some((list, method)))
    }
}

/// The `params` of the notifications here.
#[derive(Default, Serialize)]
struct Params<'a> {
    /// Of `notifications/subscriptions/acknowledged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<&'a Filter>,
    /// Of `notifications/resources/updated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
}

/// `params`, with their `_meta`.
#[derive(Serialize)]
struct Tagged<'a> {
    #[serde(flatten)]
    params: Params<'a>,
    #[serde(rename = "_meta")]
    meta: Meta<'a>,
}

/// The `result` of the request that opened the stream.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ending<'a> {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: Meta<'a>,
}

#[derive(Serialize)]
struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/serverInfo", skip_serializing_if = "Option::is_none")]
    server: Option<&'a Identity>,
    /// As the client wrote it.
    #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
    subscription: &'a RawValue,
}

/// One open subscription.
struct Listening {
    subscriptions: Arc<Subscriptions>,
    /// What it was judged by last, and the principal that this admitted.
    snapshot: Arc<ProtocolSnapshot>,
    principal: Principal,
    /// The methods of notifications that are still to be sent since then.
    pending: Vec<&'static str>,
    /// Where the memory of the filter is counted.
    _memory: Memory,
    id: Box<RawValue>,
    filter: Arc<Filter>,
    changes: mpsc::Receiver<Change>,
    /// Held for its drop.
    _subscription: Subscription,
    /// Held for their drop: of the resources that were asked for.
    _watches: Vec<Watch>,
    /// Completes when the token expires.
    expired: Pin<Box<dyn Future<Output = ()> + Send>>,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Beginning,
    Listening,
    Ended,
}

/// Handles `subscriptions/listen`.
pub(crate) fn open(exchange: &mut Exchange<'_, '_>, log: LogFields) -> Result<Reply, Refusal> {
    let (served, principal, request) = (exchange.served, exchange.principal, &mut *exchange.request);
    let service = served.snapshot.service();
    let wanted = request.params.take_more().notifications;
    let wanted = wanted.ok_or_else(|| bad_params("params.notifications is missing"))?;
    let mut memory = request.memory.take().ok_or(Exhausted::Pool)?;
    memory.add(wanted.tree_bytes())?;
    let filter = Filter::read(wanted.parse())?.honoured(service, principal);
    memory.add(filter.bytes())?;
    memory.remove(wanted.tree_bytes());
    let (sender, changes) = mpsc::channel(MAX_QUEUED);
    let sender = Mutex::new(sender);
    let filter = Arc::new(filter);
    let wanted = Arc::clone(&filter);
    let resources = filter.resource_subscriptions.iter().map(String::as_str);
    let subscription = served.subscriptions.announcer.subscribe(resources, move |change| {
        // What was not asked for wakes nobody.
        if wanted.concerns(change)
            && let Ok(mut sender) = sender.lock()
        {
            // A client that does not read loses notifications, as it would by reconnecting.
            let _ = sender.try_send(change.clone());
        }
    });
    let watches = filter.resource_subscriptions.iter().filter_map(|uri| service.watch(uri)).collect();
    let now = service.clock.now();
    let left = principal.expires_at().0.saturating_mul(1000).saturating_sub(now.0);
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    let clock = Arc::clone(&service.clock);
    let until = clock.uptime().saturating_add(left);
    let listening = Listening {
        expired: Box::pin(async move { clock.sleep(until.saturating_sub(clock.uptime())).await }),
        subscriptions: Arc::clone(served.subscriptions),
        snapshot: Arc::clone(served.snapshot),
        principal: principal.clone().without_token(),
        pending: Vec::new(),
        _memory: memory,
        filter,
        id: request.id.to_owned(),
        changes,
        _subscription: subscription,
        _watches: watches,
        phase: Phase::Beginning,
    };
    Ok(streamed_with(Source::Subscription, log, |_| {
        stream::unfold(listening, |mut listening| async move {
            let message = listening.next().await?;
            Some((message, listening))
        })
    }))
}

impl Listening {
    async fn next(&mut self) -> Option<Vec<u8>> {
        match self.phase {
            Phase::Ended => return None,
            Phase::Beginning => {
                // The configuration may have been read again since the request came.
                if self.judge_again().is_err() {
                    self.phase = Phase::Ended;
                    return Some(self.ending());
                }
                self.phase = Phase::Listening;
                let params = Params { notifications: Some(self.filter.as_ref()), ..Params::default() };
                return Some(self.notification("notifications/subscriptions/acknowledged", params));
            }
            Phase::Listening => {}
        }
        loop {
            if let Some(method) = self.pending.pop() {
                return Some(self.notification(method, Params::default()));
            }
            let change = match select(self.changes.next(), &mut self.expired).await {
                Either::Left((Some(change), _)) if change != Change::Ending => change,
                Either::Left(_) | Either::Right(_) => {
                    self.phase = Phase::Ended;
                    return Some(self.ending());
                }
            };
            if self.judge_again().is_err() {
                self.phase = Phase::Ended;
                return Some(self.ending());
            }
            if let Some((method, params)) =
                self.filter.notification(&change).filter(|_| self.may_receive(&change))
            {
                return Some(self.notification(method, params));
            }
        }
    }

    /// Judges by the present snapshot from now on, if that is another one: whether the token is still acceptable, and which
    /// lists differ for its principal.
    fn judge_again(&mut self) -> Result<(), Rejection> {
        let Some(present) = self.subscriptions.newer_than(&self.snapshot) else {
            return Ok(());
        };
        let service = present.service();
        let principal = service.tokens.readmit(&self.principal, service.clock.now().seconds())?;
        for (list, method) in self.filter.lists() {
            let differs = self.snapshot.view(list, &self.principal) != present.view(list, &principal);
            if differs && !self.pending.contains(&method) {
                self.pending.push(method);
            }
        }
        (self.snapshot, self.principal) = (present, principal);
        Ok(())
    }

    /// Returns whether the change is of something that the principal may see now. Lists are filtered when they are asked for.
    fn may_receive(&self, change: &Change) -> bool {
        match change {
            Change::Resource(uri) => self.snapshot.service().may_read(&self.principal, uri),
            _ => true,
        }
    }

    fn notification(&self, method: &str, params: Params<'_>) -> Vec<u8> {
        reply::notification(method, &Tagged { params, meta: Meta { server: None, subscription: &self.id } })
    }

    /// Returns the response to the request that opened the stream ("Graceful Closure").
    fn ending(&self) -> Vec<u8> {
        let meta = Meta { server: Some(&self.snapshot.settings.identity), subscription: &self.id };
        reply::success(&self.id, &rendered(&Ending { result_type: "complete", meta }))
    }
}
