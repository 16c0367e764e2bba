//! HTTP/1.1 messages as tests look at them: requests an origin received, responses a client
//! received or an origin is to send.
//!
//! Parsing is plain and strict about what would confuse a test (bad lines, bad chunk sizes) and
//! takes everything else as it stands; it never repairs anything. Bytes of names and values
//! become `char`s one to one (Latin-1), so nothing is lost and everything compares as `&str`.

use std::io;

/// One header or trailer field: its name as it was written, and its value without the white
/// space around it.
pub type Field = (String, String);

/// Header fields in the order they arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(pub Vec<Field>);

impl Fields {
    /// The value of the first field of this name, compared without case.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all fields of this name, compared without case, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated field such as `Connection` names `token`, compared without case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// A request as an origin received it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// The method, as sent.
    pub method: String,
    /// The request target, as sent.
    pub target: String,
    /// The protocol version, such as `HTTP/1.1`.
    pub version: String,
    /// Header fields.
    pub headers: Fields,
    /// The body without its framing; empty until it was read.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
}

/// A response as a client received it, or as an origin is to send it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: String,
    /// The protocol version, such as `HTTP/1.1`.
    pub version: String,
    /// Header fields.
    pub headers: Fields,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// `Content-Length` bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Everything until the connection closes.
    UntilClose,
}

impl Request {
    /// The value of the first header field of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.first(name)
    }

    /// Whether the client means to send another request on the connection.
    pub fn keeps_alive(&self) -> bool {
        if self.version == "HTTP/1.0" {
            self.headers.lists("connection", "keep-alive")
        } else {
            !self.headers.lists("connection", "close")
        }
    }

    /// The body as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn parse_head(head: &[u8]) -> io::Result<Self> {
        let (line, headers) = split_head(head)?;
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(invalid(format!("bad request line {line:?}")));
        };
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            headers,
            ..Self::default()
        })
    }

    pub(crate) fn framing(&self) -> io::Result<Framing> {
        Ok(declared_framing(&self.headers)?.unwrap_or(Framing::Empty))
    }
}

impl Response {
    /// A response of this status with a `Content-Length` and this body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), version: "HTTP/1.1".to_owned(), ..Self::default() }
    }

    /// The same response with one more header field. A `Content-Length` or `Transfer-Encoding`
    /// given here replaces the one that [`Response::to_bytes`] would write.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of the first header field of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.first(name)
    }

    /// The body as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The response as bytes for the wire: `Content-Length` is added unless a framing field is
    /// there, the status forbids it, or `head_only` (an answer to HEAD) leaves the body out.
    pub fn to_bytes(&self, head_only: bool) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        for (name, value) in &self.headers.0 {
            out.extend(latin1(name));
            out.extend(b": ");
            out.extend(latin1(value));
            out.extend(b"\r\n");
        }
        let chunked = self.headers.first("transfer-encoding").is_some();
        let bodiless = self.status < 200 || matches!(self.status, 204 | 304);
        if !chunked && !bodiless && self.headers.first("content-length").is_none() {
            out.extend(format!("content-length: {}\r\n", self.body.len()).bytes());
        }
        out.extend(b"\r\n");
        if head_only || bodiless {
            return out;
        }
        if chunked {
            if !self.body.is_empty() {
                out.extend(format!("{:x}\r\n", self.body.len()).bytes());
                out.extend(&self.body);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
        } else {
            out.extend(&self.body);
        }
        out
    }

    pub(crate) fn parse_head(head: &[u8]) -> io::Result<Self> {
        let (line, headers) = split_head(head)?;
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().unwrap_or_default();
        let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        let (true, true, Ok(status)) = (version.starts_with("HTTP/1."), digits, status.parse())
        else {
            return Err(invalid(format!("bad status line {line:?}")));
        };
        Ok(Self {
            status,
            reason: words.next().unwrap_or_default().to_owned(),
            version: version.to_owned(),
            headers,
            ..Self::default()
        })
    }

    pub(crate) fn framing(&self, method: &str) -> io::Result<Framing> {
        let tunnel = method == "CONNECT" && (200..300).contains(&self.status);
        if method == "HEAD" || tunnel || self.status < 200 || matches!(self.status, 204 | 304) {
            return Ok(Framing::Empty);
        }
        Ok(declared_framing(&self.headers)?.unwrap_or(Framing::UntilClose))
    }
}

