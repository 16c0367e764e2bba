//! What both stores do alike about clicks. Pure.

use crate::clicks::detail::Detail;
use crate::clicks::unit::{Partition, Unit};
use crate::link::Millis;

/// What was tidied up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// Tables that were made ahead.
    pub made: u64,
    /// Tables that were over, and dropped.
    pub dropped: u64,
    /// Salts that were deleted.
    pub salts: u64,
    /// Parts that need not be remembered any more.
    pub batches: u64,
}

/// The tables that there must be: the one before, whose last clicks may come late, that of now, and
/// the two that follow.
pub(super) fn ahead(unit: Unit, now: Millis) -> Vec<Partition> {
    let Some(this) = unit.partition(now) else { return Vec::new() };
    let mut partitions: Vec<_> = unit.partition(this.from - 1).into_iter().collect();
    let mut next = this.to;
    partitions.push(this);
    for partition in std::iter::from_fn(|| unit.partition(next).inspect(|it| next = it.to)).take(2)
    {
        partitions.push(partition);
    }
    partitions
}

/// The beginning of the day that is so many days after that of `now`.
pub(super) fn day_of(now: Millis, after: i64) -> Millis {
    Unit::Day.floor(now).saturating_add(after * Unit::Day.millis())
}

/// What is stored of a day, with what is new. What cannot be read any more is given up, so that it
/// keeps nothing else from being written.
pub(super) fn merged(known: &[u8], new: &Detail, code: &str) -> Detail {
    let mut detail = Detail::read(known).unwrap_or_else(|| {
        tracing::error!(code, "the clicks of a day are damaged, and begun anew");
        Detail::default()
    });
    detail.merge(new);
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_there_before_they_are_needed() {
        let now = crate::instant::parse("2027-01-01T00:00:00Z").expect("a time");
        for (unit, names) in [
            (Unit::Minute, ["20261231", "20270101", "20270102", "20270103"]),
            (Unit::Hour, ["202612", "202701", "202702", "202703"]),
            (Unit::Day, ["2026", "2027", "2028", "2029"]),
        ] {
            let expect = names.map(|digits| format!("{}_{digits}", unit.table()));
            let ahead: Vec<_> = ahead(unit, now).into_iter().map(|it| it.name).collect();
            assert_eq!(ahead, expect);
        }
        assert_eq!(ahead(Unit::Day, Millis::MAX), []);
    }
}
