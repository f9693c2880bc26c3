//! What was measured: a row for each server and revision, and the table of them.

use std::fmt::Write as _;

use crate::compare::Measured;
use crate::measure::median;
use crate::requests::Era;

/// One server in one revision, round by round.
pub(crate) struct Row {
    pub(crate) who: &'static str,
    pub(crate) era: Era,
    rounds: Vec<Measured>,
}

/// All rows, in the order in which they were measured first: those of the floor are the first.
#[derive(Default)]
pub(crate) struct Rows(Vec<Row>);

impl Row {
    fn cpu(&self) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(|round| round.figures.cpu.unwrap_or_default())
    }

    /// CPU per request in microseconds: the least, the median and the most of all rounds.
    pub(crate) fn spread(&self) -> [f64; 3] {
        let least = self.cpu().fold(f64::INFINITY, f64::min);
        [least, median(self.cpu()), self.cpu().fold(0.0, f64::max)]
    }

    /// The median of the ratios to the floor in the same round.
    fn ratio(&self, floor: &Self) -> f64 {
        median(self.cpu().zip(floor.cpu()).map(|(own, floor)| own / floor))
    }

    fn median(&self, value: fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().map(value))
    }
}

impl Rows {
    pub(crate) fn add(&mut self, who: &'static str, era: Era, measured: Measured) {
        match self.0.iter_mut().find(|row| row.who == who && row.era == era) {
            Some(row) => row.rounds.push(measured),
            None => self.0.push(Row { who, era, rounds: vec![measured] }),
        }
    }

    /// The rows with their ratios to the floor.
    pub(crate) fn with_ratios(&self) -> impl Iterator<Item = (&Row, f64)> {
        let floor = |era| self.0.iter().find(move |row| row.era == era);
        self.0.iter().filter_map(move |row| Some((row, row.ratio(floor(row.era)?))))
    }

    /// The table, as markdown.
    pub(crate) fn render(&self) -> String {
        let mut text = String::from(
            "| server | revision | CPU per request, us | of bare hyper's | requests/s | p50, us | p99, us | resident, MiB |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for (row, ratio) in self.with_ratios() {
            let [_, cpu, _] = row.spread();
            let _ = writeln!(
                text,
                "| {} | {} | {cpu:.1} | {ratio:.2} | {:.0} | {:.0} | {:.0} | {:.1} |",
                row.who,
                row.era.name(),
                row.median(|round| round.figures.per_second),
                row.median(|round| round.figures.p50),
                row.median(|round| round.figures.p99),
                row.median(|round| round.resident as f64 / 1024.0),
            );
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::url::Figures;

    pub(crate) fn measured(cpu: f64) -> Measured {
        let figures = Figures { per_second: 1e6 / cpu, p50: 10.0, p99: 20.0, cpu: Some(cpu) };
        Measured { figures, resident: 2048 }
    }

    #[test]
    fn ratios_are_those_within_a_round() {
        let mut rows = Rows::default();
        for (floor, own) in [(10.0, 20.0), (20.0, 40.0), (5.0, 20.0)] {
            rows.add("bare hyper", Era::Legacy, measured(floor));
            rows.add("bare hyper", Era::Modern, measured(1.0));
            rows.add("this server", Era::Legacy, measured(own));
        }
        let text = rows.render();
        assert!(text.contains("| bare hyper | 2025-11-25 | 10.0 | 1.00 |"), "{text}");
        assert!(
            text.contains("| this server | 2025-11-25 | 20.0 | 2.00 | 50000 | 10 | 20 | 2.0 |"),
            "{text}"
        );
    }
}
