//! Connections that are carried as TCP (`[listen.NAME] tcp`): a server is chosen once, and bytes
//! go both ways until both sides have closed, one fails, or neither has said anything for a while.
//! Never looks at the bytes.
//!
//! Called for each connection by `listen.rs`, after its limits and its PROXY protocol header.

mod dial;

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seawall_config::plan;
use seawall_core::proxy_protocol::{self, Addresses, Version};
use seawall_telemetry::Metrics;
use seawall_telemetry::access_log::TcpEntry;
use seawall_telemetry::metrics::TcpOutcome;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::compiled::Entrance;
use crate::listen::Arrival;
use crate::refuse::Refusal;
use crate::relay::{End, Relay, Side, Way};
use crate::socket;
use crate::tickets::{Admission, Open};
use crate::timer::Timer;
use crate::turn::TakesTurns;
use crate::upstream::pool::Dialled;
use crate::worker::{Running, Worker};

/// A connection that is carried. It keeps what it needs of the plan that it began with, and not the
/// plan: it may outlive many.
struct Session {
    stream: TcpStream,
    client: IpAddr,
    server: Option<Dialled>,
    relay: Relay,
    idle: Duration,
    started: Instant,
    /// How it ends, as far as is known: unless it is said otherwise, by being dropped.
    outcome: TcpOutcome,
    refusal: Option<Refusal>,
    metrics: Arc<Metrics>,
    entrance: Entrance,
    worker: Rc<Worker>,
    admission: Option<Admission>,
    _open: Open,
}

/// Carries one connection to a server of the upstream at this position. When dropped, both sides
/// are reset.
pub(crate) fn connection(
    worker: Rc<Worker>,
    mut arrival: Arrival,
    upstream: usize,
    admission: Admission,
) -> impl Future<Output = ()> {
    let input = std::mem::take(&mut arrival.input);
    let header = header(&arrival, arrival.running.compiled.plan.upstreams[upstream].proxy_protocol);
    let entrance = arrival.entrance().clone();
    let idle = arrival.listener().timeouts.tunnel;
    let Arrival { stream, client, running, .. } = arrival;
    let mut session = Session {
        stream,
        client: client.ip(),
        server: None,
        relay: Relay {
            up: Way::beginning_with(&header, input, &worker.buffers),
            down: Way::default(),
        },
        idle,
        started: Instant::now(),
        outcome: TcpOutcome::Cut,
        refusal: None,
        metrics: running.compiled.metrics.clone(),
        entrance,
        admission: Some(admission),
        _open: Open::enter(&worker),
        worker,
    };
    TakesTurns::new(session.worker.clone(), async move {
        // What is needed to find a server is much, and is let go before the long part.
        if Box::pin(session.dial(running, upstream)).await {
            session.carry().await;
        }
    })
}

/// What a server is sent before the bytes of the client.
fn header(arrival: &Arrival, version: Option<plan::ProxyProtocol>) -> Vec<u8> {
    let mut header = Vec::new();
    let Some(version) = version else { return header };
    let destination = arrival.destination.or_else(|| arrival.stream.local_addr().ok());
    let addresses =
        destination.map(|destination| Addresses { source: arrival.client, destination });
    proxy_protocol::encode(version_of(version), addresses, &mut header);
    header
}

/// The version that a plan names.
pub(crate) fn version_of(version: plan::ProxyProtocol) -> Version {
    match version {
        plan::ProxyProtocol::V1 => Version::V1,
        plan::ProxyProtocol::V2 => Version::V2,
    }
}

impl Session {
    /// Finds a server, and meanwhile watches whether the client stays. Says whether there is one.
    async fn dial(&mut self, running: Rc<Running>, upstream: usize) -> bool {
        let worker = self.worker.clone();
        let mut dialling = pin!(dial::dial(&worker, &running, upstream, self.client));
        let Session { relay, stream, .. } = self;
        let dialled = poll_fn(|cx| match dialling.as_mut().poll(cx) {
            Poll::Ready(dialled) => Poll::Ready(Some(dialled)),
            Poll::Pending => {
                relay.up.poll_ahead(stream, &worker.buffers, &worker.turn, cx).map(|()| None)
            }
        });
        match dialled.await {
            Some(Ok(dialled)) => {
                self.server = Some(dialled);
                return true;
            }
            Some(Err(refusal)) => {
                self.metrics.refused(worker.index, refusal.number());
                self.refusal = Some(refusal);
                self.outcome = TcpOutcome::Refused;
            }
            None => self.outcome = TcpOutcome::ClientFailed,
        }
        false
    }

    /// Carries bytes until the end.
    async fn carry(&mut self) {
        let Session { stream, server, relay, idle, entrance, worker, .. } = self;
        let Some(server) = server else { return };
        let server = &server.connection.stream;
        let cells = entrance.cells.of(worker.index);
        let mut timer = Timer::new(Instant::now() + *idle);
        let end = poll_fn(|cx| {
            let before = relay.moved();
            let end = relay.poll(stream, server, &worker.buffers, &worker.turn, cx);
            let after = relay.moved();
            cells.tcp_received.add(after.0 - before.0);
            cells.tcp_sent.add(after.1 - before.1);
            if let Poll::Ready(end) = end {
                return Poll::Ready(Some(end));
            }
            if after != before {
                timer.set(worker.turn.now() + *idle);
            }
            timer.poll(cx).map(|()| None)
        });
        self.outcome = match end.await {
            None => TcpOutcome::Idle,
            Some(End::Closed) => TcpOutcome::Closed,
            Some(End::Failed { side: Side::Client, complete }) => {
                if !complete {
                    socket::reset_on_close(server);
                }
                TcpOutcome::ClientFailed
            }
            Some(End::Failed { side: Side::Server, complete }) => {
                if !complete {
                    socket::reset_on_close(stream);
                }
                TcpOutcome::ServerFailed
            }
        };
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where bytes may be missing, the end must not look like one.
        if matches!(self.outcome, TcpOutcome::Cut | TcpOutcome::Refused | TcpOutcome::Idle) {
            socket::reset_on_close(&self.stream);
            if let Some(server) = &self.server {
                socket::reset_on_close(&server.connection.stream);
            }
        }
        self.relay.release(&self.worker.buffers);
        self.log();
        // Given back before it is counted: who sees that it is gone may take its place.
        self.server = None;
        self.admission = None;
        let cells = self.entrance.cells.of(self.worker.index);
        cells.closed.add(1);
        cells.tcp_ended[self.outcome as usize].add(1);
    }
}

impl Session {
    fn log(&self) {
        let mut lines = self.worker.lines.borrow_mut();
        let Some(lines) = lines.as_mut() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let (received, sent) = self.relay.moved();
        lines.push_tcp(&TcpEntry {
            time_millis: now.map_or(0, |since| since.as_millis() as u64),
            listener: &self.entrance.key.name,
            client: self.client,
            received,
            sent,
            server: self.server.as_ref().map_or("", |dialled| &dialled.server.state.label),
            outcome: self.outcome,
            refusal: self.refusal.map_or("", |refusal| refusal.description().code),
            duration: self.started.elapsed(),
        });
    }
}
