//! Under what an answer is stored.
//!
//! A key is the URL, as far as the route's rules let it count, and what else they add:
//!
//! ```text
//! scheme://host/path?query  NUL version NUL part part …
//! ```
//!
//! No byte of the first two can be NUL, and each part is led by what it is and by its length, so
//! that two requests have one key only if they are to share an answer. What comes of `Vary` is added
//! by [`crate::vary::secondary`].

mod cookie;
mod device;
mod query;
mod shown;
mod url;

pub use cookie::cookies;
pub use device::{Device, device};
pub use shown::shown;
pub use url::{BadUrl, TypedUrl, Url};

use seawall_config::plan;
use seawall_h1::RequestHead;

use crate::vary;

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn default_port(self) -> &'static [u8] {
        match self {
            Scheme::Http => b"80",
            Scheme::Https => b"443",
        }
    }
}

/// Appends the key of a request. `version` is the namespace (`cache.version`); a NUL in it counts
/// as a space. Gives the number of bytes of the URL, with which the key begins.
#[inline]
pub fn write(
    request: &RequestHead,
    rules: &plan::CacheKey,
    scheme: Scheme,
    version: &[u8],
    out: &mut Vec<u8>,
) -> usize {
    let url = Url {
        scheme,
        authority: request.authority(),
        path: request.path(),
        query: request.query(),
    };
    let length = write_url(&url, rules, out);
    write_version(version, out);
    for name in &rules.headers {
        write_field(name, request, out);
    }
    for name in &rules.cookies {
        out.push(b'c');
        write_name(name, out);
        cookie::write(request, name.as_bytes(), out);
    }
    if rules.device {
        out.push(b'd');
        out.push(device(&request.headers) as u8);
    }
    length
}

/// Appends the part of a key that is the URL, and gives its length.
#[inline]
pub fn write_url(url: &Url<'_>, rules: &plan::CacheKey, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    if rules.host {
        out.extend_from_slice(url.scheme.name().as_bytes());
        out.extend_from_slice(b"://");
        url.write_host(out);
    }
    write_url_without_host(url, rules, out);
    out.len() - start
}

/// Appends path and query.
#[inline]
pub(crate) fn write_url_without_host(url: &Url<'_>, rules: &plan::CacheKey, out: &mut Vec<u8>) {
    out.extend_from_slice(url.path);
    query::write(url.query, &rules.query, rules.sort, out);
}

#[inline]
fn write_version(version: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    out.extend(version.iter().map(|&b| if b == 0 { b' ' } else { b }));
    out.push(0);
}

/// Appends one more field of the request to its key.
pub fn write_field(name: &str, request: &RequestHead, out: &mut Vec<u8>) {
    out.push(b'h');
    write_name(name, out);
    vary::part(name.as_bytes(), request, out);
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    // Names come from the configuration, and are short.
    out.extend_from_slice(&(name.len() as u32).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// Whether a request goes past the cache by the rules (`cache.bypass`).
pub fn is_bypassed(request: &RequestHead, rules: &plan::CacheBypass) -> bool {
    let has_parameter = |name: &str| {
        let list = request.query().get(1..).unwrap_or_default();
        let mut parameters = list.split(|b| b"&;".contains(b)).filter(|one| !one.is_empty());
        parameters.any(|one| query::fits(name.as_bytes(), query::name_of(one)))
    };
    let has_cookie = |pattern: &str| {
        let fits = |name: &[u8]| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start.as_bytes()),
            None => name == pattern.as_bytes(),
        };
        cookie::cookies(request).any(|(name, _)| fits(name))
    };
    rules.headers.iter().any(|name| request.headers.first(name.as_bytes()).is_some())
        || rules.cookies.iter().any(|name| has_cookie(name))
        || rules.query.iter().any(|name| has_parameter(name))
}
