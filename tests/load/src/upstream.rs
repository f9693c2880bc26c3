//! What this server adds to a call of an upstream's tool, in time and memory, beside what a bare reverse proxy adds.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use local_tenant::LocalTenant;
use tempfile::TempDir;

use crate::Options;
use crate::client::{Client, Work, now};
use crate::measure::{AUDIENCE, CLIENT_CORE, SEEN, SERVER_CORE, WARM_UP, ask, configured, median};
use crate::process::{Process, free_port, pin};
use crate::requests::{Era, tenant_options, tokens};

/// The goal for what is added at one connection, in microseconds.
const REACH: f64 = 300.0;
/// The calls between two looks at the memory.
const CALLS: u64 = 10_000;
const CONNECTIONS: [usize; 2] = [1, 32];
/// For the server to have connected to the upstream.
const READY: Duration = Duration::from_secs(20);

/// Half and 99 of 100 answers came within, in microseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

/// One round with so many connections.
struct Round {
    alone: Latency,
    proxied: Latency,
    legacy: Latency,
    modern: Latency,
}

/// What a row shows, where its figures are, and whether they are this server's.
type Kind = (&'static str, fn(&Round) -> &Latency, bool);

/// Resident memory in KiB, before any call and after each [`CALLS`].
struct Memory([u64; 4]);

/// What a run needs.
pub(crate) struct Bench {
    rounds: usize,
    duration: Duration,
    server: PathBuf,
    peer: PathBuf,
    tenant: LocalTenant,
    tokens: Vec<String>,
    folder: TempDir,
}

impl Bench {
    pub(crate) async fn start(options: &Options, server: PathBuf, peer: PathBuf) -> anyhow::Result<Self> {
        let tenant = LocalTenant::start(tenant_options(AUDIENCE)).await?;
        let tokens = tokens(&tenant, SEEN)?;
        let folder = tempfile::tempdir()?;
        let (rounds, duration) = (options.rounds, options.duration());
        Ok(Self { rounds, duration, server, peer, tenant, tokens, folder })
    }

    /// Measures, and returns the table.
    pub(crate) fn run(self) -> anyhow::Result<String> {
        let mut rows = Vec::new();
        for connections in CONNECTIONS {
            let rounds: Vec<Round> =
                (0..self.rounds).map(|_| self.round(connections)).collect::<anyhow::Result<_>>()?;
            rows.push((connections, rounds));
        }
        Ok(render(&rows, &self.memory()?))
    }

    fn round(&self, connections: usize) -> anyhow::Result<Round> {
        let upstream = self.peer("serve", &[])?;
        let to = upstream.address.port().to_string();
        let proxy = self.peer("proxy", &[to.as_ref()])?;
        let server = self.server(upstream.address)?;
        let latency = |process: &Process, era, tool| self.latency(process.address, era, tool, connections);
        let round = Round {
            alone: latency(&upstream, Era::Legacy, "hello")?,
            proxied: latency(&proxy, Era::Legacy, "hello")?,
            legacy: latency(&server, Era::Legacy, "up_hello")?,
            modern: latency(&server, Era::Modern, "up_hello")?,
        };
        server.stop()?;
        Ok(round)
    }

    fn latency(
        &self,
        address: SocketAddr,
        era: Era,
        tool: &str,
        connections: usize,
    ) -> anyhow::Result<Latency> {
        let (requests, expected) = self.work(address, era, tool)?;
        let work = Work { requests: &requests, expected: &expected };
        let mut client = Client::connect(address, connections)?;
        client.run(&work, u64::MAX, WARM_UP)?;
        let outcome = client.run(&work, u64::MAX, self.duration)?;
        let percentile = |percent| outcome.percentile(percent).as_secs_f64() * 1e6;
        Ok(Latency { p50: percentile(50), p99: percentile(99) })
    }

    /// The requests, and the answer to each, which was looked at once.
    fn work(&self, address: SocketAddr, era: Era, tool: &str) -> anyhow::Result<(Vec<Vec<u8>>, Vec<u8>)> {
        let requests: Vec<Vec<u8>> = self.tokens.iter().map(|token| era.call(tool, token)).collect();
        let answer = ask(address, &requests[0])?;
        let text = String::from_utf8_lossy(&answer);
        anyhow::ensure!(text.contains(r#""greeting":"Hello, Ada!""#), "a wrong answer: {text}");
        Ok((requests, answer))
    }

    fn memory(&self) -> anyhow::Result<Memory> {
        let upstream = self.peer("serve", &[])?;
        let server = self.server(upstream.address)?;
        let mut resident = [server.resident()?; 4];
        let (requests, expected) = self.work(server.address, Era::Modern, "up_hello")?;
        let work = Work { requests: &requests, expected: &expected };
        let mut client = Client::connect(server.address, CONNECTIONS[1])?;
        for after in &mut resident[1..] {
            client.run(&work, CALLS, Duration::from_mins(1))?;
            *after = server.resident()?;
        }
        server.stop()?;
        Ok(Memory(resident))
    }

    fn peer(&self, kind: &str, more: &[&OsStr]) -> anyhow::Result<Process> {
        let port = free_port()?;
        let port_text = port.to_string();
        let arguments = [&[kind.as_ref(), port_text.as_ref()], more].concat();
        let log = self.folder.path().join(format!("{kind}.log"));
        let process = Process::start(&self.peer, &arguments, &[], port, &[SERVER_CORE], &log)?;
        pin(None, &[CLIENT_CORE]);
        Ok(process)
    }

    /// This server, once it has connected to the upstream.
    fn server(&self, upstream: SocketAddr) -> anyhow::Result<Process> {
        let config = self.folder.path().join("upstream.toml");
        std::fs::write(
            &config,
            format!(
                "[upstreams.peer]\nurl = \"http://{upstream}/mcp\"\nprefix = \"up_\"\n\
                 scopes = {{ read = [\"tool:greet\"] }}\n"
            ),
        )?;
        let server = configured(&self.server, self.tenant.issuer(), &config)?;
        let request = Era::Legacy.call("up_hello", &self.tokens[0]);
        let started = now();
        while !String::from_utf8_lossy(&ask(server.address, &request)?).contains("Hello, Ada!") {
            anyhow::ensure!(
                started.elapsed() < READY,
                "the server has no upstream: {}",
                std::fs::read_to_string(config.with_extension("log")).unwrap_or_default()
            );
        }
        Ok(server)
    }
}

fn render(rows: &[(usize, Vec<Round>)], Memory(resident): &Memory) -> String {
    let mut text = String::from(
        "| a call of an upstream's tool | connections | p50, us | p99, us | added p50, us | reach |\n|---|---|---|---|---|---|\n",
    );
    let kinds: [Kind; 4] = [
        ("the upstream alone", |round| &round.alone, false),
        ("behind a bare reverse proxy", |round| &round.proxied, false),
        ("behind this server, 2025-11-25", |round| &round.legacy, true),
        ("behind this server, 2026-07-28", |round| &round.modern, true),
    ];
    for (connections, rounds) in rows {
        for (what, latency, is_ours) in kinds {
            let middle =
                |value: fn(&Latency) -> f64| median(rounds.iter().map(|round| value(latency(round))));
            let added = median(rounds.iter().map(|round| latency(round).p50 - round.alone.p50));
            let reach = if is_ours && *connections == 1 { format!("{REACH:.0}") } else { String::new() };
            let (p50, p99) = (middle(|latency| latency.p50), middle(|latency| latency.p99));
            let _ = writeln!(text, "| {what} | {connections} | {p50:.0} | {p99:.0} | {added:.0} | {reach} |");
        }
    }
    text += "\n| resident | MiB |\n|---|---|\n";
    for (index, kib) in resident.iter().enumerate() {
        let calls = u64::try_from(index).unwrap_or_default() * CALLS;
        let _ = writeln!(text, "| after {calls} calls | {:.1} |", *kib as f64 / 1024.0);
    }
    text
}
