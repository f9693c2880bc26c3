//! The soak: the real server under a mixed load for minutes, while its issuer's keys rotate, its issuer fails and its
//! configuration changes. Every answer is judged, and the process's memory and descriptors are watched.
//!
//! `cargo run --profile dist --package soak -- --minutes 5` builds the server as it was built itself, and ends with an error if
//! anything was wrong. `--attack` is the second mode: hostile clients beside honest ones.

mod attack_mode;
mod attack_report;
mod attacks;
mod clients;
mod report;
mod requests;
mod scene;
mod server;
mod tally;
mod trouble;
mod watch;
mod wire;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum as _};
use tokio::time::{Instant, sleep};

use crate::attacks::Attack;
use crate::clients::World;
use crate::report::Resources;
use crate::requests::Kind;
use crate::scene::Stage;
use crate::server::{Server, Settings};
use crate::tally::Tally;
use crate::trouble::Trouble;
use crate::watch::{afterwards, sample, watch};

/// Runs the real server under a mixed load, or under attack.
#[derive(Parser)]
struct Arguments {
    /// How long, in minutes
    #[arg(long, default_value_t = 5, conflicts_with = "seconds")]
    minutes: u64,
    /// How long, in seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// The server's binary; without it, it is built
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Attacks beside honest clients, instead of the mixed load
    #[arg(long)]
    attack: bool,
    /// Only this attack; can be repeated
    #[arg(long, value_name = "NAME", requires = "attack")]
    only: Vec<Attack>,
}

/// The load goes on for so long until the start is measured: threads, buffers and the first keys are there then.
const WARM_UP: Duration = Duration::from_millis(500);
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    // It runs in a folder of its own, so a relative path would lead elsewhere.
    let program =
        arguments.server.clone().map_or_else(build, Ok)?.canonicalize().context("no such server")?;
    let time = Duration::from_secs(arguments.seconds.unwrap_or(60 * arguments.minutes));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if !arguments.attack {
        return runtime.block_on(soak(&program, time));
    }
    let every = || Attack::value_variants().to_vec();
    let attacks = Some(arguments.only).filter(|only| !only.is_empty()).unwrap_or_else(every);
    runtime.block_on(attack_mode::run(&program, time, &attacks))
}

/// Builds the server with this program's own profile, beside it, and in `dist` as it is shipped. A profile's folder has its
/// name, but for `dev`.
fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no target folder")?;
    let profile = folder.file_name().filter(|name| *name != "debug").unwrap_or(OsStr::new("dev"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut command = Command::new(env!("CARGO"));
    if profile == "dist" {
        command = Command::new(Path::new(root).join("deploy/build"));
    } else {
        command.args(["build", "--locked", "--package=fastmcp-auth0", "--bin=fastmcp-auth0", "--profile"]);
        command.arg(profile);
    }
    let status = command.current_dir(root).status()?;
    anyhow::ensure!(status.success(), "the build failed");
    Ok(folder.join("fastmcp-auth0"))
}

async fn soak(program: &Path, time: Duration) -> anyhow::Result<ExitCode> {
    let tenant = Arc::new(trouble::tenant(Vec::new()).await?);
    let stage = Arc::new(Stage::new(trouble::mint(&tenant).await?));
    let server = Arc::new(Server::start(program, tenant.issuer(), Settings::Mixed).await?);
    sleep(WARM_UP).await;
    let start = sample(&server, Duration::ZERO)?;
    let world = World {
        address: server.address,
        stage: Arc::clone(&stage),
        tally: Arc::new(Tally::default()),
        until: Instant::now() + time,
        mix: &Kind::MIX,
        pause: PAUSE,
    };
    let trouble = tokio::spawn(Trouble { tenant, server: Arc::clone(&server), stage }.run());
    let watched = tokio::spawn(watch(Arc::clone(&server), world.until, time));
    clients::run(&world, &clients::MIXED).await;
    let under_load = watched.await??;
    anyhow::ensure!(!trouble.is_finished(), "the troubles ended early: {:?}", trouble.await);
    trouble.abort();
    let _ = trouble.await;
    let end = afterwards(&server, start, time).await?;
    let mut server = Arc::into_inner(server).context("somebody still has the server")?;
    let exit = server.stop().await?.code();
    Ok(conclude(&world.tally, &Resources { start, under_load, end, exit }, &server.log()))
}

/// Prints what it came to.
fn conclude(tally: &Tally, resources: &Resources, log: &str) -> ExitCode {
    let counts = tally.lock();
    report::print(&report::render(&counts, resources));
    report::verdict(&report::violations(&counts, resources), log)
}
