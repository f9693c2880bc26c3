//! This server beside others, and all of them beside bare hyper: the same tool, behind the same tokens, one after the other.

mod adapters;
mod plot;
mod rows;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use local_tenant::LocalTenant;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Options;
use crate::client::{Client, Exchange, Work};
use crate::compare::adapters::Adapter;
use crate::compare::rows::Rows;
use crate::measure::{AUDIENCE, CLIENT_CORE, SEEN, SERVER_CORE, WARM_UP, ask};
use crate::process::{Process, free_port, pin};
use crate::report::machine;
use crate::requests::{Era, HOST, tenant_options, tokens};
use crate::url::calls::{Calls, Target, Tool};
use crate::url::{Figures, figures};

const CONNECTIONS: usize = 32;

#[derive(Args)]
pub(crate) struct CompareOptions {
    /// Which others, separated by commas; without it, all
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = adapters::names())]
    only: Vec<String>,
    /// How many tokens this server sees that it has never seen before
    #[arg(long, default_value_t = 20_000)]
    tokens: usize,
    /// Draw the figures into this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// A build of the floor; without it, it is built
    #[arg(long, value_name = "PATH")]
    pub(crate) floor: Option<PathBuf>,
    /// A build of the adapter for rmcp; without it, `adapters/install`'s
    #[arg(long, value_name = "PATH")]
    rmcp: Option<PathBuf>,
    /// A Node; without it, `adapters/install`'s
    #[arg(long, value_name = "PATH")]
    node: Option<PathBuf>,
    /// A Python that has the adapters' packages; without it, `adapters/install`'s
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// One server in one revision, in one round.
struct Measured {
    figures: Figures,
    /// In KiB, after the requests.
    resident: u64,
}

/// What a run needs.
pub(crate) struct Bench {
    rounds: usize,
    duration: Duration,
    arguments: CompareOptions,
    others: Vec<&'static Adapter>,
    versions: Vec<String>,
    server: PathBuf,
    floor: PathBuf,
    tenant: LocalTenant,
    folder: TempDir,
    seen: Vec<String>,
    fresh: Vec<String>,
    /// What the tool is called with.
    greeted: Value,
    pinned: bool,
}

impl Bench {
    pub(crate) async fn start(
        options: &Options,
        arguments: CompareOptions,
        server: PathBuf,
        floor: PathBuf,
    ) -> anyhow::Result<Self> {
        let others = adapters::named(&arguments.only);
        let mut versions = vec![own_versions(&server)?];
        for other in &others {
            let made_of = other.versions(&arguments)?;
            if !versions.contains(&made_of) {
                versions.push(made_of);
            }
        }
        let tenant = LocalTenant::start(tenant_options(AUDIENCE)).await?;
        let (seen, fresh) = (tokens(&tenant, SEEN)?, tokens(&tenant, arguments.tokens)?);
        Ok(Self {
            rounds: options.rounds,
            duration: options.duration(),
            arguments,
            others,
            versions,
            server,
            floor,
            tenant,
            folder: tempfile::tempdir()?,
            seen,
            fresh,
            greeted: json!({"name": "Ada"}),
            pinned: pin(None, &[CLIENT_CORE]),
        })
    }

    /// Measures, draws the plot if there is to be one, and returns the table.
    pub(crate) fn run(self) -> anyhow::Result<String> {
        let mut rows = Rows::default();
        for _ in 0..self.rounds {
            self.round(&mut rows)?;
        }
        if let Some(file) = &self.arguments.plot {
            fs::write(file, plot::draw(&rows)).with_context(|| format!("{}", file.display()))?;
        }
        let conditions = format!(
            "{}; {CONNECTIONS} connections; {} rounds of {} s; RS256-2048; medians, ratios within a round.",
            machine(self.pinned),
            self.rounds,
            self.duration.as_secs_f64()
        );
        Ok(format!("{conditions}\n\n{}\nVersions: {}.\n", rows.render(), self.versions.join("; ")))
    }

    /// Every server once, each started anew.
    fn round(&self, rows: &mut Rows) -> anyhow::Result<()> {
        let server = self.ours()?;
        for era in Era::BOTH {
            rows.add("bare hyper", era, self.bare_hyper(era, &server)?);
        }
        for era in Era::BOTH {
            rows.add("this server", era, self.seen(&server, era)?);
        }
        server.stop()?;
        for era in Era::BOTH {
            rows.add("this server, each token new", era, self.unseen(era)?);
        }
        for other in &self.others {
            let server = self.other(other)?;
            for era in other.eras() {
                rows.add(other.title, *era, self.seen(&server, *era).context(other.title)?);
            }
            server.stop()?;
        }
        Ok(())
    }

    /// The requests are this server's, and so is the answer.
    fn bare_hyper(&self, era: Era, server: &Process) -> anyhow::Result<Measured> {
        let requests = requests(era, &self.seen);
        let answer = ask(server.address, &requests[0])?;
        era.check(&answer)?;
        let file = self.folder.path().join(era.name());
        fs::write(&file, &answer)?;
        let floor = self.process(&self.floor, &[], |port| vec![port.into(), file.clone().into()])?;
        let measured = self.measured(&floor, &Work { requests: &requests, expected: &answer })?;
        floor.stop()?;
        Ok(measured)
    }

