//! How cost grows: with whatever there can be more of, what it costs at several sizes, and the law that the figures follow.

mod connections;
mod law;
mod lists;
mod questions;
mod replicas;
mod report;
mod setting;
mod streams;
mod subscriptions;
mod tokens;
mod upstreams;

use crate::growth::law::{Expected, Point};
use crate::growth::setting::Beside;
pub(crate) use crate::growth::setting::{Programs, Setting};

/// Connections of a measurement, where it is not about these.
const CONNECTIONS: usize = 32;

/// What a cost is counted in.
#[derive(Clone, Copy)]
enum Unit {
    Microseconds,
    Milliseconds,
    Kibibytes,
}

/// One way in which work grows.
struct Way {
    /// What costs.
    what: &'static str,
    /// What there is more of.
    of: &'static str,
    unit: Unit,
    expected: Expected,
    /// Empty if it could not be measured.
    points: Vec<Point>,
    /// What the same costs bare hyper in the same rounds, and how many times that the server costs.
    floor: Option<[Vec<Point>; 2]>,
}

impl Way {
    /// A way that is measured by the time of the server on its core.
    const fn new(what: &'static str, of: &'static str, expected: Expected, points: Vec<Point>) -> Self {
        Self { what, of, unit: Unit::Microseconds, expected, points, floor: None }
    }

    /// The same beside bare hyper.
    fn beside(what: &'static str, of: &'static str, expected: Expected, figures: Beside) -> Self {
        let Beside { server, floor, ratios } = figures;
        Self { floor: Some([floor, ratios]), ..Self::new(what, of, expected, server) }
    }

    fn counted_in(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }
}

type Measure = fn(&Setting) -> anyhow::Result<Vec<Way>>;

/// What there can be more of. The keys are last: those that were added stay.
const ALL: [(&str, Measure); 9] = [
    ("lists", lists::measure),
    ("scopes", tokens::of_scopes),
    ("depth", tokens::of_depth),
    ("connections", connections::measure),
    ("subscriptions", subscriptions::measure),
    ("upstreams", upstreams::measure),
    ("questions", questions::measure),
    ("replicas", replicas::measure),
    ("keys", tokens::of_keys),
];

/// Measures all of them, or the one that is asked for, and returns the table.
pub(crate) fn measure(setting: &Setting) -> anyhow::Result<String> {
    let mut ways = Vec::new();
    for (name, measure) in ALL {
        if setting.only.as_ref().is_none_or(|only| only == name) {
            ways.extend(measure(setting)?);
        }
    }
    Ok(report::render(setting, &ways))
}
