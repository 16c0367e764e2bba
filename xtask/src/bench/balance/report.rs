//! The results as a table for people and as JSON for programs, with the targets beside them.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::load::percentile;
use super::origins::{AT_ONCE, SERVERS, SLOW, STALLING, TIMES_SLOWER};
use super::proxies::Proxy;
use super::{Row, Sample};
use crate::bench::{machine, table};

/// Everything one run found.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    rounds: u32,
    seconds: u32,
    rate: u32,
    facts: Vec<(&'static str, String)>,
}

/// All rounds of a proxy as one. Times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
struct Summary {
    requests: usize,
    errors: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    /// The lowest and the highest of a round.
    p99_between: (f64, f64),
    p999: f64,
    max: f64,
    /// What the slow and the stalling server got, 0 to 1.
    slow: f64,
    stalling: f64,
}

/// A result beside what it should be.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    proxy: Proxy,
    measure: &'static str,
    value: f64,
    target: f64,
}

impl Verdict {
    /// Judged as it is printed, to two decimals.
    fn met(&self) -> bool {
        (self.value * 100.0).round() / 100.0 <= self.target
    }
}

impl Report {
    /// An empty report.
    pub(super) fn new(rounds: u32, seconds: u32, rate: u32, seawall: Option<&Path>) -> Self {
        let mut facts = machine::facts(seawall);
        facts.retain(|(name, _)| *name != "wrk");
        Self { rows: Vec::new(), rounds, seconds, rate, facts }
    }

