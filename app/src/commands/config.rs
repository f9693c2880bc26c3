//! `config`: what can be told of the configuration without reading one.

use std::process::ExitCode;

use super::say;
use crate::config::DEFAULTS;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Print config/default.toml, which is compiled in: every key with its default
    Default,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match arguments {
        Arguments::Default => say(DEFAULTS.trim_end()),
    }
    ExitCode::SUCCESS
}
