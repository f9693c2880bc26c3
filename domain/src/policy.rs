//! The scopes that each tool requires, and those that a challenge may name: built once at the start, applied to every request.

use std::collections::{HashMap, HashSet};

use crate::catalog::{Catalog, CatalogTool, ToolCatalog};
use crate::hierarchy::ScopeHierarchy;
use crate::principal::Principal;
use crate::scope::{Scope, ScopeSet};
use crate::tool::ToolName;

/// A rule for every tool of a catalog, and for no other name.
#[derive(Debug)]
pub struct ScopePolicy {
    /// In the catalog's order.
    rules: Vec<(ToolName, ScopeSet)>,
    login: ScopeSet,
    /// Every scope that something in the catalog asks for, that a login asks for, or that the hierarchy names.
    known: HashSet<Scope>,
}

/// The scopes that a first login asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LoginScopes {
    /// Every scope that something in the catalog asks for.
    #[default]
    All,
    /// These scopes.
    Listed(ScopeSet),
}

/// The principal lacks scopes. Every scope here is one that this server knows, whatever the token holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("needs the scopes {required:?}, lacks {missing:?}")]
#[non_exhaustive]
pub struct Denied {
    /// The scopes that the operation requires.
    pub required: ScopeSet,
    /// The required scopes that the token grants neither itself nor by a broader scope.
    pub missing: ScopeSet,
    /// The token's scopes that this server knows, in the token's order.
    pub held: ScopeSet,
    /// The scopes that the client is to ask the authorization server for (RFC 6750 section 3): the required ones, unless
    /// [`Denied::keeping_held`] changes them.
    pub to_request: ScopeSet,
}

impl Denied {
    /// Returns the denial for clients that ask for exactly the scopes that a challenge names: those that the token has, so
    /// that they keep them, then the missing ones.
    #[must_use]
    pub fn keeping_held(self) -> Self {
        let to_request = self.held.union(&self.missing);
        Self { to_request, ..self }
    }

    /// Joins the denials of two operations of one principal.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            required: self.required.union(&other.required),
            missing: self.missing.union(&other.missing),
            to_request: self.to_request.union(&other.to_request),
            held: self.held,
        }
    }
}

/// Why rules and a catalog do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A rule names no tool of the catalog.
    #[error("there is a rule for {0:?}, but no such tool")]
    UnknownTool(String),
    /// A tool has no rule; it would be open to everyone.
    #[error("there is no rule for the tool {0}")]
    MissingRule(ToolName),
}

impl ScopePolicy {
    /// Creates the policy from one rule for each tool.
    ///
    /// # Errors
    /// [`PolicyError`] unless rules and catalog name exactly the same tools: a tool without a rule never starts.
    pub fn new(
        rules: impl IntoIterator<Item = (ToolName, ScopeSet)>,
        catalog: &Catalog,
        hierarchy: &ScopeHierarchy,
        login: LoginScopes,
    ) -> Result<Self, PolicyError> {
        let mut rules: HashMap<_, _> = rules.into_iter().collect();
        if let Some(stray) = rules.keys().filter(|name| catalog.tools.spec(name.as_str()).is_none()).min() {
            return Err(PolicyError::UnknownTool(stray.to_string()));
        }
        if let Some(open) = catalog.tools.specs().find(|spec| !rules.contains_key(&spec.name)) {
            return Err(PolicyError::MissingRule(open.name.clone()));
        }
        let asked = catalog.asked_scopes(|spec| rules.get(&spec.name).unwrap_or(&spec.scopes));
        let mut known: HashSet<Scope> = asked.iter().chain(hierarchy.names()).cloned().collect();
        let login = match login {
            LoginScopes::All => asked,
            LoginScopes::Listed(scopes) => scopes,
        };
        known.extend(login.iter().cloned());
        // Equal sets are one, which stays in the caches while a list is gone through.
        let mut sets = HashSet::new();
        let mut shared = |(name, set): (ToolName, ScopeSet)| {
            let set = sets.get(&set).cloned().unwrap_or(set);
            sets.insert(set.clone());
            (name, set)
        };
        let rules = catalog.tools.specs().filter_map(|spec| rules.remove_entry(&spec.name).map(&mut shared));
        Ok(Self { rules: rules.collect(), login, known })
    }

