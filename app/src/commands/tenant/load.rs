//! From arguments to what is wanted, and the credentials. The set-up runs, as it would before serving, because upstreams have
//! tools whose scopes count; what it made is shut down.

use auth0_management::Credentials;
use domain::ScopeSet;
use tenant::Wanted;

use super::TenantArguments;
use super::wanted::wanted;
use crate::commands::{loading, runtime};
use crate::config::Settings;
use crate::server::ServerBuilder;
use crate::wiring;

/// What the commands work with.
pub(super) struct Loaded {
    pub(super) settings: Settings,
    pub(super) wanted: Wanted,
    /// What this program is called.
    pub(super) program: &'static str,
    /// What a first login asks for.
    pub(super) login_scopes: ScopeSet,
    /// None, if there is no Management access.
    pub(super) credentials: Option<Credentials>,
}

impl Loaded {
    /// Returns the tenant's host, for people; with the port, where it has one.
    pub(super) fn host(&self) -> &str {
        self.settings.managed_tenant.url.authority()
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
    loading::load(builder, sources, async |set_up, settings, catalog| {
        let unreached: Vec<String> = set_up.unreached().collect();
        anyhow::ensure!(unreached.is_empty(), "{}; the scopes of its tools are needed", unreached.join("; "));
        let catalog = wiring::without_switched_off(&settings, catalog);
        let wanted = wanted(&settings, &set_up.profile, &catalog, &arguments.assign)?;
        let login_scopes = wiring::scopes(&settings, &catalog)?.login_scopes().clone();
        let program = set_up.profile.name;
        Ok(Loaded { settings, wanted, program, login_scopes, credentials })
    })
    .await
}
