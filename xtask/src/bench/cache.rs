//! `cargo xtask bench cache`: hits of Seawall's cache beside those of NGINX, HAProxy and Varnish on
//! the same machine in the same run, in alternating rounds; and what the cache needs of memory and
//! disk, of time to forget a million objects, and until another node has forgotten one.
//!
//! What counts is the CPU time of a hit. Traffic goes to loopback addresses only, for a bounded
//! time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use seawall_testkit::{PATIENCE, RawClient};

use super::options::{Options, Setting, name_of};
use super::peers::Server;
use super::wrk::{Ask, KEY_PREFIX, KEYS};
use super::{chosen, rounds};
use crate::tools::Tool;

mod disk;
mod fill;
mod fleet;
mod kept;
mod million;
mod origin;
mod proxies;
mod purge;
mod report;

use origin::Origin;
use proxies::{Proxy, Room};
use report::Report;

/// Options of `cargo xtask bench cache`.
#[derive(Debug, Args)]
pub(crate) struct Cache {
    #[command(flatten)]
    options: Options,
    /// Only these proxies.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROXY,...")]
    only: Vec<Proxy>,
    /// Only these cases.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE,...")]
    case: Vec<Case>,
    /// Keep what the results of an earlier run say of other cases. Run case by case, it takes a
    /// minute at a time.
    #[arg(long)]
    keep: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// Hits of 1 KiB, 64 connections.
    #[value(name = "1k-c64")]
    Small64,
    /// Hits of 1 KiB, 1 connection.
    #[value(name = "1k-c1")]
    Small1,
    /// Hits of 1 KiB, 256 connections.
    #[value(name = "1k-c256")]
    Small256,
    /// Hits of 100 KiB, 64 connections.
    #[value(name = "100k-c64")]
    Large64,
    /// Hits that are answered with 304, 64 connections.
    #[value(name = "304-c64")]
    Unchanged64,
    /// Hits of 1 KiB on 100,000 keys by Zipf's law, all of them in memory, 64 connections.
    #[value(name = "zipf-c64")]
    Zipf64,
    /// Two workers beside one.
    #[value(name = "workers2")]
    Workers2,
    /// A file of 1 GiB from the disk.
    #[value(name = "disk1g")]
    Disk,
    /// A million objects of 100 bytes: their memory, and a purge of all of them by tag.
    #[value(name = "million")]
    Million,
    /// Purges at one of three nodes that share a Redis, until the others have them.
    #[value(name = "purge-redis")]
    PurgeRedis,
}

impl Case {
    /// Its name on the command line and in the results.
    fn name(self) -> String {
        name_of(self)
    }

    /// Connections, and what each asks for; `None` for the cases that are not plain load.
    fn load(self) -> Option<(u32, Ask)> {
        match self {
            Self::Small64 => Some((64, Ask::Small)),
            Self::Small1 => Some((1, Ask::Small)),
            Self::Small256 => Some((256, Ask::Small)),
            Self::Large64 => Some((64, Ask::Large)),
            Self::Unchanged64 => Some((64, Ask::Unchanged)),
            Self::Zipf64 => Some((64, Ask::Zipf)),
            Self::Workers2 | Self::Disk | Self::Million | Self::PurgeRedis => None,
        }
    }
}

/// What caches of answers of 1 KiB get: enough for all of them.
const PLENTY: Room = Room { memory: 256, disk: 0 };

impl Cache {
    /// Measures and writes the report.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let proxies: BTreeSet<Proxy> = chosen(&self.only);
        let cases: BTreeSet<Case> = chosen(&self.case);
        let mut wanted = vec![Tool::named("nginx"), Tool::named("wrk")];
        wanted.extend(proxies.iter().filter_map(|proxy| proxy.installed_as()));
        if cases.contains(&Case::PurgeRedis) {
            wanted.push(Tool { program: "redis-server", package: "redis-server" });
        }
        let setting = self.options.setting(&wanted, proxies.contains(&Proxy::Seawall), (3, 2))?;
        let mut report = Report::new(&setting);
        let loads: Vec<(Case, u32, Ask)> = cases
            .iter()
            .filter_map(|case| case.load().map(|(connections, ask)| (*case, connections, ask)))
            .collect();
        if !loads.is_empty() {
            report.rows = hits(&setting, &proxies, &loads)?;
        }
        for case in &cases {
            if case.load().is_none() {
                eprintln!("case {}", case.name());
            }
            match case {
                Case::Workers2 => report.workers = workers(&setting)?,
                Case::Disk => report.disk = disk::case(&setting, &proxies)?,
                Case::Million => {
                    (report.memory, report.purges) = million::case(&setting, &proxies)?
                }
                Case::PurgeRedis => report.fleet = fleet::case(&setting)?,
                _ => {}
            }
        }
        let all =
            self.only.is_empty() && (cases.len() == Case::value_variants().len() || self.keep);
        let directory = self.options.directory(all);
        if self.keep {
            report.keep(&directory)?;
        }
        println!("{}", report.markdown());
        report
            .write(&directory)
            .with_context(|| format!("cannot write results to {}", directory.display()))?;
        eprintln!("written to {}", directory.display());
        Ok(())
    }
}

/// All proxies in all cases of load. They run for all of it, as caches do.
fn hits(
    setting: &Setting,
    proxies: &BTreeSet<Proxy>,
    loads: &[(Case, u32, Ask)],
) -> anyhow::Result<Vec<rounds::Row>> {
    let origin = Origin::start(&setting.load_cores)?;
    let mut servers = Vec::new();
    for proxy in proxies {
        servers.push((proxy.name(), proxy.start(setting, &origin, PLENTY, 1)?));
    }
    let mut rows = Vec::new();
    for &(case, connections, ask) in loads {
        eprintln!("case {}", case.name());
        for (name, server) in &servers {
            if ask == Ask::Zipf {
                let paths = (1..=KEYS).map(|key| format!("{KEY_PREFIX}{key}"));
                fill::fetch(setting, server.address, paths)?;
            }
            warm(server, &origin, ask).with_context(|| format!("{name} does not cache"))?;
        }
        let before = origin.asked()?;
        rows.extend(rounds::alternate(setting, &servers, &case.name(), connections, ask)?);
        let asked = origin.asked()? - before;
        ensure!(asked == 0, "the origin was asked {asked} times in {}", case.name());
    }
    Ok(rows)
}

/// Sees to it that what is asked for is answered from the cache.
fn warm(server: &Server, origin: &Origin, ask: Ask) -> anyhow::Result<()> {
    let status = RawClient::connect(server.address)?.get("bench", ask.path())?.status;
    ensure!(status == 200, "{} is answered with status {status}", ask.path());
    wait_for_hit(origin, || server.check(&[ask]))
}

/// Some store an answer only when it is through: repeats a request until the origin does not hear
/// of it.
fn wait_for_hit(
    origin: &Origin,
    mut request: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = origin.asked()?;
        request()?;
        if origin.asked()? == before {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the origin is still asked");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn workers(setting: &Setting) -> anyhow::Result<Vec<rounds::Workers>> {
    let setting = setting.on_both_cores();
    let origin = Origin::start(&setting.load_cores)?;
    let start = |workers| {
        let server = Proxy::Seawall.start(&setting, &origin, PLENTY, workers)?;
        warm(&server, &origin, Ask::Small)?;
        Ok(server)
    };
    rounds::workers(&setting, start)
}
