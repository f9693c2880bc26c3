//! `config`: what can be told of the configuration without reading one.

use std::process::ExitCode;

use super::print;
use crate::server::ServerBuilder;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Print config/default.toml, which is compiled in: every key with its default
    Default,
}

pub(super) fn run(builder: &ServerBuilder, arguments: &Arguments) -> ExitCode {
    match arguments {
        Arguments::Default => print(&builder.profile.default_toml()),
    }
    ExitCode::SUCCESS
}
