//! The plot of what a request costs: a dot for each server and revision on a logarithmic scale, with a line from the best round
//! to the worst.
//!
//! It is written by hand: a crate that plots has colors in each shape, where a document that is read in the light and in the dark
//! needs a style sheet.

use std::fmt::Write as _;

use crate::compare::rows::{Row, Rows};
use crate::requests::Era;

/// Where the scale begins and ends, and its place from the left, in the picture's units.
const LEFT: f64 = 236.0;
const RIGHT: f64 = 620.0;
const WIDTH: f64 = 760.0;
const END: f64 = WIDTH - 16.0;
const LINE: f64 = 26.0;
const TOP: f64 = 74.0;

/// Dark on light, or the other way around, as the reader has it.
const STYLE: &str = "  <style>
    .back, .other { fill: #ffffff; }
    text { fill: #1f2328; font: 12px system-ui, sans-serif; }
    .title { font-weight: 600; font-size: 14px; }
    .end { text-anchor: end; }
    .mark { text-anchor: middle; }
    .grid { stroke: #d1d9e0; }
    .one { fill: #0969da; stroke: #0969da; }
    .other { stroke: #bc4c00; }
    circle.other { stroke-width: 2; }
    @media (prefers-color-scheme: dark) {
      .back, .other { fill: #0d1117; }
      text { fill: #f0f6fc; }
      .grid { stroke: #3d444d; }
      .one { fill: #58a6ff; stroke: #58a6ff; }
      .other { stroke: #f0883e; }
    }
  </style>
";

/// Microseconds as a place from the left.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// The marks around all values, at 1, 2 and 5 of every power of ten.
    fn around(values: &[f64]) -> (Self, Vec<f64>) {
        let marks = (-1..7).flat_map(|power| [1.0, 2.0, 5.0].map(|mark| mark * 10_f64.powi(power)));
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let from = marks.clone().take_while(|mark| *mark <= least).last().unwrap_or(0.1);
        let to = marks.clone().find(|mark| *mark >= most).unwrap_or(1e6);
        (Self { from, to }, marks.filter(|mark| (from..=to).contains(mark)).collect())
    }

    fn place(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (value / self.from).ln() / (self.to / self.from).ln()
    }
}

/// Draws the rows; those of one server share a line.
pub(crate) fn draw(rows: &Rows) -> String {
    let rows: Vec<(&Row, f64)> = rows.with_ratios().collect();
    let values: Vec<f64> = rows.iter().flat_map(|(row, _)| row.spread()).collect();
    let (scale, marks) = Scale::around(&values);
    let servers: Vec<&[(&Row, f64)]> = rows.chunk_by(|one, next| one.0.who == next.0.who).collect();
    let bottom = TOP + LINE * servers.len() as f64;
    let mut svg = head(bottom + 30.0);
    for mark in marks {
        let (x, below) = (scale.place(mark), bottom + 18.0);
        let _ = writeln!(svg, r#"  <line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/>"#);
        let _ = writeln!(svg, r#"  <text class="mark" x="{x:.1}" y="{below}">{mark}</text>"#);
    }
    for (index, rows) in servers.into_iter().enumerate() {
        server(&mut svg, &scale, rows, TOP + LINE * (index as f64 + 0.5));
    }
    svg + "</svg>\n"
}

fn head(height: f64) -> String {
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
{STYLE}  <rect class="back" width="{WIDTH}" height="{height}" rx="6"/>
  <text class="title" id="title" x="16" y="26">CPU per request in microseconds (logarithmic), from the best round to the worst</text>
  <text class="end" x="{END}" y="54">times bare hyper's</text>
"#
    );
    for (era, x) in Era::BOTH.into_iter().zip([LEFT + 6.0, LEFT + 126.0]) {
        let _ = writeln!(svg, r#"  <circle class="{}" cx="{x}" cy="50" r="4.5"/>"#, class(era));
        let _ = writeln!(svg, r#"  <text x="{}" y="54">{}</text>"#, x + 12.0, era.name());
    }
    svg
}

/// One server: its name, a dot for each revision, its ratios.
fn server(svg: &mut String, scale: &Scale, rows: &[(&Row, f64)], y: f64) {
    let (name, base, left) = (rows[0].0.who, y + 4.0, LEFT - 12.0);
    let _ = writeln!(svg, r#"  <text class="end" x="{left}" y="{base}">{name}</text>"#);
    let mut ratios = Vec::new();
    for &(row, ratio) in rows {
        dot(svg, scale, row, y);
        ratios.push(if ratio < 100.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") });
    }
    let _ = writeln!(svg, r#"  <text class="end" x="{END}" y="{base}">{}</text>"#, ratios.join(", "));
}

fn class(era: Era) -> &'static str {
    if era == Era::Legacy { "one" } else { "other" }
}

/// The median, on the line between the extremes; one revision a little above the other.
fn dot(svg: &mut String, scale: &Scale, row: &Row, y: f64) {
    let class = class(row.era);
    let y = if row.era == Era::Legacy { y - 4.0 } else { y + 4.0 };
    let [least, median, most] = row.spread().map(|value| scale.place(value));
    let _ = writeln!(svg, r#"  <line class="{class}" x1="{least:.1}" y1="{y}" x2="{most:.1}" y2="{y}"/>"#);
    let _ = writeln!(svg, r#"  <circle class="{class}" cx="{median:.1}" cy="{y}" r="4.5"/>"#);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::rows::tests::measured;

    #[test]
    fn a_place_on_the_scale_is_the_values_logarithm() {
        let (scale, marks) = Scale::around(&[7.0, 700.0]);
        assert_eq!(marks, [5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);
        assert!((scale.place(5.0) - LEFT).abs() < 1e-9 && (scale.place(1000.0) - RIGHT).abs() < 1e-9);
        let step = |from, to| scale.place(to) - scale.place(from);
        assert!((step(10.0, 20.0) - step(100.0, 200.0)).abs() < 1e-9);
    }

    #[test]
    fn every_row_has_a_dot_and_every_server_a_line() {
        let mut rows = Rows::default();
        for (who, cpu) in [("bare hyper", 7.5), ("this server", 15.0)] {
            for era in Era::BOTH {
                rows.add(who, era, measured(cpu));
            }
        }
        let svg = draw(&rows);
        assert_eq!(svg.matches("<circle").count(), 2 + 4);
        assert_eq!((svg.matches(">bare hyper<").count(), svg.matches(">this server<").count()), (1, 1));
        assert!(svg.contains(">2.0, 2.0<"), "{svg}");
    }
}
