//! `Cache-Status` (RFC 9211): what this cache did with a request, on every answer.
//!
//! What caches before us said comes first, so that the list goes from the origin to the client
//! (§2).

use seawall_h1::encode;

/// The name of this cache in the list.
pub const NAME: &str = "seawall";

/// What was done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// Whether it went on, and why.
    pub outcome: Outcome,
    /// Seconds that the answer stays fresh; negative if it is stale (§2.4).
    pub ttl: Option<i64>,
    /// The key (§2.7), for those who may see it.
    pub key: Option<&'a [u8]>,
    /// What more there is to say, as a token (§2.8).
    pub detail: Option<&'a str>,
}

/// Whether a request was answered from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was (§2.1).
    Hit,
    /// It went on (§2.2).
    Forward {
        /// Why.
        why: Forward,
        /// The status that came back, where it is not that of the answer (§2.3).
        status: Option<u16>,
        /// What came back was stored (§2.5).
        stored: bool,
        /// It waited for another one with the same key (§2.6).
        collapsed: bool,
    },
}

/// Why a request went on (§2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The rules send it past the cache.
    Bypass,
    /// Its method is not answered from the cache.
    Method,
    /// Nothing is stored for its URL.
    UriMiss,
    /// What is stored for its URL is for other requests.
    VaryMiss,
    /// Nothing that is stored fits, without more being known.
    Miss,
    /// What is stored is fresh, but the request does not want it as it is.
    Request,
    /// What is stored is stale.
    Stale,
    /// Only a part of it is stored.
    Partial,
}

impl Forward {
    /// The token of §2.2.
    pub fn name(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
            Forward::Partial => "partial",
        }
    }
}

impl CacheStatus<'_> {
    /// Appends the field with what caches before us said, if anything, and then this.
    pub fn write_behind<'b>(&self, before: impl Iterator<Item = &'b [u8]>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Cache-Status: ");
        for value in before.filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
        self.write_member(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the field with this alone. A line of its own behind those of caches before us means
    /// the same as one list (RFC 9110 §5.3).
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        // What nearly every hit says.
        if let CacheStatus {
            outcome: Outcome::Hit,
            ttl: Some(ttl @ 0..),
            key: None,
            detail: None,
        } = self
        {
            out.extend_from_slice(b"Cache-Status: seawall; hit; ttl=");
            encode::decimal(ttl.unsigned_abs(), out);
            out.extend_from_slice(b"\r\n");
            return;
        }
        self.write_behind(std::iter::empty(), out);
    }

    fn write_member(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        match self.outcome {
            Outcome::Hit => out.extend_from_slice(b"; hit"),
            Outcome::Forward { why, status, stored, collapsed } => {
                out.extend_from_slice(b"; fwd=");
                out.extend_from_slice(why.name().as_bytes());
                if let Some(status) = status {
                    out.extend_from_slice(b"; fwd-status=");
                    encode::decimal(u64::from(status), out);
                }
                if stored {
                    out.extend_from_slice(b"; stored");
                }
                if collapsed {
                    out.extend_from_slice(b"; collapsed");
                }
            }
        }
        if let Some(ttl) = self.ttl {
            // Structured fields have integers of 15 digits (RFC 8941 §3.3.1).
            let ttl = ttl.clamp(-999_999_999_999_999, 999_999_999_999_999);
            out.extend_from_slice(if ttl < 0 { b"; ttl=-" } else { b"; ttl=" });
            encode::decimal(ttl.unsigned_abs(), out);
        }
        if let Some(key) = self.key {
            out.extend_from_slice(b"; key=");
            write_string(key, out);
        }
        if let Some(detail) = self.detail {
            out.extend_from_slice(b"; detail=");
            if is_sf_token(detail.as_bytes()) {
                out.extend_from_slice(detail.as_bytes());
            } else {
                write_string(detail.as_bytes(), out);
            }
        }
    }
}

/// RFC 8941 §3.3.4
fn is_sf_token(text: &[u8]) -> bool {
    let is_inner = |&b: &u8| seawall_h1::headers::is_token_byte(b) || b == b':' || b == b'/';
    text.first().is_some_and(|&b| b.is_ascii_alphabetic() || b == b'*') && text.iter().all(is_inner)
}

/// RFC 8941 §3.3.3; bytes that no string can have become `?`.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
}
