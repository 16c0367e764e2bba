//! Alternating rounds of load, and what each cost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::peers::{Origin, Peer, Server};
use super::wrk::{self, Ask, Errors, Outcome};
use super::{Case, Setting, cpu};

/// One proxy in one case: its rounds.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) proxy: &'static str,
    pub(crate) samples: Vec<Sample>,
}

/// Seawall with one number of workers: its rounds.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    pub(crate) workers: u32,
    pub(crate) samples: Vec<Sample>,
    /// The part of the process's CPU time that its busiest thread used, in each round.
    pub(crate) busiest: Vec<f64>,
}

/// Seawall with all that watches over servers, or without any of it: its rounds.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    pub(crate) guarded: bool,
    pub(crate) samples: Vec<Sample>,
}

/// One round.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// CPU microseconds per request.
    pub(crate) cpu: f64,
    /// The part of it outside the kernel.
    pub(crate) user: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// 99th percentile of the latency, in milliseconds.
    pub(crate) p99: f64,
    pub(crate) errors: Errors,
}

/// Seconds of load before each round that are not measured.
const WARM_UP: u32 = 1;

/// The part of the machine's time that others may have had in a round. With more, it is measured
/// again, whatever came out of it, and is invalid in the end.
const OTHERS: f64 = 0.05;

/// How often a round is measured at most.
const TRIES: u32 = 3;

/// Measures every proxy in one case.
pub(crate) fn case(
    setting: &Setting,
    peers: &BTreeSet<Peer>,
    origin: &Origin,
    case: Case,
    connections: u32,
    ask: Ask,
) -> anyhow::Result<Vec<Row>> {
    let mut proxies = Vec::new();
    for &peer in peers {
        let proxy = Server::proxy(peer, setting, origin.address(), 1)?;
        proxy.check(&[ask])?;
        proxies.push((peer.name(), proxy));
    }
    alternate(setting, &proxies, &case.name(), connections, ask)
}

