//! The answer of a server that the control thread has asked something, read as strictly as those
//! that are forwarded, and never beyond its limits. Knows nothing of what was asked, and has no
//! opinion on what it says; whoever calls it bounds the time. Used by the checks of `health` and by
//! `report`.

use std::io;
use std::net::SocketAddr;

use memchr::memmem::Finder;
use seawall_h1::{
    BadMessage, BodyDecoder, HeadLimits, HeadProgress, Method, Piece, ResponseHead, parse,
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the content of an answer that are read.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// Interim answers that are skipped; more are no answer.
const MAX_INTERIM: usize = 32;

/// An answer as it comes.
pub(crate) struct Answer<S> {
    stream: S,
    /// What was read and not taken yet.
    input: Vec<u8>,
    limits: HeadLimits,
    pub(crate) head: ResponseHead,
}

/// The beginning of the content.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// It is all of it.
    pub(crate) complete: bool,
}

impl<S: AsyncRead + Unpin> Answer<S> {
    /// One that is about to come.
    pub(crate) fn new(stream: S, limits: HeadLimits) -> Answer<S> {
        Answer { stream, input: Vec::new(), limits, head: ResponseHead::default() }
    }

    /// Reads heads until one is final.
    pub(crate) async fn read_head(&mut self, method: Method) -> Result<(), Failure> {
        let mut heard = false;
        for _ in 0..MAX_INTERIM {
            let mut progress = HeadProgress::default();
            loop {
                let Answer { input, limits, head, .. } = &mut *self;
                if let Some(length) = parse::response(input, method, *limits, &mut progress, head)?
                {
                    input.drain(..length);
                    break;
                }
                if self.fill().await? == 0 {
                    let cut_short = heard || !self.input.is_empty();
                    let failure = match cut_short {
                        true => Failure::Malformed(BadMessage::Truncated),
                        false => Failure::Nothing,
                    };
                    return Err(failure);
                }
                heard = true;
            }
            if !self.head.is_interim() {
                return Ok(());
            }
        }
        Err(BadMessage::StatusLine.into())
    }

    /// Reads the content to its end, to [`MAX_BODY`], or until `text` is in it.
    pub(crate) async fn read_content(
        &mut self,
        text: Option<&Finder<'_>>,
    ) -> Result<Content, Failure> {
        let mut decoder = BodyDecoder::new(self.head.body, self.limits);
        let mut content = Content { bytes: Vec::new(), complete: false };
        let mut at = 0;
        loop {
            match decoder.decode(&self.input[at..])? {
                Piece::Data { skip, len } => {
                    let from = at + skip;
                    at = from + len;
                    let bytes = &mut content.bytes;
                    let room = MAX_BODY - bytes.len();
                    // What was there was searched; the text may begin in it.
                    let searched =
                        bytes.len().saturating_sub(text.map_or(0, |text| text.needle().len()));
                    bytes.extend_from_slice(&self.input[from..from + len.min(room)]);
                    let found = text.is_some_and(|text| text.find(&bytes[searched..]).is_some());
                    if found || len > room {
                        return Ok(content);
                    }
                }
                Piece::More { .. } => {
                    self.input.clear();
                    at = 0;
                    if self.fill().await? == 0 {
                        content.complete = decoder.ends_at_close();
                        return match content.complete {
                            true => Ok(content),
                            false => Err(BadMessage::Truncated.into()),
                        };
                    }
                }
                Piece::End { .. } => {
                    content.complete = true;
                    return Ok(content);
                }
            }
        }
    }

    /// Reads once; 0 bytes are the end.
    async fn fill(&mut self) -> io::Result<usize> {
        self.input.reserve(4096);
        self.stream.read_buf(&mut self.input).await
    }
}

/// Why there is no answer to judge.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    Malformed(BadMessage),
    /// It closed before the first byte.
    Nothing,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl From<BadMessage> for Failure {
    fn from(bad: BadMessage) -> Failure {
        Failure::Malformed(bad)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Io(error) => out.write_str(&plain(error)),
            Failure::Malformed(bad) => write!(out, "malformed answer: {bad}"),
            Failure::Nothing => out.write_str("connection closed without an answer"),
        }
    }
}

/// An error of the system in the words that are known for it.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Host and port as they stand in `Host` and `:authority`: without the zone of an IPv6 address,
/// which has a meaning on this machine only (RFC 6874 §4).
pub(crate) fn authority(address: SocketAddr) -> String {
    SocketAddr::new(address.ip(), address.port()).to_string()
}
