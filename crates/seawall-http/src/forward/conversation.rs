//! One attempt at an exchange with a server: the request going out, the head of the answer, its
//! body as it comes.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use seawall_config::plan::Upstream;
use seawall_h1::headers::Field;
use seawall_h1::{
    BadMessage, BodyDecoder, BodyLength, HeadLimits, HeadProgress, Headers, Method, Piece,
    RequestHead, ResponseHead, Version, encode, parse,
};

use super::pump::{Pump, PumpError};
use crate::buffer::{LARGE, SMALL};
use crate::client::{BodyError, Client};
use crate::message::Request;
use crate::policy::headers::is_named_by_connection;
use crate::refuse::Refusal;
use crate::tunnel::Tunnel;
use crate::upstream::pool::{Lease, PooledServer};

/// Interim answers that one request may get; more are an attack or a bug.
const MAX_INTERIM: usize = 32;

/// A request on a connection to a server, and what comes back. When dropped before the end, the
/// connection is closed, which cancels the work there.
#[derive(Debug)]
pub(crate) struct Conversation {
    lease: Lease,
    pub(crate) pump: Pump,
    /// The server took no more of the request, or the client gives no more of it.
    pump_stopped: bool,
    /// At least one byte came back.
    pub(crate) heard: bool,
    decoder: BodyDecoder,
    /// The connection may be used again.
    keep: bool,
    /// Content at the start of the lease's input.
    content: usize,
    /// Framing behind it.
    framing: usize,
    /// How much to read at once.
    window: usize,
    /// The last read filled the buffer.
    more: bool,
    /// The answer so far speaks for the server.
    pub(crate) sound: bool,
    /// How long the server may be silent.
    pub(crate) idle_timeout: Duration,
}

/// A part of the content, at the start of [`Conversation::content`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) len: usize,
    /// The body ends behind it.
    pub(crate) last: bool,
}

/// Why an answer cannot be had to its end.
#[derive(Debug)]
pub(crate) enum AnswerError {
    /// The client has left, as its request showed.
    ClientGone,
    /// The server closed or failed.
    Closed,
    /// The server sent something that is no body.
    Bad(BadMessage),
    /// The server was silent for too long.
    Silent,
}

impl Conversation {
    pub(crate) fn new(lease: Lease, pump: Pump, config: &Upstream) -> Conversation {
        Conversation {
            lease,
            pump,
            pump_stopped: false,
            heard: false,
            decoder: BodyDecoder::default(),
            keep: false,
            content: 0,
            framing: 0,
            window: SMALL,
            more: false,
            sound: false,
            idle_timeout: config.idle_timeout,
        }
    }

    /// Reads heads until one is final; the others go to the client.
    pub(crate) async fn answer(
        &mut self,
        request: &Request<'_>,
        config: &Upstream,
        head: &mut ResponseHead,
    ) -> Result<(), Refusal> {
        let limits = HeadLimits { bytes: config.limits.head, headers: config.limits.headers };
        for _ in 0..MAX_INTERIM {
            let mut progress = HeadProgress::default();
            poll_fn(|cx| self.poll_head(request, limits, &mut progress, head, cx)).await?;
            if head.status == 101 && (request.head.upgrade().is_none() || !self.pump.is_done()) {
                return Err(Refusal::BadUpgrade);
            }
            if !head.is_interim() {
                self.decoder = BodyDecoder::new(head.body, limits);
                self.keep = head.keeps_alive() && !may_be_left_unread(request.head);
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
        self.poll_request(request.client, cx).map_err(BodyError::refusal)?;
        loop {
            let input = &mut self.lease.input;
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
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) if self.heard => {
                    return Poll::Ready(Err(Refusal::BadAnswer(BadMessage::Truncated)));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(Refusal::UpstreamClosed)),
                Ok(_) => self.heard = true,
            }
        }
    }

