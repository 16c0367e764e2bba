//! Reading and writing sockets without waiting, with as few system calls as there can be.
//!
//! A read or write that moved less than it could have has emptied or filled the socket, and the
//! runtime is told so: the next attempt then waits for an event instead of asking the kernel in
//! vain. The calls go to the kernel directly, since those of the C library are cancellation points
//! and pay for it with two atomic operations each.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Reads once into `room`, which is not empty. 0 means that the peer has closed its side.
#[inline]
pub(crate) fn poll_read(
    stream: &TcpStream,
    room: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let all = room.len();
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let read = || match rustix::net::recv(stream, &mut *room, RecvFlags::empty()) {
            Ok((_, read)) => Ok((read, read > 0 && read < all)),
            Err(error) => Err(error),
        };
        if let Some(result) = attempt(stream, Interest::READABLE, read) {
            return Poll::Ready(result);
        }
    }
}

/// Writes once from `parts`, which are not all empty. Does not count against the turn of the task;
/// what is written was read before, and reading does.
#[inline]
pub(crate) fn poll_write(
    stream: &TcpStream,
    parts: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let write = || {
        let (written, all) = match parts {
            [one] => (rustix::net::send(stream, one, SendFlags::NOSIGNAL)?, one.len()),
            parts => {
                let all = parts.iter().map(|part| part.len()).sum();
                let ancillary = &mut Default::default();
                (rustix::net::sendmsg(stream, parts, ancillary, SendFlags::NOSIGNAL)?, all)
            }
        };
        Ok((written, written < all))
    };
    loop {
        // Nearly always there is room, so the task is not registered before there is none.
        if let Some(result) = attempt(stream, Interest::WRITABLE, write) {
            return Poll::Ready(result);
        }
        ready!(stream.poll_write_ready(cx))?;
    }
}

/// Ends the sending side.
pub(crate) fn shut_down(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::shutdown(stream, rustix::net::Shutdown::Write)?)
}

/// Runs a system call that says how much it moved and whether the socket has no more. `None` when
/// there is nothing to be had before the next event.
#[inline]
fn attempt(
    stream: &TcpStream,
    interest: Interest,
    mut call: impl FnMut() -> Result<(usize, bool), Errno>,
) -> Option<io::Result<usize>> {
    let mut moved = None;
    let result = stream.try_io(interest, || {
        loop {
            match call() {
                Ok((n, exhausted)) => {
                    moved = Some(n);
                    // The runtime takes this for what the socket would say next.
                    return if exhausted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) };
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    });
    match (moved, result) {
        (Some(n), _) => Some(Ok(n)),
        (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
        (None, result) => Some(result.map(|()| 0)),
    }
}
