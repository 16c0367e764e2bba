//! What becomes of an answer that arrived.

use std::time::{Duration, UNIX_EPOCH};

use seawall_h1::{Headers, Known, encode, fields};

use crate::Millis;
use crate::object::Meta;

/// The terms under which an answer is stored.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// What is to be known of it. `sequence` is 0 and `cost` what passed until its head was
    /// there; whoever stores it knows better.
    pub meta: Meta,
    /// Where its lifetime is from.
    pub lifetime: Lifetime,
    /// Which of its fields are stored.
    pub fields: StoredFields<'a>,
}

/// Where a lifetime is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// `cache.force`.
    Forced,
    /// `s-maxage`.
    SMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// `cache.ttl`.
    Rule,
    /// `cache.negative-ttl`.
    Negative,
    /// `Last-Modified` (RFC 9111 §4.2.2).
    Heuristic,
    /// There is none: it is validated before each use.
    None,
}

impl Lifetime {
    /// A short name, as the explanation of a stored answer shows it.
    pub fn name(self) -> &'static str {
        match self {
            Lifetime::Forced => "force",
            Lifetime::SMaxAge => "s-maxage",
            Lifetime::MaxAge => "max-age",
            Lifetime::Expires => "expires",
            Lifetime::Rule => "ttl",
            Lifetime::Negative => "negative-ttl",
            Lifetime::Heuristic => "heuristic",
            Lifetime::None => "none",
        }
    }
}

/// Why an answer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Unstorable {
    Method,
    RequestNoStore,
    Status,
    Partial,
    NotUnderstood,
    NoStore,
    Private,
    Authorization,
    SetCookie,
    VaryAny,
    Coding,
    TooLarge,
    NoFreshness,
    Useless,
}

impl Unstorable {
    /// All reasons.
    pub const ALL: [Unstorable; 14] = [
        Unstorable::Method,
        Unstorable::RequestNoStore,
        Unstorable::Status,
        Unstorable::Partial,
        Unstorable::NotUnderstood,
        Unstorable::NoStore,
        Unstorable::Private,
        Unstorable::Authorization,
        Unstorable::SetCookie,
        Unstorable::VaryAny,
        Unstorable::Coding,
        Unstorable::TooLarge,
        Unstorable::NoFreshness,
        Unstorable::Useless,
    ];

    /// A stable name for metrics, `Cache-Status` and explanations.
    pub fn code(self) -> &'static str {
        match self {
            Unstorable::Method => "method",
            Unstorable::RequestNoStore => "request-no-store",
            Unstorable::Status => "status",
            Unstorable::Partial => "partial",
            Unstorable::NotUnderstood => "not-understood",
            Unstorable::NoStore => "no-store",
            Unstorable::Private => "private",
            Unstorable::Authorization => "authorization",
            Unstorable::SetCookie => "set-cookie",
            Unstorable::VaryAny => "vary-any",
            Unstorable::Coding => "coding",
            Unstorable::TooLarge => "too-large",
            Unstorable::NoFreshness => "no-freshness",
            Unstorable::Useless => "useless",
        }
    }

    /// Whether it is the request that keeps the answer from being stored, so that an answer to the
    /// next one may well be. No mark may then be left that its answers are not stored: anybody
    /// could switch the cache off for a URL by asking with `no-store`.
    pub fn is_of_request(self) -> bool {
        use Unstorable::*;
        match self {
            Method | RequestNoStore | Authorization | Partial | Coding => true,
            Status | NotUnderstood | NoStore | Private | SetCookie | VaryAny | TooLarge
            | NoFreshness | Useless => false,
        }
    }

    /// One sentence for people.
    pub fn why(self) -> &'static str {
        match self {
            Unstorable::Method => "only answers to GET are stored",
            Unstorable::RequestNoStore => "the request says no-store",
            Unstorable::Status => "answers with this status are never stored",
            Unstorable::Partial => "the answer is a part that cannot be combined with others",
            Unstorable::NotUnderstood => {
                "the answer says must-understand and its status is not understood"
            }
            Unstorable::NoStore => "the answer says no-store",
            Unstorable::Private => "the answer says private",
            Unstorable::Authorization => {
                "the request has Authorization and the answer says none of public, s-maxage and \
                 must-revalidate"
            }
            Unstorable::SetCookie => "the answer sets a cookie",
            Unstorable::VaryAny => {
                "the answer varies by more than the request: Vary is * or malformed"
            }
            Unstorable::Coding => {
                "the answer has a content coding that others with the same variant may not accept"
            }
            Unstorable::TooLarge => "the answer is larger than max-object",
            Unstorable::NoFreshness => {
                "the answer carries no lifetime, no rule gives it one, and its status is not \
                 cacheable by default"
            }
            Unstorable::Useless => {
                "the answer could never be used: it is stale from the start and has no validator"
            }
        }
    }
}

/// Which fields of an answer are stored (RFC 9111 §3.1): all but those of the connection, of
/// proxies, those that `no-cache="…"` and `private="…"` name, `Set-Cookie`, and those that are made
/// anew for each answer (`Age`, `Content-Length`, `Content-Range`).
#[derive(Debug, Clone, Default)]
pub struct StoredFields<'a> {
    pub(super) named: Vec<&'a [u8]>,
    /// When the answer was received, if it has no `Date` that can be read.
    pub(super) date: Option<Millis>,
}

impl StoredFields<'_> {
    /// Whether a field is stored.
    pub fn keeps(&self, name: &[u8], known: Known) -> bool {
        if known.is_hop_by_hop() {
            return false;
        }
        match known {
            // An answer with a cookie is stored only where the rules take the cookie away.
            Known::Age | Known::ContentLength | Known::ContentRange | Known::SetCookie => {
                return false;
            }
            Known::Other => {
                const OF_PROXIES: [&[u8]; 3] =
                    [b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization"];
                if OF_PROXIES.iter().any(|one| name.eq_ignore_ascii_case(one)) {
                    return false;
                }
            }
            _ => {}
        }
        !self.names(name)
    }

    fn names(&self, name: &[u8]) -> bool {
        self.named.iter().any(|one| name.eq_ignore_ascii_case(one))
    }

    /// Appends the fields that are stored to `out`, as they go over the wire. An answer without a
    /// valid `Date` gets that of its arrival (RFC 9110 §6.6.1).
    pub fn write(&self, answer: &Headers, out: &mut Vec<u8>) {
        let Some(received) = self.date else {
            answer.write(|field| self.keeps(field.name, field.known), out);
            return;
        };
        let is_kept = |known, name: &[u8]| known != Known::Date && self.keeps(name, known);
        answer.write(|field| is_kept(field.known, field.name), out);
        let received = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(received));
        encode::field(b"Date", received.as_bytes(), out);
    }
}

/// The fields that `Connection` names besides those that are known to be of the connection.
pub(super) fn named_by_connection(answer: &Headers) -> impl Iterator<Item = &[u8]> {
    answer.all_known(Known::Connection).flat_map(fields::list)
}
