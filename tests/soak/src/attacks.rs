//! The attacks: hostile clients that run beside honest ones until the time is up.
//!
//! What an attack gets is judged leniently: any 2xx, 4xx or 503, or the end of its connection. What must not happen shows
//! elsewhere: an honest client without its answer, memory beyond its bound, a process that ends.

mod client;
mod http2;
mod journal;
mod many_values;
mod message;
mod nested;
mod slow_senders;
mod unknown_kids;
mod unread_answers;
mod unread_bodies;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::ValueEnum;
use local_tenant::{LocalTenant, TokenRequest, User};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::journal::Journal;

/// One attack; each has a row in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Attack {
    /// JSON that hides more JSON in strings, thousands of levels deep
    Nested,
    /// More key ids that nobody published than the server remembers, while the key endpoint answers and while it hangs
    UnknownKids,
    /// Large answers that are never read, or a few bytes at a time
    UnreadAnswers,
    /// Bodies full of small JSON values
    ManyValues,
    /// Hundreds of requests that send a byte a second, and hundreds of subscriptions
    SlowSenders,
    /// Bodies that the server does not read, whose end is in doubt, and a smuggled request after them
    UnreadBodies,
}

impl Attack {
    /// The role of the attack's user. Every attack has a user of its own, so that what one is refused protects no server
    /// from another.
    const fn role(self) -> Option<&'static str> {
        match self {
            Self::Nested | Self::UnreadAnswers | Self::ManyValues => Some("Tool Administrator"),
            Self::UnknownKids | Self::SlowSenders | Self::UnreadBodies => None,
        }
    }

    fn user_key(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }

    /// The user that the tenant needs.
    pub(crate) fn user(self) -> User {
        let key = self.user_key();
        User {
            sub: format!("auth0|{key}"),
            key,
            name: None,
            email: None,
            org_id: None,
            claims: std::collections::BTreeMap::new(),
            roles: self.role().map(Into::into).into_iter().collect(),
        }
    }

    async fn run(self, target: Target) {
        match self {
            Self::Nested => nested::run(target).await,
            Self::UnknownKids => unknown_kids::run(target).await,
            Self::UnreadAnswers => unread_answers::run(target).await,
            Self::ManyValues => many_values::run(target).await,
            Self::SlowSenders => slow_senders::run(target).await,
            Self::UnreadBodies => unread_bodies::run(target).await,
        }
    }
}

/// What an attack needs: whom to attack, with what, and where to write down what came of it.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    token: String,
    tenant: Arc<LocalTenant>,
    journal: Arc<Journal>,
}

/// Attacks under way. Dropping them closes their connections.
pub(crate) struct Attacks {
    running: JoinSet<()>,
    pub(crate) journals: Vec<(Attack, Arc<Journal>)>,
}

/// The OAuth client of every attack. Honest clients have another: one client gets its share of the server, and what is left is
/// for the others (`limits.client_percent`).
const HOSTILE_CLIENT: &str = "hostile-app";

impl Attacks {
    /// Starts these attacks; they end when the time is up.
    ///
    /// # Errors
    /// A token that could not be made.
    pub(crate) fn start(
        attacks: &[Attack],
        address: SocketAddr,
        tenant: &Arc<LocalTenant>,
        until: Instant,
    ) -> anyhow::Result<Self> {
        let (mut running, mut journals) = (JoinSet::new(), Vec::new());
        for &attack in attacks {
            let wanted = TokenRequest { user: attack.user_key(), scope: None, audience: None };
            let token = tenant.issue_token_to(HOSTILE_CLIENT, &wanted)?.access_token;
            let journal = Arc::new(Journal::default());
            journals.push((attack, Arc::clone(&journal)));
            let target = Target { address, token, tenant: Arc::clone(tenant), journal };
            running.spawn(async move {
                // Whatever it still has open closes with it.
                let _ = timeout_at(until, attack.run(target)).await;
            });
        }
        Ok(Self { running, journals })
    }

    /// Ends those that are still under way.
    pub(crate) async fn end(&mut self) {
        self.running.shutdown().await;
    }
}
