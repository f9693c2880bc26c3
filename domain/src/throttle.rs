//! How often a principal may ask.

use crate::pool::Exhausted;
use crate::principal::Principal;

/// The port that bounds how many requests a principal sends in a time; [`crate::Pool`] bounds what it has under way.
pub trait Throttle: Send + Sync {
    /// Counts a JSON-RPC request of a principal, each part of a batch as one.
    ///
    /// # Errors
    /// [`Exhausted::Rate`] when it comes too early.
    fn take(&self, principal: &Principal) -> Result<(), Exhausted>;
}

/// A throttle that lets everything pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unthrottled;

impl Throttle for Unthrottled {
    fn take(&self, _: &Principal) -> Result<(), Exhausted> {
        Ok(())
    }
}
