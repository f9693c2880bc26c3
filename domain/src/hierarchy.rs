//! Which scopes imply others: who holds a broader scope may do what the narrower ones permit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::scope::{Scope, ScopeSet};

/// Which broader scopes stand for a narrower one, directly or through others. Without entries every scope stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeHierarchy {
    /// For each implied scope, every scope that implies it.
    broader: HashMap<Scope, ScopeSet>,
}

/// Why scopes form no hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HierarchyError {
    /// A scope is said to imply others, but none is named.
    #[error("the scope {0} implies no other: name one, or leave it out")]
    ImpliesNothing(Scope),
    /// A scope implies itself, directly or through others: the first of these and the last are the same.
    #[error("scopes imply each other in a circle: {}", chain(.0))]
    Circle(Vec<Scope>),
}

impl HierarchyError {
    /// The scope that the error is about.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::ImpliesNothing(scope) => Some(scope),
            Self::Circle(scopes) => scopes.first(),
        }
    }
}

fn chain(scopes: &[Scope]) -> String {
    let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
    names.join(" > ")
}

impl ScopeHierarchy {
    /// Takes each broader scope with those that it implies directly.
    ///
    /// # Errors
    /// [`HierarchyError`] for the first scope, in alphabetical order, that implies nothing or itself.
    pub fn new(implied: impl IntoIterator<Item = (Scope, ScopeSet)>) -> Result<Self, HierarchyError> {
        let implied: BTreeMap<Scope, ScopeSet> = implied.into_iter().collect();
        let mut broader: HashMap<Scope, Vec<Scope>> = HashMap::new();
        for (scope, direct) in &implied {
            if direct.is_empty() {
                return Err(HierarchyError::ImpliesNothing(scope.clone()));
            }
            for narrower in reachable(scope, &implied)? {
                broader.entry(narrower.clone()).or_default().push(scope.clone());
            }
        }
        let broader = broader.into_iter().map(|(scope, broader)| (scope, broader.into_iter().collect()));
        Ok(Self { broader: broader.collect() })
    }

    /// Every scope that implies `scope`, directly or through others, in alphabetical order.
    pub fn broader(&self, scope: &Scope) -> impl Iterator<Item = &Scope> {
        self.broader.get(scope).into_iter().flat_map(ScopeSet::iter)
    }

    /// Whether one of these scopes implies `scope`, directly or through others.
    #[must_use]
    pub fn implies(&self, granted: &ScopeSet, scope: &Scope) -> bool {
        let Some(broader) = self.broader.get(scope) else { return false };
        let (fewer, more) =
            if granted.len() < broader.len() { (granted, broader) } else { (broader, granted) };
        fewer.iter().any(|scope| more.contains(scope))
    }

    /// Every scope that implies another or is implied, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&Scope> {
        self.broader.iter().flat_map(|(scope, broader)| broader.iter().chain([scope])).collect()
    }
}

/// Every scope that `from` implies, directly or through others.
fn reachable<'a>(
    from: &'a Scope,
    implied: &'a BTreeMap<Scope, ScopeSet>,
) -> Result<Vec<&'a Scope>, HierarchyError> {
    // Each scope with the index of the one that it was reached from.
    let mut reached: Vec<(&Scope, usize)> = vec![(from, 0)];
    let mut seen = HashSet::from([from]);
    let mut index = 0;
    while let Some(&(scope, _)) = reached.get(index) {
        for next in implied.get(scope).into_iter().flat_map(ScopeSet::iter) {
            if next == from {
                return Err(HierarchyError::Circle(way_back(&reached, index)));
            }
            if seen.insert(next) {
                reached.push((next, index));
            }
        }
        index += 1;
    }
    Ok(reached.into_iter().skip(1).map(|(scope, _)| scope).collect())
}

/// From the first scope to the one at `last`, and back to the first.
fn way_back(reached: &[(&Scope, usize)], last: usize) -> Vec<Scope> {
    let first = reached[0].0;
    let mut way = vec![first.clone()];
    let mut index = last;
    while index > 0 {
        let (scope, before) = reached[index];
        way.push(scope.clone());
        index = before;
    }
    way.push(first.clone());
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    /// From texts such as `a > b c`.
    fn hierarchy(lines: &[&str]) -> Result<ScopeHierarchy, HierarchyError> {
        ScopeHierarchy::new(lines.iter().map(|line| {
            let (key, implied) = line.split_once(" >").unwrap();
            (scope(key), ScopeSet::granted_by(implied.split_whitespace()))
        }))
    }

    #[test]
    fn a_scope_stands_for_all_that_it_leads_to_and_for_nothing_else() {
        let notes = hierarchy(&["admin > write audit", "write > read", "other > read"]).unwrap();
        for (narrow, broader) in [
            ("read", "admin other write"),
            ("write", "admin"),
            ("audit", "admin"),
            ("admin", ""),
            ("other", ""),
            ("unnamed", ""),
        ] {
            let found: Vec<&str> = notes.broader(&scope(narrow)).map(Scope::as_str).collect();
            assert_eq!(found.join(" "), broader, "{narrow}");
        }
        let names: Vec<&str> = notes.names().into_iter().map(Scope::as_str).collect();
        assert_eq!(names, ["admin", "audit", "other", "read", "write"]);
        assert_eq!(ScopeHierarchy::default().names().len(), 0);
    }

    #[test]
    fn one_of_few_or_of_many_scopes_implies_a_scope() {
        let lines: Vec<String> =
            (1..100).map(|number| format!("step:{number} > step:{}", number - 1)).collect();
        let steps = hierarchy(&lines.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let others: Vec<String> = (0..100).map(|number| format!("other:{number}")).collect();
        let others = others.join(" ");
        for (granted, implied) in [
            ("step:99", true),
            ("step:51", true),
            ("step:50", false),
            ("step:0", false),
            ("", false),
            (others.as_str(), false),
            (&format!("{others} step:60"), true),
            (&format!("{others} step:40"), false),
        ] {
            let granted = ScopeSet::granted_by(granted.split_whitespace());
            assert_eq!(steps.implies(&granted, &scope("step:50")), implied, "{granted}");
            assert!(!steps.implies(&granted, &scope("unnamed")), "{granted}");
        }
    }

    #[test]
    fn two_ways_to_a_scope_are_no_circle() {
        let diamond = hierarchy(&["top > left right", "left > bottom", "right > bottom"]).unwrap();
        assert_eq!(diamond.broader(&scope("bottom")).count(), 3);
    }

    #[test]
    fn circles_and_scopes_that_imply_nothing_are_refused() {
        for (lines, error) in [
            (&["a > a"][..], "scopes imply each other in a circle: a > a"),
            (&["a > b", "b > a"], "scopes imply each other in a circle: a > b > a"),
            (&["a > b", "b > x c", "c > d", "d > b"], "scopes imply each other in a circle: b > c > d > b"),
            (&["a > b", "b >"], "the scope b implies no other: name one, or leave it out"),
        ] {
            assert_eq!(hierarchy(lines).unwrap_err().to_string(), error);
        }
        assert_eq!(hierarchy(&["a > b", "b > a"]).unwrap_err().scope(), Some(&scope("a")));
    }
}
