//! The validated configuration: its sections, each of which owns its keys. Whoever holds [`Settings`] need not check anything
//! again.
//!
//! A key is a `Key` in its section's file, read into a field there. A section is a file with `KEYS` and `read`, named as a
//! module and in `sections!` below. config/default.toml has the default and the comment, and `cargo run --example
//! config_tables` writes the tables of docs/configuration.md.

pub mod admin;
pub mod audit;
pub mod auth0;
pub(super) mod context;
pub mod downstream;
pub mod endpoints;
pub mod http;
pub mod keys;
pub mod limits;
pub mod log;
pub mod managed_tenant;
pub mod mcp;
pub mod quota;
pub mod redis;
pub mod rules;
pub mod scopes;
pub mod server;
pub mod tls;
pub mod tokens;
pub mod tools;
pub mod traces;
pub mod upstreams;

use std::collections::BTreeMap;
use std::sync::Arc;

use config::Value;
use domain::{TokenPolicy, ToolName};
use jwks_verifier::IdentityProvider;
use mcp_protocol::McpSettings;
use url::Url;

use self::context::Context;
use super::key::{Keys, Reload};
use super::own::OwnSections;
use super::problem::Problems;
use super::reader::Reader;
use super::value::Effective;

/// Makes [`Settings`] of sections. They are read in this order, each with those before it that it names in parentheses.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident($($earlier:ident),*): $section:ty,)+) => {
        /// Everything that can be configured, validated.
        #[derive(Debug)]
        pub struct Settings {
            $($(#[$doc])* pub $name: $section,)+
            /// The identity provider that the issuer belongs to.
            pub identity_provider: Arc<dyn IdentityProvider>,
            /// Every value in force, section by section.
            pub effective: Vec<Effective>,
            /// The `[tenant]` table, for `dev`.
            pub tenant: Option<Value>,
            /// The tables of the server's own.
            pub own: OwnSections,
            /// What is probably not meant, a line each.
            pub warnings: Vec<String>,
        }

        /// The keys of every section.
        pub(super) static KEYS: Keys = Keys(&[$($name::KEYS),+]);

        impl Settings {
            pub(super) fn read(mut reader: Reader, context: Context<'_>) -> Result<Self, Problems> {
                $(let $name = $name::read(&mut reader, &context $(, &$earlier)*);)+
                let (tenant, own) = (reader.take("tenant"), reader.own_sections());
                let (effective, warnings) = reader.finish()?;
                let identity_provider = context.provider;
                Ok(Self { $($name,)+ identity_provider, effective, tenant, own, warnings })
            }
        }
    };
}

sections! {
    /// Where the server listens, and how clients reach it.
    server(): server::Server,
    /// Where the certificate of the listening sockets is, if they have TLS.
    tls(server): Option<tls::TlsFiles>,
    /// Whose tokens are accepted, and for which audience.
    auth0(): auth0::Auth0,
    /// What the commands `tenant` ask of the Auth0 tenant.
    managed_tenant(auth0): managed_tenant::ManagedTenant,
    /// When a token is acceptable.
    tokens(): tokens::Tokens,
    /// Further addresses under which clients reach the server.
    endpoints(server, tls): Vec<endpoints::NamedEndpoint>,
    /// How signing keys are fetched.
    keys(auth0): jwks_verifier::Options,
    /// Which web pages may call, and which hosts are answered to.
    http(): http::Http,
    /// How much of anything there may be at a time, and for how long.
    limits(): limits::Limits,
    /// How the server presents itself to clients, and how it serves lists and questions.
    mcp(): mcp::Mcp,
    /// How to log.
    log(): log::Log,
    /// The operator's listener.
    admin(server): admin::Admin,
    /// Where audit events go, if anywhere.
    audit(): Option<audit_log::Options>,
    /// Where spans go, if anywhere.
    traces(mcp): Option<otlp_traces::Options>,
    /// Deviations from what the tools themselves say.
    tools(): BTreeMap<ToolName, tools::ToolRule>,
    /// Where replicas share what they have to, if anywhere.
    redis(mcp, limits): Option<redis_shared::Options>,
    /// How often subjects, clients, tools and addresses may ask.
    quota(server, redis): quota::Quota,
    /// Rules beyond scopes.
    rules(): rules::Rules,
    /// Which scopes a first login asks for, and which scopes imply others.
    scopes(tools, rules): scopes::Scopes,
    /// Other APIs that tools may call on behalf of callers.
    downstream(auth0, endpoints): Option<downstream::Downstream>,
    /// Other servers that are offered through this one.
    upstreams(limits, downstream): Vec<upstream_mcp::Options>,
}

