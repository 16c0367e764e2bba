//! Trusted peers that begin each connection with a PROXY protocol header: read before anything
//! else, so that from there on the client is the one that the header names.
//!
//! The header is required. If one that is missing were let pass, whoever can reach a trusted peer's
//! way around it could choose what to be taken for. Of other peers it is never looked for: what they
//! send is HTTP or whatever the listener carries, also if it looks like a header.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use seawall_core::proxy_protocol::{self, BadHeader, Header};
use seawall_telemetry::metrics::HeaderFailure;
use tokio::time::Instant;

use super::{Arrival, let_in};
use crate::buffer::SMALL;
use crate::socket;
use crate::tickets::{Open, Place};
use crate::timer::Timer;
use crate::turn::Turn;
use crate::worker::Worker;

// A whole header fits into the buffer it is read into.
const _: () = assert!(proxy_protocol::MAX_LENGTH <= SMALL);

/// How long a draining worker waits for a peer that has not begun.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// Lets a client in that a trusted peer introduces. When dropped, the connection is closed.
pub(super) async fn introduce(worker: Rc<Worker>, mut arrival: Arrival, place: Place) {
    let open = Open::enter(&worker);
    match read(&worker, &mut arrival).await {
        Ok(Some(header)) => {
            arrival.input.consume(header.length);
            if arrival.input.is_empty() {
                arrival.input.release(&worker.buffers);
            }
            if let Some(addresses) = header.addresses {
                arrival.client = addresses.source;
                arrival.destination = Some(addresses.destination);
            }
            // A drain must not find the worker empty in between.
            let_in(&worker, arrival, place);
            drop(open);
        }
        // It has come and gone without a word, as health checks do.
        Ok(None) => arrival.input.release(&worker.buffers),
        Err(failure) => {
            arrival.input.release(&worker.buffers);
            refuse(&worker, &arrival, failure);
        }
    }
}

async fn read(worker: &Rc<Worker>, arrival: &mut Arrival) -> Result<Option<Header>, HeaderFailure> {
    let came = Instant::now();
    let until = came + arrival.listener().timeouts.head;
    let mut timer = Timer::new(until);
    let Arrival { stream, input, .. } = arrival;
    let mut registration = Registration { worker, slot: None };
    poll_fn(|cx| {
        // A header is short, so there is nobody to let in between.
        let turn = Turn::default();
        loop {
            // Who says nothing holds no buffer.
            let has_begun = !input.is_empty();
            let readable = has_begun || stream.poll_read_ready(cx).is_ready();
            let read = match readable {
                true => {
                    input.make_room(&worker.buffers, SMALL);
                    input.poll_fill(stream, &turn, cx)
                }
                false => Poll::Pending,
            };
            match read {
                Poll::Ready(Ok(0) | Err(_)) if has_begun => {
                    return Poll::Ready(Err(HeaderFailure::Truncated));
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(_)) => match proxy_protocol::parse(input.bytes()) {
                    Ok(Some(header)) => return Poll::Ready(Ok(Some(header))),
                    Ok(None) => continue,
                    Err(BadHeader::Missing) => return Poll::Ready(Err(HeaderFailure::Missing)),
                    Err(BadHeader::Malformed | BadHeader::TooLong | BadHeader::Checksum) => {
                        return Poll::Ready(Err(HeaderFailure::Malformed));
                    }
                },
                Poll::Pending => {}
            }
            if !has_begun {
                input.release(&worker.buffers);
            }
            worker.register_idle(&mut registration.slot, cx);
            let is_late = worker.draining.get() && !has_begun;
            timer.set(if is_late { until.min(came + LAST_CHANCE) } else { until });
            return match timer.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) if is_late => Poll::Ready(Ok(None)),
                Poll::Ready(()) => Poll::Ready(Err(HeaderFailure::Timeout)),
            };
        }
    })
    .await
}

/// Has this connection woken when the worker drains, for as long as it lives.
struct Registration<'a> {
    worker: &'a Worker,
    slot: Option<usize>,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.worker.unregister_idle(&mut self.slot);
    }
}

fn refuse(worker: &Worker, arrival: &Arrival, failure: HeaderFailure) {
    let entrance = arrival.entrance();
    entrance.cells.of(worker.index).header_failures[failure as usize].add(1);
    // There is no telling what the peer speaks, so it is not answered.
    socket::reset_on_close(&arrival.stream);
    if worker.may_complain() {
        let what = match failure {
            HeaderFailure::Missing => "does not begin with one",
            HeaderFailure::Malformed => "begins with one that is malformed",
            HeaderFailure::Timeout => "does not send it in time",
            HeaderFailure::Truncated => "breaks off in the middle of it",
        };
        tracing::warn!(
            listener = %entrance.key.name,
            peer = %arrival.client.ip(),
            "a connection is refused: this peer is in `server.trust`, so it must send a PROXY \
             protocol header here, and {what}"
        );
    }
}