    /// Returns the rules that the tools themselves ask for.
    #[must_use]
    pub fn as_specified(catalog: &ToolCatalog) -> HashMap<ToolName, ScopeSet> {
        catalog.specs().map(|spec| (spec.name.clone(), spec.scopes.clone())).collect()
    }

    /// Counts scopes as known that nothing in the catalog asks for, such as those that exempt from a rule.
    #[must_use]
    pub fn knowing(mut self, scopes: &ScopeSet) -> Self {
        self.known.extend(scopes.iter().cloned());
        self
    }

    /// Returns the scopes that a call of a tool requires; `None` without a rule.
    #[must_use]
    pub fn required(&self, tool: &CatalogTool) -> Option<&ScopeSet> {
        // By the name, too: a tool of another catalog may have another's place.
        self.rules.get(tool.index).filter(|(name, _)| name.is(tool.name())).map(|(_, required)| required)
    }

    /// Returns whether a principal may call a tool, for lists, which need no reason.
    #[must_use]
    pub fn permits(&self, principal: &Principal, tool: &CatalogTool) -> bool {
        self.required(tool).is_some_and(|required| principal.holds_all(required))
    }

    /// Checks that a principal holds these scopes.
    ///
    /// # Errors
    /// [`Denied`] when one is missing.
    pub fn check(&self, principal: &Principal, required: &ScopeSet) -> Result<(), Denied> {
        if principal.holds_all(required) {
            return Ok(());
        }
        Err(Denied {
            required: required.clone(),
            missing: principal.missing(required),
            held: self.held(principal),
            to_request: required.clone(),
        })
    }

    /// Returns the token's scopes that this server knows, in the token's order.
    #[must_use]
    pub fn held(&self, principal: &Principal) -> ScopeSet {
        principal.scopes().iter().filter(|scope| self.known.contains(scope)).cloned().collect()
    }

