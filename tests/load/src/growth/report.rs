//! The table: a line for each way in which work grows.

use std::fmt::Write as _;

use crate::growth::law::{Expected, Law};
use crate::growth::{Setting, Unit, Way};

pub(super) fn render(setting: &Setting, ways: &[Way]) -> String {
    let mut text = format!(
        "{}; {} rounds of {} s, medians; the server on one core.\n\n\
         | what costs | with more | sizes | figures | law | expected |\n|---|---|---|---|---|---|\n",
        crate::report::processor(),
        setting.rounds,
        setting.seconds
    );
    for way in ways {
        let list =
            |of: &dyn Fn(&super::Point) -> String| way.points.iter().map(of).collect::<Vec<_>>().join(", ");
        let sizes = list(&|point| format!("{:.0}", point.size));
        let figures = list(&|point| figure(point.cost));
        let unit = if way.points.is_empty() { "" } else { way.unit.name() };
        let expected = match way.expected {
            Expected::Flat => "flat",
            Expected::Linear => "linear",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {sizes} | {figures}{unit} | {} | {expected} |",
            way.what,
            way.of,
            law(way)
        );
    }
    text
}

fn law(way: &Way) -> String {
    let Some(law) = Law::of(&way.points) else { return "not measured: it takes `--redis`".to_owned() };
    let text = match law {
        Law::Flat => "flat".to_owned(),
        Law::Linear(each) => format!("linear, {} each", way.unit.small(each)),
        Law::Power(exponent) => format!("n^{exponent:.2}"),
    };
    if law.is_worse_than(way.expected) { format!("**worse: {text}**") } else { text }
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Microseconds => " us",
            Self::Milliseconds => " ms",
            Self::Kibibytes => " KiB",
        }
    }

    /// What one more costs, which is less than all of them.
    fn small(self, each: f64) -> String {
        match self {
            Self::Microseconds => format!("{} us", figure(each)),
            Self::Milliseconds => format!("{} us", figure(each * 1e3)),
            Self::Kibibytes => format!("{} KiB", figure(each)),
        }
    }
}

/// Three digits, or those before the point.
fn figure(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
