//! The benchmark: what a request costs this server, as a ratio to what it costs bare hyper in the same run.
//!
//! `cargo run --profile dist --package load` builds both, runs them in turn on one core with their client on another, checks
//! every answer, and prints a table; `--write FILE` puts it between the marks of a document. With `--upstream` it measures what
//! this server adds to a call of another MCP server's tool, beside what a bare reverse proxy adds; with `--redis URL` what quotas
//! add, in the process and in that Redis.

#![expect(clippy::cast_precision_loss, reason = "microseconds and kibibytes are far below 2^52")]

mod client;
mod measure;
mod process;
mod quotas;
mod report;
mod requests;
mod upstream;
mod verify;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Parser;

use crate::measure::Bench;

/// Measures this server beside bare hyper.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often each is repeated; the table has medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many tokens a server sees that it has never seen before
    #[arg(long, default_value_t = 20_000)]
    tokens: usize,
    /// How many distinct tokens the memory is measured after
    #[arg(long, default_value_t = 20_000)]
    memory_tokens: usize,
    /// How many connections stay open without a request
    #[arg(long, default_value_t = 4096)]
    idle: usize,
    /// Another build of the server, to be compared with; without it, it is built
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// A build of the floor; without it, it is built
    #[arg(long, value_name = "PATH")]
    floor: Option<PathBuf>,
    /// A build of the upstream and the reverse proxy; without it, it is built
    #[arg(long, value_name = "PATH", requires = "upstream")]
    peer: Option<PathBuf>,
    /// Measure what this server adds to the calls of an upstream
    #[arg(long, conflicts_with_all = ["write", "floor"])]
    upstream: bool,
    /// Measure what quotas add, of which this Redis has some
    #[arg(long, value_name = "URL", conflicts_with_all = ["write", "floor", "upstream"])]
    redis: Option<String>,
    /// Set the document's table to this run's
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.upstream {
        let server = given_or_built(arguments.server.clone(), "fastmcp-auth0", "fastmcp-auth0")?;
        let peer = given_or_built(arguments.peer.clone(), "load", "peer")?;
        report::print(&runtime.block_on(upstream::Bench::start(&arguments, server, peer))?.run()?);
        return Ok(());
    }
    if let Some(redis) = &arguments.redis {
        let server = given_or_built(arguments.server.clone(), "fastmcp-auth0", "fastmcp-auth0")?;
        report::print(&runtime.block_on(quotas::Bench::start(&arguments, server, redis))?.run()?);
        return Ok(());
    }
    let binaries = Binaries {
        server: given_or_built(arguments.server.clone(), "fastmcp-auth0", "fastmcp-auth0")?,
        floor: given_or_built(arguments.floor.clone(), "load", "floor")?,
    };
    let results = runtime.block_on(Bench::start(arguments, binaries))?.run()?;
    let table = report::render(&results);
    report::print(&table);
    match &results.arguments.write {
        Some(file) => report::write(file, &table),
        None => Ok(()),
    }
}

/// The two programs.
pub(crate) struct Binaries {
    pub(crate) server: PathBuf,
    pub(crate) floor: PathBuf,
}

/// Returns the given program, or builds it with this program's own profile, beside it.
fn given_or_built(given: Option<PathBuf>, package: &str, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given);
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no target folder")?;
    build(package, name, folder)?;
    Ok(folder.join(name))
}

/// Builds a program into the profile's folder. A profile's folder has its name, but for `dev`.
fn build(package: &str, name: &str, folder: &Path) -> anyhow::Result<()> {
    let profile = folder.file_name().filter(|name| *name != "debug").unwrap_or(OsStr::new("dev"));
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--package", package, "--bin", name, "--profile"])
        .arg(profile)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()?;
    anyhow::ensure!(status.success(), "the build of {name} failed");
    Ok(())
}
