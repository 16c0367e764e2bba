//! One worker's choice of a server: who may be used and in which order of preference
//! ([`Levels`]), and the balancer among those. Made anew when a server comes, goes, or changes its
//! standing; a choice itself allocates nothing and locks nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use seawall_config::plan::{self, Balance};
use seawall_core::balance::hash::{Bound, Ring};
use seawall_core::balance::latency::{self, Latency};
use seawall_core::balance::levels::{self, Levels, Rules, State};
use seawall_core::balance::maglev;
use seawall_core::balance::round_robin::RoundRobin;
use seawall_core::balance::slow_start::{SCALE, effective_weight};
use seawall_core::balance::weights::Weights;
use seawall_core::balance::{Servers, least_connections, least_latency, random, two_choices};

use super::pool::{PooledServer, Search};
use super::{Endpoint, ServerState, Standing};
use crate::worker::Worker;

/// The servers of an upstream as they stand.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<Member>,
    levels: Levels,
    /// What the balancer keeps of each group of `levels`.
    groups: Vec<Group>,
    /// For balancers that hash: one for each priority.
    tables: Vec<Rc<Table>>,
    ramping: bool,
}

#[derive(Debug)]
struct Member {
    server: Rc<PooledServer>,
    /// Effective, see [`Servers::weight`].
    weight: u32,
    standing: Standing,
    /// It is in a group.
    chosen_from: bool,
}

#[derive(Debug)]
struct Group {
    weights: Weights,
    rotation: RefCell<RoundRobin>,
    /// What an answer takes typically, in microseconds.
    typical: Cell<f32>,
}

/// Keys to servers of one priority. Made of all of them, so that a key comes back to its server
/// when that is well again.
#[derive(Debug)]
struct Table {
    priority: u8,
    /// Their ids and configured weights.
    made_of: Vec<(u64, u32)>,
    /// Their positions in [`Members::list`].
    members: Vec<usize>,
    total_weight: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Ring(Rc<Ring>, Bound),
    Maglev(Rc<maglev::Table>),
}

/// What a search came to.
#[derive(Debug)]
pub(super) enum Chosen {
    Server(Rc<PooledServer>),
    /// All that may be used have as many requests or connections as they may.
    Full,
    /// There is none that may be used and was not tried in vain.
    None,
}

impl Members {
    /// `of` finds this worker's part of a server; `old` are the members until now.
    pub(super) fn new(
        endpoints: &[Endpoint],
        of: impl Fn(&Arc<ServerState>) -> Rc<PooledServer>,
        config: &plan::Upstream,
        zone: Option<&Arc<str>>,
        worker: &Worker,
        old: &Members,
    ) -> Members {
        let now = worker.clock_millis();
        let window = config.slow_start.map_or(0, |window| window.as_millis() as u64);
        let mut ramping = false;
        let mut member = |endpoint: &Endpoint| {
            let state = &endpoint.server;
            let age = match state.since.load(Relaxed) {
                // It was there from the beginning.
                0 => u64::MAX,
                since => now.saturating_sub(since),
            };
            ramping |= age < window || state.held_until.load(Relaxed) > now;
            Member {
                server: of(state),
                weight: effective_weight(endpoint.weight, age, window),
                standing: state.standing(now),
                chosen_from: false,
            }
        };
        let mut list: Vec<Member> = endpoints.iter().map(&mut member).collect();
        let levels = levels_of(endpoints, &list, config, zone);
        for &at in levels.groups().iter().flat_map(|group| &group.members) {
            list[at].chosen_from = true;
        }
        let group = |group: &levels::Group| {
            let weights: Vec<u32> = group.members.iter().map(|&at| list[at].weight).collect();
            Group {
                weights: Weights::new(&weights),
                rotation: RefCell::new(RoundRobin::anywhere(&mut worker.random.borrow_mut())),
                typical: Cell::new(latency::COLD_START),
            }
        };
        let groups = levels.groups().iter().map(group).collect();
        let tables = tables(endpoints, &config.balance, &old.tables);
        let members = Members { list, levels, groups, tables, ramping };
        members.look_at_latency();
        members
    }

