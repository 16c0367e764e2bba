//! The results as a table for people and as JSON for programs, with the targets beside them.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::disk::{self, Disk};
use super::fleet::{self, Fleet};
use super::million::Memory;
use super::origin::TINY;
use super::proxies::Proxy;
use super::purge::Purge;
use super::{Case, PLENTY, Setting};
use crate::bench::machine;
use crate::bench::rounds::{Row, Sample, Workers};
use crate::bench::table::{self, Verdict, mebi, median, spread_of};

/// Everything one run found.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) workers: Vec<Workers>,
    pub(super) disk: Vec<Disk>,
    pub(super) memory: Vec<Memory>,
    pub(super) purges: Vec<Purge>,
    pub(super) fleet: Vec<Fleet>,
    rounds: u32,
    seconds: u32,
    facts: Vec<(&'static str, String)>,
}

const BEST: &str = "the best of NGINX, HAProxy and Varnish";

/// The most that hits may be slower around a purge than before it, by their 99th percentile: less
/// is lost in what two seconds on one machine differ by.
const SLOWER: f64 = 1.25;

/// What a process may take besides what it was given for objects, in MiB.
const BESIDE: f64 = 64.0;

impl Report {
    /// An empty report of a run with this setting.
    pub(super) fn new(setting: &Setting) -> Self {
        Self {
            rows: Vec::new(),
            workers: Vec::new(),
            disk: Vec::new(),
            memory: Vec::new(),
            purges: Vec::new(),
            fleet: Vec::new(),
            rounds: setting.rounds,
            seconds: setting.seconds,
            facts: machine::cache_facts(setting.seawall.as_deref()),
        }
    }

    #[cfg(test)]
    pub(super) fn empty() -> Self {
        Self {
            rows: Vec::new(),
            workers: Vec::new(),
            disk: Vec::new(),
            memory: Vec::new(),
            purges: Vec::new(),
            fleet: Vec::new(),
            rounds: 3,
            seconds: 1,
            facts: vec![("cpu", "one".to_owned())],
        }
    }

