//! hyper as a second opinion: it reads the same bytes, from memory, and says what it makes of them.
//!
//! It has no parser that can be called by itself, so a whole connection of it is run, by a loop
//! that polls: nothing here ever waits for anything but more of its own steps.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{HeaderMap, Request, Response, Version, header};

use crate::reader::FieldText;

/// A message as hyper sees it; names in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Method and target of a request, or status of an answer.
    pub(crate) start: Start,
    pub(crate) is_http10: bool,
    pub(crate) fields: Vec<FieldText>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<FieldText>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    Request { method: String, authority: Option<String>, path: String, query: Option<String> },
    Response { status: u16 },
}

/// The requests that hyper reads to their ends from a connection on which `input` arrives.
pub(crate) fn requests(input: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let start = Start::Request {
                method: head.method.to_string(),
                authority: head.uri.authority().map(|authority| authority.to_string()),
                path: head.uri.path().to_owned(),
                query: head.uri.query().map(str::to_owned),
            };
            if let Some((content, trailers)) = read(body).await {
                let fields = texts(&head.headers);
                let is_http10 = head.version == Version::HTTP_10;
                seen.borrow_mut().push(Seen { start, is_http10, fields, content, trailers });
            }
            // No success, which after CONNECT would be the end of HTTP.
            let mut answer = Response::new(Nothing);
            *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
            Ok::<_, Infallible>(answer)
        }
    });
    let io = Memory { input: input.to_vec(), at: 0, written: true };
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .serve_connection(io, service);
    // Why it ended is not of interest: a refused request is one that is not among those seen.
    let _ended = poll_to_the_end(pin!(connection));
    seen.take()
}

/// The final answer that hyper reads to its end when `input` is what the server sends to a request
/// with `method`.
pub(crate) fn response(input: &[u8], method: &str) -> Option<Seen> {
    let io = Memory { input: input.to_vec(), at: 0, written: false };
    let handshake = hyper::client::conn::http1::handshake(io);
    let (mut sender, connection) = poll_to_the_end(pin!(handshake)).ok()?;
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header(header::HOST, "a")
        .body(Nothing)
        .expect("a good request");
    let exchange = async {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let (content, trailers) = read(body).await?;
        Some(Seen {
            start: Start::Response { status: head.status.as_u16() },
            is_http10: head.version == Version::HTTP_10,
            fields: texts(&head.headers),
            content,
            trailers,
        })
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    let mut connected = true;
    poll_to_the_end(pin!(poll_fn(|context| {
        connected = connected && connection.as_mut().poll(context).is_pending();
        exchange.as_mut().poll(context)
    })))
}

/// Names in small letters, in the order of names: what hyper keeps of an order.
pub(crate) fn sorted(mut fields: Vec<FieldText>) -> Vec<FieldText> {
    for (name, _) in &mut fields {
        name.make_ascii_lowercase();
    }
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

fn texts(headers: &HeaderMap) -> Vec<FieldText> {
    let text = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())
    };
    sorted(headers.iter().map(text).collect())
}

async fn read(mut body: Incoming) -> Option<(Vec<u8>, Vec<FieldText>)> {
    let (mut content, mut trailers) = (Vec::new(), Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.ok()?.into_data() {
            Ok(data) => content.extend_from_slice(&data),
            Err(frame) => trailers = texts(&frame.into_trailers().ok()?),
        }
    }
    Some((content, trailers))
}

fn poll_to_the_end<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("hyper makes no progress");
}

/// A body of nothing.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// A connection on which `input` arrives once something was written, and then its end.
struct Memory {
    input: Vec<u8>,
    at: usize,
    written: bool,
}

impl Read for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.written {
            return Poll::Pending;
        }
        let rest = &self.input[self.at..];
        let length = rest.len().min(into.remaining());
        into.put_slice(&rest[..length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written = true;
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
