//! What idle kept-alive connections cost in memory.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, bail};
use seawall_testkit::RawClient;

use super::peers::{Origin, Peer, Server};
use super::wrk::{self, Ask};
use super::{Setting, cpu};

/// Connections that are held open.
pub(crate) const CONNECTIONS: usize = 10_000;

/// One proxy and its idle connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Idle {
    pub(crate) peer: Peer,
    /// Resident bytes after some load has come and gone.
    pub(crate) before: u64,
    /// Resident bytes with [`CONNECTIONS`] more connections, each after one request.
    pub(crate) after: u64,
}

impl Idle {
    /// Bytes for each connection.
    pub(crate) fn each(self) -> f64 {
        self.after.saturating_sub(self.before) as f64 / CONNECTIONS as f64
    }
}

/// Measures every proxy.
pub(crate) fn case(setting: &Setting, peers: &BTreeSet<Peer>) -> anyhow::Result<Vec<Idle>> {
    let origin = Origin::start(&setting.load_cores)?;
    let mut results = Vec::new();
    for &peer in peers {
        let proxy = Server::proxy(peer, setting, origin.address(), 1)?;
        let idle = measure(setting, peer, &proxy)?;
        eprintln!("  {:<8} {:.0} bytes a connection", peer.name(), idle.each());
        results.push(idle);
    }
    Ok(results)
}

fn measure(setting: &Setting, peer: Peer, proxy: &Server) -> anyhow::Result<Idle> {
    let warm = wrk::round(&setting.load_cores, proxy.address, Ask::Small, 64, 1)?;
    if let Some(errors) = warm.errors.describe() {
        bail!("{} fails under light load: {errors}", peer.name());
    }
    let before = cpu::resident_of_tree(proxy.id())?;
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for index in 0..CONNECTIONS {
        // Several source addresses, so that the ports of one do not run out.
        let last = u8::try_from(index % 4).unwrap_or(0) + 1;
        let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
        let mut client = RawClient::connect_from(source, proxy.address)
            .with_context(|| format!("connection {index} to {}", peer.name()))?;
        ask(&mut client).with_context(|| format!("connection {index} to {}", peer.name()))?;
        clients.push(client);
    }
    let after = cpu::resident_of_tree(proxy.id())?;
    // They must really have been kept, or there was nothing to measure.
    for client in clients.iter_mut().step_by(100) {
        ask(client).with_context(|| format!("{} did not keep a connection", peer.name()))?;
    }
    Ok(Idle { peer, before, after })
}

fn ask(client: &mut RawClient) -> anyhow::Result<()> {
    let answer = client.exchange(Ask::Small.request())?;
    if (answer.status, answer.body.len()) != Ask::Small.answer() {
        bail!("status {} and {} bytes", answer.status, answer.body.len());
    }
    Ok(())
}