    /// Writes `balance.md` and `balance.json`.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        table::write(directory, "balance", &self.markdown(), &self.json())
    }

    /// The tables.
    pub(super) fn markdown(&self) -> String {
        let late = self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.outcome.late);
        let mut out = String::from("# Balancing over servers of uneven speed\n\n");
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Written by `cargo xtask bench balance`: {rounds} alternating rounds of {seconds} s each, \
             after two seconds of warm-up. {SERVERS} servers, each working on at most {AT_ONCE} \
             requests at once: six that take 2–4 ms, one that takes {TIMES_SLOWER} times that, and \
             one that is as fast as the six but stops for one second in every ten. Requests come \
             {rate} times a second on average, at times that are the same for every proxy and do not \
             depend on answers (a Poisson process), and are measured from the time they were meant to \
             be sent; they were sent at most {late:.2} ms later (99 %). Proxy on one core with one \
             worker, servers and load on another; answers of 1 KiB.\n\n{facts}.",
            rounds = self.rounds,
            seconds = self.seconds,
            rate = self.rate,
            late = millis(late.max().unwrap_or(0)),
            facts = table::facts_line(&self.facts),
        );
        self.write_verdicts(&mut out);
        self.write_rows(&mut out);
        out
    }

    fn write_verdicts(&self, out: &mut String) {
        let verdicts = self.verdicts();
        if verdicts.is_empty() {
            return;
        }
        out.push_str("\n## Against the targets\n\nBeside the best of NGINX and HAProxy.\n\n");
        out.push_str("| proxy | measure | result | target | |\n|---|---|--:|--:|---|\n");
        for verdict in &verdicts {
            let _ = writeln!(
                out,
                "| {} | {} | {:.2} | ≤ {:.2} | {} |",
                verdict.proxy.name(),
                verdict.measure,
                verdict.value,
                verdict.target,
                if verdict.met() { "met" } else { "**not met**" }
            );
        }
    }

    fn write_rows(&self, out: &mut String) {
        out.push_str(
            "\n## Measured\n\nMilliseconds until the last byte of a good answer, all rounds together \
             (the 99th percentile also as lowest–highest of a round); the share of requests that went \
             to the slow and to the stalling server, of which each would be an eighth.\n\n\
             | proxy | mean | p50 | p90 | p99 | p99.9 | max | errors | slow | stalling | p99 to the best |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        let best = self.best(|summary| summary.p99);
        for row in &self.rows {
            let it = Summary::of(row);
            let (lowest, highest) = it.p99_between;
            let _ = writeln!(
                out,
                "| {} | {:.1} | {:.1} | {:.1} | {:.1} ({lowest:.1}–{highest:.1}) | {:.1} | {:.0} | {} \
                 | {:.1} % | {:.1} % | {} |",
                row.proxy.name(),
                it.mean,
                it.p50,
                it.p90,
                it.p99,
                it.p999,
                it.max,
                it.errors,
                it.slow * 100.0,
                it.stalling * 100.0,
                best.map_or_else(String::new, |best| format!("{:.2}", it.p99 / best)),
            );
        }
    }

    /// The lowest that one of the peers has. `None` unless both peers were measured.
    fn best(&self, of: impl Fn(&Summary) -> f64) -> Option<f64> {
        let peers = || self.rows.iter().filter(|row| !row.proxy.is_seawall());
        let both = ["nginx", "haproxy"]
            .iter()
            .all(|name| peers().any(|row| row.proxy.installed_as() == Some(name)));
        both.then(|| peers().map(|row| of(&Summary::of(row))).reduce(f64::min)).flatten()
    }

    /// Every target for which there is a result.
    fn verdicts(&self) -> Vec<Verdict> {
        let (Some(p99), Some(errors)) =
            (self.best(|summary| summary.p99), self.best(|summary| summary.errors as f64))
        else {
            return Vec::new();
        };
        let judged = self.rows.iter().filter(|row| row.proxy.is_judged());
        judged
            .flat_map(|row| {
                let it = Summary::of(row);
                let verdict =
                    |measure, value, target| Verdict { proxy: row.proxy, measure, value, target };
                [
                    verdict("p99, ratio", it.p99 / p99, 1.0),
                    verdict("errors", it.errors as f64, errors),
                ]
            })
            .collect()
    }

    fn json(&self) -> Value {
        json!({
            "machine": table::facts_json(&self.facts),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "requests_per_second": self.rate,
            "slow_server": SLOW,
            "stalling_server": STALLING,
            "targets": self.verdicts().iter().map(|verdict| json!({
                "proxy": verdict.proxy.name(),
                "measure": verdict.measure,
                "result": verdict.value,
                "target": verdict.target,
                "met": verdict.met(),
            })).collect::<Vec<_>>(),
            "proxies": self.rows.iter().map(|row| json!({
                "proxy": row.proxy.name(),
                "all": Summary::of(row).json(),
                "rounds": row.samples.iter().map(|sample| json!({
                    "summary": Summary::one(sample).json(),
                    "sent_late_p99_ms": millis(sample.outcome.late),
                    "servers": sample.shares.iter().map(|share| json!({
                        "requests": share.requests,
                        "most_at_once": share.most,
                    })).collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })
    }
}

impl Summary {
    fn of(row: &Row) -> Self {
        Self::all(&row.samples.iter().collect::<Vec<_>>())
    }

    fn one(sample: &Sample) -> Self {
        Self::all(&[sample])
    }

    fn all(samples: &[&Sample]) -> Self {
        let mut latencies: Vec<u32> =
            samples.iter().flat_map(|sample| sample.outcome.latencies.iter().copied()).collect();
        latencies.sort_unstable();
        let at = |share| millis(percentile(&latencies, share));
        let of_rounds =
            samples.iter().map(|sample| millis(percentile(&sample.outcome.latencies, 0.99)));
        let sum: f64 = latencies.iter().map(|latency| millis(*latency)).sum();
        let sent = |wanted: Option<usize>| {
            let servers = samples.iter().flat_map(|sample| sample.shares.iter().enumerate());
            let wanted = servers.filter(|(at, _)| wanted.is_none_or(|wanted| wanted == *at));
            wanted.map(|(_, share)| share.requests).sum::<u64>() as f64
        };
        let part = |server| sent(Some(server)) / sent(None).max(1.0);
        Self {
            requests: latencies.len(),
            errors: samples.iter().map(|sample| sample.outcome.errors).sum(),
            mean: sum / latencies.len().max(1) as f64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_between: (
                of_rounds.clone().fold(f64::INFINITY, f64::min),
                of_rounds.fold(0.0, f64::max),
            ),
            p999: at(0.999),
            max: at(1.0),
            slow: part(SLOW),
            stalling: part(STALLING),
        }
    }

    fn json(&self) -> Value {
        json!({
            "good_answers": self.requests,
            "errors": self.errors,
            "mean_ms": self.mean,
            "p50_ms": self.p50,
            "p90_ms": self.p90,
            "p99_ms": self.p99,
            "p99_9_ms": self.p999,
            "max_ms": self.max,
            "share_of_slow_server": self.slow,
            "share_of_stalling_server": self.stalling,
        })
    }
}

/// A round in one line, for who watches.
pub(super) fn line(proxy: Proxy, sample: &Sample) -> String {
    let it = Summary::one(sample);
    format!(
        "{:<42} p50 {:5.1} p90 {:6.1} p99 {:7.1} p99.9 {:7.1} max {:7.1} ms  slow {:4.1} % stalling \
         {:4.1} %{}",
        proxy.name(),
        it.p50,
        it.p90,
        it.p99,
        it.p999,
        it.max,
        it.slow * 100.0,
        it.stalling * 100.0,
        if it.errors == 0 { String::new() } else { format!("  ERRORS: {}", it.errors) }
    )
}

fn millis(micros: u32) -> f64 {
    f64::from(micros) / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::load::Outcome;
    use super::super::origins::Share;
    use super::*;

    /// 200 answers, of which the slowest two took so long.
    fn row(proxy: Proxy, slowest: u32, errors: u64) -> Row {
        let latencies = [vec![3000; 197], vec![slowest; 3]].concat();
        let mut shares = vec![Share { requests: 25, most: 1 }; SERVERS];
        shares[SLOW].requests = 0;
        shares[STALLING].requests = 50;
        Row {
            proxy,
            samples: vec![Sample { outcome: Outcome { latencies, errors, late: 90 }, shares }],
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        Report { rows, rounds: 1, seconds: 12, rate: 800, facts: vec![("cpu", "one".to_owned())] }
    }

    #[test]
    fn the_best_peer_is_the_measure() {
        let report = report(vec![
            row(Proxy::SeawallRoundRobin, 900_000, 0),
            row(Proxy::SeawallTwoChoices, 50_100, 0),
            row(Proxy::SeawallLeastLatency, 25_000, 1),
            row(Proxy::NginxLeastConn, 100_000, 7),
            row(Proxy::HaproxyLeastconn, 50_000, 0),
        ]);
        let verdicts = report.verdicts();
        let seen: Vec<(Proxy, f64, bool)> =
            verdicts.iter().map(|one| (one.proxy, one.value, one.met())).collect();
        assert_eq!(
            seen,
            [
                (Proxy::SeawallTwoChoices, 1.002, true),
                (Proxy::SeawallTwoChoices, 0.0, true),
                (Proxy::SeawallLeastLatency, 0.5, true),
                (Proxy::SeawallLeastLatency, 1.0, false),
            ]
        );
        let table = report.markdown();
        assert!(table.contains("| Seawall `least-latency` | 3.3 | 3.0 | 3.0 | 25.0 (25.0–25.0) | 25.0 | 25 | 1 | 0.0 % | 25.0 % | 0.50 |"), "{table}");
        assert!(table.contains("| errors | 1.00 | ≤ 0.00 | **not met** |"), "{table}");
        assert!(table.contains("at most 0.09 ms later"), "{table}");
        assert_eq!(report.json()["proxies"][4]["all"]["p99_ms"], 50.0);
    }

    #[test]
    fn without_both_peers_there_is_nothing_to_judge() {
        let rows = vec![row(Proxy::SeawallTwoChoices, 5000, 0), row(Proxy::NginxLeastConn, 1, 0)];
        assert!(report(rows).verdicts().is_empty());
    }
}