    /// Returns the scopes that a first login asks for.
    #[must_use]
    pub fn login_scopes(&self) -> &ScopeSet {
        &self.login
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::principal::{ScopeAuthority, TokenPolicy};
    use crate::properties::{self, AUDIENCES, good_claims};
    use crate::time::UnixSeconds;
    use crate::token::Claims;
    use crate::tool::tool_fn;
    use crate::tools;

    fn catalog() -> Catalog {
        Catalog { tools: ToolCatalog::new(tools::shipped()).unwrap(), ..Catalog::default() }
    }

    fn new(rules: HashMap<ToolName, ScopeSet>) -> Result<ScopePolicy, PolicyError> {
        ScopePolicy::new(rules, &catalog(), &ScopeHierarchy::default(), LoginScopes::All)
    }

    fn set(texts: &str) -> ScopeSet {
        ScopeSet::parse_all(texts.split_whitespace()).unwrap()
    }

    fn tool(name: &str) -> ToolName {
        ToolName::parse(name).unwrap()
    }

    fn check(policy: &ScopePolicy, principal: &Principal, tool: &CatalogTool) -> Result<(), Denied> {
        policy.check(principal, policy.required(tool).unwrap())
    }

    #[test]
    fn a_tool_without_a_rule_never_starts() {
        let mut rules = ScopePolicy::as_specified(&catalog().tools);
        rules.remove(&tool("greet"));
        assert_eq!(new(rules).unwrap_err(), PolicyError::MissingRule(tool("greet")));
    }

    #[test]
    fn a_rule_without_a_tool_never_starts() {
        let mut rules = ScopePolicy::as_specified(&catalog().tools);
        rules.insert(tool("gret"), ScopeSet::EMPTY);
        assert_eq!(new(rules).unwrap_err(), PolicyError::UnknownTool("gret".to_owned()));
    }

    /// `admin` implies `write`, which implies `read`.
    fn hierarchy() -> ScopeHierarchy {
        let scope = |text: &str| Scope::parse(text).unwrap();
        ScopeHierarchy::new([(scope("admin"), set("write")), (scope("write"), set("read"))]).unwrap()
    }

    fn holder(scopes: &str) -> Principal {
        let claims = Claims { scope: set(scopes), ..good_claims() };
        let hierarchy = Arc::new(hierarchy());
        let policy = TokenPolicy { hierarchy, ..properties::policy(Duration::ZERO, ScopeAuthority::Scope) };
        policy.admit(&Arc::new(claims), &AUDIENCES[0].into(), UnixSeconds(0)).unwrap()
    }

    /// `greet` needs `read` and `extra`, the others nothing.
    fn policy(login: LoginScopes) -> ScopePolicy {
        let rules = ScopePolicy::as_specified(&catalog().tools).into_keys().map(|name| {
            if name.as_str() == "greet" { (name, set("read extra")) } else { (name, ScopeSet::EMPTY) }
        });
        ScopePolicy::new(rules, &catalog(), &hierarchy(), login).unwrap()
    }

    #[test]
    fn a_broader_scope_permits_and_what_is_held_or_missing_is_told_by_the_names_in_the_token_and_the_rule() {
        let (policy, catalog) = (policy(LoginScopes::Listed(set("start"))), catalog());
        let greet = catalog.tools.named("greet").unwrap();
        for permitted in ["extra read", "write extra", "admin extra", "extra admin stray"] {
            let principal = holder(permitted);
            assert!(
                check(&policy, &principal, greet).is_ok() && policy.permits(&principal, greet),
                "{permitted}"
            );
        }
        for (token, missing, held, keeping) in [
            ("", "read extra", "", "read extra"),
            ("read", "extra", "read", "read extra"),
            ("stray admin start openid", "extra", "admin start", "admin start extra"),
            ("write admin", "extra", "write admin", "write admin extra"),
            ("extra", "read", "extra", "extra read"),
            ("reader READ", "read extra", "", "read extra"),
        ] {
            let principal = holder(token);
            assert!(!policy.permits(&principal, greet), "{token}");
            let denied = check(&policy, &principal, greet).unwrap_err();
            let expected = Denied {
                required: set("read extra"),
                missing: set(missing),
                held: set(held),
                to_request: set("read extra"),
            };
            assert_eq!(denied, expected, "{token}");
            let kept = Denied { to_request: set(keeping), ..expected };
            assert_eq!(denied.keeping_held(), kept, "{token}");
        }
    }

    #[test]
    fn a_tool_of_another_catalog_is_permitted_by_no_rule_for_another_name() {
        let policy = policy(LoginScopes::All);
        let principal = holder("admin extra");
        let mut others = tools::shipped();
        others.reverse();
        others.push(Arc::new(tool_fn("other", "", |(): (), _| async { Ok("") })));
        let others = ToolCatalog::new(others).unwrap();
        for (name, has_rule) in
            [("get_datetime", false), ("whoami", true), ("greet", false), ("other", false)]
        {
            let tool = others.named(name).unwrap();
            assert_eq!(policy.required(tool).is_some(), has_rule, "{name}");
            assert_eq!(policy.permits(&principal, tool), has_rule, "{name}");
        }
    }

    #[test]
    fn a_first_login_asks_for_what_is_asked_for_here_or_for_what_is_listed() {
        for (login, expected) in [
            (LoginScopes::All, "read extra"),
            (LoginScopes::Listed(set("admin")), "admin"),
            (LoginScopes::Listed(ScopeSet::EMPTY), ""),
        ] {
            assert_eq!(policy(login).login_scopes().to_string(), expected);
        }
    }
}
