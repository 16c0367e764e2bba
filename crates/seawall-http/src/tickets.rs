//! What an exchange holds while it lasts, as values whose drop gives it back. Nothing is released
//! by hand, so nothing can leak, whichever way an exchange ends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError};

use seawall_config::plan::{ListenerLimits, Server as ServerPlan};

use crate::refuse::Refusal;
use crate::upstream::pool::PooledServer;
use crate::worker::Worker;

/// One place out of a limited number.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place, if fewer than `limit` are taken.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Place> {
        taken.fetch_update(Relaxed, Relaxed, |n| (n < limit).then_some(n + 1)).ok()?;
        Some(Place(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A request in flight to a server.
#[derive(Debug)]
pub(crate) struct InFlight {
    server: Rc<PooledServer>,
    worker: usize,
}

impl InFlight {
    /// Enters unless `limit` are in flight already.
    pub(crate) fn enter(server: &Rc<PooledServer>, worker: usize, limit: u32) -> Option<InFlight> {
        let state = &server.state;
        if state.in_flight.fetch_add(1, SeqCst) >= limit {
            state.in_flight.fetch_sub(1, SeqCst);
            return None;
        }
        state.cells.of(worker).entered.add(1);
        Some(InFlight { server: server.clone(), worker })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let state = &self.server.state;
        state.in_flight.fetch_sub(1, SeqCst);
        state.cells.of(self.worker).left.add(1);
        state.line.freed();
    }
}

/// Open connections by client address; of IPv6, by /64.
#[derive(Debug, Default)]
pub(crate) struct Clients([Mutex<HashMap<IpAddr, usize>>; 16]);

impl Clients {
    fn key(address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
            v4 => v4,
        }
    }

    fn shard(&self, key: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        let last = match key {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[7],
        };
        &self.0[usize::from(last) % self.0.len()]
    }

    fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<FromClient> {
        let key = Clients::key(address);
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(key).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(FromClient { clients: self.clone(), key })
    }
}

/// One of the connections that a client may have.
#[derive(Debug)]
pub(crate) struct FromClient {
    clients: Arc<Clients>,
    key: IpAddr,
}

impl Drop for FromClient {
    fn drop(&mut self) {
        let shard = self.clients.shard(self.key);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

/// What a listener counts for all workers; outlives plans.
#[derive(Debug, Default)]
pub(crate) struct Doorkeeper {
    connections: Arc<AtomicUsize>,
    clients: Arc<Clients>,
}

/// The right of a client connection to be there.
#[derive(Debug)]
pub(crate) struct Admission {
    _connection: Place,
    _from_client: Option<FromClient>,
}

impl Doorkeeper {
    /// A place for a connection of whomever, or why there is none.
    pub(crate) fn place(&self, limits: &ListenerLimits) -> Result<Place, Refusal> {
        Place::take(&self.connections, limits.connections).ok_or(Refusal::TooManyConnections)
    }

    /// Admits the connection that has this place, now that it is known to be from `client`, or says
    /// why not.
    pub(crate) fn admit(
        &self,
        place: Place,
        client: IpAddr,
        limits: &ListenerLimits,
        server: &ServerPlan,
    ) -> Result<Admission, Refusal> {
        let from_client = match limits.connections_per_client {
            Some(limit) if !server.trusts(client) => {
                Some(self.clients.enter(client, limit).ok_or(Refusal::TooManyFromClient)?)
            }
            _ => None,
        };
        Ok(Admission { _connection: place, _from_client: from_client })
    }
}

/// An open client connection, among those that a worker waits for when it drains.
#[derive(Debug)]
pub(crate) struct Open(Rc<Worker>);

impl Open {
    pub(crate) fn enter(worker: &Rc<Worker>) -> Open {
        worker.open.set(worker.open.get() + 1);
        Open(worker.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_clients_come_back() {
        let taken = Arc::default();
        let first = Place::take(&taken, 1);
        assert!(first.is_some() && Place::take(&taken, 1).is_none());
        drop(first);
        assert!(Place::take(&taken, 1).is_some());

        let clients: Arc<Clients> = Arc::default();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let held = clients.enter(address("2001:db8::1"), 1);
        assert!(held.is_some());
        assert!(clients.enter(address("2001:db8::2"), 1).is_none(), "same /64");
        assert!(clients.enter(address("2001:db8:0:1::2"), 1).is_some());
        assert!(clients.enter(address("::ffff:10.0.0.1"), 1).is_some());
        drop(held);
        assert!(clients.0.iter().all(|shard| shard.lock().is_ok_and(|shard| shard.is_empty())));
    }
}
