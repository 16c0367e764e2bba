//! An answer on its way to a client: head, content and framing, as few writes as possible.

use std::io::IoSlice;
use std::task::{Context, Poll, ready};

use seawall_cache::disk::Lent;
use seawall_h1::{BodyLength, Known, Method, RequestHead, ResponseHead, Version, encode};

use crate::client::Client;
use crate::forward::conversation::{AnswerError, Chunk};
use crate::message::Body;
use crate::policy::headers;
use crate::worker::Worker;

/// Content up to this size is copied behind the head: one plain write costs the kernel less than a
/// write of several parts, and more than this copy does.
const SHORT: usize = 4 * 1024;

/// Content of these sizes is written in two halves. The client reads the first while the second is
/// copied, and neither waits for the other: in one write this much just fills the window that
/// Linux begins a connection with, and the rest has to be sent from within an acknowledgement. That
/// costs up to half as much again ([decision 19]). Less fits, and more has the window opened.
///
/// [decision 19]: ../../../docs/decisions/019-large-content.md
const HALVED: std::ops::RangeInclusive<usize> = 80 * 1024..=160 * 1024;

/// The most that is sent from disk in one call: others want their turn.
const AT_ONCE: usize = 512 * 1024;

/// How the client learns where the content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no content.
    None,
    /// By its length.
    Length,
    /// By its last chunk.
    Chunked,
    /// By the end of the connection (HTTP/1.0).
    Close,
}

/// Whose turn it is while nothing moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Client,
    Server,
}

/// Why an answer could not be sent to its end.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The client has left.
    ClientGone,
    /// The client sends the rest of its request too slowly.
    BodyTooSlow,
    /// The server did not give what it announced.
    Answer(AnswerError),
}

/// An answer on its way.
pub(crate) struct Sending {
    pub(crate) body: Body,
    framing: Framing,
    /// Head and framing before the content.
    out: Vec<u8>,
    out_at: usize,
    /// Length of the content being written, and how much of it is.
    content: usize,
    content_at: usize,
    /// Framing behind the content.
    tail: Vec<u8>,
    tail_at: usize,
    /// Nothing follows what is being written.
    last: bool,
    /// The client was waited for since the content was given, so that it may have to be brought
    /// into the page cache once more.
    waited: bool,
    /// Bytes of content written.
    pub(crate) sent: u64,
    pub(crate) turn: Turn,
}

/// The framing of an answer to this request, and whether its head may announce a length.
pub(crate) fn framing(request: Option<&RequestHead>, head: &ResponseHead, body: &Body) -> Framing {
    let is_head = request.is_some_and(|request| request.method == Method::Head);
    if is_head || head.status < 200 || matches!(head.status, 204 | 304) {
        return Framing::None;
    }
    match body {
        Body::Empty | Body::Shared(_) | Body::Owned(_) => Framing::Length,
        Body::Stored(..) => Framing::Length,
        Body::Tunnel(_) => Framing::None,
        Body::Answer(_) | Body::Reading(_) => match head.body {
            BodyLength::Length(_) | BodyLength::Empty => Framing::Length,
            _ if request.is_some_and(|request| request.version == Version::Http10) => {
                Framing::Close
            }
            _ => Framing::Chunked,
        },
    }
}

