//! Asks this process for a URL over one of its own listeners, as any client would, so that all of a
//! request's way is the real one. Called by [`super::warm`].

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seawall_h1::{
    BodyDecoder, HeadLimits, HeadProgress, Known, Method, Piece, ResponseHead, parse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::url::Url;

/// How this process can be asked by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrance {
    /// Where a listener for HTTP can be reached from this machine.
    pub address: SocketAddr,
    /// Whether what it is told of the scheme is believed there (`server.trust`).
    pub believed: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_header: bool,
    /// What `Seawall-Reported` is to say so that nobody counts the requests as those of clients.
    pub sign: &'static str,
}

/// Makes requests, over a few connections that are kept.
#[derive(Debug)]
pub(super) struct Visitor {
    entrance: Entrance,
    /// What every request has besides, each line with its CRLF.
    fields: String,
    idle: Mutex<Vec<TcpStream>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Visited {
    pub(super) status: u16,
    /// What `Cache-Status` says (RFC 9211), the nearest cache last.
    pub(super) cache: String,
    /// Its content, if it was to be kept.
    pub(super) body: Vec<u8>,
}

/// Patience with one answer, its content included.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
const LIMITS: HeadLimits = HeadLimits { bytes: 256 << 10, headers: 1000 };
/// Bytes read at a time.
const PIECE: usize = 64 << 10;

impl Visitor {
    pub(super) fn new(entrance: Entrance, fields: String) -> Visitor {
        Visitor { entrance, fields, idle: Mutex::default() }
    }

    /// Asks for a URL. Up to `keep` bytes of the content are kept; all of it is read.
    ///
    /// Dropped, it closes its connection.
    pub(super) async fn visit(&self, url: &Url, keep: usize) -> Result<Visited, String> {
        let request = self.request(url);
        let visit = async {
            // A kept connection may have been closed meanwhile; then nothing has come of it.
            while let Some(mut stream) = self.kept() {
                if let Ok(visited) = self.ask(&mut stream, &request, keep).await {
                    return Ok(self.keep(stream, visited));
                }
            }
            let mut stream = self.connect().await?;
            let visited = self.ask(&mut stream, &request, keep).await?;
            Ok(self.keep(stream, visited))
        };
        let late = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let result = tokio::time::timeout(PATIENCE, visit).await.unwrap_or_else(|_| late());
        result.map_err(|error| error.to_string())
    }

    fn request(&self, url: &Url) -> String {
        let Url { authority, target, .. } = url;
        let scheme = match url.https {
            true => "x-forwarded-proto: https\r\n",
            false => "",
        };
        let version = env!("CARGO_PKG_VERSION");
        let Visitor { entrance, fields, .. } = self;
        format!(
            "GET {target} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: seawall-warm/{version}\r\n\
             seawall-reported: {}\r\n{scheme}{fields}\r\n",
            entrance.sign
        )
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.entrance.address).await?;
        stream.set_nodelay(true)?;
        if self.entrance.proxy_header {
            stream.write_all(b"PROXY UNKNOWN\r\n").await?;
        }
        Ok(stream)
    }

