//! Open-loop load on one thread: requests are due at times that are fixed beforehand, whether or
//! not answers come, and are measured from those times, so that whoever has to wait for a
//! connection is not left out (no coordinated omission). Every answer is checked.
//!
//! It looks at its sockets a few thousand times a second and not at each answer, as a network card
//! does that collects interrupts: otherwise half of the machine would be spent on waking it. What
//! that adds to latencies, a quarter of a millisecond at most, is counted as theirs.

mod histogram;
mod workload;

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fastrand::Rng;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use seawall_testkit::connect_from;

pub(crate) use self::histogram::Histogram;
pub(crate) use self::workload::{Ask, Workload, zipf};

/// Between two looks at the sockets.
const TICK: Duration = Duration::from_micros(250);

/// Bytes of an answer at most.
const LARGEST: usize = 16 * 1024;

/// Without an answer for so long, a connection is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many a second on average, at random times (a Poisson process), by Zipf's law.
    Rate { rate: f64, seed: u64 },
    /// Each link from this one on once, as fast as it goes.
    Each { from: usize },
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Good answers.
    pub(crate) answered: u64,
    /// What went wrong, and how often.
    pub(crate) errors: BTreeMap<String, u64>,
    /// From the time that a request was due to its answer, in microseconds.
    pub(crate) latencies: Histogram,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// It was given up before its time: far more was due than was answered.
    pub(crate) is_broken_off: bool,
}

impl Outcome {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Requests that were not answered well.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Connections that stay open from one load to the next.
pub(crate) struct Load<'a> {
    workload: &'a Workload,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// When its request was due, and when it was sent.
    asked: Option<(Instant, Instant, Ask)>,
}

impl<'a> Load<'a> {
    /// Opens so many connections, each from an address of its own, as visitors have.
    pub(crate) fn open(
        workload: &'a Workload,
        address: SocketAddr,
        connections: usize,
    ) -> anyhow::Result<Load<'a>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut load = Load { workload, epoll, connections: Vec::new(), idle: Vec::new() };
        for number in 0..connections {
            let [.., high, low] = (number as u32 + 2).to_be_bytes();
            let source = IpAddr::from(Ipv4Addr::new(127, 0, high, low));
            let stream = connect_from(source, address).context("cannot connect")?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&load.epoll, &stream, data, epoll::EventFlags::IN)?;
            load.connections.push(Connection { stream, read: Vec::new(), asked: None });
            load.idle.push(number);
        }
        Ok(load)
    }

    /// Sends for so long, then waits for the answers. Given up when so many requests are due that
    /// the last of them would wait for longer than `bearable`.
    pub(crate) fn run(
        &mut self,
        pace: Pace,
        length: Duration,
        bearable: Duration,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut due: VecDeque<(Instant, Ask)> = VecDeque::new();
        let mut events = Vec::with_capacity(1024);
        let mut request = Vec::with_capacity(2048);
        let began = Instant::now();
        let end = began + length;
        let mut arrivals = Arrivals::new(pace, began);
        let mut is_over = false;
        loop {
            let now = Instant::now();
            while !is_over {
                let room = self.idle.len().saturating_sub(due.len());
                match arrivals.next(now, end, self.workload, room) {
                    Next::Due(at, ask) => due.push_back((at, ask)),
                    Next::Later => break,
                    Next::Over => is_over = true,
                }
            }
            if due.front().is_some_and(|(at, _)| now.duration_since(*at) > bearable) {
                outcome.is_broken_off = true;
                is_over = true;
                due.clear();
            }
            while let Some((at, ask)) = due.pop_front() {
                let Some(number) = self.idle.pop() else {
                    due.push_front((at, ask));
                    break;
                };
                request.clear();
                self.workload.write(ask, &mut request);
                let connection = &mut self.connections[number];
                // Into an empty buffer of the kernel: it takes all or fails.
                let sent = connection.stream.write(&request)?;
                ensure!(sent == request.len(), "half a request was taken");
                connection.asked = Some((at, now, ask));
            }
            let in_flight = self.connections.len() - self.idle.len();
            if is_over && due.is_empty() && in_flight == 0 {
                break;
            }
            thread::sleep(TICK);
            events.clear();
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once))?;
            for event in &events {
                let number = event.data.u64() as usize;
                self.answer(number, &mut outcome)?;
            }
            if events.is_empty() && in_flight > 0 {
                let oldest =
                    self.connections.iter().filter_map(|one| one.asked).min_by_key(|it| it.1);
                if let Some((_, sent, ask)) = oldest {
                    ensure!(sent.elapsed() < PATIENCE, "no answer for link {}", ask.link);
                }
            }
        }
        outcome.took = began.elapsed();
        Ok(outcome)
    }

    /// Reads what there is of an answer.
    fn answer(&mut self, number: usize, outcome: &mut Outcome) -> anyhow::Result<()> {
        let connection = &mut self.connections[number];
        let Connection { stream, read, asked } = connection;
        let mut buffer = [0; LARGEST];
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("a connection broke"),
        };
        ensure!(count > 0, "a connection was closed");
        // Nearly always all of it at once.
        let bytes = if read.is_empty() {
            &buffer[..count]
        } else {
            read.extend_from_slice(&buffer[..count]);
            &read[..]
        };
        let Some(answer) = parse(bytes) else {
            ensure!(bytes.len() < LARGEST, "an answer without an end");
            if read.is_empty() {
                read.extend_from_slice(&buffer[..count]);
            }
            return Ok(());
        };
        let (due, _, ask) = asked.take().context("an answer that nobody asked for")?;
        if answer.status == 302 && self.workload.is_target(ask, answer.location) {
            outcome.answered += 1;
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            outcome.latencies.add(micros);
        } else {
            let location = String::from_utf8_lossy(answer.location);
            let what = match answer.status {
                302 => format!("link {} led to {location}", ask.link),
                status => format!("status {status}"),
            };
            *outcome.errors.entry(what).or_default() += 1;
        }
        read.clear();
        self.idle.push(number);
        Ok(())
    }
}

