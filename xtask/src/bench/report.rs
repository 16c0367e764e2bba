//! The results as a table for people and as JSON for programs, with the targets beside them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::idle::{self, Idle};
use super::peers::Peer;
use super::rounds::{Guarded, Row, Sample, Workers};
use super::{Case, Setting, machine};

/// Everything one run found.
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) workers: Vec<Workers>,
    pub(crate) guarded: Vec<Guarded>,
    pub(crate) idle: Vec<Idle>,
    rounds: u32,
    seconds: u32,
    facts: Vec<(&'static str, String)>,
}

/// A result beside what it should be.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    case: String,
    measure: &'static str,
    against: &'static str,
    value: f64,
    target: f64,
    /// Whether more is better.
    at_least: bool,
    valid: bool,
}

impl Verdict {
    /// Judged as it is printed, to two decimals.
    fn met(&self) -> bool {
        let (value, target) = (rounded(self.value), self.target);
        self.valid && if self.at_least { value >= target } else { value <= target }
    }

    fn word(&self) -> &'static str {
        match (self.valid, self.met()) {
            (false, _) => "invalid",
            (_, true) => "met",
            (_, false) => "**not met**",
        }
    }
}

impl Report {
    /// An empty report of a run with this setting.
    pub(crate) fn new(setting: &Setting) -> Self {
        Self {
            rows: Vec::new(),
            workers: Vec::new(),
            guarded: Vec::new(),
            idle: Vec::new(),
            rounds: setting.rounds,
            seconds: setting.seconds,
            facts: machine::facts(setting.seawall.as_deref()),
        }
    }

