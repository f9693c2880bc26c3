//! The service binary: see [`fastmcp_auth0::commands`].

use std::process::ExitCode;

use clap::Parser;
use fastmcp_auth0::commands::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
