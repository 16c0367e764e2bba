//! The results as tables for people and as JSON for programs, with the targets beside them.

use std::fmt::Write;
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::Case;
use super::create::Creation;
use super::redirects::{KEPT, Row};
use super::sites::Who;
use super::size::Size;
use crate::bench::kept;
use crate::bench::rounds::{Round, Sample};
use crate::bench::table::{self, Verdict, errors, mebi, median, spread_of};
use crate::bench::wrk::Errors;
use crate::bench::{Setting, machine};

/// Everything one run found.
pub(super) struct Report {
    pub(super) redirects: Vec<Row>,
    pub(super) creations: Vec<Creation>,
    pub(super) sizes: Vec<Size>,
    rounds: u32,
    seconds: u32,
    facts: Vec<(&'static str, String)>,
}

/// What `snip` may cost of the best of the others' CPU time and 99th percentile, and the least that
/// it is to do in a second.
const CPU: f64 = 0.6;
const P99: f64 = 0.8;
const REDIRECTS: f64 = 15_000.0;
const IN_BULK: f64 = 10_000.0;
const ONE_BY_ONE: f64 = 1_500.0;

impl Report {
    /// An empty report of a run with this setting.
    pub(super) fn new(setting: &Setting, snip: &Path) -> Report {
        Report {
            redirects: Vec::new(),
            creations: Vec::new(),
            sizes: Vec::new(),
            rounds: setting.rounds,
            seconds: setting.seconds,
            facts: machine::shortener_facts(snip),
        }
    }

    /// Writes `shortener.md` and `shortener.json`.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        table::write(directory, "shortener", &self.markdown(), &self.json())
    }

    /// Puts the results of a case in place of what it says of that case and those who took part.
    /// Where something went wrong, what is known of them stays.
    pub(super) fn put_redirects(&mut self, case: Case, mut rows: Vec<Row>) {
        let is_of = |old: &Row, new: &Row| old.case == case.name() && old.who == new.who;
        rows.retain(|new| is_good(&new.rounds) || !self.redirects.iter().any(|it| is_of(it, new)));
        self.redirects.retain(|old| !rows.iter().any(|new| is_of(old, new)));
        self.redirects.extend(rows);
        self.redirects.sort_by_key(|row| (place(&row.case), row.who));
    }

    /// The same of a way to make links, by database.
    pub(super) fn put_creations(&mut self, case: Case, mut creations: Vec<Creation>) {
        let is_of =
            |old: &Creation, new: &Creation| old.case == case.name() && old.backend == new.backend;
        creations
            .retain(|new| is_good(&new.rounds) || !self.creations.iter().any(|it| is_of(it, new)));
        self.creations.retain(|old| !creations.iter().any(|new| is_of(old, new)));
        self.creations.extend(creations);
        self.creations.sort_by_key(|creation| place(&creation.case));
    }

    /// Takes over what `shortener.json` in a folder says. Without such a file there is nothing to
    /// take over. Rounds in which something went wrong are not kept.
    ///
    /// # Errors
    /// When the file is not one of these, or is about another machine, commit or kind of rounds.
    pub(super) fn keep(&mut self, directory: &Path) -> anyhow::Result<()> {
        let now = self.json();
        kept::keep(&directory.join("shortener.json"), &now, |old| self.take(old))
    }

    fn take(&mut self, old: &Value) -> Option<()> {
        for value in old["redirects"].as_array()? {
            let row = row_of(value)?;
            if is_good(&row.rounds) {
                self.redirects.push(row);
            }
        }
        for value in old["creations"].as_array()? {
            let creation = creation_of(value)?;
            if is_good(&creation.rounds) {
                self.creations.push(creation);
            }
        }
        for value in old["sizes"].as_array()? {
            let name = value["name"].as_str()?.to_owned();
            self.sizes.push(Size { name, value: value["value"].as_f64()? });
        }
        Some(())
    }

