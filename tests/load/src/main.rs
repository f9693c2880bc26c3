//! The benchmark: what a request costs this server, as a ratio to what it costs bare hyper in the same run.
//!
//! `cargo run --profile dist --package load -- WHAT` builds what it measures, runs it on one core with its client on another, checks
//! every answer, and prints a table; `--write FILE` puts that between its marks in a document.

#![expect(clippy::cast_precision_loss, reason = "microseconds and kibibytes are far below 2^52")]

mod client;
mod compare;
mod growth;
mod layout;
mod measure;
mod process;
mod quotas;
mod report;
mod requests;
mod upstream;
mod url;
mod verify;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use local_tenant::LocalTenant;

use crate::growth::{Programs, Setting};
use crate::measure::{AUDIENCE, Bench};
use crate::requests::tenant_options;

/// Measures this server.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: What,
}

/// What all measurements have in common.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds of each measurement
    #[arg(long, global = true, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// How often each is repeated; the tables have medians
    #[arg(long, global = true, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Another build of the server, to be compared with; without it, it is built
    #[arg(long, global = true, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Set the table in this document to this run's
    #[arg(long, global = true, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// A request, beside bare hyper
    Cost(CostOptions),
    /// A call of another server's tool, beside a bare reverse proxy
    Upstream(UpstreamOptions),
    /// Quotas, in the process and in Redis
    Quotas(QuotasOptions),
    /// How cost grows with whatever there can be more of
    Growth(GrowthOptions),
    /// A running MCP server, whoever made it
    Url(url::UrlOptions),
    /// This server beside others
    Compare(compare::CompareOptions),
    /// Which functions a server runs, for the linker; needs valgrind
    Layout(layout::LayoutOptions),
    /// Requests of each kind, for a server that counts what it runs
    Train,
}

#[derive(Args)]
pub(crate) struct CostOptions {
    /// How many tokens a server sees that it has never seen before
    #[arg(long, default_value_t = 20_000)]
    pub(crate) tokens: usize,
    /// How many distinct tokens the memory is measured after
    #[arg(long, default_value_t = 20_000)]
    pub(crate) memory_tokens: usize,
    /// How many connections stay open without a request
    #[arg(long, default_value_t = 4096)]
    pub(crate) idle: usize,
    /// A build of the floor; without it, it is built
    #[arg(long, value_name = "PATH")]
    floor: Option<PathBuf>,
}

#[derive(Args)]
struct UpstreamOptions {
    /// A build of the upstream and the reverse proxy; without it, it is built
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
}

#[derive(Args)]
struct QuotasOptions {
    /// A Redis to measure quotas in
    #[arg(long, value_name = "URL")]
    redis: String,
}

#[derive(Args)]
pub(crate) struct GrowthOptions {
    /// The most of anything
    #[arg(long, default_value_t = 10_000)]
    pub(crate) most: usize,
    /// A Redis that replicas share; without it, they are left out
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
    /// Nothing but this: lists, scopes, depth, connections, subscriptions, upstreams, questions, replicas or keys
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// A build of the server with many tools; without it, it is built
    #[arg(long, value_name = "PATH")]
    many: Option<PathBuf>,
    /// A build of the floor; without it, it is built
    #[arg(long, value_name = "PATH")]
    floor: Option<PathBuf>,
    /// A build of the upstream; without it, it is built
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
}

impl Options {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn server(&self) -> anyhow::Result<PathBuf> {
        given_or_built(self.server.as_deref(), "fastmcp-auth0", "fastmcp-auth0")
    }
}

fn main() -> anyhow::Result<()> {
    let Cli { options, what } = Cli::parse();
    let server = || options.server();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mark, table) = match what {
        What::Cost(cost) => {
            let floor = given_or_built(cost.floor.as_deref(), "load", "floor")?;
            let results = runtime.block_on(Bench::start(&options, cost, server()?, floor))?.run()?;
            ("cost", report::render(&results))
        }
        What::Upstream(upstream) => {
            let peer = given_or_built(upstream.peer.as_deref(), "load", "peer")?;
            ("upstream", runtime.block_on(upstream::Bench::start(&options, server()?, peer))?.run()?)
        }
        What::Quotas(quotas) => {
            ("quotas", runtime.block_on(quotas::Bench::start(&options, server()?, &quotas.redis))?.run()?)
        }
        What::Url(server) => ("url", url::run(&options, &server)?),
        What::Compare(compare) => {
            let floor = given_or_built(compare.floor.as_deref(), "load", "floor")?;
            let bench = compare::Bench::start(&options, compare, server()?, floor);
            ("compare", runtime.block_on(bench)?.run()?)
        }
        What::Layout(layout) => {
            let tenant = runtime.block_on(LocalTenant::start(tenant_options(AUDIENCE)))?;
            return layout::write(&server()?, &tenant, &layout);
        }
        What::Train => {
            let tenant = runtime.block_on(LocalTenant::start(tenant_options(AUDIENCE)))?;
            return layout::train(&server()?, &tenant);
        }
        What::Growth(growth) => {
            let many = given_or_built(growth.many.as_deref(), "load", "many")?;
            let floor = given_or_built(growth.floor.as_deref(), "load", "floor")?;
            let peer = given_or_built(growth.peer.as_deref(), "load", "peer")?;
            let setting =
                runtime.block_on(Setting::start(&options, growth, Programs { many, floor, peer }))?;
            ("growth", growth::measure(&setting)?)
        }
    };
    report::print(&table);
    match &options.write {
        Some(file) => report::write(file, mark, &table),
        None => Ok(()),
    }
}

/// Returns the given program, or builds it with this program's own profile, beside it.
fn given_or_built(given: Option<&Path>, package: &str, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no target folder")?;
    build(package, name, folder)?;
    Ok(folder.join(name))
}

/// Builds a program into the profile's folder, which has the profile's name, but for `dev`. The server is built as it is shipped.
fn build(package: &str, name: &str, folder: &Path) -> anyhow::Result<()> {
    let profile = folder.file_name().filter(|name| *name != "debug").unwrap_or(OsStr::new("dev"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut command = Command::new(env!("CARGO"));
    if profile == "dist" && name == "fastmcp-auth0" {
        command = Command::new(Path::new(root).join("deploy/build"));
    } else {
        command.args(["build", "--locked", "--package", package, "--bin", name, "--profile"]).arg(profile);
    }
    let status = command.current_dir(root).status()?;
    anyhow::ensure!(status.success(), "the build of {name} failed");
    Ok(())
}
