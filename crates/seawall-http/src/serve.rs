//! A client connection: requests in, answers out, in order, until one side has had enough.
//!
//! A connection that has been quiet for a moment shrinks to a few hundred bytes: [`connection`]
//! holds little, and what an exchange needs lives in [`busy`], which ends when there is a lull.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seawall_config::plan::Listener;
use seawall_h1::{
    BadMessage, BodyDecoder, BodyLength, HeadLimits, HeadProgress, Known, RequestHead, parse,
};
use seawall_telemetry::access_log::Entry;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::buffer::SMALL;
use crate::client::Client;
use crate::compiled::Entrance;
use crate::exchange::exchange;
use crate::forward::answer::AnswerError;
use crate::message::{Body, Facts, PeerText, Request, Response};
use crate::pace::Pace;
use crate::policy::headers::write_client;
use crate::refuse::Refusal;
use crate::send::{SendError, Sending, Turn};
use crate::tickets::{Admission, Open};
use crate::timer::Timer;
use crate::worker::{Running, Worker};

/// A connection quiet for this long gives its memory back.
const LULL: Duration = Duration::from_secs(1);

/// The most of an unread request body that is read past to keep a connection.
const MOST_TO_SKIP: u64 = 64 * 1024;

/// How long the end of a connection waits for the client to take the last answer.
const LINGER: Duration = Duration::from_secs(5);

/// What stays of a connection between exchanges.
struct Connection {
    client: Rc<Client>,
    worker: Rc<Worker>,
    entrance: Entrance,
    peer: PeerText,
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
pub(crate) async fn connection(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
    admission: Admission,
) {
    let now = Instant::now();
    let mut connection = Connection {
        client: Rc::new(Client::new(stream, worker.clone())),
        peer: PeerText::new(peer.ip()),
        timer: Timer::new(now + Duration::from_secs(3600)),
        quiet_since: now,
        used: false,
        idle_slot: None,
        _admission: admission,
        _open: Open::enter(&worker),
        entrance,
        worker,
    };
    while connection.wait_idle(None).await == Some(Readable::Yes)
        && Box::pin(connection.busy(peer)).await == Next::Wait
    {}
}

/// What the wait for a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readable {
    Yes,
    /// Nothing came for a moment.
    Lull,
}

impl Connection {
    /// Waits for the first byte of a request, holding no buffer. `None` when the connection is to
    /// be closed: the client did, or the idle timeout has passed, or the listener is gone.
    async fn wait_idle(&mut self, lull: Option<Duration>) -> Option<Readable> {
        let running = self.worker.running();
        let idle = running.compiled.listener(&self.entrance.key)?.0.timeouts.idle;
        drop(running);
        let until = self.quiet_since + lull.map_or(idle, |lull| lull.min(idle));
        self.timer.set(until);
        self.client.release_buffer();
        let fresh_until = self.quiet_since + LULL;
        let Connection { client, worker, timer, idle_slot, entrance, used, .. } = self;
        poll_fn(|cx| {
            if let Poll::Ready(readable) = client.poll_readable(cx) {
                return Poll::Ready(readable.ok().map(|()| Readable::Yes));
            }
            if worker.running().compiled.listener(&entrance.key).is_none() {
                return Poll::Ready(None);
            }
            if worker.draining.get() {
                // Who has only just come has surely something to ask.
                if *used || Instant::now() >= fresh_until {
                    return Poll::Ready(None);
                }
                timer.set(fresh_until);
            }
            worker.register_idle(idle_slot, cx);
            timer.poll(cx).map(|()| lull.filter(|lull| *lull < idle).map(|_| Readable::Lull))
        })
        .await
    }

    /// Serves requests as long as they come without a lull.
    async fn busy(&mut self, peer: SocketAddr) -> Next {
        let mut head = RequestHead::default();
        let mut out = Vec::with_capacity(512);
        let facts = Facts::default();
        loop {
            if self.client.input.borrow().is_empty() {
                match self.wait_idle(Some(LULL)).await {
                    Some(Readable::Yes) => {}
                    Some(Readable::Lull) => return Next::Wait,
                    None => return Next::Close,
                }
            }
            // The limits are those of the plan in place when the request begins.
            let running = self.worker.running();
            let compiled = running.compiled.clone();
            let Some((listener, _)) = compiled.listener(&self.entrance.key) else {
                return Next::Close;
            };
            facts.clear();
            let started = match self.read_head(listener, &mut head).await {
                Incoming::Head(started) => started,
                Incoming::Nothing => continue,
                Incoming::Closed => return Next::Close,
                Incoming::Refused(refusal, started) => {
                    let exchange = Exchange { running: &running, listener, facts: &facts, started };
                    self.refuse_unread(refusal, &exchange, out).await;
                    return Next::Close;
                }
            };
            // The plan in place when the request is complete is the one that it is served by.
            let running = self.worker.running();
            let compiled = running.compiled.clone();
            let Some((listener, _)) = compiled.listener(&self.entrance.key) else {
                return Next::Close;
            };
            let exchange = Exchange { running: &running, listener, facts: &facts, started };
            let next;
            (next, out) = self.serve(&exchange, &head, out, peer).await;
            if next == Next::Close {
                self.linger().await;
                return Next::Close;
            }
            self.client.release_large_buffer();
        }
    }

