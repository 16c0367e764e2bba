//! The connection to a client: its socket, what was read from it, and the body of the request that
//! is being read. Reading and writing share it, since an answer may go out while the request still
//! comes in.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use seawall_cache::disk::Lent;
use seawall_h1::{BadMessage, BodyDecoder, Headers, Piece};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::buffer::{Buffer, LARGE, SMALL};
use crate::refuse::Refusal;
use crate::socket;
use crate::worker::Worker;

/// A connection to a client.
#[derive(Debug)]
pub(crate) struct Client {
    /// `None` for nobody: who asks for what nobody in particular waits for.
    stream: Option<TcpStream>,
    worker: Rc<Worker>,
    /// Read and not yet used.
    pub(crate) input: RefCell<Buffer>,
    /// The body of the current request.
    body: RefCell<BodyDecoder>,
    /// Most bytes of content the current request may have.
    body_limit: Cell<u64>,
    /// Bytes of content of the current request seen so far.
    pub(crate) received: Cell<u64>,
    /// When bytes of the current body last came.
    pub(crate) last_read: Cell<Option<Instant>>,
    /// Bytes at the start of `input` that are content of the current request.
    content: Cell<usize>,
    /// The body is waited for, and it is the client's turn.
    pub(crate) awaits_body: Cell<bool>,
    /// An interim answer has been begun and not ended, so that nothing else can be said.
    pub(crate) in_interim: Cell<bool>,
}

/// Why a request body cannot be read to its end.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The client has left.
    Gone,
    /// It is malformed.
    Bad(BadMessage),
    /// It is longer than the limit.
    TooLarge,
}

impl BodyError {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            BodyError::Gone => Refusal::ClientGone,
            BodyError::Bad(bad) => Refusal::of_request(bad),
            BodyError::TooLarge => Refusal::BodyTooLarge,
        }
    }
}

impl Client {
    /// A client, of whom `input` was read already.
    pub(crate) fn new(stream: TcpStream, input: Buffer, worker: Rc<Worker>) -> Client {
        Client::having(Some(stream), input, worker)
    }

    /// Nobody: sends nothing, takes everything, never leaves.
    pub(crate) fn nobody(worker: Rc<Worker>) -> Client {
        Client::having(None, Buffer::default(), worker)
    }

    fn having(stream: Option<TcpStream>, input: Buffer, worker: Rc<Worker>) -> Client {
        Client {
            stream,
            worker,
            input: RefCell::new(input),
            body: RefCell::default(),
            body_limit: Cell::new(0),
            received: Cell::new(0),
            last_read: Cell::new(None),
            content: Cell::new(0),
            awaits_body: Cell::new(false),
            in_interim: Cell::new(false),
        }
    }

