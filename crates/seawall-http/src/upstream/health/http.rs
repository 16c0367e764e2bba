//! An HTTP/1.1 check on a connection of its own: one request, and as much of the answer as is
//! needed to judge it. Answers are read as strictly as those that are forwarded. Called by
//! `probe.rs`, which bounds the time.

use std::net::SocketAddr;

use memchr::memmem::Finder;
use seawall_h1::{HeadLimits, Known, Method};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::probe::Finding;
use super::report::DeepHealth;
use crate::upstream::answer::{Answer, authority};

/// What an answer must have.
pub(super) struct Wanted<'a> {
    /// Ranges of good statuses, both ends included.
    pub(super) status: &'a [(u16, u16)],
    /// Text in the first [`MAX_BODY`](crate::upstream::answer::MAX_BODY) bytes of the content.
    pub(super) text: Option<&'a str>,
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
    let mut answer = Answer::new(stream, limits);
    if let Err(failure) = answer.read_head(Method::of(method.as_bytes())).await {
        return Finding::bad(&failure.to_string());
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
        Err(failure) => return Finding::bad(&failure.to_string()),
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

#[cfg(test)]
mod tests;
