//! A DNS server over UDP whose answers the test changes while it runs: A, AAAA and SRV records with
//! a TTL, names that do not exist, failures and silence (RFC 1035, RFC 3596, RFC 2782).

use std::collections::{HashMap, HashSet};
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
const SRV: u16 = 33;
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

    /// From now on `name` has these service records, each with this TTL in seconds.
    pub fn set_service(&self, name: &str, targets: &[ServiceTarget<'_>], ttl: u32) {
        let target = |target: &ServiceTarget<'_>| {
            let mut data = Vec::new();
            for number in [target.priority, target.weight, target.port] {
                data.extend(number.to_be_bytes());
            }
            data.extend(encoded(target.host));
            (normal(target.host), data)
        };
        let targets = targets.iter().map(target).collect();
        self.put(name, Entry::Targets { targets, ttl });
    }

    /// Whether answers with service records have the addresses of their targets too, in the
    /// additional section; at first they do not.
    pub fn add_addresses(&self, add: bool) {
        self.shared.lock().adds_addresses = add;
    }

    /// From now on asking for the IPv4 addresses of `name` fails (SERVFAIL), until the name is set
    /// anew; those of IPv6 are answered as before.
    pub fn fail_ipv4(&self, name: &str) {
        self.shared.lock().failing.insert((normal(name), A));
    }

    /// From now on asking for the IPv6 addresses of `name` gets no answer at all, until the name is
    /// set anew; those of IPv4 are answered as before.
    pub fn mute_ipv6(&self, name: &str) {
        self.shared.lock().mute.insert((normal(name), AAAA));
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
        let mut state = self.shared.lock();
        let name = normal(name);
        state.failing.retain(|(failing, _)| *failing != name);
        state.mute.retain(|(mute, _)| *mute != name);
        state.names.insert(name, entry);
    }
}

/// A service record: where a service is.
#[derive(Debug, Clone, Copy)]
pub struct ServiceTarget<'a> {
    /// Targets with the lowest are used first.
    pub priority: u16,
    /// The share of the target among those of its priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The name; `.` says that the service is not there.
    pub host: &'a str,
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
    adds_addresses: bool,
    /// Names and types.
    failing: HashSet<(String, u16)>,
    mute: HashSet<(String, u16)>,
    queries: HashMap<String, usize>,
}

enum Entry {
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: u32,
    },
    /// The names of targets, and the data of their records.
    Targets {
        targets: Vec<(String, Vec<u8>)>,
        ttl: u32,
    },
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
        let answer = query.answer(&state);
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

    fn answer(&self, state: &State) -> Option<Vec<u8>> {
        let asked = (self.name.clone(), self.kind);
        if state.mute.contains(&asked) {
            return None;
        }
        if state.failing.contains(&asked) {
            return Some(self.message(SERVFAIL, &[], &[]));
        }
        match state.names.get(&self.name) {
            None => Some(self.message(NXDOMAIN, &[], &[])),
            Some(Entry::Failing) => Some(self.message(SERVFAIL, &[], &[])),
            Some(Entry::Mute) => None,
            Some(Entry::Addresses { addresses, ttl }) => {
                let records = addresses.iter().map(|address| Record::address(*address, *ttl));
                let answers: Vec<Record> =
                    records.filter(|record| record.kind == self.kind).collect();
                Some(self.message(0, &answers, &[]))
            }
            Some(Entry::Targets { targets, ttl }) if self.kind == SRV => {
                let record = |(_, data): &(String, Vec<u8>)| Record {
                    name: None,
                    kind: SRV,
                    ttl: *ttl,
                    data: data.clone(),
                };
                let answers: Vec<Record> = targets.iter().map(record).collect();
                let mut additional = Vec::new();
                for (host, _) in targets.iter().filter(|_| state.adds_addresses) {
                    if let Some(Entry::Addresses { addresses, ttl }) = state.names.get(host) {
                        let named = |address: &IpAddr| Record {
                            name: Some(host.clone()),
                            ..Record::address(*address, *ttl)
                        };
                        additional.extend(addresses.iter().map(named));
                    }
                }
                Some(self.message(0, &answers, &additional))
            }
            Some(Entry::Targets { .. }) => Some(self.message(0, &[], &[])),
        }
    }

    fn message(&self, code: u8, answers: &[Record], additional: &[Record]) -> Vec<u8> {
        let count = |records: &[Record]| u16::try_from(records.len()).unwrap_or(u16::MAX);
        let mut out = self.id.to_vec();
        // A response, authoritative; recursion as desired, and available.
        out.push(0x84 | u8::from(self.recursion_desired));
        out.push(0x80 | code);
        out.extend(1u16.to_be_bytes());
        out.extend(count(answers).to_be_bytes());
        out.extend(0u16.to_be_bytes());
        out.extend(count(additional).to_be_bytes());
        out.extend(&self.question);
        for record in answers.iter().chain(additional) {
            match &record.name {
                // The name is the one at offset 12 (RFC 1035 §4.1.4).
                None => out.extend([0xc0, 12]),
                Some(name) => out.extend(encoded(name)),
            }
            out.extend(record.kind.to_be_bytes());
            // Class IN.
            out.extend(1u16.to_be_bytes());
            out.extend(record.ttl.to_be_bytes());
            out.extend(u16::try_from(record.data.len()).unwrap_or_default().to_be_bytes());
            out.extend(&record.data);
        }
        out
    }
}

