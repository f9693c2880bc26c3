//! `check`: what would be in force, and where it comes from.

use std::process::ExitCode;

use super::{ServiceArguments, complain, say};
use crate::wiring::{audience_warning, http_settings};

/// Prints every value with its source.
pub(super) fn run(arguments: &ServiceArguments) -> anyhow::Result<ExitCode> {
    let settings = super::serve::load(arguments)?;
    let width = settings.effective.iter().map(|effective| effective.key.len() + effective.value.len()).max();
    for effective in &settings.effective {
        let used = effective.key.len() + effective.value.len();
        let gap = " ".repeat(width.unwrap_or(used).saturating_sub(used).min(60));
        say(&format!("{} = {}{gap}  # {}", effective.key, effective.value, effective.source));
    }
    let http = http_settings(&settings, settings.port);
    say(&format!("\nendpoint {}, issuer {}, audience {}", http.endpoint(), http.issuer, http.resource));
    if let Some(warning) = audience_warning(&http) {
        complain(&format!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}
