//! The table: a line for each way in which work grows.

use std::fmt::Write as _;

use crate::growth::law::{Expected, Law, Point};
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
        let unit = if way.points.is_empty() { "" } else { way.unit.name() };
        let expected = match way.expected {
            Expected::Flat => "flat",
            Expected::Linear => "linear",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {}{unit} | {} | {expected} |",
            way.what,
            way.of,
            sizes(&way.points),
            costs(&way.points),
            verdict(way)
        );
    }
    beside(&mut text, ways);
    text
}

/// The table of what was measured beside bare hyper.
fn beside(text: &mut String, ways: &[Way]) {
    if ways.iter().all(|way| way.floor.is_none()) {
        return;
    }
    *text += "\n| what costs | sizes | server | bare hyper | ratio | server's law | bare hyper's law |\n|---|---|---|---|---|---|---|\n";
    for way in ways {
        let Some([floor, ratios]) = &way.floor else { continue };
        let unit = way.unit.name();
        let law = |points| Law::of(points).map(|law| law_text(law, way.unit)).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {} | {}{unit} | {}{unit} | {} | {} | {} |",
            way.what,
            sizes(&way.points),
            costs(&way.points),
            costs(floor),
            costs(ratios),
            law(&way.points),
            law(floor)
        );
    }
}

fn sizes(points: &[Point]) -> String {
    list(points, |point| format!("{:.0}", point.size))
}

fn costs(points: &[Point]) -> String {
    list(points, |point| figure(point.cost))
}

fn list(points: &[Point], of: impl Fn(&Point) -> String) -> String {
    points.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn verdict(way: &Way) -> String {
    let Some(law) = Law::of(&way.points) else { return "not measured: it takes `--redis`".to_owned() };
    let floor = way.floor.as_ref().and_then(|[floor, _]| Law::of(floor));
    let text = law_text(law, way.unit);
    if law.is_worse_than(way.expected, floor) {
        format!("**worse: {text}**")
    } else if law.is_worse_than(way.expected, None) {
        format!("{text}, as bare hyper")
    } else {
        text
    }
}

fn law_text(law: Law, unit: Unit) -> String {
    match law {
        Law::Flat => "flat".to_owned(),
        Law::Linear { each, .. } => format!("linear, {} each", unit.small(each)),
        Law::Power(exponent) => format!("n^{exponent:.2}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn points(costs: [f64; 4]) -> Vec<Point> {
        let sizes = [32.0, 217.0, 1474.0, 10_000.0];
        sizes.into_iter().zip(costs).map(|(size, cost)| Point { size, cost }).collect()
    }

    fn calls(costs: [f64; 4], floor: Option<[f64; 4]>) -> Way {
        let floor =
            floor.map(|floor| [points(floor), points(std::array::from_fn(|at| costs[at] / floor[at]))]);
        Way { floor, ..Way::new("a call", "connections", Expected::Flat, points(costs)) }
    }

    const FLAT: [f64; 4] = [10.0; 4];
    const GROWS: [f64; 4] = [10.0, 11.0, 14.0, 18.0];

    #[test]
    fn what_is_worse_is_in_bold_unless_bare_hyper_grows_as_fast() {
        for (costs, floor, expected) in [
            (GROWS, None, "**worse: n^0.36**"),
            (GROWS, Some(FLAT), "**worse: n^0.36**"),
            (GROWS, Some(GROWS), "n^0.36, as bare hyper"),
            (FLAT, Some(GROWS), "flat"),
        ] {
            assert_eq!(verdict(&calls(costs, floor)), expected, "{costs:?}, {floor:?}");
        }
    }

    #[test]
    fn a_table_has_what_was_measured_beside_bare_hyper_and_nothing_else() {
        let mut text = String::new();
        beside(&mut text, &[calls(FLAT, None)]);
        assert_eq!(text, "");
        beside(&mut text, &[calls(FLAT, None), calls(FLAT, Some(GROWS))]);
        let row = "| a call | 32, 217, 1474, 10000 | 10.0, 10.0, 10.0, 10.0 us | 10.0, 11.0, 14.0, 18.0 us | \
                   1.00, 0.909, 0.714, 0.556 | flat | n^0.36 |";
        assert_eq!(text.lines().skip(3).collect::<Vec<_>>(), [row]);
    }
}
