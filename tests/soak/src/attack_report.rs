//! What a run with attacks came to: the tables, and what was wrong.

use std::fmt::Write as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use crate::attacks::{Attack, Journal};
use crate::report::{LEFT_OPEN, Sample, mib};
use crate::tally::Counts;

/// The most resident memory at any sample, in KiB.
const MAX_RESIDENT: u64 = 256 * 1024;

/// What was seen of the process.
pub(crate) struct Outcome {
    pub(crate) start: Sample,
    pub(crate) under_attack: Vec<Sample>,
    /// The kernel's own maximum, in KiB, unless the process has ended.
    pub(crate) peak: Option<u64>,
    /// After the clients have gone, unless the process has ended.
    pub(crate) end: Option<Sample>,
    pub(crate) exit: anyhow::Result<ExitStatus>,
    /// Why the run ended early.
    pub(crate) broken: Option<anyhow::Error>,
}

impl Outcome {
    fn max_resident(&self) -> u64 {
        self.under_attack.iter().map(|sample| sample.resident).fold(self.start.resident, u64::max)
    }

    fn max_descriptors(&self) -> usize {
        self.under_attack.iter().map(|sample| sample.descriptors).fold(self.start.descriptors, usize::max)
    }

    fn violations(&self) -> Vec<String> {
        let mut found: Vec<String> = self.broken.iter().map(|error| format!("{error:#}")).collect();
        if self.max_resident() > MAX_RESIDENT {
            let (most, limit) = (mib(self.max_resident()), mib(MAX_RESIDENT));
            found.push(format!("resident memory was {most} MiB, more than {limit}"));
        }
        if let Some(end) = self.end
            && end.descriptors.abs_diff(self.start.descriptors) > LEFT_OPEN
        {
            found.push(format!("{} descriptors, then {}", self.start.descriptors, end.descriptors));
        }
        match &self.exit {
            Ok(status) if status.success() => {}
            Ok(status) => found.push(format!("the server ended with {status}")),
            Err(error) => found.push(format!("{error:#}")),
        }
        found
    }
}

/// Everything that is wrong.
pub(crate) fn violations(
    attacks: &[(Attack, Arc<Journal>)],
    honest: &Counts,
    outcome: &Outcome,
) -> Vec<String> {
    let mut found = outcome.violations();
    if !honest.wrong.is_empty() {
        found.push(format!("wrong answers to honest clients: {:?}; the first:", honest.wrong));
        found.extend(honest.told.iter().cloned());
    }
    for (attack, journal) in attacks {
        let entry = journal.lock();
        found.extend(entry.reported.iter().map(|what| format!("{attack:?}: {what}")));
    }
    found
}

/// The tables, in Markdown.
pub(crate) fn render(attacks: &[(Attack, Arc<Journal>)], honest: &Counts, outcome: &Outcome) -> String {
    let mut text =
        String::from("| Attack | Sent | Answers | Closed | Violations |\n| --- | --- | --- | --- | --- |\n");
    for (attack, journal) in attacks {
        let entry = journal.lock();
        let answers: Vec<String> =
            entry.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let (sent, answers, closed) = (entry.sent, answers.join(", "), entry.closed);
        let _ = writeln!(text, "| {attack:?} | {sent} | {answers} | {closed} | {} |", entry.violations);
    }
    text.push_str("\n| Honest clients | Answers |\n| --- | --- |\n");
    for (kind, outcomes) in &honest.outcomes {
        let each: Vec<String> =
            outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
        let _ = writeln!(text, "| {kind:?} | {} |", each.join(", "));
    }
    let total: u64 = honest.outcomes.values().flat_map(|outcomes| outcomes.values()).sum();
    let wrong: u64 = honest.wrong.values().sum();
    let _ = writeln!(text, "| all | {total}, of which wrong: {wrong} |");
    let _ = writeln!(text, "| latency | {} |", latency(&honest.latencies));
    let _ = writeln!(text, "| resident, MiB | {} |", resident(outcome));
    let _ = writeln!(text, "| descriptors | {} |", descriptors(outcome));
    text
}

fn latency(latencies: &[Duration]) -> String {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let index = sorted.len().saturating_sub(1) * percent / 100;
        sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    format!("p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(50), at(99), at(100))
}

fn resident(outcome: &Outcome) -> String {
    let or_none = |kib: Option<u64>| kib.map_or_else(|| "none".to_owned(), mib);
    format!(
        "start {}, most {}, end {} (the kernel's maximum {})",
        mib(outcome.start.resident),
        mib(outcome.max_resident()),
        or_none(outcome.end.map(|end| end.resident)),
        or_none(outcome.peak),
    )
}

fn descriptors(outcome: &Outcome) -> String {
    let end = outcome.end.map_or_else(|| "none".to_owned(), |end| end.descriptors.to_string());
    format!("start {}, most {}, end {end}", outcome.start.descriptors, outcome.max_descriptors())
}