    /// The tables.
    pub(super) fn markdown(&self) -> String {
        let mut out = String::from("# The link shortener\n\n");
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Written by `cargo xtask bench shortener`: median (lowest–highest) of {} alternating \
             rounds of {} s each, after a second of warm-up, over 1,000,000 links. The program on one \
             core; its PostgreSQL server, if it has one, and the load on another. CPU time is user and \
             system time of all its processes, divided by the requests answered; that of the \
             PostgreSQL server stands beside it. Requests come with the header fields of browsers, \
             from many addresses, by `X-Forwarded-For`.\n\n{}.",
            self.rounds,
            self.seconds,
            table::facts_line(&self.facts)
        );
        table::write_verdicts(&mut out, &self.verdicts());
        self.write_redirects(&mut out);
        self.write_creations(&mut out);
        self.write_sizes(&mut out);
        out
    }

    fn write_redirects(&self, out: &mut String) {
        if self.redirects.is_empty() {
            return;
        }
        let _ = write!(
            out,
            "\n## Redirects\n\n64 connections, one in `single`, four in `head` with sixteen requests at once (`wrk` does \
             not do HEAD). In `memory`, `single` and `head`, {KEPT} \
             links by Zipf's law (α = 1), all of them in memory; in `zipf`, a million by the same law, \
             {KEPT} of them in memory; in `store`, a million, each as likely, none in memory. \
             `missing`: 404, each code another; `gone`: 410. *snip, clicks not counted* is told that \
             Seawall counts them, so that the difference is what counting costs, writing included. \
             Node and PHP stand for what cannot be had here, and leave much out: \
             [bench/peers/shortener](../peers/shortener/README.md) says what. PHP keeps nothing in \
             memory.\n\n\
             | case | database | shortener | CPU µs/request | of it user | PostgreSQL's | requests/s | p50 ms | p99 ms | MiB | |\n\
             |---|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n"
        );
        for row in &self.redirects {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {:.1} | {} |",
                row.case,
                row.backend,
                row.who.name(),
                cells(&row.rounds, &row.backend, true),
                mebi(row.resident),
                invalid(&row.rounds)
            );
        }
    }

    fn write_creations(&self, out: &mut String) {
        if self.creations.is_empty() {
            return;
        }
        out.push_str(
            "\n## Making links\n\nBeside a million that are there. `create-bulk`: a thousand a request, \
             two requests at a time; `create-single`: one a request over 64 connections. All is on the \
             disk before it is answered. Latency is that of a request, the rest is of links.\n\n\
             | case | database | CPU µs/link | PostgreSQL's | links/s | p50 ms | p99 ms | |\n\
             |---|---|--:|--:|--:|--:|--:|---|\n",
        );
        for creation in &self.creations {
            let Creation { case, backend, rounds } = creation;
            let cells = cells(rounds, backend, false);
            let _ = writeln!(out, "| {case} | {backend} | {cells} | {} |", invalid(rounds));
        }
    }

    fn write_sizes(&self, out: &mut String) {
        if self.sizes.is_empty() {
            return;
        }
        out.push_str(
            "\n## What it takes\n\nTargets have 49 bytes. PostgreSQL's rows were copied in, in the form \
             in which `snip` makes them. Rollups are of clicks by Zipf's law on a million links within \
             less than a minute: what a minute, an hour and a day have in the end is less a click.\n\n\
             | | |\n|---|--:|\n",
        );
        for Size { name, value } in &self.sizes {
            let _ = writeln!(out, "| {name} | {value:.0} |");
        }
    }

    /// Every target for which there is a result.
    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut add = |case: &str, measure, against, (value, valid), target, at_least| {
            let case = case.to_owned();
            verdicts.push(Verdict { case, measure, against, value, target, at_least, valid });
        };
        for case in [Case::Memory, Case::Single, Case::Zipf, Case::ZipfPostgres] {
            let case = &case.name();
            if let Some(ratio) = self.ratio(case, |round| round.sample.cpu) {
                add(case, "CPU time", "the best of the others", ratio, CPU, false);
            }
            if let Some(ratio) = self.ratio(case, |round| round.sample.p99) {
                add(case, "p99", "the best of the others", ratio, P99, false);
            }
        }
        let store = &Case::Store.name();
        if let Some(rate) = self.of(store, Who::Snip, |round| round.sample.rate) {
            add(store, "redirects/s", "itself", rate, REDIRECTS, true);
        }
        for Creation { case, backend, rounds } in &self.creations {
            let rate = median(rounds.iter().map(|round| round.sample.rate).collect());
            let found = (rate, errors(&samples(rounds)).is_none());
            let against = if backend == "SQLite" { "SQLite" } else { "PostgreSQL" };
            let least = if *case == Case::CreateBulk.name() { IN_BULK } else { ONE_BY_ONE };
            add(case, "links/s", against, found, least, true);
        }
        verdicts
    }

    /// The median of one of a case, and whether nothing went wrong.
    fn of(&self, case: &str, who: Who, of: impl Fn(&Round) -> f64) -> Option<(f64, bool)> {
        let row = self.redirects.iter().find(|row| row.case == case && row.who == who)?;
        let value = median(row.rounds.iter().map(of).collect());
        Some((value, errors(&samples(&row.rounds)).is_none()))
    }

    /// `snip`'s median divided by the lowest of those of the others.
    fn ratio(&self, case: &str, of: impl Fn(&Round) -> f64) -> Option<(f64, bool)> {
        let (ours, is_valid) = self.of(case, Who::Snip, &of)?;
        let rivals = [Who::Node, Who::Php].into_iter();
        let theirs: Vec<_> = rivals.filter_map(|who| self.of(case, who, &of)).collect();
        let best = theirs.iter().map(|(value, _)| *value).reduce(f64::min)?;
        Some((ours / best, is_valid && theirs.iter().all(|(_, is_valid)| *is_valid)))
    }

    fn json(&self) -> Value {
        json!({
            "machine": table::facts_json(&self.facts),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "targets": self.verdicts().iter().map(Verdict::json).collect::<Vec<_>>(),
            "redirects": self.redirects.iter().map(|row| json!({
                "case": row.case,
                "shortener": row.who.name(),
                "database": row.backend,
                "resident": row.resident,
                "rounds": rounds_json(&row.rounds),
            })).collect::<Vec<_>>(),
            "creations": self.creations.iter().map(|creation| json!({
                "case": creation.case,
                "database": creation.backend,
                "rounds": rounds_json(&creation.rounds),
            })).collect::<Vec<_>>(),
            "sizes": self.sizes.iter().map(|size| json!({
                "name": size.name,
                "value": size.value,
            })).collect::<Vec<_>>(),
        })
    }
}