impl Sending {
    /// Writes the head into `out`, which is taken over with its memory. `keep_alive` says what the
    /// client is told about the connection.
    pub(crate) fn new(
        request: Option<&RequestHead>,
        head: &ResponseHead,
        body: Body,
        keep_alive: bool,
        worker: &Worker,
        mut out: Vec<u8>,
    ) -> Sending {
        let framing = framing(request, head, &body);
        let keep_alive = keep_alive && framing != Framing::Close;
        let version = request.map_or(Version::Http11, |request| request.version);
        out.clear();
        headers::write_response(head, || worker.date(), &mut out);
        let length = match &body {
            Body::Shared(content) => Some(content.len() as u64),
            Body::Owned(content) => Some(content.len() as u64),
            Body::Stored(_, from, to) => Some((to - from) as u64),
            // Of an answer without content, the length that it would have (HEAD, 304).
            Body::Empty if framing == Framing::None => head.content_length,
            Body::Empty => Some(0),
            Body::Answer(_) | Body::Reading(_) => match head.body {
                BodyLength::Length(length) => Some(length),
                _ => head.content_length,
            },
            Body::Tunnel(_) => None,
        };
        match (framing, length) {
            (Framing::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            (Framing::Length | Framing::None, Some(length))
                if head.status >= 200 && head.status != 204 =>
            {
                encode::content_length(length, &mut out);
            }
            _ => {}
        }
        if let Body::Tunnel(_) = body {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            if let Some(protocol) = head.headers.known(Known::Upgrade) {
                encode::field(b"Upgrade", protocol, &mut out);
            }
        } else {
            headers::write_connection(version, keep_alive, &mut out);
        }
        out.extend_from_slice(b"\r\n");
        // What a client may not have is not even asked for.
        let none = framing == Framing::None && !matches!(body, Body::Answer(_) | Body::Tunnel(_));
        let body = if none { Body::Empty } else { body };
        Sending {
            last: matches!(body, Body::Empty | Body::Tunnel(_)),
            body,
            framing,
            out,
            out_at: 0,
            content: 0,
            content_at: 0,
            tail: Vec::new(),
            tail_at: 0,
            waited: false,
            sent: 0,
            turn: Turn::Client,
        }
    }

    /// Whether the end of the answer is the end of the connection.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.framing == Framing::Close
    }

    /// The memory of the head, for the next one.
    pub(crate) fn into_parts(self) -> (Body, Vec<u8>) {
        (self.body, self.out)
    }