    /// Writes `http.md` and `http.json`.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("http.md"), self.markdown())?;
        let mut json = serde_json::to_string_pretty(&self.json())?;
        json.push('\n');
        fs::write(directory.join("http.json"), json)?;
        Ok(())
    }

    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# Proxying HTTP/1.1\n\n");
        let facts: Vec<String> =
            self.facts.iter().map(|(name, fact)| format!("{name} {fact}")).collect();
        let _ = writeln!(
            out,
            "Written by `cargo xtask bench http`: median (lowest–highest) of {} alternating rounds of \
             {} s each, after a second of warm-up. Proxy on one core with one worker, origin and load \
             on another. CPU time is user and system time of all processes of the proxy, divided by \
             the requests answered.\n\n{}.",
            self.rounds,
            self.seconds,
            facts.join(" · ")
        );
        self.write_verdicts(&mut out);
        self.write_rows(&mut out);
        self.write_workers(&mut out);
        self.write_guarded(&mut out);
        self.write_idle(&mut out);
        out
    }

    fn write_verdicts(&self, out: &mut String) {
        let verdicts = self.verdicts();
        if verdicts.is_empty() {
            return;
        }
        out.push_str("\n## Against the targets\n\n");
        out.push_str(
            "| case | measure | against | result | target | |\n|---|---|---|--:|--:|---|\n",
        );
        for verdict in &verdicts {
            let sign = if verdict.at_least { '≥' } else { '≤' };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {:.2} | {sign} {:.2} | {} |",
                verdict.case,
                verdict.measure,
                verdict.against,
                verdict.value,
                verdict.target,
                verdict.word()
            );
        }
    }

    fn write_rows(&self, out: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        out.push_str("\n## Measured\n\n");
        out.push_str("| case | proxy | CPU µs/request | of it user | requests/s | p99 ms | |\n");
        out.push_str("|---|---|--:|--:|--:|--:|---|\n");
        for row in &self.rows {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.case.name(),
                row.peer.name(),
                spread(&row.samples, |sample| sample.cpu, 2),
                spread(&row.samples, |sample| sample.user, 2),
                spread(&row.samples, |sample| sample.rate, 0),
                spread(&row.samples, |sample| sample.p99, 2),
                errors(&row.samples).map_or_else(String::new, |what| format!("invalid: {what}")),
            );
        }
    }

    fn write_workers(&self, out: &mut String) {
        if self.workers.is_empty() {
            return;
        }
        out.push_str("\n## Workers\n\n1 KiB answers, 64 connections, everything free to run on both cores.\n\n");
        out.push_str("| workers | CPU µs/request | requests per CPU second × workers | share of the busiest thread | |\n");
        out.push_str("|--:|--:|--:|--:|---|\n");
        for row in &self.workers {
            let _ = writeln!(
                out,
                "| {} | {} | {:.0} | {:.0} % | {} |",
                row.workers,
                spread(&row.samples, |sample| sample.cpu, 2),
                normalised_rate(row),
                median(row.busiest.clone()) * 100.0,
                errors(&row.samples).map_or_else(String::new, |what| format!("invalid: {what}")),
            );
        }
    }

    fn write_guarded(&self, out: &mut String) {
        if self.guarded.is_empty() {
            return;
        }
        out.push_str(
            "\n## Watching over servers\n\n1 KiB answers, 64 connections, twice as many rounds: Seawall \
             plain, and with `health`, `eject`, `breaker` and `retry`.\n\n\
             | | CPU µs/request | of it user | requests/s | p99 ms | |\n|---|--:|--:|--:|--:|---|\n",
        );
        for row in &self.guarded {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                if row.guarded { "with all of them" } else { "plain" },
                spread(&row.samples, |sample| sample.cpu, 2),
                spread(&row.samples, |sample| sample.user, 2),
                spread(&row.samples, |sample| sample.rate, 0),
                spread(&row.samples, |sample| sample.p99, 2),
                errors(&row.samples).map_or_else(String::new, |what| format!("invalid: {what}")),
            );
        }
    }

    fn write_idle(&self, out: &mut String) {
        if self.idle.is_empty() {
            return;
        }
        let _ = write!(
            out,
            "\n## Idle connections\n\nResident memory of all processes of the proxy, before and with {} \
             kept-alive connections that made one request each.\n\n\
             | proxy | before, MiB | with them, MiB | KiB a connection |\n|---|--:|--:|--:|\n",
            idle::CONNECTIONS
        );
        for idle in &self.idle {
            let _ = writeln!(
                out,
                "| {} | {:.1} | {:.1} | {:.2} |",
                idle.peer.name(),
                mebi(idle.before),
                mebi(idle.after),
                idle.each() / 1024.0
            );
        }
    }

    /// Every target for which there is a result.
    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut cases: Vec<Case> = self.rows.iter().map(|row| row.case).collect();
        cases.dedup();
        for case in cases {
            let first = case == Case::Small64;
            let mut push = |measure, against, value: Option<(f64, bool)>, target| {
                if let Some((value, valid)) = value {
                    verdicts.push(Verdict {
                        case: case.name(),
                        measure,
                        against,
                        value,
                        target,
                        at_least: false,
                        valid,
                    });
                }
            };
            let both = [Peer::Nginx, Peer::Haproxy];
            let cpu = self.ratio(case, &both, |sample| sample.cpu);
            push("CPU time", BEST, cpu, if first { 0.85 } else { 1.0 });
            if first {
                let user = self.ratio(case, &[Peer::Nginx], |sample| sample.user);
                push("user time", "NGINX", user, 0.6);
                continue;
            }
            push("p99", BEST, self.ratio(case, &both, |sample| sample.p99), 1.0);
        }
        verdicts.extend(self.worker_verdict());
        verdicts.extend(self.guarded_verdict());
        verdicts.extend(self.idle_verdicts());
        verdicts
    }

    /// The median of Seawall divided by the lowest median of `against`, and whether none of those
    /// rounds had errors. `None` unless all were measured.
    fn ratio(
        &self,
        case: Case,
        against: &[Peer],
        of: impl Fn(&Sample) -> f64,
    ) -> Option<(f64, bool)> {
        let find = |peer| self.rows.iter().find(|row| row.case == case && row.peer == peer);
        let ours = find(Peer::Seawall)?;
        let theirs: Vec<&Row> = against.iter().map(|peer| find(*peer)).collect::<Option<_>>()?;
        let value = |row: &Row| median(row.samples.iter().map(&of).collect());
        let best = theirs.iter().map(|row| value(row)).reduce(f64::min)?;
        let valid = theirs.iter().chain([&ours]).all(|row| errors(&row.samples).is_none());
        Some((value(ours) / best, valid))
    }

    fn worker_verdict(&self) -> Option<Verdict> {
        let [one, two] = self.workers.as_slice() else {
            return None;
        };
        Some(Verdict {
            case: Case::Workers2.name(),
            measure: "CPU-normalised rate",
            against: "1 worker",
            value: normalised_rate(two) / normalised_rate(one),
            target: 1.9,
            at_least: true,
            valid: errors(&one.samples).is_none()
                && errors(&two.samples).is_none()
                && median(two.busiest.clone()) <= BOTH_WORKED,
        })
    }

    /// The median of what each round cost relative to the one beside it: what slows down the
    /// machine slows down both.
    fn guarded_verdict(&self) -> Option<Verdict> {
        let [plain, guarded] = self.guarded.as_slice() else {
            return None;
        };
        let pairs = guarded.samples.iter().zip(&plain.samples);
        Some(Verdict {
            case: Case::Guarded.name(),
            measure: "CPU time",
            against: "without `health`, `eject`, `breaker`, `retry`",
            value: median(pairs.map(|(guarded, plain)| guarded.cpu / plain.cpu).collect()),
            target: 1.03,
            at_least: false,
            valid: errors(&plain.samples).is_none() && errors(&guarded.samples).is_none(),
        })
    }

    fn idle_verdicts(&self) -> Vec<Verdict> {
        let find = |peer| self.idle.iter().find(|idle| idle.peer == peer);
        let Some(ours) = find(Peer::Seawall) else {
            return Vec::new();
        };
        let verdict = |measure, against, value, target| Verdict {
            case: Case::Idle10k.name(),
            measure,
            against,
            value,
            target,
            at_least: false,
            valid: true,
        };
        let mut verdicts = vec![verdict("KiB a connection", "itself", ours.each() / 1024.0, 6.0)];
        if let Some(nginx) = find(Peer::Nginx) {
            let ratio = ours.after as f64 / nginx.after as f64;
            verdicts.push(verdict("resident memory", "NGINX", ratio, 1.5));
        }
        verdicts
    }

    fn json(&self) -> Value {
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))).collect();
        let samples = |samples: &[Sample]| -> Vec<Value> {
            samples
                .iter()
                .map(|sample| {
                    json!({
                        "cpu_us_per_request": sample.cpu,
                        "user_us_per_request": sample.user,
                        "requests_per_second": sample.rate,
                        "p99_ms": sample.p99,
                        "errors": sample.errors.describe(),
                    })
                })
                .collect()
        };
        json!({
            "machine": facts,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "targets": self.verdicts().iter().map(|verdict| json!({
                "case": verdict.case,
                "measure": verdict.measure,
                "against": verdict.against,
                "result": verdict.value,
                "target": verdict.target,
                "at_least": verdict.at_least,
                "valid": verdict.valid,
                "met": verdict.met(),
            })).collect::<Vec<_>>(),
            "cases": self.rows.iter().map(|row| json!({
                "case": row.case.name(),
                "proxy": row.peer.name(),
                "rounds": samples(&row.samples),
            })).collect::<Vec<_>>(),
            "workers": self.workers.iter().map(|row| json!({
                "workers": row.workers,
                "busiest_thread": row.busiest,
                "rounds": samples(&row.samples),
            })).collect::<Vec<_>>(),
            "guarded": self.guarded.iter().map(|row| json!({
                "guarded": row.guarded,
                "rounds": samples(&row.samples),
            })).collect::<Vec<_>>(),
            "idle": self.idle.iter().map(|idle| json!({
                "proxy": idle.peer.name(),
                "connections": idle::CONNECTIONS,
                "resident_before": idle.before,
                "resident_after": idle.after,
            })).collect::<Vec<_>>(),
        })
    }
}