    fn kept(&self) -> Option<TcpStream> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, stream: TcpStream, (visited, reusable): (Visited, bool)) -> Visited {
        if reusable {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
        visited
    }

    /// One exchange, and whether the connection can be used for another.
    async fn ask(
        &self,
        stream: &mut TcpStream,
        request: &str,
        keep: usize,
    ) -> std::io::Result<(Visited, bool)> {
        stream.write_all(request.as_bytes()).await?;
        let mut input = Vec::with_capacity(PIECE);
        let mut head = ResponseHead::default();
        let mut progress = HeadProgress::default();
        loop {
            let parsed = parse::response(&input, Method::Get, LIMITS, &mut progress, &mut head);
            match parsed.map_err(|error| invalid(error.to_string()))? {
                Some(length) => {
                    input.drain(..length);
                    if !head.is_interim() {
                        break;
                    }
                    progress = HeadProgress::default();
                    head.clear();
                }
                None => more(stream, &mut input).await?,
            }
        }
        let status: Vec<_> =
            head.headers.all(b"cache-status").map(String::from_utf8_lossy).collect();
        let mut visited =
            Visited { status: head.status, cache: status.join(", "), body: Vec::new() };
        let mut decoder = BodyDecoder::new(head.body, LIMITS);
        while !decoder.is_done() {
            match decoder.decode(&input).map_err(|error| invalid(error.to_string()))? {
                Piece::Data { skip, len } => {
                    let room = keep.saturating_sub(visited.body.len()).min(len);
                    visited.body.extend_from_slice(&input[skip..skip + room]);
                    input.drain(..skip + len);
                }
                Piece::More { skip } => {
                    input.drain(..skip);
                    match more(stream, &mut input).await {
                        Err(_) if decoder.ends_at_close() => break,
                        read => read?,
                    }
                }
                Piece::End { skip } => {
                    input.drain(..skip);
                    break;
                }
            }
        }
        Ok((visited, head.keeps_alive() && input.is_empty()))
    }
}

impl Visited {
    /// Whether it was served from this node's cache.
    pub(super) fn is_hit(&self) -> bool {
        self.says("hit")
    }

    /// Whether it was stored in this node's cache.
    pub(super) fn is_stored(&self) -> bool {
        self.says("stored")
    }

    /// Whether the member of `Cache-Status` that this node has added, the last, has a parameter.
    fn says(&self, parameter: &str) -> bool {
        let own = split(&self.cache, ',').last().unwrap_or_default();
        split(own, ';').skip(1).any(|part| part.trim() == parameter)
    }
}

/// The parts of a text between `mark`s that are not in quotes (RFC 9651 §3.3.3).
fn split(text: &str, mark: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let literal = escaped;
        escaped = quoted && !literal && c == '\\';
        quoted ^= c == '"' && !literal;
        c == mark && !quoted
    })
}

async fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> std::io::Result<()> {
    input.reserve(PIECE);
    match stream.read_buf(input).await? {
        0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
        _ => Ok(()),
    }
}

fn invalid(message: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}

/// Lines of header fields; `None` if one of them is none or is ours to send.
pub(super) fn lines<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut out = String::new();
    for (name, value) in fields {
        let ours = matches!(
            Known::of(name.as_bytes()),
            Known::Host | Known::ContentLength | Known::TransferEncoding | Known::Connection
        );
        let good = seawall_h1::headers::is_field_name(name.as_bytes())
            && seawall_h1::headers::is_field_value(value.as_bytes());
        if ours || !good {
            return None;
        }
        out.push_str(&format!("{}: {value}\r\n", name.to_ascii_lowercase()));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_node_says_is_the_last_of_the_list() {
        for (cache, hit, stored) in [
            ("", false, false),
            ("seawall; hit; ttl=5", true, false),
            ("far; hit, seawall; fwd=uri-miss; stored", false, true),
            ("seawall; fwd=uri-miss; stored, far; hit", true, false),
            ("seawall; hit; key=\"a, b; stored\"", true, false),
            ("seawall; fwd=stale; stored; key=\"\\\", x; hit\"", false, true),
            ("seawall;hit", true, false),
        ] {
            let visited = Visited { status: 200, cache: cache.to_owned(), body: Vec::new() };
            assert_eq!((visited.is_hit(), visited.is_stored()), (hit, stored), "{cache}");
        }
    }

    #[test]
    fn fields_that_can_be_sent() {
        let one = |name, value| lines([(name, value)].into_iter());
        assert_eq!(one("Accept-Language", "de"), Some("accept-language: de\r\n".to_owned()));
        for (name, value) in [
            ("Host", "a"),
            ("content-length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "close"),
            ("a b", "c"),
            ("", "c"),
            ("a", "b\r\nc: d"),
        ] {
            assert_eq!(one(name, value), None, "{name}: {value}");
        }
    }
}
