//! What is wanted, as files for other tools: Terraform, and Auth0's deploy CLI.
//!
//! Both replace lists as a whole. With what is present at hand, the files keep what others put there, and Terraform adopts what
//! exists instead of failing on it.

mod deploy_cli;
mod hcl;
mod merged;
mod names;
mod terraform;
mod yaml;

use crate::present::Present;
use crate::wanted::Wanted;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub path: &'static str,
    /// What is in it.
    pub content: String,
}

/// Returns a configuration for Terraform and its provider `auth0/auth0`. Without access to the tenant, it is one for a
/// tenant that has none of it.
#[must_use]
pub fn terraform(wanted: &Wanted, present: Option<&Present>) -> Vec<File> {
    terraform::files(wanted, present)
}

/// Returns a configuration for `a0deploy import`. Without access to the tenant, it is one for a tenant that has none of it.
#[must_use]
pub fn deploy_cli(wanted: &Wanted, present: Option<&Present>) -> Vec<File> {
    deploy_cli::files(wanted, present)
}

#[cfg(test)]
mod tests;