    /// All servers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<PooledServer>> {
        self.list.iter().map(|member| &member.server)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many are well and in use.
    pub(super) fn ready(&self) -> usize {
        self.list.iter().filter(|member| member.standing == Standing::Ready).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether time alone changes who may be used, or how much.
    pub(super) fn is_ramping(&self) -> bool {
        self.ramping
    }

    /// Works out the typical latencies. To be called a few times a second.
    pub(super) fn look_at_latency(&self) {
        for (group, state) in self.levels.groups().iter().zip(&self.groups) {
            let of =
                |&at: &usize| Latency::from_bits(self.list[at].server.state.latency.load(Relaxed));
            state.typical.set(latency::typical(group.members.iter().map(of)));
        }
    }

    /// A server with room for a request.
    pub(super) fn choose(&self, search: &Search<'_>) -> Chosen {
        if let Some(id) = search.stuck_to
            && let Some(server) = self.stuck_to(id, search)
        {
            return Chosen::Server(server);
        }
        let picked = self.levels.pick(&mut search.worker.random.borrow_mut());
        if let Some(picked) = picked {
            let mut groups = std::iter::once(picked).chain(self.levels.others(picked));
            if let Some(server) = groups.find_map(|group| self.choose_in(group, search, false)) {
                return Chosen::Server(server);
            }
        }
        self.choose_at_last(search)
    }

    /// The server that a cookie names, if it can still be used.
    #[cold]
    fn stuck_to(&self, id: u64, search: &Search<'_>) -> Option<Rc<PooledServer>> {
        let member = self.list.iter().find(|member| member.server.state.id == id)?;
        let stays = member.chosen_from || member.standing == Standing::Draining;
        let may = stays && !is_full(&member.server, search) && !is_tried(&member.server, search);
        may.then(|| member.server.clone())
    }

    fn choose_in(
        &self,
        group: usize,
        search: &Search<'_>,
        again: bool,
    ) -> Option<Rc<PooledServer>> {
        let state = &self.groups[group];
        let group = &self.levels.groups()[group];
        let choice = Choice {
            list: &self.list,
            members: &group.members,
            search,
            again,
            typical: state.typical.get(),
            total_weight: 0,
        };
        let random = &mut search.worker.random.borrow_mut();
        let weights = &state.weights;
        let at = match (&search.config.balance, search.key) {
            (Balance::RoundRobin, _) => state.rotation.borrow_mut().choose(&choice),
            (Balance::Random, _) => random::choose(&choice, weights, random),
            (Balance::LeastConnections, _) => least_connections::choose(&choice, weights, random),
            (Balance::LeastLatency, _) => least_latency::choose(&choice, weights, random),
            (Balance::IpHash | Balance::Hash(_) | Balance::Maglev(_), Some(key)) => {
                let table = self.tables.iter().find(|table| table.priority == group.priority)?;
                let total_weight = table.total_weight;
                let choice = Choice { members: &table.members, total_weight, ..choice };
                let at = match &table.kind {
                    Kind::Ring(ring, bound) => ring.choose(&choice, key, *bound),
                    Kind::Maglev(table) => table.choose(&choice, key, Bound::NONE),
                }?;
                return Some(self.list[table.members[at]].server.clone());
            }
            (Balance::TwoChoices | Balance::IpHash | Balance::Hash(_) | Balance::Maglev(_), _) => {
                two_choices::choose(&choice, weights, random)
            }
        }?;
        Some(self.list[group.members[at]].server.clone())
    }

    /// What is left when no server is well, has room, and was not tried.
    #[cold]
    fn choose_at_last(&self, search: &Search<'_>) -> Chosen {
        // Rather one that was tried, but can be reached, than none.
        if !search.tried.borrow().is_empty() {
            let mut groups = 0..self.groups.len();
            if let Some(server) = groups.find_map(|group| self.choose_in(group, search, true)) {
                return Chosen::Server(server);
            }
        }
        let is_left = |member: &&Member| !is_tried(&member.server, search);
        let mut left = self.list.iter().filter(is_left);
        let usable =
            |member: &Member| member.chosen_from && member.standing < Standing::Unreachable;
        if left.clone().any(usable) {
            return Chosen::Full;
        }
        // One that refused connections costs nothing to ask, and may just have been started.
        // Not when it is full: whoever holds it waits for this worker, so that there would be no
        // end to looking.
        let refuses = |member: &&Member| {
            member.standing == Standing::Unreachable
                && member.server.state.refuses.load(Relaxed)
                && !is_full(&member.server, search)
        };
        match left.find(refuses) {
            Some(member) => Chosen::Server(member.server.clone()),
            None => Chosen::None,
        }
    }

    /// Whether some server could take a request.
    pub(super) fn has_room(&self, search: &Search<'_>) -> bool {
        let most = search.config.max_in_flight.total.unwrap_or(u32::MAX);
        let in_flight = search.pool.upstream.in_flight.load(SeqCst);
        in_flight < most as usize
            && self.list.iter().any(|member| {
                let usable = member.chosen_from && member.standing < Standing::Unreachable;
                usable && !is_full(&member.server, search)
            })
    }

    /// Waits for a place when those of some server are taken by idle connections of other workers.
    /// False when all are in use, or when it takes longer than a connection may take. True only
    /// when a server that the search may take has, or had a moment ago, room.
    pub(super) async fn wait_for_idle(&self, search: &Search<'_>) -> bool {
        let Some(state) = self.idle_elsewhere(search) else { return false };
        let freed = state.freed.notified();
        state.wanted.store(true, Relaxed);
        state.connections.load(Relaxed) < search.config.limits.connections
            || tokio::time::timeout(search.config.connect_timeout, freed).await.is_ok()
    }

    /// Has an idle connection of another worker closed, if that would make room.
    pub(super) fn ask_for_idle(&self, search: &Search<'_>) {
        // Only where connections are what is lacking: to close one costs somebody a new one.
        let limit = search.config.limits.connections;
        let lacking = |state: &&ServerState| state.connections.load(Relaxed) >= limit;
        if let Some(state) = self.idle_elsewhere(search).filter(lacking) {
            state.wanted.store(true, Relaxed);
        }
    }

    /// A server that the search may take, but for its connections, not all of which are in use.
    fn idle_elsewhere(&self, search: &Search<'_>) -> Option<&ServerState> {
        let connections = u32::try_from(search.config.limits.connections).unwrap_or(u32::MAX);
        let most = search.config.max_in_flight.server.unwrap_or(u32::MAX).min(connections);
        let member = self.list.iter().find(|member| {
            member.chosen_from
                && member.standing < Standing::Unreachable
                && !is_tried(&member.server, search)
                && member.server.state.in_flight.load(Relaxed) < most
        });
        member.map(|member| &*member.server.state)
    }
}

fn levels_of(
    endpoints: &[Endpoint],
    list: &[Member],
    config: &plan::Upstream,
    zone: Option<&Arc<str>>,
) -> Levels {
    let member = |(endpoint, member): (&Endpoint, &Member)| levels::Member {
        priority: endpoint.priority,
        local: zone.is_some() && endpoint.zone.as_ref() == zone,
        weight: endpoint.weight,
        state: match member.standing {
            Standing::Ready => State::Usable,
            // One that cannot be reached counts like one that fails, so that others take its part;
            // but no panic makes it be asked.
            Standing::Ejected | Standing::Failing | Standing::Unreachable => State::Failing,
            Standing::Draining | Standing::Disabled => State::Out,
        },
    };
    let members: Vec<levels::Member> = endpoints.iter().zip(list).map(member).collect();
    Levels::new(&members, Rules { panic: config.panic, ..Rules::default() })
}

fn tables(endpoints: &[Endpoint], balance: &Balance, old: &[Rc<Table>]) -> Vec<Rc<Table>> {
    let bound = match balance {
        Balance::IpHash => Some(Bound::default()),
        Balance::Hash(by) => Some(Bound::percent((by.bound / 10).saturating_sub(100))),
        Balance::Maglev(_) => None,
        _ => return Vec::new(),
    };
    let mut priorities: Vec<u8> = endpoints.iter().map(|endpoint| endpoint.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let table = |priority: u8| {
        let of = |at: &usize| endpoints[*at].priority == priority;
        let members: Vec<usize> = (0..endpoints.len()).filter(of).collect();
        let server = |&at: &usize| (endpoints[at].server.id, endpoints[at].weight);
        let made_of: Vec<(u64, u32)> = members.iter().map(server).collect();
        // It costs milliseconds to make one.
        let known = old.iter().find(|old| old.made_of == made_of).map(|old| old.kind.clone());
        let kind = match (bound, known) {
            (Some(bound), Some(Kind::Ring(ring, _))) => Kind::Ring(ring, bound),
            (Some(bound), _) => Kind::Ring(Rc::new(Ring::new(&made_of)), bound),
            (None, Some(known @ Kind::Maglev(_))) => known,
            (None, _) => Kind::Maglev(Rc::new(maglev::Table::new(&made_of))),
        };
        let total_weight =
            made_of.iter().map(|(_, weight)| u64::from(*weight) * u64::from(SCALE)).sum();
        Rc::new(Table { priority, made_of, members, total_weight, kind })
    };
    priorities.into_iter().map(table).collect()
}

/// Whether a server has as many requests or connections as it may.
fn is_full(server: &PooledServer, search: &Search<'_>) -> bool {
    let (state, config) = (&server.state, search.config);
    state.in_flight.load(SeqCst) >= config.max_in_flight.server.unwrap_or(u32::MAX)
        || state.connections.load(Relaxed) >= config.limits.connections
            && server.idle.borrow().is_empty()
}

fn is_tried(server: &Rc<PooledServer>, search: &Search<'_>) -> bool {
    search.tried.borrow().iter().any(|tried| Rc::ptr_eq(tried, server))
}

/// Some of the servers as a balancer sees them.
struct Choice<'a> {
    list: &'a [Member],
    /// Positions in `list`.
    members: &'a [usize],
    search: &'a Search<'a>,
    /// Those that were tried are taken, too, if they could be reached.
    again: bool,
    typical: f32,
    total_weight: u64,
}

impl Choice<'_> {
    fn state(&self, server: usize) -> &ServerState {
        &self.list[self.members[server]].server.state
    }
}

impl Servers for Choice<'_> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn weight(&self, server: usize) -> u32 {
        self.list[self.members[server]].weight
    }

    fn load(&self, server: usize) -> u32 {
        self.state(server).in_flight.load(Relaxed)
    }

    fn latency(&self, server: usize) -> f32 {
        let latency = Latency::from_bits(self.state(server).latency.load(Relaxed));
        latency.read(self.search.now_millis(), self.typical)
    }

    fn typical_latency(&self) -> f32 {
        self.typical
    }

    fn is_usable(&self, server: usize) -> bool {
        let member = &self.list[self.members[server]];
        let server = &member.server;
        let reachable = if self.again {
            server.state.held_until.load(Relaxed) == 0
        } else {
            !is_tried(server, self.search)
        };
        member.chosen_from
            && member.standing < Standing::Unreachable
            && reachable
            && !is_full(server, self.search)
    }

    fn total_weight(&self) -> u64 {
        self.total_weight
    }
}
