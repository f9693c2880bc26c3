//! What the official conformance suite asks a server to offer: tools, resources and prompts of every kind.

mod interactive;
mod prompts;
mod resources;
mod tools;

use std::sync::Arc;

use domain::{Announcer, Clock, TokenVerifier};
use fastmcp_auth0::{Offer, Ports};

/// Everything, behind this verifier.
#[must_use]
pub fn ports(verifier: Arc<dyn TokenVerifier>, clock: Arc<dyn Clock>) -> Ports {
    let announcer = Announcer::default();
    let offer = Offer {
        tools: tools::all(&announcer),
        resources: resources::all(),
        prompts: prompts::all(),
        ..Offer::default()
    };
    Ports { announcer, ..Ports::new(verifier, clock, offer) }
}
