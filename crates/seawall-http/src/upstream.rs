//! Groups of servers, as all workers share them: which servers there are now, and how busy each
//! is. What belongs to one worker — idle connections, the rotation — is in [`pool`], where servers
//! come from in [`sources`].

pub(crate) mod answer;
pub(crate) mod choose;
pub(crate) mod health;
pub(crate) mod line;
pub(crate) mod pool;
pub(crate) mod resolve;
pub(crate) mod sources;
pub(crate) mod trial;
pub(crate) mod watch;

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use seawall_core::balance::key::hash_key;
use seawall_core::balance::latency::Latency;
use seawall_telemetry::Metrics;
use seawall_telemetry::cells::{Cell, PerWorker};
use seawall_telemetry::metrics::{Server as ServerCells, Upstream as UpstreamMetrics};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::line::Line;

/// One group of servers. Outlives plans: a reload changes its servers, not what is known of them.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    endpoints: ArcSwap<Vec<Endpoint>>,
    /// Goes up with every change of `endpoints`, so that workers notice without a lock.
    generation: AtomicU64,
    /// Goes up with every change of what may be used, see [`ServerState::standing`].
    standings: Arc<AtomicU64>,
    sources: Mutex<sources::Sources>,
    /// Requests in flight to all servers, while they are limited.
    pub(crate) in_flight: Arc<AtomicUsize>,
    /// Where requests wait.
    pub(crate) line: Arc<Line>,
    /// What the circuit breaker counts.
    pub(crate) outcomes: Arc<PerWorker<Outcomes>>,
    /// What cookies are signed with where no secret is configured.
    pub(crate) process_key: [u8; 32],
    pub(crate) metrics: Arc<UpstreamMetrics>,
    /// What [`watch`] knows.
    pub(crate) watched: Mutex<watch::Watched>,
    /// Wakes the watch before its next tick.
    pub(crate) look: Arc<Notify>,
    /// Told with every change of `endpoints`, for those who wait for one.
    changes: tokio::sync::watch::Sender<()>,
}

/// What came of attempts, as far as the circuit breaker is concerned.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) total: Cell,
    pub(crate) failed: Cell,
    pub(crate) slow: Cell,
}

/// One server of an upstream with its weight there.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) server: Arc<ServerState>,
    pub(crate) weight: u32,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) priority: u8,
}

/// What an operator has said about a server. Kept until it is said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Order {
    /// Use it.
    #[default]
    Use,
    /// Nothing new goes there; what is there ends by itself, and who is stuck to it stays.
    Drain,
    /// Nothing goes there.
    Disable,
}

/// Whether a server may be used, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As far as is known it is well.
    Ready,
    /// It was taken out because of what it answered.
    Ejected,
    /// It fails its checks.
    Failing,
    /// No connection to it can be opened.
    Unreachable,
    /// An operator has said [`Order::Drain`].
    Draining,
    /// An operator has said [`Order::Disable`].
    Disabled,
}

impl Order {
    /// As it is written in the admin API.
    pub fn word(self) -> &'static str {
        match self {
            Order::Use => "use",
            Order::Drain => "drain",
            Order::Disable => "disable",
        }
    }
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 6] = [
        Standing::Ready,
        Standing::Ejected,
        Standing::Failing,
        Standing::Unreachable,
        Standing::Draining,
        Standing::Disabled,
    ];

    /// As it is shown in the admin API and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Ready => "ready",
            Standing::Ejected => "ejected",
            Standing::Failing => "failing",
            Standing::Unreachable => "unreachable",
            Standing::Draining => "draining",
            Standing::Disabled => "disabled",
        }
    }
}

/// What all workers know of a server.
#[derive(Debug)]
pub(crate) struct ServerState {
    /// A hash of its address.
    pub(crate) id: u64,
    /// The name of its upstream.
    pub(crate) upstream: Arc<str>,
    pub(crate) address: SocketAddr,
    /// The address as text, for logs and labels.
    pub(crate) label: String,
    pub(crate) in_flight: AtomicU32,
    pub(crate) connections: Arc<AtomicUsize>,
    /// A worker has no place for a connection, while another has idle ones: the next that is not
    /// needed is to be closed.
    pub(crate) wanted: AtomicBool,
    /// Told when a connection that was wanted has been closed.
    pub(crate) freed: Notify,
    /// Until when it is passed over because it could not be reached, in milliseconds of the
    /// door's clock; 0 for not at all. Set by [`ServerState::cannot_connect`] and put off by
    /// [`health`] until a connection can be opened.
    pub(crate) held_until: AtomicU64,
    /// It fails its active checks. Set by [`health`] alone.
    pub(crate) failing: AtomicBool,
    /// It passes its active checks after it did not, which lifts an ejection. Set by [`health`],
    /// taken by the watch.
    pub(crate) recovered: AtomicBool,
    /// It is taken out because of what it answers. Set by the watch of the upstream alone.
    pub(crate) ejected: AtomicBool,
    /// An [`Order`].
    order: AtomicU8,
    /// Since when it is used, as it was new or has returned, in milliseconds of the door's clock;
    /// for slow start.
    pub(crate) since: AtomicU64,
    /// Gateway errors since the last good answer.
    pub(crate) errors_in_a_row: AtomicU32,
    /// So many of these are worth a look of the watch at once.
    pub(crate) look_at: AtomicU32,
    look: Arc<Notify>,
    /// How long its answers take: a [`Latency`](seawall_core::balance::latency::Latency).
    pub(crate) latency: AtomicU64,
    /// The last connection that could not be opened was refused at once.
    pub(crate) refuses: AtomicBool,
    standings: Arc<AtomicU64>,
    pub(crate) line: Arc<Line>,
    /// The [`Standing`] that was seen last, and since when, see [`ServerState::note`].
    noted: AtomicU8,
    noted_since: AtomicU64,
    /// What passes between those who use the server and those who check it.
    pub(crate) notes: health::Notes,
    pub(crate) cells: Arc<PerWorker<ServerCells>>,
}

