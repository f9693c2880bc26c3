//! What the server tells of its work to whoever counts it.

use std::time::Duration;

use crate::tool::ToolName;

/// The port for what happens, for metrics and the like. It is called amid the work, which waits for it: it must neither
/// block nor panic.
pub trait Observer: Send + Sync {
    /// Returns whether it takes note of anything; if not, nothing need be measured for it.
    fn is_on(&self) -> bool {
        true
    }

    /// Takes note of an event.
    fn observe(&self, event: Event<'_>);
}

/// Something that happened. No text in it is a client's.
#[derive(Debug, Clone, Copy)]
pub enum Event<'e> {
    /// A request began.
    RequestBegan,
    /// A request was answered: its answer is made, or its stream has ended.
    RequestAnswered {
        /// The HTTP status.
        status: u16,
        /// The reason code, for anything but success.
        reason: Option<&'static str>,
        /// Whether it asked for no more than whether the server lives.
        is_probe: bool,
        /// Whether the answer was a stream, which takes as long as its client and its tool want.
        is_stream: bool,
        /// How long that took.
        took: Duration,
    },
    /// A request that began is over, answered or not.
    RequestEnded,
    /// A tool ran.
    ToolCalled {
        /// The tool.
        tool: &'e ToolName,
        /// `ok`, the reason code of its failure, or `cancelled`.
        outcome: &'static str,
        /// How long it ran.
        took: Duration,
    },
    /// A rule refused a request, or would have.
    RuleRefused {
        /// The rule's name.
        rule: &'e str,
        /// Whether it is in shadow mode, so that the request went on.
        is_shadow: bool,
    },
    /// The issuer's keys were fetched, or could not be.
    KeysFetched {
        /// Whether they were.
        succeeded: bool,
    },
    /// A request could not be counted together with those of other replicas.
    QuotaNotShared {
        /// What was done instead: `allow`, `refuse` or `count_here`.
        outcome: &'static str,
    },
    /// An audit event could not be written.
    AuditEventLost,
    /// Spans could not be exported.
    SpansLost {
        /// The number of them.
        count: u64,
    },
}

/// An observer that forgets everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {
    fn is_on(&self) -> bool {
        false
    }

    fn observe(&self, _: Event<'_>) {}
}
