//! Any MCP server under load, by its URL: calls of one tool over keep-alive connections, every answer checked.

pub(crate) mod answer;
pub(crate) mod calls;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use crate::Options;
use crate::client::{Client, Exchange, now};
use crate::measure::{WARM_UP, median};
use crate::process::{cpu, family, resident};
use crate::requests::Era;
use crate::url::calls::{Calls, Target, Tool};

#[derive(Args)]
pub(crate) struct UrlOptions {
    /// The server's endpoint, such as `http://127.0.0.1:8000/mcp`
    url: String,
    /// A bearer token
    #[arg(long)]
    token: Option<String>,
    /// A file with a bearer token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The server's process: its CPU time and memory are told, and those of the processes that it started
    #[arg(long)]
    pid: Option<u32>,
    /// The tool that is called
    #[arg(long, default_value = "greet")]
    tool: String,
    /// Its arguments
    #[arg(long, value_name = "JSON", default_value = r#"{"name":"Ada"}"#, value_parser = |text: &str| serde_json::from_str::<Value>(text))]
    arguments: Value,
    /// How many connections, one number after the other
    #[arg(long, value_name = "N", num_args = 1.., default_values_t = [32])]
    connections: Vec<usize>,
    /// The revision that the client speaks
    #[arg(long, default_value = "2025-11-25")]
    era: Era,
    /// Allow a server that is not on this machine; only ever one of your own
    #[arg(long)]
    anywhere: bool,
}

/// What a load came to.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    /// Half and 99 of 100 answers came within, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Time on a core for a request, in microseconds; none without a process.
    pub(crate) cpu: Option<f64>,
}

/// Measures, and returns the table.
pub(crate) fn run(options: &Options, arguments: &UrlOptions) -> anyhow::Result<String> {
    let target = Target::parse(&arguments.url, arguments.anywhere)?;
    let file = arguments.token_file.as_ref();
    let read = file.map(|file| fs::read_to_string(file).with_context(|| format!("{}", file.display())));
    let token = arguments.token.clone().or(read.transpose()?).map(|token| token.trim().to_owned());
    let tokens: Vec<String> = token.into_iter().collect();
    let tool = Tool { era: arguments.era, name: &arguments.tool, arguments: &arguments.arguments };
    let mut text = String::from(
        "| connections | requests/s | p50, us | p99, us | CPU per request, us |\n|---|---|---|---|---|\n",
    );
    for &connections in &arguments.connections {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            let calls = Calls::open(&target, &tool, &tokens, connections)?;
            let mut client = Client::connect(target.address, connections)?;
            client.run(&calls, u64::MAX, WARM_UP)?;
            rounds.push(figures(&mut client, &calls, u64::MAX, options.duration(), arguments.pid)?);
        }
        let middle = |value: fn(&Figures) -> f64| median(rounds.iter().map(value));
        let cpu = arguments.pid.map(|_| format!("{:.2}", middle(|round| round.cpu.unwrap_or_default())));
        let _ = writeln!(
            text,
            "| {connections} | {:.0} | {:.0} | {:.0} | {} |",
            middle(|round| round.per_second),
            middle(|round| round.p50),
            middle(|round| round.p99),
            cpu.unwrap_or_default()
        );
    }
    if let Some(pid) = arguments.pid {
        let kib: u64 = family(pid)?.into_iter().map(resident).sum::<anyhow::Result<u64>>()?;
        let _ = writeln!(text, "\nResident: {:.1} MiB.", kib as f64 / 1024.0);
    }
    Ok(text)
}

/// Measures so many requests, or for so long.
pub(crate) fn figures(
    client: &mut Client,
    work: &impl Exchange,
    count: u64,
    most: Duration,
    pid: Option<u32>,
) -> anyhow::Result<Figures> {
    let processes = pid.map(family).transpose()?.unwrap_or_default();
    let book = || processes.iter().map(|pid| cpu(*pid)).sum::<anyhow::Result<Duration>>();
    let (started, before) = (now(), book()?);
    let outcome = client.run(work, count, most)?;
    let (elapsed, after) = (started.elapsed(), book()?);
    let answers = outcome.answers as f64;
    let percentile = |percent| outcome.percentile(percent).as_secs_f64() * 1e6;
    let each = after.saturating_sub(before).as_secs_f64() * 1e6 / answers;
    Ok(Figures {
        per_second: answers / elapsed.as_secs_f64(),
        p50: percentile(50),
        p99: percentile(99),
        cpu: pid.map(|_| each),
    })
}
