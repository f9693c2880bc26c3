//! Where a request goes: its endpoint and route, and the snapshot that it is judged by.

use hyper::http::request::Parts;

use crate::head::Fields;
use crate::host_policy::NamedHost;
use crate::problem::Problem;
use crate::public::{Endpoint, Route};
use crate::shared::Snapshot;

/// A request's head, with where it goes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'r> {
    pub(crate) head: &'r Parts,
    pub(crate) fields: &'r Fields<'r>,
    pub(crate) snapshot: &'r Snapshot,
    pub(crate) endpoint: &'r Endpoint,
    pub(crate) route: Option<Route>,
}

impl<'r> Target<'r> {
    /// Returns where a request goes, and the host that it names.
    pub(crate) fn of(
        snapshot: &'r Snapshot,
        head: &'r Parts,
        fields: &'r Fields<'r>,
    ) -> (Self, Result<NamedHost, Problem>) {
        let host = snapshot.host_policy.named_host(fields.host, &head.uri);
        let authority = host.as_ref().ok().map(|host| &host.authority);
        let endpoint = snapshot.endpoints.find(authority, head.uri.path());
        let route = endpoint.route(head.uri.path());
        (Self { head, fields, snapshot, endpoint, route }, host)
    }
}
