//! `Accept-Encoding` and `Accept-Language` in normal form (RFC 9110 §12.5.3, §12.5.4).

use seawall_h1::{Headers, Known, RequestHead, fields};

/// What a client accepts of the codings that matter: `br`, `zstd`, `gzip`, and none at all.
///
/// An answer is stored for all requests with the same set. So that it fits all of them, a request
/// that fetches it must carry [`Encodings::write`] in place of what the client sent; what comes with
/// another coding all the same is not stored (see [`Encodings::allow`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encodings {
    /// Of [`BR`], [`ZSTD`], [`GZIP`] and [`IDENTITY`].
    set: u8,
}

const BR: u8 = 1;
const ZSTD: u8 = 2;
const GZIP: u8 = 4;
const IDENTITY: u8 = 8;
const CODINGS: [(&[u8], u8); 5] =
    [(b"br", BR), (b"zstd", ZSTD), (b"gzip", GZIP), (b"x-gzip", GZIP), (b"identity", IDENTITY)];

impl Encodings {
    /// What `request` accepts. One without the field accepts anything (§12.5.3), but who says
    /// nothing knows nothing as a rule, so it counts as one that accepts no coding.
    #[inline]
    pub fn of(request: &RequestHead) -> Encodings {
        let mut lines = request.headers.all_known(Known::AcceptEncoding).peekable();
        if lines.peek().is_none() {
            return Encodings { set: IDENTITY };
        }
        let (mut wanted, mut named, mut others) = (0, 0, None);
        for member in lines.flat_map(fields::list) {
            let (coding, quality) = with_quality(member);
            let is_wanted = quality > 0;
            if coding == b"*" {
                others = Some(is_wanted);
            } else if let Some((_, bit)) =
                CODINGS.iter().find(|(name, _)| coding.eq_ignore_ascii_case(name))
            {
                // The first to be named decides, as `gzip` and `x-gzip` are one.
                if named & bit == 0 && is_wanted {
                    wanted |= bit;
                }
                named |= bit;
            }
        }
        // No coding is acceptable unless it is refused (§12.5.3 item 2).
        let rest = match others {
            Some(true) => BR | ZSTD | GZIP | IDENTITY,
            Some(false) => 0,
            None => IDENTITY,
        };
        Encodings { set: wanted | rest & !named }
    }

    /// Whether the content coding of `answer` fits all requests with this set.
    pub fn allow(self, answer: &Headers) -> bool {
        codings(answer).all(|coding| {
            let known = CODINGS.iter().find(|(name, _)| coding.eq_ignore_ascii_case(name));
            known.is_some_and(|(_, bit)| self.set & bit != 0)
        })
    }

    /// Appends the value of `Accept-Encoding` to be sent when an answer for all requests with this
    /// set is fetched.
    pub fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        for (name, bit) in [CODINGS[0], CODINGS[1], CODINGS[2]] {
            if self.set & bit != 0 {
                if out.len() > start {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(name);
            }
        }
        let last: &[u8] = match (self.set & IDENTITY != 0, out.len() > start) {
            (true, true) => b"",
            (true, false) => b"identity",
            (false, true) => b", identity;q=0",
            (false, false) => b"*;q=0",
        };
        out.extend_from_slice(last);
    }

    /// The set as part of a key.
    pub(super) fn key(self) -> u8 {
        self.set
    }

    /// The set of which this is the part of a key.
    pub(super) fn of_key(set: u8) -> Encodings {
        Encodings { set: set & (BR | ZSTD | GZIP | IDENTITY) }
    }
}

/// The content codings of an answer but for `identity`, which is none.
pub(super) fn codings(answer: &Headers) -> impl Iterator<Item = &[u8]> {
    let all = answer.all_known(Known::ContentEncoding).flat_map(fields::list);
    all.filter(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// A member of a list and its weight in thousandths (§12.4.2). One that cannot be read is 0.
fn with_quality(member: &[u8]) -> (&[u8], u16) {
    let mut parts = member.split(|&b| b == b';').map(fields::trim);
    let value = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| match part {
        [b'q' | b'Q', rest @ ..] => fields::trim(rest).strip_prefix(b"=").map(fields::trim),
        _ => None,
    });
    (value, weight.map_or(1000, |text| thousandths(text).unwrap_or(0)))
}

fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (byte, unit) in fraction.iter().zip([100, 10, 1]) {
        if !byte.is_ascii_digit() {
            return None;
        }
        weight += u16::from(byte - b'0') * unit;
    }
    (weight <= 1000).then_some(weight)
}

/// Languages that are put in order; of more, the field is compared as it was written, since
/// leaving some out could give a reader a language that they do not read.
const LANGUAGES: usize = 16;

/// Appends the languages that a request wants, in lower case, the most wanted first, then those it
/// refuses, each with a `!`. False if there is no such field.
pub(super) fn languages(request: &RequestHead, out: &mut Vec<u8>) -> bool {
    let lines = || request.headers.all_known(Known::AcceptLanguage);
    if lines().next().is_none() {
        return false;
    }
    let mut sorted: [(&[u8], u16); LANGUAGES] = [(&[], 0); LANGUAGES];
    let mut count = 0;
    for member in lines().flat_map(fields::list) {
        let (language, weight) = with_quality(member);
        if sorted[..count].iter().any(|(other, _)| other.eq_ignore_ascii_case(language)) {
            continue;
        }
        if count == LANGUAGES {
            // No language begins so.
            out.push(b'=');
            return super::value::write(lines(), out);
        }
        // Behind all that are wanted as much, as the order among these may mean something.
        let at = sorted[..count].iter().position(|(_, other)| *other < weight).unwrap_or(count);
        sorted[at..=count].rotate_right(1);
        sorted[at] = (language, weight);
        count += 1;
    }
    for (at, (language, weight)) in sorted[..count].iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if *weight == 0 {
            out.push(b'!');
        }
        out.extend(language.iter().map(u8::to_ascii_lowercase));
    }
    true
}