/// Measures these proxies in turns.
pub(crate) fn alternate(
    setting: &Setting,
    proxies: &[(&'static str, Server)],
    case: &str,
    connections: u32,
    ask: Ask,
) -> anyhow::Result<Vec<Row>> {
    let row =
        |&(proxy, _): &(&'static str, _)| Row { case: case.to_owned(), proxy, samples: Vec::new() };
    let mut rows: Vec<Row> = proxies.iter().map(row).collect();
    for round in 0..setting.rounds as usize {
        for step in 0..rows.len() {
            // Whoever was first is last in the next round.
            let at = (round + step) % rows.len();
            let sample = measure(setting, &proxies[at].1, ask, connections)?;
            eprintln!(
                "  round {} {:<8} {:6.2} µs/request ({:.2} user) {:8.0}/s p99 {:.2} ms{}",
                round + 1,
                rows[at].proxy,
                sample.cpu,
                sample.user,
                sample.rate,
                sample.p99,
                sample
                    .errors
                    .describe()
                    .map_or_else(String::new, |what| format!("  ERRORS: {what}")),
            );
            rows[at].samples.push(sample);
        }
    }
    Ok(rows)
}

/// Measures Seawall with one worker and with two. Without Seawall there is nothing to measure.
pub(crate) fn workers(
    setting: &Setting,
    start: impl Fn(u32) -> anyhow::Result<Server>,
) -> anyhow::Result<Vec<Workers>> {
    if setting.seawall.is_none() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for workers in [1, 2] {
        rows.push((start(workers)?, Workers { workers, samples: Vec::new(), busiest: Vec::new() }));
    }
    for round in 0..setting.rounds {
        for (proxy, row) in &mut rows {
            let before = cpu::of_threads(proxy.id())?;
            let sample = measure(setting, proxy, Ask::Small, 64)?;
            let busiest = share_of_busiest(&before, &cpu::of_threads(proxy.id())?);
            eprintln!(
                "  round {} {} workers {:6.2} µs/request, the busiest thread used {:.0} %",
                round + 1,
                row.workers,
                sample.cpu,
                busiest * 100.0
            );
            row.samples.push(sample);
            row.busiest.push(busiest);
        }
    }
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Measures Seawall plain and with checks, ejection, breaker and retries on. Without Seawall there
/// is nothing to measure.
pub(crate) fn guarded(setting: &Setting) -> anyhow::Result<Vec<Guarded>> {
    if setting.seawall.is_none() {
        return Ok(Vec::new());
    }
    let origin = Origin::start(&setting.load_cores)?;
    let mut rows = Vec::new();
    for guarded in [false, true] {
        let proxy = match guarded {
            true => Server::guarded(setting, origin.address())?,
            false => Server::proxy(Peer::Seawall, setting, origin.address(), 1)?,
        };
        proxy.check(&[Ask::Small])?;
        rows.push((proxy, Guarded { guarded, samples: Vec::new() }));
    }
    // The difference is small, so that more rounds are needed to see it.
    for round in 0..2 * setting.rounds {
        for (proxy, row) in &mut rows {
            let sample = measure(setting, proxy, Ask::Small, 64)?;
            eprintln!(
                "  round {} {:<8} {:6.2} µs/request ({:.2} user)",
                round + 1,
                if row.guarded { "guarded" } else { "plain" },
                sample.cpu,
                sample.user
            );
            row.samples.push(sample);
        }
        rows.reverse();
    }
    rows.sort_by_key(|(_, row)| row.guarded);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn measure(
    setting: &Setting,
    proxy: &Server,
    ask: Ask,
    connections: u32,
) -> anyhow::Result<Sample> {
    let load = |seconds| wrk::round(&setting.load_cores, proxy.address, ask, connections, seconds);
    measured(setting, &[proxy.id()], &[], load).map(|round| round.sample)
}

/// A round of whatever load.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Round {
    pub(crate) sample: Sample,
    /// The median of the latency, in milliseconds.
    pub(crate) p50: f64,
    /// CPU microseconds per request of those who stand behind what is measured.
    pub(crate) behind: f64,
}

/// Measures what these processes spend on the requests of `load`, which is told for how many
/// seconds to send them, and what those behind them spend.
pub(crate) fn measured(
    setting: &Setting,
    processes: &[u32],
    behind: &[u32],
    load: impl Fn(u32) -> anyhow::Result<Outcome>,
) -> anyhow::Result<Round> {
    let mut tries = 1;
    loop {
        let (mut round, others) = once(setting, processes, behind, &load)?;
        if others <= OTHERS {
            return Ok(round);
        }
        if tries == TRIES {
            round.sample.errors.others = (others * 100.0).round() as u64;
            return Ok(round);
        }
        eprintln!("  others had {:.0} % of the machine: once more", others * 100.0);
        tries += 1;
    }
}

/// A round, and the part of the machine's time that neither those who are measured nor the load
/// nor the kernel's own threads had.
fn once(
    setting: &Setting,
    processes: &[u32],
    behind: &[u32],
    load: impl Fn(u32) -> anyhow::Result<Outcome>,
) -> anyhow::Result<(Round, f64)> {
    load(WARM_UP)?;
    let start = Instant::now();
    let others = || -> anyhow::Result<Duration> {
        let known = cpu::of_trees(processes)?.total()
            + cpu::of_trees(behind)?.total()
            + cpu::of_ended_children()?
            // Some load is of threads of its own.
            + cpu::of_this()?
            + cpu::of_kernel_threads()?;
        Ok(cpu::of_machine()?.saturating_sub(known))
    };
    let (before, others_before) = (cpu::of_trees(processes)?, others()?);
    let behind_before = cpu::of_trees(behind)?;
    let outcome = load(setting.seconds)?;
    let used = cpu::of_trees(processes)?.since(before);
    let used_behind = cpu::of_trees(behind)?.since(behind_before);
    let others = others()?.saturating_sub(others_before).as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let share = others / (cores * start.elapsed().as_secs_f64());
    ensure!(outcome.requests > 0, "no request was answered");
    let requests = outcome.requests as f64;
    let sample = Sample {
        cpu: micros(used.total()) / requests,
        user: micros(used.user) / requests,
        rate: requests * 1e6 / outcome.micros.max(1) as f64,
        p99: outcome.p99 as f64 / 1e3,
        errors: outcome.errors,
    };
    let behind = micros(used_behind.total()) / requests;
    Ok((Round { sample, p50: outcome.p50 as f64 / 1e3, behind }, share))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn share_of_busiest(before: &[(u32, Duration)], after: &[(u32, Duration)]) -> f64 {
    let used = |(id, now): &(u32, Duration)| {
        let then = before.iter().find(|(old, _)| old == id);
        now.saturating_sub(then.map_or(Duration::ZERO, |(_, time)| *time))
    };
    let total: Duration = after.iter().map(used).sum();
    let most = after.iter().map(used).max().unwrap_or_default();
    if total.is_zero() {
        return 0.0;
    }
    most.as_secs_f64() / total.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_thread_is_the_one_that_used_most_meanwhile() {
        let seconds = Duration::from_secs;
        let before = [(1, seconds(100)), (2, seconds(0))];
        let after = [(1, seconds(101)), (2, seconds(2)), (3, seconds(1))];
        assert_eq!(share_of_busiest(&before, &after), 0.5);
        assert_eq!(share_of_busiest(&before, &before), 0.0);
    }
}