    /// Writes `cache.md` and `cache.json`.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        table::write(directory, "cache", &self.markdown(), &self.json())
    }

    /// The tables.
    pub(super) fn markdown(&self) -> String {
        let mut out = String::from("# The HTTP cache\n\n");
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Written by `cargo xtask bench cache`: median (lowest–highest) of {} alternating rounds of \
             {} s each, after a second of warm-up. Proxy on one core with one worker, load on another. \
             The origin counts what it is asked, and was asked for nothing while hits were measured. \
             Each cache may keep {} MiB in memory, NGINX its index, with files that the kernel keeps \
             there. CPU time is user and system time of all processes of the proxy, divided by the \
             requests answered.\n\n{}.",
            self.rounds,
            self.seconds,
            PLENTY.memory,
            table::facts_line(&self.facts)
        );
        table::write_verdicts(&mut out, &self.verdicts());
        table::write_rows(&mut out, &self.rows);
        table::write_workers(&mut out, &self.workers);
        self.write_disk(&mut out);
        self.write_memory(&mut out);
        self.write_purges(&mut out);
        self.write_fleet(&mut out);
        out
    }

    fn write_disk(&self, out: &mut String) {
        if self.disk.is_empty() {
            return;
        }
        let _ = write!(
            out,
            "\n## From the disk\n\nA file of 1 GiB, read whole {} times a round; {} MiB of \
             memory for objects (NGINX: none). The peak of resident memory includes storing the file. \
             It has been written shortly before, so that the kernel may well have it in memory.\n\n\
             | proxy | GiB per CPU second | GiB/s | peak, MiB |\n|---|--:|--:|--:|\n",
            disk::READS,
            disk::ROOM.memory
        );
        for disk in &self.disk {
            let gibi = |values: &[f64]| values.iter().map(|value| value / GIBI).collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} | {:.1} |",
                disk.proxy.name(),
                spread_of(gibi(&disk.per_cpu), 2),
                spread_of(gibi(&disk.rate), 2),
                mebi(disk.peak)
            );
        }
    }

    fn write_memory(&self, out: &mut String) {
        if self.memory.is_empty() {
            return;
        }
        let _ = write!(
            out,
            "\n## A million objects\n\nMemory of all processes of the proxy, what they share counted \
             once, before and with so many objects with a content of {TINY} bytes. An object's own bytes are \
             its content, its header fields as the origin sends them, and its key; those of NGINX are \
             in files, which take memory of the kernel that is not counted here. HAProxy takes all of \
             its memory when it starts.\n\n\
             | proxy | objects | before, MiB | with them, MiB | bytes an object | its own | beside \
             them |\n|---|--:|--:|--:|--:|--:|--:|\n",
        );
        for memory in &self.memory {
            let _ = writeln!(
                out,
                "| {} | {} | {:.1} | {:.1} | {:.0} | {} | {:.0} |",
                memory.proxy.name(),
                memory.objects,
                mebi(memory.before),
                mebi(memory.after),
                memory.each(),
                memory.own,
                memory.overhead()
            );
        }
    }

    fn write_purges(&self, out: &mut String) {
        if self.purges.is_empty() {
            return;
        }
        out.push_str(
            "\n## Purging a million objects\n\nBy the tag that all of them have, through the admin API, \
             from the request to its answer; and the 99th percentile of hits of something else on one \
             connection, in the second before, the quarter of a second from then on, and the second \
             after that.\n\n| round | took, ms | p99 before, ms | around | after |\n\
             |--:|--:|--:|--:|--:|\n",
        );
        for (round, purge) in self.purges.iter().enumerate() {
            let [before, around, after] = purge.hits;
            let _ = writeln!(
                out,
                "| {} | {:.2} | {before:.3} | {around:.3} | {after:.3} |",
                round + 1,
                purge.took
            );
        }
    }

    fn write_fleet(&self, out: &mut String) {
        if self.fleet.is_empty() {
            return;
        }
        let _ = write!(
            out,
            "\n## Purges of a fleet\n\nThree nodes with one Redis, all of them on the core of the \
             proxies; {} purges by tag at the first of them. Each counts from its request until the \
             others have both been asked for what it was for and did not answer with what they had \
             stored: they are asked all the time. `load` is {} connections that have hits of 1 KiB of \
             the second node, as many as it can serve.\n\n\
             | | p50, ms | p99 | slowest |\n|---|--:|--:|--:|\n",
            fleet::PURGES,
            fleet::CONNECTIONS,
        );
        for fleet in &self.fleet {
            let [p50, p99, slowest] = fleet.percentiles();
            let _ = writeln!(out, "| {} | {p50:.2} | {p99:.2} | {slowest:.2} |", fleet.name());
        }
    }

    /// Every target for which there is a result.
    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut cases: Vec<&str> = self.rows.iter().map(|row| row.case.as_str()).collect();
        cases.dedup();
        for case in cases {
            let most = if case == Case::Small64.name() { 0.65 } else { 1.0 };
            let cpu = self.ratio(case, |sample| sample.cpu);
            let p99 = self.ratio(case, |sample| sample.p99);
            for (measure, ratio, target) in [("CPU time", cpu, most), ("p99", p99, 1.0)] {
                let Some((value, valid)) = ratio else { continue };
                let verdict = at_most(case.to_owned(), measure, BEST, value, target);
                verdicts.push(Verdict { valid, ..verdict });
            }
        }
        verdicts.extend(table::worker_verdict(Case::Workers2.name(), &self.workers));
        verdicts.extend(self.disk_verdicts());
        verdicts.extend(self.million_verdicts());
        verdicts.extend(self.fleet.iter().map(|fleet| {
            let case = format!("{}, {}", Case::PurgeRedis.name(), fleet.name());
            let [_, p99, _] = fleet.percentiles();
            at_most(case, "p99 until all have it, ms", "itself", p99, 500.0)
        }));
        verdicts
    }

    fn ratio(&self, case: &str, of: impl Fn(&Sample) -> f64) -> Option<(f64, bool)> {
        let peers = Proxy::PEERS.map(Proxy::name);
        table::ratio(&self.rows, case, Proxy::Seawall.name(), &peers, of)
    }

    fn disk_verdicts(&self) -> Vec<Verdict> {
        let find = |proxy| self.disk.iter().find(|disk| disk.proxy == proxy);
        let Some(ours) = find(Proxy::Seawall) else { return Vec::new() };
        let case = || Case::Disk.name();
        let most = f64::from(disk::ROOM.memory) + BESIDE;
        let mut verdicts = vec![at_most(case(), "peak MiB", "itself", mebi(ours.peak), most)];
        if let Some(nginx) = find(Proxy::Nginx) {
            let value = median(ours.per_cpu.clone()) / median(nginx.per_cpu.clone());
            let verdict = at_most(case(), "bytes per CPU time", "NGINX", value, 1.0);
            verdicts.push(Verdict { at_least: true, ..verdict });
        }
        verdicts
    }

    fn million_verdicts(&self) -> Vec<Verdict> {
        let case = || Case::Million.name();
        let ours = self.memory.iter().filter(|memory| memory.proxy == Proxy::Seawall);
        let mut verdicts: Vec<Verdict> = ours
            .map(|memory| {
                at_most(case(), "bytes beside an object", "itself", memory.overhead(), 250.0)
            })
            .collect();
        if !self.purges.is_empty() {
            let slowest = self.purges.iter().map(|purge| purge.took).fold(0.0, f64::max);
            verdicts.push(at_most(case(), "slowest purge, ms", "itself", slowest, 10.0));
            let slower = self.purges.iter().map(|purge| purge.hits[1] / purge.hits[0]).collect();
            let measure = "p99 of hits around a purge";
            verdicts.push(at_most(case(), measure, "before it", median(slower), SLOWER));
        }
        verdicts
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "machine": table::facts_json(&self.facts),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "targets": self.verdicts().iter().map(Verdict::json).collect::<Vec<_>>(),
            "cases": table::rows_json(&self.rows),
            "workers": table::workers_json(&self.workers),
            "disk": self.disk.iter().map(|disk| json!({
                "proxy": disk.proxy.name(),
                "bytes_per_cpu_second": disk.per_cpu,
                "bytes_per_second": disk.rate,
                "peak_resident": disk.peak,
            })).collect::<Vec<_>>(),
            "memory": self.memory.iter().map(|memory| json!({
                "proxy": memory.proxy.name(),
                "objects": memory.objects,
                "before": memory.before,
                "after": memory.after,
                "own_bytes_of_an_object": memory.own,
            })).collect::<Vec<_>>(),
            "purges": self.purges.iter().map(|purge| json!({
                "took_ms": purge.took,
                "p99_ms_before_around_after": purge.hits,
            })).collect::<Vec<_>>(),
            "purges_of_a_fleet": self.fleet.iter().map(|fleet| json!({
                "load": fleet.loaded,
                "times_ms": fleet.times.iter().map(|time| time.as_secs_f64() * 1e3).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })
    }
}

