//! How long a request may take: what the route says, or less when a trusted caller says so; and
//! what is left of it, told to the server. There is no standard field for that in HTTP;
//! `X-Request-Deadline-Ms` is relative, in milliseconds, so that clocks need not agree, and gRPC
//! has `grpc-timeout`.

use std::time::Duration;

use seawall_h1::{Method, RequestHead, encode, fields};

use crate::message::Request;

/// The field's name.
pub(crate) const FIELD: &[u8] = b"X-Request-Deadline-Ms";

/// The time for the whole exchange, of which the route allows `timeout`.
pub(crate) fn allowed(request: &Request<'_>, timeout: Duration) -> Duration {
    if !request.trusted {
        return timeout;
    }
    let told = request.head.headers.first(FIELD).and_then(fields::decimal);
    let told = told.map(Duration::from_millis);
    let grpc = request.head.headers.first(b"grpc-timeout").and_then(grpc_timeout);
    told.into_iter().chain(grpc).fold(timeout, Duration::min)
}

/// Writes what is left.
pub(crate) fn write(head: &RequestHead, left: Duration, out: &mut Vec<u8>) {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    out.extend_from_slice(FIELD);
    out.extend_from_slice(b": ");
    encode::decimal(millis, out);
    out.extend_from_slice(b"\r\n");
    if is_grpc(head) {
        // At most eight digits.
        let text = match millis {
            0..=99_999_999 => format!("{millis}m"),
            _ => format!("{}S", (millis / 1000).min(99_999_999)),
        };
        encode::field(b"grpc-timeout", text.as_bytes(), out);
    }
}

/// Whether a field says how much time there is, so that it is written anew.
#[inline]
pub(crate) fn is_told_by(name: &[u8], head: &RequestHead) -> bool {
    match name.len() {
        21 => fields::is_same_variable(name, FIELD),
        12 => fields::is_same_variable(name, b"grpc-timeout") && is_grpc(head),
        _ => false,
    }
}

/// Whether the request is one of gRPC.
fn is_grpc(head: &RequestHead) -> bool {
    head.method == Method::Post
        && head
            .headers
            .first(b"content-type")
            .is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// One to eight digits and a unit (gRPC over HTTP/2, "Requests").
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let number = fields::decimal(digits).filter(|_| digits.len() <= 8)?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_have_units() {
        for (value, expect) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("15m", Some(Duration::from_millis(15))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("m", None),
            ("15", None),
            ("-1m", None),
            ("100000000m", None),
            ("1 m", None),
        ] {
            assert_eq!(grpc_timeout(value.as_bytes()), expect, "{value}");
        }
    }
}
