//! A connection, opened for a check: all of a TCP check, the beginning of every other, and how a
//! server that could not be reached is tried again. Sends nothing.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Opens a connection. Has no timeout of its own; when dropped meanwhile, the attempt ends.
pub(super) async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    // Where nobody listens on a port of the range that the system takes for outgoing connections,
    // it may take that very port and connect the socket with itself. Over days of checks that
    // does happen.
    if stream.local_addr()? == target {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // What is asked is written at once and waited for.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