/// Where a case stands among all.
fn place(name: &str) -> Option<usize> {
    Case::value_variants().iter().position(|case| case.name() == name)
}

/// The cells of a row of rounds; the user's part only on demand.
fn cells(rounds: &[Round], backend: &str, with_user: bool) -> String {
    let spread =
        |of: fn(&Round) -> f64, decimals| spread_of(rounds.iter().map(of).collect(), decimals);
    let mut cells = vec![spread(|round| round.sample.cpu, 2)];
    if with_user {
        cells.push(spread(|round| round.sample.user, 2));
    }
    let behind =
        if backend == "SQLite" { "–".to_owned() } else { spread(|round| round.behind, 2) };
    cells.extend([
        behind,
        spread(|round| round.sample.rate, 0),
        spread(|round| round.p50, 2),
        spread(|round| round.sample.p99, 2),
    ]);
    cells.join(" | ")
}

fn is_good(rounds: &[Round]) -> bool {
    errors(&samples(rounds)).is_none()
}

fn invalid(rounds: &[Round]) -> String {
    errors(&samples(rounds)).map_or_else(String::new, |what| format!("invalid: {what}"))
}

fn samples(rounds: &[Round]) -> Vec<Sample> {
    rounds.iter().map(|round| round.sample).collect()
}

fn rounds_json(rounds: &[Round]) -> Vec<Value> {
    let mut values = table::samples_json(&samples(rounds));
    for (value, round) in values.iter_mut().zip(rounds) {
        value["p50_ms"] = json!(round.p50);
        value["postgres_cpu_us_per_request"] = json!(round.behind);
    }
    values
}

fn row_of(value: &Value) -> Option<Row> {
    Some(Row {
        case: value["case"].as_str()?.to_owned(),
        who: Who::named(value["shortener"].as_str()?)?,
        backend: value["database"].as_str()?.to_owned(),
        rounds: rounds_of(value)?,
        resident: value["resident"].as_u64()?,
    })
}

fn creation_of(value: &Value) -> Option<Creation> {
    Some(Creation {
        case: value["case"].as_str()?.to_owned(),
        backend: value["database"].as_str()?.to_owned(),
        rounds: rounds_of(value)?,
    })
}

fn rounds_of(value: &Value) -> Option<Vec<Round>> {
    value["rounds"].as_array()?.iter().map(round_of).collect()
}

