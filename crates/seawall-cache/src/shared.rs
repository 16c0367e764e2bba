//! A stored answer as it travels between the nodes of a fleet, in bytes that every node of one
//! version reads. Times travel as ages, since the clocks of nodes differ.
//!
//! Pure; called by the door for what it hands to the shared state, and takes from there.

use crate::object::{Content, Flags, Meta, Object};

/// What a node tells the others of its fetch.
#[derive(Debug, PartialEq, Eq)]
pub enum Shared<'a> {
    /// It may be stored.
    Answer(Box<Travelled<'a>>),
    /// It is not to be stored, nor are others of this resource, for this reason
    /// ([`crate::store::Mark`]).
    Pass(u8),
    /// It is for that node only: too large to travel, or for one request.
    Alone,
}

/// An answer that another node fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct Travelled<'a> {
    /// What is known of it; `received` and `sequence` are 0, since they are this node's to say.
    pub meta: Meta,
    /// The key that it was stored under there.
    pub key: &'a [u8],
    /// Where the part of the key ends that all variants have.
    pub primary: usize,
    /// The fields by which it varies.
    pub names: Vec<&'a [u8]>,
    /// As [`Object::fields`].
    pub fields: &'a [u8],
    /// As [`Object::labels`].
    pub labels: Vec<u32>,
    /// The whole content.
    pub content: &'a [u8],
    /// Milliseconds that it was old when it was handed over (`current_age`, RFC 9111 §4.2.3).
    pub age: u64,
    /// Milliseconds for which it was to be had from then on.
    pub offered: u64,
}

const VERSION: u8 = 2;
const ANSWER: u8 = 0;
const PASS: u8 = 1;
const ALONE: u8 = 2;

impl Shared<'_> {
    /// An object with all its content, which is `age` milliseconds old and is to be had for
    /// `offered`; `None` if it is not all there.
    pub fn write_answer(
        object: &Object,
        primary: usize,
        names: &[Box<[u8]>],
        age: u64,
        offered: u64,
    ) -> Option<Vec<u8>> {
        if object.content != Content::Whole {
            return None;
        }
        let meta = &object.meta;
        let labels: Vec<u32> = object.labels().collect();
        let text = object.key().len() + object.fields().len() + object.body().len();
        let mut out = Vec::with_capacity(128 + 4 * labels.len() + text);
        out.extend([VERSION, ANSWER]);
        for number in [age, offered, meta.lifetime] {
            out.extend(number.to_le_bytes());
        }
        let Meta { initial_age, stale_while_revalidate, stale_if_error, cost, .. } = *meta;
        for number in [initial_age, stale_while_revalidate, stale_if_error, cost] {
            out.extend(number.to_le_bytes());
        }
        out.extend(meta.status.to_le_bytes());
        out.push(write_flags(meta.flags));
        for length in [object.key().len(), primary, object.fields().len(), labels.len()] {
            out.extend(u32::try_from(length).ok()?.to_le_bytes());
        }
        out.push(u8::try_from(names.len()).ok()?);
        for name in names {
            out.extend(u16::try_from(name.len()).ok()?.to_le_bytes());
            out.extend(&**name);
        }
        for label in labels {
            out.extend(label.to_le_bytes());
        }
        out.extend(object.key());
        out.extend(object.fields());
        out.extend(object.body());
        Some(out)
    }

    /// That answers are not to be stored, for this reason.
    pub fn write_pass(why: u8) -> Vec<u8> {
        vec![VERSION, PASS, why]
    }

    /// That the answer is for the node only that fetched it.
    pub fn write_alone() -> Vec<u8> {
        vec![VERSION, ALONE]
    }

    /// What another node wrote; `None` if it is of another version, or damaged.
    pub fn read(bytes: &[u8]) -> Option<Shared<'_>> {
        let mut input = Input(bytes);
        if input.number::<1>()? != [VERSION] {
            return None;
        }
        match input.number::<1>()? {
            [ANSWER] => Some(Shared::Answer(Box::new(input.answer()?))),
            [PASS] => Some(Shared::Pass(input.number::<1>()?[0])),
            [ALONE] => Some(Shared::Alone),
            _ => None,
        }
    }
}

