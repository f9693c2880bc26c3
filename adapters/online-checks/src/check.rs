//! A check and what came of it.

use serde::Serialize;

use crate::fault::{Fault, Place};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about, such as `challenge`.
    pub name: &'static str,
    /// The URL that it was looked at.
    pub target: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it should be.
    Fine {
        /// What is seen.
        seen: String,
    },
    /// It is not as it should be.
    Finding(Finding),
    /// It can't be told.
    NotJudged {
        /// Why not.
        why: String,
    },
}

/// What is wrong, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which of the things that can be wrong.
    #[serde(rename = "id")]
    pub fault: Fault,
    /// How bad it is.
    pub severity: Severity,
    /// What is seen. Texts from the network are cut, and their control characters escaped.
    pub seen: String,
    /// What a user meets.
    pub symptom: &'static str,
    /// How to mend it: in the dashboard, at the proxy, by command. Each is one way, or one place to look.
    pub mend: Vec<&'static str>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Someone can't log in or call a tool, or can who should not.
    Problem,
    /// It works, but not as well as it could, or not for everybody.
    Warning,
}

impl Check {
    /// Returns the finding, if there is one.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match &self.outcome {
            Outcome::Finding(finding) => Some(finding),
            Outcome::Fine { .. } | Outcome::NotJudged { .. } => None,
        }
    }

    /// Returns whether something is wrong that has to be mended.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        self.finding().is_some_and(|finding| finding.severity == Severity::Problem)
    }
}

impl Finding {
    fn new(fault: Fault, seen: String, place: Place) -> Self {
        let texts = fault.texts(place);
        Self { fault, severity: texts.severity, seen, symptom: texts.symptom, mend: texts.mend.to_vec() }
    }
}

/// Something that is wrong, with what is seen of it.
pub(crate) type Seen = (Fault, String);

/// The checks so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    checks: Vec<Check>,
    /// Where the next ones are made.
    pub(crate) place: Place,
}

impl Checks {
    /// Adds what a check came to: what is seen, if it is fine.
    pub(crate) fn add(&mut self, name: &'static str, target: &str, outcome: Result<String, Seen>) {
        let outcome = match outcome {
            Ok(seen) => Outcome::Fine { seen },
            Err((fault, seen)) => Outcome::Finding(Finding::new(fault, seen, self.place)),
        };
        self.checks.push(Check { name, target: target.to_owned(), outcome });
    }

    /// Adds checks that can't be made.
    pub(crate) fn not_judged(&mut self, names: &[&'static str], target: &str, why: &str) {
        self.checks.extend(names.iter().map(|name| Check {
            name,
            target: target.to_owned(),
            outcome: Outcome::NotJudged { why: why.to_owned() },
        }));
    }

    pub(crate) fn into_vec(self) -> Vec<Check> {
        self.checks
    }
}
