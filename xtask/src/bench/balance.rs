//! `cargo xtask bench balance`: what users feel when one of eight servers is slow and another
//! stalls, behind Seawall, NGINX and HAProxy on the same machine in the same run, in alternating
//! rounds.
//!
//! The load is open-loop: requests come when they come, however long answers take, and each is
//! measured from the time it was meant to be sent. A closed loop would send less to a proxy that
//! makes it wait, and so hide the wait. Traffic goes to loopback addresses only, for a bounded time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::chosen;
use super::options::Place;
use crate::tools::Tool;

mod load;
mod origins;
mod proxies;
mod report;

use load::{Arrivals, Outcome};
use origins::{Origins, Share};
use proxies::Proxy;
use report::Report;

/// Options of `cargo xtask bench balance`.
#[derive(Debug, Args)]
pub(crate) struct Balance {
    /// Rounds of each proxy.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of one round. One server stalls from the fifth to the sixth second of each ten.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(7..=600))]
    seconds: u32,
    /// Requests a second.
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// One round of seven seconds: to see that it works, not to be believed.
    #[arg(long)]
    quick: bool,
    /// Only these proxies.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROXY,...")]
    only: Vec<Proxy>,
    #[command(flatten)]
    place: Place,
}

/// One round of one proxy.
#[derive(Debug, Clone)]
struct Sample {
    outcome: Outcome,
    /// What each server got of it.
    shares: Vec<Share>,
}

/// One proxy and its rounds.
#[derive(Debug, Clone)]
struct Row {
    proxy: Proxy,
    samples: Vec<Sample>,
}

/// Load before each round that is not measured: connections are made, and latencies learnt.
const WARM_UP: Duration = Duration::from_secs(2);

impl Balance {
    /// Measures and writes the report.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let proxies: BTreeSet<Proxy> = chosen(&self.only);
        let seawall = self.prepare(&proxies)?;
        let (rounds, seconds) = if self.quick { (1, 7) } else { (self.rounds, self.seconds) };
        let length = Duration::from_secs(u64::from(seconds));
        let origins = Origins::start(self.place.load_core)?;
        let mut running = Vec::new();
        let mut report = Report::new(rounds, seconds, self.rate, seawall.as_deref());
        for &proxy in &proxies {
            let cores = self.place.proxy_core.to_string();
            running.push(proxy.start(&cores, seawall.as_deref(), origins.addresses())?);
            report.rows.push(Row { proxy, samples: Vec::new() });
        }
        for round in 0..rounds {
            for step in 0..running.len() {
                // Whoever was first is last in the next round.
                let at = (round as usize + step) % running.len();
                let address = running[at].address;
                let arrivals = |seed, length| Arrivals { seed, rate: self.rate, length };
                // The same for every proxy.
                let seed = u64::from(round);
                load::round(self.place.load_core, address, arrivals(!seed, WARM_UP))?;
                let before = origins.begin_round();
                let outcome = load::round(self.place.load_core, address, arrivals(seed, length))?;
                let shares = origins.since(&before);
                let sample = Sample { outcome, shares };
                eprintln!("  round {} {}", round + 1, report::line(report.rows[at].proxy, &sample));
                report.rows[at].samples.push(sample);
            }
        }
        let markdown = report.markdown();
        println!("{markdown}");
        let directory = self.place.directory(!self.quick && self.only.is_empty());
        report
            .write(&directory)
            .with_context(|| format!("cannot write results to {}", directory.display()))?;
        eprintln!("written to {}", directory.display());
        Ok(())
    }

    /// Installs and builds what is measured, and returns where Seawall is, if it takes part.
    fn prepare(&self, proxies: &BTreeSet<Proxy>) -> anyhow::Result<Option<PathBuf>> {
        let wanted: BTreeSet<&str> =
            proxies.iter().filter_map(|proxy| proxy.installed_as()).collect();
        let wanted: Vec<Tool> = wanted.into_iter().map(Tool::named).collect();
        self.place.prepare(&wanted, proxies.iter().any(|proxy| proxy.is_seawall()))
    }
}

/// Keeps this thread on one core.
pub(crate) fn stay_on(core: usize) -> anyhow::Result<()> {
    keep_on(core, None)
}

/// Keeps a process, and what it starts from now on, on one core; `None`: this thread.
pub(crate) fn keep_on(core: usize, process: Option<rustix::process::Pid>) -> anyhow::Result<()> {
    if core >= rustix::thread::CpuSet::MAX_CPU {
        bail!("there is no core {core}");
    }
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(process, &cores)
        .with_context(|| format!("cannot stay on core {core}"))
}
