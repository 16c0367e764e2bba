//! How long after a purge at one node the other nodes of a fleet still serve what was purged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use seawall_testkit::{PATIENCE, RawClient, Redis, Response};

use super::origin::{Origin, TAG, TAGGED_PREFIX};
use super::proxies;
use super::purge::{accepted, lost, percentile, request};
use crate::bench::balance::stay_on;
use crate::bench::options::Setting;
use crate::bench::peers::Server;
use crate::bench::wrk::{self, Ask};

/// Purges with load, and as many without.
pub(super) const PURGES: usize = 300;

/// Connections of the load.
pub(super) const CONNECTIONS: u32 = 64;

/// All purges, with or without load.
#[derive(Debug, Clone)]
pub(super) struct Fleet {
    pub(super) loaded: bool,
    /// From the request for a purge until no other node serves what was purged.
    pub(super) times: Vec<Duration>,
}

impl Fleet {
    pub(super) fn name(&self) -> &'static str {
        if self.loaded { "load" } else { "no load" }
    }

    /// The median, the 99th percentile and the slowest, in milliseconds.
    pub(super) fn percentiles(&self) -> [f64; 3] {
        [50, 99, 100].map(|percent| percentile(self.times.clone(), percent))
    }
}

/// Purges at the first of three nodes. Without Seawall there is nothing to measure.
pub(super) fn case(setting: &Setting) -> anyhow::Result<Vec<Fleet>> {
    if setting.seawall.is_none() {
        return Ok(Vec::new());
    }
    let origin = Origin::start(&setting.load_cores)?;
    let redis = Redis::start().context("cannot start Redis")?;
    let node = || proxies::node(setting, &origin, &redis.url());
    let nodes = [node()?, node()?, node()?];
    for node in &nodes {
        joined(node)?;
    }
    let [first, second, _] = &nodes;
    super::warm(second, &origin, Ask::Small)?;
    let others = [nodes[1].address, nodes[2].address];
    let core = setting.load_cores.parse().context("the load has one core")?;
    let mut found = Vec::new();
    for loaded in [false, true] {
        let done = AtomicBool::new(!loaded);
        let times = std::thread::scope(|scope| {
            let load = scope.spawn(|| -> anyhow::Result<()> {
                while !done.load(Ordering::Relaxed) {
                    let (address, cores) = (second.address, &setting.load_cores);
                    let outcome = wrk::round(cores, address, Ask::Small, CONNECTIONS, 1)?;
                    ensure!(outcome.requests > 0, "no request of the load was answered");
                }
                Ok(())
            });
            let times = purges(core, first.admin()?, others);
            done.store(true, Ordering::Relaxed);
            load.join().map_err(|_| lost())??;
            times
        })?;
        let fleet = Fleet { loaded, times };
        let [p50, p99, slowest] = fleet.percentiles();
        eprintln!("  {:<8} p50 {p50:.2} ms, p99 {p99:.2}, slowest {slowest:.2}", fleet.name());
        found.push(fleet);
    }
    Ok(found)
}

/// Waits until a node hears of the purges of others.
fn joined(node: &Server) -> anyhow::Result<()> {
    let mut client = RawClient::connect(node.admin()?)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = client.get("bench", "/metrics")?;
        let text = String::from_utf8_lossy(&metrics.body);
        if text.lines().any(|line| line == "seawall_state_current 1") {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "a node does not join its fleet");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn purges(
    core: usize,
    admin: SocketAddr,
    others: [SocketAddr; 2],
) -> anyhow::Result<Vec<Duration>> {
    let mut admin_client = RawClient::connect(admin)?;
    let mut times = Vec::with_capacity(PURGES);
    for _ in 0..PURGES {
        for other in others {
            stored(other)?;
        }
        let start = Instant::now();
        let ends = std::thread::scope(|scope| {
            let waits = others.map(|other| scope.spawn(move || forgotten(core, other, start)));
            accepted(&admin_client.exchange(request(admin, TAG))?)?;
            waits
                .into_iter()
                .map(|wait| wait.join().map_err(|_| lost())?)
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        let last = ends.into_iter().max().context("there are other nodes")?;
        times.push(last.duration_since(start));
    }
    Ok(times)
}

fn path() -> String {
    format!("{TAGGED_PREFIX}1")
}

/// Asks until the answer is a stored one.
fn stored(node: SocketAddr) -> anyhow::Result<()> {
    let mut client = RawClient::connect(node)?;
    let deadline = Instant::now() + PATIENCE;
    while !is_hit(&client.get("bench", &path())?)? {
        ensure!(Instant::now() < deadline, "a node does not store what it fetched");
    }
    Ok(())
}

/// Asks until the answer is no stored one any more. When the request for that was sent: the purge
/// was there before it was answered.
fn forgotten(core: usize, node: SocketAddr, since: Instant) -> anyhow::Result<Instant> {
    stay_on(core)?;
    let mut client = RawClient::connect(node)?;
    loop {
        let sent = Instant::now();
        if !is_hit(&client.get("bench", &path())?)? {
            return Ok(sent);
        }
        ensure!(sent < since + PATIENCE, "a node does not hear of a purge");
    }
}

/// By `Cache-Status` (RFC 9211).
fn is_hit(answer: &Response) -> anyhow::Result<bool> {
    ensure!(answer.status == 200, "an answer with status {}", answer.status);
    let status = answer.header("cache-status").context("an answer without Cache-Status")?;
    Ok(status.split(';').any(|part| part.trim() == "hit"))
}
