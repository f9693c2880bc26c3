//! OAuth scopes: one [`Scope`], and the ordered [`ScopeSet`] a token grants or a tool requires.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::IndexSet;
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
#[derive(Clone, Default)]
pub struct ScopeSet(Option<Arc<Distinct>>);

/// One scope at least. Up to [`FEW`] are looked through in turn, which takes no hashing and less memory.
enum Distinct {
    Few(Vec<Scope>),
    Many(IndexSet<Scope>),
}

/// The most that are [`Distinct::Few`].
const FEW: usize = 16;

impl Distinct {
    fn add(&mut self, scope: Scope) {
        match self {
            Self::Few(scopes) if scopes.contains(&scope) => {}
            Self::Few(scopes) if scopes.len() < FEW => scopes.push(scope),
            Self::Few(scopes) => *self = Self::Many(scopes.drain(..).chain([scope]).collect()),
            Self::Many(scopes) => {
                scopes.insert(scope);
            }
        }
    }
}

impl ScopeSet {
    /// No scopes.
    pub const EMPTY: Self = Self(None);

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
        match self.0.as_deref() {
            None => false,
            Some(Distinct::Few(scopes)) => scopes.contains(scope),
            Some(Distinct::Many(scopes)) => scopes.contains(scope),
        }
    }

    /// The scopes of this set that are also in `other`, in this set's order.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.iter().filter(|scope| other.contains(scope)).cloned().collect()
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
        match self.0.as_deref() {
            None => 0,
            Some(Distinct::Few(scopes)) => scopes.len(),
            Some(Distinct::Many(scopes)) => scopes.len(),
        }
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        let (few, many) = match self.0.as_deref() {
            None => (None, None),
            Some(Distinct::Few(scopes)) => (Some(scopes), None),
            Some(Distinct::Many(scopes)) => (None, Some(scopes)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }
}

/// The same scopes in the same order.
impl PartialEq for ScopeSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ScopeSet {}

impl Hash for ScopeSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|scope| scope.hash(state));
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes = scopes.into_iter();
        let Some(first) = scopes.next() else { return Self::EMPTY };
        let mut distinct = Distinct::Few(vec![first]);
        scopes.for_each(|scope| distinct.add(scope));
        Self(Some(Arc::new(distinct)))
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
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
            let twice = texts.iter().chain(&texts).map(String::as_str);
            let many = ScopeSet::granted_by(twice);
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