    /// Sends what can be sent of the request now. An error is the client's.
    fn poll_request(&mut self, client: &Client, cx: &mut Context<'_>) -> Result<(), BodyError> {
        if self.pump_stopped || self.pump.is_done() {
            return Ok(());
        }
        match self.pump.poll(client, &self.lease.connection.stream, cx) {
            Poll::Pending | Poll::Ready(Ok(())) => return Ok(()),
            // A server may answer early and close, so an answer is looked for all the same.
            Poll::Ready(Err(PumpError::Server)) => {
                self.pump_stopped = true;
                client.awaits_body.set(false);
            }
            Poll::Ready(Err(PumpError::Client(error))) => {
                self.pump_stopped = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the server still takes what is left of the request.
    pub(crate) fn takes_more(&self) -> bool {
        !self.pump_stopped && !self.pump.is_done()
    }

    /// Whether there is nothing left to wait for: no content, and the request has been sent.
    pub(crate) fn is_done(&self) -> bool {
        self.decoder.is_done() && !self.takes_more()
    }

    /// Goes on sending the request while the answer comes.
    pub(crate) fn poll_pump(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Result<(), AnswerError> {
        match self.poll_request(client, cx) {
            Err(BodyError::Gone) => Err(AnswerError::ClientGone),
            // The answer has begun, so it goes on; neither connection is of use after it.
            Err(BodyError::Bad(_) | BodyError::TooLarge) | Ok(()) => Ok(()),
        }
    }

    /// The next content; `None` at the end. Take it with [`Conversation::consume`].
    pub(crate) fn poll_chunk(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, AnswerError>> {
        self.poll_pump(client, cx)?;
        debug_assert_eq!(self.content + self.framing, 0);
        loop {
            self.top_up(cx);
            if let Err(bad) = self.gather() {
                self.broke_off();
                return Poll::Ready(Err(AnswerError::Bad(bad)));
            }
            let last = self.decoder.is_done();
            if self.content > 0 {
                return Poll::Ready(Ok(Some(Chunk { len: self.content, last })));
            }
            self.consume();
            if last {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.decoder.ends_at_close() => {
                    self.decoder = BodyDecoder::default();
                    return Poll::Ready(Ok(None));
                }
                Ok(0) | Err(_) => {
                    self.broke_off();
                    return Poll::Ready(Err(AnswerError::Closed));
                }
                Ok(_) => {}
            }
        }
    }

    /// To be called when the server does not finish what it began: counts against it.
    pub(crate) fn broke_off(&mut self) {
        if std::mem::take(&mut self.sound) {
            self.lease.server.state.failed(true, self.lease.worker.index);
        }
    }

    /// Reads once. What fills the buffer has more behind it, so the next reads are larger.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Lease { input, connection, worker, .. } = &mut self.lease;
        let buffers = &worker.buffers;
        if input.is_empty() && input.capacity() < self.window {
            input.release(buffers);
        }
        input.make_room(buffers, self.window);
        let room = input.capacity() - input.len();
        self.more = false;
        let read = ready!(input.poll_fill(&connection.stream, &worker.turn, cx))?;
        if read == room {
            self.more = true;
            self.window = LARGE;
        }
        Poll::Ready(Ok(read))
    }

    /// Reads what is already there behind a full buffer, so that it leaves in one write. An end or
    /// an error shows again when it is waited for.
    fn top_up(&mut self, cx: &mut Context<'_>) {
        while self.more && self.lease.input.len() < self.window {
            let _ = self.poll_fill(cx);
        }
    }

    /// Moves all content that has been read together to the start of the input, so that small
    /// chunks leave as a large one.
    fn gather(&mut self) -> Result<(), BadMessage> {
        let input = &mut self.lease.input;
        let mut at = 0;
        loop {
            match self.decoder.decode(&input.bytes()[at..])? {
                Piece::Data { skip, len } => {
                    if self.content == 0 {
                        input.consume(at + skip);
                        at = 0;
                    } else {
                        input.shift(at + skip, len, self.content);
                        at += skip;
                    }
                    self.content += len;
                    at += len;
                    // Framings without chunks give all there is at once.
                    if at == input.len() {
                        break;
                    }
                }
                Piece::More { skip } | Piece::End { skip } => {
                    at += skip;
                    break;
                }
            }
        }
        self.framing = at - self.content;
        Ok(())
    }

    /// The content last given.
    #[inline]
    pub(crate) fn content(&self) -> &[u8] {
        &self.lease.input.bytes()[..self.content]
    }

    /// Drops the content last given.
    #[inline]
    pub(crate) fn consume(&mut self) {
        self.lease.input.consume(self.content + self.framing);
        (self.content, self.framing) = (0, 0);
    }

    /// The trailers, once the body has ended.
    pub(crate) fn trailers(&self) -> Option<&Headers> {
        self.decoder.trailers()
    }

    /// Ends the exchange; keeps the connection for the next one where that is possible.
    pub(crate) fn finish(self) {
        let Conversation { lease, pump, pump_stopped, decoder, keep, sound, .. } = self;
        if sound {
            lease.server.state.succeeded();
        }
        // A server that still waits for the rest of a body would take the next request for it. The
        // pump alone does not say so: it may have been taken away.
        let sent = pump.is_done() && !pump_stopped;
        let keep = keep && sent && decoder.is_done() && lease.input.is_empty();
        lease.worker.give_back_text(pump.into_text());
        if keep {
            lease.give_back();
        }
    }

    /// Ends the exchange because the answer is of no use. What has come of it is read past, so that
    /// a short one does not cost the connection.
    pub(crate) fn discard(mut self) {
        self.sound = false;
        if !self.takes_more() && self.gather().is_ok() {
            self.consume();
        }
        self.finish();
    }

    /// Who it is held with.
    pub(crate) fn server(&self) -> &Rc<PooledServer> {
        &self.lease.server
    }

    /// The request, as far as it went; nothing more of it is sent here.
    pub(crate) fn take_pump(&mut self) -> Pump {
        self.pump_stopped |= !self.pump.is_done();
        std::mem::replace(&mut self.pump, Pump::new(BodyLength::Empty, Vec::new()))
    }

    /// The connection after a switch of protocols.
    pub(crate) fn into_tunnel(self) -> Tunnel {
        self.lease.server.state.succeeded();
        Tunnel::new(self.lease)
    }
}

/// Whether some servers do not read the body of such a request, and so would take it for the next
/// request on the connection ("CL.0" smuggling).
fn may_be_left_unread(head: &RequestHead) -> bool {
    let empty = matches!(head.body, BodyLength::Empty | BodyLength::Length(0));
    !empty && matches!(head.method, Method::Get | Method::Head | Method::Options)
}

/// Passes an interim answer (100, 103) on at once; not if another attempt is in the middle of one,
/// or was. When dropped in the middle, nothing else can be said to the client.
async fn forward_interim(client: &Client, head: &ResponseHead) -> Result<(), Refusal> {
    if client.in_interim.get() {
        return Ok(());
    }
    let mut out = Vec::with_capacity(256);
    encode::status_line(head.status, head.reason(), &mut out);
    let stays = |field: &Field<'_>| {
        field.known.is_hop_by_hop()
            || head.connection.names_fields && is_named_by_connection(field.name, &head.headers)
    };
    head.headers.write(|field| !stays(field), &mut out);
    out.extend_from_slice(b"\r\n");
    client.in_interim.set(true);
    client.write_all(&out).await.map_err(|_| Refusal::ClientGone)?;
    client.in_interim.set(false);
    Ok(())
}