/// What is yet to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn length(&mut self) -> Option<usize> {
        self.u32().map(|length| length as usize)
    }

    fn answer(mut self) -> Option<Travelled<'a>> {
        let (age, offered, lifetime) = (self.u64()?, self.u64()?, self.u64()?);
        let meta = Meta {
            received: 0,
            lifetime,
            sequence: 0,
            initial_age: self.u32()?,
            stale_while_revalidate: self.u32()?,
            stale_if_error: self.u32()?,
            cost: self.u32()?,
            status: self.number().map(u16::from_le_bytes)?,
            flags: read_flags(self.number::<1>()?[0]),
        };
        let [key, primary, fields, labels] =
            [self.length()?, self.length()?, self.length()?, self.length()?];
        let [names] = self.number()?;
        let names = (0..names)
            .map(|_| {
                let length = self.number().map(u16::from_le_bytes)?;
                self.take(length.into())
            })
            .collect::<Option<_>>()?;
        let labels = self.take(labels.checked_mul(4)?)?;
        let labels = labels.as_chunks().0.iter().map(|label| u32::from_le_bytes(*label)).collect();
        let (key, fields) = (self.take(key)?, self.take(fields)?);
        key.get(..primary)?;
        Some(Travelled { meta, key, primary, names, fields, labels, content: self.0, age, offered })
    }
}

fn write_flags(flags: Flags) -> u8 {
    let Flags { must_revalidate, no_cache, immutable, heuristic, strong, ranges } = flags;
    let all = [must_revalidate, no_cache, immutable, heuristic, strong, ranges];
    all.into_iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(flag))
}

fn read_flags(bits: u8) -> Flags {
    let flag = |at: u32| bits & (1 << at) != 0;
    Flags {
        must_revalidate: flag(0),
        no_cache: flag(1),
        immutable: flag(2),
        heuristic: flag(3),
        strong: flag(4),
        ranges: flag(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(content: Content) -> Object {
        let meta = Meta {
            received: 1_700_000_000_000,
            lifetime: 60_000,
            sequence: 9,
            initial_age: 3,
            stale_while_revalidate: 30,
            stale_if_error: 3600,
            cost: 12,
            status: 200,
            flags: Flags { immutable: true, ranges: true, ..Flags::default() },
        };
        let body: &[&[u8]] = if content == Content::Whole { &[b"content"] } else { &[] };
        Object::new(meta, b"keyvariant", b"ETag: \"1\"\r\n", &[7, 8], content, body)
    }

    #[test]
    fn what_is_written_is_read() {
        let names = [b"accept-language".as_slice().into(), b"x".as_slice().into()];
        let object = object(Content::Whole);
        let bytes = Shared::write_answer(&object, 3, &names, 4_500, 56_000).expect("it is whole");
        let read = Shared::read(&bytes).expect("ours");
        let travelled = Travelled {
            meta: Meta { received: 0, sequence: 0, ..object.meta.clone() },
            key: b"keyvariant",
            primary: 3,
            names: vec![b"accept-language", b"x"],
            fields: b"ETag: \"1\"\r\n",
            labels: vec![7, 8],
            content: b"content",
            age: 4_500,
            offered: 56_000,
        };
        assert_eq!(read, Shared::Answer(Box::new(travelled)));
        assert_eq!(Shared::read(&Shared::write_pass(4)), Some(Shared::Pass(4)));
        assert_eq!(Shared::read(&Shared::write_alone()), Some(Shared::Alone));
    }

    #[test]
    fn only_what_is_whole_travels() {
        let chunks = object(Content::Chunks { id: 1, length: 9 });
        assert_eq!(Shared::write_answer(&chunks, 3, &[], 0, 0), None);
    }

    #[test]
    fn damage_is_not_read_as_something_else() {
        let object = object(Content::Whole);
        let bytes = Shared::write_answer(&object, 3, &[], 0, 0).expect("it is whole");
        let content = object.body().len();
        for length in 0..bytes.len() - content {
            assert_eq!(Shared::read(&bytes[..length]), None, "cut to {length}");
        }
        let mut other = bytes.clone();
        other[0] += 1;
        assert_eq!(Shared::read(&other), None, "another version");
        let mut other = bytes;
        // The length of the key and of its first part begin behind 2 + 3*8 + 4*4 + 2 + 1 bytes.
        other[49] = 11;
        assert_eq!(Shared::read(&other), None, "a part that is longer than the whole");
    }

    #[test]
    fn every_flag_is_kept() {
        for bits in 0..64 {
            assert_eq!(write_flags(read_flags(bits)), bits);
        }
    }
}
