//! One request under way: what was asked, by whom, and what it is answered with.

use std::sync::{Arc, OnceLock};

use domain::{Catalog, Principal, Span};

use crate::era::Era;
use crate::fields::RequestFields;
use crate::input_requests::PendingInputRequests;
use crate::message::Request;
use crate::results::Renderer;
use crate::snapshot::ProtocolSnapshot;
use crate::subscriptions::Subscriptions;

/// The server as one HTTP request finds it.
#[derive(Clone, Copy)]
pub(crate) struct Served<'r> {
    pub(crate) snapshot: &'r Arc<ProtocolSnapshot>,
    /// The id of the HTTP request in the log.
    pub(crate) request_id: &'r str,
    pub(crate) input_requests: &'r Arc<PendingInputRequests>,
    pub(crate) subscriptions: &'r Arc<Subscriptions>,
}

impl<'r> Served<'r> {
    pub(crate) fn catalog(self) -> &'r Catalog {
        &self.snapshot.service().catalog
    }
}

/// A JSON-RPC request with everything that its handler may need.
pub(crate) struct Exchange<'r, 'a> {
    pub(crate) served: Served<'r>,
    pub(crate) principal: &'r Principal,
    pub(crate) fields: &'r dyn RequestFields,
    pub(crate) era: Era,
    pub(crate) request: &'r mut Request<'a>,
    /// Its span; taken by a job, whose it is then.
    pub(crate) span: &'r mut Span,
    /// The names of the rules in shadow mode that would refuse it.
    pub(crate) would_refuse: OnceLock<Vec<Arc<str>>>,
}

impl Exchange<'_, '_> {
    /// Returns what renders results in the request's era.
    pub(crate) fn renderer(&self) -> Renderer<'_> {
        Renderer { era: self.era, snapshot: self.served.snapshot }
    }
}
