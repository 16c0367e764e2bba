//! The servers behind the proxies: eight, all in one thread, of which one is slow and one stalls.
//!
//! Each does four requests at a time, the rest wait in the order they came, so that a server that
//! gets more than it can do becomes slower still, as servers are. The work is only waited for, so
//! that they do not use up the core they share with the load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use super::stay_on;

/// How many servers there are.
pub(super) const SERVERS: usize = 8;

/// The one that takes [`TIMES_SLOWER`] the time for everything. In the middle, so that no balancer
/// that begins at an end meets it first or last.
pub(super) const SLOW: usize = 3;

/// The one that stalls.
pub(super) const STALLING: usize = 6;

/// Milliseconds that a request takes: anything between, each as likely.
const SERVICE: std::ops::Range<f64> = 2.0..4.0;

/// How much slower the slow one is.
pub(super) const TIMES_SLOWER: u32 = 10;

/// Requests that a server works on at once.
pub(super) const AT_ONCE: usize = 4;

/// Every [`STALL_EVERY`], counted from the beginning of a round, from [`STALL_AT`] on and for
/// [`STALL_FOR`], the stalling server neither begins nor ends anything.
const STALL_EVERY: Duration = Duration::from_secs(10);
const STALL_AT: Duration = Duration::from_secs(5);
const STALL_FOR: Duration = Duration::from_secs(1);

/// The body of each answer.
const BODY: usize = 1024;

/// A head that is longer is not from a proxy of ours.
const LONGEST_HEAD: usize = 16 << 10;

/// The running servers. Dropping stops them.
pub(super) struct Origins {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What one server got in a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) requests: u64,
    /// The most it had at once.
    pub(super) most: u32,
}

struct Shared {
    servers: Vec<Server>,
    round: Mutex<Instant>,
}

struct Server {
    slower: u32,
    stalls: bool,
    workers: Semaphore,
    requests: AtomicU64,
    now: AtomicU32,
    most: AtomicU32,
}

impl Origins {
    /// Starts them, all on one core.
    pub(super) fn start(core: usize) -> anyhow::Result<Self> {
        let server = |at| Server {
            slower: if at == SLOW { TIMES_SLOWER } else { 1 },
            stalls: at == STALLING,
            workers: Semaphore::new(AT_ONCE),
            requests: AtomicU64::new(0),
            now: AtomicU32::new(0),
            most: AtomicU32::new(0),
        };
        let shared = Arc::new(Shared {
            servers: (0..SERVERS).map(server).collect(),
            round: Mutex::new(Instant::now()),
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, addresses) = mpsc::channel();
        let thread = std::thread::Builder::new().name("origins".to_owned()).spawn({
            let shared = shared.clone();
            move || match serve(core, &shared, &ready, stopped) {
                Ok(()) => {}
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        let addresses = addresses.recv().context("the servers do not start")??;
        Ok(Self { shared, addresses, stop: Some(stop), thread: Some(thread) })
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Begins a round: the next stall is [`STALL_AT`] from now. Returns the counts until now.
    pub(super) fn begin_round(&self) -> Vec<u64> {
        *self.shared.round() = Instant::now();
        let count = |server: &Server| {
            server.most.store(server.now.load(Relaxed), Relaxed);
            server.requests.load(Relaxed)
        };
        self.shared.servers.iter().map(count).collect()
    }

    /// What came since the round began that these counts are of.
    pub(super) fn since(&self, before: &[u64]) -> Vec<Share> {
        let share = |(server, before): (&Server, &u64)| Share {
            requests: server.requests.load(Relaxed) - before,
            most: server.most.load(Relaxed),
        };
        self.shared.servers.iter().zip(before).map(share).collect()
    }
}

impl Drop for Origins {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed when it happened.
            thread.join().ok();
        }
    }
}

impl Shared {
    fn round(&self) -> MutexGuard<'_, Instant> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the stall is over, if there is one now.
    async fn stall(&self, server: &Server) {
        if server.stalls {
            let began = *self.round();
            if let Some(left) = stall_left(began.elapsed()) {
                sleep(left).await;
            }
        }
    }
}

/// How long the stall will last that there is at this time of a round.
fn stall_left(time: Duration) -> Option<Duration> {
    let phase = Duration::from_nanos((time.as_nanos() % STALL_EVERY.as_nanos()) as u64);
    let over = STALL_AT + STALL_FOR;
    (STALL_AT..over).contains(&phase).then(|| over - phase)
}

fn serve(
    core: usize,
    shared: &Arc<Shared>,
    ready: &mpsc::Sender<anyhow::Result<Vec<SocketAddr>>>,
    stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    stay_on(core)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut addresses = Vec::new();
        for at in 0..SERVERS {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            tokio::spawn(accept(listener, shared.clone(), at));
        }
        ready.send(Ok(addresses)).ok();
        // Ends when the sender is dropped; the tasks end with the runtime.
        stopped.await.ok();
        Ok(())
    })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, at: usize) {
    // An error of accept is one of a connection that is gone, or of the limit on open files, which
    // was raised far beyond what is used; the round shows what is missing.
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, shared.clone(), at));
    }
}

/// Answers whatever is asked on one connection until it ends.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>, at: usize) {
    stream.set_nodelay(true).ok();
    let server = &shared.servers[at];
    let answer = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n").into_bytes(),
        vec![b's'; BODY],
    ]
    .concat();
    let mut read = Vec::with_capacity(LONGEST_HEAD);
    while let Ok(1..) = stream.read_buf(&mut read).await {
        if read.len() > LONGEST_HEAD {
            return;
        }
        if !read.ends_with(b"\r\n\r\n") {
            continue;
        }
        read.clear();
        let place = server.enter();
        work(server, &shared).await;
        drop(place);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn work(server: &Server, shared: &Shared) {
    let Ok(_worker) = server.workers.acquire().await else { return };
    shared.stall(server).await;
    let millis = SERVICE.start + fastrand::f64() * (SERVICE.end - SERVICE.start);
    sleep(Duration::from_secs_f64(millis * f64::from(server.slower) / 1e3)).await;
    shared.stall(server).await;
}

impl Server {
    fn enter(&self) -> Place<'_> {
        self.requests.fetch_add(1, Relaxed);
        self.most.fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
        Place(self)
    }
}

/// One request at a server, as long as it is there.
struct Place<'a>(&'a Server);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use seawall_testkit::RawClient;

    use super::*;

    #[test]
    fn stalls_come_every_ten_seconds() {
        let millis = Duration::from_millis;
        for (at, left) in [
            (0, None),
            (4_999, None),
            (5_000, Some(1_000)),
            (5_999, Some(1)),
            (6_000, None),
            (15_250, Some(750)),
            (20_000, None),
        ] {
            assert_eq!(stall_left(millis(at)), left.map(millis), "{at}");
        }
    }

    #[test]
    fn every_server_answers_and_counts() {
        let origins = Origins::start(0).expect("to start");
        let before = origins.begin_round();
        for address in origins.addresses() {
            let mut client = RawClient::connect(*address).expect("to connect");
            for _ in 0..2 {
                let answer = client.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("one");
                assert_eq!((answer.status, answer.body.len()), (200, BODY));
            }
        }
        assert_eq!(origins.since(&before), [Share { requests: 2, most: 1 }; SERVERS]);
    }
}
