//! Field names that the program asks for often, recognised once while a head is parsed.

/// A field name that is looked up by number instead of by text; [`Known::Other`] is every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Known {
    Other,
    Accept,
    CacheControl,
    Connection,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    Location,
    Proxy,
    ProxyConnection,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
}

impl Known {
    /// The field `name` is, whatever its case.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        use Known::*;
        // Length and first letter leave at most two candidates.
        let candidate: &[(&[u8], Known)] = match (name.len(), name.first().map(|b| b | 0x20)) {
            (2, Some(b't')) => &[(b"te", Te)],
            (3, Some(b'v')) => &[(b"via", Via)],
            (4, Some(b'h')) => &[(b"host", Host)],
            (4, Some(b'd')) => &[(b"date", Date)],
            (5, Some(b'p')) => &[(b"proxy", Proxy)],
            (6, Some(b'a')) => &[(b"accept", Accept)],
            (6, Some(b'c')) => &[(b"cookie", Cookie)],
            (6, Some(b'e')) => &[(b"expect", Expect)],
            (7, Some(b't')) => &[(b"trailer", Trailer)],
            (7, Some(b'u')) => &[(b"upgrade", Upgrade)],
            (8, Some(b'l')) => &[(b"location", Location)],
            (9, Some(b'f')) => &[(b"forwarded", Forwarded)],
            (10, Some(b'u')) => &[(b"user-agent", UserAgent)],
            (10, Some(b'c')) => &[(b"connection", Connection)],
            (10, Some(b'k')) => &[(b"keep-alive", KeepAlive)],
            (12, Some(b'c')) => &[(b"content-type", ContentType)],
            (13, Some(b'c')) => &[(b"cache-control", CacheControl)],
            (14, Some(b'c')) => &[(b"content-length", ContentLength)],
            (15, Some(b'x')) => &[(b"x-forwarded-for", XForwardedFor)],
            (16, Some(b'x')) => &[(b"x-forwarded-host", XForwardedHost)],
            (16, Some(b'p')) => &[(b"proxy-connection", ProxyConnection)],
            (17, Some(b't')) => &[(b"transfer-encoding", TransferEncoding)],
            (17, Some(b'x')) => &[(b"x-forwarded-proto", XForwardedProto)],
            _ => return Other,
        };
        for (text, known) in candidate {
            if name.eq_ignore_ascii_case(text) {
                return *known;
            }
        }
        Other
    }

    /// Whether the field belongs to one connection and is never forwarded as it came
    /// (RFC 9110 §7.6.1). `Proxy` is among them because CGI programs take it for the
    /// environment variable `HTTP_PROXY`.
    #[inline]
    pub fn is_hop_by_hop(self) -> bool {
        use Known::*;
        matches!(
            self,
            Connection
                | KeepAlive
                | ProxyConnection
                | Te
                | Trailer
                | TransferEncoding
                | Upgrade
                | Proxy
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised_whatever_their_case() {
        for (name, expect) in [
            ("Host", Known::Host),
            ("HOST", Known::Host),
            ("date", Known::Date),
            ("Hose", Known::Other),
            ("", Known::Other),
            ("Transfer-Encoding", Known::TransferEncoding),
            ("transfer_encoding", Known::Other),
            ("X-Forwarded-Proto", Known::XForwardedProto),
            ("Keep-Alive", Known::KeepAlive),
        ] {
            assert_eq!(Known::of(name.as_bytes()), expect, "{name}");
        }
    }
}
