//! Reading and writing sockets without waiting, with as few system calls as there can be.
//!
//! A read or write that moved less than it could have has emptied or filled the socket, and the
//! runtime is told so: the next attempt then waits for an event instead of asking the kernel in
//! vain. The calls go to the kernel directly, since those of the C library are cancellation points
//! and pay for it with two atomic operations each. The task is registered with the runtime only
//! when a call has shown that there is something to wait for.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use seawall_cache::disk::Lent;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::turn::Turn;

/// Reads once into `room`, which is not empty, if the connection's turn is not over. 0 means that
/// the peer has closed its side.
#[inline]
pub(crate) fn poll_read(
    stream: &TcpStream,
    room: &mut [u8],
    turn: &Turn,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    ready!(turn.poll(cx));
    let all = room.len();
    loop {
        let read = || match rustix::net::recv(stream, &mut *room, RecvFlags::empty()) {
            Ok((_, read)) => Ok((read, read > 0 && read < all)),
            Err(error) => Err(error),
        };
        if let Some(result) = attempt(stream, Interest::READABLE, read) {
            turn.spend(*result.as_ref().unwrap_or(&0));
            return Poll::Ready(result);
        }
        ready!(stream.poll_read_ready(cx))?;
    }
}

/// Writes once from `parts`, which are not all empty. What is written was read before, and so has
/// been counted in a turn.
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
        if let Some(result) = attempt(stream, Interest::WRITABLE, write) {
            return Poll::Ready(result);
        }
        ready!(stream.poll_write_ready(cx))?;
    }
}

/// Writes once from `bytes`, which are not empty and which [`poll_send_lent`] follows: the kernel
/// puts both into the same segments.
pub(crate) fn poll_write_ahead(
    stream: &TcpStream,
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let write = || {
        let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
        let written = rustix::net::send(stream, bytes, flags)?;
        Ok((written, written < bytes.len()))
    };
    loop {
        if let Some(result) = attempt(stream, Interest::WRITABLE, write) {
            return Poll::Ready(result);
        }
        ready!(stream.poll_write_ready(cx))?;
    }
}

/// Sends once of what is lent, without a copy, if the connection's turn is not over. `None` if it
/// cannot be had from there any more.
pub(crate) fn poll_send_lent(
    stream: &TcpStream,
    lent: &Lent,
    turn: &Turn,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<usize>>> {
    ready!(turn.poll(cx));
    let send = || {
        let sent = lent
            .with(|log, mut at, length| rustix::fs::sendfile(stream, log, Some(&mut at), length));
        match sent {
            // A short count may have other reasons than a full socket, of which no event would tell.
            Some(Ok(sent)) if sent > 0 => Ok((sent, false)),
            Some(Err(error)) if !is_of_file(error) => Err(error),
            Some(Ok(_) | Err(_)) => {
                lent.refuse();
                Ok((0, false))
            }
            None => Ok((0, false)),
        }
    };
    loop {
        if let Some(result) = attempt(stream, Interest::WRITABLE, send) {
            turn.spend(*result.as_ref().unwrap_or(&0));
            return Poll::Ready(result.map(|sent| (sent > 0).then_some(sent)));
        }
        ready!(stream.poll_write_ready(cx))?;
    }
}

/// Whether an error of `sendfile` is about the file rather than the socket.
fn is_of_file(error: Errno) -> bool {
    use Errno as E;
    [E::INVAL, E::NOSYS, E::OPNOTSUPP, E::PERM, E::ACCESS, E::IO, E::NOMEM, E::OVERFLOW]
        .contains(&error)
}

/// Ends the sending side.
pub(crate) fn shut_down(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::shutdown(stream, rustix::net::Shutdown::Write)?)
}

/// Makes the close a reset, which says that what was sent is not all there was to send.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
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
