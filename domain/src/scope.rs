//! OAuth scopes: one [`Scope`], and the ordered [`ScopeSet`] a token grants or a tool requires.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

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

/// Distinct scopes in the order they were first named. Clones are cheap.
///
/// [`fmt::Display`] joins them by single spaces, the form of the `scope` claim (RFC 8693) and challenge parameter.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Option<Arc<Distinct>>);

/// One scope at least.
#[derive(PartialEq, Eq, Hash)]
struct Distinct {
    scopes: Vec<Scope>,
    /// The places of more than [`FEW`] scopes, ordered by their text.
    by_text: Vec<usize>,
}

/// So many scopes are looked through in turn, which is faster than anything else.
const FEW: usize = 16;

impl ScopeSet {
    /// No scopes.
    pub const EMPTY: Self = Self(None);

    fn of_distinct(scopes: Vec<Scope>) -> Self {
        if scopes.is_empty() {
            return Self::EMPTY;
        }
        let mut by_text: Vec<usize> =
            if scopes.len() > FEW { (0..scopes.len()).collect() } else { Vec::new() };
        by_text.sort_unstable_by_key(|&place| &scopes[place]);
        Self(Some(Arc::new(Distinct { scopes, by_text })))
    }

    fn as_slice(&self) -> &[Scope] {
        self.0.as_ref().map_or(&[], |distinct| &distinct.scopes)
    }

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
        let Some(Distinct { scopes, by_text }) = self.0.as_deref() else { return false };
        if by_text.is_empty() {
            return scopes.contains(scope);
        }
        by_text.binary_search_by_key(&scope, |&place| &scopes[place]).is_ok()
    }

    /// The scopes of this set that are also in `other`, in this set's order.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self::of_distinct(self.iter().filter(|scope| other.contains(scope)).cloned().collect())
    }

    /// The scopes of this set, then those that only `other` has.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).cloned().collect()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The number of scopes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.as_slice().iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut seen = HashSet::new();
        Self::of_distinct(scopes.into_iter().filter(|scope| seen.insert(scope.clone())).collect())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopeSet").field(&self.as_slice()).finish()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
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
    fn a_set_of_many_has_what_it_was_made_of_and_nothing_else() {
        for count in [0, 1, FEW, FEW + 1, 500] {
            let texts: Vec<String> = (0..count).rev().map(|number| format!("scope:{number}")).collect();
            let many = ScopeSet::granted_by(texts.iter().map(String::as_str));
            assert_eq!((many.len(), many.to_string()), (count, texts.join(" ")));
            assert!(many.iter().all(|scope| many.contains(scope)));
            for absent in [format!("scope:{count}"), "scope".to_owned(), "a".to_owned(), "z".to_owned()] {
                assert!(!many.contains(&Scope::parse(&absent).unwrap()), "{absent} among {count}");
            }
            assert_eq!(many.intersection(&many), many);
        }
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
