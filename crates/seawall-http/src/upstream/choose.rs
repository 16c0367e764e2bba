//! One worker's choice of a server: who may be used, in which order of preference, and the balancer
//! among those.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use seawall_config::plan;
use seawall_core::balance::{Servers, two_choices};

use super::pool::{PooledServer, Search};
use super::{Endpoint, ServerState, Standing};

/// The servers of an upstream as they stand.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<Member>,
    ramping: bool,
}

#[derive(Debug)]
struct Member {
    server: Rc<PooledServer>,
    weight: u32,
    standing: Standing,
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
    pub(super) fn new(
        endpoints: &[Endpoint],
        of: impl Fn(&Arc<ServerState>) -> Rc<PooledServer>,
        _config: &plan::Upstream,
        _zone: Option<&Arc<str>>,
        now: u64,
        _old: &Members,
    ) -> Members {
        let list: Vec<Member> = endpoints
            .iter()
            .map(|endpoint| Member {
                server: of(&endpoint.server),
                weight: endpoint.weight,
                standing: endpoint.server.standing(now),
            })
            .collect();
        let ramping = list.iter().any(|member| member.standing == Standing::Unreachable);
        Members { list, ramping }
    }

    /// All servers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<PooledServer>> {
        self.list.iter().map(|member| &member.server)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether time alone changes who may be used, or how much.
    pub(super) fn is_ramping(&self) -> bool {
        self.ramping
    }

    pub(super) fn choose(&self, search: &Search<'_>) -> Chosen {
        let random = &mut search.worker.random.borrow_mut();
        let mut choice = Choice { members: self, search, full: true, standing: Standing::Ready };
        for full in [true, false] {
            choice.full = full;
            for standing in [Standing::Ready, Standing::Failing] {
                choice.standing = standing;
                if let Some(at) = two_choices::choose(&choice, random) {
                    return match full {
                        true => Chosen::Server(self.list[at].server.clone()),
                        false => Chosen::Full,
                    };
                }
            }
        }
        Chosen::None
    }

    /// Waits for a place when those of some server are taken by idle connections of other workers.
    /// False when all are in use, or when it takes longer than a connection may take.
    pub(super) async fn wait_for_idle(&self, config: &plan::Upstream) -> bool {
        let limit = config.limits.connections;
        let has_idle =
            |server: &&Rc<PooledServer>| (server.state.in_flight.load(Relaxed) as usize) < limit;
        let Some(server) = self.iter().find(has_idle) else { return false };
        let state = &server.state;
        let freed = state.freed.notified();
        state.wanted.store(true, Relaxed);
        state.connections.load(Relaxed) < limit
            || tokio::time::timeout(config.connect_timeout, freed).await.is_ok()
    }
}

/// The servers as a balancer sees them.
struct Choice<'a> {
    members: &'a Members,
    search: &'a Search<'a>,
    /// Whether fullness counts.
    full: bool,
    standing: Standing,
}

impl Servers for Choice<'_> {
    fn len(&self) -> usize {
        self.members.list.len()
    }

    fn weight(&self, server: usize) -> u32 {
        self.members.list[server].weight
    }

    fn load(&self, server: usize) -> u32 {
        self.members.list[server].server.state.in_flight.load(Relaxed)
    }

    fn is_usable(&self, server: usize) -> bool {
        let member = &self.members.list[server];
        let server = &member.server;
        let config = self.search.config;
        let full = || {
            let state = &server.state;
            state.connections.load(Relaxed) >= config.limits.connections
                && server.idle.borrow().is_empty()
                || state.in_flight.load(SeqCst) >= config.max_in_flight.server.unwrap_or(u32::MAX)
        };
        let tried = || self.search.tried.borrow().iter().any(|tried| Rc::ptr_eq(tried, server));
        member.standing <= self.standing && !(self.full && full()) && !tried()
    }
}
