//! What quotas add to a call: counted in the process, and in Redis.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use local_tenant::LocalTenant;
use tempfile::TempDir;

use crate::Options;
use crate::client::{Client, Work};
use crate::measure::{AUDIENCE, SEEN, WARM_UP, ask, configured, median};
use crate::process::Process;
use crate::requests::{Era, tenant_options, tokens};

/// The goal for what Redis adds at one connection, in microseconds.
const REACH: f64 = 300.0;
const CONNECTIONS: [usize; 2] = [1, 32];
/// Rates that no benchmark uses up.
pub(crate) const QUOTA: &str = "[quota]\nsubject = \"1000000/second\"\nclient = \"1000000/second\"\n";
pub(crate) const KEYS: &str = "[mcp]\nstate_keys = [\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]\n";

/// Half and 99 of 100 answers came within, in microseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

/// What a run needs.
pub(crate) struct Bench {
    rounds: usize,
    duration: Duration,
    server: PathBuf,
    tenant: LocalTenant,
    tokens: Vec<String>,
    folder: TempDir,
    /// What is measured, with the configuration that makes it.
    kinds: [(&'static str, String); 3],
}

impl Bench {
    pub(crate) async fn start(options: &Options, server: PathBuf, redis: &str) -> anyhow::Result<Self> {
        let tenant = LocalTenant::start(tenant_options(AUDIENCE)).await?;
        let kinds = [
            ("without quotas", String::new()),
            ("with quotas in the process", QUOTA.to_owned()),
            (
                "with quotas in Redis",
                format!(
                    "{QUOTA}when_redis_is_away = \"refuse\"\n{KEYS}[redis]\nurl = {redis:?}\ntimeout_ms = 5000\n"
                ),
            ),
        ];
        Ok(Self {
            rounds: options.rounds,
            duration: options.duration(),
            server,
            tokens: tokens(&tenant, SEEN)?,
            tenant,
            folder: tempfile::tempdir()?,
            kinds,
        })
    }

    /// Measures, and returns the table.
    pub(crate) fn run(self) -> anyhow::Result<String> {
        let mut text = String::from(
            "| a call of a seen token | connections | p50, us | p99, us | added p50, us | reach |\n|---|---|---|---|---|---|\n",
        );
        for connections in CONNECTIONS {
            let rounds: Vec<Vec<Latency>> = (0..self.rounds)
                .map(|_| self.kinds.iter().map(|(_, config)| self.latency(config, connections)).collect())
                .collect::<anyhow::Result<_>>()?;
            for (index, (what, _)) in self.kinds.iter().enumerate() {
                let p50 = median(rounds.iter().map(|round| round[index].p50));
                let p99 = median(rounds.iter().map(|round| round[index].p99));
                let added = median(rounds.iter().map(|round| round[index].p50 - round[0].p50));
                let reach =
                    if index == 2 && connections == 1 { format!("{REACH:.0}") } else { String::new() };
                let _ =
                    writeln!(text, "| {what} | {connections} | {p50:.0} | {p99:.0} | {added:.0} | {reach} |");
            }
        }
        Ok(text)
    }

    fn latency(&self, config: &str, connections: usize) -> anyhow::Result<Latency> {
        let server = self.server(config)?;
        let requests: Vec<Vec<u8>> = self.tokens.iter().map(|token| Era::Legacy.request(token)).collect();
        let expected = ask(server.address, &requests[0])?;
        Era::Legacy.check(&expected)?;
        let work = Work { requests: &requests, expected: &expected };
        let mut client = Client::connect(server.address, connections)?;
        client.run(&work, u64::MAX, WARM_UP)?;
        let outcome = client.run(&work, u64::MAX, self.duration)?;
        server.stop()?;
        let percentile = |percent| outcome.percentile(percent).as_secs_f64() * 1e6;
        Ok(Latency { p50: percentile(50), p99: percentile(99) })
    }

    fn server(&self, config: &str) -> anyhow::Result<Process> {
        let file = self.folder.path().join("quotas.toml");
        std::fs::write(&file, config)?;
        configured(&self.server, self.tenant.issuer(), &file)
    }
}
