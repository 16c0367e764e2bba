//! Field names that the program asks for often, recognised once while a head is parsed.

/// A field name that is looked up by number instead of by text; [`Known::Other`] is every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Known {
    Other,
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    Age,
    Authorization,
    CacheControl,
    CacheStatus,
    CacheTag,
    CdnCacheControl,
    CdnLoop,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentLocation,
    ContentRange,
    ContentType,
    Cookie,
    Date,
    Etag,
    Expect,
    Expires,
    Forwarded,
    Host,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    LastModified,
    Location,
    Pragma,
    Proxy,
    ProxyConnection,
    Range,
    SeawallCacheControl,
    SetCookie,
    SurrogateKey,
    Te,
    Traceparent,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Vary,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
}

/// A name of 2 to 17 bytes in lower case, as its first and its last word and the byte in between,
/// so that names are compared a word at a time. Setting the bit 0x20 folds the case of letters, and
/// turns no other byte of a token into one that these names have.
#[derive(PartialEq, Eq)]
struct Folded(u64, u64, u8);

#[inline(always)]
const fn folded<const LEN: usize>(name: &[u8; LEN]) -> Folded {
    // Read as whole words, each with one load.
    macro_rules! words {
        ($word:ty) => {{
            let fold = <$word>::from_le_bytes([0x20; size_of::<$word>()]);
            match (name.first_chunk(), name.last_chunk()) {
                (Some(first), Some(last)) => (
                    (<$word>::from_le_bytes(*first) | fold) as u64,
                    (<$word>::from_le_bytes(*last) | fold) as u64,
                ),
                _ => (0, 0),
            }
        }};
    }
    let (first, last) = match LEN {
        2 | 3 => words!(u16),
        4..=7 => words!(u32),
        _ => words!(u64),
    };
    Folded(first, last, name[LEN / 2] | 0x20)
}

impl Known {
    /// The field `name` is, whatever its case. `name` must be a token.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        use Known::*;
        macro_rules! among {
            ($len:literal: $($text:literal => $known:ident),+) => {{
                // The length has just been matched, so this cannot fail.
                let Ok(name) = <&[u8; $len]>::try_from(name) else { return Other };
                let found = folded(name);
                $(
                    if found == const { folded($text) } {
                        return $known;
                    }
                )+
                Other
            }};
        }
        match name.len() {
            2 => among!(2: b"te" => Te),
            3 => among!(3: b"age" => Age, b"via" => Via),
            4 => among!(4: b"date" => Date, b"etag" => Etag, b"host" => Host, b"vary" => Vary),
            5 => among!(5: b"proxy" => Proxy, b"range" => Range),
            6 => {
                among!(6: b"accept" => Accept, b"cookie" => Cookie, b"expect" => Expect, b"pragma" => Pragma)
            }
            7 => among!(7: b"expires" => Expires, b"trailer" => Trailer, b"upgrade" => Upgrade),
            8 => {
                among!(8: b"cdn-loop" => CdnLoop, b"if-match" => IfMatch, b"if-range" => IfRange, b"location" => Location)
            }
            9 => among!(9: b"cache-tag" => CacheTag, b"forwarded" => Forwarded),
            10 => {
                among!(10: b"connection" => Connection, b"keep-alive" => KeepAlive, b"set-cookie" => SetCookie, b"user-agent" => UserAgent)
            }
            11 => among!(11: b"traceparent" => Traceparent),
            12 => among!(12: b"cache-status" => CacheStatus, b"content-type" => ContentType),
            13 => {
                among!(13: b"authorization" => Authorization, b"cache-control" => CacheControl, b"content-range" => ContentRange, b"if-none-match" => IfNoneMatch, b"last-modified" => LastModified, b"surrogate-key" => SurrogateKey)
            }
            14 => among!(14: b"content-length" => ContentLength),
            15 => {
                among!(15: b"accept-encoding" => AcceptEncoding, b"accept-language" => AcceptLanguage, b"x-forwarded-for" => XForwardedFor)
            }
            16 => {
                among!(16: b"content-encoding" => ContentEncoding, b"content-location" => ContentLocation, b"proxy-connection" => ProxyConnection, b"x-forwarded-host" => XForwardedHost)
            }
            17 => {
                among!(17: b"cdn-cache-control" => CdnCacheControl, b"if-modified-since" => IfModifiedSince, b"transfer-encoding" => TransferEncoding, b"x-forwarded-proto" => XForwardedProto)
            }
            19 if name.eq_ignore_ascii_case(b"if-unmodified-since") => IfUnmodifiedSince,
            21 if name.eq_ignore_ascii_case(b"seawall-cache-control") => SeawallCacheControl,
            _ => Other,
        }
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
            ("transfer-encodinG", Known::TransferEncoding),
            ("transfer-encodinh", Known::Other),
            ("X-Forwarded-Hosu", Known::Other),
            ("cookie", Known::Cookie),
            ("dats", Known::Other),
            ("tE", Known::Te),
            ("X-Forwarded-Proto", Known::XForwardedProto),
            ("Keep-Alive", Known::KeepAlive),
            ("ETag", Known::Etag),
            ("if-modified-since", Known::IfModifiedSince),
            ("CDN-Cache-Control", Known::CdnCacheControl),
            ("If-Unmodified-Since", Known::IfUnmodifiedSince),
            ("If-Unmodifiee-Since", Known::Other),
            ("seawall-cache-control", Known::SeawallCacheControl),
            ("Seawall-Cache_Control", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), expect, "{name}");
        }
    }
}
