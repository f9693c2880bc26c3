//! The benchmark: what a request costs this server, as a ratio to what it costs bare hyper in the same run.
//!
//! `cargo run --release --package load` builds both, runs them in turn on one core with their client on another, checks
//! every answer, and prints a table; `--write FILE` puts it between the marks of a document.

#![expect(clippy::cast_precision_loss, reason = "microseconds and kibibytes are far below 2^52")]

mod client;
mod measure;
mod process;
mod report;
mod requests;
mod verify;

use std::path::PathBuf;
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
    /// Set the document's table to this run's
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let binaries = build(arguments.server.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
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

/// Builds both as this program was built, and so beside it: figures are those of `--release`.
fn build(server: Option<PathBuf>) -> anyhow::Result<Binaries> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let release: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let packages: &[&str] = if server.is_some() { &[] } else { &["--package", "fastmcp-auth0"] };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--package", "load", "--bins"])
        .args(packages)
        .args(release)
        .current_dir(root)
        .status()?;
    anyhow::ensure!(status.success(), "the build failed");
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no target folder")?;
    Ok(Binaries {
        server: server.unwrap_or_else(|| folder.join("fastmcp-auth0")),
        floor: folder.join("floor"),
    })
}
