//! A client connection: requests in, answers out, in order, until one side has had enough.
//!
//! A connection that has been quiet for a moment shrinks to a few hundred bytes: [`connection`]
//! holds little, and what an exchange needs lives in [`busy`], which ends when there is a lull.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use seawall_config::plan::{Listener, Route};
use seawall_h1::{
    BadMessage, BodyDecoder, BodyLength, HeadLimits, HeadProgress, RequestHead, parse,
};
use tokio::time::Instant;

use crate::buffer::SMALL;
use crate::client::Client;
use crate::compiled::Entrance;
use crate::exchange::exchange;
use crate::forward::conversation::AnswerError;
use crate::forward::fallback;
use crate::listen::Arrival;
use crate::message::{Body, Facts, Peer, Request, Response};
use crate::pace::Pace;
use crate::record::{Outcome, record, record_unread};
use crate::refuse::Refusal;
use crate::send::{SendError, Sending, Turn};
use crate::tickets::{Admission, Open};
use crate::timer::Timer;
use crate::turn::TakesTurns;
use crate::worker::{Running, Worker};

/// A connection quiet for this long gives its memory back.
const LULL: Duration = Duration::from_secs(1);

/// With more connections than this on a worker, each gives its memory back after every exchange:
/// most of so many are idle, and what they held together would not come back from the allocator.
const MANY: usize = 2048;

/// The most of an unread request body that is read past to keep a connection.
const MOST_TO_SKIP: u64 = 64 * 1024;

/// How long the end of a connection waits for the client to take the last answer.
const LINGER: Duration = Duration::from_secs(5);

/// What stays of a connection between exchanges.
struct Connection {
    client: Rc<Client>,
    worker: Rc<Worker>,
    entrance: Entrance,
    /// The plan it was last served by, and its listener there.
    running: Rc<Running>,
    listener: usize,
    /// The listener is gone from the plan in place.
    leaving: bool,
    peer: Peer,
    timer: Timer,
    /// Since when it has been quiet.
    quiet_since: Instant,
    /// It has had a request.
    used: bool,
    idle_slot: Option<usize>,
    _admission: Admission,
    _open: Open,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.unregister_idle(&mut self.idle_slot);
        self.entrance.cells.of(self.worker.index).closed.add(1);
    }
}

/// What to do after an exchange or a lull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Wait for the next request.
    Wait,
    /// Close the connection.
    Close,
}

/// Serves one client until the connection ends. When dropped, it is closed at once.
///
/// Another plan than the one it was let in by may be in place before the connection is looked at for
/// the first time.
pub(crate) fn connection(
    worker: Rc<Worker>,
    arrival: Arrival,
    admission: Admission,
) -> impl Future<Output = ()> {
    let now = Instant::now();
    let entrance = arrival.entrance().clone();
    let Arrival { stream, client, input, running, at, .. } = arrival;
    let mut connection = Connection {
        client: Rc::new(Client::new(stream, input, worker.clone())),
        entrance,
        running,
        listener: at,
        leaving: false,
        peer: Peer::new(client.ip()),
        timer: Timer::new(now + Duration::from_secs(3600)),
        quiet_since: now,
        used: false,
        idle_slot: None,
        _admission: admission,
        _open: Open::enter(&worker),
        worker,
    };
    TakesTurns::new(connection.worker.clone(), async move {
        // Bytes may have come with the header that told whose connection it is.
        let mut arrived = !connection.client.input.borrow().is_empty();
        while (std::mem::take(&mut arrived) || connection.wait(None).await == Arrived::Bytes)
            && Box::pin(connection.busy()).await == Next::Wait
        {}
    })
}

/// What the wait for a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrived {
    Bytes,
    /// Nothing came for a moment.
    Lull,
    /// The connection is to be closed: the client did so, or has been idle for too long, or the
    /// process or the listener ends.
    End,
}

impl Connection {
    /// Takes over the plan in place.
    fn refresh(&mut self) {
        if self.worker.is_running(&self.running) {
            return;
        }
        let current = self.worker.running();
        match current.compiled.position(&self.entrance.key) {
            Some(listener) => (self.running, self.listener) = (current, listener),
            None => self.leaving = true,
        }
    }

