//! What is asked of the clicks that were counted, and what is found. Pure.

use super::detail::Detail;
use super::unit::Unit;
use crate::link::{Code, Millis};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsQuery {
    /// The link; `None`: all links together.
    pub code: Option<Code>,
    /// Of what each count is.
    pub unit: Unit,
    /// The first of them.
    pub from: Millis,
    /// Up to this one, which is not among them.
    pub to: Millis,
}

/// What is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Counts, without those that are 0.
    pub series: Vec<Point>,
    /// Days that are in the range, wholly or in part, without those without clicks.
    pub days: Vec<DayPoint>,
    /// What is told apart, of all these days together; without visitors.
    pub detail: Detail,
}

/// Clicks of a minute, an hour or a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When it began.
    pub at: Millis,
    /// Clicks of people.
    pub clicks: i64,
    /// Clicks of bots.
    pub bots: i64,
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayPoint {
    /// When it began.
    pub at: Millis,
    /// Clicks of people.
    pub clicks: u64,
    /// Clicks of bots.
    pub bots: u64,
    /// Different visitors, about.
    pub visitors: u64,
}

impl StatsQuery {
    /// The code as it is stored: empty for all links.
    pub fn stored_code(&self) -> &str {
        self.code.as_ref().map_or("", Code::as_str)
    }

    /// All units of the range.
    pub fn units(&self) -> impl Iterator<Item = Millis> + use<> {
        self.unit.steps(self.from, self.to)
    }

    /// The days that the range is in.
    pub fn days(&self) -> impl Iterator<Item = Millis> + use<> {
        Unit::Day.steps(self.from, self.to)
    }
}

impl Stats {
    /// Takes a day that was found.
    pub fn add_day(&mut self, at: Millis, day: &Detail) {
        let (clicks, bots) = (day.clicks(), day.bots());
        self.days.push(DayPoint { at, clicks, bots, visitors: day.visitors() });
        self.detail.merge_counts(day);
    }

    /// The counts of a range, in their order, with zeros where there was nothing.
    pub fn filled(&self, query: &StatsQuery) -> Vec<Point> {
        let mut found = self.series.iter().peekable();
        let fill = |at| match found.next_if(|point| point.at == at) {
            Some(point) => *point,
            None => Point { at, clicks: 0, bots: 0 },
        };
        query.units().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled() {
        let query = StatsQuery { code: None, unit: Unit::Minute, from: 60_000, to: 360_000 };
        let point = |at, clicks| Point { at, clicks, bots: 0 };
        let series = vec![point(120_000, 3), point(300_000, 1)];
        let stats = Stats { series, ..Stats::default() };
        let clicks: Vec<i64> = stats.filled(&query).iter().map(|point| point.clicks).collect();
        assert_eq!(clicks, [0, 3, 0, 0, 1]);
        assert_eq!(query.days().collect::<Vec<_>>(), [0]);
        let empty = StatsQuery { to: 60_000, ..query };
        assert_eq!(stats.filled(&empty), []);
    }
}
