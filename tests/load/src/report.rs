//! The table, for people and for a document.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::client::Waits;
use crate::measure::{Cost, Extra, Pair, Results, Row, median};

const END: &str = "<!-- /measured -->\n";

fn middle(row: &Row, value: impl Fn(&Pair) -> f64) -> f64 {
    median(row.pairs.iter().map(value))
}

fn ratio(row: &Row, value: impl Fn(&Cost) -> f64) -> f64 {
    middle(row, |pair| value(&pair.server) / value(&pair.floor))
}

/// All that was measured, as markdown.
pub(crate) fn render(results: &Results) -> String {
    let mut text = format!(
        "{}; {} rounds of {} s; RS256-2048; medians, ratios within a round.\n\n",
        machine(results.pinned),
        results.cores.len(),
        results.seconds
    );
    costs(&mut text, results);
    extras(&mut text, results);
    latencies(&mut text, results);
    others(&mut text, results);
    text
}

/// The processor's name.
pub(crate) fn processor() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processor.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    name.unwrap_or("unknown processor").to_owned()
}

/// The processor and what runs where, as the beginning of a sentence.
pub(crate) fn machine(pinned: bool) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let pinned = if pinned { "server and client pinned to a core each" } else { "nothing pinned" };
    format!("{}, {} cores in all, {pinned}", processor(), cores.max(2))
}

fn verify(pair: &Pair) -> f64 {
    pair.verify.unwrap_or_default()
}

fn costs(text: &mut String, results: &Results) {
    *text += "| CPU per request | connections | floor, us | server, us | ratio | reach |\n|---|---|---|---|---|---|\n";
    let mut line = |row: &Row, reach: &str| {
        let (floor, server) = (middle(row, |pair| pair.floor.cpu), middle(row, |pair| pair.server.cpu));
        let ratio = ratio(row, |cost| cost.cpu);
        let asleep = if row.waits == Waits::Asleep { ", a client that sleeps" } else { "" };
        let _ = writeln!(
            text,
            "| {}{asleep} | {} | {floor:.2} | {server:.2} | {ratio:.2} | {reach} |",
            row.what, row.connections
        );
    };
    for row in &results.seen {
        line(row, "1.80");
    }
    for row in &results.unseen {
        let reach = middle(row, |pair| (pair.floor.cpu + verify(pair)) * 1.25 / pair.floor.cpu);
        line(row, &format!("{reach:.2}"));
    }
    let alone: Vec<String> =
        results.unseen.iter().map(|row| format!("{:.2} us", middle(row, verify))).collect();
    let _ = writeln!(
        text,
        "\nOne verify alone, by turns with the rows of unseen tokens: {}.\n",
        alone.join(" and ")
    );
}

fn extras(text: &mut String, results: &Results) {
    *text += "| CPU per request, seen, 32 connections | without, us | with, us | more | reach |\n|---|---|---|---|---|\n";
    for row in &results.extras {
        let middle = |value: fn(&(f64, f64)) -> f64| median(row.rounds.iter().map(value));
        let (without, with) = (middle(|round| round.0), middle(|round| round.1));
        let (what, more, reach) = match row.extra {
            Extra::LogLine => {
                ("a log line", format!("{:.2} us", middle(|round| round.1 - round.0)), "1.50 us")
            }
            Extra::MetricsAndAudit => {
                let more = middle(|round| 100.0 * (round.1 / round.0 - 1.0));
                ("metrics and an audit event", format!("{more:.0} %"), "10 %")
            }
        };
        let _ = writeln!(text, "| {what}, {} | {without:.2} | {with:.2} | {more} | {reach} |", row.era);
    }
    text.push('\n');
}

fn latencies(text: &mut String, results: &Results) {
    *text +=
        "| p99 latency | connections | floor, us | server, us | ratio | reach |\n|---|---|---|---|---|---|\n";
    for row in results.seen.iter().filter(|row| row.connections == 256 && row.waits == Waits::Awake) {
        let (floor, server) = (middle(row, |pair| pair.floor.p99), middle(row, |pair| pair.server.p99));
        let ratio = ratio(row, |cost| cost.p99);
        let _ = writeln!(
            text,
            "| {} | {} | {floor:.0} | {server:.0} | {ratio:.2} | 1.50 |",
            row.what, row.connections
        );
    }
    text.push('\n');
}

fn others(text: &mut String, results: &Results) {
    let arguments = &results.arguments;
    let gain = median(results.cores.iter().map(|(one, two)| 2.0 * one / two));
    let start = median(results.starts.iter().copied());
    let _ = write!(
        text,
        "| | measured | reach |\n|---|---|---|\n\
         | two cores, as a multiple of one | {gain:.2} | 1.80 |\n\
         | exec to the first answer | {start:.1} ms | 30 ms |\n\
         | resident when idle | {:.1} MiB | 10 MiB |\n\
         | each of {} idle connections | {:.1} KiB; bare hyper {:.1} KiB | 16 KiB |\n\
         | more resident after {} distinct valid tokens | {:.1} MiB | 64 MiB |\n",
        results.idle as f64 / 1024.0,
        arguments.idle,
        results.per_connection,
        results.floor_per_connection,
        arguments.memory_tokens,
        results.after_tokens as f64 / 1024.0,
    );
}

pub(crate) fn print(table: &str) {
    let _ = writeln!(std::io::stdout(), "{table}");
}

/// Puts a table between its marks in a document: `<!-- measured: NAME -->` and `<!-- /measured -->`.
///
/// # Errors
/// A document without the marks.
pub(crate) fn write(file: &Path, name: &str, table: &str) -> anyhow::Result<()> {
    let document = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let begin = format!("<!-- measured: {name} -->\n");
    let (before, rest) = document.split_once(&begin).context("the document has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the table's place in the document has no end")?;
    fs::write(file, format!("{before}{begin}{table}{END}{after}"))?;
    Ok(())
}
