//! The conditions of a rule, and whether a request meets them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{AccessRequest, CustomClaims, Principal, Schema, UnixSeconds, Unmet};
use serde_json::Value;

/// What must be the case. An empty list, and `None`, is no condition.
#[derive(Debug)]
pub struct Conditions {
    /// `org_id` is one of these.
    pub organizations: Vec<String>,
    /// Each of these custom claims has one of these values, or is a list that has one.
    pub claims: BTreeMap<String, Vec<String>>,
    /// The client's id is one of these.
    pub clients: Vec<String>,
    /// Whether third parties' clients may. True is no condition.
    pub third_party_clients: bool,
    /// The login was at most so long ago.
    pub max_age: Option<Duration>,
    /// The authentication context class is one of these.
    pub acr: Vec<Arc<str>>,
    /// The arguments fit this schema.
    pub arguments: Option<Schema>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            organizations: Vec::new(),
            claims: BTreeMap::new(),
            clients: Vec::new(),
            third_party_clients: true,
            max_age: None,
            acr: Vec::new(),
            arguments: None,
        }
    }
}

/// The claims that say when and how the user logged in: `None` for the registered one, `auth_time` or `acr`, or the name of a custom
/// one, where the issuer lets nobody set those.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginClaims {
    /// When, in seconds since 1970.
    pub auth_time: Option<String>,
    /// By which authentication context class.
    pub acr: Option<String>,
}

/// Whether the conditions of a rule are met.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// These are not, in the order of [`Unmet::ALL`].
    Unmet(Vec<Unmet>),
    /// That depends on what is not known.
    Undecided,
}

impl Conditions {
    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { organizations, claims, clients, third_party_clients, max_age, acr, arguments } = self;
        organizations.is_empty()
            && claims.is_empty()
            && clients.is_empty()
            && *third_party_clients
            && max_age.is_none()
            && acr.is_empty()
            && arguments.is_none()
    }

    pub(crate) fn judge(
        &self,
        request: &AccessRequest<'_>,
        login: &LoginClaims,
        is_third_party: &dyn Fn(&str) -> bool,
    ) -> Verdict {
        let (mut unmet, mut is_undecided) = (Vec::new(), false);
        for condition in Unmet::ALL {
            match self.is_met(condition, request, login, is_third_party) {
                Some(true) => {}
                Some(false) => unmet.push(condition),
                None => is_undecided = true,
            }
        }
        match (unmet.is_empty(), is_undecided) {
            (false, _) => Verdict::Unmet(unmet),
            (true, true) => Verdict::Undecided,
            (true, false) => Verdict::Met,
        }
    }

    /// Returns whether one kind of condition is met; `None` where that is not known.
    fn is_met(
        &self,
        condition: Unmet,
        request: &AccessRequest<'_>,
        login: &LoginClaims,
        is_third_party: &dyn Fn(&str) -> bool,
    ) -> Option<bool> {
        let principal = request.principal;
        match condition {
            Unmet::Organization => {
                let organization = principal.organization_id();
                Some(self.organizations.is_empty() || is_one_of(organization, &self.organizations))
            }
            Unmet::Claim if self.claims.is_empty() => Some(true),
            Unmet::Claim => known(request, || {
                self.claims.iter().all(|(name, values)| has_one_of(principal, name, values))
            }),
            Unmet::Client => {
                let is_listed = self.clients.is_empty() || is_one_of(Some(principal.client()), &self.clients);
                Some(is_listed && (self.third_party_clients || !is_third_party(principal.client())))
            }
            Unmet::LoginAge => {
                let Some(max_age) = self.max_age else { return Some(true) };
                known(request, || is_recent(login.authenticated_at(principal), max_age, request.now))
            }
            Unmet::LoginStrength if self.acr.is_empty() => Some(true),
            Unmet::LoginStrength => known(request, || {
                let class = login.authentication_context(principal);
                class.is_some_and(|class| self.acr.iter().any(|sufficient| **sufficient == class))
            }),
            Unmet::Arguments => {
                let Some(schema) = &self.arguments else { return Some(true) };
                request.arguments.map(|arguments| schema.is_valid(arguments))
            }
        }
    }
}

impl LoginClaims {
    fn authenticated_at(&self, principal: &Principal) -> Option<UnixSeconds> {
        match &self.auth_time {
            None => principal.authenticated_at(),
            Some(name) => principal.custom_claim(name).ok().flatten().map(UnixSeconds),
        }
    }

    fn authentication_context(&self, principal: &Principal) -> Option<String> {
        match &self.acr {
            None => principal.authentication_context().map(str::to_owned),
            Some(name) => principal.custom_claim(name).ok().flatten(),
        }
    }

    /// Returns the name of a claim if it is a custom one.
    ///
    /// # Errors
    /// When it is neither that nor the registered one.
    pub fn named(name: &str, registered: &str) -> Result<Option<String>, String> {
        if name == registered {
            return Ok(None);
        }
        if CustomClaims::is_name(name) {
            return Ok(Some(name.to_owned()));
        }
        Err(format!("must be {registered:?}, or the https or http URL that names a custom claim"))
    }
}

/// Returns what a claim says, where the token's claims are known.
fn known(request: &AccessRequest<'_>, is_met: impl FnOnce() -> bool) -> Option<bool> {
    request.is_token_whole.then(is_met)
}

fn is_one_of(text: Option<&str>, texts: &[String]) -> bool {
    text.is_some_and(|text| texts.iter().any(|other| other == text))
}

/// How far ahead a login may lie, in seconds: clocks differ. Milliseconds in place of seconds lie further ahead.
const MAX_AHEAD: i64 = 300;

/// A login that lies ahead by a little is one of right now.
fn is_recent(at: Option<UnixSeconds>, max_age: Duration, now: UnixSeconds) -> bool {
    let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    at.is_some_and(|at| (-MAX_AHEAD..=max_age).contains(&now.0.saturating_sub(at.0)))
}

/// Custom claims that are too long to be kept have no value.
fn has_one_of(principal: &Principal, name: &str, values: &[String]) -> bool {
    let is_listed = |value: &Value| match value {
        Value::String(text) => values.contains(text),
        // As JSON writes them.
        Value::Number(_) | Value::Bool(_) => values.contains(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match principal.custom_claim::<Value>(name) {
        Ok(Some(Value::Array(items))) => items.iter().any(is_listed),
        Ok(Some(value)) => is_listed(&value),
        Ok(None) | Err(_) => false,
    }
}
