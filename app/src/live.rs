//! A running server, and what replaces what it serves: another configuration, or other tools of a provider.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{Announcer, Change, Clock, TokenVerifier};
use futures_util::stream::{BoxStream, SelectAll, StreamExt};
use hyper_transport::ReloadHandle;

use crate::certificates::Certificates;
use crate::config::{Fingerprint, Reload, Settings, reload};
use crate::signals::Hangups;
use crate::systemd;
use crate::upstream_rules::RuleWarnings;
use crate::wiring::{self, Ports, http_settings, sealing_keys, snapshot};

/// The minimum time between two snapshots that changes of providers cause.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The settings and ports of a running server, which a reload compares with what it reads.
pub(crate) struct Live {
    handle: ReloadHandle,
    /// The port that the server listens on.
    port: u16,
    settings: Settings,
    ports: Ports,
    changes: Changes,
    certificates: Certificates,
    rule_warnings: RuleWarnings,
    /// What the providers had when that was last served.
    provided: Fingerprint,
    /// Whether the verifier stays, whatever the configuration says of the issuer.
    pub(crate) keeps_verifier: bool,
}

/// The changes of what providers have since before the first snapshot was made.
pub(crate) struct Changes {
    stream: SelectAll<BoxStream<'static, Change>>,
    /// Where the updates of resources go.
    announcer: Announcer,
    clock: Arc<dyn Clock>,
    /// When the last one was handled, in uptime.
    last: Option<Duration>,
}

impl Changes {
    pub(crate) fn of(ports: &Ports) -> Self {
        Self {
            stream: ports.offer.changes(),
            announcer: ports.announcer.clone(),
            clock: Arc::clone(&ports.clock),
            last: None,
        }
    }

    /// Completes at the next change of a list, but not sooner than [`MIN_INTERVAL`] after the one before; never without a provider.
    async fn next(&mut self) {
        if let Some(last) = self.last {
            let rest = (last + MIN_INTERVAL).saturating_sub(self.clock.uptime());
            if !rest.is_zero() {
                self.clock.sleep(rest).await;
            }
        }
        loop {
            match self.stream.next().await {
                // Every replica has its providers, and hears of it by itself.
                Some(update @ Change::Resource(_)) => self.announcer.deliver(&update),
                Some(_) => break,
                None => return std::future::pending().await,
            }
        }
        self.last = Some(self.clock.uptime());
    }
}

impl Live {
    /// `changes` must be older than the snapshot that is served.
    pub(crate) fn new(
        handle: ReloadHandle,
        port: u16,
        settings: Settings,
        ports: Ports,
        changes: Changes,
        rule_warnings: RuleWarnings,
    ) -> Self {
        let provided = ports.offer.provided_now();
        let certificates = Certificates::new(settings.tls.clone(), Arc::clone(&ports.clock));
        Self {
            handle,
            port,
            settings,
            ports,
            changes,
            certificates,
            rule_warnings,
            provided,
            keeps_verifier: false,
        }
    }

    /// Serves what the providers and the certificate's files have, whenever that changes.
    pub(crate) async fn follow_providers(mut self) {
        loop {
            tokio::select! {
                () = self.changes.next() => self.refresh(),
                () = self.certificates.due() => self.certificates.refresh(&self.handle).await,
            }
        }
    }

    /// Serves what the providers and the certificate's files have, whenever that changes, and what `load` reads at every
    /// SIGHUP: all of it, or none.
    pub(crate) async fn follow(
        mut self,
        mut hangups: Hangups,
        load: impl Fn(&Ports) -> anyhow::Result<Settings>,
    ) {
        loop {
            tokio::select! {
                () = self.changes.next() => self.refresh(),
                () = self.certificates.due() => self.certificates.refresh(&self.handle).await,
                hangup = hangups.next() => match hangup {
                    Some(()) => {
                        systemd::reloading();
                        if let Some(log) = &self.ports.audit_log {
                            log.reopen();
                        }
                        self.certificates.refresh(&self.handle).await;
                        self.reload(&load).await;
                        systemd::ready("the configuration was read again");
                    }
                    None => return self.follow_providers().await,
                },
            }
        }
    }

    /// Serves what the providers have now.
    fn refresh(&mut self) {
        self.rule_warnings.log(&self.settings);
        match self.replace(&self.settings, &self.ports) {
            Ok(()) => {
                let provided = self.ports.offer.provided_now();
                if provided != self.provided {
                    self.provided = provided;
                    tracing::info!("the lists changed");
                }
            }
            Err(error) => {
                tracing::error!("the lists changed and can't be served, those from before are: {error:#}");
            }
        }
    }

    async fn reload(&mut self, load: impl Fn(&Ports) -> anyhow::Result<Settings>) {
        let loaded = load(&self.ports);
        let applied = match loaded {
            Ok(new) => self.apply(new).await,
            Err(error) => Err(error),
        };
        match applied {
            Ok(changed) => tracing::info!(changed = changed.join(", "), "the configuration was read again"),
            Err(error) => {
                tracing::error!("the new configuration is refused, the old one serves on: {error:#}");
            }
        }
    }

    /// Applies other settings, and returns the keys that changed.
    async fn apply(&mut self, new: Settings) -> anyhow::Result<Vec<String>> {
        let changed = changed(&self.settings, &new);
        let fixed: Vec<&str> =
            changed.iter().map(String::as_str).filter(|key| reload(key) == Reload::RestartRequired).collect();
        anyhow::ensure!(fixed.is_empty(), "it changes {}, which takes a restart", fixed.join(", "));
        let mut ports = self.ports.clone();
        if !self.keeps_verifier && changed.iter().any(|key| reload(key) == Reload::FetchesKeys) {
            ports.verifier = ready_verifier(&new, &ports).await?;
        }
        if new.downstream.as_ref().map(|new| &new.exchange) != self.exchange_options() {
            ports.exchange = wiring::token_exchange(&new, &ports.clock);
        }
        self.replace(&new, &ports)?;
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        (self.settings, self.ports) = (new, ports);
        Ok(changed)
    }

