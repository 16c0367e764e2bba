//! `cargo xtask bench http`: Seawall beside NGINX and HAProxy on the same machine in the same
//! run, in alternating rounds.
//!
//! What counts is the CPU time a proxy spends on one request: unlike throughput it does not depend
//! on who else had the other core. Times differ between machines; the ratios are what is kept.
//! Traffic goes to loopback addresses only, for a bounded time.

use std::collections::BTreeSet;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::tools::Tool;

pub(crate) mod balance;
pub(crate) mod cache;
pub(crate) mod choice;
pub(crate) mod cpu;
pub(crate) mod hits;
mod idle;
mod kept;
pub(crate) mod machine;
mod options;
mod part;
mod peers;
mod report;
mod rounds;
pub(crate) mod routes;
pub(crate) mod shortener;
pub(crate) mod table;
mod wrk;

use options::{Options, Setting};
use peers::{Origin, Peer, Server};
use report::Report;
use wrk::Ask;

/// Options of `cargo xtask bench http`.
#[derive(Debug, Args)]
pub(crate) struct Http {
    #[command(flatten)]
    options: Options,
    /// Only these proxies.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROXY,...")]
    only: Vec<Peer>,
    /// Only these cases.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE,...")]
    case: Vec<Case>,
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
        options::name_of(self)
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

impl Http {
    /// Measures and writes the report.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let peers: BTreeSet<Peer> = chosen(&self.only);
        let wanted: Vec<Tool> = [Tool::named("nginx"), Tool::named("wrk")]
            .into_iter()
            .chain(peers.contains(&Peer::Haproxy).then_some(Tool::named("haproxy")))
            .collect();
        let setting = self.options.setting(&wanted, peers.contains(&Peer::Seawall), (5, 5))?;
        let cases = chosen(&self.case);
        let mut report = Report::new(&setting);
        for case in &cases {
            eprintln!("case {}", case.name());
            match (case, case.load()) {
                (_, Some((connections, ask))) => {
                    let origin = Origin::start(&setting.load_cores)?;
                    report.rows.extend(rounds::case(
                        &setting,
                        &peers,
                        &origin,
                        *case,
                        connections,
                        ask,
                    )?);
                }
                (Case::Workers2, _) => report.workers = http_workers(&setting)?,
                (Case::Guarded, _) => report.guarded = rounds::guarded(&setting)?,
                (_, None) => report.idle = idle::case(&setting, &peers)?,
            }
        }
        let markdown = report.markdown();
        println!("{markdown}");
        let all = self.only.is_empty() && cases.len() == Case::value_variants().len();
        let directory = self.options.directory(all);
        report
            .write(&directory)
            .with_context(|| format!("cannot write results to {}", directory.display()))?;
        eprintln!("written to {}", directory.display());
        Ok(())
    }
}

fn http_workers(setting: &Setting) -> anyhow::Result<Vec<rounds::Workers>> {
    let setting = setting.on_both_cores();
    let origin = Origin::start(&setting.load_cores)?;
    let start = |workers| {
        let proxy = Server::proxy(Peer::Seawall, &setting, origin.address(), workers)?;
        proxy.check(&[Ask::Small])?;
        Ok(proxy)
    };
    rounds::workers(&setting, start)
}

/// What was asked for, or all there is.
fn chosen<T: ValueEnum + Ord + Copy>(asked: &[T]) -> BTreeSet<T> {
    match asked {
        [] => T::value_variants().iter().copied().collect(),
        asked => asked.iter().copied().collect(),
    }
}
