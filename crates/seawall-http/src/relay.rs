//! Bytes both ways between a client and a server, whatever they mean: read from one side only when
//! the other has taken what was read before, so that neither can fill the memory. For upgraded
//! connections (`tunnel.rs`) and for those that are TCP from the start (`tcp.rs`). Knows no time:
//! how long both may be silent is for its callers to say.

use std::io::IoSlice;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use crate::buffer::{Buffer, Buffers, LARGE, SMALL};
use crate::socket;
use crate::turn::Turn;

/// Both directions.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// Client to server.
    pub(crate) up: Way,
    /// Server to client.
    pub(crate) down: Way,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Read and not yet written.
    buffer: Buffer,
    /// Bytes at the start of the buffer that the sender has not sent, and that are not counted.
    own: usize,
    /// Bytes of the sender that the receiver's socket has taken.
    moved: u64,
    state: State,
    /// The last read filled all the room there was, and the write that followed was taken whole.
    flows: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The sender has closed; the receiver is told after the last byte.
    Ending,
    /// The receiver has been told.
    Ended,
    /// The sender's other direction has failed: its end is no end now, but part of the failure.
    Suspect,
    /// The receiver takes no more.
    Broken,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both have closed, and were told so of each other.
    Closed,
    /// The connection to this side has failed. Unless `complete`, the other must learn from a reset
    /// that it has not been sent all there was.
    Failed {
        /// The side that failed.
        side: Side,
        /// What it had to send was sent before.
        complete: bool,
    },
}

/// Whose connection has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Sender,
    Receiver,
}

impl Relay {
    /// Moves what can be moved now.
    ///
    /// When a side takes no more, what it has sent before is still brought to the other: a server
    /// may well answer and leave while it is still being told things.
    pub(crate) fn poll(
        &mut self,
        client: &TcpStream,
        server: &TcpStream,
        buffers: &Buffers,
        turn: &Turn,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        let up = self.up.poll(client, server, buffers, turn, cx);
        if up == Poll::Ready(Err(Broken::Receiver)) {
            self.down.suspect();
        }
        let down = self.down.poll(server, client, buffers, turn, cx);
        if down == Poll::Ready(Err(Broken::Receiver)) {
            self.up.suspect();
        }
        let failed = |side, complete| Poll::Ready(End::Failed { side, complete });
        match (up, down) {
            (Poll::Ready(Err(Broken::Sender)), _) => failed(Side::Client, false),
            (_, Poll::Ready(Err(Broken::Sender))) => failed(Side::Server, false),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            (Poll::Ready(Err(Broken::Receiver)), Poll::Ready(_)) => failed(Side::Server, true),
            (Poll::Ready(Ok(())), Poll::Ready(Err(Broken::Receiver))) => failed(Side::Client, true),
            _ => Poll::Pending,
        }
    }

    /// Bytes moved up and down so far.
    #[inline]
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.up.moved, self.down.moved)
    }

    /// Gives the memory back; what was not moved is lost.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        self.up.buffer.release(buffers);
        self.down.buffer.release(buffers);
    }
}

impl Way {
    /// A direction that begins with bytes of our own, and then what was read of the sender already.
    pub(crate) fn beginning_with(own: &[u8], mut read: Buffer, buffers: &Buffers) -> Way {
        if own.is_empty() {
            return Way { buffer: read, ..Way::default() };
        }
        let mut buffer = Buffer::default();
        buffer.extend(own, buffers);
        buffer.extend(read.bytes(), buffers);
        read.release(buffers);
        Way { buffer, own: own.len(), ..Way::default() }
    }

    /// Reads ahead of a receiver that is not there yet, up to one small buffer. Ready when the
    /// sender has failed.
    pub(crate) fn poll_ahead(
        &mut self,
        from: &TcpStream,
        buffers: &Buffers,
        turn: &Turn,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while self.state == State::Open && self.buffer.len() < SMALL {
            if ready!(self.poll_read(from, SMALL, buffers, turn, cx)).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// The other direction has failed at its receiver, this one's sender. What has ended before has
    /// ended well.
    fn suspect(&mut self) {
        if self.state == State::Open {
            self.state = State::Suspect;
        }
    }

    fn poll(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        buffers: &Buffers,
        turn: &Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Broken => return Poll::Ready(Err(Broken::Receiver)),
                State::Open | State::Ending | State::Suspect => {}
            }
            if let Err(broken) = ready!(self.poll_write(to, cx)) {
                self.state = State::Broken;
                self.buffer.release(buffers);
                return Poll::Ready(Err(broken));
            }
            if self.state == State::Ending {
                let told = socket::shut_down(to);
                self.state = if told.is_ok() { State::Ended } else { State::Broken };
                self.buffer.release(buffers);
                continue;
            }
            let size = if self.flows { LARGE } else { SMALL };
            ready!(self.poll_read(from, size, buffers, turn, cx))?;
        }
    }