const GIBI: f64 = (1 << 30) as f64;

fn at_most(
    case: String,
    measure: &'static str,
    against: &'static str,
    value: f64,
    target: f64,
) -> Verdict {
    Verdict { case, measure, against, value, target, at_least: false, valid: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::table::rounded;
    use crate::bench::wrk::Errors;

    fn row(case: Case, proxy: Proxy, cpu: f64, p99: f64) -> Row {
        let sample = Sample { cpu, user: 1.0, rate: 1000.0, p99, errors: Errors::default() };
        Row { case: case.name(), proxy: proxy.name(), samples: vec![sample] }
    }

    fn seen(report: &Report) -> Vec<(&'static str, f64, bool)> {
        let verdicts = report.verdicts();
        verdicts.iter().map(|one| (one.measure, rounded(one.value), one.met())).collect()
    }

    #[test]
    fn hits_are_compared_with_the_best_of_three() {
        let mut report = Report::empty();
        for case in [Case::Small64, Case::Large64] {
            report.rows.push(row(case, Proxy::Seawall, 6.5, 2.1));
            report.rows.push(row(case, Proxy::Nginx, 20.0, 3.0));
            report.rows.push(row(case, Proxy::Haproxy, 10.0, 2.0));
        }
        assert!(seen(&report).is_empty(), "Varnish was not measured");
        for case in [Case::Small64, Case::Large64] {
            report.rows.push(row(case, Proxy::Varnish, 40.0, 9.0));
        }
        report.rows.sort_by_key(|row| row.case != Case::Small64.name());
        let expected = [("CPU time", 0.65, true), ("p99", 1.05, false)];
        assert_eq!(seen(&report), [expected, expected].concat());
        let table = report.markdown();
        assert!(table.contains("| 1k-c64 | CPU time | the best of"), "{table}");
        assert!(table.contains("| 0.65 | ≤ 0.65 | met |"), "{table}");
        report.rows[0].samples[0].errors.read = 1;
        assert_eq!(report.verdicts()[0].word(), "invalid");
    }

    #[test]
    fn disk_memory_and_purges_have_targets() {
        let mut report = Report::empty();
        let disk =
            |proxy, per_cpu, peak| Disk { proxy, per_cpu: vec![per_cpu], rate: vec![1e9], peak };
        report.disk = vec![disk(Proxy::Seawall, 2e9, 100 << 20), disk(Proxy::Nginx, 1e9, 20 << 20)];
        let objects = 1_000_000;
        let memory = |proxy, after, own| Memory { proxy, objects, before: 0, after, own };
        report.memory = vec![
            memory(Proxy::Seawall, 560_000_000, 300),
            memory(Proxy::Varnish, 1_300_000_000, 300),
        ];
        let purge = |took, around| Purge { took, hits: [0.1, around, 0.1] };
        report.purges = vec![purge(0.5, 0.1), purge(11.0, 0.12), purge(0.5, 0.9)];
        let times = (1..=100).map(std::time::Duration::from_millis).collect();
        report.fleet = vec![Fleet { loaded: true, times }];
        let expected = [
            ("peak MiB", 100.0, true),
            ("bytes per CPU time", 2.0, true),
            ("bytes beside an object", 260.0, false),
            ("slowest purge, ms", 11.0, false),
            ("p99 of hits around a purge", 1.2, true),
            ("p99 until all have it, ms", 99.0, true),
        ];
        assert_eq!(seen(&report), expected);
        let table = report.markdown();
        assert!(
            table.contains("| Varnish | 1000000 | 0.0 | 1239.8 | 1300 | 300 | 1000 |"),
            "{table}"
        );
        assert!(table.contains("| 2 | 11.00 | 0.100 | 0.120 | 0.100 |"), "{table}");
        assert!(table.contains("| load | 50.00 | 99.00 | 100.00 |"), "{table}");
        assert_eq!(report.json()["targets"][3]["met"], false);
    }
}
