//! Which servers an upstream has: those of the configuration and of a watched file, or those that
//! the admin API has put in their place; names among them by what the DNS has answered last.
//!
//! Book-keeping alone: asks nobody, and time is an argument. An upstream that has servers is never
//! left without any by an answer, a file or a reload. What is known of a server that has gone is
//! kept for a while, should it return. Called on the control thread, by the door and by
//! [`super::resolve`].

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard, PoisonError};

use seawall_config::plan::{ServerAddress, ServerSpec};
use seawall_telemetry::Metrics;

use super::{Endpoint, Order, ServerState, Upstream};

/// Most servers of an upstream; those beyond are not used.
pub(crate) const MOST_SERVERS: usize = 10_000;

/// What is known of a server that has gone is kept so long, in milliseconds, and longer while it
/// has requests in flight…
const REMEMBERED_MILLIS: u64 = 10 * 60 * 1000;
/// …but of no more than so many, the last to go.
const MOST_DEPARTED: usize = 1_000;

/// The last of the priorities, as in the configuration.
const LOWEST_PRIORITY: u8 = 15;

/// Most servers that orders are kept for.
const MOST_ORDERS: usize = 10_000;

/// Where the servers come from, and what is known of those that have gone.
#[derive(Debug, Default)]
pub(super) struct Sources {
    configured: Vec<ServerSpec>,
    /// Those of the watched file, which come on top. Nothing while there was no good one.
    file: Option<Vec<ServerSpec>>,
    /// Those that the admin API has put in place of both.
    replaced: Option<Vec<ServerSpec>>,
    names: HashMap<Question, Known>,
    departed: HashMap<SocketAddr, Departed>,
    orders: HashMap<SocketAddr, Order>,
    /// None of the servers has an address, so those from before are still in use.
    stranded: bool,
}

/// What is looked up in the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Question {
    /// The addresses of a name.
    Addresses(Arc<str>),
    /// The targets of a service (RFC 2782).
    Service(Arc<str>),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Sorted and different.
    Addresses(Vec<IpAddr>),
    /// Sorted.
    Targets(Vec<Target>),
}

/// A server that a service names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Its rank among the priorities of the answer, from 0.
    pub(crate) level: u8,
    pub(crate) address: SocketAddr,
    /// From 1 to 1,000.
    pub(crate) weight: u32,
}

#[derive(Debug, Default)]
struct Known {
    answer: Option<Answer>,
    /// Why the last look-up was none.
    trouble: Option<Arc<str>>,
}

#[derive(Debug)]
struct Departed {
    server: Arc<ServerState>,
    /// In milliseconds of the door's clock.
    since: u64,
}

/// Where the servers of an upstream come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    Config,
    /// The watched file.
    File,
    /// Both.
    ConfigAndFile,
    /// The admin API, until it says otherwise or the process ends.
    Api,
}

/// What a change of sources or answers has done to the servers of an upstream. Servers are given
/// by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Servers that were not there before.
    pub added: Vec<String>,
    /// Servers that are not there any more.
    pub removed: Vec<String>,
    /// Servers whose weight, zone or priority is another.
    pub altered: Vec<String>,
    /// None of the servers wanted has an address, so those from before stay in use.
    pub stranded: bool,
    /// Servers beyond the most that an upstream can have.
    pub dropped: usize,
}

/// A name that servers are looked up by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameStatus {
    /// As it is written: `app.internal`, or `srv:_http._tcp.app.internal`.
    pub name: String,
    /// How many addresses it has, as far as was answered.
    pub addresses: usize,
    /// Why the last look-up had no answer; the one before stays in use.
    pub trouble: Option<Arc<str>>,
}

/// A server that has gone and still has requests in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepartedStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// Requests sent to it that have not ended.
    pub in_flight: u32,
    /// For how many milliseconds it has been gone.
    pub for_millis: u64,
}

impl Question {
    /// What must be looked up for an address, if anything.
    pub(crate) fn of(address: &ServerAddress) -> Option<Question> {
        match address {
            ServerAddress::Socket(_) => None,
            ServerAddress::Name { host, .. } => Some(Question::Addresses(host.clone())),
            ServerAddress::Service(name) => Some(Question::Service(name.clone())),
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Question::Addresses(name) => out.write_str(name),
            Question::Service(name) => write!(out, "srv:{name}"),
        }
    }
}

impl Answer {
    fn len(&self) -> usize {
        match self {
            Answer::Addresses(all) => all.len(),
            Answer::Targets(all) => all.len(),
        }
    }
}

