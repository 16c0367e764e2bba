//! A connection, opened for a check: all of a TCP check, the beginning of every other, and how a
//! server that could not be reached is tried again. Sends nothing.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use tokio::net::TcpStream;

/// Opens a connection. Has no timeout of its own; when dropped meanwhile, the attempt ends.
pub(crate) async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
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

/// Whether it was this machine that had nothing to open a connection with, which says nothing of
/// the server.
pub(super) fn is_ours(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_blame() {
        for (errno, ours) in [
            (Errno::MFILE, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::CONNREFUSED, false),
            (Errno::TIMEDOUT, false),
            (Errno::HOSTUNREACH, false),
        ] {
            assert_eq!(is_ours(&errno.into()), ours, "{errno}");
        }
        assert!(!is_ours(&io::ErrorKind::ConnectionRefused.into()));
    }
}
