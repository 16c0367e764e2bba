//! Surrogate keys, and all else by which a stored answer can be purged.
//!
//! [`Tags::of`] reads what the origin says. [`Labels`] makes numbers of it, and of the URL: 32 bits
//! each, which are stored with the answer and name the stamps of [`crate::purge`]. Two things with
//! one number are purged together; that costs a fetch, and nothing else.

mod label;

pub use label::{DEEPEST, Labels};

use seawall_h1::{Headers, Known, fields};

/// Tags that one answer may have; more are dropped.
pub const MOST: usize = 128;

/// Bytes that one tag may have; longer ones are dropped.
pub const LONGEST: usize = 256;

/// The tags of an answer, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags<'a> {
    /// The tags, as they were written; none is empty.
    pub tags: Vec<&'a [u8]>,
    /// How many were too many or too long. A purge by one of these does not reach the answer.
    pub dropped: usize,
}

impl<'a> Tags<'a> {
    /// The tags of `answer`: of `Surrogate-Key` (with spaces between them), of `Cache-Tag` (with
    /// commas), and of the field that is configured (with either).
    pub fn of(answer: &'a Headers, configured: Option<&'a str>) -> Tags<'a> {
        let mut tags = Tags::default();
        tags.add(answer.all_known(Known::SurrogateKey), |b| b == b' ' || b == b'\t');
        tags.add(answer.all_known(Known::CacheTag), |b| b == b',');
        if let Some(name) = configured {
            tags.add(answer.all(name.as_bytes()), |b| b == b' ' || b == b'\t' || b == b',');
        }
        tags
    }

    fn add(
        &mut self,
        lines: impl Iterator<Item = &'a [u8]>,
        separates: impl Fn(u8) -> bool + Copy,
    ) {
        for tag in lines.flat_map(|line| line.split(move |&b| separates(b))).map(fields::trim) {
            if tag.is_empty() || self.tags.contains(&tag) {
                continue;
            }
            if tag.len() > LONGEST || self.tags.len() == MOST {
                self.dropped += 1;
            } else {
                self.tags.push(tag);
            }
        }
    }
}

/// Tags that are typed, in one text with spaces, commas or line ends between them.
pub fn typed(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|tag| !tag.is_empty())
}
