//! Heads and chunks to bytes. Everything is appended to a buffer of the caller's.

use crate::head::Version;
use crate::headers::Headers;

/// Begins a request: `METHOD target HTTP/1.1`.
#[inline]
pub fn request_line(method: &[u8], path: &[u8], query: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(path);
    out.extend_from_slice(query);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Begins an answer: `HTTP/1.1 200 OK`, always with the highest version spoken (RFC 9110 §6.2).
/// An empty `reason` is replaced by the usual one.
#[inline]
pub fn status_line(status: u16, given: &[u8], out: &mut Vec<u8>) {
    if status == 200 && (given == b"OK" || given.is_empty()) {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(if given.is_empty() { reason(status).as_bytes() } else { given });
    out.extend_from_slice(b"\r\n");
}

/// One header field. Inlined, since most names are constants.
#[inline(always)]
pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length`.
#[inline]
pub fn content_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    decimal(length, out);
    out.extend_from_slice(b"\r\n");
}

/// The line before the content of a chunk. `length` is not 0, which would end the body.
#[inline]
pub fn chunk_size(length: usize, out: &mut Vec<u8>) {
    debug_assert_ne!(length, 0);
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    for at in (0..digits).rev() {
        out.push(DIGITS[length >> (4 * at) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body, with its trailers.
pub fn last_chunk(trailers: Option<&Headers>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write(|_| true, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal digits.
#[inline]
pub fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `HTTP/1.0` or `HTTP/1.1` without its name, as `Via` wants it.
pub fn version_number(version: Version) -> &'static str {
    match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
    }
}

/// The usual reason phrase of a status (RFC 9110 §15), or none.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_chunk_sizes() {
        for (number, expect) in
            [(0, "0"), (7, "7"), (1024, "1024"), (u64::MAX, "18446744073709551615")]
        {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(out, expect.as_bytes());
        }
        for (length, expect) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (65536, "10000\r\n")]
        {
            let mut out = Vec::new();
            chunk_size(length, &mut out);
            assert_eq!(out, expect.as_bytes());
        }
    }

    #[test]
    fn lines() {
        let mut out = Vec::new();
        request_line(b"GET", b"/a", b"?b", &mut out);
        status_line(200, b"", &mut out);
        status_line(404, b"", &mut out);
        status_line(299, b"Fine", &mut out);
        content_length(3, &mut out);
        let expect = "GET /a?b HTTP/1.1\r\nHTTP/1.1 200 OK\r\nHTTP/1.1 404 Not Found\r\n\
                      HTTP/1.1 299 Fine\r\nContent-Length: 3\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }
}