    /// Writes all that is in the buffer.
    fn poll_write(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while !self.buffer.is_empty() {
            let length = self.buffer.len();
            let written = socket::poll_write(to, &[IoSlice::new(self.buffer.bytes())], cx);
            let Poll::Ready(written) = written else {
                self.flows = false;
                return Poll::Pending;
            };
            let Ok(written) = written else { return Poll::Ready(Err(Broken::Receiver)) };
            self.buffer.consume(written);
            self.flows &= written == length;
            let own = written.min(self.own);
            self.own -= own;
            self.moved += (written - own) as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once. Many connections are silent, so they hold no buffer until there is something to
    /// read; those whose bytes flow get a large one, as long as their receiver keeps up.
    fn poll_read(
        &mut self,
        from: &TcpStream,
        size: usize,
        buffers: &Buffers,
        turn: &Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        if self.buffer.is_empty() {
            let Poll::Ready(readable) = from.poll_read_ready(cx) else {
                self.flows = false;
                self.buffer.release(buffers);
                return Poll::Pending;
            };
            if readable.is_err() {
                return Poll::Ready(Err(Broken::Sender));
            }
            if self.buffer.capacity() > size {
                self.buffer.release(buffers);
            }
        }
        self.buffer.make_room(buffers, size);
        let room = self.buffer.capacity() - self.buffer.len();
        match self.buffer.poll_fill(from, turn, cx) {
            Poll::Pending => {
                if self.buffer.is_empty() {
                    self.buffer.release(buffers);
                }
                return Poll::Pending;
            }
            Poll::Ready(Ok(0)) if self.state == State::Open => self.state = State::Ending,
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Broken::Sender)),
            Poll::Ready(Ok(read)) => self.flows = read == room,
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{self, Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream as Far};

    use super::*;

    /// Both ends of a connection: ours, and that of whoever is at the other end.
    fn connection() -> io::Result<(TcpStream, Far)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let far = Far::connect(listener.local_addr()?)?;
        let (ours, _) = listener.accept()?;
        ours.set_nonblocking(true)?;
        Ok((TcpStream::from_std(ours)?, far))
    }

    /// A relay between two such.
    struct Between {
        ours: [TcpStream; 2],
        relay: Relay,
        buffers: Buffers,
    }

    fn between() -> io::Result<(Between, Far, Far)> {
        let ((to_client, client), (to_server, server)) = (connection()?, connection()?);
        let ours = [to_client, to_server];
        let between = Between { ours, relay: Relay::default(), buffers: Buffers::default() };
        Ok((between, client, server))
    }

    impl Between {
        async fn end(&mut self) -> End {
            let Between { ours: [client, server], relay, buffers } = self;
            poll_fn(|cx| relay.poll(client, server, buffers, &Turn::default(), cx)).await
        }

        /// Until this much has moved, if it does not end before.
        async fn moved(&mut self, expect: (u64, u64)) {
            let Between { ours: [client, server], relay, buffers } = self;
            poll_fn(|cx| match relay.poll(client, server, buffers, &Turn::default(), cx) {
                Poll::Pending if relay.moved() != expect => Poll::Pending,
                _ => Poll::Ready(()),
            })
            .await;
            assert_eq!(relay.moved(), expect);
        }
    }

    fn reset(far: Far) -> io::Result<()> {
        socket2::SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO))
    }

    #[tokio::test]
    async fn a_silent_relay_holds_no_buffer() -> io::Result<()> {
        let (mut between, mut client, mut server) = between()?;
        // As much as fills a buffer to the last byte, too.
        for length in [1, SMALL, SMALL + 1, 3 * SMALL] {
            let before = between.relay.moved();
            client.write_all(&vec![b'x'; length])?;
            server.write_all(&vec![b'x'; length])?;
            let more = length as u64;
            between.moved((before.0 + more, before.1 + more)).await;
            let way = &between.relay;
            assert_eq!((way.up.buffer.capacity(), way.down.buffer.capacity()), (0, 0), "{length}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_is_our_own_is_sent_first_and_not_counted() -> io::Result<()> {
        let (mut between, mut client, mut server) = between()?;
        let mut read = Buffer::default();
        read.extend(b"early ", &between.buffers);
        between.relay.up = Way::beginning_with(b"own ", read, &between.buffers);
        client.write_all(b"late")?;
        client.shutdown(Shutdown::Write)?;
        server.shutdown(Shutdown::Write)?;
        assert_eq!(between.end().await, End::Closed);
        assert_eq!(between.relay.moved(), (10, 0));
        let mut all = String::new();
        server.read_to_string(&mut all)?;
        assert_eq!(all, "own early late");
        Ok(())
    }

    #[tokio::test]
    async fn who_fails_after_all_was_said_has_said_it() -> io::Result<()> {
        let (mut between, mut client, mut server) = between()?;
        server.write_all(b"all there is")?;
        server.shutdown(Shutdown::Write)?;
        between.moved((0, 12)).await;
        reset(server)?;
        // There is no other way to notice than to send.
        client.write_all(b"x")?;
        assert_eq!(between.end().await, End::Failed { side: Side::Server, complete: true });
        let mut all = Vec::new();
        client.read_to_end(&mut all)?;
        assert_eq!(all, b"all there is");
        Ok(())
    }

    #[tokio::test]
    async fn who_fails_before_has_not() -> io::Result<()> {
        let (mut between, mut client, server) = between()?;
        client.write_all(b"x")?;
        between.moved((1, 0)).await;
        reset(server)?;
        assert_eq!(between.end().await, End::Failed { side: Side::Server, complete: false });

        let (mut between, client, mut server) = self::between()?;
        server.write_all(b"x")?;
        between.moved((0, 1)).await;
        reset(client)?;
        assert_eq!(between.end().await, End::Failed { side: Side::Client, complete: false });
        Ok(())
    }

    #[tokio::test]
    async fn what_was_said_before_a_failure_is_brought_over() -> io::Result<()> {
        let (mut between, mut client, mut server) = between()?;
        // The server is told more than it reads, answers, and leaves: its socket is reset.
        client.write_all(&[b'x'; 100])?;
        between.moved((100, 0)).await;
        server.write_all(b"enough")?;
        drop(server);
        client.write_all(&[b'x'; 100]).ok();
        let end = between.end().await;
        assert_eq!(end, End::Failed { side: Side::Server, complete: false });
        let mut all = vec![0; 6];
        client.read_exact(&mut all)?;
        assert_eq!(all, b"enough");
        Ok(())
    }
}
