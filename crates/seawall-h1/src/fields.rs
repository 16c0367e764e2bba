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

/// Fields that mean something before a body is read, and so are never taken from a trailer
/// section (RFC 9110 §6.5.1): framing, routing, authentication, request modifiers, response
/// control data, and what says how the content is to be processed.
pub fn allowed_in_trailer(name: &[u8]) -> bool {
    const REFUSED: &[&str] = &[
        "accept",
        "accept-encoding",
        "accept-language",
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
    ];
    let starts_with_forwarded = name.len() >= 11 && name[..11].eq_ignore_ascii_case(b"x-forwarded");
    !starts_with_forwarded
        && !REFUSED.iter().any(|refused| name.eq_ignore_ascii_case(refused.as_bytes()))
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
