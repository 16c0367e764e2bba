//! What a head is: the first line, the fields, and the few facts about them that everyone needs.

use crate::body::BodyLength;
use crate::headers::Headers;
use crate::known::Known;

/// A request method. The raw text of any method is [`RequestHead::method_text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// The method `text` names; methods are case-sensitive (RFC 9110 §9.1).
    #[inline]
    pub fn of(text: &[u8]) -> Method {
        match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }

    /// Whether `text` is one of the methods above but for its case. Methods are case-sensitive, yet
    /// some servers take `post` for `POST`: a rule on methods would be passed by it.
    pub(crate) fn is_misspelt(text: &[u8]) -> bool {
        const METHODS: [&[u8]; 9] = [
            b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
        ];
        METHODS.iter().any(|method| text != *method && text.eq_ignore_ascii_case(method))
    }

    /// Whether a request may be sent a second time without harm (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        use Method::*;
        matches!(self, Get | Head | Put | Delete | Options | Trace)
    }
}

/// The minor version of HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[allow(missing_docs)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

/// What the `Connection` field of a message asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`.
    pub close: bool,
    /// `keep-alive`, which only HTTP/1.0 needs.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// It names fields to be removed besides the usual ones.
    pub names_fields: bool,
}

/// The form of a request target (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetForm {
    /// A path with an optional query.
    #[default]
    Origin,
    /// A whole URI, as a client sends it to a forward proxy.
    Absolute,
    /// `*`, with `OPTIONS` only.
    Asterisk,
    /// `host:port`, with `CONNECT` only.
    Authority,
}

/// The head of a request.
#[derive(Debug, Default, Clone)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version of the client's HTTP.
    pub version: Version,
    /// How the target was written.
    pub form: TargetForm,
    /// How the body is framed. [`BodyLength::UntilClose`] never happens in a request.
    pub body: BodyLength,
    /// What `Connection` asks for.
    pub connection: ConnectionOptions,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether there is an `Expect` that is not `100-continue`.
    pub expects_other: bool,
    /// The fields.
    pub headers: Headers,
    pub(crate) method_at: Span,
    pub(crate) path: Span,
    pub(crate) query: Span,
    pub(crate) authority: Span,
    pub(crate) other_readings: [Option<Span>; 2],
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) fn new(at: usize, len: usize) -> Span {
        Span { at: at as u32, len: len as u32 }
    }

    fn of(self, text: &[u8]) -> &[u8] {
        &text[self.at as usize..(self.at + self.len) as usize]
    }
}

impl RequestHead {
    /// The method as it was written.
    #[inline]
    pub fn method_text(&self) -> &[u8] {
        self.method_at.of(self.headers.text())
    }

    /// The path in normal form (see [`crate::target`]), or `*`. This is what routes match and
    /// what is forwarded.
    #[inline]
    pub fn path(&self) -> &[u8] {
        self.path.of(self.headers.text())
    }

    /// The query with its `?`, or nothing.
    #[inline]
    pub fn query(&self) -> &[u8] {
        self.query.of(self.headers.text())
    }

    /// How servers that decode separators, merge slashes and drop path parameters would read the
    /// path, where it can be read so (see [`crate::target`]).
    #[inline]
    pub fn other_readings(&self) -> impl Iterator<Item = &[u8]> {
        self.other_readings.iter().flatten().map(|span| span.of(self.headers.text()))
    }

    /// The host and port the request is for: of an absolute target, else of `Host`; empty when an
    /// HTTP/1.0 client named none.
    #[inline]
    pub fn authority(&self) -> &[u8] {
        self.authority.of(self.headers.text())
    }

    /// [`RequestHead::authority`] without its port.
    pub fn host(&self) -> &[u8] {
        let authority = self.authority();
        let port = match authority.first() {
            Some(b'[') => authority.iter().position(|&b| b == b']').map(|at| at + 1),
            _ => authority.iter().position(|&b| b == b':'),
        };
        &authority[..port.unwrap_or(authority.len())]
    }

    /// Whether the client keeps the connection open after this exchange.
    #[inline]
    pub fn keeps_alive(&self) -> bool {
        !self.connection.close && (self.version == Version::Http11 || self.connection.keep_alive)
    }

    /// The protocol the client wants to switch to, if this is an upgrade that may be forwarded:
    /// HTTP/1.1, named in both `Connection` and `Upgrade`, without a body. `h2c` never is: behind
    /// it, requests would pass by every rule.
    pub fn upgrade(&self) -> Option<&[u8]> {
        let may = self.connection.upgrade
            && self.version == Version::Http11
            && matches!(self.body, BodyLength::Empty | BodyLength::Length(0));
        let mut protocols = self.headers.all_known(Known::Upgrade);
        let protocol = protocols.next().filter(|_| may && protocols.next().is_none())?;
        let speaks_http = |name: &[u8]| {
            let name = name.split(|&b| b == b'/').next().unwrap_or(name);
            [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|bad| name.eq_ignore_ascii_case(bad))
        };
        let mut names = crate::fields::list(protocol);
        (!protocol.is_empty() && !names.any(speaks_http)).then_some(protocol)
    }

    /// Makes a GET of it.
    pub fn become_get(&mut self) {
        if self.method != Method::Get {
            self.method = Method::Get;
            self.method_at = Span { at: self.headers.keep(b"GET"), len: 3 };
        }
    }

    /// Forgets the message but keeps the memory.
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = RequestHead { headers, ..RequestHead::default() };
    }
}

/// The head of an answer.
#[derive(Debug, Default, Clone)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The version of the server's HTTP.
    pub version: Version,
    /// How the body is framed, knowing which method the answer is for.
    pub body: BodyLength,
    /// What `Connection` asks for.
    pub connection: ConnectionOptions,
    /// `Content-Length`, also where there is no body to it (HEAD, 304).
    pub content_length: Option<u64>,
    /// The fields.
    pub headers: Headers,
    pub(crate) reason: Span,
    /// Whether it announced content that it cannot have, so that more of it may follow.
    pub(crate) ends_in_doubt: bool,
}

impl ResponseHead {
    /// The reason phrase, which may be empty.
    #[inline]
    pub fn reason(&self) -> &[u8] {
        self.reason.of(self.headers.text())
    }

    /// Whether it is an interim answer (1xx) with another one to follow.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether the server keeps the connection open after this exchange.
    #[inline]
    pub fn keeps_alive(&self) -> bool {
        !self.connection.close
            && !self.ends_in_doubt
            && self.body != BodyLength::UntilClose
            && (self.version == Version::Http11 || self.connection.keep_alive)
    }

    /// Begins an answer of our own.
    pub fn begin(&mut self, status: u16) {
        self.clear();
        self.status = status;
    }

    /// Begins an answer with fields as [`Headers::write`] has appended them.
    pub fn restore(&mut self, status: u16, fields: &[u8]) {
        self.begin(status);
        self.headers.restore(fields);
    }

    /// Forgets the message but keeps the memory.
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = ResponseHead { headers, ..ResponseHead::default() };
    }
}
