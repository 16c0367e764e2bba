//! Which requests an answer is for (RFC 9111 §4.1).
//!
//! [`fields`] says by what an answer varies, [`secondary`] makes of a request what is compared.
//! Values that mean the same are made the same first; how is different for `Accept-Encoding` and
//! `Accept-Language`, which every browser writes in its own way.

mod accept;
mod value;

pub use accept::Encodings;

use seawall_config::plan;
use seawall_h1::{Headers, Known, RequestHead, fields as lists};

/// Names by which one answer may vary at most; more are taken for [`Varies::Any`].
const MOST: usize = 32;

/// By what an answer varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Varies {
    /// By what is not in the request: it is for nobody else (`*`).
    Any,
    /// By these fields of the request, maybe none: names in lower case, sorted, each once.
    By(Vec<Box<[u8]>>),
}

/// By what `answer` varies: by the fields its `Vary` names (unless the rules ignore that), by those
/// that the rules name, and by `Accept-Encoding` if it has a content coding: origins that forget to
/// say so are many, and who cannot decode it gets nothing. A `Vary` that is malformed may mean
/// anything.
pub fn fields(answer: &Headers, rules: &plan::Cache) -> Varies {
    let mut names: Vec<Box<[u8]>> = rules.vary.iter().map(|name| name.as_bytes().into()).collect();
    if !rules.ignore_origin.vary {
        for member in answer.all_known(Known::Vary).flat_map(lists::list) {
            if member == b"*" || !lists::is_token(member) || is_of_the_way(member) {
                return Varies::Any;
            }
            names.push(member.to_ascii_lowercase().into());
        }
    }
    if accept::codings(answer).next().is_some() {
        names.push(b"accept-encoding"[..].into());
    }
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST {
        return Varies::Any;
    }
    Varies::By(names)
}

/// Whether a field tells the origin who asks. It is written by the proxy, so that what the client
/// sent is not what the answer varies by.
fn is_of_the_way(name: &[u8]) -> bool {
    [&b"x-forwarded-for"[..], b"forwarded"].iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Appends what of `request` is compared for an answer that varies by `names`. Each value is led by
/// its length, and a field that is not there differs from one that is empty (RFC 9111 §4.1).
#[inline]
pub fn secondary(names: &[Box<[u8]>], request: &RequestHead, out: &mut Vec<u8>) {
    for name in names {
        part(name, request, out);
    }
}

/// The value of `Accept-Encoding` as a key has it, for people; `None` for other fields.
pub(crate) fn shown_encodings(name: &[u8], value: &[u8]) -> Option<String> {
    let [set] = *value else { return None };
    if Known::of(name) != Known::AcceptEncoding {
        return None;
    }
    let mut text = Vec::new();
    Encodings::of_key(set).write(&mut text);
    Some(String::from_utf8_lossy(&text).replace(' ', ""))
}

/// Appends the normal form of the field `name` of a request, led by its length and one, or by 0 if
/// it is not there.
pub(crate) fn part(name: &[u8], request: &RequestHead, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let is_there = match Known::of(name) {
        Known::AcceptEncoding => {
            out.push(Encodings::of(request).key());
            true
        }
        Known::AcceptLanguage => accept::languages(request, out),
        Known::Other => value::write(request.headers.all(name), out),
        known => value::write(request.headers.all_known(known), out),
    };
    let length = (out.len() - at - 4) as u32 + u32::from(is_there);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}
