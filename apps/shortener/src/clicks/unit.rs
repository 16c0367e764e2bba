//! Minutes, hours and days, and the tables that hold them. Pure.
//!
//! All are of UTC: a link has one day, whoever asks. A table holds the minutes of a day, the hours
//! of a month or the days of a year, so that what is asked of a day reads a day, and what is no
//! longer kept goes with its table.

use time::{Date, Month, OffsetDateTime, Time};

use crate::link::Millis;

/// Over what clicks are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// 60 seconds; a table holds a day of them.
    Minute,
    /// 3600 seconds; a table holds a month of them.
    Hour,
    /// 24 hours; a table holds a year of them.
    Day,
}

/// A table: what it is called and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Its name: that of [`Unit::table`], `_` and digits.
    pub name: String,
    /// The first moment that is in it.
    pub from: Millis,
    /// The first moment that is not in it any more.
    pub to: Millis,
}

/// How long clicks are kept, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Those of a minute.
    pub minutes: Millis,
    /// Those of an hour.
    pub hours: Millis,
    /// Those of a day.
    pub days: Millis,
}

impl Keep {
    /// The first moment that is still kept: the beginning of a table, since tables go as a whole.
    pub fn cutoff(self, unit: Unit, now: Millis) -> Millis {
        let kept = match unit {
            Unit::Minute => self.minutes,
            Unit::Hour => self.hours,
            Unit::Day => self.days,
        };
        unit.partition(now.saturating_sub(kept)).map_or(Millis::MIN, |partition| partition.from)
    }
}

impl Unit {
    /// All of them.
    pub const ALL: [Unit; 3] = [Unit::Minute, Unit::Hour, Unit::Day];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day",
        }
    }

    /// The unit with this name.
    pub fn of(name: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.name() == name)
    }

    /// How long it is, in milliseconds.
    pub fn millis(self) -> Millis {
        match self {
            Unit::Minute => 60_000,
            Unit::Hour => 3_600_000,
            Unit::Day => 86_400_000,
        }
    }

    /// When the one began that this moment is in.
    pub fn floor(self, at: Millis) -> Millis {
        at.saturating_sub(at.rem_euclid(self.millis()))
    }

    /// When each of those began that are between `from` and `to`, wholly or in part.
    pub fn steps(self, from: Millis, to: Millis) -> impl Iterator<Item = Millis> + use<> {
        (self.floor(from)..to).step_by(usize::try_from(self.millis()).unwrap_or(usize::MAX))
    }

    /// What the names of its tables begin with.
    pub fn table(self) -> &'static str {
        match self {
            Unit::Minute => "clicks_minute",
            Unit::Hour => "clicks_hour",
            Unit::Day => "clicks_day",
        }
    }

    /// The table that a moment is in; none for moments beyond the year 9999.
    pub fn partition(self, at: Millis) -> Option<Partition> {
        let date = OffsetDateTime::from_unix_timestamp(at.div_euclid(1000)).ok()?.date();
        let (from, to, digits) = match self {
            Unit::Minute => {
                let name = format!("{:04}{:02}{:02}", date.year(), date.month() as u8, date.day());
                (date, date.next_day()?, name)
            }
            Unit::Hour => {
                let from = date.replace_day(1).ok()?;
                let to = match from.month() {
                    Month::December => first_of(from.year() + 1)?,
                    month => from.replace_month(month.next()).ok()?,
                };
                (from, to, format!("{:04}{:02}", date.year(), date.month() as u8))
            }
            Unit::Day => {
                let (from, to) = (first_of(date.year())?, first_of(date.year() + 1)?);
                (from, to, format!("{:04}", date.year()))
            }
        };
        let name = format!("{}_{digits}", self.table());
        (date.year() >= 0).then(|| Partition { name, from: millis(from), to: millis(to) })
    }

    /// The tables for `from` up to but not including `to`, in their order.
    pub fn partitions(self, from: Millis, to: Millis) -> Vec<Partition> {
        let mut partitions = Vec::new();
        let mut at = from;
        while at < to
            && let Some(partition) = self.partition(at)
        {
            at = partition.to;
            partitions.push(partition);
        }
        partitions
    }

    /// The table of this name, if it is one of this unit.
    pub fn partition_named(self, name: &str) -> Option<Partition> {
        let digits = name.strip_prefix(self.table())?.strip_prefix('_')?;
        let part = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u16>().ok();
        let (month, day) = match self {
            Unit::Minute => (part(4..6)?, part(6..8)?),
            Unit::Hour => (part(4..6)?, 1),
            Unit::Day => (1, 1),
        };
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        let day = u8::try_from(day).ok()?;
        let date = Date::from_calendar_date(part(0..4)?.into(), month, day).ok()?;
        self.partition(millis(date)).filter(|partition| partition.name == name)
    }
}