const BEST: &str = "the better of NGINX and HAProxy";

/// The largest share of the CPU time that one of two workers may have had, or it was not two that
/// served: connections are dealt out at random, so that it is seldom just a half.
const BOTH_WORKED: f64 = 0.75;

/// Requests per CPU second, times the workers that could spend one each second.
fn normalised_rate(row: &Workers) -> f64 {
    let cpu = median(row.samples.iter().map(|sample| sample.cpu).collect());
    f64::from(row.workers) * 1e6 / cpu
}

/// What went wrong in any of the rounds.
fn errors(samples: &[Sample]) -> Option<String> {
    let all: Vec<String> = samples.iter().filter_map(|sample| sample.errors.describe()).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn spread(samples: &[Sample], of: impl Fn(&Sample) -> f64, decimals: usize) -> String {
    let values: Vec<f64> = samples.iter().map(of).collect();
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.decimals$} ({lowest:.decimals$}–{highest:.decimals$})", median(values))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn mebi(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::super::wrk::Errors;
    use super::*;

    fn row(peer: Peer, cpu: &[f64], user: f64) -> Row {
        let sample = |cpu: &f64| Sample {
            cpu: *cpu,
            user,
            rate: 1000.0,
            p99: 2.0,
            errors: Errors::default(),
        };
        Row { case: Case::Small64, peer, samples: cpu.iter().map(sample).collect() }
    }

    fn report(rows: Vec<Row>) -> Report {
        Report {
            rows,
            workers: Vec::new(),
            guarded: Vec::new(),
            idle: Vec::new(),
            rounds: 3,
            seconds: 1,
            facts: vec![("cpu", "one".to_owned())],
        }
    }

    #[test]
    fn medians_are_compared_with_the_better_peer() {
        let report = report(vec![
            row(Peer::Seawall, &[99.0, 16.9, 1.0], 3.0),
            row(Peer::Nginx, &[25.0, 26.0, 27.0], 4.0),
            row(Peer::Haproxy, &[20.0, 20.0, 20.0], 1.0),
        ]);
        let verdicts = report.verdicts();
        let seen: Vec<(&str, f64, bool)> =
            verdicts.iter().map(|one| (one.measure, rounded(one.value), one.met())).collect();
        assert_eq!(seen, [("CPU time", 0.85, true), ("user time", 0.75, false),]);
        let table = report.markdown();
        assert!(table.contains("| 0.75 | ≤ 0.60 | **not met** |"), "{table}");
        assert!(table.contains("| 16.90 (1.00–99.00) |"), "{table}");
        assert_eq!(report.json()["targets"][1]["met"], false);
    }

    #[test]
    fn errors_make_a_comparison_invalid() {
        let mut bad = row(Peer::Seawall, &[1.0], 1.0);
        bad.samples[0].errors.status = 7;
        let report =
            report(vec![bad, row(Peer::Nginx, &[25.0], 4.0), row(Peer::Haproxy, &[20.0], 1.0)]);
        assert!(
            report.verdicts().iter().all(|verdict| !verdict.met() && verdict.word() == "invalid")
        );
        assert!(report.markdown().contains("invalid: 7 bad status"));
    }

    #[test]
    fn without_seawall_there_is_nothing_to_judge() {
        let report = report(vec![row(Peer::Nginx, &[25.0], 4.0)]);
        assert!(report.verdicts().is_empty());
        assert!(report.markdown().contains("| 1k-c64 | NGINX | 25.00"));
    }

    #[test]
    fn workers_and_idle_connections_have_targets_too() {
        let mut report = report(Vec::new());
        for (workers, cpu) in [(1, 10.0), (2, 10.4)] {
            let samples = row(Peer::Seawall, &[cpu], 1.0).samples;
            let busiest = vec![0.5];
            report.workers.push(Workers { workers, samples, busiest });
        }
        let idle = |peer, after| Idle { peer, before: 0, after };
        report.idle = vec![idle(Peer::Seawall, 50 << 20), idle(Peer::Nginx, 40 << 20)];
        let seen: Vec<(f64, bool)> =
            report.verdicts().iter().map(|one| (rounded(one.value), one.met())).collect();
        assert_eq!(seen, [(1.92, true), (5.12, true), (1.25, true)]);

        report.workers[1].busiest = vec![0.99];
        assert_eq!(report.verdicts()[0].word(), "invalid", "one worker did it all");
    }

    #[test]
    fn what_watching_costs_is_judged_round_by_round() {
        let mut report = report(Vec::new());
        for (guarded, cpu) in [(false, [10.0, 20.0, 30.0]), (true, [10.2, 20.4, 60.0])] {
            report
                .guarded
                .push(Guarded { guarded, samples: row(Peer::Seawall, &cpu, 1.0).samples });
        }
        let seen: Vec<(f64, bool)> =
            report.verdicts().iter().map(|one| (rounded(one.value), one.met())).collect();
        assert_eq!(seen, [(1.02, true)]);
        assert!(report.markdown().contains("| with all of them | 20.40 (10.20–60.00) |"));
        report.guarded[1].samples[0].errors.read = 1;
        assert_eq!(report.verdicts()[0].word(), "invalid");
    }

    #[test]
    fn latency_counts_where_it_is_no_worse_than_theirs() {
        let mut rows = vec![
            row(Peer::Seawall, &[1.0], 1.0),
            row(Peer::Nginx, &[1.0], 1.0),
            row(Peer::Haproxy, &[1.0], 1.0),
        ];
        for row in &mut rows {
            row.case = Case::Large64;
        }
        rows[0].samples[0].p99 = 2.1;
        let verdicts = report(rows).verdicts();
        let seen: Vec<(&str, f64, bool)> =
            verdicts.iter().map(|one| (one.measure, rounded(one.value), one.met())).collect();
        assert_eq!(seen, [("CPU time", 1.0, true), ("p99", 1.05, false)]);
    }
}
