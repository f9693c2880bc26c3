//! [`Rules`]: what of an upstream is offered, under which names and for which scopes.

use std::time::Duration;

use domain::{ScopeSet, ToolHints};

/// What of an upstream is offered. What no rule covers is not.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Rules for tools by name or pattern.
    pub tools: Vec<(Pattern, ToolRule)>,
    /// The scopes of tools that only read (`readOnlyHint`), unless a rule by name says others.
    pub read: Option<ScopeSet>,
    /// The scopes of all other tools.
    pub write: Option<ScopeSet>,
    /// The scopes of tools that may undo or overwrite (`destructiveHint`, which is the default); without any, `write`'s.
    pub destructive: Option<ScopeSet>,
    /// The scopes of resources and templates.
    pub resources: Option<ScopeSet>,
    /// The scopes of prompts.
    pub prompts: Option<ScopeSet>,
}

/// A name, in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// What is said of the tools that a pattern fits. Each field is taken from the most specific pattern that has it.
#[derive(Debug, Clone, Default)]
pub struct ToolRule {
    /// The scopes that a call requires.
    pub scopes: Option<ScopeSet>,
    /// Whether it is not offered.
    pub hidden: Option<bool>,
    /// The name that clients see, before the prefix.
    pub name: Option<String>,
    /// Another title.
    pub title: Option<String>,
    /// Another description.
    pub description: Option<String>,
    /// The time for one round of a call.
    pub timeout: Option<Duration>,
}

/// What becomes of a tool.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It is offered so.
    Offered(Offered),
    /// A rule hides it.
    Hidden,
    /// No rule covers it.
    Uncovered,
}

/// How a tool is offered.
#[derive(Debug, Clone, Default)]
pub struct Offered {
    /// The scopes that a call requires.
    pub scopes: ScopeSet,
    /// The name that clients see, before the prefix; the upstream's own if there is none.
    pub name: Option<String>,
    /// Another title.
    pub title: Option<String>,
    /// Another description.
    pub description: Option<String>,
    /// The time for one round of a call.
    pub timeout: Option<Duration>,
}

impl Pattern {
    /// Creates a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns whether a name fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let mut literals: Vec<&str> = rest.split('*').collect();
        let last = literals.pop().unwrap_or_default();
        for literal in literals {
            match left.find(literal) {
                Some(at) => left = &left[at + literal.len()..],
                None => return false,
            }
        }
        left.ends_with(last)
    }

    /// Returns how specific it is: a name is more so than any pattern, and of patterns the one with more text.
    fn specificity(&self) -> (bool, usize) {
        let stars = self.0.bytes().filter(|byte| *byte == b'*').count();
        (stars == 0, self.0.len() - stars)
    }
}

impl Rules {
    /// Decides on a tool of the upstream's, by its name there.
    #[must_use]
    pub fn tool(&self, name: &str, hints: ToolHints) -> Decision {
        let mut fitting: Vec<&(Pattern, ToolRule)> =
            self.tools.iter().filter(|(pattern, _)| pattern.fits(name)).collect();
        fitting.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.specificity()));
        let rules = || fitting.iter().map(|(_, rule)| rule);
        if rules().find_map(|rule| rule.hidden) == Some(true) {
            return Decision::Hidden;
        }
        let by_hints = || self.by_hints(hints).cloned();
        let Some(scopes) = rules().find_map(|rule| rule.scopes.clone()).or_else(by_hints) else {
            return Decision::Uncovered;
        };
        Decision::Offered(Offered {
            scopes,
            name: rules().find_map(|rule| rule.name.clone()),
            title: rules().find_map(|rule| rule.title.clone()),
            description: rules().find_map(|rule| rule.description.clone()),
            timeout: rules().find_map(|rule| rule.timeout),
        })
    }

    fn by_hints(&self, hints: ToolHints) -> Option<&ScopeSet> {
        if hints.read_only {
            return self.read.as_ref();
        }
        let destructive = self.destructive.as_ref().filter(|_| hints.destructive);
        destructive.or(self.write.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> ScopeSet {
        ScopeSet::parse_all(text.split_whitespace()).unwrap()
    }

    fn rule(scopes: Option<&str>) -> ToolRule {
        ToolRule { scopes: scopes.map(self::scopes), ..ToolRule::default() }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, fitting, others) in [
            ("read_file", &["read_file"][..], &["read_files", "a_read_file", ""][..]),
            ("read_*", &["read_", "read_file"], &["read", "xread_a"]),
            ("*_file", &["_file", "read_file"], &["read_files"]),
            ("*", &["", "anything"], &[]),
            ("a*b*c", &["abc", "a-b-b-c"], &["ac", "abcd", "acb"]),
            ("a*a", &["aa", "aba"], &["a"]),
        ] {
            let pattern = Pattern::new(pattern);
            assert!(fitting.iter().all(|name| pattern.fits(name)), "{pattern:?}");
            assert!(!others.iter().any(|name| pattern.fits(name)), "{pattern:?}");
        }
    }

    #[test]
    fn a_tool_has_the_scopes_of_its_most_specific_rule_or_else_of_its_hints() {
        let rules = Rules {
            tools: vec![
                (Pattern::new("*"), ToolRule { title: Some("Any".into()), ..rule(None) }),
                (Pattern::new("delete_*"), rule(Some("files:delete"))),
                (Pattern::new("delete_draft"), rule(Some("files:draft"))),
                (Pattern::new("secret_*"), ToolRule { hidden: Some(true), ..rule(None) }),
                (Pattern::new("secret_shown"), ToolRule { hidden: Some(false), ..rule(None) }),
            ],
            read: Some(scopes("files:read")),
            write: Some(scopes("files:write")),
            destructive: Some(scopes("files:destroy")),
            ..Rules::default()
        };
        let offered = |name: &str, hints| match rules.tool(name, hints) {
            Decision::Offered(offered) => offered.scopes.to_string(),
            Decision::Hidden => "hidden".into(),
            Decision::Uncovered => "uncovered".into(),
        };
        let (unknown, read, add) =
            (ToolHints::UNKNOWN, ToolHints::UNKNOWN.read_only(), ToolHints::UNKNOWN.additive());
        for (name, hints, expected) in [
            ("list", read, "files:read"),
            ("append", add, "files:write"),
            ("write", unknown, "files:destroy"),
            ("delete_all", read, "files:delete"),
            ("delete_draft", unknown, "files:draft"),
            ("secret_one", read, "hidden"),
            ("secret_shown", read, "files:read"),
        ] {
            assert_eq!(offered(name, hints), expected, "{name}");
        }
        let Decision::Offered(titled) = rules.tool("delete_all", read) else { panic!("not offered") };
        assert_eq!(titled.title.as_deref(), Some("Any"));
    }

    #[test]
    fn what_no_rule_covers_is_not_offered() {
        let rules = Rules { write: Some(scopes("w")), ..Rules::default() };
        let hints = ToolHints::UNKNOWN;
        assert!(matches!(rules.tool("read", hints.read_only()), Decision::Uncovered));
        assert!(matches!(rules.tool("destroy", hints), Decision::Offered(_)));
        assert!(matches!(Rules::default().tool("any", hints), Decision::Uncovered));
    }
}