impl Upstream {
    /// Without servers yet. `epoch` is when the door's clock began; `look` wakes the watch.
    pub(crate) fn new(
        name: Arc<str>,
        epoch: Instant,
        look: Arc<Notify>,
        metrics: &Metrics,
    ) -> Upstream {
        Upstream {
            metrics: metrics.upstream(&name),
            name,
            endpoints: ArcSwap::default(),
            generation: AtomicU64::new(0),
            standings: Arc::default(),
            in_flight: Arc::default(),
            line: Arc::new(Line::new(epoch)),
            outcomes: Arc::new(PerWorker::new(metrics.workers())),
            process_key: process_key(),
            watched: Mutex::default(),
            look,
            sources: Mutex::default(),
            changes: tokio::sync::watch::Sender::new(()),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Which [`ServerState::standing`]s there were, as a number that goes up when one changes.
    pub(crate) fn standings(&self) -> u64 {
        self.standings.load(Relaxed)
    }

    /// See [`ServerState::standing_changed`].
    fn standing_changed(&self) {
        self.standings.fetch_add(1, Relaxed);
    }

    pub(crate) fn endpoints(&self) -> Arc<Vec<Endpoint>> {
        self.endpoints.load_full()
    }

    /// Sees every change of [`Upstream::endpoints`] from now on.
    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.changes.subscribe()
    }
}

/// A key that nobody else has, as long as the process lives.
fn process_key() -> [u8; 32] {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = [0; 32];
        for (at, part) in key.chunks_exact_mut(8).enumerate() {
            // Seeded by the system.
            let number = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), at);
            part.copy_from_slice(&number.to_be_bytes());
        }
        key
    })
}

impl ServerState {
    /// What an operator has said about it.
    pub(crate) fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            1 => Order::Drain,
            2 => Order::Disable,
            _ => Order::Use,
        }
    }

    /// Takes an order.
    pub(crate) fn set_order(&self, order: Order) {
        if self.order.swap(order as u8, Relaxed) != order as u8 {
            self.standing_changed();
        }
    }

    /// To be called after every change of what [`ServerState::standing`] looks at: workers look
    /// again.
    pub(crate) fn standing_changed(&self) {
        self.standings.fetch_add(1, Relaxed);
    }

    /// Whether it may be used at `now`, in milliseconds of the door's clock.
    pub(crate) fn standing(&self, now: u64) -> Standing {
        match self.order() {
            Order::Disable => Standing::Disabled,
            Order::Drain => Standing::Draining,
            Order::Use if self.held_until.load(Relaxed) > now => Standing::Unreachable,
            Order::Use if self.failing.load(Relaxed) => Standing::Failing,
            Order::Use if self.ejected.load(Relaxed) => Standing::Ejected,
            Order::Use => Standing::Ready,
        }
    }

    /// Its standing at `now`, and since when it has it as far as was looked at: whoever looks
    /// twice a second knows it to half a second. For the control thread alone.
    pub(crate) fn note(&self, now: u64) -> (Standing, u64) {
        let standing = self.standing(now);
        if self.noted.swap(standing as u8, Relaxed) != standing as u8 {
            self.noted_since.store(now, Relaxed);
        }
        (standing, self.noted_since.load(Relaxed))
    }

    /// It takes part from `now` on, as one that is new or has returned; `since` is when its share
    /// of the requests begins to grow, 0 for one that gets all of it at once.
    fn arrive(&self, now: u64, since: u64) {
        self.since.store(since, Relaxed);
        self.noted_since.store(now, Relaxed);
    }

    fn new(address: SocketAddr, upstream: &Upstream, metrics: &Metrics) -> ServerState {
        let label = address.to_string();
        ServerState {
            id: hash_key(label.as_bytes()),
            upstream: upstream.name.clone(),
            address,
            in_flight: AtomicU32::new(0),
            connections: Arc::default(),
            wanted: AtomicBool::new(false),
            freed: Notify::new(),
            held_until: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            recovered: AtomicBool::new(false),
            ejected: AtomicBool::new(false),
            order: AtomicU8::new(Order::Use as u8),
            since: AtomicU64::new(0),
            errors_in_a_row: AtomicU32::new(0),
            look_at: AtomicU32::new(u32::MAX),
            look: upstream.look.clone(),
            latency: AtomicU64::new(Latency::default().to_bits()),
            refuses: AtomicBool::new(false),
            standings: upstream.standings.clone(),
            line: upstream.line.clone(),
            noted: AtomicU8::new(Standing::Ready as u8),
            noted_since: AtomicU64::new(0),
            notes: health::Notes::new(metrics.checks(&upstream.name, &label)),
            cells: metrics.server(&upstream.name, &label),
            label,
        }
    }
}
