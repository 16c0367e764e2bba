//! URLs that are purged, warmed, explained or stored.

/// A URL, as a client would ask for it: `http` or `https`, a host, and a target in origin form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https`.
    pub https: bool,
    /// The host in lower case, with its port if that is not the scheme's.
    pub authority: String,
    /// Path and query, as they were written.
    pub target: String,
}

/// Longest URL, in bytes.
pub const LONGEST: usize = 8 << 10;

impl Url {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// What is wrong, in the middle of a sentence.
    pub fn read(text: &str) -> Result<Url, &'static str> {
        if text.len() > LONGEST {
            return Err("has more than 8 KiB");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has characters that must be percent-encoded");
        }
        let scheme = text.find("://").ok_or("does not begin with http:// or https://")?;
        let https = match &text[..scheme] {
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err("does not begin with http:// or https://"),
        };
        let rest = &text[scheme + 3..];
        if rest.contains('#') {
            return Err("has a fragment, which no server is ever told");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        let path = target.split('?').next().unwrap_or_default();
        if seawall_h1::target::normalise(path.as_bytes()).is_err() {
            return Err("has a path that is always refused");
        }
        Ok(Url { https, authority: read_authority(authority, https)?, target })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.target)
    }
}

/// A host with its port, unless that is the scheme's.
fn read_authority(authority: &str, https: bool) -> Result<String, &'static str> {
    if authority.contains('@') {
        return Err("has a user in it");
    }
    let (host, port) = match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => {
            (&authority[..at], Some(&authority[at + 1..]))
        }
        _ => (authority, None),
    };
    let host = host_name(host).ok_or("has no host")?;
    let standard = if https { 443 } else { 80 };
    match port {
        None => Ok(host),
        Some(digits) => {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            match digits.parse::<u16>() {
                Ok(port) if plain && port == standard => Ok(host),
                Ok(port) if plain && port > 0 => Ok(format!("{host}:{port}")),
                _ => Err("has a port that is none"),
            }
        }
    }
}

/// A host in lower case; `None` for what is none.
fn host_name(host: &str) -> Option<String> {
    let good = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            !host.is_empty() && host.len() <= 255 && host.bytes().all(letter)
        }
    };
    good.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, expect) in [
            ("http://a", "http://a/"),
            ("HTTPS://Shop.Example.com/A%20b?Q=1", "https://shop.example.com/A%20b?Q=1"),
            ("http://a:80/", "http://a/"),
            ("https://a:80/", "https://a:80/"),
            ("https://a:443?x", "https://a/?x"),
            ("http://a:0080/", "http://a/"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            ("http://[::1]/", "http://[::1]/"),
            ("http://a/http://b?c=d://e", "http://a/http://b?c=d://e"),
        ] {
            let read = Url::read(text).unwrap_or_else(|why| panic!("{text} {why}"));
            assert_eq!(read.to_string(), expect);
        }
        for (text, why) in [
            ("", "does not begin with http:// or https://"),
            ("/path", "does not begin with http:// or https://"),
            ("a.example/x", "does not begin with http:// or https://"),
            ("ftp://a/", "does not begin with http:// or https://"),
            ("http:///x", "has no host"),
            ("http://:80/", "has no host"),
            ("http://[::1/", "has no host"),
            ("http://a,b/", "has no host"),
            ("http://u:p@a/", "has a user in it"),
            ("http://a:/", "has a port that is none"),
            ("http://a:0/", "has a port that is none"),
            ("http://a:65536/", "has a port that is none"),
            ("http://a:+1/", "has a port that is none"),
            ("http://a/#x", "has a fragment, which no server is ever told"),
            ("http://a/%zz", "has a path that is always refused"),
            ("http://a/ b", "has characters that must be percent-encoded"),
            ("http://a/é", "has characters that must be percent-encoded"),
            ("http://a/\r\nx: y", "has characters that must be percent-encoded"),
            (&format!("http://a/{}", "x".repeat(LONGEST)), "has more than 8 KiB"),
        ] {
            assert_eq!(Url::read(text), Err(why), "{text}");
        }
    }
}
