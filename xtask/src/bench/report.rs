//! The results as a table for people and as JSON for programs, with the targets beside them.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::idle::{self, Idle};
use super::peers::Peer;
use super::rounds::{Guarded, Row, Sample, Workers};
use super::table::{self, Verdict, errors, mebi, median};
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
        table::write(directory, "http", &self.markdown(), &self.json())
    }

    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# Proxying HTTP/1.1\n\n");
        let _ = writeln!(
            out,
            "Written by `cargo xtask bench http`: median (lowest–highest) of {} alternating rounds of \
             {} s each, after a second of warm-up. Proxy on one core with one worker, origin and load \
             on another. CPU time is user and system time of all processes of the proxy, divided by \
             the requests answered.\n\n{}.",
            self.rounds,
            self.seconds,
            table::facts_line(&self.facts)
        );
        table::write_verdicts(&mut out, &self.verdicts());
        table::write_rows(&mut out, &self.rows);
        table::write_workers(&mut out, &self.workers);
        self.write_guarded(&mut out);
        self.write_idle(&mut out);
        out
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
                "| {} | {} |",
                if row.guarded { "with all of them" } else { "plain" },
                table::cells(&row.samples),
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
        let mut cases: Vec<&str> = self.rows.iter().map(|row| row.case.as_str()).collect();
        cases.dedup();
        for case in cases {
            let first = case == Case::Small64.name();
            let mut push = |measure, against, value: Option<(f64, bool)>, target| {
                if let Some((value, valid)) = value {
                    verdicts.push(Verdict {
                        case: case.to_owned(),
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
        verdicts.extend(table::worker_verdict(Case::Workers2.name(), &self.workers));
        verdicts.extend(self.guarded_verdict());
        verdicts.extend(self.idle_verdicts());
        verdicts
    }

    fn ratio(
        &self,
        case: &str,
        against: &[Peer],
        of: impl Fn(&Sample) -> f64,
    ) -> Option<(f64, bool)> {
        let against: Vec<&str> = against.iter().map(|peer| peer.name()).collect();
        table::ratio(&self.rows, case, Peer::Seawall.name(), &against, of)
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
        json!({
            "machine": table::facts_json(&self.facts),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "targets": self.verdicts().iter().map(Verdict::json).collect::<Vec<_>>(),
            "cases": table::rows_json(&self.rows),
            "workers": table::workers_json(&self.workers),
            "guarded": self.guarded.iter().map(|row| json!({
                "guarded": row.guarded,
                "rounds": table::samples_json(&row.samples),
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

#[cfg(test)]
mod tests {
    use super::super::table::rounded;
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
        Row {
            case: Case::Small64.name(),
            proxy: peer.name(),
            samples: cpu.iter().map(sample).collect(),
        }
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
            row.case = Case::Large64.name();
        }
        rows[0].samples[0].p99 = 2.1;
        let verdicts = report(rows).verdicts();
        let seen: Vec<(&str, f64, bool)> =
            verdicts.iter().map(|one| (one.measure, rounded(one.value), one.met())).collect();
        assert_eq!(seen, [("CPU time", 1.0, true), ("p99", 1.05, false)]);
    }
}
