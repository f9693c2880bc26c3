//! From arguments to what is wanted, and the credentials. The set-up runs, as it would before serving, because upstreams have
//! tools whose scopes count; what it made is shut down.

use auth0_management::Credentials;
use tenant::Wanted;

use super::TenantArguments;
use super::wanted::wanted;
use crate::commands::runtime;
use crate::config::Settings;
use crate::logging;
use crate::server::ServerBuilder;

/// What the commands work with.
pub(super) struct Loaded {
    pub(super) settings: Settings,
    pub(super) wanted: Wanted,
    /// None, if there is no Management access.
    pub(super) credentials: Option<Credentials>,
}

impl Loaded {
    /// Returns the tenant's host, for people.
    pub(super) fn host(&self) -> &str {
        self.settings.managed_tenant.url.host_str().unwrap_or_default()
    }
}

/// Runs what blocks and waits by the clock.
///
/// # Errors
/// Those of the work, or when there is no runtime.
pub(super) fn blocking<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    work()
}

/// Reads the configuration, and what is on offer.
///
/// # Errors
/// When the configuration is at fault, or an upstream is not there: then its scopes are not known.
pub(super) fn load(builder: ServerBuilder, arguments: &TenantArguments) -> anyhow::Result<Loaded> {
    runtime()?.block_on(load_all(builder, arguments))
}

async fn load_all(builder: ServerBuilder, arguments: &TenantArguments) -> anyhow::Result<Loaded> {
    let sources = arguments.service.sources(&builder.profile);
    let credentials = arguments.access.credentials(&sources)?;
    let settings = builder.first_settings(sources.clone())?;
    if !settings.upstreams.is_empty() {
        // What a program writes to its standard error often says why it is not there.
        logging::start(settings.log);
    }
    let shutdown = builder.shutdown.clone();
    let loaded = builder.set_up(sources.clone()).await.and_then(|set_up| {
        let unreached: Vec<String> = set_up.unreached().collect();
        anyhow::ensure!(unreached.is_empty(), "its scopes are not known: {}", unreached.join("; "));
        let settings = set_up.settings(sources)?;
        let wanted = wanted(&settings, &set_up.profile, set_up.offer.catalog()?, &arguments.assign)?;
        Ok(Loaded { settings, wanted, credentials })
    });
    shutdown.run().await;
    loaded
}