/// When requests come, and which.
struct Arrivals {
    random: Rng,
    pace: Pace,
    next: Instant,
}

enum Next {
    Due(Instant, Ask),
    Later,
    Over,
}

impl Arrivals {
    fn new(pace: Pace, began: Instant) -> Self {
        let seed = match pace {
            Pace::Rate { seed, .. } => seed,
            Pace::Each { .. } => 0,
        };
        Self { random: Rng::with_seed(seed), pace, next: began }
    }

    /// The next request, if it is due; `room` is for how many there are connections.
    fn next(&mut self, now: Instant, end: Instant, workload: &Workload, room: usize) -> Next {
        match &mut self.pace {
            Pace::Rate { rate, .. } => {
                let at = self.next;
                if at >= end {
                    return Next::Over;
                }
                if at > now {
                    return Next::Later;
                }
                // Between 0, exclusive, and 1.
                let gap = -(1.0 - self.random.f64()).ln() / *rate;
                self.next = at + Duration::from_secs_f64(gap);
                Next::Due(at, workload.draw(&mut self.random))
            }
            Pace::Each { from } => {
                if *from >= workload.links() || now >= end {
                    return Next::Over;
                }
                if room == 0 {
                    return Next::Later;
                }
                *from += 1;
                Next::Due(now, workload.of_link(*from - 1))
            }
        }
    }
}

/// What an answer says.
struct Answer<'a> {
    status: u16,
    location: &'a [u8],
}

/// An answer, once all of it is there. What cannot be understood has the status 0.
fn parse(bytes: &[u8]) -> Option<Answer<'_>> {
    let (mut location, mut length, mut from) = (&b""[..], 0, 0);
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    loop {
        let line = &bytes[from..];
        let line = &line[..line.iter().position(|byte| *byte == b'\n')?];
        from += line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => break,
            Some(b'l' | b'L') => location = field(line, b"location").unwrap_or(location),
            Some(b'c' | b'C') => {
                if let Some(value) = field(line, b"content-length") {
                    length = std::str::from_utf8(value).ok()?.parse().ok()?;
                }
            }
            Some(_) => {}
        }
    }
    (bytes.len() >= from + length).then_some(Answer { status: status.unwrap_or(0), location })
}

/// The value of a line, if it is of this field.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then(|| value.strip_prefix(b":").map(<[u8]>::trim_ascii))?
}
