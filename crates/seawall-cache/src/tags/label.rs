//! Numbers by which answers are purged.

use seawall_config::plan;

use crate::key::{self, Url};

/// Directories of a path that get a label of their own, from the root on.
pub const DEEPEST: usize = 16;

/// Makes labels. The seed must be that with which stored answers were labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labels {
    seed: u64,
}

/// What a label is of, so that a tag and a host of one name differ. Numbers are stored.
///
/// URLs share no slot with the rest: whoever may send a `POST` purges a URL of their choice by it
/// (RFC 9111 §4.4), and would find one in the slot of everything in no time.
#[derive(Clone, Copy)]
enum Kind {
    Everything = 1,
    Host = 2,
    Url = 3,
    Prefix = 4,
    Tag = 5,
}

impl Labels {
    /// A maker of labels.
    pub const fn new(seed: u64) -> Labels {
        Labels { seed }
    }

    /// The label that all answers have.
    pub fn everything(&self) -> u32 {
        self.label(Kind::Everything, &[])
    }

    /// The label of a tag; `None` if it is empty, since no answer has that.
    pub fn tag(&self, tag: &[u8]) -> Option<u32> {
        (!tag.is_empty()).then(|| self.label(Kind::Tag, tag))
    }

    /// The label of a host, with its port unless that is the usual one.
    pub fn host(&self, url: &Url<'_>) -> u32 {
        let mut host = Vec::with_capacity(url.authority.len());
        url.write_host(&mut host);
        self.label(Kind::Host, &host)
    }

    /// The label of a URL, of which the query counts as far as the rules of its route say. It is
    /// the same for both schemes and for all variants.
    pub fn url(&self, url: &Url<'_>, rules: &plan::CacheKey) -> u32 {
        let mut text = Vec::with_capacity(url.authority.len() + url.path.len() + url.query.len());
        self.write_url(url, rules, &mut text);
        self.label(Kind::Url, &text)
    }

    /// The label of all URLs of a host below a directory; `None` if `path` does not end in `/`, or
    /// is deeper than [`DEEPEST`], since no answer has that.
    pub fn prefix(&self, url: &Url<'_>) -> Option<u32> {
        let depth = url.path.iter().filter(|&&b| b == b'/').count();
        if url.path.last() != Some(&b'/') || depth > DEEPEST {
            return None;
        }
        let mut text = Vec::with_capacity(url.authority.len() + url.path.len());
        url.write_host(&mut text);
        text.extend_from_slice(url.path);
        Some(self.label(Kind::Prefix, &text))
    }

    /// Appends all labels of an answer, each once: everything, host, URL, directories, tags.
    pub fn write<'a>(
        &self,
        url: &Url<'_>,
        rules: &plan::CacheKey,
        tags: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<u32>,
    ) {
        let start = out.len();
        out.push(self.everything());
        let mut text = Vec::with_capacity(url.authority.len() + url.path.len() + url.query.len());
        url.write_host(&mut text);
        let host = text.len();
        out.push(self.label(Kind::Host, &text));
        text.extend_from_slice(url.path);
        let slashes = (host..text.len()).filter(|at| text[*at] == b'/').take(DEEPEST);
        out.extend(slashes.map(|at| self.label(Kind::Prefix, &text[..=at])));
        text.clear();
        self.write_url(url, rules, &mut text);
        out.push(self.label(Kind::Url, &text));
        out.extend(tags.filter_map(|tag| self.tag(tag)));
        out[start..].sort_unstable();
        let mut end = start;
        for at in start..out.len() {
            if at == start || out[at] != out[end - 1] {
                out[end] = out[at];
                end += 1;
            }
        }
        out.truncate(end);
    }

    fn write_url(&self, url: &Url<'_>, rules: &plan::CacheKey, out: &mut Vec<u8>) {
        // An answer for all hosts is purged by its URL on any of them.
        if rules.host {
            url.write_host(out);
        }
        key::write_url_without_host(url, rules, out);
    }

    /// A hash of eight bytes at a time, each multiplied into both halves of 128 bits, as wyhash and
    /// its kin do. It is written out here because labels are stored, so that it must never change.
    fn label(&self, kind: Kind, text: &[u8]) -> u32 {
        const ONE: u64 = 0x9e37_79b9_7f4a_7c15;
        const TWO: u64 = 0xd6e8_feb8_6659_fd93;
        let fold = |a: u64, b: u64| {
            let wide = u128::from(a) * u128::from(b);
            wide as u64 ^ (wide >> 64) as u64
        };
        let mut hash = fold(self.seed ^ ONE, ((text.len() as u64) << 3 | kind as u64) ^ TWO);
        for chunk in text.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = fold(hash ^ u64::from_le_bytes(word) ^ ONE, TWO) ^ hash.rotate_left(29);
        }
        let hash = fold(hash ^ TWO, ONE);
        let label = (hash ^ (hash >> 32)) as u32;
        // The lowest bits part the slots of the two kinds (see [`crate::purge`]), an eighth for the
        // one URL of an answer, since the others are some seven.
        let part = match kind {
            Kind::Url => 0,
            Kind::Everything | Kind::Host | Kind::Prefix | Kind::Tag => 1 + (hash >> 40) as u32 % 7,
        };
        label & !7 | part
    }
}
