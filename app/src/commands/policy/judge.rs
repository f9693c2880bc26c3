//! What a configuration decides of a caller who is described, by the code that decides on requests.

use std::sync::Arc;

use domain::rules::judge;
use domain::{
    AccessRequest, AccessRules, Catalog, Claims, Denial, ExtraClaims, Judged, PolicyVersion, Principal,
    Rejection, ScopePolicy, ScopeSet, Target, TokenPolicy, UnixSeconds,
};
use serde_json::Value;

use crate::config::Settings;
use crate::wiring::{scopes, without_switched_off};

/// The policy of a configuration.
pub(super) struct Policy {
    catalog: Catalog,
    scopes: ScopePolicy,
    rules: Option<Arc<dyn AccessRules>>,
    tokens: TokenPolicy,
}

/// Somebody with a token, as far as that is known.
pub(super) struct Caller {
    pub(super) subject: String,
    pub(super) client_id: String,
    pub(super) issuer: String,
    pub(super) audience: Arc<str>,
    pub(super) organization: Option<String>,
    pub(super) scopes: ScopeSet,
    pub(super) extra: ExtraClaims,
}

/// Why something is refused, and by which rules.
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) rules: Vec<String>,
}

impl Policy {
    pub(super) fn new(settings: &Settings, catalog: Catalog) -> anyhow::Result<Self> {
        let catalog = without_switched_off(settings, catalog);
        Ok(Self {
            scopes: scopes(settings, &catalog)?,
            rules: settings.rules.access(&settings.identity_provider),
            tokens: settings.token_policy(),
            catalog,
        })
    }

    /// Returns the version, as audit events have it.
    pub(super) fn version(&self) -> String {
        PolicyVersion::of(&self.tokens, &self.catalog, &self.scopes, self.rules.as_deref()).to_string()
    }

    pub(super) const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the principal that a token of a caller's makes now.
    pub(super) fn admit(&self, caller: Caller, now: UnixSeconds) -> Result<Principal, Rejection> {
        let Caller { subject, client_id, issuer, audience, organization, scopes, extra } = caller;
        let claims = Claims {
            token_type: self.tokens.token_types.first().map(|name| (*name).to_owned()),
            issuer,
            audience: vec![audience.to_string()],
            subject,
            expires_at: UnixSeconds(now.0.saturating_add(60)),
            not_before: None,
            issued_at: None,
            client_id: Some(client_id),
            authorized_party: None,
            // Whichever of the two grants scopes.
            permissions: scopes.clone(),
            scope: scopes,
            name: None,
            email: None,
            organization_id: organization,
            token_id: None,
            sender_constrained: false,
            extra: Some(Box::new(extra)),
        };
        self.tokens.admit(&Arc::new(claims), &audience, now)
    }

    /// Judges a request; `None` if what it asks for is not on offer.
    pub(super) fn judge(&self, request: &AccessRequest<'_>) -> Option<Judged> {
        let needed = self.needed(request.target)?;
        Some(judge(&self.scopes, self.rules.as_deref(), Some(needed), request.principal, || *request))
    }

    /// Returns a tool's arguments as it would get them.
    ///
    /// # Errors
    /// Where they do not fit its schema.
    pub(super) fn fit(&self, tool: &str, arguments: Value) -> Result<Value, String> {
        match self.catalog.tools.spec(tool) {
            Some(spec) => spec.input.fit(arguments),
            None => Ok(arguments),
        }
    }

    /// Returns the scopes that something on offer takes.
    fn needed(&self, target: Target<'_>) -> Option<&ScopeSet> {
        let catalog = &self.catalog;
        match target {
            Target::Tool(name) => self.scopes.required(catalog.tools.named(name)?),
            Target::Resource(address) => {
                let mut specs = catalog.resources.specs();
                specs.find(|spec| spec.address.as_str() == address).map(|spec| &spec.scopes)
            }
            Target::Prompt(name) => {
                catalog.prompts.specs().find(|spec| spec.name == name).map(|spec| &spec.scopes)
            }
            Target::Method(name) => {
                catalog.methods.specs().find(|spec| spec.name() == name).map(|spec| &spec.scopes)
            }
        }
    }
}

impl Refusal {
    pub(super) fn of(denial: &Denial) -> Self {
        Self { reason: denial.code(), rules: denial.rules().iter().map(ToString::to_string).collect() }
    }
}
