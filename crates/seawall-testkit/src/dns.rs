//! A DNS server over UDP whose answers the test changes while it runs: A and AAAA records with a
//! TTL, names that do not exist, failures and silence (RFC 1035, RFC 3596).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::PATIENCE;
use crate::address::loopback;
use crate::gate::time_left;

const A: u16 = 1;
const AAAA: u16 = 28;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// A running DNS server on a free port of 127.0.0.1. Dropping it stops it.
pub struct DnsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Starts it; every name is unknown (NXDOMAIN).
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind(loopback())?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("dns".to_owned()).spawn({
            let shared = shared.clone();
            move || serve(&socket, &shared)
        })?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `name` has these addresses, each with this TTL in seconds. Without any, the
    /// name exists and has none.
    pub fn set(&self, name: &str, addresses: &[IpAddr], ttl: u32) {
        let addresses = addresses.to_vec();
        self.put(name, Entry::Addresses { addresses, ttl });
    }

    /// From now on `name` does not exist (NXDOMAIN).
    pub fn remove(&self, name: &str) {
        self.shared.lock().names.remove(&normal(name));
    }

    /// From now on asking for `name` fails (SERVFAIL).
    pub fn fail(&self, name: &str) {
        self.put(name, Entry::Failing);
    }

    /// From now on asking for `name` gets no answer at all.
    pub fn mute(&self, name: &str) {
        self.put(name, Entry::Mute);
    }

    /// How many queries for `name`, of any type, have arrived.
    pub fn queries(&self, name: &str) -> usize {
        self.shared.lock().queries.get(&normal(name)).copied().unwrap_or(0)
    }

    /// Waits until at least `count` queries for `name` have arrived.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub fn wait_for_queries(&self, name: &str, count: usize) -> io::Result<()> {
        let name = normal(name);
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while state.queries.get(&name).copied().unwrap_or(0) < count {
            let left = time_left(deadline, "a DNS query")?;
            state = match self.shared.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(())
    }

    fn put(&self, name: &str, entry: Entry) {
        self.shared.lock().names.insert(normal(name), entry);
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        // An empty datagram wakes the thread, which then finds that it is to stop.
        let woken =
            UdpSocket::bind(loopback()).and_then(|socket| socket.send_to(&[], self.address));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            thread.join().ok();
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    names: HashMap<String, Entry>,
    queries: HashMap<String, usize>,
}

enum Entry {
    Addresses { addresses: Vec<IpAddr>, ttl: u32 },
    Failing,
    Mute,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 1500];
    loop {
        let received = socket.recv_from(&mut buffer);
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        // An error here is the ICMP echo of an answer to a client that is gone.
        let Ok((length, peer)) = received else {
            continue;
        };
        let Some(query) = Query::parse(&buffer[..length]) else {
            continue;
        };
        *state.queries.entry(query.name.clone()).or_default() += 1;
        let answer = query.answer(state.names.get(&query.name));
        drop(state);
        shared.changed.notify_all();
        if let Some(answer) = answer {
            socket.send_to(&answer, peer).ok();
        }
    }
}

/// The one question of a query.
struct Query {
    id: [u8; 2],
    recursion_desired: bool,
    name: String,
    kind: u16,
    /// The question as it came, to be repeated in the answer.
    question: Vec<u8>,
}

