//! What a run came to: the table, and what was wrong.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::tally::Counts;

/// The server's resources at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) seconds: u64,
    /// In KiB.
    pub(crate) resident: u64,
    pub(crate) descriptors: usize,
}

/// What was seen of the process. There is a first and a last sample in any case.
pub(crate) struct Resources {
    pub(crate) start: Sample,
    pub(crate) under_load: Vec<Sample>,
    /// After the clients have gone.
    pub(crate) end: Sample,
    /// 0 for a good end.
    pub(crate) exit: Option<i32>,
}

/// Resident memory may grow so much from the end of the first third, in KiB.
const GROWTH: u64 = 16 * 1024;
/// Descriptors come back so close to where they were.
pub(crate) const LEFT_OPEN: usize = 8;
/// The series has about so many points.
const POINTS: usize = 20;

impl Resources {
    fn third(&self) -> Sample {
        self.under_load.get(self.under_load.len() / 3).copied().unwrap_or(self.start)
    }

    fn last(&self) -> Sample {
        self.under_load.last().copied().unwrap_or(self.start)
    }

    fn most<T: Ord>(&self, what: impl Fn(&Sample) -> T) -> T {
        self.under_load.iter().map(&what).fold(what(&self.start), T::max)
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let grown = self.last().resident.max(self.end.resident).saturating_sub(self.third().resident);
        if grown > GROWTH {
            found.push(format!("resident memory grew by {grown} KiB after the first third"));
        }
        if self.end.descriptors.abs_diff(self.start.descriptors) > LEFT_OPEN {
            found.push(format!("{} descriptors, then {}", self.start.descriptors, self.end.descriptors));
        }
        if self.exit != Some(0) {
            found.push(format!("the server's exit code is {:?}", self.exit));
        }
        found
    }
}

/// Everything that is wrong.
pub(crate) fn violations(counts: &Counts, resources: &Resources) -> Vec<String> {
    let mut found = resources.violations();
    if !counts.wrong.is_empty() {
        found.push(format!("wrong answers: {:?}; the first:", counts.wrong));
        found.extend(counts.told.iter().cloned());
    }
    found
}

/// The table and the series, in Markdown.
pub(crate) fn render(counts: &Counts, resources: &Resources) -> String {
    let mut text = String::from("| Requests | Answers |\n| --- | --- |\n");
    let mut total = 0;
    for (kind, outcomes) in &counts.outcomes {
        let each: Vec<String> =
            outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
        total += outcomes.values().sum::<u64>();
        let _ = writeln!(text, "| {kind:?} | {} |", each.join(", "));
    }
    let _ = writeln!(text, "| all | {total}, of which wrong: {} |", counts.wrong.values().sum::<u64>());
    let (start, third, end) = (resources.start, resources.third(), resources.end);
    let _ = writeln!(
        text,
        "| resident, MiB | start {}, third {}, most {}, last {}, after {} |",
        mib(start.resident),
        mib(third.resident),
        mib(resources.most(|sample| sample.resident)),
        mib(resources.last().resident),
        mib(end.resident)
    );
    let most = resources.most(|sample| sample.descriptors);
    let _ = writeln!(
        text,
        "| descriptors | start {}, most {most}, after {} |",
        start.descriptors, end.descriptors
    );
    let step = resources.under_load.len().div_ceil(POINTS).max(1);
    let points: Vec<String> = resources
        .under_load
        .iter()
        .step_by(step)
        .map(|sample| format!("{} s {}", sample.seconds, mib(sample.resident)))
        .collect();
    let _ = writeln!(text, "\nResident, MiB: {}", points.join(", "));
    text
}

/// KiB as MiB.
pub(crate) fn mib(kib: u64) -> String {
    format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024)
}

/// Prints what was wrong. The server's own warnings only help to understand it.
pub(crate) fn verdict(violations: &[String], log: &str) -> ExitCode {
    if violations.is_empty() {
        print("Nothing was wrong.");
        return ExitCode::SUCCESS;
    }
    let tail: Vec<&str> = log.lines().rev().take(20).collect();
    print(&format!("The server's last warnings, newest first:\n{}\n", tail.join("\n")));
    print(&format!("Wrong:\n{}", violations.join("\n")));
    ExitCode::FAILURE
}

/// To standard output; a reader that went away is no error.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
