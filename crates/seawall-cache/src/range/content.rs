//! `Content-Range` (RFC 9110 §14.4).

use seawall_h1::{Headers, Known, encode, fields};

use super::Part;

/// What a partial answer is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The part.
    pub part: Part,
    /// Bytes of the whole content, if the sender knows.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// That of `answer`; `None` when it has none, several, or one that is malformed or
    /// contradicts itself.
    pub fn of(answer: &Headers) -> Option<ContentRange> {
        let mut values = answer.all_known(Known::ContentRange);
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        ContentRange::parse(value)
    }

    /// Reads the value of `Content-Range` with 206.
    pub fn parse(value: &[u8]) -> Option<ContentRange> {
        let rest = bytes(value)?;
        let slash = rest.iter().position(|&b| b == b'/')?;
        let dash = rest.iter().position(|&b| b == b'-')?;
        let first = fields::decimal(rest.get(..dash)?)?;
        let last = fields::decimal(rest.get(dash + 1..slash)?)?;
        let complete = match &rest[slash + 1..] {
            b"*" => None,
            digits => Some(fields::decimal(digits)?),
        };
        let fits = first <= last && complete.is_none_or(|complete| last < complete);
        fits.then_some(ContentRange { part: Part { first, last }, complete })
    }

    /// Reads the value of `Content-Range` with 416: bytes of the whole content.
    pub fn parse_unsatisfied(value: &[u8]) -> Option<u64> {
        fields::decimal(bytes(value)?.strip_prefix(b"*/")?)
    }
}

fn bytes(value: &[u8]) -> Option<&[u8]> {
    let (unit, rest) = value.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes ").then_some(rest)
}

/// Appends the field `Content-Range` of a part.
pub fn write_content_range(part: Part, complete: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Range: bytes ");
    write_part(part, complete, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the field `Content-Range` of a 416: the content has `complete` bytes.
pub fn write_unsatisfied(complete: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Range: bytes */");
    encode::decimal(complete, out);
    out.extend_from_slice(b"\r\n");
}

fn write_part(part: Part, complete: Option<u64>, out: &mut Vec<u8>) {
    encode::decimal(part.first, out);
    out.push(b'-');
    encode::decimal(part.last, out);
    out.push(b'/');
    match complete {
        Some(complete) => encode::decimal(complete, out),
        None => out.push(b'*'),
    }
}