    /// Waits for the first bytes of a request, and holds no buffer until they are there.
    async fn wait(&mut self, lull: Option<Duration>) -> Arrived {
        loop {
            self.refresh();
            let idle = self.running.compiled.plan.listeners[self.listener].timeouts.idle;
            let until = self.quiet_since + lull.map_or(idle, |lull| lull.min(idle));
            self.timer.set(until);
            self.client.release_buffer();
            let fresh_until = self.quiet_since + LULL;
            let Connection { client, worker, timer, idle_slot, running, leaving, used, .. } = self;
            let mut waited = false;
            let arrived = poll_fn(|cx| {
                // The first look needs no buffer; what wakes the task later is nearly always data.
                if std::mem::replace(&mut waited, true) || client.poll_readable(cx).is_ready() {
                    match client.poll_fill(SMALL, cx) {
                        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Some(Arrived::End)),
                        Poll::Ready(Ok(_)) => return Poll::Ready(Some(Arrived::Bytes)),
                        Poll::Pending => client.release_buffer(),
                    }
                }
                if *leaving || worker.draining.get() {
                    // Who has only just come has surely something to ask.
                    if *used || worker.turn.now() >= fresh_until {
                        return Poll::Ready(Some(Arrived::End));
                    }
                    timer.set(fresh_until);
                }
                if !*leaving && !worker.is_running(running) {
                    return Poll::Ready(None);
                }
                worker.register_idle(idle_slot, cx);
                let ended =
                    if lull.is_some_and(|lull| lull < idle) { Arrived::Lull } else { Arrived::End };
                timer.poll(cx).map(|()| Some(ended))
            });
            if let Some(arrived) = arrived.await {
                return arrived;
            }
        }
    }

    /// Serves requests as long as they come without a lull.
    async fn busy(&mut self) -> Next {
        let mut head = RequestHead::default();
        let mut out = Vec::with_capacity(512);
        let facts = Facts::default();
        loop {
            facts.clear();
            let incoming = self.read_head(&mut head).await;
            // The plan in place when the request is complete is the one that it is served by.
            self.refresh();
            let running = self.running.clone();
            let listener = &running.compiled.plan.listeners[self.listener];
            let exchange =
                |started| Exchange { running: &running, listener, facts: &facts, started };
            let (started, ready) = match incoming {
                Incoming::Head { started, ready } => (started, ready),
                Incoming::Lull => return Next::Wait,
                Incoming::End => return Next::Close,
                Incoming::Refused(refusal, started) => {
                    self.refuse_unread(refusal, &exchange(started), out).await;
                    return Next::Close;
                }
            };
            let next;
            (next, out) = self.serve(&exchange(started), ready, &head, out).await;
            if next == Next::Close {
                self.linger().await;
                return Next::Close;
            }
            self.client.release_large_buffer();
        }
    }

    /// Reads the head of the next request.
    async fn read_head(&mut self, head: &mut RequestHead) -> Incoming {
        if self.client.input.borrow().is_empty() {
            if self.used && self.worker.open.get() > MANY {
                return Incoming::Lull;
            }
            match self.wait(Some(LULL)).await {
                Arrived::Bytes => {}
                Arrived::Lull => return Incoming::Lull,
                Arrived::End => return Incoming::End,
            }
        } else {
            // Pipelined requests cost a turn what others do, though they need no read each.
            let turn = &self.worker.turn;
            turn.spend(0);
            poll_fn(|cx| turn.poll(cx)).await;
        }
        // The limits are those of the plan in place when the request begins.
        self.refresh();
        let started = self.worker.turn.now();
        let listener = &self.running.compiled.plan.listeners[self.listener];
        let limits = HeadLimits { bytes: listener.limits.head, headers: listener.limits.headers };
        let until = started + listener.timeouts.head;
        let mut progress = HeadProgress::default();
        let mut at_once = true;
        let Connection { client, timer, .. } = self;
        loop {
            let parsed = parse::request(client.input.borrow().bytes(), limits, &mut progress, head);
            match parsed {
                Ok(Some(length)) => {
                    client.consume(length);
                    let ready = if at_once { started } else { Instant::now() };
                    return Incoming::Head { started, ready };
                }
                Ok(None) => at_once = false,
                Err(bad) => return Incoming::Refused(Refusal::of_request(bad), started),
            }
            timer.set(until);
            let read = poll_fn(|cx| match client.poll_fill(SMALL, cx) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending => timer.poll(cx).map(|()| None),
            });
            match read.await {
                Some(Ok(0)) => {
                    return Incoming::Refused(Refusal::BadRequest(BadMessage::Truncated), started);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => return Incoming::End,
                None => return Incoming::Refused(Refusal::HeadTimeout, started),
            }
        }
    }

    /// One exchange. Gives `out` back for the next.
    async fn serve(
        &mut self,
        exchange: &Exchange<'_>,
        ready: Instant,
        head: &RequestHead,
        out: Vec<u8>,
    ) -> (Next, Vec<u8>) {
        let Exchange { running, listener, facts, started } = *exchange;
        let limits = HeadLimits { bytes: listener.limits.head, headers: listener.limits.headers };
        self.client.begin_body(BodyDecoder::new(head.body, limits), listener.limits.body);
        let request = Request {
            head,
            client: &self.client,
            worker: &self.worker,
            running,
            listener,
            peer: &self.peer,
            trusted: running.compiled.plan.server.trusts(self.peer.address),
            started,
            ready,
            facts,
        };
        let (response, refusal) = match answer(&request, &mut self.timer).await {
            // An attempt was given up in the middle of an interim answer.
            Ok(_) if self.client.in_interim.get() => {
                let refusal = Some(Refusal::ClientGone);
                record(&request, Outcome { status: 0, sent: 0, refusal });
                return (Next::Close, out);
            }
            Ok(response) => (response, None),
            Err(refusal) if refusal == Refusal::ClientGone || self.client.in_interim.get() => {
                record(&request, Outcome { status: 0, sent: 0, refusal: Some(refusal) });
                return (Next::Close, out);
            }
            Err(refusal) => {
                let route = facts.route.get().and_then(|at| running.compiled.plan.routes.get(at));
                match route.and_then(|route| fallback::page(&request, route, refusal)) {
                    Some(page) => (page, None),
                    None => (self.refusal(refusal, Some(head), route), Some(refusal)),
                }
            }
        };
        let keep_alive = head.keeps_alive()
            && !self.worker.draining.get()
            && !self.leaving
            && self.can_keep(head, &response);
        let Response { head: answer_head, body } = response;
        let status = answer_head.status;
        let mut sending =
            Sending::new(Some(head), &answer_head, body, keep_alive, &self.worker, out);
        self.worker.give_back_head(answer_head);
        let may_wait = head.expects_continue;
        let sent = send(&self.client, &mut self.timer, &mut sending, listener, may_wait).await;
        let mut bytes = sending.sent;
        let ends_with_connection = sending.ends_with_connection();
        let (body, out) = sending.into_parts();
        let mut next = if keep_alive && !ends_with_connection { Next::Wait } else { Next::Close };
        let mut refusal = refusal;
        match (sent, body) {
            (Ok(()), Body::Tunnel(tunnel)) => {
                let cells = self.entrance.cells.of(self.worker.index);
                let idle = listener.timeouts.tunnel;
                let (up, down) = tunnel.run(&self.client, &mut self.timer, idle, cells).await;
                self.client.received.set(up);
                bytes = down;
                next = Next::Close;
            }
            (Ok(()), Body::Answer(answer)) => answer.finish(),
            (Ok(()), _) => {}
            (Err(error), body) => {
                if let Body::Answer(mut answer) = body
                    && matches!(error, SendError::Answer(AnswerError::Silent))
                {
                    answer.broke_off();
                }
                refusal = Some(match error {
                    SendError::Answer(error) => cut_short(&error),
                    SendError::BodyTooSlow => Refusal::BodyTooSlow,
                    SendError::ClientGone => Refusal::ClientGone,
                });
                // The head has promised more than there is: only the end of the connection can
                // say so, and where that is how answers end, only a reset.
                if ends_with_connection {
                    self.client.reset_on_close();
                }
                next = Next::Close;
            }
        }
        let outcome = Outcome { status, sent: bytes, refusal };
        self.used = true;
        self.quiet_since = record(&request, outcome);
        if next == Next::Wait && !self.client.body_is_done() {
            next = self.skip_body().await;
        }
        (next, out)
    }

    /// Whether the connection can be of use after this answer, as far as the request's body goes:
    /// it has been read, or a server goes on reading it, or it is short.
    fn can_keep(&self, head: &RequestHead, response: &Response) -> bool {
        if self.client.body_is_done() {
            return true;
        }
        let unread = match head.body {
            BodyLength::Length(length) => length - self.client.received.get().min(length),
            _ => u64::MAX,
        };
        match &response.body {
            // Who waits for `100 Continue` and gets an answer may leave the body away.
            Body::Answer(answer) => {
                let waits = head.expects_continue && self.client.received.get() == 0;
                answer.takes_more() && response.head.status < 300 && !waits
            }
            _ => unread <= MOST_TO_SKIP && !head.expects_continue,
        }
    }

    /// Reads past what is left of a short body.
    async fn skip_body(&mut self) -> Next {
        self.timer.set(self.worker.turn.now() + LINGER);
        let Connection { client, timer, .. } = self;
        let from = client.received.get();
        poll_fn(|cx| {
            loop {
                match client.poll_body(cx) {
                    Poll::Ready(Ok(Some(length))) => client.consume_content(length),
                    Poll::Ready(Ok(None)) => return Poll::Ready(Next::Wait),
                    Poll::Ready(Err(_)) => return Poll::Ready(Next::Close),
                    Poll::Pending => return timer.poll(cx).map(|()| Next::Close),
                }
                if client.received.get() - from > MOST_TO_SKIP {
                    return Poll::Ready(Next::Close);
                }
            }
        })
        .await
    }

    /// Answers a request that could not be read; the connection ends with it.
    async fn refuse_unread(&mut self, refusal: Refusal, exchange: &Exchange<'_>, out: Vec<u8>) {
        let Response { head, body } = self.refusal(refusal, None, None);
        let status = head.status;
        let mut sending = Sending::new(None, &head, body, false, &self.worker, out);
        self.worker.give_back_head(head);
        let _ = send(&self.client, &mut self.timer, &mut sending, exchange.listener, false).await;
        let outcome = Outcome { status, sent: sending.sent, refusal: Some(refusal) };
        record_unread(exchange, &self.worker, &self.peer, outcome);
        self.linger().await;
    }

    /// The answer to a request, if it could be read, that this route took, if one did.
    fn refusal(
        &self,
        refusal: Refusal,
        request: Option<&RequestHead>,
        route: Option<&Route>,
    ) -> Response {
        let mut head = self.worker.take_head();
        let jitter = self.worker.any_number();
        let body = match route.and_then(|route| refusal.page_among(&route.errors)) {
            Some(page) => {
                refusal.begin_answer(&page.content_type, jitter, &mut head);
                Body::Shared(page.body.clone())
            }
            None => Body::Owned(refusal.answer(request, jitter, &mut head)),
        };
        Response { head, body }
    }

    /// Closes gently: if the client may still be sending, a close would reset the connection and
    /// take the last answer away, so what it sends is read past for a while.
    async fn linger(&mut self) {
        if self.client.body_is_done() && self.client.input.borrow().is_empty() {
            return;
        }
        self.timer.set(self.worker.turn.now() + LINGER);
        let Connection { client, timer, .. } = self;
        client.input.borrow_mut().consume_all();
        if client.shut_down().is_err() {
            return;
        }
        poll_fn(|cx| {
            loop {
                match client.poll_fill(SMALL, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => client.input.borrow_mut().consume_all(),
                    Poll::Pending => return timer.poll(cx),
                }
            }
        })
        .await;
    }
}