impl Query {
    fn parse(message: &[u8]) -> Option<Self> {
        let header = message.get(..12)?;
        let is_query = header[2] & 0x80 == 0;
        let questions = u16::from_be_bytes([header[4], header[5]]);
        if !is_query || questions != 1 {
            return None;
        }
        let mut name = String::new();
        let mut at = 12;
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            match length {
                0 => break,
                1..=63 => {
                    let label = message.get(at..at + length)?;
                    name.push_str(&String::from_utf8_lossy(label));
                    name.push('.');
                    at += length;
                }
                _ => return None,
            }
        }
        let tail = message.get(at..at + 4)?;
        Some(Self {
            id: [header[0], header[1]],
            recursion_desired: header[2] & 1 == 1,
            name: normal(&name),
            kind: u16::from_be_bytes([tail[0], tail[1]]),
            question: message.get(12..at + 4)?.to_vec(),
        })
    }

    fn answer(&self, entry: Option<&Entry>) -> Option<Vec<u8>> {
        match entry {
            None => Some(self.message(NXDOMAIN, &[], 0)),
            Some(Entry::Failing) => Some(self.message(SERVFAIL, &[], 0)),
            Some(Entry::Mute) => None,
            Some(Entry::Addresses { addresses, ttl }) => {
                let data: Vec<Vec<u8>> = addresses
                    .iter()
                    .filter_map(|address| match (self.kind, address) {
                        (A, IpAddr::V4(address)) => Some(address.octets().to_vec()),
                        (AAAA, IpAddr::V6(address)) => Some(address.octets().to_vec()),
                        _ => None,
                    })
                    .collect();
                Some(self.message(0, &data, *ttl))
            }
        }
    }

    fn message(&self, code: u8, data: &[Vec<u8>], ttl: u32) -> Vec<u8> {
        let count = u16::try_from(data.len()).unwrap_or(u16::MAX);
        let mut out = self.id.to_vec();
        // A response, authoritative; recursion as desired, and available.
        out.push(0x84 | u8::from(self.recursion_desired));
        out.push(0x80 | code);
        out.extend(1u16.to_be_bytes());
        out.extend(count.to_be_bytes());
        out.extend([0; 4]);
        out.extend(&self.question);
        for address in data.iter().take(usize::from(count)) {
            // The name is the one at offset 12 (RFC 1035 §4.1.4), the class IN.
            out.extend([0xc0, 12]);
            out.extend(self.kind.to_be_bytes());
            out.extend(1u16.to_be_bytes());
            out.extend(ttl.to_be_bytes());
            out.extend(u16::try_from(address.len()).unwrap_or_default().to_be_bytes());
            out.extend(address);
        }
        out
    }
}

/// Names compare without case and without the final dot.
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// Asks like a resolver would, and returns the code and the addresses with their TTL.
    fn ask(server: &DnsServer, name: &str, kind: u16) -> (u8, Vec<(IpAddr, u32)>) {
        let mut query = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).expect("a short label"));
            query.extend(label.bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        let socket = UdpSocket::bind(loopback()).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.send_to(&query, server.address()).expect("to send");
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).expect("an answer");
        let answer = &answer[..length];
        assert_eq!(&answer[..2], [7, 9], "the id is repeated");
        assert_eq!(&answer[12..query.len()], &query[12..], "so is the question");
        let mut found = Vec::new();
        let mut rest = &answer[query.len()..];
        for _ in 0..u16::from_be_bytes([answer[6], answer[7]]) {
            let ttl = u32::from_be_bytes([rest[6], rest[7], rest[8], rest[9]]);
            let size = usize::from(u16::from_be_bytes([rest[10], rest[11]]));
            let data = &rest[12..12 + size];
            found.push(match <[u8; 4]>::try_from(data) {
                Ok(octets) => (IpAddr::from(octets), ttl),
                Err(_) => (IpAddr::from(<[u8; 16]>::try_from(data).expect("IPv6")), ttl),
            });
            rest = &rest[12 + size..];
        }
        assert!(rest.is_empty());
        (answer[3] & 0xf, found)
    }

    #[test]
    fn answers_follow_what_is_set() {
        let server = DnsServer::start().expect("a server");
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let six = IpAddr::from(Ipv6Addr::LOCALHOST);
        assert_eq!(ask(&server, "app.test", A), (NXDOMAIN, vec![]));
        server.set("App.Test.", &[one, six, two], 5);
        assert_eq!(ask(&server, "app.test", A), (0, vec![(one, 5), (two, 5)]));
        assert_eq!(ask(&server, "APP.test", AAAA), (0, vec![(six, 5)]));
        server.set("app.test", &[two], 0);
        assert_eq!(ask(&server, "app.test", A), (0, vec![(two, 0)]));
        server.fail("app.test");
        assert_eq!(ask(&server, "app.test", A), (SERVFAIL, vec![]));
        server.remove("app.test");
        assert_eq!(ask(&server, "app.test", A), (NXDOMAIN, vec![]));
        assert_eq!(server.queries("app.test"), 6);
    }

    #[test]
    fn silence_is_still_counted() {
        let server = DnsServer::start().expect("a server");
        server.mute("app.test");
        let socket = UdpSocket::bind(loopback()).expect("a socket");
        let query =
            b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03app\x04test\x00\x00\x01\x00\x01";
        socket.send_to(query, server.address()).expect("to send");
        server.wait_for_queries("app.test", 1).expect("it arrived");
    }

    #[test]
    fn nonsense_is_ignored() {
        for message in [&b""[..], b"\x00", &[0xff; 40], &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 60]] {
            assert!(Query::parse(message).is_none(), "{message:?}");
        }
    }
}
