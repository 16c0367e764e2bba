//! Tunnels: a connection that has switched to another protocol (WebSocket) is carried both ways,
//! byte for byte, until both sides have closed or neither has sent anything for a while.

use std::future::poll_fn;
use std::io::IoSlice;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use seawall_telemetry::metrics::Listener as ListenerCells;
use tokio::time::Instant;

use crate::buffer::SMALL;
use crate::client::Client;
use crate::socket;
use crate::timer::Timer;
use crate::upstream::pool::Lease;

/// A server's side of a tunnel that is about to begin.
#[derive(Debug)]
pub(crate) struct Tunnel {
    lease: Lease,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// The sender has closed.
    ended: bool,
    /// The receiver has been told.
    shut: bool,
    moved: u64,
}

impl Tunnel {
    pub(crate) fn new(lease: Lease) -> Tunnel {
        Tunnel { lease }
    }

    /// Carries bytes until the end. Gives the bytes from and to the client.
    ///
    /// When dropped, both connections are closed.
    pub(crate) async fn run(
        mut self,
        client: &Client,
        timer: &mut Timer,
        idle: Duration,
        cells: &ListenerCells,
    ) -> (u64, u64) {
        let (mut up, mut down) = (Way::default(), Way::default());
        let mut last_moved = Instant::now();
        timer.set(last_moved + idle);
        cells.tunnels_opened.add(1);
        poll_fn(|cx| {
            let before = (up.moved, down.moved);
            let upward = self.poll_up(client, &mut up, cx);
            let downward = self.poll_down(client, &mut down, cx);
            cells.tunnel_received.add(up.moved - before.0);
            cells.tunnel_sent.add(down.moved - before.1);
            match (upward, downward) {
                // An error of either side is the end of both.
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(()),
                _ => {}
            }
            if (up.moved, down.moved) != before {
                last_moved = Instant::now();
                timer.set(last_moved + idle);
            }
            timer.poll(cx)
        })
        .await;
        cells.tunnels_closed.add(1);
        (up.moved, down.moved)
    }

    /// Client to server.
    fn poll_up(
        &mut self,
        client: &Client,
        way: &mut Way,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let stream = &self.lease.connection.stream;
        loop {
            while !client.input.borrow().is_empty() {
                let n = ready!(socket::poll_write(
                    stream,
                    &[IoSlice::new(client.input.borrow().bytes())],
                    cx
                ))?;
                client.consume(n);
                way.moved += n as u64;
            }
            if way.ended {
                if !way.shut {
                    socket::shut_down(stream)?;
                    way.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            // Idle tunnels are many, so they hold no buffers.
            client.release_buffer();
            ready!(client.poll_readable(cx))?;
            way.ended = ready!(client.poll_fill(SMALL, cx))? == 0;
        }
    }

    /// Server to client.
    fn poll_down(
        &mut self,
        client: &Client,
        way: &mut Way,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Lease { input, connection, worker, .. } = &mut self.lease;
        loop {
            while !input.is_empty() {
                let n = ready!(client.poll_write(&[IoSlice::new(input.bytes())], cx))?;
                input.consume(n);
                way.moved += n as u64;
            }
            if way.ended {
                if !way.shut {
                    client.shut_down()?;
                    way.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            input.release(&worker.buffers);
            ready!(connection.stream.poll_read_ready(cx))?;
            input.make_room(&worker.buffers, SMALL);
            way.ended = ready!(input.poll_fill(&connection.stream, &worker.turn, cx))? == 0;
        }
    }
}
