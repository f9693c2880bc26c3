//! `tenant`: sets the Auth0 tenant up for the server, and says what is wrong with it.
//!
//! - `wanted`: what the server asks of the tenant
//! - `access`: by which credentials the Management API is used
//! - `load`: from arguments to both of them
//! - `plan`, `apply`, `doctor`, `export`: a command each; `drift` is `doctor`'s

mod access;
mod apply;
mod doctor;
mod export;
mod load;
mod plan;
mod wanted;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Subcommand;
use tenant::Style;

use self::access::AccessArguments;
use super::{ServiceArguments, environment};
use crate::server::ServerBuilder;

/// There are differences, as `terraform plan` says it.
const DIFFERENT: u8 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what has to change at the tenant, and why. Exit code 0: nothing; 2: something; 1: something can't be done
    Plan(plan::Arguments),
    /// Change the tenant as `plan` says, once you confirm it
    Apply(apply::Arguments),
    /// Find what keeps users out: through the public URL, and with Management access in the tenant's settings
    Doctor(doctor::Arguments),
    /// Print what differs, a line each, for a schedule. Exit code 0: nothing; 2: something
    Drift(doctor::DriftArguments),
    /// Write what the tenant must have as files for Terraform or auth0-deploy-cli
    Export(export::Arguments),
}

/// What every command is told.
#[derive(Debug, clap::Args)]
struct TenantArguments {
    #[command(flatten)]
    service: ServiceArguments,
    #[command(flatten)]
    access: AccessArguments,
    /// A user, by id or email address, and a role that the user is given; may be repeated
    #[arg(long, value_name = "USER=ROLE")]
    assign: Vec<String>,
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Plan(arguments) => plan::run(builder, arguments),
        Command::Apply(arguments) => apply::run(builder, arguments),
        Command::Doctor(arguments) => doctor::run(builder, arguments),
        Command::Drift(arguments) => doctor::drift(builder, arguments),
        Command::Export(arguments) => export::run(builder, arguments),
    }
}

/// Colors for a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
fn style() -> Style {
    let no_color = environment().iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    if io::stdout().is_terminal() && !no_color { Style::Colored } else { Style::Plain }
}