impl Change {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.altered.is_empty()
    }

    /// Tells the log, as one event. `because` is what has changed.
    pub(crate) fn log(&self, upstream: &str, because: &str) {
        if self.dropped > 0 {
            tracing::warn!(
                upstream,
                because,
                dropped = self.dropped,
                "more servers than an upstream can have; those beyond are not used"
            );
        }
        if self.stranded {
            tracing::warn!(
                upstream,
                because,
                "none of its servers has an address; those from before stay in use"
            );
        } else if !self.is_empty() {
            let (added, removed) = (few(&self.added), few(&self.removed));
            let altered = few(&self.altered);
            tracing::info!(upstream, because, added, removed, altered, "servers changed");
        }
    }
}

/// The first of many, for one line of a log.
fn few(servers: &[String]) -> String {
    const FEW: usize = 20;
    let mut text = servers.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(" ");
    if servers.len() > FEW {
        text.push_str(&format!(" and {} more", servers.len() - FEW));
    }
    text
}

impl Upstream {
    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the servers of a plan. `file` are those of its file: `None` when it names none,
    /// and `Some(None)` when it cannot be read, so that those of the last good one stay.
    pub(crate) fn set_configured(
        &self,
        configured: &[ServerSpec],
        file: Option<Option<&[ServerSpec]>>,
        now: u64,
        metrics: &Metrics,
    ) -> Change {
        let mut sources = self.sources();
        sources.configured = configured.to_vec();
        match file {
            None => sources.file = None,
            Some(None) => {}
            Some(Some(servers)) => sources.file = Some(servers.to_vec()),
        }
        sources.forget_answers();
        self.rebuild(&mut sources, now, metrics)
    }

    /// Takes over the servers of its file.
    pub(crate) fn set_file(&self, servers: &[ServerSpec], now: u64, metrics: &Metrics) -> Change {
        let mut sources = self.sources();
        sources.file = Some(servers.to_vec());
        sources.forget_answers();
        self.rebuild(&mut sources, now, metrics)
    }

    /// Puts servers in place of those of configuration and file, or these again.
    pub(crate) fn set_replaced(
        &self,
        servers: Option<&[ServerSpec]>,
        now: u64,
        metrics: &Metrics,
    ) -> Change {
        let mut sources = self.sources();
        sources.replaced = servers.map(<[ServerSpec]>::to_vec);
        sources.forget_answers();
        self.rebuild(&mut sources, now, metrics)
    }

    /// Takes over an answer of the DNS, to what is asked now or will be.
    pub(crate) fn set_answer(
        &self,
        question: &Question,
        answer: &Answer,
        now: u64,
        metrics: &Metrics,
    ) -> Change {
        let mut sources = self.sources();
        let known = sources.names.entry(question.clone()).or_default();
        known.trouble = None;
        if known.answer.as_ref() == Some(answer) {
            return Change::default();
        }
        known.answer = Some(answer.clone());
        self.rebuild(&mut sources, now, metrics)
    }

    /// Notes that a question has no answer now; the last one stays in use.
    pub(crate) fn set_trouble(&self, question: &Question, trouble: &Arc<str>) {
        let mut sources = self.sources();
        sources.names.entry(question.clone()).or_default().trouble = Some(trouble.clone());
    }

