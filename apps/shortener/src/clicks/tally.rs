//! Clicks summed up: what is held in memory between two flushes, and the rows of the database that
//! it is written as. Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use super::agent::Device;
use super::detail::Detail;
use super::event::{Click, Traits};
use super::leaders::Leaders;
use super::sketch::Sketch;
use super::unit::Unit;
use crate::link::{Code, Millis};

/// Clicks of a link in a minute that are alike.
type Key = (Code, Millis, Traits);

/// Clicks summed up by link, minute and what is told apart, and the visitors of each link and day.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counts: HashMap<Key, u64, RandomState>,
    visitors: HashMap<(Code, Millis), Sketch, RandomState>,
    clicks: u64,
}

/// What room a click takes that is added to a tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Counters that are there only now: 0 or 1.
    pub counters: usize,
    /// Bytes of sketches that are held only now.
    pub bytes: usize,
    /// Whether there was room for it. Without, nothing was added.
    pub is_counted: bool,
}

impl Tally {
    /// Adds a click.
    pub fn add(&mut self, click: Click) {
        self.add_if(click, true, true);
    }

    /// Adds a click, if it needs no new counter or there is room for one; its visitor, if there is
    /// room for that.
    pub fn add_if(&mut self, click: Click, may_grow: bool, may_know: bool) -> Room {
        let Click { code, at, traits, visitor } = click;
        let mut room = Room { counters: 0, bytes: 0, is_counted: true };
        let visitor = visitor.filter(|_| may_know && traits.agent.device != Device::Bot);
        let known = visitor.map(|hash| (code.clone(), hash));
        match self.counts.entry((code, Unit::Minute.floor(at), traits)) {
            Entry::Occupied(mut entry) => *entry.get_mut() += 1,
            Entry::Vacant(entry) if may_grow => {
                entry.insert(1);
                room.counters = 1;
            }
            Entry::Vacant(_) => return Room { is_counted: false, ..room },
        }
        self.clicks += 1;
        if let Some((code, hash)) = known {
            let sketch = self.visitors.entry((code, Unit::Day.floor(at))).or_default();
            let before = sketch.held();
            sketch.insert(hash);
            room.bytes = sketch.held().saturating_sub(before);
        }
        room
    }

    /// Whether there is a counter for a click.
    pub fn has(&self, click: &Click) -> bool {
        let minute = Unit::Minute.floor(click.at);
        self.counts.contains_key(&(click.code.clone(), minute, click.traits.clone()))
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Tally) {
        self.clicks += other.clicks;
        if self.counts.is_empty() && self.visitors.is_empty() {
            (self.counts, self.visitors) = (other.counts, other.visitors);
            return;
        }
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        for (key, sketch) in other.visitors {
            match self.visitors.entry(key) {
                Entry::Occupied(mut entry) => entry.get_mut().merge(&sketch),
                // As it is, so that it holds what it held.
                Entry::Vacant(entry) => drop(entry.insert(sketch)),
            }
        }
    }

    /// Takes it apart into pieces of at most so many counters. All clicks of a link in one tally
    /// stay together where they fit.
    pub fn split(self, most: usize) -> Vec<Tally> {
        if self.counts.len() <= most {
            return vec![self];
        }
        let Tally { counts, mut visitors, .. } = self;
        let mut counts: Vec<(Key, u64)> = counts.into_iter().collect();
        counts.sort_unstable_by(|((one, ..), _), ((other, ..), _)| one.cmp(other));
        let mut pieces = Vec::new();
        let mut piece = Tally::default();
        for ((code, minute, traits), count) in counts {
            if piece.counts.len() == most {
                pieces.push(std::mem::take(&mut piece));
            }
            let day = (code.clone(), Unit::Day.floor(minute));
            if let Some((day, sketch)) = visitors.remove_entry(&day) {
                piece.visitors.insert(day, sketch);
            }
            piece.clicks += count;
            piece.counts.insert((code, minute, traits), count);
        }
        // Every visitor came with a click.
        debug_assert!(visitors.is_empty(), "visitors without clicks");
        pieces.push(piece);
        pieces
    }

    /// Clicks.
    pub fn clicks(&self) -> u64 {
        self.clicks
    }

    /// Counters.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Bytes of its sketches.
    pub fn sketch_bytes(&self) -> usize {
        self.visitors.values().map(Sketch::held).sum()
    }
}

/// Clicks that are to be counted once, however often they are brought.
#[derive(Debug, Clone)]
pub struct Part {
    /// What tells them from all others.
    pub id: Box<str>,
    /// How long that is remembered.
    pub until: Millis,
    /// The part before it that nobody will bring again.
    pub settled: Option<Box<str>>,
    /// The clicks.
    pub tally: Tally,
}

/// Clicks of a link in a minute or an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// When it began.
    pub at: Millis,
    /// The link; empty: all links.
    pub code: Box<str>,
    /// Clicks of people.
    pub clicks: i64,
    /// Clicks of bots.
    pub bots: i64,
}