    fn exchange_options(&self) -> Option<&auth0_token_exchange::Options> {
        self.settings.downstream.as_ref().map(|downstream| &downstream.exchange)
    }

    fn replace(&self, settings: &Settings, ports: &Ports) -> anyhow::Result<()> {
        // A key that this process made is kept: clients hold states that it sealed.
        let same = settings.mcp.state_keys == self.settings.mcp.state_keys;
        let keys = if same { self.handle.sealing_keys() } else { sealing_keys(settings) };
        self.handle.replace(&http_settings(settings, self.port), snapshot(settings, ports.clone(), keys)?);
        Ok(())
    }
}

/// Starts a verifier, and returns it once it has fetched the issuer's keys: without them it would refuse every request.
async fn ready_verifier(settings: &Settings, ports: &Ports) -> anyhow::Result<Arc<dyn TokenVerifier>> {
    let verifier = wiring::verifier(settings, Arc::clone(&ports.clock), &ports.observer);
    let mut status = verifier.status();
    let fetched = status.wait_for(|status| status.finished() > 0);
    tokio::select! {
        fetched = fetched => drop(fetched?),
        () = ports.clock.sleep(2 * settings.keys.fetch_timeout) => {}
    }
    verifier.ready().map_err(|reason| anyhow::anyhow!("the issuer's keys can't be had: {reason}"))?;
    Ok(Arc::new(verifier))
}

/// Returns the keys whose values differ, and those that only one of the two has.
fn changed(old: &Settings, new: &Settings) -> Vec<String> {
    let values = |settings: &Settings| -> BTreeMap<String, Fingerprint> {
        settings.effective.iter().map(|value| (value.key.clone(), value.fingerprint)).collect()
    };
    let (before, now) = (values(old), values(new));
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != now.get(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::Deserialize;

    use super::changed;
    use crate::config::{Reload, Section, Settings, Sources, reload};

    #[derive(Deserialize)]
    struct Own {
        #[serde(rename = "token")]
        _token: String,
    }

    fn settings(configure: impl FnOnce(Sources) -> Sources) -> Settings {
        let sources = Sources::defaults().section(Section::of::<Own>("own")).secret("own.token");
        let sources = sources.set("test", "auth0.domain", "tenant.eu.auth0.com");
        let sources = sources.set("test", "auth0.audience", "urn:api").set("test", "own.token", "one");
        Settings::load(configure(sources), &crate::wiring::shipped().catalog().unwrap()).unwrap()
    }

    #[test]
    fn any_change_of_an_upstream_takes_a_restart_also_of_what_is_not_shown() {
        let with = |env: &str, inherited: &str, url: &str| {
            let toml = format!(
                "[upstreams.files]\ncommand = [\"/s\"]\nenv.KEY = \"{env}\"\ninherit_env = [\"TOKEN\"]\n\
                 [upstreams.tickets]\nurl = \"https://tickets.example.org/{url}\"\n"
            );
            let environment = [("TOKEN".to_owned(), inherited.to_owned())];
            settings(|sources| sources.text("my.toml", &toml).environment(&environment))
        };
        let old = with("one", "one", "one");
        assert_eq!(changed(&old, &with("one", "one", "one")), [""; 0]);
        for (new, key) in [
            (with("two", "one", "one"), "upstreams.files.env.KEY"),
            (with("one", "two", "one"), "upstreams.files.inherit_env"),
            (with("one", "one", "two"), "upstreams.tickets.url"),
        ] {
            assert_eq!(changed(&old, &new), [key]);
            assert_eq!(reload(key), Reload::RestartRequired, "{key}");
        }
    }

    #[test]
    fn another_secret_in_the_same_file_is_a_change_that_a_reload_applies() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let with = |secret: &str| {
            std::fs::write(&file, secret).unwrap();
            let toml = "[downstream]\nclient_id = \"c\"\n[downstream.apis.orders]\naudience = \"urn:orders\"\nscopes = [\"a\"]\n";
            let file = file.to_str().unwrap();
            settings(|s| s.text("my.toml", toml).set("test", "downstream.client_secret_file", file))
        };
        let (old, same, new) = (with("one"), with("one"), with("two"));
        assert_eq!(changed(&old, &same), [""; 0]);
        assert_eq!(old.downstream, same.downstream);
        assert_eq!(changed(&old, &new), ["downstream.client_secret_file"]);
        assert_ne!(old.downstream, new.downstream);
        assert_eq!(reload("downstream.client_secret_file"), Reload::Applied);
    }

    #[test]
    fn another_secret_is_a_change_although_neither_is_shown() {
        let (old, new) = (settings(|sources| sources), settings(|s| s.set("test", "own.token", "two")));
        assert_eq!(changed(&old, &new), ["own.token"]);
        assert_eq!(changed(&old, &settings(|sources| sources)), [""; 0]);
        let key = |byte: u8| STANDARD.encode([byte; 32]);
        let keyed = |byte| settings(|s| s.set("test", "mcp.state_keys", vec![key(byte)]));
        assert_eq!(changed(&keyed(1), &keyed(2)), ["mcp.state_keys"]);
        assert_eq!(changed(&keyed(1), &keyed(1)), [""; 0]);
        assert_eq!(changed(&old, &keyed(1)), ["mcp.state_keys"]);
        assert!(!format!("{old:?}").contains("one\""), "{old:?}");
    }
}
