//! `completions`: scripts by which shells complete the command line.

use std::process::ExitCode;

use clap_complete::Shell;

use super::{command_line, print};
use crate::server::Profile;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(profile: &Profile, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    // Into memory first: this panics where standard output is closed.
    clap_complete::generate(arguments.shell, &mut command_line(profile), profile.name, &mut script);
    print(String::from_utf8(script)?.trim_end());
    Ok(ExitCode::SUCCESS)
}