/// What is to be added to the rows of the database: sorted by time and code, each once. The code
/// that is empty is that of all links together.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Minutes.
    pub minutes: Vec<Count>,
    /// Hours.
    pub hours: Vec<Count>,
    /// Days.
    pub days: Vec<(Millis, Box<str>, Detail)>,
}

impl Rows {
    /// The rows of tallies together, without those that are over by `cutoff` of their unit.
    pub fn of<'a>(
        tallies: impl IntoIterator<Item = &'a Tally>,
        cutoff: impl Fn(Unit) -> Millis,
    ) -> Rows {
        let mut sums: HashMap<(Millis, &str), (u64, u64), RandomState> = HashMap::default();
        let mut days: HashMap<(Millis, &str), Detail, RandomState> = HashMap::default();
        for tally in tallies {
            for ((code, minute, traits), count) in &tally.counts {
                let day = Unit::Day.floor(*minute);
                let is_bot = traits.agent.device == Device::Bot;
                for code in [code.as_str(), ""] {
                    let (clicks, bots) = sums.entry((*minute, code)).or_default();
                    *(if is_bot { bots } else { clicks }) += count;
                    days.entry((day, code)).or_default().add(traits, *count);
                }
            }
            for ((code, day), sketch) in &tally.visitors {
                for code in [code.as_str(), ""] {
                    days.entry((*day, code)).or_default().add_visitors(sketch);
                }
            }
        }
        for (day, leaders) in leaders(&days) {
            days.entry((day, "")).or_default().add_leaders(&leaders);
        }
        let mut hours: HashMap<(Millis, &str), (u64, u64), RandomState> = HashMap::default();
        for ((minute, code), (clicks, bots)) in &sums {
            let hour = hours.entry((Unit::Hour.floor(*minute), *code)).or_default();
            *hour = (hour.0 + clicks, hour.1 + bots);
        }
        let counts = |unit: Unit, sums: HashMap<(Millis, &str), (u64, u64), RandomState>| {
            let from = cutoff(unit);
            let mut counts: Vec<Count> = sums
                .into_iter()
                .filter(|((at, _), _)| *at >= from)
                .map(|((at, code), (clicks, bots))| Count {
                    at,
                    code: code.into(),
                    clicks: signed(clicks),
                    bots: signed(bots),
                })
                .collect();
            counts.sort_unstable_by(|a, b| order(a.at, &a.code).cmp(&order(b.at, &b.code)));
            counts
        };
        let from = cutoff(Unit::Day);
        let mut days: Vec<_> = days
            .into_iter()
            .filter(|((at, _), _)| *at >= from)
            .map(|((at, code), detail)| (at, code.into(), detail))
            .collect();
        days.sort_unstable_by(|a: &(Millis, Box<str>, Detail), b| {
            order(a.0, &a.1).cmp(&order(b.0, &b.1))
        });
        Rows { minutes: counts(Unit::Minute, sums), hours: counts(Unit::Hour, hours), days }
    }
}

/// Which links were clicked most, by day.
fn leaders(days: &HashMap<(Millis, &str), Detail, RandomState>) -> Vec<(Millis, Leaders)> {
    let mut by_day: HashMap<Millis, Vec<(&str, u64)>, RandomState> = HashMap::default();
    for ((day, code), detail) in days.iter().filter(|((_, code), _)| !code.is_empty()) {
        by_day.entry(*day).or_default().push((code, detail.clicks()));
    }
    by_day.into_iter().map(|(day, counts)| (day, Leaders::of(counts))).collect()
}

/// The order of time and code. The first eight bytes of codes, which is all of most, are compared as
/// a number: comparing texts took most of the time of sorting.
fn order(at: Millis, code: &str) -> (Millis, u64, &str) {
    let mut first = [0; 8];
    let length = code.len().min(8);
    first[..length].copy_from_slice(&code.as_bytes()[..length]);
    // No code has a byte 0, so that a shorter one comes first as it does among texts.
    (at, u64::from_be_bytes(first), code)
}

