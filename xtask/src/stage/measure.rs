//! `--load`: the highest rate of redirects that a stage sustains, and what it takes.
//!
//! A rate is borne when every answer is right, 99 of 100 come within [`BEARABLE`] of the time they
//! were due, and no click is lost. The highest is looked for in short runs and confirmed in a
//! long one. In the end the database must have counted exactly the clicks that were answered.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::load::{Load, Outcome, Pace, Workload};
use super::plan::Plan;
use super::site::Site;
use crate::bench::cpu;
use crate::scene::{Stop, Stopped, grouped};

/// What 99 of 100 answers may take.
pub(crate) const BEARABLE: Duration = Duration::from_millis(50);

/// Requests that are due for so long show that a rate is too high, however long it goes on.
const HOPELESS: Duration = Duration::from_millis(400);

/// A short run.
const STEP: Duration = Duration::from_secs(3);

/// Connections of the load.
const CONNECTIONS: usize = 256;

/// Where the search begins, in redirects a second.
const FIRST: f64 = 12_000.0;

/// The search is over when it is known to within this part.
const EXACT: f64 = 0.06;

/// How long after the last answer all clicks must be counted, or counting does not keep up.
const COUNTED: Duration = Duration::from_secs(5);

/// How a stage is to be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// How long each link is asked for once, the most popular first, before anything is measured.
    pub(crate) warm: Duration,
    /// How long the run lasts that confirms what was found.
    pub(crate) confirm: Duration,
    /// Wait for a line on the standard input before it is measured.
    pub(crate) pause: bool,
    /// This rate and no other.
    pub(crate) rate: Option<f64>,
}

/// What was found of a stage.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) plan: Plan,
    /// Links that there are.
    pub(crate) links: usize,
    /// Of these, the most popular ones that were asked for once before.
    pub(crate) warmed: u64,
    /// Of the long run.
    pub(crate) outcome: Outcome,
    /// Parts of all redirects: that reached an instance of `snip`, and for which a database was
    /// asked.
    pub(crate) origin: f64,
    pub(crate) database: f64,
    /// Transactions of the primary and of its replicas for a thousand redirects.
    pub(crate) transactions: [f64; 2],
    /// What each component took: microseconds of CPU time a redirect, and bytes of memory.
    pub(crate) took: BTreeMap<&'static str, (f64, u64)>,
    /// How long after the last answer all clicks were counted.
    pub(crate) counted_after: Duration,
    /// Clicks of all runs, as answered and as counted.
    pub(crate) clicks: [u64; 2],
}

/// Counters that only grow, at a moment.
#[derive(Debug, Clone, Default)]
struct Reading {
    cpu: BTreeMap<&'static str, Duration>,
    origin: u64,
    database: u64,
    transactions: [u64; 2],
    counted: u64,
    lost: u64,
}

/// What came of a long run.
enum Confirmed {
    Borne(Box<Measured>),
    /// Not borne: and so many clicks a second were counted while it went on.
    TooHigh {
        counted: f64,
    },
}

