//! Worst days: what becomes of links while processes are killed, disks are full, and servers go
//! away and come back, with people who create and follow links all the while.

mod change;
mod expiry;
mod full;
mod kill;
mod servers;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use seawall_testkit::{PATIENCE, RawClient, Response};
use serde_json::{Value, json};

/// One request to the API over a connection of its own.
pub(super) fn post(
    address: SocketAddr,
    key: &str,
    fields: &str,
    body: &Value,
) -> io::Result<Response> {
    let body = body.to_string();
    let mut client = RawClient::connect(address)?;
    client.send(format!(
        "POST /api/v1/links HTTP/1.1\r\nhost: snip\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ))?;
    client.read_response_to("POST")
}

/// A link to a target, under an alias.
pub(super) fn aliased(target: &str, alias: &str) -> Value {
    json!({ "target": target, "alias": alias })
}

/// Something that happens again and again.
#[derive(Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn now(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Waits until it has happened so many times more, as long as `is_on`.
    pub(super) fn wait_for(&self, more: usize, what: &str) {
        let (goal, deadline) = (self.now() + more, Instant::now() + PATIENCE);
        while self.now() < goal {
            assert!(Instant::now() < deadline, "{what}: {} of {goal}", self.now());
            // There is nothing to wait on but what other threads have done.
            thread::sleep(Duration::from_millis(2));
        }
    }
}