/// A count as databases have it.
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clicks::agent::Agent;
    use crate::clicks::detail::By;
    use crate::instant::parse;

    fn click(code: &str, at: &str, device: Device, visitor: u64) -> Click {
        Click {
            code: Code::new(code).expect("a code"),
            at: parse(at).expect("a time"),
            traits: Traits {
                referrer: None,
                country: None,
                agent: Agent { device, name: "Chrome" },
            },
            visitor: Some(visitor << 40),
        }
    }

    fn tally(clicks: impl IntoIterator<Item = Click>) -> Tally {
        let mut tally = Tally::default();
        clicks.into_iter().for_each(|click| tally.add(click));
        tally
    }

    fn all(rows: &Rows) -> (i64, i64, u64) {
        let sum = |counts: &[Count]| counts.iter().map(|count| count.clicks + count.bots).sum();
        let days = rows.days.iter().map(|(.., detail)| detail.clicks() + detail.bots()).sum();
        (sum(&rows.minutes), sum(&rows.hours), days)
    }

    #[test]
    fn clicks_are_in_the_minute_hour_and_day_of_their_moment() {
        let rows = Rows::of(
            [&tally([
                click("a", "2026-12-31T23:59:59.999Z", Device::Desktop, 1),
                click("a", "2027-01-01T00:00:00.000Z", Device::Desktop, 1),
                click("a", "2027-01-01T00:00:59.999Z", Device::Bot, 2),
                click("b", "2027-01-01T00:01:00.000Z", Device::Desktop, 1),
            ])],
            |_| 0,
        );
        let at = |text| parse(text).expect("a time");
        let counted = |counts: &[Count], code: &str| -> Vec<(Millis, i64, i64)> {
            let of = counts.iter().filter(|count| &*count.code == code);
            of.map(|count| (count.at, count.clicks, count.bots)).collect()
        };
        let (old, new) = (at("2026-12-31T23:59:00Z"), at("2027-01-01T00:00:00Z"));
        assert_eq!(counted(&rows.minutes, "a"), [(old, 1, 0), (new, 1, 1)]);
        assert_eq!(counted(&rows.minutes, ""), [(old, 1, 0), (new, 1, 1), (new + 60_000, 1, 0)]);
        assert_eq!(counted(&rows.hours, ""), [(at("2026-12-31T23:00:00Z"), 1, 0), (new, 2, 1)]);
        let days: Vec<_> = rows
            .days
            .iter()
            .map(|(at, code, day)| (*at, &**code, day.clicks(), day.bots(), day.visitors()))
            .collect();
        let yesterday = at("2026-12-31T00:00:00Z");
        let expect = [
            (yesterday, "", 1, 0, 1),
            (yesterday, "a", 1, 0, 1),
            (new, "", 2, 1, 1),
            (new, "a", 1, 1, 1),
            (new, "b", 1, 0, 1),
        ];
        assert_eq!(days, expect);
        assert_eq!(all(&rows), (8, 8, 8));
    }

    #[test]
    fn pieces_are_the_whole() {
        for seed in 0..256 {
            let mut random = fastrand::Rng::with_seed(seed);
            let clicks: Vec<Click> = (0..random.usize(1..400))
                .map(|_| {
                    let code = ["a", "b", "c"][random.usize(..3)];
                    let day = if random.bool() { "2026-12-31" } else { "2027-01-01" };
                    let at = format!("{day}T12:{:02}:00Z", random.u8(..60));
                    click(code, &at, Device::ALL[random.usize(..5)], random.u64(..50))
                })
                .collect();
            let whole = tally(clicks.iter().cloned());
            let expect = Rows::of([&whole], |_| 0);
            assert_eq!(whole.clicks(), clicks.len() as u64);
            let pieces = whole.clone().split(random.usize(1..100));
            let sum = pieces.iter().map(Tally::clicks).sum::<u64>();
            assert_eq!(sum, whole.clicks(), "seed {seed}");
            let rows = Rows::of(&pieces, |_| 0);
            assert_eq!(rows.minutes, expect.minutes, "seed {seed}");
            assert_eq!(rows.hours, expect.hours, "seed {seed}");
            assert_eq!(rows.days, expect.days, "seed {seed}");
            let mut merged = Tally::default();
            pieces.into_iter().for_each(|piece| merged.merge(piece));
            assert_eq!(Rows::of([&merged], |_| 0).days, expect.days, "seed {seed}");
        }
    }

    #[test]
    fn a_full_tally_counts_what_it_knows() {
        let mut tally = Tally::default();
        let now = "2027-01-01T00:00:00Z";
        let one = tally.add_if(click("a", now, Device::Desktop, 1), true, true);
        assert_eq!((one.counters, one.is_counted), (1, true));
        let same = tally.add_if(click("a", now, Device::Desktop, 2), false, false);
        assert_eq!(same, Room { counters: 0, bytes: 0, is_counted: true });
        let other = tally.add_if(click("b", now, Device::Desktop, 1), false, true);
        assert_eq!(other, Room { counters: 0, bytes: 0, is_counted: false });
        assert_eq!((tally.clicks(), tally.len()), (2, 1));
        let rows = Rows::of([&tally], |_| 0);
        assert_eq!(rows.days[1].2.visitors(), 1, "the second visitor had no room");
    }

    #[test]
    fn what_is_no_longer_kept_is_not_written() {
        let tally = tally([click("a", "2026-12-31T23:59:00Z", Device::Desktop, 1)]);
        let rows = Rows::of([&tally], |unit| match unit {
            Unit::Day => 0,
            Unit::Minute | Unit::Hour => parse("2027-01-01T00:00:00Z").expect("a time"),
        });
        assert_eq!(all(&rows), (0, 0, 2));
        assert_eq!(rows.days[1].2.by(By::Browser).len(), 1);
    }
}
