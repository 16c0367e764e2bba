//! Addresses with a known character: one that is kept free for a server that cannot choose its
//! own port and refuses connections until then, and one where connecting never comes to an end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A loopback port that stays ours while this value lives.
///
/// Nothing listens there, so connecting is refused. A server that sets `SO_REUSEPORT` (nginx with
/// `reuseport`, HAProxy by default), or SO_REUSEADDR alone (redis-server), can bind it; nobody else
/// is given it.
#[derive(Debug)]
pub struct ReservedPort {
    address: SocketAddr,
    _held: Socket,
}

impl ReservedPort {
    /// Takes a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the machine has no free port or forbids sockets.
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&loopback().into())?;
        Ok(Self { address: bound_address(&socket)?, _held: socket })
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// An address whose queue of unaccepted connections is full, so that connecting to it neither
/// succeeds nor fails while this value lives: what a connect timeout is for.
#[derive(Debug)]
pub struct Stalled {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Stalled {
    /// Listens with the shortest queue and fills it.
    ///
    /// # Errors
    /// When sockets cannot be made, or the queue never fills.
    pub fn new() -> io::Result<Self> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&loopback().into())?;
        listener.listen(0)?;
        let address = bound_address(&listener)?;
        let mut queued = Vec::new();
        // The kernel takes one or two more than asked. A connect that hangs this long on loopback
        // found the queue full; one that would have succeeded later only makes the queue fuller.
        while queued.len() < 64 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(250)) {
                Ok(stream) => queued.push(stream),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Ok(Self { address, _listener: listener, _queued: queued });
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the queue of a listener never filled"))
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Any free port of 127.0.0.1.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn bound_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("a TCP socket without an address"))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_reserved_port_refuses_until_a_server_takes_it() {
        let port = ReservedPort::new().expect("a free port");
        let error = TcpStream::connect(port.address()).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        let server = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        server.set_reuse_port(true).expect("an option");
        server.bind(&port.address().into()).expect("shared with the reservation");
        server.listen(16).expect("to listen");
        TcpStream::connect(port.address()).expect("somebody listens now");
    }

    #[test]
    fn a_stalled_address_lets_nobody_in() {
        let stalled = Stalled::new().expect("a full queue");
        let error = TcpStream::connect_timeout(&stalled.address(), Duration::from_millis(50))
            .expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
