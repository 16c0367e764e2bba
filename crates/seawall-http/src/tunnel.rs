//! Tunnels: a connection that has switched to another protocol (WebSocket) is carried both ways,
//! byte for byte, until both sides have closed or neither has sent anything for a while.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use seawall_telemetry::metrics::Listener as ListenerCells;
use tokio::time::Instant;

use crate::client::Client;
use crate::relay::{End, Relay, Side, Way};
use crate::socket;
use crate::timer::Timer;
use crate::upstream::pool::Lease;

/// A server's side of a tunnel that is about to begin.
#[derive(Debug)]
pub(crate) struct Tunnel {
    lease: Lease,
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
        let Lease { input, connection, worker, .. } = &mut self.lease;
        // Nobody switches protocols.
        let Some(ours) = client.stream() else { return (0, 0) };
        let theirs = &connection.stream;
        let mut relay = Relay {
            up: Way::beginning_with(&[], client.input.take(), &worker.buffers),
            down: Way::beginning_with(&[], std::mem::take(input), &worker.buffers),
        };
        timer.set(Instant::now() + idle);
        cells.tunnels_opened.add(1);
        let end = poll_fn(|cx| {
            let before = relay.moved();
            let end = relay.poll(ours, theirs, &worker.buffers, &worker.turn, cx);
            let after = relay.moved();
            cells.tunnel_received.add(after.0 - before.0);
            cells.tunnel_sent.add(after.1 - before.1);
            if let Poll::Ready(end) = end {
                return Poll::Ready(Some(end));
            }
            if after != before {
                timer.set(worker.turn.now() + idle);
            }
            timer.poll(cx).map(|()| None)
        });
        match end.await {
            Some(End::Failed { side: Side::Client, complete: false }) => {
                socket::reset_on_close(theirs);
            }
            Some(End::Failed { side: Side::Server, complete: false }) => client.reset_on_close(),
            _ => {}
        }
        relay.release(&worker.buffers);
        cells.tunnels_closed.add(1);
        relay.moved()
    }
}
