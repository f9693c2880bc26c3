//! `man`: the manual pages, in roff.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap_mangen::Man;

use super::{command_line, print};
use crate::server::Profile;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A folder for the pages of all commands; without it the program's own page is printed
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(super) fn run(profile: &Profile, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let command = command_line(profile);
    match &arguments.output {
        Some(folder) => clap_mangen::generate_to(command, folder)
            .with_context(|| format!("the pages can't be written to {}", folder.display()))?,
        None => print(page(command)?.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: clap::Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
