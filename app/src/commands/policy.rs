//! `policy`: what the configuration permits, asked without a server: of cases in a file, and of decisions that were made.

mod diff;
mod judge;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

use crate::server::ServerBuilder;

#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Judge a table of cases, and fail if one is not decided as the table expects
    Test(test::Arguments),
    /// Judge the decisions of an audit file anew, and print those that the configuration would decide otherwise
    Diff(diff::Arguments),
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match arguments {
        Arguments::Test(arguments) => test::run(builder, arguments),
        Arguments::Diff(arguments) => diff::run(builder, arguments),
    }
}
