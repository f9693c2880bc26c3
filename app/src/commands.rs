//! The commands of the binary.

mod check;
mod completions;
mod config;
mod dev;
mod explain;
mod loading;
mod man;
mod new;
mod online;
mod policy;
mod running_dev;
mod serve;
#[cfg(feature = "tenant")]
mod tenant;
mod token;
mod upstreams;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use hyper_transport::{Drained, Server};
use tokio::net::TcpListener;

use crate::admin::Admin;
use crate::commit::COMMIT;
use crate::config::{Problems, Settings, Sources, dot_env_here};
use crate::logging;
use crate::server::{Profile, ServerBuilder};
use crate::signals::StopSignals;
use crate::systemd;

/// `EX_USAGE` of sysexits.h: the configuration is at fault, not the machine.
const BAD_CONFIGURATION: u8 = 64;

/// An MCP server secured by Auth0.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server with a local tenant, for development: no Auth0 account needed
    Dev(dev::Arguments),
    /// Print an access token of the running local tenant
    Token(token::Arguments),
    /// Run the server with an Auth0 tenant
    Serve(ServiceArguments),
    /// Check the configuration and print every value with its source, and the tools with their scopes
    Check(check::Arguments),
    /// Set the Auth0 tenant up for the server, or find what is wrong with it
    #[cfg(feature = "tenant")]
    Tenant(tenant::Arguments),
    /// Explain why an access token is accepted or refused, and which tools it may call
    Explain(explain::Arguments),
    /// Judge cases, or decisions that were made, by the configuration
    #[command(subcommand)]
    Policy(policy::Arguments),
    /// Write a crate with a server of your own, which builds, tests itself and runs
    New(new::Arguments),
    /// Print the default configuration: every key, explained
    #[command(subcommand)]
    Config(config::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
    /// Print the manual page, or write the pages of all commands
    // For those who make packages; everybody else has `--help`.
    #[command(hide = true)]
    Man(man::Arguments),
}

/// What `serve`, `check` and `explain` are told.
#[derive(Debug, Clone, clap::Args)]
struct ServiceArguments {
    /// A TOML file; `config default` prints one with every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ServerBuilder {
    /// Runs the command line: `serve`, `dev`, `check`, `token`, `explain`, `new` and the rest. Returns the process's exit code.
    #[must_use]
    pub fn run(self) -> ExitCode {
        run(self)
    }
}

fn run(builder: ServerBuilder) -> ExitCode {
    let _flushes = logging::flush_at_end();
    let command = command_line(&builder.profile);
    let arguments = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let outcome = match arguments.unwrap_or_else(|error| refuse(&error)).command {
        Command::Dev(arguments) => dev::run(builder, &arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::Serve(arguments) => serve::run(builder, arguments),
        Command::Check(arguments) => check::run(builder, &arguments),
        #[cfg(feature = "tenant")]
        Command::Tenant(arguments) => tenant::run(builder, &arguments),
        Command::Explain(arguments) => explain::run(builder, &arguments),
        Command::Policy(arguments) => policy::run(builder, &arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Config(arguments) => Ok(config::run(&builder, &arguments)),
        Command::Completions(arguments) => completions::run(&builder.profile, &arguments),
        Command::Man(arguments) => man::run(&builder.profile, &arguments),
    };
    logging::flush();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprint(&format!("error: {error:#}"));
            if error.is::<Problems>() { ExitCode::from(BAD_CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

/// Returns the definition of the command line, under the program's own name.
fn command_line(profile: &Profile) -> clap::Command {
    Cli::command().name(profile.name).version(version(profile.version, COMMIT))
}

/// Returns what `--version` says.
fn version(version: &str, commit: Option<&str>) -> String {
    match commit {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
}

/// Prints what is wrong with the command line, or the help that was asked for, and ends the process.
fn refuse(error: &clap::Error) -> ! {
    let is_explain = std::env::args_os().nth(1).is_some_and(|command| command == "explain");
    if is_explain && error.use_stderr() { explain::without_words(error).exit() } else { error.exit() }
}

impl ServiceArguments {
    /// The sources of `serve`, `check` and `explain`.
    fn sources(&self, profile: &Profile) -> Sources {
        profile.sources().service(self.config.as_deref(), &dot_env_here(), &environment())
    }
}

/// The process's environment, as far as it is text.
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Prints a line to standard output; a reader that went away is no error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line to standard error.
fn eprint(text: &str) {
    // What was logged before comes before.
    logging::flush();
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Logs what is probably not meant before upstreams are started: it may be why one fails. Returns it, to be said once.
fn early_warnings(settings: &Settings) -> Vec<String> {
    if settings.upstreams.is_empty() {
        return Vec::new();
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    settings.warnings.clone()
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime can't be started")
}

async fn listen(bind: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(bind, port);
    TcpListener::bind(address).await.with_context(|| format!("can't listen on {address}"))
}

/// Serves until a signal, then drains; the admin listener goes on until that is done.
async fn run_until_stopped(server: Server, admin: Admin, signals: StopSignals) -> ExitCode {
    let stopped = async {
        signals.first().await;
        systemd::stopping();
    };
    let drained = server.run(stopped).await;
    admin.stop().await;
    match drained {
        Drained::Complete => tracing::info!("stopped"),
        Drained::Abandoned(connections) => {
            tracing::warn!(
                connections,
                "stopped: the time to finish was up, connections were closed as they were"
            );
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_commit_where_it_is_known() {
        assert_eq!(version("1.2.3", Some("0a1b2c3")), "1.2.3 (0a1b2c3)");
        assert_eq!(version("1.2.3", None), "1.2.3");
    }
}
