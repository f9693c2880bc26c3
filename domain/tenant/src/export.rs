//! What is wanted, as files for other tools. (Filled by its own modules.)

use crate::{Present, Wanted};

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub path: &'static str,
    /// Its text.
    pub content: String,
}

/// Returns files for Terraform.
#[must_use]
pub fn terraform(_wanted: &Wanted, _present: Option<&Present>) -> Vec<File> {
    Vec::new()
}

/// Returns a file for auth0-deploy-cli.
#[must_use]
pub fn deploy_cli(_wanted: &Wanted, _present: Option<&Present>) -> Vec<File> {
    Vec::new()
}