    /// Writes until all is written or one side has to be waited for; [`Sending::turn`] says which.
    pub(crate) fn poll(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            if self.content == 0 && self.tail_at == self.tail.len() && !self.last {
                match self.poll_content(client, cx) {
                    Poll::Ready(Ok(chunk)) => self.take(chunk),
                    // Content that the client is not told anyway cannot be cut short.
                    Poll::Ready(Err(AnswerError::Closed | AnswerError::Bad(_)))
                        if self.framing == Framing::None =>
                    {
                        self.body = Body::Empty;
                        self.take(None);
                    }
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(SendError::Answer(error)));
                    }
                    Poll::Pending if self.out_at == self.out.len() => {
                        self.turn = Turn::Server;
                        return Poll::Pending;
                    }
                    // The head goes out while the content is waited for.
                    Poll::Pending => {}
                }
            }
            if self.out_at == self.out.len() && self.content == 0 && self.tail_at == self.tail.len()
            {
                if self.last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match self.poll_write(client, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(SendError::ClientGone)),
                Poll::Pending => {
                    self.turn = Turn::Client;
                    // A client may send all of its request before it takes any of the answer.
                    if let Body::Answer(answer) = &mut self.body {
                        answer.poll_pump(client, cx).map_err(SendError::Answer)?;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_content(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, AnswerError>> {
        let whole = |content: &[u8]| {
            let chunk = Chunk { len: content.len(), last: true };
            Poll::Ready(Ok((chunk.len > 0).then_some(chunk)))
        };
        match &mut self.body {
            Body::Empty | Body::Tunnel(_) => Poll::Ready(Ok(None)),
            Body::Shared(content) => whole(content),
            Body::Owned(content) => whole(content),
            Body::Stored(object, from, to) => whole(&object.body()[*from..*to]),
            Body::Reading(reading) => reading.poll_chunk(cx),
            Body::Answer(answer) => answer.poll_chunk(client, cx),
        }
    }

    fn take(&mut self, chunk: Option<Chunk>) {
        let chunked = self.framing == Framing::Chunked;
        if self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
        }
        self.tail.clear();
        self.tail_at = 0;
        let (length, last) = chunk.map_or((0, true), |chunk| (chunk.len, chunk.last));
        self.content = length;
        self.content_at = 0;
        self.last = last;
        self.waited = false;
        if self.framing == Framing::None {
            // Content of an answer that has none to the client is read past.
            self.content_at = length;
            self.finish_content();
            return;
        }
        if chunked && length > 0 {
            encode::chunk_size(length, &mut self.out);
        }
        let short = length <= SHORT && self.out.len() <= SHORT;
        if short {
            self.out.extend_from_slice(content(&self.body, 0, length));
            self.sent += length as u64;
            self.content_at = length;
        }
        let behind = if short { &mut self.out } else { &mut self.tail };
        if chunked && length > 0 {
            behind.extend_from_slice(b"\r\n");
        }
        if chunked && last {
            let trailers = match &self.body {
                Body::Answer(answer) => answer.trailers(),
                _ => None,
            };
            encode::last_chunk(trailers, behind);
        }
        self.finish_content();
    }

    fn poll_write(&mut self, client: &Client, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.content > 0
            && let Body::Reading(reading) = &self.body
            && let Some(lent) = reading.lent()
        {
            let lent = lent.part(self.content_at, AT_ONCE);
            return self.poll_send_lent(&lent, client, cx);
        }
        let out = &self.out[self.out_at..];
        let half = self.content.div_ceil(2);
        let (content, tail) = match HALVED.contains(&self.content) && self.content_at < half {
            true => (content(&self.body, self.content_at, half), &[][..]),
            false => {
                (content(&self.body, self.content_at, self.content), &self.tail[self.tail_at..])
            }
        };
        let slices = [IoSlice::new(out), IoSlice::new(content), IoSlice::new(tail)];
        let used = match (content.is_empty(), tail.is_empty()) {
            (true, true) => &slices[..1],
            (false, true) if out.is_empty() => &slices[1..2],
            (false, true) => &slices[..2],
            _ => &slices[..],
        };
        let written = ready!(client.poll_write(used, cx))?;
        if written == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
        }
        let of_out = written.min(out.len());
        let of_content = (written - of_out).min(content.len());
        let of_tail = written - of_out - of_content;
        self.out_at += of_out;
        self.content_at += of_content;
        self.sent += of_content as u64;
        self.tail_at += of_tail;
        self.finish_content();
        Poll::Ready(Ok(()))
    }

    /// Content that is on disk, with what goes before it.
    fn poll_send_lent(
        &mut self,
        lent: &Lent,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.out_at < self.out.len() {
            match ready!(client.poll_write_ahead(&self.out[self.out_at..], cx))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                written => self.out_at += written,
            }
            return Poll::Ready(Ok(()));
        }
        let sent = if self.waited && !lent.is_resident() {
            None
        } else {
            self.waited = true;
            let sent = ready!(client.poll_send_lent(lent, cx))?;
            self.waited = false;
            sent
        };
        match sent {
            Some(sent) => {
                self.content_at += sent;
                self.sent += sent as u64;
                self.finish_content();
            }
            None => {
                if let Body::Reading(reading) = &mut self.body {
                    reading.renew(self.content_at);
                }
                (self.content, self.content_at, self.last) = (0, 0, false);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn finish_content(&mut self) {
        if self.content > 0 && self.content_at == self.content {
            (self.content, self.content_at) = (0, 0);
            match &mut self.body {
                Body::Answer(answer) => answer.consume(),
                Body::Reading(reading) => reading.consume(),
                _ => {}
            }
        }
    }
}

/// The part of the content being written.
fn content(body: &Body, from: usize, to: usize) -> &[u8] {
    match body {
        _ if from == to => &[],
        Body::Answer(answer) => &answer.content()[from..to],
        Body::Shared(content) => &content[from..to],
        Body::Owned(content) => &content[from..to],
        Body::Stored(object, start, _) => &object.body()[start + from..start + to],
        Body::Reading(reading) => &reading.content()[from..to],
        Body::Empty | Body::Tunnel(_) => &[],
    }
}
