//! What the official conformance suite asks a server to offer: tools, resources and prompts of every kind.

mod interactive;
mod prompts;
mod resources;
mod tools;

use std::sync::Arc;

use domain::{Announcer, Clock, TokenVerifier};
use fastmcp_auth0::{Offer, Ports, Settings};

/// Everything, behind this verifier.
#[must_use]
pub fn ports(verifier: Arc<dyn TokenVerifier>, clock: Arc<dyn Clock>) -> Ports {
    let announcer = Announcer::default();
    let offer = offer(&announcer);
    Ports { announcer, ..Ports::new(verifier, clock, offer) }
}

/// Everything, with what the settings ask for besides.
///
/// # Errors
/// As [`Ports::configured`].
pub fn configured(
    settings: &Settings,
    verifier: Arc<dyn TokenVerifier>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Ports> {
    let announcer = Announcer::default();
    let offer = offer(&announcer);
    Ok(Ports { announcer, ..Ports::configured(settings, Some(verifier), clock, offer)? })
}

fn offer(announcer: &Announcer) -> Offer {
    Offer {
        tools: tools::all(announcer),
        resources: resources::all(),
        prompts: prompts::all(),
        ..Offer::default()
    }
}