/// A record of an answer.
struct Record {
    /// `None` for the name that was asked for.
    name: Option<String>,
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

impl Record {
    fn address(address: IpAddr, ttl: u32) -> Self {
        let (kind, data) = match address {
            IpAddr::V4(address) => (A, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        };
        Self { name: None, kind, ttl, data }
    }
}

/// A name as it stands in a message (RFC 1035 §3.1).
fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in normal(name).split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend(label.bytes());
    }
    out.push(0);
    out
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
        let (query, answer) = exchange(server, name, kind);
        let mut found = Vec::new();
        let mut rest = &answer[query..];
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

    /// Asks, and returns the length of the query and the answer.
    fn exchange(server: &DnsServer, name: &str, kind: u16) -> (usize, Vec<u8>) {
        let mut query = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(encoded(name));
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
        (query.len(), answer.to_vec())
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
    fn one_family_can_fail_alone() {
        let server = DnsServer::start().expect("a server");
        let (one, six) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST));
        server.set("app.test", &[one, six], 5);
        server.fail_ipv4("app.test");
        assert_eq!(ask(&server, "app.test", A), (SERVFAIL, vec![]));
        assert_eq!(ask(&server, "app.test", AAAA), (0, vec![(six, 5)]));
        server.set("app.test", &[one], 5);
        assert_eq!(ask(&server, "app.test", A), (0, vec![(one, 5)]));
    }

    #[test]
    fn services_name_targets() {
        let server = DnsServer::start().expect("a server");
        let target = ServiceTarget { priority: 1, weight: 2, port: 80, host: "a.test" };
        server.set("a.test", &[IpAddr::from([127, 0, 0, 9])], 7);
        server.set_service("_http._tcp.test", &[target], 5);
        let data = b"\0\x01\0\x02\0\x50\x01a\x04test\0";
        let (query, answer) = exchange(&server, "_http._tcp.test", SRV);
        assert_eq!(answer[4..12], [0, 1, 0, 1, 0, 0, 0, 0]);
        let record = [&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 5, 0, 14], &data[..]].concat();
        assert_eq!(answer[query..], record);
        assert_eq!(exchange(&server, "_http._tcp.test", A).1[6..8], [0, 0]);

        server.add_addresses(true);
        let (query, answer) = exchange(&server, "_http._tcp.test", SRV);
        assert_eq!(answer[4..12], [0, 1, 0, 1, 0, 0, 0, 1]);
        let address = b"\x01a\x04test\0\0\x01\0\x01\0\0\0\x07\0\x04\x7f\0\0\x09";
        assert_eq!(answer[query + record.len()..], address[..]);
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
