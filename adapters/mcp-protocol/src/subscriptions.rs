//! What subscriptions share: the announcer of changes, and the snapshot that they are judged by.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use domain::{Announcer, Change};

use crate::seal::SealingKeys;
use crate::snapshot::ProtocolSnapshot;

/// What every subscription of a server shares.
pub(crate) struct Subscriptions {
    pub(crate) announcer: Announcer,
    /// What replaced the snapshot of the start; none while nothing has.
    replaced_by: ArcSwapOption<ProtocolSnapshot>,
}

impl Subscriptions {
    pub(crate) fn new(announcer: Announcer) -> Self {
        Self { announcer, replaced_by: ArcSwapOption::empty() }
    }

    /// Judges subscriptions by another snapshot from now on, and has each one compare the two.
    pub(crate) fn reloaded(&self, snapshot: &Arc<ProtocolSnapshot>) {
        self.replaced_by.store(Some(Arc::clone(snapshot)));
        self.announcer.deliver(&Change::Reloaded);
    }

    /// Returns the sealing keys of the snapshot that replaced the first one, if one has.
    pub(crate) fn present_keys(&self) -> Option<Arc<SealingKeys>> {
        Some(Arc::clone(self.replaced_by.load().as_ref()?.sealing_keys()))
    }

    /// Ends every subscription in order.
    pub(crate) fn end(&self) {
        self.announcer.deliver(&Change::Ending);
    }

    /// Returns the present snapshot if it is another one than this.
    pub(crate) fn newer_than(&self, snapshot: &Arc<ProtocolSnapshot>) -> Option<Arc<ProtocolSnapshot>> {
        self.replaced_by.load_full().filter(|present| !Arc::ptr_eq(present, snapshot))
    }
}
