//! Steady closed-loop load: some connections that send the same request over and over and look
//! at every answer, for the tests and the demo that ask whether anything failed meanwhile.
//!
//! It measures nothing: speed belongs to the benchmark.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::client::RawClient;
use crate::gate::time_left;
use crate::message::Response;

/// What makes an answer good, and the name it is counted under; an `Err` says what is wrong.
type Judge = dyn Fn(&Response) -> Result<String, String> + Send + Sync;

/// What to send and how to judge what comes back.
pub struct LoadPlan {
    address: SocketAddr,
    connections: usize,
    pause: Duration,
    request: Vec<u8>,
    judge: Box<Judge>,
}

impl LoadPlan {
    /// `GET target` over this many connections; an answer is good when its status is 200.
    pub fn get(address: SocketAddr, target: &str, connections: usize) -> Self {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        Self {
            address,
            connections,
            pause: Duration::ZERO,
            request: request.into_bytes(),
            judge: Box::new(|response| match response.status {
                200 => Ok("200".to_owned()),
                status => Err(format!("status {status}")),
            }),
        }
    }

    /// Sends these bytes as the request instead. It must not be HEAD.
    #[must_use]
    pub fn sending(mut self, request: impl Into<Vec<u8>>) -> Self {
        self.request = request.into();
        self
    }

    /// Judges answers: `Ok` names what a good one is counted under, `Err` says what is wrong.
    #[must_use]
    pub fn judging<J>(mut self, judge: J) -> Self
    where
        J: Fn(&Response) -> Result<String, String> + Send + Sync + 'static,
    {
        self.judge = Box::new(judge);
        self
    }

    /// Rests this long after each answer, so that the load leaves the machine some air.
    #[must_use]
    pub fn resting(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Starts sending.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self) -> io::Result<Load> {
        let plan = Arc::new(self);
        let shared = Arc::new(Shared::default());
        let mut load = Load { shared: shared.clone(), threads: Vec::new() };
        for _ in 0..plan.connections {
            let (plan, shared) = (plan.clone(), shared.clone());
            let thread = thread::Builder::new()
                .name("load".to_owned())
                .stack_size(512 << 10)
                .spawn(move || drive(&plan, &shared))?;
            load.threads.push(thread);
        }
        Ok(load)
    }
}

/// What became of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests answered well.
    pub ok: u64,
    /// Requests that got a bad answer, half an answer or none.
    pub failed: u64,
    /// Requests sent again because a kept-alive connection was closed without a byte of answer:
    /// what RFC 9112 §9.3.1 has every client do. Each was then counted as ok or failed.
    pub retried: u64,
    /// Good answers by the name the judge gave them.
    pub by_name: BTreeMap<String, u64>,
    /// Failures by what was wrong.
    pub failures: BTreeMap<String, u64>,
}