    /// What must be looked up for the servers that it has.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.sources().effective().filter_map(|spec| Question::of(&spec.address)).collect()
    }

    /// What must be looked up for the servers that [`Upstream::set_configured`] would give it.
    pub(crate) fn questions_with(
        &self,
        configured: &[ServerSpec],
        file: Option<Option<&[ServerSpec]>>,
    ) -> Vec<Question> {
        let sources = self.sources();
        let file: &[ServerSpec] = match file {
            None => &[],
            Some(None) => sources.file.as_deref().unwrap_or_default(),
            Some(Some(servers)) => servers,
        };
        let specs: Box<dyn Iterator<Item = &ServerSpec>> = match &sources.replaced {
            Some(servers) => Box::new(servers.iter()),
            None => Box::new(configured.iter().chain(file)),
        };
        specs.filter_map(|spec| Question::of(&spec.address)).collect()
    }

    /// Where its servers come from.
    pub(crate) fn origin(&self) -> Origin {
        let sources = self.sources();
        match (&sources.replaced, &sources.file) {
            (Some(_), _) => Origin::Api,
            (None, Some(_)) if sources.configured.is_empty() => Origin::File,
            (None, Some(_)) => Origin::ConfigAndFile,
            (None, None) => Origin::Config,
        }
    }

    /// The servers of configuration and file, whether they are used or not.
    pub(crate) fn own(&self) -> Vec<ServerSpec> {
        let sources = self.sources();
        sources.configured.iter().chain(sources.file.iter().flatten()).cloned().collect()
    }

    /// Whether the admin API has put servers in place of its own.
    pub(crate) fn is_replaced(&self) -> bool {
        self.sources().replaced.is_some()
    }

    /// Whether those from before are in use, since none of its servers has an address.
    pub(crate) fn is_stranded(&self) -> bool {
        self.sources().stranded
    }

    /// The names that its servers are looked up by.
    pub(crate) fn names(&self) -> Vec<NameStatus> {
        let sources = self.sources();
        let mut questions: Vec<_> =
            sources.effective().filter_map(|spec| Question::of(&spec.address)).collect();
        questions.sort();
        questions.dedup();
        let status = |question: Question| {
            let known = sources.names.get(&question);
            NameStatus {
                name: question.to_string(),
                addresses: known.and_then(|k| k.answer.as_ref()).map_or(0, Answer::len),
                trouble: known.and_then(|known| known.trouble.clone()),
            }
        };
        questions.into_iter().map(status).collect()
    }

    /// Servers that have gone and still have requests in flight.
    pub(crate) fn departed(&self, now: u64) -> Vec<DepartedStatus> {
        let sources = self.sources();
        let mut all: Vec<_> = sources
            .departed
            .iter()
            .map(|(address, departed)| DepartedStatus {
                address: *address,
                in_flight: departed.server.in_flight.load(Relaxed),
                for_millis: now.saturating_sub(departed.since),
            })
            .filter(|departed| departed.in_flight > 0)
            .collect();
        all.sort_by_key(|departed| departed.address);
        all
    }

    /// The labels of all servers that something is known of, those that have gone too.
    pub(crate) fn labels(&self) -> HashSet<String> {
        let sources = self.sources();
        let gone = sources.departed.values().map(|departed| departed.server.label.clone());
        self.endpoints().iter().map(|endpoint| endpoint.server.label.clone()).chain(gone).collect()
    }

    /// Gives an order at `now` about a server that it has, or has had and keeps an order for. `None` when
    /// there is no such server; `Some(false)` when there are too many orders already.
    pub(crate) fn order(&self, address: SocketAddr, order: Order, now: u64) -> Option<bool> {
        let mut sources = self.sources();
        let endpoints = self.endpoints();
        let server = endpoints.iter().find(|endpoint| endpoint.server.address == address);
        if server.is_none() && !sources.orders.contains_key(&address) {
            return None;
        }
        if order == Order::Use {
            sources.orders.remove(&address);
        } else if sources.orders.len() >= MOST_ORDERS && !sources.orders.contains_key(&address) {
            return Some(false);
        } else {
            sources.orders.insert(address, order);
        }
        let gone = sources.departed.get(&address).map(|departed| &departed.server);
        for server in server.map(|endpoint| &endpoint.server).into_iter().chain(gone) {
            if order == Order::Use && server.order() != Order::Use {
                server.since.store(now, Relaxed);
            }
            server.set_order(order);
        }
        drop(sources);
        Some(true)
    }

    /// Forgets servers that have been gone for long. To be called now and then.
    pub(crate) fn tidy(&self, now: u64, metrics: &Metrics) {
        let mut sources = self.sources();
        self.forget(&mut sources, now, metrics);
    }

    fn rebuild(&self, sources: &mut Sources, now: u64, metrics: &Metrics) -> Change {
        let (wanted, dropped) = sources.wanted();
        let old = self.endpoints();
        if wanted.is_empty() && !old.is_empty() {
            let before = std::mem::replace(&mut sources.stranded, true);
            return Change { stranded: !before, ..Change::default() };
        }
        sources.stranded = false;
        let mut change = Change { dropped, ..Change::default() };
        let mut left: HashMap<SocketAddr, &Endpoint> =
            old.iter().map(|endpoint| (endpoint.server.address, endpoint)).collect();
        // A process that has just begun has nothing to ramp up from.
        let since = if old.is_empty() { 0 } else { now.max(1) };
        let mut new = Vec::with_capacity(wanted.len());
        for Wanted { address, weight, zone, priority } in wanted {
            let server = match left.remove(&address) {
                Some(before) => {
                    let same = (before.weight, &before.zone, before.priority);
                    if same != (weight, &zone, priority) {
                        change.altered.push(before.server.label.clone());
                    }
                    before.server.clone()
                }
                None => {
                    let server = match sources.departed.remove(&address) {
                        Some(departed) => departed.server,
                        None => Arc::new(ServerState::new(address, self, metrics)),
                    };
                    server.set_order(sources.orders.get(&address).copied().unwrap_or_default());
                    server.arrive(now, since);
                    change.added.push(server.label.clone());
                    server
                }
            };
            new.push(Endpoint { server, weight, zone, priority });
        }
        for endpoint in old.iter().filter(|e| left.contains_key(&e.server.address)) {
            change.removed.push(endpoint.server.label.clone());
            let departed = Departed { server: endpoint.server.clone(), since: now };
            sources.departed.insert(endpoint.server.address, departed);
        }
        self.forget(sources, now, metrics);
        let same = |(a, b): (&Endpoint, &Endpoint)| a.server.address == b.server.address;
        let order = old.len() == new.len() && old.iter().zip(&new).all(same);
        if !change.is_empty() || !order {
            self.endpoints.store(Arc::new(new));
            self.generation.fetch_add(1, Relaxed);
            self.changes.send_replace(());
        }
        change
    }

    fn forget(&self, sources: &mut Sources, now: u64, metrics: &Metrics) {
        let mut forgotten = HashSet::new();
        let over = |departed: &Departed| {
            now.saturating_sub(departed.since) >= REMEMBERED_MILLIS
                && departed.server.in_flight.load(Relaxed) == 0
        };
        sources.departed.retain(|_, departed| {
            let over = over(departed);
            if over {
                forgotten.insert(departed.server.label.clone());
            }
            !over
        });
        let surplus = sources.departed.len().saturating_sub(MOST_DEPARTED);
        if surplus > 0 {
            let mut oldest: Vec<_> =
                sources.departed.iter().map(|(address, d)| (d.since, *address)).collect();
            oldest.sort_unstable();
            for (_, address) in oldest.into_iter().take(surplus) {
                if let Some(departed) = sources.departed.remove(&address) {
                    forgotten.insert(departed.server.label.clone());
                }
            }
        }
        if !forgotten.is_empty() {
            metrics.forget_servers(|upstream, server| {
                upstream != &*self.name || !forgotten.contains(server)
            });
        }
    }
}