/// What the wait for a head came to.
enum Incoming {
    /// A head: when its first byte came, and its last.
    Head {
        started: Instant,
        ready: Instant,
    },
    /// Nothing for a moment.
    Lull,
    /// The connection is to be closed.
    End,
    Refused(Refusal, Instant),
}

/// What an exchange is served with.
pub(crate) struct Exchange<'a> {
    pub(crate) running: &'a Rc<Running>,
    pub(crate) listener: &'a Listener,
    pub(crate) facts: &'a Facts,
    pub(crate) started: Instant,
}

/// Runs the spine, as long as the client stays, sends its body fast enough, and the deadline has
/// not passed. What time the body takes is the client's, so the deadline counts from its last byte.
async fn answer(request: &Request<'_>, timer: &mut Timer) -> Result<Response, Refusal> {
    let Request { client, worker, facts, listener, .. } = *request;
    let mut exchange = pin!(exchange(request));
    let mut pace = Pace::default();
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = exchange.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            let body_is_done = client.body_is_done();
            if body_is_done && client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Refusal::ClientGone));
            }
            let clients_turn = !body_is_done && request.waits_for_client();
            let until = if clients_turn {
                let (least, within) = (listener.limits.progress, listener.timeouts.body);
                match pace.check(worker.turn.now(), client.received.get(), least, within) {
                    Ok(until) => until,
                    Err(_) => return Poll::Ready(Err(Refusal::BodyTooSlow)),
                }
            } else {
                pace = Pace::default();
                let Some(deadline) = facts.deadline.get() else { return Poll::Pending };
                request.due(deadline)
            };
            timer.set(until);
            if timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if !clients_turn {
                return Poll::Ready(Err(Refusal::UpstreamTimeout));
            }
        }
    })
    .await
}

