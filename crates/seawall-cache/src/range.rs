//! Byte ranges (RFC 9110 §14).
//!
//! [`Ranges::of`] reads what a request asks for, [`Ranges::resolve`] says what that is of a content
//! of known length. The rest reads and writes what goes with partial answers.

mod content;
mod multipart;

pub use content::{ContentRange, write_content_range, write_unsatisfied};
pub use multipart::Multipart;

use seawall_h1::{Known, Method, RequestHead, fields};

/// Ranges that one request may ask for; of more, none is listened to (§14.2).
const MOST_ASKED: usize = 32;

/// Parts that one answer may have, once ranges that touch are joined; if there were more, the whole
/// content is sent (§14.2, §17.15).
pub const MOST_PARTS: usize = 16;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    asked: [Asked; MOST_ASKED],
    count: u8,
}

/// A range before the length is known (§14.1.2). Positions are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

/// A part of a content that has at least this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The position of its first byte.
    pub first: u64,
    /// The position of its last byte.
    pub last: u64,
}

impl Part {
    /// Bytes in it.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// What of a content is sent. Never kept, so that its size does no harm.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// All of it, with 200.
    Whole,
    /// Parts of it, with 206.
    Parts(Parts),
    /// Nothing, with 416.
    Unsatisfiable,
}

/// One part at least and [`MOST_PARTS`] at most. No two overlap or touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    parts: [Part; MOST_PARTS],
    count: u8,
}

impl Parts {
    /// The parts, in the order they were asked for.
    pub fn as_slice(&self) -> &[Part] {
        &self.parts[..usize::from(self.count)]
    }
}

impl Ranges {
    /// What `request` asks for; `None` where it is not to be listened to: not with GET, no bytes,
    /// malformed, too much (§14.2). `If-Range` is another matter, see
    /// [`crate::conditional::if_range`].
    pub fn of(request: &RequestHead) -> Option<Ranges> {
        let mut values = request.headers.all_known(Known::Range);
        let value = values.next()?;
        if values.next().is_some() || request.method != Method::Get {
            return None;
        }
        Ranges::parse(value)
    }

    /// Reads the value of `Range`.
    pub fn parse(value: &[u8]) -> Option<Ranges> {
        let equals = value.iter().position(|&b| b == b'=')?;
        if !value[..equals].eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut ranges = Ranges { asked: [Asked::Last(0); MOST_ASKED], count: 0 };
        for member in fields::list(&value[equals + 1..]) {
            *ranges.asked.get_mut(usize::from(ranges.count))? = asked(member)?;
            ranges.count += 1;
        }
        (ranges.count > 0).then_some(ranges)
    }

    /// What they are of a content of `length` bytes.
    pub fn resolve(&self, length: u64) -> Resolved {
        let mut parts = [Part { first: 0, last: 0 }; MOST_ASKED];
        let mut count = 0;
        for asked in &self.asked[..usize::from(self.count)] {
            let Some(mut part) = asked.of(length) else {
                // There is no way to write a part of nothing (§14.4).
                if length == 0 && matches!(asked, Asked::Last(1..)) {
                    return Resolved::Whole;
                }
                continue;
            };
            // Joined with all it overlaps or touches, in the place of the first of them. What it
            // was apart from stays so, since those that it is joined with are apart from that too.
            let mut place = count;
            let mut at = 0;
            while at < count {
                let other = parts[at];
                let is_apart = part.last.saturating_add(1) < other.first
                    || other.last.saturating_add(1) < part.first;
                if is_apart {
                    at += 1;
                    continue;
                }
                part = Part { first: part.first.min(other.first), last: part.last.max(other.last) };
                place = place.min(at);
                parts.copy_within(at + 1..count, at);
                count -= 1;
            }
            let place = place.min(count);
            parts.copy_within(place..count, place + 1);
            parts[place] = part;
            count += 1;
        }
        match count {
            0 => Resolved::Unsatisfiable,
            1..=MOST_PARTS => {
                let mut kept = [parts[0]; MOST_PARTS];
                kept[..count].copy_from_slice(&parts[..count]);
                Resolved::Parts(Parts { parts: kept, count: count as u8 })
            }
            _ => Resolved::Whole,
        }
    }
}

impl Asked {
    fn of(self, length: u64) -> Option<Part> {
        let end = length.checked_sub(1)?;
        match self {
            Asked::From(first) if first <= end => Some(Part { first, last: end }),
            Asked::Between(first, last) if first <= end => {
                Some(Part { first, last: last.min(end) })
            }
            Asked::Last(count @ 1..) => {
                Some(Part { first: length.saturating_sub(count), last: end })
            }
            Asked::From(_) | Asked::Between(..) | Asked::Last(0) => None,
        }
    }
}

/// `first-last`, `first-` or `-count`. Numbers beyond 64 bits are as large as can be.
fn asked(member: &[u8]) -> Option<Asked> {
    let dash = member.iter().position(|&b| b == b'-')?;
    let (first, last) = (&member[..dash], &member[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Asked::Last(position(last)?)),
        (false, true) => Some(Asked::From(position(first)?)),
        (false, false) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}

fn position(digits: &[u8]) -> Option<u64> {
    let digit = |number: u64, b: &u8| {
        let value = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(value))
    };
    digits.iter().try_fold(0, digit)
}
