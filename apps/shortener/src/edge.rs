//! What caches in front are told: the fields of answers, and what has changed since.
//!
//! Browsers keep an answer for `max-age`, since their copies cannot be purged; caches in front for
//! `s-maxage`, since theirs can, by the tag `link:CODE`. It decides on nothing but how long;
//! called by `redirect.rs`. Purging is `edge/purge.rs`.

mod purge;

use std::hash::Hasher;

use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use siphasher::sip::SipHasher13;

use crate::config::Config;
use crate::link::Millis;
use crate::resolve::Mapping;

pub use self::purge::{Purger, Standing};

/// RFC 9213.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Fields that all answers for a link have in common, made once.
#[derive(Debug)]
pub struct Prepared {
    /// `Location`. `None` when the target cannot be one, which validation rules out.
    pub location: Option<HeaderValue>,
    etag: Option<HeaderValue>,
    tag: Option<HeaderValue>,
    /// Only browsers may keep them. Where queries are sent on, a cache that leaves them out of its
    /// key would send those of one on for another.
    is_private: bool,
}

impl Prepared {
    /// Those of a link.
    pub fn new(code: &str, mapping: &Mapping) -> Prepared {
        let mut hasher = SipHasher13::new();
        hasher.write(mapping.target.as_bytes());
        hasher.write_u16(mapping.redirect.status());
        hasher.write_i64(mapping.expires.unwrap_or(Millis::MAX));
        // One piece of memory for all three: with many links kept, that is what they cost.
        let (etag, tag) = (format!("\"{:x}\"", hasher.finish()), tag(code));
        let all = Bytes::from([&mapping.target, &*etag, &*tag].concat());
        let (first, second) = (mapping.target.len(), mapping.target.len() + etag.len());
        let value = |bytes| HeaderValue::from_maybe_shared(bytes).ok();
        Prepared {
            location: value(all.slice(..first)),
            etag: value(all.slice(first..second)),
            tag: value(all.slice(second..)),
            is_private: mapping.forward_query,
        }
    }
}

/// How long who may keep what.
#[derive(Debug)]
pub struct Edge {
    max_age: u64,
    s_maxage: u64,
    negative: u64,
    /// Of a link that does not end before.
    plain: [HeaderValue; 2],
}

impl Edge {
    /// As configured.
    pub fn new(config: &Config) -> Edge {
        let max_age = config.edge.max_age.as_secs();
        let s_maxage = config.edge.s_maxage.as_secs();
        let negative = config.cache.negative_ttl.as_secs();
        Edge { max_age, s_maxage, negative, plain: fields(max_age, s_maxage) }
    }

    /// The fields of a redirect that holds for `left` milliseconds more; `None`: until the link
    /// changes.
    pub fn keep(&self, headers: &mut HeaderMap, prepared: &Prepared, left: Option<Millis>) {
        self.keep_for(headers, prepared, left);
        if let Some(etag) = &prepared.etag {
            headers.insert(ETAG, etag.clone());
        }
    }

    /// The fields of the answer for a link that has expired. It has not the `ETag` of the redirect,
    /// by which a cache would tell whoever has that one that nothing is new.
    pub fn keep_expired(&self, headers: &mut HeaderMap, prepared: &Prepared) {
        self.keep_for(headers, prepared, None);
    }

    fn keep_for(&self, headers: &mut HeaderMap, prepared: &Prepared, left: Option<Millis>) {
        let left = left.map_or(u64::MAX, |left| u64::try_from(left / 1000).unwrap_or(0));
        let [browser, cdn] = match left {
            _ if prepared.is_private => fields(self.max_age.min(left), 0),
            _ if left < self.s_maxage.max(self.max_age) => {
                fields(self.max_age.min(left), self.s_maxage.min(left))
            }
            _ => self.plain.clone(),
        };
        headers.insert(CACHE_CONTROL, browser);
        headers.insert(CDN_CACHE_CONTROL, cdn);
        if let Some(tag) = &prepared.tag {
            headers.insert(CACHE_TAG, tag.clone());
        }
    }

    /// The fields of an answer that says that there is nothing. The code has been checked.
    pub fn keep_missing(&self, headers: &mut HeaderMap, code: &str) {
        let negative = self.negative;
        let [browser, cdn] = fields(self.max_age.min(negative), self.s_maxage.min(negative));
        headers.insert(CACHE_CONTROL, browser);
        headers.insert(CDN_CACHE_CONTROL, cdn);
        if let Some(tag) = shared(&tag(code)) {
            headers.insert(CACHE_TAG, tag);
        }
    }

    /// The fields of an answer that nobody may keep.
    pub fn keep_nothing(headers: &mut HeaderMap) {
        headers.insert(CACHE_CONTROL, NO_STORE);
    }
}

/// The tag of a link.
fn tag(code: &str) -> String {
    format!("link:{code}")
}

/// `Cache-Control` and `CDN-Cache-Control` for so many seconds.
fn fields(max_age: u64, s_maxage: u64) -> [HeaderValue; 2] {
    let shared = |text: String| shared(&text).unwrap_or(NO_STORE);
    match s_maxage {
        0 => [shared(format!("private, max-age={max_age}")), NO_STORE],
        _ => [shared(format!("public, max-age={max_age}")), shared(format!("max-age={s_maxage}"))],
    }
}

/// A value that is cloned without being copied.
fn shared(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(left: Option<Millis>, s_maxage: u64) -> (String, String) {
        let mut config = Config::default();
        config.edge.s_maxage = std::time::Duration::from_secs(s_maxage);
        let mut headers = HeaderMap::new();
        let prepared = Prepared::new("abc", &Mapping::default());
        Edge::new(&config).keep(&mut headers, &prepared, left);
        assert_eq!(headers["cache-tag"], "link:abc");
        let text = |name: &str| headers[name].to_str().expect("ASCII").to_owned();
        (text("cache-control"), text("cdn-cache-control"))
    }

    #[test]
    fn nobody_keeps_a_link_beyond_its_end() {
        for (left, s_maxage, browser, cdn) in [
            (None, 300, "public, max-age=5", "max-age=300"),
            (Some(1_000_000), 300, "public, max-age=5", "max-age=300"),
            (Some(299_999), 300, "public, max-age=5", "max-age=299"),
            (Some(4_200), 300, "public, max-age=4", "max-age=4"),
            (Some(900), 300, "private, max-age=0", "no-store"),
            (None, 0, "private, max-age=5", "no-store"),
            (Some(2_000), 0, "private, max-age=2", "no-store"),
        ] {
            let expect = (browser.to_owned(), cdn.to_owned());
            assert_eq!(answer(left, s_maxage), expect, "{left:?} {s_maxage}");
        }
    }

    #[test]
    fn the_etag_is_of_what_is_told() {
        let etag = |mapping: &Mapping| Prepared::new("a", mapping).etag;
        let one = Mapping { target: "https://a.example/".into(), ..Mapping::default() };
        let other = Mapping { target: "https://b.example/".into(), ..Mapping::default() };
        let permanent = Mapping { redirect: crate::link::Redirect::Permanent, ..one.clone() };
        assert_eq!(etag(&one), etag(&one.clone()));
        assert_ne!(etag(&one), etag(&other));
        assert_ne!(etag(&one), etag(&permanent));
    }

    #[test]
    fn a_target_that_would_break_the_answer_is_no_location() {
        let target = "https://a.example/\r\nset-cookie: a=b".into();
        let mapping = Mapping { target, ..Mapping::default() };
        assert!(Prepared::new("a", &mapping).location.is_none());
    }
}
