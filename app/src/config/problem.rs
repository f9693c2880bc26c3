//! What is wrong with a configuration, for whoever wrote it.

use std::fmt;

/// One key that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The key, as `section.key`.
    pub key: String,
    /// Where its value comes from; `None` when it has none.
    pub source: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} ({source}): {}", self.key, self.message),
            None => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// One for each key that can't be used.
    pub problems: Vec<Problem>,
    /// What is probably not meant, a line each; often the cause.
    pub warnings: Vec<String>,
    hint: Option<String>,
}

impl Problems {
    /// Creates a list of problems without warnings and advice.
    #[must_use]
    pub fn new(problems: Vec<Problem>) -> Self {
        Self { problems, warnings: Vec::new(), hint: None }
    }

    /// Adds warnings before the present ones.
    #[must_use]
    pub fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings: warnings.into_iter().chain(self.warnings).collect(), ..self }
    }

    /// Adds a last line of advice.
    #[must_use]
    pub fn with_hint(self, hint: String) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration can't be used:")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n{hint}"))
    }
}
