//! A client that sends exactly the bytes it is told to and reads answers strictly, for the tests
//! that ask what really goes over the wire.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::PATIENCE;
use crate::message::Response;
use crate::wire::Wire;

/// A connection from a source address, such as 127.0.0.2, for whoever brings a protocol along.
///
/// # Errors
/// When the address is not of this machine, or connecting failed.
pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    Ok(socket.into())
}

/// One connection to a server. Every read and write gives up after [`PATIENCE`] with `TimedOut`.
pub struct RawClient {
    wire: Wire,
}

impl RawClient {
    /// Connects.
    ///
    /// # Errors
    /// What connecting failed with.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Connects from a source address, such as 127.0.0.2.
    ///
    /// # Errors
    /// When the address is not of this machine, or connecting failed.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        Self::over(connect_from(source, address)?)
    }

    /// Connects with a receive buffer of about `bytes`, set before the connection exists, so that
    /// the window the server sees is small: a slow reader.
    ///
    /// # Errors
    /// When the buffer cannot be set, or connecting failed.
    pub fn connect_with_receive_buffer(address: SocketAddr, bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(bytes)?;
        socket.connect_timeout(&address.into(), PATIENCE)?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        Ok(Self { wire: Wire::new(Arc::new(stream), PATIENCE, None)? })
    }

    /// The same client with another patience for each read and write.
    ///
    /// # Errors
    /// When the patience is zero.
    pub fn with_patience(self, patience: Duration) -> io::Result<Self> {
        self.wire.set_patience(patience)?;
        Ok(self)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.wire.stream().local_addr()
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// When the server closed, or takes nothing for the whole patience.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes.as_ref())
    }

    /// Sends these bytes one at a time, each in a segment of its own as far as the kernel goes.
    ///
    /// # Errors
    /// As [`RawClient::send`].
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send_slowly(bytes.as_ref())
    }

    /// Sends as much of `bytes`, over and over, as the server takes within `patience`, up to
    /// `limit` bytes, and returns how much that was: how far a peer that does not read lets itself
    /// be filled.
    ///
    /// # Errors
    /// When the server closed.
    pub fn send_until_stuck(
        &mut self,
        bytes: &[u8],
        limit: u64,
        patience: Duration,
    ) -> io::Result<u64> {
        use std::io::{ErrorKind, Write};
        self.wire.set_patience(patience)?;
        let mut sent = 0;
        let outcome = loop {
            if sent >= limit {
                break Ok(sent);
            }
            let left = usize::try_from(limit - sent).unwrap_or(usize::MAX);
            match self.wire.stream().write(&bytes[..bytes.len().min(left)]) {
                Ok(count) => sent += count as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(sent),
                Err(error) => break Err(error),
            }
        };
        self.wire.set_patience(PATIENCE)?;
        outcome
    }

    /// Sends these bytes and reads the response to a request that is not HEAD.
    ///
    /// # Errors
    /// As [`RawClient::send`] and [`RawClient::read_response`].
    pub fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<Response> {
        self.send(bytes)?;
        self.read_response()
    }

    /// Sends `GET target` with this host and reads the response; the connection stays open.
    ///
    /// # Errors
    /// As [`RawClient::exchange`].
    pub fn get(&mut self, host: &str, target: &str) -> io::Result<Response> {
        self.exchange(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
    }

    /// Reads one whole response to a request that is not HEAD; an interim one (1xx) counts.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closes in the middle or before, `InvalidData` when what
    /// came is not a response, `TimedOut` when nothing moves for the whole patience.
    pub fn read_response(&mut self) -> io::Result<Response> {
        self.read_response_to("GET")
    }

    /// Reads one whole response to a request of this method.
    ///
    /// # Errors
    /// As [`RawClient::read_response`].
    pub fn read_response_to(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.read_head()?;
        let mut body = Vec::new();
        let framing = response.framing(method)?;
        response.trailers = self.wire.read_body(framing, |piece| body.extend(piece))?;
        response.body = body;
        Ok(response)
    }

    /// Reads responses up to the first that is not interim, and returns the interim ones too.
    ///
    /// # Errors
    /// As [`RawClient::read_response`].
    pub fn read_final_response(&mut self) -> io::Result<(Vec<Response>, Response)> {
        let mut interim = Vec::new();
        loop {
            let response = self.read_response()?;
            if response.status >= 200 || response.status == 101 {
                return Ok((interim, response));
            }
            interim.push(response);
        }
    }

    /// Reads a head and leaves the body unread.
    ///
    /// # Errors
    /// As [`RawClient::read_response`].
    pub fn read_head(&mut self) -> io::Result<Response> {
        let head = self.wire.read_until(b"\r\n\r\n", "a response head")?;
        Response::parse_head(&head)
    }

    /// Reads the body that follows `head` (to a request that is not HEAD) without keeping it and
    /// returns its length.
    ///
    /// # Errors
    /// As [`RawClient::read_response`].
    pub fn count_body(&mut self, head: &Response) -> io::Result<u64> {
        let mut length = 0;
        self.wire.read_body(head.framing("GET")?, |piece| length += piece.len() as u64)?;
        Ok(length)
    }

    /// Waits for the first byte of an answer; false when the server closed instead.
    pub(crate) fn answer_begins(&mut self) -> io::Result<bool> {
        self.wire.at_end().map(|end| !end)
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// As [`RawClient::read_response`].
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.wire.read_exact(count)
    }

    /// Reads up to and including `end`.
    ///
    /// # Errors
    /// As [`RawClient::read_response`].
    pub fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        self.wire.read_until(end, "bytes that were waited for")
    }

    /// Waits for some bytes; empty when the server closed.
    ///
    /// # Errors
    /// `TimedOut`, or what reading failed with.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        self.wire.read_some()
    }

    /// Reads everything until the server closes.
    ///
    /// # Errors
    /// `TimedOut` when it does not close; `ConnectionReset` when it does so by a reset.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.wire.read_to_end()
    }

    /// Waits for the server to close, gracefully or by a reset.
    ///
    /// # Errors
    /// `InvalidData` with the bytes when more comes instead; `TimedOut` when nothing happens.
    pub fn expect_close(&mut self) -> io::Result<()> {
        match self.wire.at_end() {
            Ok(true) => Ok(()),
            Ok(false) => {
                let bytes = self.wire.read_some()?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("instead of a close came {text:?}"),
                ))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Closes the sending direction: the server sees the end of what this client says.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.wire.half_close()
    }

    /// Closes with a reset.
    ///
    /// # Errors
    /// When the socket refuses the option.
    pub fn abort(self) -> io::Result<()> {
        self.wire.reset_on_close()
    }

    /// The socket itself, for what is not offered here.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.wire.stream())
    }
}
