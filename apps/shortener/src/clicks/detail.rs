//! A day of a link: its clicks by referrer, country, device and browser, those of bots by bot, and
//! the sketch of its visitors; of all links together, also which were clicked most. One row in the database, so that a click changes one row of a day and
//! not one for each thing that is told apart. Pure.
//!
//! Its bytes are stable: they are what is stored.

use super::agent::Device;
use super::event::Traits;
use super::leaders::Leaders;
use super::sketch::{LONGEST_SKETCH, Sketch};

/// By what clicks are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The host of the page that the link was on; empty: not known.
    Referrer,
    /// Two letters of ISO 3166-1; empty: not known.
    Country,
    /// The name of a device.
    Device,
    /// The name of a browser.
    Browser,
    /// The name of a bot. Clicks of bots are told apart by nothing else.
    Bot,
}

impl By {
    /// All of them, in the order in which they are stored.
    pub const ALL: [By; 5] = [By::Referrer, By::Country, By::Device, By::Browser, By::Bot];
}

/// Referrers of a link and day that are told apart; clicks from more are under [`REST`]. Whoever
/// makes referrers up does not make the database grow.
pub const MOST_REFERRERS: usize = 250;

/// What is beyond [`MOST_REFERRERS`]. No host has this name.
pub const REST: &str = "*";

/// How often each value was seen, sorted by value.
type Counts = Vec<(Box<str>, u64)>;

/// A day of a link, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detail {
    by: [Counts; By::ALL.len()],
    visitors: Sketch,
    leaders: Leaders,
}

impl Detail {
    /// Adds clicks that are alike.
    pub fn add(&mut self, traits: &Traits, count: u64) {
        let Traits { referrer, country, agent } = traits;
        if agent.device == Device::Bot {
            self.add_to(By::Bot, agent.name, count);
            return;
        }
        self.add_to(By::Referrer, referrer.as_deref().unwrap_or_default(), count);
        self.add_to(By::Country, country.as_ref().map_or("", |country| country.as_str()), count);
        self.add_to(By::Device, agent.device.name(), count);
        self.add_to(By::Browser, agent.name, count);
    }

    /// Adds visitors.
    pub fn add_visitors(&mut self, visitors: &Sketch) {
        self.visitors.merge(visitors);
    }

    /// Adds links by their clicks.
    pub fn add_leaders(&mut self, leaders: &Leaders) {
        self.leaders.merge(leaders);
    }

    /// Adds all of another part.
    pub fn merge(&mut self, other: &Detail) {
        self.merge_counts(other);
        self.visitors.merge(&other.visitors);
    }

    /// Adds all of another but its visitors, such as of another day, whose visitors have other
    /// hashes.
    pub fn merge_counts(&mut self, other: &Detail) {
        for by in By::ALL {
            for (value, count) in other.by(by) {
                self.add_to(by, value, *count);
            }
        }
        self.leaders.merge(&other.leaders);
    }

    /// How often each value was seen.
    pub fn by(&self, by: By) -> &[(Box<str>, u64)] {
        &self.by[by as usize]
    }

    /// The most clicked links, if it is of all.
    pub fn leaders(&self) -> &Leaders {
        &self.leaders
    }

    /// Clicks of people.
    pub fn clicks(&self) -> u64 {
        self.sum(By::Device)
    }

    /// Clicks of bots.
    pub fn bots(&self) -> u64 {
        self.sum(By::Bot)
    }

    /// Different visitors, about.
    pub fn visitors(&self) -> u64 {
        self.visitors.count()
    }

    fn sum(&self, by: By) -> u64 {
        self.by(by).iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn add_to(&mut self, by: By, value: &str, count: u64) {
        let counts = &mut self.by[by as usize];
        let find = |counts: &Counts, value: &str| {
            counts.binary_search_by(|(known, _)| (**known).cmp(value))
        };
        let at = match find(counts, value) {
            Err(_) if by == By::Referrer && counts.len() >= MOST_REFERRERS => find(counts, REST),
            at => at,
        };
        match at {
            Ok(at) => counts[at].1 = counts[at].1.saturating_add(count),
            Err(_) if by == By::Referrer && counts.len() >= MOST_REFERRERS => {
                let at = find(counts, REST).unwrap_or_else(|at| at);
                counts.insert(at, (REST.into(), count));
            }
            Err(at) => counts.insert(at, (value.into(), count)),
        }
    }

    /// What is stored: a version; for each of [`By::ALL`] how many values there are, and for each
    /// value its length, its bytes and its count; if there are leaders, the same of them; then the
    /// sketch. Numbers are of the kind that is called LEB128.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let leaders = (!self.leaders.is_empty()).then(|| self.leaders.counts());
        out.push(if leaders.is_some() { WITH_LEADERS } else { VERSION });
        for counts in self.by.iter().map(Vec::as_slice).chain(leaders) {
            write_counts(&mut out, counts);
        }
        self.visitors.write(&mut out);
        out
    }