/// Running load. Dropping it stops it.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// What became of the requests so far.
    pub fn tally(&self) -> Tally {
        self.shared.lock().clone()
    }

    /// Waits until at least `more` further requests were answered well.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`], with the failures so far.
    pub fn wait_for_more(&self, more: u64) -> io::Result<Tally> {
        let goal = self.shared.lock().ok + more;
        self.wait_until(|tally| tally.ok >= goal)
    }

    /// Waits until the tally satisfies `condition`.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`], with the failures so far.
    pub fn wait_until(&self, condition: impl Fn(&Tally) -> bool) -> io::Result<Tally> {
        let deadline = Instant::now() + PATIENCE;
        let mut tally = self.shared.lock();
        while !condition(&tally) {
            let what = "the load to get somewhere";
            let left = time_left(deadline, what)
                .map_err(|error| io::Error::new(error.kind(), format!("{error}: {tally:?}")))?;
            tally = match self.shared.changed.wait_timeout(tally, left) {
                Ok((tally, _)) => tally,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(tally.clone())
    }

    /// Lets every request in flight come to its end, and returns what became of all.
    pub fn stop(mut self) -> Tally {
        self.join();
        self.tally()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    tally: Mutex<Tally>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

fn drive(plan: &LoadPlan, shared: &Shared) {
    let mut kept: Option<RawClient> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let outcome = match kept.take() {
            Some(client) => match attempt(client, plan) {
                Outcome::Unanswered(_) => {
                    shared.note(|tally| tally.retried += 1);
                    fresh(plan)
                }
                outcome => outcome,
            },
            None => fresh(plan),
        };
        match outcome {
            Outcome::Answered(response, client) => {
                kept = client;
                shared.note(|tally| match (plan.judge)(&response) {
                    Ok(name) => {
                        tally.ok += 1;
                        *tally.by_name.entry(name).or_default() += 1;
                    }
                    Err(what) => {
                        tally.failed += 1;
                        *tally.failures.entry(what).or_default() += 1;
                    }
                });
            }
            Outcome::Unanswered(error) | Outcome::Broken(error) => {
                shared.note(|tally| {
                    tally.failed += 1;
                    *tally.failures.entry(error.to_string()).or_default() += 1;
                });
                // Against a dead server this would spin.
                thread::sleep(Duration::from_millis(2));
            }
        }
        if !plan.pause.is_zero() {
            thread::sleep(plan.pause);
        }
    }
}

enum Outcome {
    /// A whole answer, and the connection when it can be used again.
    Answered(Response, Option<RawClient>),
    /// The connection ended before the first byte of an answer.
    Unanswered(io::Error),
    /// It ended, or went wrong, later.
    Broken(io::Error),
}

fn fresh(plan: &LoadPlan) -> Outcome {
    match RawClient::connect(plan.address) {
        Ok(client) => attempt(client, plan),
        Err(error) => Outcome::Broken(error),
    }
}

fn attempt(mut client: RawClient, plan: &LoadPlan) -> Outcome {
    if let Err(error) = client.send(&plan.request) {
        return Outcome::Unanswered(error);
    }
    match client.answer_begins() {
        Ok(true) => {}
        Ok(false) => return Outcome::Unanswered(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Outcome::Broken(error),
        Err(error) => return Outcome::Unanswered(error),
    }
    match client.read_final_response() {
        Ok((_, response)) => {
            let again = response.version == "HTTP/1.1"
                && !response.headers.lists("connection", "close")
                && (response.headers.first("content-length").is_some()
                    || response.headers.lists("transfer-encoding", "chunked")
                    || matches!(response.status, 204 | 304));
            Outcome::Answered(response, again.then_some(client))
        }
        Err(error) => Outcome::Broken(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[test]
    fn good_and_bad_answers_are_told_apart() {
        let origin = Origin::responding(|request| match request.target.as_str() {
            "/good" => Response::new(200, "yes"),
            _ => Response::new(503, "no"),
        })
        .expect("an origin");
        let good = LoadPlan::get(origin.address(), "/good", 2)
            .judging(|response| Ok(response.text()))
            .start()
            .expect("to start");
        origin.wait_for_connections(2).expect("both connect");
        good.wait_for_more(20).expect("answers");
        let tally = good.stop();
        assert_eq!((tally.failed, tally.by_name["yes"]), (0, tally.ok));
        assert_eq!(origin.connections(), 2, "connections are kept alive");

        let bad = LoadPlan::get(origin.address(), "/bad", 1).start().expect("to start");
        bad.wait_until(|tally| tally.failed > 3).expect("failures");
        let tally = bad.stop();
        assert_eq!((tally.ok, tally.failures["status 503"]), (0, tally.failed));
    }

    #[test]
    fn a_connection_that_ends_between_requests_is_no_failure() {
        let origin = Origin::scripted(|conversation| {
            let request = conversation.read_request()?;
            conversation.respond(&request, Response::new(200, ""))
        })
        .expect("an origin");
        let load = LoadPlan::get(origin.address(), "/", 1).start().expect("to start");
        load.wait_for_more(5).expect("answers");
        let tally = load.stop();
        assert_eq!(tally.failures, BTreeMap::new());
        assert!(tally.retried >= 4, "{tally:?}");
    }

    #[test]
    fn an_answer_cut_in_half_is_a_failure() {
        let origin = Origin::scripted(|conversation| {
            conversation.read_request()?;
            conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        })
        .expect("an origin");
        let load = LoadPlan::get(origin.address(), "/", 1).start().expect("to start");
        load.wait_until(|tally| tally.failed > 0).expect("a failure");
        assert_eq!(load.stop().ok, 0);
    }
}
