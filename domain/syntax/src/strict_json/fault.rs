//! Why reading stops.

use super::StrictJsonError;

/// A fault of a text. Only what reads the text makes one; the place is where that stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syntax,
    Duplicate,
    Depth,
    Values,
    Reserved,
}

impl Fault {
    pub(super) const SYNTAX: Self = Self(Kind::Syntax);
    pub(super) const DUPLICATE: Self = Self(Kind::Duplicate);
    pub(super) const DEPTH: Self = Self(Kind::Depth);
    pub(super) const VALUES: Self = Self(Kind::Values);
    pub(super) const RESERVED: Self = Self(Kind::Reserved);

    /// Returns it in words for the caller, who allowed `max_depth` levels: the reading of `text` stopped at a byte.
    pub(super) fn explained(self, text: &[u8], at: usize, max_depth: usize) -> StrictJsonError {
        match self.0 {
            Kind::Syntax => {
                let read = text.get(..=at).unwrap_or(text);
                let line = read.split(|byte| *byte == b'\n').count();
                let column = read.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
                StrictJsonError::Syntax { line, column }
            }
            Kind::Duplicate => StrictJsonError::DuplicateMember,
            Kind::Depth => StrictJsonError::TooDeep(max_depth),
            Kind::Values => StrictJsonError::TooManyValues,
            Kind::Reserved => StrictJsonError::ReservedName,
        }
    }
}
