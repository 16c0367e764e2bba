//! One connection as a script sees it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::SockRef;

use super::Shared;
use crate::gate::Gate;
use crate::message::{Request, Response};
use crate::wire::Wire;

/// One connection of an [`Origin`](super::Origin), in the hands of its script.
///
/// Reads and writes fail when the peer closed, when the origin is stopped, and with `TimedOut`
/// after [`PATIENCE`](crate::PATIENCE); a script passes that on with `?`. Returning closes the
/// connection: orderly when everything the peer sent was read, otherwise with a reset, as the
/// kernel does for every program.
pub struct Conversation {
    index: usize,
    wire: Wire,
    shared: Arc<Shared>,
}

impl Conversation {
    pub(super) fn new(index: usize, wire: Wire, shared: Arc<Shared>) -> Self {
        Self { index, wire, shared }
    }

    /// Which connection of the origin this is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.wire.stream().peer_addr()
    }

    /// Reads a request with its body.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer closed, `InvalidData` when what came is no request.
    pub fn read_request(&mut self) -> io::Result<Request> {
        let mut request = self.read_request_head()?;
        let mut body = Vec::new();
        request.trailers = self.wire.read_body(request.framing()?, |piece| body.extend(piece))?;
        request.body = body;
        Ok(request)
    }

    /// Reads the next request with its body; `None` when the peer closed between requests.
    ///
    /// # Errors
    /// As [`Conversation::read_request`].
    pub fn next_request(&mut self) -> io::Result<Option<Request>> {
        if self.wire.at_end()? {
            return Ok(None);
        }
        self.read_request().map(Some)
    }

    /// Reads the head of a request and leaves its body unread.
    ///
    /// # Errors
    /// As [`Conversation::read_request`].
    pub fn read_request_head(&mut self) -> io::Result<Request> {
        let head = self.wire.read_until(b"\r\n\r\n", "a request head")?;
        self.shared.note(self.index, |seen| seen.requests += 1);
        Request::parse_head(&head)
    }

    /// Reads the body that follows `head` without keeping it, and returns its length.
    ///
    /// # Errors
    /// As [`Conversation::read_request`].
    pub fn count_body(&mut self, head: &Request) -> io::Result<u64> {
        let mut length = 0;
        self.wire.read_body(head.framing()?, |piece| length += piece.len() as u64)?;
        Ok(length)
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// As [`Conversation::read_request`].
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.wire.read_exact(count)
    }

    /// Reads up to and including `end`.
    ///
    /// # Errors
    /// As [`Conversation::read_request`].
    pub fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        self.wire.read_until(end, "bytes that were waited for")
    }

    /// Waits for some bytes; empty when the peer closed.
    ///
    /// # Errors
    /// What reading failed with.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        self.wire.read_some()
    }

    /// Reads until the peer closes.
    ///
    /// # Errors
    /// `ConnectionReset` when the peer resets instead.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.wire.read_to_end()
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes.as_ref())
    }

    /// Sends these bytes one at a time.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send_slowly(bytes.as_ref())
    }

    /// Sends these bytes as one chunk of a chunked body.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend(bytes);
        chunk.extend(b"\r\n");
        self.wire.send(&chunk)
    }

    /// Sends `response` as the answer to `request`, without its body when that was HEAD.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn respond(&mut self, request: &Request, mut response: Response) -> io::Result<()> {
        if !request.keeps_alive() && response.header("connection").is_none() {
            response = response.with("connection", "close");
        }
        self.wire.send(&response.to_bytes(request.method == "HEAD"))
    }

    /// Waits until the test opens `gate`.
    ///
    /// # Errors
    /// `Interrupted` when the origin is stopped first.
    pub fn wait(&self, gate: &Gate) -> io::Result<()> {
        gate.wait_unless(|| self.shared.stopped())
    }

    /// Reads and forgets what comes until the peer closes or resets: never answers.
    ///
    /// # Errors
    /// `TimedOut` when nothing happens for the whole patience.
    pub fn hang(&mut self) -> io::Result<()> {
        loop {
            match self.wire.read_some() {
                Ok(bytes) if bytes.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the sending direction only.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.wire.half_close()
    }

    /// Makes the close that follows, when the script returns, a reset.
    ///
    /// # Errors
    /// When the socket refuses the option.
    pub fn reset(&mut self) -> io::Result<()> {
        self.wire.reset_on_close()
    }

    /// The socket itself, for what is not offered here.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.wire.stream())
    }
}