/// A stage under load.
pub(crate) struct Bench<'a> {
    site: &'a mut Site,
    workload: &'a Workload,
    load: Load<'a>,
    stop: &'a Stop,
    /// Clicks that were answered so far.
    answered: u64,
    warmed: u64,
    runs: u64,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        site: &'a mut Site,
        workload: &'a Workload,
        stop: &'a Stop,
    ) -> anyhow::Result<Bench<'a>> {
        let load = Load::open(workload, site.front, CONNECTIONS)?;
        Ok(Bench { site, workload, load, stop, answered: 0, warmed: 0, runs: 0 })
    }

    /// Measures the stage.
    pub(crate) fn measure(&mut self, setting: Setting, links: usize) -> anyhow::Result<Measured> {
        let warmed = self.load.run(Pace::Each { from: 0 }, setting.warm, Duration::MAX)?;
        self.answered += warmed.answered;
        self.warmed = warmed.answered;
        ensure!(warmed.failed() == 0, "bad answers: {:?}", warmed.errors);
        println!(
            "  asked once for {} links, {:.0} a second",
            grouped(warmed.answered),
            warmed.rate()
        );
        self.settle()?;
        if setting.pause {
            println!("  ready: waits for a line on the standard input");
            std::io::stdin().read_line(&mut String::new()).context("no standard input")?;
            // Those that are there may have been idle for too long.
            self.load = Load::open(self.workload, self.site.front, CONNECTIONS)?;
        }
        let mut rate = match setting.rate {
            Some(rate) => rate,
            // A little less than what was borne for a moment.
            None => self.search()? * 0.95,
        };
        for _ in 0..4 {
            match self.confirm(rate, setting.confirm, links)? {
                Confirmed::Borne(measured) => return Ok(*measured),
                Confirmed::TooHigh { .. } if setting.rate.is_some() => break,
                Confirmed::TooHigh { counted } => rate = (rate * 0.94).min(counted * 0.97),
            }
        }
        bail!("no rate was borne for {:?}", setting.confirm)
    }

    /// The highest rate that is borne for a moment.
    fn search(&mut self) -> anyhow::Result<f64> {
        let (mut borne, mut too_high, mut rate) = (0.0, None, FIRST);
        loop {
            let before = self.lost()?;
            let outcome = self.run(rate, STEP)?;
            self.settle()?;
            let lost = self.lost()? - before;
            let is_borne = is_borne(&outcome) && lost == 0;
            report(rate, &outcome, lost, is_borne);
            if is_borne {
                borne = rate;
            } else {
                too_high = Some(rate);
            }
            rate = match too_high {
                None => rate * 1.6,
                Some(high) if high - borne <= high * EXACT => break,
                Some(high) => (borne + high) / 2.0,
            };
            ensure!(rate > 100.0, "not even {rate:.0} redirects a second are borne");
        }
        Ok(borne)
    }

    /// The long run: a rate may be too high after all, first of all for the counting of clicks, of
    /// which a few seconds' worth can wait in short runs.
    fn confirm(&mut self, rate: f64, length: Duration, links: usize) -> anyhow::Result<Confirmed> {
        // As it is while it goes on.
        let running_in = self.run(rate, Duration::from_secs(1))?;
        ensure!(running_in.failed() == 0, "bad answers: {:?}", running_in.errors);
        let before = self.read()?;
        let outcome = self.run(rate, length)?;
        let after = self.read()?;
        let last = Instant::now();
        let memory = self.memory()?;
        let counted_after = self.until_counted(last)?;
        let lost = self.lost()? - before.lost;
        let is_borne = is_borne(&outcome) && lost == 0 && counted_after <= COUNTED;
        report(rate, &outcome, lost, is_borne);
        if !is_borne {
            let counted = (after.counted - before.counted) as f64 / outcome.took.as_secs_f64();
            return Ok(Confirmed::TooHigh { counted });
        }
        let all = outcome.answered as f64;
        let part = |after: u64, before: u64| (after - before) as f64 / all;
        let mut took = BTreeMap::new();
        for (name, cpu) in &after.cpu {
            let used = cpu.saturating_sub(before.cpu.get(name).copied().unwrap_or_default());
            let each = used.as_secs_f64() * 1e6 / all;
            took.insert(*name, (each, memory.get(name).copied().unwrap_or(0)));
        }
        let transactions =
            [0, 1].map(|at| part(after.transactions[at], before.transactions[at]) * 1000.0);
        let clicks = [self.answered, self.site.api().clicks(None)?];
        Ok(Confirmed::Borne(Box::new(Measured {
            plan: self.site.plan,
            links,
            warmed: self.warmed,
            outcome,
            origin: part(after.origin, before.origin),
            database: part(after.database, before.database),
            transactions,
            took,
            counted_after,
            clicks,
        })))
    }

    fn run(&mut self, rate: f64, length: Duration) -> anyhow::Result<Outcome> {
        ensure!(!self.stop.is_asked(), Stopped);
        self.runs += 1;
        let outcome = self.load.run(Pace::Rate { rate, seed: self.runs }, length, HOPELESS)?;
        self.answered += outcome.answered;
        Ok(outcome)
    }

    /// Waits until all clicks so far are counted or lost, ten seconds at most.
    fn settle(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            ensure!(!self.stop.is_asked(), Stopped);
            let taken = self.site.metric("snip_clicks_stored_total", &[])?;
            if taken + self.lost()? >= self.answered {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until the database has as many clicks as were answered and not lost, and says how long
    /// that took.
    fn until_counted(&mut self, since: Instant) -> anyhow::Result<Duration> {
        loop {
            let counted = self.site.api().clicks(None)? + self.lost()?;
            if counted == self.answered {
                return Ok(since.elapsed());
            }
            let answered = self.answered;
            ensure!(counted < answered, "{counted} clicks are counted, {answered} were answered");
            ensure!(
                since.elapsed() < Duration::from_secs(60),
                "{counted} of {answered} clicks are counted, and no more come"
            );
            ensure!(!self.stop.is_asked(), Stopped);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks that are known to be lost, and said to be.
    fn lost(&mut self) -> anyhow::Result<u64> {
        let mut lost = self.site.metric("snip_clicks_lost_total", &[])?;
        for (_, seawall) in &self.site.seawalls {
            lost += seawall.metric("seawall_report_dropped_total", &[])? as u64;
        }
        Ok(lost)
    }

    fn read(&mut self) -> anyhow::Result<Reading> {
        let mut cpu = BTreeMap::new();
        for (name, process) in self.processes() {
            *cpu.entry(name).or_default() += cpu::of_tree(process)?.total();
        }
        cpu.insert("load", cpu::of_process(std::process::id())?.total());
        let site = &self.site;
        let by_store = site.metric("snip_lookups_total", &["by=\"store\""])?;
        Ok(Reading {
            cpu,
            origin: site.metric("snip_redirects_total", &[])?,
            database: by_store,
            transactions: self.transactions()?,
            counted: site.metric("snip_clicks_stored_total", &[])?,
            lost: self.lost()?,
        })
    }

    fn transactions(&self) -> anyhow::Result<[u64; 2]> {
        let name = &self.site.database;
        let sql = format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}'");
        let of = |server: &seawall_testkit::Postgres| -> anyhow::Result<u64> {
            Ok(server.sql("postgres", &sql)?.trim().parse()?)
        };
        let primary = self.site.postgres.as_ref().map_or(Ok(0), of)?;
        let replicas: Vec<u64> = self.site.replicas.iter().map(of).collect::<Result<_, _>>()?;
        Ok([primary, replicas.iter().sum()])
    }

    fn memory(&mut self) -> anyhow::Result<BTreeMap<&'static str, u64>> {
        let mut memory = BTreeMap::new();
        for (name, process) in self.processes() {
            *memory.entry(name).or_default() += cpu::proportional_of_tree(process)?;
        }
        Ok(memory)
    }

    /// All processes with the name of their component.
    fn processes(&mut self) -> Vec<(&'static str, u32)> {
        let site = &mut *self.site;
        let mut all = Vec::new();
        for (name, seawall) in &mut site.seawalls {
            all.push((*name, seawall.process().id()));
        }
        all.extend(site.instances.iter().map(|instance| ("snip", instance.process.id())));
        all.extend(site.postgres.as_mut().map(|it| ("postgres", it.process().id())));
        all.extend(site.replicas.iter_mut().map(|it| ("replicas", it.process().id())));
        all.extend(site.redis.as_mut().map(|it| ("redis", it.process().id())));
        all
    }
}

fn is_borne(outcome: &Outcome) -> bool {
    let p99 = Duration::from_micros(outcome.latencies.percentile(0.99));
    !outcome.is_broken_off && outcome.failed() == 0 && p99 < BEARABLE
}

fn report(rate: f64, outcome: &Outcome, lost: u64, is_borne: bool) {
    let millis = |share: f64| outcome.latencies.percentile(share) as f64 / 1e3;
    println!(
        "  {:>8}/s for {:>2.0} s: p50 {:>6.2} ms, p99 {:>7.2} ms{}{}{}{}",
        grouped(rate as u64),
        outcome.took.as_secs_f64(),
        millis(0.5),
        millis(0.99),
        if is_borne { "" } else { ", not borne" },
        if outcome.is_broken_off { ", broken off" } else { "" },
        if lost > 0 { format!(", {lost} clicks lost") } else { String::new() },
        if outcome.failed() > 0 { format!(", {:?}", outcome.errors) } else { String::new() },
    );
}
