//! Everything that the endpoints share.

use hyper::StatusCode;

use crate::clients::Clients;
use crate::codes::Grants;
use crate::faults::{Active, Fault};
use crate::options::{Api, Options};
use crate::pending::Pending;
use crate::tokens::Issuer;

/// A tenant, without its socket.
pub(crate) struct Tenant {
    pub(crate) issuer: Issuer,
    pub(crate) clients: Clients,
    pub(crate) pending: Pending,
    pub(crate) grants: Grants,
}

impl Tenant {
    pub(crate) fn new(issuer: Issuer) -> Self {
        let clients = Clients::new(&issuer.options().clients);
        Self { issuer, clients, pending: Pending::new(), grants: Grants::new() }
    }

    pub(crate) fn options(&self) -> &Options {
        self.issuer.options()
    }

    /// The status of its redirects.
    pub(crate) fn redirect_status(&self) -> StatusCode {
        StatusCode::from_u16(self.options().redirect_status).unwrap_or(StatusCode::FOUND)
    }

    /// By the tenant's clock.
    pub(crate) fn now(&self) -> i64 {
        self.issuer.clock().now()
    }

    /// When a refresh token of now ends.
    pub(crate) fn refresh_until(&self, api: &Api) -> i64 {
        let life = api.refresh_token_lifetime_seconds;
        self.now().saturating_add(i64::try_from(life).unwrap_or(i64::MAX))
    }

    pub(crate) fn inject(&self, fault: &Fault) {
        let faults = self.issuer.faults();
        match *fault {
            Fault::RotateKeys => self.issuer.keys().rotate(),
            Fault::RevokePreviousKeys => self.issuer.keys().revoke_previous(),
            Fault::Keys(answer) => faults.change(|active| active.keys = answer),
            Fault::Tokens { form } => faults.change(|active| active.tokens = form),
            Fault::Clock { ahead_seconds } => self.issuer.clock().set_offset(ahead_seconds),
            Fault::SecondIssuer { on } => faults.change(|active| active.second_issuer = on),
            Fault::Reset => {
                faults.change(|active| *active = Active::default());
                self.issuer.clock().set_offset(0);
            }
        }
    }
}
