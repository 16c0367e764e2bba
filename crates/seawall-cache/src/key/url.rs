//! The URL of a request, and URLs that are typed: to purge, to warm, to explain.

use std::borrow::Cow;

use seawall_h1::{BadMessage, target};

use super::Scheme;

/// A URL in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// Its scheme.
    pub scheme: Scheme,
    /// Host and port as they were written.
    pub authority: &'a [u8],
    /// Its path, in normal form (see [`seawall_h1::target`]).
    pub path: &'a [u8],
    /// Its query with the `?`, or nothing.
    pub query: &'a [u8],
}

impl Url<'_> {
    /// Appends the host in lower case, and its port unless that is the usual one.
    #[inline]
    pub fn write_host(&self, out: &mut Vec<u8>) {
        let colon = self.authority.iter().rposition(|&b| b == b':');
        let (host, port) = match colon {
            // The last colon of a bare IPv6 address is within its brackets.
            Some(at) if self.authority.last() != Some(&b']') => {
                (&self.authority[..at], &self.authority[at + 1..])
            }
            _ => (self.authority, &[][..]),
        };
        out.extend(host.iter().map(u8::to_ascii_lowercase));
        if !port.is_empty() && port != self.scheme.default_port() {
            out.push(b':');
            out.extend_from_slice(port);
        }
    }
}

/// Why a text is no URL of a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It does not begin with `http://` or `https://`.
    #[error("it does not begin with http:// or https://")]
    Scheme,
    /// There is no host, or it has bytes that no host has.
    #[error("its host is missing or malformed")]
    Host,
    /// It has white space or control bytes.
    #[error("it has bytes that no URL has")]
    Byte,
    /// Its path cannot be brought into normal form.
    #[error("its path cannot be read: {0}")]
    Path(BadMessage),
}

/// A URL that was typed, split and with its path in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedUrl<'a> {
    scheme: Scheme,
    authority: &'a [u8],
    path: Cow<'a, [u8]>,
    query: Cow<'a, [u8]>,
}

impl<'a> TypedUrl<'a> {
    /// Reads an absolute URL. A fragment is left out.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &'a str) -> Result<TypedUrl<'a>, BadUrl> {
        let text = text.as_bytes();
        let text = text.split(|&b| b == b'#').next().unwrap_or_default();
        if text.iter().any(|&b| b <= b' ' || b == 0x7f) {
            return Err(BadUrl::Byte);
        }
        let schemes: [(&[u8], Scheme); 2] =
            [(b"http://", Scheme::Http), (b"https://", Scheme::Https)];
        let (rest, scheme) = schemes
            .into_iter()
            .find_map(|(start, scheme)| {
                let (head, rest) = text.split_at_checked(start.len())?;
                head.eq_ignore_ascii_case(start).then_some((rest, scheme))
            })
            .ok_or(BadUrl::Scheme)?;
        let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let is_of_host = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(b);
        if authority.is_empty() || authority.starts_with(b":") || !authority.iter().all(is_of_host)
        {
            return Err(BadUrl::Host);
        }
        let mark = rest.iter().position(|&b| b == b'?').unwrap_or(rest.len());
        let (path, query) = rest.split_at(mark);
        let path = if path.is_empty() { b"/" } else { path };
        let path = match target::normalise(path).map_err(BadUrl::Path)? {
            Some(normal) => Cow::Owned(normal.path),
            None => Cow::Borrowed(path),
        };
        Ok(TypedUrl {
            scheme,
            authority,
            path,
            query: target::ascii(query).map_or(Cow::Borrowed(query), Cow::Owned),
        })
    }

    /// The URL in parts.
    pub fn as_url(&self) -> Url<'_> {
        Url { scheme: self.scheme, authority: self.authority, path: &self.path, query: &self.query }
    }
}
