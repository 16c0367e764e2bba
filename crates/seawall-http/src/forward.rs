//! Forwarding: a request to a server, its answer back, both streamed.
//!
//! Neither side is read faster than the other takes it: each direction has one buffer, and reads
//! again when it is empty. [`pump`] carries the request's body, [`answer`] the answer's.

pub(crate) mod answer;
pub(crate) mod pump;

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use seawall_config::plan::{Forward, Route, Upstream};
use seawall_h1::headers::Field;
use seawall_h1::{
    BadMessage, BodyDecoder, HeadLimits, HeadProgress, ResponseHead, Version, encode, parse,
};

use self::answer::Answer;
use self::pump::{Pump, PumpError};
use crate::buffer::SMALL;
use crate::client::Client;
use crate::message::{Body, Request, Response};
use crate::policy::headers;
use crate::refuse::{Kind, Refusal};
use crate::tunnel::Tunnel;
use crate::upstream::pool::{Attempts, Lease};

/// What is added to an answer; to one with content, where it is written.
const VIA: &[u8] = b"1.1 seawall";

/// Interim answers that one request may get; more are an attack or a bug.
const MAX_INTERIM: usize = 32;

/// Sends the request to a server and gives the head of its answer, with the body to follow.
///
/// A connection that was idle and dies before the first byte of an answer proves nothing about the
/// server, so the request is sent once more on a fresh one if that can do no harm: if it is
/// idempotent, or if nothing of it was sent. When dropped, the connection to the server is closed.
pub(crate) async fn forward(
    request: &Request<'_>,
    route: &Route,
    to: &Forward,
) -> Result<Response, Refusal> {
    let config = &request.running.compiled.plan.upstreams[to.upstream];
    let pool = &request.running.pools[to.upstream];
    let head = || {
        let mut out = Vec::with_capacity(1024);
        headers::write_request(request, route, to, &mut out);
        out
    };
    let mut attempts = Attempts::default();
    let mut pump = Pump::new(request.head.body, head());
    loop {
        let lease = pool.lease(request.worker, config, &mut attempts).await?;
        request.facts.server.replace(Some(lease.server.clone()));
        let server = lease.server.clone();
        let cells = server.state.cells.of(request.worker.index);
        cells.requests.add(1);
        let may_have_died = lease.reused;
        let idempotent = request.head.method.is_idempotent();
        if may_have_died && idempotent {
            pump.record();
        }
        let conversation =
            Conversation { lease, pump, server_stopped_reading: false, heard: false };
        match conversation.hold(request, config).await {
            Ok(response) => return Ok(response),
            Err((refusal, tried)) => {
                let died = refusal == Refusal::UpstreamClosed && !tried.heard && may_have_died;
                if died && tried.pump.may_be_sent_again(idempotent) {
                    cells.resent.add(1);
                    attempts.fresh = true;
                    pump = tried.pump.again(request.client, head());
                    continue;
                }
                if refusal.description().kind == Kind::Upstream {
                    cells.failures.add(1);
                }
                return Err(refusal);
            }
        }
    }
}

/// One attempt: the request going out, and what comes back.
struct Conversation {
    lease: Lease,
    pump: Pump,
    /// The server took no more of the request; it may have answered all the same.
    server_stopped_reading: bool,
    /// At least one byte came back.
    heard: bool,
}

impl Conversation {
    async fn hold(
        mut self,
        request: &Request<'_>,
        config: &Upstream,
    ) -> Result<Response, (Refusal, Conversation)> {
        let limits = HeadLimits { bytes: config.limits.head, headers: config.limits.headers };
        let mut head = request.worker.take_head();
        if let Err(refusal) = self.final_head(request, limits, &mut head).await {
            request.worker.give_back_head(head);
            return Err((refusal, self));
        }
        let Conversation { lease, pump, server_stopped_reading, .. } = self;
        if head.status == 101 {
            head.headers.push(b"Via", VIA);
            return Ok(Response { head, body: Body::Tunnel(Tunnel::new(lease)) });
        }
        let keep = head.keeps_alive() && !server_stopped_reading;
        let pump = (!pump.is_done() && !server_stopped_reading).then_some(pump);
        let decoder = BodyDecoder::new(head.body, limits);
        let body = if decoder.is_done() && pump.is_none() {
            // There is no content, so the connection is free before the answer goes out.
            if keep && lease.input.is_empty() {
                lease.give_back();
            }
            head.headers.push(b"Via", VIA);
            Body::Empty
        } else {
            Body::Answer(Answer::new(lease, decoder, pump, keep, config.idle_timeout))
        };
        Ok(Response { head, body })
    }

    /// Reads heads until one is final; the others go to the client.
    async fn final_head(
        &mut self,
        request: &Request<'_>,
        limits: HeadLimits,
        head: &mut ResponseHead,
    ) -> Result<(), Refusal> {
        for _ in 0..MAX_INTERIM {
            let mut progress = HeadProgress::default();
            poll_fn(|cx| self.poll_head(request, limits, &mut progress, head, cx)).await?;
            if head.status == 101 && (request.head.upgrade().is_none() || !self.pump.is_done()) {
                return Err(Refusal::BadUpgrade);
            }
            if !head.is_interim() {
                return Ok(());
            }
            if request.head.version == Version::Http11 {
                forward_interim(request.client, head).await?;
            }
        }
        Err(Refusal::BadAnswer(BadMessage::StatusLine))
    }

    fn poll_head(
        &mut self,
        request: &Request<'_>,
        limits: HeadLimits,
        progress: &mut HeadProgress,
        head: &mut ResponseHead,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        self.send(request.client, cx)?;
        let Lease { input, connection, .. } = &mut self.lease;
        loop {
            if !input.is_empty() {
                match parse::response(input.bytes(), request.head.method, limits, progress, head) {
                    Ok(Some(length)) => {
                        input.consume(length);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Err(Refusal::BadAnswer(bad))),
                }
            }
            input.make_room(&request.worker.buffers, SMALL);
            match ready!(input.poll_fill(&mut connection.stream, cx)) {
                Ok(0) | Err(_) if self.heard => {
                    return Poll::Ready(Err(Refusal::BadAnswer(BadMessage::Truncated)));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(Refusal::UpstreamClosed)),
                Ok(_) => self.heard = true,
            }
        }
    }

    /// Sends what can be sent of the request now.
    fn send(&mut self, client: &Client, cx: &mut Context<'_>) -> Result<(), Refusal> {
        if self.server_stopped_reading || self.pump.is_done() {
            return Ok(());
        }
        match self.pump.poll(client, &mut self.lease.connection.stream, cx) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            // A server may answer early and close; so look for an answer before giving up.
            Poll::Ready(Err(PumpError::Server)) => {
                self.server_stopped_reading = true;
                client.awaits_body.set(false);
                Ok(())
            }
            Poll::Ready(Err(PumpError::Client(error))) => Err(error.refusal()),
        }
    }
}

/// Passes an interim answer (100, 103) on at once.
async fn forward_interim(client: &Client, head: &ResponseHead) -> Result<(), Refusal> {
    let mut out = Vec::with_capacity(256);
    encode::status_line(head.status, head.reason(), &mut out);
    let stays = |field: &Field<'_>| {
        field.known.is_hop_by_hop()
            || head.connection.names_fields
                && headers::is_named_by_connection(field.name, &head.headers)
    };
    encode::fields(&head.headers, |field| !stays(field), &mut out);
    out.extend_from_slice(b"\r\n");
    client.write_all(&out).await.map_err(|_| Refusal::ClientGone)
}
