//! The protocol's two eras, and what differs between their refusals.

use domain::Denial;

use crate::reply::{Failure, Refusal, Status, code};

/// An era of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2026-07-28: every request carries its version and the client's capabilities.
    Modern,
    /// 2025-11-25 and before: `initialize`, then requests.
    Legacy,
}

impl Era {
    /// Refuses for missing scopes. A modern client asks for what it had and for what the challenge names (2026-07-28,
    /// authorization, "Step-Up Authorization Flow"). A legacy one asks for what the challenge names, so that must hold what
    /// the token has, or the client would lose it (2025-11-25, authorization, "Scope Challenge Handling").
    pub(crate) fn refuse(self, denied: Denial) -> Refusal {
        Refusal::Denied(match self {
            Self::Modern => denied,
            Self::Legacy => denied.keeping_held(),
        })
    }

    /// Refuses a method that is not served. Only the modern era says it by HTTP, too.
    pub(crate) fn method_not_found(self) -> Refusal {
        let status = match self {
            Self::Modern => Status::NotFound,
            Self::Legacy => Status::Ok,
        };
        Failure { status, ..Failure::inline(code::METHOD_NOT_FOUND, "method not found") }.into()
    }
}
