//! `subscriptions/listen` (2026-07-28, basic/patterns/subscriptions): a stream of changes, until the client closes it, its token
//! expires, or the server ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Change, Principal, Service, Subscription};
use futures_channel::mpsc;
use futures_util::future::{Either, select};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::feedback::BACKLOG;
use crate::message::Request;
use crate::params::bad_params;
use crate::reply::{self, Note, Reply, Source};
use crate::results::rendered;
use crate::streaming::streamed_with;
use crate::{Identity, McpServer, Refusal};

/// What a client wants to hear of, and what it will.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    #[serde(skip_serializing_if = "is_false")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    resources_list_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_subscriptions: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Filter {
    /// What of it there can be news of: resources only as far as the principal may read them.
    fn honoured(self, service: &Service, who: &Principal) -> Self {
        let catalog = &service.catalog;
        let readable = |uri: &String| service.may_read(who, uri);
        Self {
            tools_list_changed: self.tools_list_changed,
            prompts_list_changed: self.prompts_list_changed && catalog.prompts.specs().next().is_some(),
            resources_list_changed: self.resources_list_changed && catalog.resources.specs().next().is_some(),
            resource_subscriptions: self.resource_subscriptions.into_iter().filter(readable).collect(),
        }
    }

    /// The notification for a change, if it is wanted.
    fn notification<'a>(&self, change: &'a Change) -> Option<(&'static str, News<'a>)> {
        let nothing_more = News::default();
        match change {
            Change::Tools if self.tools_list_changed => {
                Some(("notifications/tools/list_changed", nothing_more))
            }
            Change::Prompts if self.prompts_list_changed => {
                Some(("notifications/prompts/list_changed", nothing_more))
            }
            Change::Resources if self.resources_list_changed => {
                Some(("notifications/resources/list_changed", nothing_more))
            }
            Change::Resource(uri) if self.resource_subscriptions.contains(uri) => {
                Some(("notifications/resources/updated", News { uri: Some(uri), ..nothing_more }))
            }
            Change::Tools | Change::Prompts | Change::Resources | Change::Resource(_) | Change::Ending => {
                None
            }
        }
    }
}

/// The `params` of the notifications here.
#[derive(Default, Serialize)]
struct News<'a> {
    /// Of the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<&'a Filter>,
    /// Of the resource that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
}

/// `params`, with what they belong to.
#[derive(Serialize)]
struct Tagged<'a> {
    #[serde(flatten)]
    news: News<'a>,
    #[serde(rename = "_meta")]
    meta: Meta<'a>,
}

/// The last answer's `result`.
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
    server: Arc<McpServer>,
    service: Arc<Service>,
    id: Box<RawValue>,
    filter: Filter,
    changes: mpsc::Receiver<Change>,
    /// Held for its drop.
    _subscription: Subscription,
    /// In the clock's uptime.
    until: Duration,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Beginning,
    Listening,
    Ended,
}

/// Opens the stream.
pub(crate) fn open(
    server: &Arc<McpServer>,
    service: Arc<Service>,
    who: &Principal,
    request: Request<'_>,
    note: Note,
) -> Result<Reply, Refusal> {
    let wanted = request.params.notifications.ok_or_else(|| bad_params("params.notifications is missing"))?;
    let wanted = Filter::deserialize(wanted);
    let wanted = wanted.map_err(|_| bad_params("params.notifications is no subscription filter"))?;
    let (sender, changes) = mpsc::channel(BACKLOG);
    let sender = Mutex::new(sender);
    let subscription = server.announcer.subscribe(move |change| {
        if let Ok(mut sender) = sender.lock() {
            // A client that does not read loses news, as it would by reconnecting.
            let _ = sender.try_send(change.clone());
        }
    });
    let now = service.clock.now();
    let left = who.expires_at().0.saturating_mul(1000).saturating_sub(now.0);
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    let listening = Listening {
        until: service.clock.uptime().saturating_add(left),
        server: Arc::clone(server),
        filter: wanted.honoured(&service, who),
        service,
        id: request.id.to_owned(),
        changes,
        _subscription: subscription,
        phase: Phase::Beginning,
    };
    Ok(streamed_with(Source::Subscription, note, |_| {
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
                self.phase = Phase::Listening;
                let news = News { notifications: Some(&self.filter), ..News::default() };
                return Some(self.notification("notifications/subscriptions/acknowledged", news));
            }
            Phase::Listening => {}
        }
        loop {
            let left = self.until.saturating_sub(self.service.clock.uptime());
            let expired = self.service.clock.sleep(left);
            let change = match select(self.changes.next(), expired).await {
                Either::Left((Some(change), _)) if change != Change::Ending => change,
                Either::Left(_) | Either::Right(_) => {
                    self.phase = Phase::Ended;
                    return Some(self.ending());
                }
            };
            if let Some((method, news)) = self.filter.notification(&change) {
                return Some(self.notification(method, news));
            }
        }
    }

    fn notification(&self, method: &str, news: News<'_>) -> Vec<u8> {
        reply::notification(method, &Tagged { news, meta: Meta { server: None, subscription: &self.id } })
    }

    /// "Graceful Closure": the answer to the request that opened the stream.
    fn ending(&self) -> Vec<u8> {
        let meta = Meta { server: Some(&self.server.settings.identity), subscription: &self.id };
        reply::success(&self.id, &rendered(&Ending { result_type: "complete", meta }))
    }
}
