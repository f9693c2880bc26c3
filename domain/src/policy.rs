//! Which scopes each tool needs, decided once at the start and asked on every request.

use std::collections::HashMap;

use crate::catalog::ToolCatalog;
use crate::principal::Principal;
use crate::scope::ScopeSet;
use crate::tool::ToolName;

/// A rule for every tool of a catalog, and for no other name.
#[derive(Debug)]
pub struct ScopePolicy {
    rules: HashMap<ToolName, ScopeSet>,
}

/// Proof that a principal may call a tool; only [`ScopePolicy::permit`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit<'a> {
    tool: &'a ToolName,
}

impl Permit<'_> {
    /// The tool that may be called.
    #[must_use]
    pub fn tool(&self) -> &ToolName {
        self.tool
    }
}

/// The principal lacks scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("needs the scopes {required:?}, lacks {missing:?}")]
pub struct Denied {
    /// Every scope that the operation needs: what to ask the authorization server for (RFC 6750 section 3).
    pub required: ScopeSet,
    /// Those of them that the token has not.
    pub missing: ScopeSet,
}

/// Why rules do not fit a catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A rule names no tool of the catalog.
    #[error("there is a rule for {0:?}, but no such tool")]
    UnknownTool(String),
    /// A tool has no rule; it would be open to everyone.
    #[error("there is no rule for the tool {0}")]
    MissingRule(ToolName),
}

impl ScopePolicy {
    /// Takes one rule a tool.
    ///
    /// # Errors
    /// [`PolicyError`] unless rules and catalog name exactly the same tools: a tool without a rule never starts.
    pub fn new(
        rules: impl IntoIterator<Item = (ToolName, ScopeSet)>,
        catalog: &ToolCatalog,
    ) -> Result<Self, PolicyError> {
        let rules: HashMap<_, _> = rules.into_iter().collect();
        if let Some(stray) = rules.keys().filter(|name| catalog.spec(name.as_str()).is_none()).min() {
            return Err(PolicyError::UnknownTool(stray.to_string()));
        }
        if let Some(open) = catalog.specs().find(|spec| !rules.contains_key(&spec.name)) {
            return Err(PolicyError::MissingRule(open.name.clone()));
        }
        Ok(Self { rules })
    }

    /// The rules that the tools themselves ask for.
    #[must_use]
    pub fn as_specified(catalog: &ToolCatalog) -> HashMap<ToolName, ScopeSet> {
        catalog.specs().map(|spec| (spec.name.clone(), spec.scopes.clone())).collect()
    }

    /// Whether `who` may call `tool`.
    ///
    /// # Errors
    /// [`Denied`] when a scope is missing, and for a name without a rule.
    pub fn permit<'a>(&self, who: &Principal, tool: &'a ToolName) -> Result<Permit<'a>, Denied> {
        let Some(required) = self.rules.get(tool) else {
            return Err(Denied { required: ScopeSet::EMPTY, missing: ScopeSet::EMPTY });
        };
        if who.scopes().contains_all(required) {
            Ok(Permit { tool })
        } else {
            Err(Denied { required: required.clone(), missing: required.difference(who.scopes()) })
        }
    }

    /// Every scope that some tool of `catalog` needs, in the catalog's order.
    #[must_use]
    pub fn all_scopes(&self, catalog: &ToolCatalog) -> ScopeSet {
        let rules = catalog.specs().filter_map(|spec| self.rules.get(&spec.name));
        rules.flat_map(ScopeSet::iter).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools;

    fn catalog() -> ToolCatalog {
        ToolCatalog::new(tools::shipped()).unwrap()
    }

    #[test]
    fn a_tool_without_a_rule_never_starts() {
        let catalog = catalog();
        let mut rules = ScopePolicy::as_specified(&catalog);
        let name: ToolName = ToolName::parse("greet").unwrap();
        rules.remove(&name);
        assert_eq!(ScopePolicy::new(rules, &catalog).unwrap_err(), PolicyError::MissingRule(name));
    }

    #[test]
    fn a_rule_without_a_tool_never_starts() {
        let catalog = catalog();
        let mut rules = ScopePolicy::as_specified(&catalog);
        rules.insert(ToolName::parse("gret").unwrap(), ScopeSet::EMPTY);
        let error = ScopePolicy::new(rules, &catalog).unwrap_err();
        assert_eq!(error, PolicyError::UnknownTool("gret".to_owned()));
    }
}
