//! What a request that changes something makes invalid (RFC 9111 §4.4).
//!
//! Says which URLs; whoever calls it marks what is stored for them.

use seawall_h1::{Headers, Known, Method, RequestHead, fields};

use crate::key::{Scheme, TypedUrl, Url};

/// Whether what is stored for the target of a request is invalid once it was answered so: its
/// method is not known to be safe (RFC 9110 §9.2.1), and it was no failure.
pub fn is_due(method: Method, status: u16) -> bool {
    let is_safe = matches!(method, Method::Get | Method::Head | Method::Options | Method::Trace);
    !is_safe && (200..400).contains(&status)
}

/// Calls `invalidate` for each URL for which what is stored is invalid once [`is_due`]: the target
/// of the request, and what `Location` and `Content-Location` of the answer name, as far as that is
/// of the same origin. Others must be left alone, or anyone could empty the cache of a neighbour.
pub fn urls(
    request: &RequestHead,
    scheme: Scheme,
    answer: &Headers,
    mut invalidate: impl FnMut(&Url<'_>),
) {
    let target = Url {
        scheme,
        authority: request.authority(),
        path: request.path(),
        query: request.query(),
    };
    invalidate(&target);
    let mut origin = Vec::new();
    target.write_host(&mut origin);
    for field in [Known::Location, Known::ContentLocation] {
        let Some(reference) = answer.known(field).and_then(|value| str::from_utf8(value).ok())
        else {
            continue;
        };
        let absolute = resolve(&target, fields::trim(reference.as_bytes()));
        let Some(absolute) = absolute.as_deref().and_then(|text| str::from_utf8(text).ok()) else {
            continue;
        };
        let Ok(parsed) = TypedUrl::parse(absolute) else { continue };
        let url = parsed.as_url();
        let mut host = Vec::with_capacity(origin.len());
        url.write_host(&mut host);
        let is_same = url.path == target.path && url.query == target.query;
        if url.scheme == scheme && host == origin && !is_same {
            invalidate(&url);
        }
    }
}

/// The URL that a reference means from where it was found (RFC 3986 §5.2.2), with its dot segments,
/// which [`TypedUrl::parse`] resolves. `None` if it is the base itself.
fn resolve(base: &Url<'_>, reference: &[u8]) -> Option<Vec<u8>> {
    let scheme = base.scheme.name().as_bytes();
    let end = reference.iter().position(|b| b"/?#".contains(b)).unwrap_or(reference.len());
    if reference[..end].contains(&b':') {
        return Some(reference.to_vec());
    }
    let with_authority = |rest: &[&[u8]]| {
        let mut text = [scheme, b"://", base.authority].concat();
        rest.iter().for_each(|part| text.extend_from_slice(part));
        text
    };
    Some(match reference {
        [b'/', b'/', ..] => [scheme, b":", reference].concat(),
        [b'/', ..] => with_authority(&[reference]),
        [b'?', ..] => with_authority(&[base.path, reference]),
        [] | [b'#', ..] => return None,
        _ => {
            let directory = base.path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
            with_authority(&[&base.path[..directory], reference])
        }
    })
}