fn first_of(year: i32) -> Option<Date> {
    Date::from_calendar_date(year, Month::January, 1).ok()
}

fn millis(date: Date) -> Millis {
    date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp() * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instant::parse;

    fn at(text: &str) -> Millis {
        parse(text).expect("a time")
    }

    #[test]
    fn a_moment_is_in_one_table_of_each_unit() {
        for (moment, minutes, hours, days) in [
            ("1970-01-01T00:00:00Z", "19700101", "197001", "1970"),
            ("2026-12-31T23:59:59.999Z", "20261231", "202612", "2026"),
            ("2027-01-01T00:00:00Z", "20270101", "202701", "2027"),
            ("2028-02-29T12:00:00Z", "20280229", "202802", "2028"),
        ] {
            for (unit, digits) in Unit::ALL.into_iter().zip([minutes, hours, days]) {
                let partition = unit.partition(at(moment)).expect("there is one");
                assert_eq!(partition.name, format!("{}_{digits}", unit.table()));
                assert!((partition.from..partition.to).contains(&at(moment)), "{partition:?}");
                assert_eq!(unit.partition_named(&partition.name), Some(partition));
            }
        }
    }

    #[test]
    fn tables_follow_each_other_without_a_gap() {
        let (from, to) = (at("2027-11-15T07:00:00Z"), at("2029-03-02T00:00:00Z"));
        for (unit, count) in [(Unit::Minute, 473), (Unit::Hour, 17), (Unit::Day, 3)] {
            let partitions = unit.partitions(from, to);
            assert_eq!(partitions.len(), count);
            assert!(partitions[0].from <= from && partitions[count - 1].to >= to);
            assert!(partitions.windows(2).all(|pair| pair[0].to == pair[1].from));
            assert_eq!(unit.partitions(to, from), []);
        }
    }

    #[test]
    fn moments_without_a_table_have_none() {
        for moment in [Millis::MIN, Millis::MAX, -62_200_000_000_000] {
            assert!(Unit::ALL.into_iter().all(|unit| unit.partition(moment).is_none()));
        }
        for name in ["clicks_minute_2026", "clicks_minute_20260230", "clicks_day", "links"] {
            assert_eq!(Unit::Minute.partition_named(name), None, "{name}");
        }
    }

    #[test]
    fn tables_are_kept_until_all_of_them_is_over() {
        let day = 86_400_000;
        let keep = Keep { minutes: 2 * day, hours: 90 * day, days: 5 * 365 * day };
        let now = at("2027-03-02T00:00:00Z");
        for (unit, from) in [
            (Unit::Minute, "2027-02-28T00:00:00Z"),
            (Unit::Hour, "2026-12-01T00:00:00Z"),
            (Unit::Day, "2022-01-01T00:00:00Z"),
        ] {
            assert_eq!(keep.cutoff(unit, now), at(from));
        }
    }

    #[test]
    fn moments_are_rounded_down_before_1970_too() {
        assert_eq!(Unit::Minute.floor(59_999), 0);
        assert_eq!(Unit::Minute.floor(-1), -60_000);
        assert_eq!(Unit::Day.floor(86_400_000), 86_400_000);
    }
}