    /// Tokens that the server has seen before, should it remember any.
    fn seen(&self, server: &Process, era: Era) -> anyhow::Result<Measured> {
        let calls = self.calls(server, era)?;
        self.measured(server, &calls)
    }

    /// After as much of the same, so that what compiles or caches what it runs has done so.
    fn measured(&self, server: &Process, work: &impl Exchange) -> anyhow::Result<Measured> {
        let mut client = Client::connect(server.address, CONNECTIONS)?;
        client.run(work, u64::MAX, self.duration.max(WARM_UP))?;
        let figures = figures(&mut client, work, u64::MAX, self.duration, Some(server.id()))?;
        Ok(Measured { figures, resident: server.resident()? })
    }

    /// Tokens that this server has never seen: each is sent once.
    fn unseen(&self, era: Era) -> anyhow::Result<Measured> {
        let server = self.ours()?;
        let (known, fresh) = (requests(era, &self.seen), requests(era, &self.fresh));
        let answer = ask(server.address, &known[0])?;
        let mut client = Client::connect(server.address, CONNECTIONS)?;
        client.run(&Work { requests: &known, expected: &answer }, u64::MAX, WARM_UP)?;
        let work = Work { requests: &fresh, expected: &answer };
        let most = Duration::from_mins(2);
        let figures = figures(&mut client, &work, fresh.len() as u64, most, Some(server.id()))?;
        let measured = Measured { figures, resident: server.resident()? };
        server.stop()?;
        Ok(measured)
    }

    /// Calls of the tool, once the server has shown that it verifies tokens and greets whom they name.
    fn calls(&self, server: &Process, era: Era) -> anyhow::Result<Calls> {
        let target = Target::local(server.address);
        let tool = Tool { era, name: "greet", arguments: &self.greeted };
        let forged = forged(&self.seen[0])?;
        ensure!(Calls::status(&target, &tool, &forged)? == 401, "a forged token is not refused");
        let calls = Calls::open(&target, &tool, &self.seen, CONNECTIONS)?;
        let result = calls.result()?;
        let greeting = json!({"greeting": "Hello, Ada (auth0|local-admin)!", "sub": "auth0|local-admin"});
        ensure!(result["structuredContent"] == greeting, "another greeting: {result}");
        Ok(calls)
    }

    fn ours(&self) -> anyhow::Result<Process> {
        let environment = [
            ("AUTH0_ISSUER", self.tenant.issuer()),
            ("AUTH0_AUDIENCE", AUDIENCE),
            // Some requests name the host of the other measurements.
            ("FASTMCP__HTTP__ALLOWED_HOSTS", HOST),
            ("FASTMCP__LOG__LEVEL", "warn"),
        ];
        self.process(&self.server, &environment, |_| vec!["serve".into()])
    }

    fn other(&self, adapter: &Adapter) -> anyhow::Result<Process> {
        let command = |port: &str| {
            adapter.command(&self.arguments, &[port, self.tenant.issuer(), AUDIENCE, adapter.mode()])
        };
        // What Express' documentation wants of a server that is not being developed.
        self.process(&command("").0, &[("NODE_ENV", "production")], |port| command(port).1)
            .with_context(|| format!("{} does not start", adapter.title))
    }

    fn process(
        &self,
        program: &Path,
        environment: &[(&str, &str)],
        arguments: impl Fn(&str) -> Vec<OsString>,
    ) -> anyhow::Result<Process> {
        let port = free_port()?;
        let text = port.to_string();
        let arguments = arguments(&text);
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let environment = [environment, &[("PORT", text.as_str())]].concat();
        let log = self.folder.path().join("server.log");
        let started = Process::start(program, &arguments, &environment, port, &[SERVER_CORE], &log);
        pin(None, &[CLIENT_CORE]);
        started.with_context(|| fs::read_to_string(&log).unwrap_or_default())
    }
}

/// This server's version, and hyper's, which the floor has, too.
fn own_versions(server: &Path) -> anyhow::Result<String> {
    let output = Command::new(server).arg("--version").output().context("this server's version")?;
    let lock = include_str!("../../../Cargo.lock");
    let hyper = lock.split("\n\n").find(|package| package.contains("\nname = \"hyper\"\n"));
    let version = hyper.and_then(|package| package.split('"').nth(3)).context("hyper is not locked")?;
    Ok(format!("{}, hyper {version}", String::from_utf8_lossy(&output.stdout).trim()))
}

fn requests(era: Era, tokens: &[String]) -> Vec<Vec<u8>> {
    tokens.iter().map(|token| era.request(token)).collect()
}

/// The token with another signature, as well-formed as its own.
fn forged(token: &str) -> anyhow::Result<String> {
    let (signed, signature) = token.rsplit_once('.').context("a token has no signature")?;
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    Ok(format!("{signed}.{first}{}", signature.get(1..).unwrap_or_default()))
}