/// Sends an answer, as fast as the client takes it and the server gives it. `may_wait` says that
/// the client waits for `100 Continue` and owes no body before it.
async fn send(
    client: &Client,
    timer: &mut Timer,
    sending: &mut Sending,
    listener: &Listener,
    may_wait: bool,
) -> Result<(), SendError> {
    let (least, within) = (listener.limits.progress, listener.timeouts.body);
    let (mut taking, mut giving) = (Pace::default(), Pace::default());
    let mut silent: Option<((u64, u64), Instant)> = None;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = sending.poll(client, cx) {
                return Poll::Ready(result);
            }
            let now = client.now();
            let Body::Answer(answer) = &sending.body else {
                // A fill has limits of its own.
                if matches!(sending.body, Body::Reading(_)) && sending.turn == Turn::Server {
                    taking = Pace::default();
                    if client.body_is_done() && client.poll_gone(cx).is_ready() {
                        return Poll::Ready(Err(SendError::ClientGone));
                    }
                    return Poll::Pending;
                }
                match taking.check(now, sending.sent, least, within) {
                    Ok(until) => timer.set(until),
                    Err(_) => return Poll::Ready(Err(SendError::ClientGone)),
                }
                ready!(timer.poll(cx));
                continue;
            };
            let owes_body = answer.takes_more()
                && client.awaits_body.get()
                && !client.body_is_done()
                && !(may_wait && client.received.get() == 0);
            match sending.turn {
                Turn::Client => match taking.check(now, sending.sent, least, within) {
                    Ok(until) => timer.set(until),
                    Err(_) => return Poll::Ready(Err(SendError::ClientGone)),
                },
                // The server is silent because it listens.
                Turn::Server if owes_body => {
                    (taking, silent) = (Pace::default(), None);
                    match giving.check(now, client.received.get(), least, within) {
                        Ok(until) => timer.set(until),
                        Err(_) => return Poll::Ready(Err(SendError::BodyTooSlow)),
                    }
                }
                Turn::Server => {
                    (taking, giving) = (Pace::default(), Pace::default());
                    if client.body_is_done() && client.poll_gone(cx).is_ready() {
                        return Poll::Ready(Err(SendError::ClientGone));
                    }
                    let moved = (sending.sent, client.received.get());
                    let since = match silent {
                        Some((before, since)) if before == moved => since,
                        _ => now,
                    };
                    silent = Some((moved, since));
                    let until = since + answer.idle_timeout;
                    timer.set(until);
                    if now >= until {
                        return Poll::Ready(Err(SendError::Answer(AnswerError::Silent)));
                    }
                }
            }
            ready!(timer.poll(cx));
        }
    })
    .await
}

/// What an answer that broke off is counted as.
fn cut_short(error: &AnswerError) -> Refusal {
    match error {
        AnswerError::ClientGone => Refusal::ClientGone,
        AnswerError::Closed => Refusal::UpstreamClosed,
        AnswerError::Bad(bad) => Refusal::BadAnswer(*bad),
        AnswerError::Silent => Refusal::UpstreamTimeout,
    }
}
