//! A million small objects: what each takes of memory beside its own bytes, and how long it takes
//! to purge them all.

use std::collections::BTreeSet;

use anyhow::ensure;

use super::fill;
use super::origin::{Origin, TAGGED_PREFIX, own_bytes};
use super::proxies::{Proxy, Room};
use super::purge::{self, Purge};
use crate::bench::cpu;
use crate::bench::options::Setting;

/// Objects of Seawall, and of the others: what one of theirs takes is seen with fewer as well, and
/// a million files take minutes.
const OBJECTS: u32 = 1_000_000;
const OBJECTS_OF_PEERS: u32 = 100_000;

/// More than anyone takes for them.
const ROOM: Room = Room { memory: 4000, disk: 0 };

/// HAProxy's memory is taken when it starts, so that there is nothing to see.
const PROXIES: [Proxy; 3] = [Proxy::Seawall, Proxy::Nginx, Proxy::Varnish];

/// Every so many objects, it is seen whether one is still there.
const SAMPLED: usize = 101;

/// One cache and its memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Memory {
    pub(super) proxy: Proxy,
    pub(super) objects: u32,
    /// Bytes before and with all objects; what processes share counts once.
    pub(super) before: u64,
    pub(super) after: u64,
    /// Bytes of an object itself that are in this memory: none of NGINX's, which are in files.
    pub(super) own: u64,
}

impl Memory {
    /// Bytes for each object, all in all.
    pub(super) fn each(self) -> f64 {
        self.after.saturating_sub(self.before) as f64 / f64::from(self.objects)
    }

    /// Bytes for each object beside its own.
    pub(super) fn overhead(self) -> f64 {
        self.each() - self.own as f64
    }
}

/// Fills one cache after the other, and has Seawall purge.
pub(super) fn case(
    setting: &Setting,
    proxies: &BTreeSet<Proxy>,
) -> anyhow::Result<(Vec<Memory>, Vec<Purge>)> {
    let origin = Origin::start(&setting.load_cores)?;
    let own = own_bytes(&origin, &path(OBJECTS))?;
    let (mut memory, mut purges) = (Vec::new(), Vec::new());
    for proxy in PROXIES.into_iter().filter(|proxy| proxies.contains(proxy)) {
        let objects = if proxy == Proxy::Seawall { OBJECTS } else { OBJECTS_OF_PEERS };
        let server = proxy.start(setting, &origin, ROOM, 1)?;
        // Connections and buffers are there before it counts.
        super::warm(&server, &origin, super::Ask::Zipf)?;
        fill::fetch(setting, server.address, (0..500).map(|_| super::Ask::Zipf.path().to_owned()))?;
        let before = cpu::proportional_of_tree(server.id())?;
        fill::fetch(setting, server.address, (1..=objects).map(path))?;
        let after = cpu::proportional_of_tree(server.id())?;
        let asked = origin.asked()?;
        fill::fetch(setting, server.address, (1..=objects).step_by(SAMPLED).map(path))?;
        let again = origin.asked()? - asked;
        ensure!(again == 0, "{} does not keep all: {again} were fetched again", proxy.name());
        let own = if proxy == Proxy::Nginx { 0 } else { own };
        let found = Memory { proxy, objects, before, after, own };
        eprintln!(
            "  {:<8} {:.0} bytes an object, {:.0} beside its own",
            proxy.name(),
            found.each(),
            found.overhead()
        );
        memory.push(found);
        if proxy == Proxy::Seawall {
            purges = purge::all(setting, &server, &origin)?;
        }
    }
    Ok((memory, purges))
}

fn path(number: u32) -> String {
    format!("{TAGGED_PREFIX}{number}")
}
