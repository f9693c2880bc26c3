//! What sections are read with, besides their values.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Catalog, ToolCatalog};
use jwks_verifier::IdentityProvider;

/// What sections are read with, besides their values.
pub(in crate::config) struct Context<'a> {
    pub(in crate::config) provider: Arc<dyn IdentityProvider>,
    /// The tools that rules may name, and everything whose scopes may be named.
    pub(in crate::config) catalog: &'a Catalog,
    pub(in crate::config) completeness: Completeness<'a>,
    /// The variables of `.env` and the environment, for what is told to take some of them.
    pub(in crate::config) environment: &'a BTreeMap<String, String>,
}

/// Whether a catalog has everything that rules may name.
#[derive(Clone, Copy)]
pub(in crate::config) enum Completeness<'a> {
    /// It has: rules for unknown names are faults.
    Complete,
    /// Not yet, as the set-up has not run: rules for unknown names are read again.
    Partial,
    /// Tools come and go, but for these: rules for unknown names wait for what they name, with a warning.
    Changing(&'a ToolCatalog),
}