    /// Reads the head of the next request, which seems to have begun.
    async fn read_head(&mut self, listener: &Listener, head: &mut RequestHead) -> Incoming {
        let limits = HeadLimits { bytes: listener.limits.head, headers: listener.limits.headers };
        let mut progress = HeadProgress::default();
        let mut started = None;
        loop {
            if !self.client.input.borrow().is_empty() || started.is_some() {
                let started = *started.get_or_insert_with(Instant::now);
                let parsed =
                    parse::request(self.client.input.borrow().bytes(), limits, &mut progress, head);
                match parsed {
                    Ok(Some(length)) => {
                        self.client.consume(length);
                        return Incoming::Head(started);
                    }
                    Ok(None) => {}
                    Err(bad) => return Incoming::Refused(Refusal::of_request(bad), started),
                }
                self.timer.set(started + listener.timeouts.head);
            }
            let Connection { client, timer, .. } = self;
            let read = poll_fn(|cx| match client.poll_fill(SMALL, cx) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending => timer.poll(cx).map(|()| None),
            });
            match (read.await, started) {
                (Some(Ok(0) | Err(_)), None) => return Incoming::Closed,
                (Some(Ok(0)), Some(started)) => {
                    return Incoming::Refused(Refusal::BadRequest(BadMessage::Truncated), started);
                }
                (Some(Err(_)), Some(_)) => return Incoming::Closed,
                (Some(Ok(_)), _) => {}
                (None, Some(started)) => return Incoming::Refused(Refusal::HeadTimeout, started),
                // It only looked readable, as a socket does whose last read filled the buffer.
                (None, None) => return Incoming::Nothing,
            }
        }
    }

    /// One exchange. Gives `out` back for the next.
    async fn serve(
        &mut self,
        exchange: &Exchange<'_>,
        head: &RequestHead,
        out: Vec<u8>,
        peer: SocketAddr,
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
            trusted: running.compiled.plan.server.trusts(peer.ip()),
            started,
            facts,
        };
        let (response, refusal) = match answer(&request, &mut self.timer).await {
            Ok(response) => (response, None),
            Err(Refusal::ClientGone) => {
                record(
                    exchange,
                    Some(&request),
                    499,
                    0,
                    Some(Refusal::ClientGone),
                    &self.worker,
                    &self.peer,
                );
                return (Next::Close, out);
            }
            Err(refusal) => (self.refusal(refusal, Some(head)), Some(refusal)),
        };
        let keep_alive =
            head.keeps_alive() && !self.worker.draining.get() && self.can_keep(head, &response);
        let Response { head: answer_head, body } = response;
        let status = answer_head.status;
        let mut sending =
            Sending::new(Some(head), &answer_head, body, keep_alive, &self.worker, out);
        self.worker.give_back_head(answer_head);
        let may_wait = head.expects_continue;
        let sent = send(&self.client, &mut self.timer, &mut sending, listener, may_wait).await;
        let bytes = sending.sent;
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
                record(exchange, Some(&request), status, down, refusal, &self.worker, &self.peer);
                return (Next::Close, out);
            }
            (Ok(()), Body::Answer(answer)) => answer.finish(),
            (Ok(()), _) => {}
            (Err(error), _) => {
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
        record(exchange, Some(&request), status, bytes, refusal, &self.worker, &self.peer);
        if next == Next::Wait && !self.client.body_is_done() {
            next = self.skip_body().await;
        }
        self.quiet_since = Instant::now();
        self.used = true;
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
            Body::Answer(answer) => answer.takes_more() && response.head.status < 300,
            _ => unread <= MOST_TO_SKIP && !head.expects_continue,
        }
    }

    /// Reads past what is left of a short body.
    async fn skip_body(&mut self) -> Next {
        self.timer.set(Instant::now() + LINGER);
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
        let Response { head, body } = self.refusal(refusal, None);
        let status = head.status;
        let mut sending = Sending::new(None, &head, body, false, &self.worker, out);
        self.worker.give_back_head(head);
        let _ = send(&self.client, &mut self.timer, &mut sending, exchange.listener, false).await;
        record(exchange, None, status, sending.sent, Some(refusal), &self.worker, &self.peer);
        self.linger().await;
    }

    fn refusal(&self, refusal: Refusal, request: Option<&RequestHead>) -> Response {
        let mut head = self.worker.take_head();
        let content = refusal.answer(request, self.worker.any_number(), &mut head);
        Response { head, body: Body::Owned(content) }
    }

    /// Closes gently: if the client may still be sending, a close would reset the connection and
    /// take the last answer away, so what it sends is read past for a while.
    async fn linger(&mut self) {
        if self.client.body_is_done() && self.client.input.borrow().is_empty() {
            return;
        }
        self.timer.set(Instant::now() + LINGER);
        let Connection { client, timer, .. } = self;
        client.input.borrow_mut().consume_all();
        poll_fn(|cx| {
            if client.poll_shutdown(cx).is_pending() {
                return timer.poll(cx);
            }
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
    /// A head, whose first byte came then.
    Head(Instant),
    /// Nothing, though there seemed to be something.
    Nothing,
    /// The client closed, or was idle for too long.
    Closed,
    Refused(Refusal, Instant),
}

/// What an exchange is served with.
struct Exchange<'a> {
    running: &'a Rc<Running>,
    listener: &'a Listener,
    facts: &'a Facts,
    started: Instant,
}

/// Runs the spine, as long as the client stays, sends its body fast enough, and the deadline has
/// not passed. What time the body takes is the client's, so the deadline counts from its last byte.
async fn answer(request: &Request<'_>, timer: &mut Timer) -> Result<Response, Refusal> {
    let Request { client, facts, listener, head, .. } = *request;
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
            let waits_for_continue = head.expects_continue && client.received.get() == 0;
            let clients_turn = !body_is_done && client.awaits_body.get() && !waits_for_continue;
            let until = if clients_turn {
                let (least, within) = (listener.limits.progress, listener.timeouts.body);
                match pace.check(Instant::now(), client.received.get(), least, within) {
                    Ok(until) => until,
                    Err(_) => return Poll::Ready(Err(Refusal::BodyTooSlow)),
                }
            } else {
                pace = Pace::default();
                let Some(deadline) = facts.deadline.get() else { return Poll::Pending };
                let timeout = deadline - request.started;
                client.last_read.get().map_or(deadline, |last| deadline.max(last + timeout))
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
            let now = Instant::now();
            let Body::Answer(answer) = &sending.body else {
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

/// Counts an exchange that has ended, and logs it.
fn record(
    exchange: &Exchange<'_>,
    request: Option<&Request<'_>>,
    status: u16,
    sent: u64,
    refusal: Option<Refusal>,
    worker: &Worker,
    peer: &PeerText,
) {
    let Exchange { running, listener, facts, started } = *exchange;
    let compiled = &running.compiled;
    let route = facts.route.get();
    let cells = route.map_or(&compiled.no_route, |route| &compiled.routes[route]).of(worker.index);
    let received = request.map_or(0, |request| request.client.received.get());
    let duration = started.elapsed();
    let gone = refusal == Some(Refusal::ClientGone);
    let class = if gone { 0 } else { usize::from(status / 100).min(5) };
    cells.answers[class].add(1);
    cells.duration.observe(duration);
    cells.received.add(received);
    cells.sent.add(sent);
    if let Some(refusal) = refusal {
        compiled.metrics.refused(worker.index, refusal.number());
    }
    let mut lines = worker.lines.borrow_mut();
    let Some(lines) = lines.as_mut() else { return };
    let server = facts.server.borrow();
    let head = request.map(|request| request.head);
    let mut client = Vec::new();
    match request {
        Some(request) => write_client(request, &mut client),
        None => client.extend_from_slice(peer.plain.as_bytes()),
    }
    lines.push(&Entry {
        time_millis: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
        listener: &listener.name,
        route: route.map_or("", |route| &compiled.plan.routes[route].name),
        client: &client,
        method: head.map_or(b"", |head| head.method_text()),
        host: head.map_or(b"", |head| head.authority()),
        path: head.map_or(b"", |head| head.path()),
        query: head.map_or(b"", |head| head.query()),
        status: if gone { 499 } else { status },
        received,
        sent,
        duration,
        server: server.as_ref().map_or("", |server| &server.state.label),
        refusal: refusal.map_or("", |refusal| refusal.description().code),
        agent: head.and_then(|head| head.headers.known(Known::UserAgent)).unwrap_or_default(),
    });
}
