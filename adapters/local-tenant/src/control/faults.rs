//! `POST /local-tenant/fault`: puts faults into force.

use std::sync::Arc;

use super::parse;
use crate::http::problem::Problem;
use crate::model::faults::{ActiveFaults, Fault};
use crate::oauth::tenant::Tenant;

/// The endpoint's path.
pub(crate) const PATH: &str = "/local-tenant/fault";

/// Injects the fault that the body describes.
pub(crate) async fn handle(tenant: &Arc<Tenant>, body: &[u8]) -> Result<(), Problem> {
    let fault: Fault = parse(body, "{\"fault\", ...}")?;
    let tenant = Arc::clone(tenant);
    // Making a key takes a while, and requests are served meanwhile. The task does not panic.
    let _ = tokio::task::spawn_blocking(move || inject(&tenant, &fault)).await;
    Ok(())
}

/// Puts a fault into force, or ends it. [`Fault::RotateKeys`] makes an RSA key on the calling thread.
pub(crate) fn inject(tenant: &Tenant, fault: &Fault) {
    let issuer = &tenant.issuer;
    let faults = issuer.faults();
    match *fault {
        Fault::RotateKeys => issuer.keys().rotate(),
        Fault::RevokePreviousKeys => issuer.keys().revoke_previous(),
        Fault::Keys(answer) => faults.change(|active| active.keys = answer),
        Fault::Tokens { form } => faults.change(|active| active.tokens = form),
        Fault::TokenExchange(answer) => faults.change(|active| active.exchange = answer),
        Fault::Management(answer) => faults.begin_management(answer),
        Fault::Clock { ahead_seconds } => issuer.clock().set_offset(ahead_seconds),
        Fault::SecondIssuer { on } => faults.change(|active| active.second_issuer = on),
        Fault::Reset => {
            faults.change(|active| *active = ActiveFaults::default());
            issuer.clock().set_offset(0);
        }
    }
}
