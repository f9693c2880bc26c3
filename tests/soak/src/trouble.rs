//! What happens meanwhile: keys rotate and are revoked, the issuer fails, the configuration changes. Before each change the
//! scene says that either answer is right, and a while after it that only the new one is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use local_tenant::{Api, Dialect, Fault, KeysAnswer, LocalTenant, Options, TokenForm, TokenRequest, User};
use tokio::time::sleep;

use crate::scene::{Certainty, Stage, Tokens};
use crate::server::{AUDIENCE, Server};

const OTHER_AUDIENCE: &str = "https://other.example/";
/// A reload, or a key that somebody asks for, is in force by then: `keys.min_fetch_interval_seconds` twice, and slack.
const SETTLED: Duration = Duration::from_secs(4);
/// Nobody asks for a key that is gone, so that only the next refresh tells: `keys.refresh_seconds`, and slack.
const REFRESHED: Duration = Duration::from_secs(13);
/// How long a state lasts.
const HOLD: Duration = Duration::from_secs(4);
/// How many tokens of the commonest kind are in circulation; every change of keys makes others.
const POOL: usize = 32;
/// The ways in which the issuer fails, one after the other.
const FAILURES: [KeysAnswer; 6] = [
    KeysAnswer::Status { status: 500 },
    KeysAnswer::Slow { milliseconds: 2000 },
    KeysAnswer::Hang,
    KeysAnswer::Garbage,
    KeysAnswer::Empty,
    KeysAnswer::Huge,
];

/// The tenant, with tokens that are all different, and for another API, too; with more users than the usual ones.
///
/// # Errors
/// Why it does not start.
pub(crate) async fn tenant(more: Vec<User>) -> anyhow::Result<LocalTenant> {
    let mut options = Options::default().with_api_identifier(AUDIENCE);
    options.users.extend(more);
    options.api.dialect = Dialect::Rfc9068Profile;
    let other = Api { identifier: Some(OTHER_AUDIENCE.into()), ..options.api.clone() };
    options.other_apis.push(other);
    Ok(LocalTenant::start(options).await?)
}

/// Changes the world until it is dropped.
pub(crate) struct Trouble {
    pub(crate) tenant: Arc<LocalTenant>,
    pub(crate) server: Arc<Server>,
    pub(crate) stage: Arc<Stage>,
}

impl Trouble {
    /// # Errors
    /// A signal, a file or a token that failed.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        for round in 0_usize.. {
            self.rotate(1).await?;
            let tokens = mint(&self.tenant).await?;
            self.stage
                .change(|scene| scene.tokens = Tokens { revoked: scene.tokens.revoked.clone(), ..tokens });
            self.reload().await?;
            self.outage([FAILURES[2 * round % 6], FAILURES[(2 * round + 1) % 6]]).await?;
            self.revoke().await?;
        }
        Ok(())
    }

    async fn inject(&self, fault: Fault) -> anyhow::Result<()> {
        let tenant = Arc::clone(&self.tenant);
        Ok(tokio::task::spawn_blocking(move || tenant.inject(&fault)).await?)
    }

    async fn rotate(&self, times: usize) -> anyhow::Result<()> {
        for _ in 0..times {
            self.inject(Fault::RotateKeys).await?;
        }
        Ok(())
    }

    /// Nobody may greet, then those may who might before.
    async fn reload(&self) -> anyhow::Result<()> {
        for (scope, then) in [(Some("nobody:has"), Certainty::No), (None, Certainty::Yes)] {
            self.stage.change(|scene| scene.greet = Certainty::Either);
            self.server.reload(scope)?;
            sleep(SETTLED).await;
            self.stage.change(|scene| scene.greet = then);
            sleep(HOLD).await;
        }
        Ok(())
    }

    /// The issuer fails, and meanwhile signs with a key that it never told of.
    async fn outage(&self, failures: [KeysAnswer; 2]) -> anyhow::Result<()> {
        self.stage.change(|scene| (scene.issuer, scene.fresh) = (Certainty::Either, Certainty::Either));
        self.inject(Fault::Keys(failures[0])).await?;
        self.rotate(2).await?;
        let fresh = mint(&self.tenant).await?.admin;
        self.stage.change(|scene| scene.tokens.fresh = fresh);
        for failure in failures {
            self.inject(Fault::Keys(failure)).await?;
            sleep(HOLD).await;
        }
        self.inject(Fault::Keys(KeysAnswer::Good)).await?;
        // A fetch that hung may have to time out first.
        sleep(2 * SETTLED).await;
        self.stage.change(|scene| (scene.issuer, scene.fresh) = (Certainty::Yes, Certainty::Yes));
        Ok(())
    }

    /// What earlier keys signed is worth nothing any more.
    async fn revoke(&self) -> anyhow::Result<()> {
        let tokens = mint(&self.tenant).await?;
        self.stage.change(|scene| {
            let revoked = std::mem::replace(&mut scene.tokens, tokens).admin;
            (scene.tokens.revoked, scene.revoked) = (revoked, Certainty::Either);
        });
        // Requests under way still have tokens of those keys.
        sleep(SETTLED).await;
        self.inject(Fault::RevokePreviousKeys).await?;
        sleep(REFRESHED).await;
        self.stage.change(|scene| scene.revoked = Certainty::No);
        sleep(HOLD).await;
        Ok(())
    }
}

/// Tokens of every sort, signed with the present key.
///
/// # Errors
/// One that could not be made.
pub(crate) async fn mint(tenant: &Arc<LocalTenant>) -> anyhow::Result<Tokens> {
    let tenant = Arc::clone(tenant);
    tokio::task::spawn_blocking(move || minted(&tenant)).await?
}

fn minted(tenant: &LocalTenant) -> anyhow::Result<Tokens> {
    let some = |user: &str, scope: Option<&str>, audience: Option<&str>, count: usize| {
        let (scope, audience) = (scope.map(Into::into), audience.map(Into::into));
        let request = TokenRequest { user: user.into(), scope, audience };
        let one = |_| Ok(tenant.issue_token(&request)?.access_token);
        (0..count).map(one).collect::<anyhow::Result<Vec<String>>>().context("no token")
    };
    tenant.inject(&Fault::Tokens { form: TokenForm::Expired });
    let expired = some("admin", None, None, POOL / 4);
    tenant.inject(&Fault::Tokens { form: TokenForm::Jwt });
    let admin = some("admin", None, None, POOL)?;
    Ok(Tokens {
        expired: expired?,
        user: some("user", None, None, POOL / 2)?,
        poor: some("admin", Some("tool:whoami"), None, POOL / 4)?,
        foreign: some("admin", None, Some(OTHER_AUDIENCE), POOL / 4)?,
        fresh: admin.clone(),
        admin,
        revoked: Vec::new(),
    })
}
