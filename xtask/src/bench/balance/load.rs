//! Open-loop load: requests are sent at times that are fixed beforehand, on a connection of their
//! own if none is free, and measured from those times. Never waits for answers before it sends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::stay_on;

/// When requests come: as they do from many users who know nothing of each other, which is a
/// Poisson process of this rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrivals {
    /// The same seed gives the same times.
    pub(super) seed: u64,
    /// A second, on average.
    pub(super) rate: u32,
    pub(super) length: Duration,
}

/// What came of a round.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// From the time a request was meant to be sent to the last byte of its good answer, in
    /// microseconds, in ascending order.
    pub(super) latencies: Vec<u32>,
    /// Requests without a good answer.
    pub(super) errors: u64,
    /// How much later than meant requests were sent, in microseconds: the 99th percentile. Not the
    /// proxy's doing, but part of the latencies.
    pub(super) late: u32,
}

/// Patience with one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer that is longer is not the one that was asked for.
const LONGEST: usize = 64 << 10;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n";

/// Sends requests to one address, and waits for what becomes of all of them. Everything happens on
/// this core.
pub(super) fn round(
    core: usize,
    address: SocketAddr,
    arrivals: Arrivals,
) -> anyhow::Result<Outcome> {
    let (ready, handle) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let (results, requests) = mpsc::channel();
    std::thread::scope(|scope| {
        let sockets = scope.spawn(move || -> anyhow::Result<()> {
            stay_on(core)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            ready.send(runtime.handle().clone()).ok();
            runtime.block_on(stopped).ok();
            Ok(())
        });
        let pace = scope.spawn(move || -> anyhow::Result<()> {
            stay_on(core)?;
            let handle = handle.recv().context("the load does not start")?;
            pace(&handle, address, arrivals, &results);
            Ok(())
        });
        let requests = requests.into_iter().collect();
        drop(stop);
        for thread in [pace, sockets] {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the load panicked"))??;
        }
        Ok(outcome(requests))
    })
}

/// One request: what came of it, or `None` for an error, and how late it was sent, both in
/// microseconds.
type Result = (Option<u32>, u32);

/// Starts each request at its time. On a thread of its own, since timers of tokio are exact to the
/// millisecond only, which is about what there is between two requests.
fn pace(handle: &Handle, address: SocketAddr, arrivals: Arrivals, results: &mpsc::Sender<Result>) {
    let idle = Arc::new(Idle::default());
    let began = Instant::now();
    for at in arrivals.times() {
        let due = began + at;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (idle, results) = (idle.clone(), results.clone());
        handle.spawn(async move {
            let late = micros(due.elapsed());
            let answered = timeout(PATIENCE, ask(&idle, address)).await;
            let latency = micros(due.elapsed());
            let good = matches!(answered, Ok(Ok(())));
            // Nobody waits for it any more only when the round failed.
            results.send((good.then_some(latency), late)).ok();
        });
    }
}

impl Arrivals {
    /// The times of all requests, from the beginning of the round.
    fn times(self) -> impl Iterator<Item = Duration> {
        let mut random = Rng::with_seed(self.seed);
        let mut now = 0.0;
        let next = move || {
            // Between 0, exclusive, and 1.
            now += -(1.0 - random.f64()).ln() / f64::from(self.rate);
            Some(Duration::from_secs_f64(now))
        };
        std::iter::from_fn(next).take_while(move |time| *time < self.length)
    }
}

/// Connections that nobody uses, the last used first.
#[derive(Default)]
struct Idle(Mutex<Vec<TcpStream>>);

impl Idle {
    fn take(&self) -> Option<TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, stream: TcpStream) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
    }
}

async fn ask(idle: &Idle, address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = match idle.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    stream.write_all(REQUEST).await?;
    let mut read = Vec::with_capacity(2048);
    let status = loop {
        anyhow::ensure!(stream.read_buf(&mut read).await? > 0, "the connection ended");
        if let Some((status, length)) = head(&read)? {
            anyhow::ensure!(length <= LONGEST, "an answer of {length} bytes");
            if read.len() >= length {
                break status;
            }
        }
    };
    anyhow::ensure!(status == 200, "status {status}");
    idle.give_back(stream);
    Ok(())
}

/// The status of an answer and its length with its head, once the head is there.
fn head(read: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = answer.parse(read)? else {
        anyhow::ensure!(read.len() <= LONGEST, "a head without an end");
        return Ok(None);
    };
    let is_length = |field: &&httparse::Header| field.name.eq_ignore_ascii_case("content-length");
    let field = answer.headers.iter().find(is_length).context("an answer without a length")?;
    let body: usize = std::str::from_utf8(field.value)?.trim().parse()?;
    Ok(Some((answer.code.context("no status")?, length.saturating_add(body))))
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn outcome(requests: Vec<Result>) -> Outcome {
    let mut late: Vec<u32> = requests.iter().map(|(_, late)| *late).collect();
    late.sort_unstable();
    let mut latencies: Vec<u32> = requests.iter().filter_map(|(latency, _)| *latency).collect();
    latencies.sort_unstable();
    let errors = (requests.len() - latencies.len()) as u64;
    Outcome { latencies, errors, late: percentile(&late, 0.99) }
}

/// The value that this share of the sorted values does not exceed; 0 when there is none.
pub(super) fn percentile(sorted: &[u32], share: f64) -> u32 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use seawall_testkit::{Gate, Origin, Response};

    use super::*;

    #[test]
    fn arrivals_keep_the_rate_and_come_again_with_the_seed() {
        let arrivals = Arrivals { seed: 7, rate: 1000, length: Duration::from_secs(100) };
        let times: Vec<Duration> = arrivals.times().collect();
        assert!((99_000..101_000).contains(&times.len()), "{}", times.len());
        assert!(times.is_sorted() && times.iter().all(|time| *time < arrivals.length));
        assert!(arrivals.times().eq(times.iter().copied()));
        assert!(!Arrivals { seed: 8, ..arrivals }.times().eq(times));
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<u32> = (1..=1000).collect();
        for (share, expect) in [(0.0, 1), (0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            assert_eq!(percentile(&values, share), expect, "{share}");
        }
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn requests_are_sent_however_long_answers_take() {
        let gate = Gate::new();
        let origin = Origin::responding({
            let gate = gate.clone();
            move |_| {
                gate.wait().expect("to be opened");
                Response::new(200, "late")
            }
        })
        .expect("an origin");
        let arrivals = Arrivals { seed: 1, rate: 500, length: Duration::from_millis(100) };
        let all = arrivals.times().count();
        let address = origin.address();
        let load = std::thread::spawn(move || round(0, address, arrivals));
        // A closed loop would never get there.
        origin.wait_for_requests(all).expect("all requests at once");
        gate.open();
        let outcome = load.join().expect("no panic").expect("an outcome");
        assert_eq!((outcome.latencies.len(), outcome.errors), (all, 0));
        assert!(outcome.latencies.is_sorted());
    }

    #[test]
    fn bad_answers_are_errors() {
        let origin = Origin::responding(|_| Response::new(503, "no")).expect("an origin");
        let arrivals = Arrivals { seed: 1, rate: 500, length: Duration::from_millis(50) };
        let outcome = round(0, origin.address(), arrivals).expect("an outcome");
        assert_eq!(outcome.errors, arrivals.times().count() as u64);
        assert!(outcome.errors > 0 && outcome.latencies.is_empty());
    }

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(head(text).expect("good"), Some((200, text.len())));
        assert_eq!(head(&text[..20]).expect("good so far"), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(head(b"nonsense\r\n\r\n").is_err());
    }
}
