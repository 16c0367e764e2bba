//! `cargo xtask bench http`: Seawall beside NGINX and HAProxy on the same machine in the same
//! run, in alternating rounds.
//!
//! What counts is the CPU time a proxy spends on one request: unlike throughput it does not depend
//! on who else had the other core. Times differ between machines; the ratios are what is kept.
//! Traffic goes to loopback addresses only, for a bounded time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::build;
use crate::tools::{self, Tool};

pub(crate) mod balance;
pub(crate) mod choice;
mod cpu;
pub(crate) mod hits;
mod idle;
mod machine;
mod part;
mod peers;
mod report;
mod rounds;
pub(crate) mod routes;
mod wrk;

use peers::{Origin, Peer};
use report::Report;

/// Options of `cargo xtask bench http`.
#[derive(Debug, Args)]
pub(crate) struct Http {
    /// Rounds of each case and proxy; the median of them counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of one round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Two rounds of two seconds: to see that it works, not to be believed.
    #[arg(long)]
    quick: bool,
    /// Only these proxies.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROXY,...")]
    only: Vec<Peer>,
    /// Only these cases.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE,...")]
    case: Vec<Case>,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    seawall: Option<PathBuf>,
    /// The core of the proxy.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    proxy_core: usize,
    /// The core of the origin and of the load.
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    load_core: usize,
    /// Where `http.md` and `http.json` go. Default: `bench/results` for a complete run,
    /// `target/bench` for one that leaves something out.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// 1 KiB answers, 64 connections.
    #[value(name = "1k-c64")]
    Small64,
    /// 1 KiB answers, 1 connection.
    #[value(name = "1k-c1")]
    Small1,
    /// 1 KiB answers, 256 connections.
    #[value(name = "1k-c256")]
    Small256,
    /// 1 KiB answers, 1,000 connections.
    #[value(name = "1k-c1000")]
    Small1000,
    /// 100 KiB answers, 64 connections.
    #[value(name = "100k-c64")]
    Large64,
    /// 64 KiB uploads, 64 connections.
    #[value(name = "upload64k-c64")]
    Upload64,
    /// Two workers beside one.
    #[value(name = "workers2")]
    Workers2,
    /// Seawall with checks, ejection, breaker and retries beside Seawall without.
    #[value(name = "guarded")]
    Guarded,
    /// Memory of 10,000 idle connections.
    #[value(name = "idle10k")]
    Idle10k,
}

impl Case {
    /// Its name on the command line and in the results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Connections, and what each asks for; `None` for the cases that are not plain load.
    pub(crate) fn load(self) -> Option<(u32, wrk::Ask)> {
        match self {
            Self::Small64 => Some((64, wrk::Ask::Small)),
            Self::Small1 => Some((1, wrk::Ask::Small)),
            Self::Small256 => Some((256, wrk::Ask::Small)),
            Self::Small1000 => Some((1000, wrk::Ask::Small)),
            Self::Large64 => Some((64, wrk::Ask::Large)),
            Self::Upload64 => Some((64, wrk::Ask::Upload)),
            Self::Workers2 | Self::Guarded | Self::Idle10k => None,
        }
    }
}

/// What every part of a run needs to know.
pub(crate) struct Setting {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) proxy_cores: String,
    pub(crate) load_cores: String,
    pub(crate) peers: BTreeSet<Peer>,
    pub(crate) seawall: Option<PathBuf>,
}

impl Setting {
    /// The binary that is measured.
    pub(crate) fn binary(&self) -> anyhow::Result<&Path> {
        self.seawall.as_deref().context("no seawall to measure")
    }
}

impl Http {
    /// Measures and writes the report.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let setting = self.setting()?;
        let cases = chosen(&self.case);
        let mut report = Report::new(&setting);
        for case in &cases {
            eprintln!("case {}", case.name());
            match (case, case.load()) {
                (_, Some((connections, ask))) => {
                    let origin = Origin::start(&setting.load_cores)?;
                    report.rows.extend(rounds::case(&setting, &origin, *case, connections, ask)?);
                }
                (Case::Workers2, _) => report.workers = rounds::workers(&both_cores(&setting))?,
                (Case::Guarded, _) => report.guarded = rounds::guarded(&setting)?,
                (_, None) => report.idle = idle::case(&setting)?,
            }
        }
        let markdown = report.markdown();
        println!("{markdown}");
        let directory = self.directory(&cases);
        report
            .write(&directory)
            .with_context(|| format!("cannot write results to {}", directory.display()))?;
        eprintln!("written to {}", directory.display());
        Ok(())
    }

    fn setting(&self) -> anyhow::Result<Setting> {
        let peers: BTreeSet<Peer> = chosen(&self.only);
        let wanted: Vec<Tool> = [Tool::named("nginx"), Tool::named("wrk")]
            .into_iter()
            .chain(peers.contains(&Peer::Haproxy).then_some(Tool::named("haproxy")))
            .collect();
        tools::install_missing(&wanted)?;
        self.check_cores()?;
        let open_files = seawall_testkit::raise_open_files(peers::OPEN_FILES)
            .context("cannot raise the limit on open files")?;
        if open_files < peers::FEWEST_OPEN_FILES {
            bail!(
                "the limit on open files is {open_files}; {} are needed (ulimit -Hn)",
                peers::FEWEST_OPEN_FILES
            );
        }
        let seawall = match (&self.seawall, peers.contains(&Peer::Seawall)) {
            (_, false) => None,
            (Some(file), true) => Some(file.clone()),
            (None, true) => Some(build::release("seawall")?),
        };
        let (rounds, seconds) = if self.quick { (2, 2) } else { (self.rounds, self.seconds) };
        Ok(Setting {
            rounds,
            seconds,
            proxy_cores: self.proxy_core.to_string(),
            load_cores: self.load_core.to_string(),
            peers,
            seawall,
        })
    }

    fn check_cores(&self) -> anyhow::Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if cores < 2 || self.proxy_core == self.load_core {
            bail!("the proxy and the load need a core each; this machine has {cores}");
        }
        Ok(())
    }

    fn directory(&self, cases: &BTreeSet<Case>) -> PathBuf {
        let complete =
            !self.quick && self.only.is_empty() && cases.len() == Case::value_variants().len();
        match &self.out {
            Some(directory) => directory.clone(),
            None if complete => build::root().join("bench/results"),
            None => build::root().join("target/bench"),
        }
    }
}

/// One worker beside two: everything may run on both cores either way, so that the place of the
/// load makes no difference between them.
fn both_cores(setting: &Setting) -> Setting {
    let both = format!("{},{}", setting.proxy_cores, setting.load_cores);
    Setting {
        proxy_cores: both.clone(),
        load_cores: both,
        peers: setting.peers.clone(),
        seawall: setting.seawall.clone(),
        ..*setting
    }
}

/// What was asked for, or all there is.
fn chosen<T: ValueEnum + Ord + Copy>(asked: &[T]) -> BTreeSet<T> {
    match asked {
        [] => T::value_variants().iter().copied().collect(),
        asked => asked.iter().copied().collect(),
    }
}
