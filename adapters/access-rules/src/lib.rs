//! The [`AccessRules`] port by rules as the configuration has them: each covers some of what is on offer, and has conditions of which
//! every one must be met. What a condition needs and a token lacks is a condition that is not met.

mod conditions;
mod pattern;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    AccessRequest, AccessRules, LoginDemand, Refused, Remedy, RuleJudgment, Schema, ScopeSet, Target, Unmet,
};
use serde_json::{Value, json};

pub use conditions::{Conditions, LoginClaims};
pub use pattern::Pattern;

use conditions::Verdict;

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, for logs, audit events and metrics.
    pub name: Arc<str>,
    /// Whether it only records what it would refuse.
    pub is_shadow: bool,
    /// What it covers.
    pub covers: Covers,
    /// What must be the case.
    pub conditions: Conditions,
    /// Whoever has all of these scopes is exempt; without any, nobody is.
    pub unless_scopes: ScopeSet,
}

/// What a rule covers: names, or patterns, of each kind.
#[derive(Debug, Default)]
pub struct Covers {
    /// Tools.
    pub tools: Vec<Pattern>,
    /// Resources, by URI or template.
    pub resources: Vec<Pattern>,
    /// Prompts.
    pub prompts: Vec<Pattern>,
    /// Methods of the server's own.
    pub methods: Vec<Pattern>,
}

/// Tells a third party's client by its id.
pub type IsThirdParty = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Rules in their order. Clones share them.
#[derive(Clone)]
pub struct RuleSet {
    rules: Arc<[Rule]>,
    login: LoginClaims,
    is_third_party: IsThirdParty,
}

impl RuleSet {
    /// Creates the set of these rules, which read what a token says of the login in these claims.
    #[must_use]
    pub fn new(rules: Arc<[Rule]>, login: LoginClaims, is_third_party: IsThirdParty) -> Self {
        Self { rules, login, is_third_party }
    }
}

impl AccessRules for RuleSet {
    fn judge(&self, request: &AccessRequest<'_>) -> RuleJudgment {
        let mut judgment = RuleJudgment::default();
        for rule in self.rules.iter().filter(|rule| rule.applies(request)) {
            let name = Arc::clone(&rule.name);
            match rule.conditions.judge(request, &self.login, &*self.is_third_party) {
                Verdict::Met => {}
                Verdict::Undecided => judgment.undecided.push(name),
                Verdict::Unmet(_) if rule.is_shadow => judgment.would_refuse.push(name),
                Verdict::Unmet(unmet) => judgment.refused.extend(rule.refused(&unmet)),
            }
        }
        judgment
    }

    fn document(&self) -> Value {
        json!([
            self.login.auth_time,
            self.login.acr,
            self.rules.iter().map(Rule::document).collect::<Vec<_>>(),
        ])
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet")
            .field("rules", &self.rules)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

impl Covers {
    fn fits(&self, target: Target<'_>) -> bool {
        let patterns = match target {
            Target::Tool(_) => &self.tools,
            Target::Resource(_) => &self.resources,
            Target::Prompt(_) => &self.prompts,
            Target::Method(_) => &self.methods,
        };
        patterns.iter().any(|pattern| pattern.fits(target.name()))
    }
}

impl Rule {
    /// Returns whether it covers what is asked for, and does not exempt who asks.
    fn applies(&self, request: &AccessRequest<'_>) -> bool {
        let is_exempt = || !self.unless_scopes.is_empty() && request.principal.holds_all(&self.unless_scopes);
        self.covers.fits(request.target) && !is_exempt()
    }

    /// Returns the refusal for conditions that are not met: the first of them, and what the client can do. Another login is the least
    /// that it can, where no other condition is unmet.
    fn refused(&self, unmet: &[Unmet]) -> Option<Refused> {
        let first = unmet.first().copied()?;
        let is_login = |unmet: &Unmet| matches!(unmet, Unmet::LoginAge | Unmet::LoginStrength);
        let remedy = if unmet.iter().all(is_login) {
            Remedy::Login(LoginDemand {
                max_age: self.conditions.max_age,
                acr_values: self.conditions.acr.clone(),
                scopes: ScopeSet::EMPTY,
            })
        } else if self.unless_scopes.is_empty() {
            Remedy::None
        } else {
            Remedy::Scopes(self.unless_scopes.clone())
        };
        Some(Refused { rule: Arc::clone(&self.name), unmet: first, remedy })
    }

    fn document(&self) -> Value {
        let patterns =
            |patterns: &[Pattern]| patterns.iter().map(Pattern::as_str).map(Value::from).collect::<Value>();
        let Conditions { organizations, claims, clients, third_party_clients, max_age, acr, arguments } =
            &self.conditions;
        json!([
            *self.name,
            self.is_shadow,
            patterns(&self.covers.tools),
            patterns(&self.covers.resources),
            patterns(&self.covers.prompts),
            patterns(&self.covers.methods),
            organizations,
            claims,
            clients,
            third_party_clients,
            max_age.as_ref().map(Duration::as_secs),
            acr.iter().map(AsRef::<str>::as_ref).collect::<Vec<_>>(),
            arguments.as_ref().map(Schema::as_json),
            self.unless_scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ])
    }
}

#[cfg(test)]
mod tests;