    /// The socket, for those who carry bytes that are no requests.
    pub(crate) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    /// The time; see [`crate::turn`].
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.worker.turn.now()
    }

    /// Begins the body of a request.
    pub(crate) fn begin_body(&self, decoder: BodyDecoder, limit: u64) {
        *self.body.borrow_mut() = decoder;
        self.body_limit.set(limit);
        self.received.set(0);
        self.last_read.set(None);
        debug_assert_eq!(self.content.get(), 0);
        self.awaits_body.set(false);
    }

    /// Whether the body of the current request has been read to its end.
    #[inline]
    pub(crate) fn body_is_done(&self) -> bool {
        self.content.get() == 0 && self.body.borrow().is_done()
    }

    /// The trailers of the current request, if there are any.
    pub(crate) fn with_trailers<T>(&self, then: impl FnOnce(Option<&Headers>) -> T) -> T {
        then(self.body.borrow().trailers())
    }

    /// Reads once, whatever comes. 0 means that the client has closed its side.
    pub(crate) fn poll_fill(&self, size: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &self.stream else { return Poll::Pending };
        let mut input = self.input.borrow_mut();
        input.make_room(&self.worker.buffers, size);
        input.poll_fill(stream, &self.worker.turn, cx)
    }

    /// Ready when there is something to read, without a buffer to read into.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Some(stream) => stream.poll_read_ready(cx),
            None => Poll::Pending,
        }
    }

    /// The length of the next content at the start of [`Client::input`]; `None` at the end of the
    /// body. Take it with [`Client::consume_content`].
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Result<Option<usize>, BodyError>> {
        self.awaits_body.set(false);
        if self.content.get() > 0 {
            return Poll::Ready(Ok(Some(self.content.get())));
        }
        loop {
            let piece = self.body.borrow_mut().decode(self.input.borrow().bytes());
            match piece.map_err(BodyError::Bad)? {
                Piece::End { skip } => {
                    self.consume(skip);
                    return Poll::Ready(Ok(None));
                }
                Piece::Data { skip, len } => {
                    self.consume(skip);
                    let received = self.received.get() + len as u64;
                    self.received.set(received);
                    if received > self.body_limit.get() {
                        return Poll::Ready(Err(BodyError::TooLarge));
                    }
                    self.content.set(len);
                    return Poll::Ready(Ok(Some(len)));
                }
                Piece::More { skip } => self.consume(skip),
            }
            match self.poll_fill(LARGE, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(BodyError::Gone)),
                Poll::Ready(Ok(_)) => self.last_read.set(Some(self.now())),
                Poll::Pending => {
                    self.awaits_body.set(true);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Drops content that [`Client::poll_body`] gave.
    pub(crate) fn consume_content(&self, n: usize) {
        debug_assert!(n <= self.content.get());
        self.content.set(self.content.get() - n);
        self.consume(n);
    }

    /// Whether the content last given by [`Client::poll_body`] is known to be the last.
    pub(crate) fn is_last_content(&self) -> bool {
        self.body.borrow().is_done()
    }

    /// Content given by [`Client::poll_body`] and not consumed yet.
    #[inline]
    pub(crate) fn content(&self) -> usize {
        self.content.get()
    }

    /// Drops used bytes.
    #[inline]
    pub(crate) fn consume(&self, n: usize) {
        self.input.borrow_mut().consume(n);
    }

    /// Ready when the client has left. What it sends meanwhile — the next request — is kept, up to
    /// one small buffer; from there on its leaving goes unnoticed until the answer is written.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.input.borrow().len() >= SMALL {
                return Poll::Pending;
            }
            // A look at the readiness first, so that waiting needs no buffer.
            match ready!(self.poll_readable(cx)) {
                Err(_) => return Poll::Ready(()),
                Ok(()) => match ready!(self.poll_fill(SMALL, cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(_) => {}
                },
            }
        }
    }

    /// Writes once from `parts`, which are not all empty.
    #[inline]
    pub(crate) fn poll_write(
        &self,
        parts: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &self.stream {
            Some(stream) => socket::poll_write(stream, parts, cx),
            None => Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum())),
        }
    }

    /// Writes once from `bytes`, which are not empty and which something lent follows.
    pub(crate) fn poll_write_ahead(
        &self,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &self.stream {
            Some(stream) => socket::poll_write_ahead(stream, bytes, cx),
            None => Poll::Ready(Ok(bytes.len())),
        }
    }

    /// Sends once of what is lent; `None` if it cannot be had from there any more.
    pub(crate) fn poll_send_lent(
        &self,
        lent: &Lent,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        match &self.stream {
            Some(stream) => socket::poll_send_lent(stream, lent, &self.worker.turn, cx),
            None => Poll::Ready(Ok(Some(lent.len()))),
        }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match poll_fn(|cx| self.poll_write(&[IoSlice::new(bytes)], cx)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => bytes = &bytes[n..],
            }
        }
        Ok(())
    }

    /// Ends the sending side.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.stream.as_ref().map_or(Ok(()), socket::shut_down)
    }

    /// Makes the close a reset, so that a client that takes the end of the connection for the end
    /// of an answer learns that it is not.
    pub(crate) fn reset_on_close(&self) {
        if let Some(stream) = &self.stream {
            socket::reset_on_close(stream);
        }
    }

    /// Gives the read buffer back if there is nothing in it.
    pub(crate) fn release_buffer(&self) {
        let mut input = self.input.borrow_mut();
        if input.is_empty() {
            input.release(&self.worker.buffers);
        }
    }

    /// Gives a large read buffer back if there is nothing in it.
    pub(crate) fn release_large_buffer(&self) {
        if self.input.borrow().capacity() > SMALL {
            self.release_buffer();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.input.borrow_mut().release(&self.worker.buffers);
    }
}
