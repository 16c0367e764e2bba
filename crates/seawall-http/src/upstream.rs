//! Groups of servers, as all workers share them: which servers there are now, and how busy each
//! is. What belongs to one worker — idle connections, the rotation — is in [`pool`], where servers
//! come from in [`sources`].

pub(crate) mod health;
pub(crate) mod pool;
pub(crate) mod resolve;
pub(crate) mod sources;

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use seawall_telemetry::Metrics;
use seawall_telemetry::cells::PerWorker;
use seawall_telemetry::metrics::Server as ServerCells;
use tokio::sync::{Notify, watch};

use health::Watched;

/// One group of servers. Outlives plans: a reload changes its servers, not what is known of them.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    endpoints: ArcSwap<Vec<Endpoint>>,
    /// Goes up with every change of `endpoints`, so that workers notice without a lock.
    generation: AtomicU64,
    /// Goes up with every change of what may be used, see [`ServerState::standing`].
    standings: AtomicU64,
    sources: Mutex<sources::Sources>,
    /// Told with every change of `endpoints`, for those who wait for one.
    changes: watch::Sender<()>,
    /// Wakes the watch of this upstream before its next tick.
    pub(crate) look: Notify,
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
    /// It is taken out because of what it answers. Set by the watch of the upstream alone.
    pub(crate) ejected: AtomicBool,
    /// An [`Order`].
    order: AtomicU8,
    /// Since when it is used, as it was new or has returned, in milliseconds of the door's clock;
    /// for slow start.
    pub(crate) since: AtomicU64,
    /// The [`Standing`] that was seen last, and since when, see [`ServerState::note`].
    noted: AtomicU8,
    noted_since: AtomicU64,
    /// What passes between those who use the server and those who check it.
    pub(crate) watched: Watched,
    pub(crate) cells: Arc<PerWorker<ServerCells>>,
}

impl Upstream {
    pub(crate) fn new(name: Arc<str>) -> Upstream {
        Upstream {
            name,
            endpoints: ArcSwap::default(),
            generation: AtomicU64::new(0),
            standings: AtomicU64::new(0),
            look: Notify::new(),
            sources: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Which [`ServerState::standing`]s there were, as a number that goes up when one changes.
    pub(crate) fn standings(&self) -> u64 {
        self.standings.load(Relaxed)
    }

    /// To be called after every change of a [`ServerState::standing`].
    pub(crate) fn standing_changed(&self) {
        self.standings.fetch_add(1, Relaxed);
    }

    pub(crate) fn endpoints(&self) -> Arc<Vec<Endpoint>> {
        self.endpoints.load_full()
    }

    /// Sees every change of [`Upstream::endpoints`] from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
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

    /// Takes an order; say [`Upstream::standing_changed`] afterwards.
    pub(crate) fn set_order(&self, order: Order) {
        self.order.store(order as u8, Relaxed);
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

    fn new(address: SocketAddr, upstream: &Upstream, now: u64, metrics: &Metrics) -> ServerState {
        let label = address.to_string();
        ServerState {
            upstream: upstream.name.clone(),
            address,
            in_flight: AtomicU32::new(0),
            connections: Arc::default(),
            wanted: AtomicBool::new(false),
            freed: Notify::new(),
            held_until: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            ejected: AtomicBool::new(false),
            order: AtomicU8::new(Order::Use as u8),
            since: AtomicU64::new(0),
            noted: AtomicU8::new(Standing::Ready as u8),
            noted_since: AtomicU64::new(now),
            watched: Watched::new(metrics.checks(&upstream.name, &label)),
            cells: metrics.server(&upstream.name, &label),
            label,
        }
    }
}
