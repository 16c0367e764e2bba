//! Reading list-valued fields.

use crate::headers::is_token_byte;

/// The members of a comma-separated list, without white space around them and without empty ones
/// (RFC 9110 §5.6.1). Does not know quoted strings; none of the lists it is used for has them.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty())
}

/// `text` without the spaces and tabs around it.
pub fn trim(text: &[u8]) -> &[u8] {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let Some(from) = text.iter().position(|b| !blank(b)) else { return &[] };
    let to = text.iter().rposition(|b| !blank(b)).map_or(from, |last| last + 1);
    &text[from..to]
}

/// Whether `text` is a token (RFC 9110 §5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_token_byte(b))
}

/// A decimal number of digits only: no sign, no space, no overflow of 63 bits.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for &b in text {
        if !b.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
    }
    (number <= i64::MAX as u64).then_some(number)
}

/// Whether two field names are one to a server that hands fields over as environment variables,
/// as CGI and what came after it do: `X_User` is `X-User` there, so who sets or removes one must
/// think of the other.
pub fn is_same_variable(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| folded(*a) == folded(*b))
}

fn folded(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// Fields that mean something before a body is read, and so are never taken from a trailer
/// section (RFC 9110 §6.5.1): framing, routing, authentication, request modifiers, response
/// control data, what says how the content is to be processed, and what a proxy says of the client.
/// Names that differ in `_` and `-` only are taken for one another, see [`is_same_variable`].
pub fn allowed_in_trailer(name: &[u8]) -> bool {
    const REFUSED: &[&str] = &[
        "accept",
        "age",
        "allow",
        "authorization",
        "cache-control",
        "connection",
        "content",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "priority",
        "range",
        "refresh",
        "retry-after",
        "set-cookie",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-real-ip",
    ];
    const REFUSED_BEGINNINGS: &[&str] = &[
        "accept-",
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "sec-",
        "x-forwarded",
        "x-http-method",
        "x-method-override",
        "x-original-",
        "x-rewrite-",
    ];
    let begins = |start: &&str| {
        let beginning = name.get(..start.len());
        beginning.is_some_and(|beginning| is_same_variable(beginning, start.as_bytes()))
    };
    // The one of its kind that is made for trailers (RFC 9530).
    name.eq_ignore_ascii_case(b"content-digest")
        || !REFUSED_BEGINNINGS.iter().any(begins)
            && !REFUSED.iter().any(|refused| is_same_variable(name, refused.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_and_trimmed() {
        let members: Vec<&[u8]> = list(b" a ,, b\t,c, ").collect();
        assert_eq!(members, [b"a", b"b", b"c"]);
        assert_eq!(trim(b"  "), b"");
    }

    #[test]
    fn names_that_become_one_variable() {
        for (one, other, expect) in [
            ("X-User", "x_user", true),
            ("X-User", "X-USER", true),
            ("X-User", "X.User", false),
            ("X-User", "XUser", false),
            ("", "", true),
        ] {
            assert_eq!(is_same_variable(one.as_bytes(), other.as_bytes()), expect, "{one} {other}");
        }
    }

    #[test]
    fn trailers_change_nothing_that_was_decided_before() {
        for (name, expect) in [
            ("X-Checksum", true),
            ("grpc-status", true),
            ("Server-Timing", true),
            ("ETag", true),
            ("Content-Digest", true),
            ("Repr-Digest", true),
            ("Content-Length", false),
            ("content_length", false),
            ("Content-Type", false),
            ("Transfer-Encoding", false),
            ("Transfer_Encoding", false),
            ("Host", false),
            ("AUTHORIZATION", false),
            ("Proxy-Authorization", false),
            ("Set-Cookie", false),
            ("If-None-Match", false),
            ("X-Forwarded-For", false),
            ("x_forwarded_for", false),
            ("X-Forwarded", false),
            ("X-Real-IP", false),
            ("X-HTTP-Method-Override", false),
            ("X-Original-URL", false),
            ("Access-Control-Allow-Origin", false),
            ("Sec-WebSocket-Key", false),
        ] {
            assert_eq!(allowed_in_trailer(name.as_bytes()), expect, "{name}");
        }
    }

    #[test]
    fn only_plain_digits_are_a_number() {
        for (text, expect) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("99999999999999999999", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("0x1", None),
            ("1_0", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), expect, "{text:?}");
        }
    }
}