fn round_of(value: &Value) -> Option<Round> {
    // Which error it was does not matter: such rounds are not kept.
    let status = u64::from(!value["errors"].is_null());
    Some(Round {
        sample: Sample {
            cpu: value["cpu_us_per_request"].as_f64()?,
            user: value["user_us_per_request"].as_f64()?,
            rate: value["requests_per_second"].as_f64()?,
            p99: value["p99_ms"].as_f64()?,
            errors: Errors { status, ..Errors::default() },
        },
        p50: value["p50_ms"].as_f64()?,
        behind: value["postgres_cpu_us_per_request"].as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn empty() -> Report {
        Report {
            redirects: Vec::new(),
            creations: Vec::new(),
            sizes: Vec::new(),
            rounds: 1,
            seconds: 1,
            facts: vec![("cpu", "one".to_owned())],
        }
    }

    fn round(cpu: f64, rate: f64, p99: f64, status: u64) -> Round {
        let errors = Errors { status, ..Errors::default() };
        Round { sample: Sample { cpu, user: 1.0, rate, p99, errors }, p50: 0.5, behind: 2.0 }
    }

    fn row(case: Case, who: Who, round: Round) -> Row {
        let backend = "SQLite".to_owned();
        Row { case: case.name(), who, backend, rounds: vec![round], resident: 1 << 20 }
    }

    fn creation(case: Case, backend: &str, rate: f64) -> Creation {
        let rounds = vec![round(5.0, rate, 9.0, 0)];
        Creation { case: case.name(), backend: backend.to_owned(), rounds }
    }

    #[test]
    fn results_are_compared_with_the_best_of_the_others_and_with_the_targets() {
        let mut report = empty();
        report.redirects = vec![
            row(Case::Memory, Who::Snip, round(6.0, 1e4, 0.9, 0)),
            row(Case::Memory, Who::Uncounted, round(5.0, 1e4, 0.5, 0)),
            row(Case::Memory, Who::Node, round(20.0, 1e4, 1.0, 0)),
            row(Case::Memory, Who::Php, round(200.0, 1e3, 10.0, 0)),
            row(Case::Store, Who::Snip, round(20.0, 14_999.0, 1.0, 0)),
        ];
        report.creations = vec![
            creation(Case::CreateBulk, "SQLite", 20_000.0),
            creation(Case::CreateSingle, "PostgreSQL", 1_400.0),
        ];
        let met: Vec<_> =
            report.verdicts().iter().map(|one| (one.measure, one.value, one.met())).collect();
        let expected = [
            ("CPU time", 0.3, true),
            ("p99", 0.9, false),
            ("redirects/s", 14_999.0, false),
            ("links/s", 20_000.0, true),
            ("links/s", 1_400.0, false),
        ];
        assert_eq!(met, expected);
        let table = report.markdown();
        assert!(table.contains("| memory | CPU time | the best of the others | 0.30 |"), "{table}");
        assert!(table.contains("| memory | SQLite | Node | 20.00 (20.00–20.00) |"), "{table}");
        report.redirects[2].rounds[0].sample.errors.read = 1;
        assert_eq!(report.verdicts()[0].word(), "invalid");
    }

    #[test]
    fn what_a_run_leaves_out_is_kept_unless_it_went_wrong() {
        let home = tempfile::tempdir().expect("a directory");
        let mut old = empty();
        old.redirects = vec![
            row(Case::Memory, Who::Snip, round(9.0, 1e4, 1.0, 0)),
            row(Case::Store, Who::Snip, round(20.0, 2e4, 1.0, 0)),
            row(Case::Store, Who::Node, round(30.0, 2e4, 1.0, 7)),
        ];
        old.creations = vec![creation(Case::CreateBulk, "PostgreSQL", 2e4)];
        old.sizes = vec![Size { name: "bytes".to_owned(), value: 3.5 }];
        old.write(home.path()).expect("to write it");
        let mut new = empty();
        new.keep(home.path()).expect("to read it");
        let memory = row(Case::Memory, Who::Snip, round(6.0, 1e4, 1.0, 0));
        new.put_redirects(Case::Memory, vec![memory]);
        let kept: Vec<_> = new
            .redirects
            .iter()
            .map(|row| (&*row.case, row.who, row.rounds[0].sample.cpu))
            .collect();
        assert_eq!(kept, [("memory", Who::Snip, 6.0), ("store", Who::Snip, 20.0)]);
        let bad = row(Case::Store, Who::Snip, round(1.0, 1e4, 1.0, 7));
        new.put_redirects(Case::Store, vec![bad]);
        assert_eq!(new.redirects[1].rounds[0].sample.cpu, 20.0, "a good one is not replaced");
        assert_eq!(new.redirects[1].rounds[0].behind, 2.0);
        assert_eq!(new.creations[0].backend, "PostgreSQL");
        assert_eq!(new.sizes, old.sizes);
        let other = Report { seconds: 2, ..empty() };
        other.write(home.path()).expect("to write it");
        assert!(new.keep(home.path()).is_err(), "of rounds of another length");
        fs::write(home.path().join("shortener.json"), "{}").expect("to write it");
        assert!(empty().keep(home.path()).is_err());
    }
}
