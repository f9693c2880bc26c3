//! Suggestions while someone types an argument.

/// What could be meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// The best ones first; a wire shows 100 at most.
    pub values: Vec<String>,
    /// How many there are in all, if that is known.
    pub total: Option<u64>,
    /// Whether there are more than the ones given.
    pub has_more: bool,
}
