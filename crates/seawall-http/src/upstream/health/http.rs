//! An HTTP/1.1 check on a connection of its own: one request, and as much of the answer as is
//! needed to judge it. Answers are read as strictly as those that are forwarded. Called by
//! `probe.rs`, which bounds the time.

use std::io;
use std::net::SocketAddr;

use memchr::memmem::Finder;
use seawall_h1::{
    BadMessage, BodyDecoder, HeadLimits, HeadProgress, Known, Method, Piece, ResponseHead, parse,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::probe::{Finding, MAX_BODY, authority, plain};
use super::report::DeepHealth;

/// Interim answers that are skipped; more are no answer.
const MAX_INTERIM: usize = 32;

/// What an answer must have.
pub(super) struct Wanted<'a> {
    /// Ranges of good statuses, both ends included.
    pub(super) status: &'a [(u16, u16)],
    /// Text in the first [`MAX_BODY`] bytes of the content.
    pub(super) text: Option<&'a str>,
}

/// Why there is no answer to judge.
enum Failure {
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

impl Failure {
    fn finding(&self) -> Finding {
        match self {
            Failure::Io(error) => Finding::bad(&plain(error)),
            Failure::Malformed(bad) => Finding::bad(&format!("malformed answer: {bad}")),
            Failure::Nothing => Finding::bad("connection closed without an answer"),
        }
    }
}

/// The request of a check. `path` and `host` are taken as they are: a plan has only good ones.
pub(super) fn request(method: &str, path: &str, host: Option<&str>, target: SocketAddr) -> String {
    let host = host.map_or_else(|| authority(target), str::to_owned);
    // Without it a server may wait for content (RFC 9110 §8.6).
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: seawall-health\r\n\
         Accept: */*\r\nConnection: close\r\n{length}\r\n"
    )
}

/// Sends `request` and judges the answer.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &str,
    method: &str,
    wanted: Wanted<'_>,
    limits: HeadLimits,
    deadline: Instant,
) -> Finding {
    // A server may answer and close before it has read the request, so a failure here says
    // nothing yet.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Answer { stream, input: Vec::new(), limits, head: ResponseHead::default() };
    if let Err(failure) = answer.read_head(Method::of(method.as_bytes())).await {
        return failure.finding();
    }
    let status = answer.head.status;
    let told = format!("status {status}");
    let is_json = answer.head.headers.known(Known::ContentType).is_some_and(is_json);
    if !wanted.status.iter().any(|(from, to)| (*from..=*to).contains(&status)) {
        // It is a bad answer already; its content, if it is to be had in time, only explains it.
        let content = async { answer.read_content(None).await };
        let content = match is_json {
            true => timeout_at(deadline, content).await.ok().and_then(Result::ok),
            false => None,
        };
        let parts = content
            .filter(|content| content.complete)
            .and_then(|content| DeepHealth::read(&content.bytes));
        return Finding { parts, ..Finding::bad(&told) };
    }
    if !is_json && wanted.text.is_none() {
        return Finding::good(&told);
    }
    let finder = wanted.text.map(Finder::new);
    // JSON is read to its end even when the text has been found.
    let until = finder.as_ref().filter(|_| !is_json);
    let content = match answer.read_content(until).await {
        Ok(content) => content,
        Err(failure) => return failure.finding(),
    };
    let parts = match is_json && content.complete {
        true => DeepHealth::read(&content.bytes),
        false => None,
    };
    let is_missing = finder.is_some_and(|finder| finder.find(&content.bytes).is_none());
    let finding = match parts.as_ref().and_then(DeepHealth::complaint) {
        Some(complaint) => Finding::bad(&format!("{told}, but {complaint}")),
        None if is_missing => {
            let text = wanted.text.unwrap_or_default();
            Finding::bad(&format!("the body does not contain {text:?}"))
        }
        None => Finding::good(&told),
    };
    Finding { parts, ..finding }
}

/// `application/json`, or a type built on it (RFC 6839 §3.1).
fn is_json(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let media_type = content_type[..end].trim_ascii();
    let ends_in_json =
        media_type.len() > 5 && media_type[media_type.len() - 5..].eq_ignore_ascii_case(b"+json");
    ends_in_json || media_type.eq_ignore_ascii_case(b"application/json")
}

/// An answer as it comes.
struct Answer<S> {
    stream: S,
    /// What was read and not taken yet.
    input: Vec<u8>,
    limits: HeadLimits,
    head: ResponseHead,
}

/// The beginning of the content.
struct Content {
    bytes: Vec<u8>,
    /// It is all of it.
    complete: bool,
}

impl<S: AsyncRead + Unpin> Answer<S> {
    /// Reads heads until one is final.
    async fn read_head(&mut self, method: Method) -> Result<(), Failure> {
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
    async fn read_content(&mut self, text: Option<&Finder<'_>>) -> Result<Content, Failure> {
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

#[cfg(test)]
mod tests;