/// A server that an upstream is to have.
#[derive(Debug)]
struct Wanted {
    address: SocketAddr,
    weight: u32,
    zone: Option<Arc<str>>,
    priority: u8,
}

impl Sources {
    fn effective(&self) -> impl Iterator<Item = &ServerSpec> {
        let (own, file): (&[ServerSpec], _) = match &self.replaced {
            Some(servers) => (servers, None),
            None => (&self.configured, self.file.as_ref()),
        };
        own.iter().chain(file.into_iter().flatten())
    }

    /// Every address once, by the first who names it; and how many there are too many.
    fn wanted(&self) -> (Vec<Wanted>, usize) {
        let (mut all, mut seen, mut dropped) = (Vec::new(), HashSet::new(), 0);
        let mut add = |address: SocketAddr, spec: &ServerSpec, weight: u32, level: u8| {
            if !seen.insert(address) {
                return;
            }
            if all.len() >= MOST_SERVERS {
                dropped += 1;
                return;
            }
            all.push(Wanted {
                address,
                weight: weight.saturating_mul(spec.weight).clamp(1, 1000),
                zone: spec.zone.clone(),
                priority: spec.priority.saturating_add(level).min(LOWEST_PRIORITY),
            });
        };
        for spec in self.effective() {
            let answer = Question::of(&spec.address)
                .and_then(|question| self.names.get(&question)?.answer.as_ref());
            match (&spec.address, answer) {
                (ServerAddress::Socket(address), _) => add(*address, spec, 1, 0),
                (ServerAddress::Name { port, .. }, Some(Answer::Addresses(addresses))) => {
                    for address in addresses {
                        add(SocketAddr::new(*address, *port), spec, 1, 0);
                    }
                }
                (ServerAddress::Service(_), Some(Answer::Targets(targets))) => {
                    for target in targets {
                        add(target.address, spec, target.weight, target.level);
                    }
                }
                _ => {}
            }
        }
        (all, dropped)
    }

    /// Forgets the answers to what nobody asks any more.
    fn forget_answers(&mut self) {
        let asked: HashSet<Question> =
            self.effective().filter_map(|spec| Question::of(&spec.address)).collect();
        self.names.retain(|question, _| asked.contains(question));
    }
}

#[cfg(test)]
mod tests;
