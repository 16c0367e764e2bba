//! Tells Seawall nodes which links have changed: hard purges of their tags.
//!
//! Each node has a task and a queue of its own, so that one that is away does not hold the others
//! up. What it has not heard is told again until it has. Who changed a link tells at once, and once
//! more when `memory-ttl` and a second are over, since until then another instance may have given
//! the node what was; who reads of a change tells once, when it gives that no more. A queue that is
//! full is replaced by a purge of the whole host.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Uri};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::config::Config;
use crate::serve::Content;

use super::tag;

/// Links that wait to be told to one node; with more, all of the host is purged instead.
const MOST_WAITING: usize = 100_000;

/// Links in one request.
const AT_ONCE: usize = 1000;

/// How long a node has to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long [`Purger::purge`] waits for the nodes.
const AT_MOST: Duration = Duration::from_secs(1);

/// How long to wait before a node is tried again: doubles from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

/// Tells the nodes. Dropping it ends its tasks.
#[derive(Debug, Default)]
pub struct Purger {
    nodes: Vec<Arc<Node>>,
    tasks: Vec<tokio::task::AbortHandle>,
}

/// How a node is.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its address.
    pub name: String,
    /// Links that it has yet to be told of.
    pub waiting: usize,
    /// Whether it heard what it was told last.
    pub is_up: bool,
    /// Tags that it was told of.
    pub told: u64,
    /// Times that it could not be told.
    pub failed: u64,
}

#[derive(Debug)]
struct Node {
    name: String,
    authority: String,
    path: String,
    token: Option<String>,
    /// Of the short links, with its port unless that is the one of the scheme.
    host: String,
    /// After so long what was told is told again.
    again: Duration,
    queue: Mutex<Queue>,
    more: Notify,
    /// The number of the last link that it was told of; only grows.
    told: watch::Sender<u64>,
    is_up: AtomicBool,
    count: AtomicU64,
    failed: AtomicU64,
}

/// Links get numbers from 1 as they come in; those up to `done` were told.
#[derive(Debug, Default)]
struct Queue {
    done: u64,
    links: VecDeque<Box<str>>,
    /// To be told again, in the order of the times; `None` is everything.
    again: VecDeque<(Instant, Option<Box<str>>)>,
    /// There was no room for the links up to this number: everything is to be purged instead.
    everything: u64,
}

/// The number that is done when it was told, and the tags; without tags it is everything.
type Batch = (u64, Option<Vec<String>>);

impl Queue {
    fn last(&self) -> u64 {
        self.done.max(self.everything) + self.links.len() as u64
    }

    fn push(&mut self, code: Box<str>) {
        self.links.push_back(code);
        if self.links.len() > MOST_WAITING {
            self.everything = self.last();
            self.links.clear();
        }
    }

    fn push_again(&mut self, due: Instant, code: Box<str>) {
        if self.again.len() >= MOST_WAITING {
            self.again.clear();
            self.again.push_back((due, None));
        } else {
            self.again.push_back((due, Some(code)));
        }
    }

    /// Moves to the links what is due.
    fn fall_due(&mut self, now: Instant) {
        while self.again.front().is_some_and(|(due, _)| *due <= now) {
            match self.again.pop_front() {
                Some((_, Some(code))) => self.push(code),
                Some((_, None)) => {
                    self.everything = self.last() + 1;
                    self.links.clear();
                }
                None => {}
            }
        }
    }

    /// What to tell next.
    fn batch(&self) -> Option<Batch> {
        if self.everything > self.done {
            return Some((self.everything, None));
        }
        let tags: Vec<_> = self.links.iter().take(AT_ONCE).map(|code| tag(code)).collect();
        (!tags.is_empty()).then(|| (self.done + tags.len() as u64, Some(tags)))
    }

    /// What was to be told up to this number was.
    fn told(&mut self, through: u64) {
        // While it was told, everything after it may have been given up for a purge of all.
        let first = self.done.max(self.everything);
        let count = usize::try_from(through.saturating_sub(first)).unwrap_or(usize::MAX);
        self.links.drain(..count.min(self.links.len()));
        self.done = self.done.max(through);
    }
}

impl Purger {
    /// Tells the nodes of the configuration; `url` is what short links begin with.
    pub fn new(config: &Config, url: &str) -> Purger {
        let mut purger = Purger::default();
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host);
        for name in &config.edge.purge {
            let rest = name.strip_prefix("http://").unwrap_or(name);
            let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
            let base = if base.is_empty() { String::new() } else { format!("/{base}") };
            let node = Arc::new(Node {
                name: name.clone(),
                authority: authority.to_owned(),
                path: format!("{base}/api/cache/purge"),
                token: config.edge.token.clone(),
                host: host.to_owned(),
                again: config.cache.memory_ttl + Duration::from_secs(1),
                queue: Mutex::default(),
                more: Notify::new(),
                told: watch::Sender::new(0),
                is_up: AtomicBool::new(true),
                count: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            });
            purger.tasks.push(tokio::spawn(node.clone().tell()).abort_handle());
            purger.nodes.push(node);
        }
        purger
    }

    /// Purges what caches in front have of these links, now and once more. Waits until all nodes
    /// have heard it, a second at most; what they have not heard by then they will later.
    pub async fn purge<'a>(&self, codes: impl Iterator<Item = &'a str> + Clone) {
        let mut wait = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let number = node.queue(codes.clone(), true);
            // One that is away is not waited for.
            if node.is_up.load(Relaxed) {
                wait.push((node.told.subscribe(), number));
            }
        }
        let heard = async {
            for (mut told, number) in wait {
                // The sender lives as long as the node.
                told.wait_for(|told| *told >= number).await.ok();
            }
        };
        timeout(AT_MOST, heard).await.ok();
    }

    /// Purges what caches in front have of these links, which were changed elsewhere, once and
    /// without waiting. To be called when this instance gives what was no more.
    pub fn pass_on<'a>(&self, codes: impl Iterator<Item = &'a str> + Clone) {
        for node in &self.nodes {
            node.queue(codes.clone(), false);
        }
    }

    /// How the nodes are.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |node: &Arc<Node>| Standing {
            name: node.name.clone(),
            waiting: lock(&node.queue).links.len(),
            is_up: node.is_up.load(Relaxed),
            told: node.count.load(Relaxed),
            failed: node.failed.load(Relaxed),
        };
        self.nodes.iter().map(standing).collect()
    }

    /// Waits until nothing is to be told at once any more, so long at most: for the end of the
    /// process. What was to be told again then is told now.
    pub async fn finish(&self, at_most: Duration) {
        let all = async {
            for node in &self.nodes {
                let number = node.queue_the_rest();
                node.told.subscribe().wait_for(|told| *told >= number).await.ok();
            }
        };
        timeout(at_most, all).await.ok();
    }
}