    /// Reads what was written. `None` when that cannot have been it.
    pub fn read(bytes: &[u8]) -> Option<Detail> {
        let (version, mut rest) = bytes.split_first()?;
        if ![VERSION, WITH_LEADERS].contains(version) {
            return None;
        }
        let mut detail = Detail::default();
        for counts in &mut detail.by {
            *counts = read_counts(&mut rest)?;
        }
        if *version == WITH_LEADERS {
            detail.leaders = Leaders::stored(read_counts(&mut rest)?)?;
        }
        detail.visitors = Sketch::read(rest).filter(|_| rest.len() <= LONGEST_SKETCH)?;
        Some(detail)
    }
}

const VERSION: u8 = 1;
const WITH_LEADERS: u8 = 2;

fn write_counts(out: &mut Vec<u8>, counts: &[(Box<str>, u64)]) {
    write_number(out, counts.len() as u64);
    for (value, count) in counts {
        write_number(out, value.len() as u64);
        out.extend_from_slice(value.as_bytes());
        write_number(out, *count);
    }
}

fn read_counts(rest: &mut &[u8]) -> Option<Counts> {
    let mut counts = Counts::new();
    for _ in 0..read_number(rest)? {
        let length = usize::try_from(read_number(rest)?).ok()?;
        let (value, behind) = rest.split_at_checked(length)?;
        *rest = behind;
        let value: Box<str> = std::str::from_utf8(value).ok()?.into();
        if counts.last().is_some_and(|(last, _)| *last >= value) {
            return None;
        }
        counts.push((value, read_number(rest)?));
    }
    Some(counts)
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at).filter(|_| at < 9 || *byte < 2)?;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clicks::agent::Agent;
    use crate::clicks::event::Country;

    fn traits(referrer: &str, device: Device, name: &'static str) -> Traits {
        let referrer = (!referrer.is_empty()).then(|| referrer.into());
        Traits { referrer, country: Country::new("DE"), agent: Agent { device, name } }
    }

    fn counts(detail: &Detail, by: By) -> Vec<(&str, u64)> {
        detail.by(by).iter().map(|(value, count)| (&**value, *count)).collect()
    }

    #[test]
    fn people_and_bots_are_apart() {
        let mut detail = Detail::default();
        detail.add(&traits("b.example", Device::Mobile, "Firefox"), 2);
        detail.add(&traits("", Device::Desktop, "Chrome"), 1);
        detail.add(&traits("a.example", Device::Mobile, "Chrome"), 4);
        detail.add(&traits("b.example", Device::Bot, "curl"), 8);
        assert_eq!((detail.clicks(), detail.bots()), (7, 8));
        assert_eq!(counts(&detail, By::Referrer), [("", 1), ("a.example", 4), ("b.example", 2)]);
        assert_eq!(counts(&detail, By::Country), [("DE", 7)]);
        assert_eq!(counts(&detail, By::Device), [("desktop", 1), ("mobile", 6)]);
        assert_eq!(counts(&detail, By::Browser), [("Chrome", 5), ("Firefox", 2)]);
        assert_eq!(counts(&detail, By::Bot), [("curl", 8)]);
        assert_eq!(Detail::read(&detail.write()), Some(detail));
    }

    #[test]
    fn referrers_that_are_made_up_have_one_row() {
        let mut detail = Detail::default();
        for number in 0..10_000 {
            let referrer = format!("{number}.example");
            detail.add(&traits(&referrer, Device::Desktop, "Chrome"), 1);
        }
        assert_eq!(detail.by(By::Referrer).len(), MOST_REFERRERS + 1);
        assert_eq!(detail.clicks(), 10_000);
        let rest = counts(&detail, By::Referrer)[0];
        assert_eq!(rest, (REST, 10_000 - MOST_REFERRERS as u64));
        detail.add(&traits("0.example", Device::Desktop, "Chrome"), 1);
        assert_eq!(counts(&detail, By::Referrer)[1], ("0.example", 2));
        let twice = detail.clone();
        detail.merge(&twice);
        assert_eq!(detail.by(By::Referrer).len(), MOST_REFERRERS + 1);
        assert_eq!(detail.clicks(), 20_002);
    }

    #[test]
    fn the_bytes_are_what_was_stored_before() {
        let mut detail = Detail::default();
        detail.add(&traits("a.b", Device::Mobile, "Safari"), 300);
        let expect = b"\x01\x01\x03a.b\xac\x02\x01\x02DE\xac\x02\x01\x06mobile\xac\x02\x01\x06Safari\xac\x02\x00\x01";
        assert_eq!(detail.write(), expect);
        detail.add_leaders(&Leaders::of([("abc", 300)]));
        let mut bytes = detail.write();
        assert_eq!(Detail::read(&bytes).as_ref(), Some(&detail));
        assert_eq!(bytes.remove(0), 2);
        let at = expect.len() - 2;
        assert_eq!(bytes[at..at + 7], *b"\x01\x03abc\xac\x02");
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(read_number(&mut &bytes[..]), Some(number));
            assert_eq!(read_number(&mut &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(read_number(&mut &[0xff; 10][..]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = 1 + *first % 2;
            }
            if let Some(detail) = Detail::read(&bytes) {
                prop_assert_eq!(Detail::read(&detail.write()), Some(detail));
            }
        }
    }
}
