//! Well-known names are recognised a word at a time; here they are compared letter by letter.

use seawall_h1::Known;
use seawall_h1::headers::is_token_byte;

const NAMES: &[(&str, Known)] = &[
    ("accept", Known::Accept),
    ("accept-encoding", Known::AcceptEncoding),
    ("accept-language", Known::AcceptLanguage),
    ("age", Known::Age),
    ("authorization", Known::Authorization),
    ("cache-control", Known::CacheControl),
    ("cache-status", Known::CacheStatus),
    ("cache-tag", Known::CacheTag),
    ("cdn-cache-control", Known::CdnCacheControl),
    ("cdn-loop", Known::CdnLoop),
    ("connection", Known::Connection),
    ("content-encoding", Known::ContentEncoding),
    ("content-length", Known::ContentLength),
    ("content-location", Known::ContentLocation),
    ("content-range", Known::ContentRange),
    ("content-type", Known::ContentType),
    ("cookie", Known::Cookie),
    ("date", Known::Date),
    ("etag", Known::Etag),
    ("expect", Known::Expect),
    ("expires", Known::Expires),
    ("forwarded", Known::Forwarded),
    ("host", Known::Host),
    ("if-match", Known::IfMatch),
    ("if-modified-since", Known::IfModifiedSince),
    ("if-none-match", Known::IfNoneMatch),
    ("if-range", Known::IfRange),
    ("if-unmodified-since", Known::IfUnmodifiedSince),
    ("keep-alive", Known::KeepAlive),
    ("last-modified", Known::LastModified),
    ("location", Known::Location),
    ("pragma", Known::Pragma),
    ("proxy", Known::Proxy),
    ("proxy-connection", Known::ProxyConnection),
    ("range", Known::Range),
    ("seawall-cache-control", Known::SeawallCacheControl),
    ("set-cookie", Known::SetCookie),
    ("surrogate-key", Known::SurrogateKey),
    ("te", Known::Te),
    ("traceparent", Known::Traceparent),
    ("trailer", Known::Trailer),
    ("transfer-encoding", Known::TransferEncoding),
    ("upgrade", Known::Upgrade),
    ("user-agent", Known::UserAgent),
    ("vary", Known::Vary),
    ("via", Known::Via),
    ("x-forwarded-for", Known::XForwardedFor),
    ("x-forwarded-host", Known::XForwardedHost),
    ("x-forwarded-proto", Known::XForwardedProto),
];

fn check(name: &[u8]) {
    let expect = NAMES
        .iter()
        .find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes()))
        .map_or(Known::Other, |(_, known)| *known);
    assert_eq!(Known::of(name), expect, "{}", name.escape_ascii());
}

#[test]
fn a_name_is_known_if_all_its_letters_are_right() {
    let tokens: Vec<u8> = (0..=255).filter(|&byte| is_token_byte(byte)).collect();
    for (name, _) in NAMES {
        check(name.as_bytes());
        check(name.to_uppercase().as_bytes());
        for at in 0..name.len() {
            for &byte in &tokens {
                let mut other = name.as_bytes().to_vec();
                other[at] = byte;
                check(&other);
                other.insert(at, byte);
                check(&other);
            }
            let mut shorter = name.as_bytes().to_vec();
            shorter.remove(at);
            check(&shorter);
        }
    }
}

/// The beginning of one name and the end of another are a third, unless they are the same.
#[test]
fn no_other_name_of_the_same_length_is_known() {
    for (name, _) in NAMES {
        for (other, _) in NAMES.iter().filter(|(other, _)| other.len() == name.len()) {
            for split in 1..name.len() {
                check(&[&name.as_bytes()[..split], &other.as_bytes()[split..]].concat());
            }
        }
    }
}