impl Drop for Purger {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Node {
    /// Puts links into the queue, and into that of what is told again, and says the number of the
    /// last.
    fn queue<'a>(&self, codes: impl Iterator<Item = &'a str>, again: bool) -> u64 {
        let mut queue = lock(&self.queue);
        let due = Instant::now() + self.again;
        for code in codes {
            queue.push(code.into());
            if again {
                queue.push_again(due, code.into());
            }
        }
        let last = queue.last();
        drop(queue);
        self.more.notify_one();
        last
    }

    fn queue_the_rest(&self) -> u64 {
        let mut queue = lock(&self.queue);
        queue.fall_due(Instant::now() + self.again);
        let last = queue.last();
        drop(queue);
        self.more.notify_one();
        last
    }

    /// Tells the node what is in the queue, for ever.
    async fn tell(self: Arc<Node>) {
        let mut pause = PAUSES[0];
        loop {
            let (batch, next) = self.batch();
            let Some((through, tags)) = batch else {
                tokio::select! {
                    () = self.more.notified() => {}
                    () = at(next) => {}
                }
                continue;
            };
            let count = tags.as_ref().map_or(1, Vec::len);
            let body = match tags {
                Some(tags) => serde_json::json!({ "tags": tags, "hard": true }),
                None => serde_json::json!({ "hosts": [self.host], "hard": true }),
            };
            match self.post(body.to_string().into()).await {
                Ok(()) => {
                    if !self.is_up.swap(true, Relaxed) {
                        info!(node = self.name, "caches in front are purged again");
                    }
                    pause = PAUSES[0];
                    self.count.fetch_add(count as u64, Relaxed);
                    lock(&self.queue).told(through);
                    self.told.send_replace(through);
                }
                Err(problem) => {
                    self.failed.fetch_add(1, Relaxed);
                    if self.is_up.swap(false, Relaxed) {
                        warn!(node = self.name, problem, "a cache in front cannot be purged");
                    }
                    sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                    pause = (pause * 2).min(PAUSES[1]);
                }
            }
        }
    }

    /// What to tell next, and when there will be more.
    fn batch(&self) -> (Option<Batch>, Option<Instant>) {
        let mut queue = lock(&self.queue);
        queue.fall_due(Instant::now());
        (queue.batch(), queue.again.front().map(|(due, _)| *due))
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        timeout(PATIENCE, self.exchange(body))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    async fn exchange(&self, body: Bytes) -> Result<(), String> {
        let words = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| words(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        let path: Uri = self.path.parse().map_err(|error| words(&error as &_))?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Content::from(body)).map_err(|error| words(&error))?;
        // The connection goes on only as long as it is asked, and may end with the answer. Without
        // one, whoever waits for it is told.
        let mut answer = pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            _ = connection => answer.await,
        };
        match answer.map_err(|error| words(&error))?.status().as_u16() {
            // No route has a cache, so that nothing is stored.
            200..=299 | 409 => Ok(()),
            status => Err(format!("status {status}")),
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_leaves_the_queue() {
        let mut queue = Queue::default();
        for number in 0..2500 {
            queue.push(format!("{number}").into());
        }
        let mut told = Vec::new();
        while let Some((through, tags)) = queue.batch() {
            told.extend(tags.expect("there is room"));
            queue.told(through);
        }
        assert_eq!(told, (0..2500).map(|number| format!("link:{number}")).collect::<Vec<_>>());
        assert_eq!(queue.last(), 2500);
    }

    #[test]
    fn a_full_queue_becomes_a_purge_of_everything() {
        let mut queue = Queue::default();
        queue.push("first".into());
        let (through, _) = queue.batch().expect("one waits");
        for _ in 0..MOST_WAITING {
            queue.push("a".into());
        }
        queue.push("last".into());
        // The request that was on its way ends after the queue was given up.
        queue.told(through);
        assert!(matches!(queue.batch(), Some((all, None)) if all == 1 + MOST_WAITING as u64));
        queue.told(1 + MOST_WAITING as u64);
        let (through, tags) = queue.batch().expect("the last one came after");
        assert_eq!((through, tags), (queue.last(), Some(vec!["link:last".to_owned()])));
    }

    #[test]
    fn what_is_to_be_told_again_waits_for_its_time() {
        let mut queue = Queue::default();
        let due = Instant::now() + Duration::from_secs(2);
        for _ in 0..=MOST_WAITING {
            queue.push_again(due, "a".into());
        }
        queue.fall_due(due - Duration::from_millis(1));
        assert!(queue.batch().is_none());
        queue.fall_due(due);
        assert!(matches!(queue.batch(), Some((1, None))), "there were too many to be told apart");
    }
}
