//! Entity tags (RFC 9110 §8.8.3).
//!
//! Tags are compared as they were written. Some servers and clients leave out the quotes; such a
//! tag equals only one that was written so too.

use seawall_h1::fields;

/// Whether a tag is strong.
pub fn is_strong(tag: &[u8]) -> bool {
    tag.len() >= 2 && tag.first() == Some(&b'"') && tag.last() == Some(&b'"')
}

/// Whether two tags are equal and strong (§8.8.3.2).
pub fn strong_match(one: &[u8], other: &[u8]) -> bool {
    is_strong(one) && one == other
}

/// Whether two tags are equal, strong or not (§8.8.3.2).
pub fn weak_match(one: &[u8], other: &[u8]) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    !opaque(one).is_empty() && opaque(one) == opaque(other)
}

/// The members of `If-None-Match`. Tags may have commas in them.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let mut is_quoted = false;
            let end = rest.iter().position(|&b| {
                is_quoted ^= b == b'"';
                b == b',' && !is_quoted
            });
            let end = end.unwrap_or(rest.len());
            let member = fields::trim(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    })
}
