//! OAuth scopes: one [`Scope`], and the ordered [`ScopeSet`] a token grants or a tool requires.

use std::collections::HashSet;
use std::fmt;

use syntax::scope_token::is_scope_token;

/// One `scope-token` of RFC 6749 section 3.3: one or more of `%x21 / %x23-5B / %x5D-7E`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

/// The text is not a `scope-token`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an OAuth scope (RFC 6749 section 3.3: visible ASCII without space, '\"' and '\\'): {0:?}")]
pub struct InvalidScope(pub String);

impl Scope {
    /// Checks the grammar.
    ///
    /// # Errors
    /// [`InvalidScope`] when `text` is empty or holds a character outside the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        if is_scope_token(text) { Ok(Self(text.into())) } else { Err(InvalidScope(text.to_owned())) }
    }

    /// The scope's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Distinct scopes in the order they were first named.
///
/// [`fmt::Display`] joins them by single spaces, the form of the `scope` claim (RFC 8693) and challenge parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// No scopes.
    pub const EMPTY: Self = Self(Vec::new());

    /// Scopes that a developer or operator wrote down.
    ///
    /// # Errors
    /// [`InvalidScope`] for the first text that is not one.
    pub fn parse_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidScope> {
        texts.into_iter().map(Scope::parse).collect()
    }

    /// What a token's texts grant. A text outside the grammar cannot equal any scope that a tool requires, so it
    /// grants nothing and is left out rather than making the token unusable.
    #[must_use]
    pub fn granted_by<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        texts.into_iter().filter_map(|text| Scope::parse(text).ok()).collect()
    }

    /// Whether this set holds `scope`.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// The scopes of this set that are also in `other`, in this set's order.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|scope| other.contains(scope)).cloned().collect())
    }

    /// The scopes of this set, then those that only `other` has.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).cloned().collect()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut seen = HashSet::new();
        Self(scopes.into_iter().filter(|scope| seen.insert(scope.clone())).collect())
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &str) -> ScopeSet {
        ScopeSet::parse_all(texts.split_whitespace()).unwrap()
    }

    #[test]
    fn the_grammar_is_rfc_6749s() {
        for good in ["tool:greet", "a", "!", "https://api/x", "[]", "~"] {
            assert!(Scope::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "a\"b", "a\\b", "é", "a\n", "\u{7f}"] {
            assert!(Scope::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_set_keeps_the_first_of_each_in_order() {
        assert_eq!(set("b a b c a").to_string(), "b a c");
    }

    #[test]
    fn what_is_no_scope_grants_nothing() {
        assert_eq!(ScopeSet::granted_by(["a", "", "b\"c", "d"]), set("a d"));
    }

    #[test]
    fn set_operations_keep_the_left_order() {
        assert_eq!(set("a b c").intersection(&set("c a")), set("a c"));
        assert_eq!(set("b").union(&set("a b")), set("b a"));
    }
}
