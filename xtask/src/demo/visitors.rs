//! Visitors of the demo: some connections that follow links by Zipf's law, one after the other, and
//! look where each leads. They take their time, and measure nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use seawall_testkit::{RawClient, Response};

use crate::stage::load::zipf;

/// How many there are.
const VISITORS: usize = 8;

/// The rest of each after an answer, so that the machine has some air.
const REST: Duration = Duration::from_millis(1);

/// What they have seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Redirects to where a link leads.
    pub(super) answered: u64,
    /// Requests that were not answered so.
    pub(super) failed: u64,
    pub(super) failures: BTreeMap<String, u64>,
    /// Of the first link, since it is led somewhere else: redirects there.
    pub(super) new: u64,
    /// The last time that one set out and was led to where it led before.
    pub(super) last_old: Option<Instant>,
    /// Redirects that an instance answered; the show knows.
    pub(super) origin: u64,
}

impl Seen {
    /// What was seen since `before`.
    pub(super) fn since(mut self, before: &Seen) -> Seen {
        self.answered -= before.answered;
        self.failed -= before.failed;
        self.new -= before.new;
        for (name, count) in &mut self.failures {
            *count -= before.failures.get(name).copied().unwrap_or(0);
        }
        self.failures.retain(|_, count| *count > 0);
        self
    }
}

/// Visitors at work. Dropping them ends them.
pub(super) struct Visitors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    /// Links and where they lead.
    links: Vec<(String, String)>,
    /// Where the first one is led instead.
    new: Mutex<Option<String>>,
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

impl Visitors {
    /// Sends them to this address.
    pub(super) fn start(
        address: SocketAddr,
        codes: &[String],
        targets: &[String],
    ) -> anyhow::Result<Visitors> {
        let links = codes.iter().cloned().zip(targets.iter().cloned()).collect();
        let shared = Arc::new(Shared {
            address,
            links,
            new: Mutex::default(),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut visitors = Visitors { shared: shared.clone(), threads: Vec::new() };
        for _ in 0..VISITORS {
            let shared = shared.clone();
            let thread = thread::Builder::new().name("visitor".to_owned());
            let thread = thread.spawn(move || shared.visit()).context("no thread can be had")?;
            visitors.threads.push(thread);
        }
        Ok(visitors)
    }

    /// What they have seen so far.
    pub(super) fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }

    /// From now on the first link may lead there too.
    pub(super) fn expect(&self, target: &str) {
        *lock(&self.shared.new) = Some(target.to_owned());
    }

    /// Lets everyone have their answer, and says what all have seen.
    pub(super) fn stop(mut self) -> Seen {
        self.join();
        self.seen()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.join();
    }
}

impl Shared {
    fn visit(&self) {
        let sums = zipf(self.links.len());
        let mut client = None;
        while !self.stop.load(Ordering::Relaxed) {
            let random = fastrand::f64();
            let link = sums.partition_point(|sum| *sum < random);
            let begun = Instant::now();
            match self.follow(&mut client, link) {
                Ok(answer) => self.judge(link, begun, &answer),
                Err(error) => {
                    client = None;
                    self.failed(format!("{error:#}"));
                }
            }
            thread::sleep(REST);
        }
    }

    fn follow(&self, client: &mut Option<RawClient>, link: usize) -> anyhow::Result<Response> {
        let host = self.address.to_string();
        let client = match client {
            Some(client) => client,
            None => client.insert(RawClient::connect(self.address)?),
        };
        Ok(client.get(&host, &format!("/{}", self.links[link].0))?)
    }

    fn judge(&self, link: usize, begun: Instant, answer: &Response) {
        let location = answer.header("location").unwrap_or_default();
        let is_old = location == self.links[link].1;
        let new = lock(&self.new);
        let is_new = link == 0 && new.as_deref() == Some(location);
        let is_changed = link == 0 && new.is_some();
        drop(new);
        if answer.status != 302 || !(is_old || is_new) {
            return self.failed(format!("status {} to {location:?}", answer.status));
        }
        let mut seen = lock(&self.seen);
        seen.answered += 1;
        seen.new += u64::from(is_new);
        if is_old && is_changed {
            seen.last_old = seen.last_old.max(Some(begun));
        }
    }

    fn failed(&self, what: String) {
        let mut seen = lock(&self.seen);
        seen.failed += 1;
        *seen.failures.entry(what).or_default() += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use seawall_testkit::Origin;

    use super::*;

    #[test]
    fn a_scene_counts_only_its_own() {
        let mut before = Seen { answered: 3, failed: 1, ..Seen::default() };
        before.failures.insert("x".to_owned(), 1);
        let now = Seen { answered: 5, new: 2, ..before.clone() };
        let seen = now.since(&before);
        assert_eq!((seen.answered, seen.failed, seen.new, seen.failures.len()), (2, 0, 2, 0));
    }

    #[test]
    fn they_see_where_links_lead() {
        let origin = Origin::responding(|request| match &*request.target {
            "/a" => seawall_testkit::Response::new(302, "").with("location", "https://new/"),
            _ => seawall_testkit::Response::new(404, ""),
        })
        .expect("an origin");
        let text = |list: [&str; 2]| list.map(str::to_owned);
        let (codes, targets) = (text(["a", "b"]), text(["https://old/", "https://b/"]));
        let visitors = Visitors::start(origin.address(), &codes, &targets).expect("they start");
        let until = |found: &dyn Fn(&Seen) -> bool| {
            let deadline = Instant::now() + seawall_testkit::PATIENCE;
            while !found(&visitors.seen()) {
                assert!(Instant::now() < deadline, "{:?}", visitors.seen());
                thread::yield_now();
            }
        };
        until(&|seen| seen.failures.len() == 2);
        assert_eq!(visitors.seen().answered, 0, "no link leads where it should");
        visitors.expect("https://new/");
        until(&|seen| seen.new > 0 && seen.new == seen.answered);
        assert_eq!(visitors.stop().last_old, None);
    }
}