fn declared_framing(headers: &Fields) -> io::Result<Option<Framing>> {
    if headers.lists("transfer-encoding", "chunked") {
        return Ok(Some(Framing::Chunked));
    }
    match headers.first("content-length") {
        None => Ok(None),
        Some(value) => match value.parse() {
            Ok(length) => Ok(Some(Framing::Length(length))),
            Err(_) => Err(invalid(format!("bad content-length {value:?}"))),
        },
    }
}

/// Splits a head, with or without its final empty line, into first line and fields.
fn split_head(head: &[u8]) -> io::Result<(String, Fields)> {
    let text: String = head.iter().copied().map(char::from).collect();
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let fields = parse_fields(lines.take_while(|line| !line.is_empty()))?;
    Ok((first, fields))
}

pub(crate) fn parse_fields<'a>(lines: impl Iterator<Item = &'a str>) -> io::Result<Fields> {
    let mut fields = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                let value = value.trim_matches([' ', '\t']);
                fields.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err(invalid(format!("bad field line {line:?}"))),
        }
    }
    Ok(Fields(fields))
}

/// The inverse of reading bytes as Latin-1; what lies outside becomes `?`.
fn latin1(text: &str) -> impl Iterator<Item = u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?'))
}

pub(crate) fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_taken_apart() {
        let request = Request::parse_head(b"GET /a?b HTTP/1.1\r\nHost: x\r\nA:  \xe9 \r\n\r\n")
            .expect("a good head");
        assert_eq!(request.method, "GET");
        assert_eq!(request.target, "/a?b");
        assert_eq!(request.header("host"), Some("x"));
        assert_eq!(request.header("a"), Some("\u{e9}"));
        assert!(request.keeps_alive());

        let response =
            Response::parse_head(b"HTTP/1.1 404 Not Found\r\n\r\n").expect("a good head");
        assert_eq!((response.status, response.reason.as_str()), (404, "Not Found"));
    }

    #[test]
    fn bad_lines_are_named() {
        for head in ["GET /\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / x y\r\n\r\n"] {
            assert!(Request::parse_head(head.as_bytes()).is_err(), "{head:?}");
        }
        for head in ["HTTP/1.1 2000 OK\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1\r\n\r\n"] {
            assert!(Response::parse_head(head.as_bytes()).is_err(), "{head:?}");
        }
    }

    #[test]
    fn framing_follows_status_and_method() {
        let check = |head: &str, method: &str, expect: Framing| {
            let response = Response::parse_head(head.as_bytes()).expect("a good head");
            assert_eq!(response.framing(method).expect("a good framing"), expect, "{head:?}");
        };
        check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "GET", Framing::Length(5));
        check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "HEAD", Framing::Empty);
        check("HTTP/1.1 304 \r\ncontent-length: 5\r\n\r\n", "GET", Framing::Empty);
        check("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Framing::Chunked);
        check("HTTP/1.1 200 \r\n\r\n", "GET", Framing::UntilClose);
        check("HTTP/1.1 103 \r\n\r\n", "GET", Framing::Empty);
    }

    #[test]
    fn responses_frame_themselves() {
        let check = |response: Response, head_only: bool, expect: &str| {
            assert_eq!(String::from_utf8_lossy(&response.to_bytes(head_only)), expect);
        };
        check(Response::new(200, "hi"), false, "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nhi");
        check(Response::new(200, "hi"), true, "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n");
        check(Response::new(204, ""), false, "HTTP/1.1 204 \r\n\r\n");
        check(
            Response::new(200, "hi").with("Transfer-Encoding", "chunked"),
            false,
            "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        );
    }
}