/// Returns whether a reload applies the change of a key. The tables of the server's own are for the set-up, which has run.
pub(crate) fn reload(key: &str) -> Reload {
    KEYS.iter().find(|known| known.is(key)).map_or(Reload::RestartRequired, |known| known.reload)
}

impl Settings {
    /// Returns the URL below which clients reach the server, once its port is known.
    #[must_use]
    pub fn base_url(&self, port: u16) -> Url {
        self.server.base_url(port, self.tls.is_some())
    }

    /// Returns when a token is acceptable, at any of the endpoints.
    #[must_use]
    pub fn token_policy(&self) -> TokenPolicy {
        let auth0 = &self.auth0;
        let issuers = std::iter::once(&auth0.issuer).chain(&auth0.additional_issuers);
        let others = self.endpoints.iter().filter_map(|endpoint| endpoint.audience.as_ref());
        TokenPolicy {
            token_types: self.identity_provider.token_types(),
            issuers: issuers.cloned().collect(),
            resources: std::iter::once(&auth0.audience).chain(others).cloned().collect(),
            additional_audiences: auth0.additional_audiences.clone(),
            leeway: self.tokens.leeway,
            authority: self.tokens.authority,
            hierarchy: Arc::clone(&self.scopes.hierarchy),
        }
    }

    /// Returns the settings of the protocol.
    #[must_use]
    pub fn protocol(&self) -> McpSettings {
        McpSettings {
            identity: self.mcp.identity.clone(),
            json_depth: self.limits.json_depth,
            list_ttl_ms: self.mcp.list_ttl_ms,
            page_size: self.mcp.page_size,
            answer_timeout: self.mcp.answer_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_judged_by_the_key_and_unknown_ones_take_a_restart() {
        for (key, expected) in [
            ("server.bind", Reload::RestartRequired),
            ("server.port", Reload::RestartRequired),
            ("server.url", Reload::Applied),
            ("tls.key_file", Reload::RestartRequired),
            ("auth0.domain", Reload::FetchesKeys),
            ("auth0.issuer", Reload::FetchesKeys),
            ("auth0.audience", Reload::Applied),
            ("keys.refresh_seconds", Reload::FetchesKeys),
            ("limits.connections", Reload::RestartRequired),
            ("limits.memory_bytes", Reload::RestartRequired),
            ("limits.tool_seconds", Reload::Applied),
            ("limits.json_depth", Reload::Applied),
            ("log.level", Reload::RestartRequired),
            ("admin.bind", Reload::RestartRequired),
            ("audit.to", Reload::RestartRequired),
            ("traces.sample_ratio", Reload::RestartRequired),
            ("quota.tools.\"a.b\".weight", Reload::Applied),
            ("quota.when_redis_is_away", Reload::Applied),
            ("redis.url", Reload::RestartRequired),
            ("tools.\"a.b\".scopes", Reload::Applied),
            ("rules.large-payments.arguments", Reload::Applied),
            ("rules.pro.claims.\"https://a.example/plan\"", Reload::Applied),
            ("endpoints.internal.url", Reload::Applied),
            ("scopes.implies.\"notes:admin\"", Reload::Applied),
            ("downstream.client_secret", Reload::Applied),
            ("downstream.apis.orders.scopes", Reload::Applied),
            ("upstreams.tickets.downstream", Reload::RestartRequired),
            ("orders.url", Reload::RestartRequired),
            ("upstreams.files.command", Reload::RestartRequired),
            ("upstreams.files.tools.\"a.*\".scopes", Reload::RestartRequired),
        ] {
            assert_eq!(reload(key), expected, "{key}");
        }
    }
}
