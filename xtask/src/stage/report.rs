//! The table of all stages: `bench/results/stages.{md,json}`, and its short form in other pages.
//! Stages are measured one at a time; what the file has of the others stays.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::load::Histogram;
use super::measure::{BEARABLE, Measured};
use super::plan::PLANS;
use super::site::Programs;
use crate::bench::{machine, table};
use crate::scene::grouped;

/// Around the short table.
const MARKS: [&str; 2] = ["<!-- bench:stages -->\n", "<!-- /bench:stages -->"];

/// What the last stage is to bear, and within how many milliseconds 99 of 100 answers are to come.
const TARGET: (f64, f64) = (40_000.0, 20.0);

/// Components, as the file names them and as people read them.
const COMPONENTS: [(&str, &[&str]); 4] = [
    ("Seawall", &["seawall", "edge", "shield"]),
    ("snip", &["snip"]),
    ("PostgreSQL", &["postgres", "replicas"]),
    ("Redis", &["redis"]),
];

/// What was found, one row a stage.
pub(crate) struct Report {
    facts: Vec<(&'static str, String)>,
    commit: String,
    /// By stage. They are what is in the file, so that those of earlier runs are as good as new.
    rows: Vec<Value>,
}

impl Report {
    /// Without rows.
    pub(crate) fn new(programs: &Programs) -> Self {
        let (facts, commit) = machine::stage_facts(&programs.seawall, &programs.snip);
        Self { facts, commit, rows: Vec::new() }
    }

    /// Takes over the rows of `stages.json` in a folder, if there is one.
    ///
    /// # Errors
    /// When it is not one of these, or of another machine.
    pub(crate) fn keep(&mut self, directory: &Path) -> anyhow::Result<()> {
        let file = directory.join("stages.json");
        let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
        let old: Value = serde_json::from_str(&text)?;
        let machine = |facts: &Value| ["cpu", "cores", "kernel"].map(|name| facts[name].clone());
        ensure!(
            machine(&old["machine"]) == machine(&table::facts_json(&self.facts)),
            "{} was measured on another machine: begin anew without it",
            file.display()
        );
        let rows = old["stages"].as_array();
        self.rows = rows.with_context(|| format!("{} has no stages", file.display()))?.clone();
        Ok(())
    }

    /// Puts a row in its place, instead of an older one.
    pub(crate) fn add(&mut self, measured: &Measured) {
        let row = row(measured, &self.commit);
        self.rows.retain(|old| old["stage"] != row["stage"]);
        self.rows.push(row);
        self.rows.sort_by_key(|row| row["stage"].as_u64());
    }

    /// Writes `stages.md` and `stages.json`.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let json = json!({ "machine": table::facts_json(&self.facts), "stages": self.rows });
        table::write(directory, "stages", &self.markdown(), &json)
    }

    /// Puts the short table between its marks in a page; `root` is the way from there to the root
    /// of the repository.
    ///
    /// # Errors
    /// When there are no marks, or the file cannot be written.
    pub(crate) fn write_into(&self, file: &Path, root: &str) -> anyhow::Result<()> {
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("there is no {name}"))?;
        let table = short(&self.rows, root);
        let text =
            between(&text, &table).with_context(|| format!("{name} has no `bench:stages`"))?;
        fs::write(file, text).with_context(|| format!("{name} cannot be written"))
    }

    /// The short table.
    pub(crate) fn table(&self) -> String {
        short(&self.rows, "")
    }

    /// The whole page.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# Stages\n\n");
        let links = self.rows.iter().filter_map(|row| row["links"].as_u64()).max().unwrap_or(0);
        let _ = writeln!(
            out,
            "Written by `cargo xtask stage all --load`: the [stages](../../examples/stages) of the link \
             shortener, each with {} links that are asked for by Zipf's law (exponent 1), from browsers of \
             24 kinds at 256 addresses. Every redirect is a click, and every click is counted. Everything, \
             with the load, runs on the cores of this one machine. Requests are due at random times that \
             are fixed beforehand (a Poisson process) and measured from those; the generator looks at its \
             sockets every 250 µs, which is part of the latencies. The rate is the highest that was borne \
             for the time of the confirming run: every answer right, p99 below {} ms, no click lost, all of \
             them in the database within 5 s of the last answer. Before, the most popular links were asked \
             for once each (column), so that caches have what they would have after a while; at the edge a \
             link is fetched anew after an hour, which at 40,000 redirects/s is 0.7 % of them.\n\n{}.",
            grouped(links),
            BEARABLE.as_millis(),
            table::facts_line(&self.facts)
        );
        if let Some(line) = self.verdict() {
            let _ = writeln!(out, "\n## Against the target\n\n{line}");
        }
        out.push_str(
            "\n## Redirects\n\n| stage | links asked for before | redirects/s | for, s | p50 ms | p99 ms | p99.9 ms | slowest ms | \
             errors | reach `snip` | ask a database | commit |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
        );
        for row in &self.rows {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {} | {} | {} | {} |",
                text(row, "folder"),
                grouped(number(row, "warmed") as u64),
                grouped(number(row, "redirects_per_second") as u64),
                number(row, "seconds"),
                number(row, "p50_ms"),
                number(row, "p99_ms"),
                number(row, "p999_ms"),
                number(row, "slowest_ms"),
                row["errors"],
                percent(number(row, "origin")),
                percent(number(row, "database")),
                text(row, "commit"),
            );
        }
        out.push_str(
            "\n## What a redirect takes\n\nMicroseconds of CPU time by component, user and system time of all \
             of its processes, with the writing of clicks. `load` is the generator, which is not part of the \
             sum.\n\n| stage | Seawall | snip | PostgreSQL | Redis | sum | load |\n|---|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let _ = write!(out, "| {} |", text(row, "folder"));
            for (_, names) in COMPONENTS {
                let _ = match names.iter().any(|name| row["cpu_us"][*name].is_number()) {
                    true => write!(out, " {:.1} |", cpu(row, names)),
                    false => write!(out, " |"),
                };
            }
            let sum = cpu(row, COMPONENTS.iter().flat_map(|(_, names)| *names));
            let _ = writeln!(out, " {sum:.1} | {:.1} |", cpu(row, &["load"]));
        }
        out.push_str(
            "\n## Memory and clicks\n\nMiB at the end of the confirming run, what processes share divided among \
             them. Transactions are those of PostgreSQL for a thousand redirects, at the primary and at both \
             replicas together. Clicks are those of all runs of the stage. Lost are \
             those for which there was no room at rates that were not borne: they are known to be, and with \
             them the counts agree exactly.\n\n\
             | stage | Seawall | snip | PostgreSQL | Redis | transactions, primary | replicas | clicks answered | \
             counted | lost | counted after, s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let _ = write!(out, "| {} |", text(row, "folder"));
            for (_, names) in COMPONENTS {
                let bytes: u64 =
                    names.iter().filter_map(|name| row["memory_bytes"][*name].as_u64()).sum();
                let _ = match bytes {
                    0 => write!(out, " |"),
                    bytes => write!(out, " {:.0} |", table::mebi(bytes)),
                };
            }
            let _ = writeln!(
                out,
                " {:.1} | {:.1} | {} | {} | {} | {:.1} |",
                number(row, "transactions_of_primary"),
                number(row, "transactions_of_replicas"),
                grouped(number(row, "clicks_answered") as u64),
                grouped(number(row, "clicks_counted") as u64),
                grouped((number(row, "clicks_answered") - number(row, "clicks_counted")) as u64),
                number(row, "counted_after_s"),
            );
        }
        out
    }

    /// The last stage beside what it is to bear.
    fn verdict(&self) -> Option<String> {
        let row = self.rows.iter().find(|row| row["stage"] == PLANS.len() - 1)?;
        let (rate, p99) = (number(row, "redirects_per_second"), number(row, "p99_ms"));
        let word = if rate >= TARGET.0 && p99 < TARGET.1 { "met" } else { "**not met**" };
        Some(format!(
            "{}: {} redirects/s with a p99 of {p99:.1} ms; at least {} with less than {} ms: {word}.",
            text(row, "folder"),
            grouped(rate as u64),
            grouped(TARGET.0 as u64),
            TARGET.1
        ))
    }
}

/// The short table of the stages that are in `stages.json` of a folder, if there is one.
pub(crate) fn kept(directory: &Path) -> Option<String> {
    let text = fs::read_to_string(directory.join("stages.json")).ok()?;
    let old: Value = serde_json::from_str(&text).ok()?;
    Some(short(old["stages"].as_array()?, ""))
}

fn short(rows: &[Value], root: &str) -> String {
    let mut out = format!(
        "| Stage | What is new | Redirects/s with p99 < {} ms | p99 | Reach `snip` | Ask a database | CPU time a redirect |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
        BEARABLE.as_millis()
    );
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| [{}]({root}examples/stages/{}) | {} | **{}** | {:.1} ms | {} | {} | {:.0} µs |",
            row["stage"],
            text(row, "folder"),
            text(row, "title"),
            grouped(number(row, "redirects_per_second") as u64),
            number(row, "p99_ms"),
            percent(number(row, "origin")),
            percent(number(row, "database")),
            cpu(row, COMPONENTS.iter().flat_map(|(_, names)| *names)),
        );
    }
    out
}

fn row(measured: &Measured, commit: &str) -> Value {
    let Measured { plan, outcome, took, transactions, clicks, .. } = measured;
    let latencies: &Histogram = &outcome.latencies;
    let millis = |share: f64| latencies.percentile(share) as f64 / 1e3;
    let cpu: serde_json::Map<String, Value> =
        took.iter().map(|(name, (cpu, _))| ((*name).to_owned(), json!(cpu))).collect();
    let memory: serde_json::Map<String, Value> = took
        .iter()
        .filter(|(name, _)| **name != "load")
        .map(|(name, (_, bytes))| ((*name).to_owned(), json!(bytes)))
        .collect();
    json!({
        "stage": plan.number(),
        "folder": plan.folder,
        "title": plan.title,
        "commit": commit,
        "links": measured.links,
        "warmed": measured.warmed,
        "redirects_per_second": outcome.rate(),
        "seconds": outcome.took.as_secs_f64(),
        "p50_ms": millis(0.5),
        "p99_ms": millis(0.99),
        "p999_ms": millis(0.999),
        "slowest_ms": latencies.most() as f64 / 1e3,
        "errors": outcome.failed(),
        "origin": measured.origin,
        "database": measured.database,
        "transactions_of_primary": transactions[0],
        "transactions_of_replicas": transactions[1],
        "cpu_us": cpu,
        "memory_bytes": memory,
        "clicks_answered": clicks[0],
        "clicks_counted": clicks[1],
        "counted_after_s": measured.counted_after.as_secs_f64(),
    })
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or(0.0)
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or("?")
}

/// Microseconds of these components together.
fn cpu<'a>(row: &Value, names: impl IntoIterator<Item = &'a &'a str>) -> f64 {
    names.into_iter().filter_map(|name| row["cpu_us"][*name].as_f64()).sum()
}

/// A part of all, as people read it.
fn percent(part: f64) -> String {
    match part * 100.0 {
        all if all >= 99.95 => "100 %".to_owned(),
        some if some >= 0.05 => format!("{some:.1} %"),
        some if some > 0.0 => "< 0.1 %".to_owned(),
        _ => "0".to_owned(),
    }
}

/// The text with this between its marks.
fn between(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], table, MARKS[1], after].concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::load::Outcome;
    use super::*;

    fn measured(stage: usize, rate: u64) -> Measured {
        let mut outcome = Outcome { took: Duration::from_secs(1), ..Outcome::default() };
        outcome.answered = rate;
        (0..100).for_each(|millis| outcome.latencies.add(millis * 100));
        Measured {
            plan: PLANS[stage],
            links: 1_000_000,
            warmed: 1000,
            outcome,
            origin: 0.0312,
            database: 0.0001,
            transactions: [1.5, 0.5],
            took: BTreeMap::from([
                ("edge", (8.0, 1 << 30)),
                ("snip", (4.5, 3 << 20)),
                ("load", (6.0, 0)),
            ]),
            counted_after: Duration::from_millis(700),
            clicks: [rate, rate],
        }
    }

    fn empty() -> Report {
        Report {
            facts: vec![("cpu", "one".to_owned())],
            commit: "abc".to_owned(),
            rows: Vec::new(),
        }
    }

    #[test]
    fn stages_are_kept_replaced_and_put_in_order() {
        let home = tempfile::tempdir().expect("a directory");
        let mut report = empty();
        report.keep(home.path()).expect("nothing to keep");
        report.add(&measured(5, 39_000));
        report.add(&measured(0, 12_345));
        report.write(home.path()).expect("to write it");
        let mut report = empty();
        report.keep(home.path()).expect("to read it");
        report.add(&measured(5, 41_000));
        let stages: Vec<_> = report.rows.iter().map(|row| row["stage"].as_u64()).collect();
        assert_eq!(stages, [Some(0), Some(5)]);
        let table = report.table();
        let line = "| [5](examples/stages/5-edge) | an edge that caches | **41,000** | 9.9 ms | 3.1 % | < 0.1 % | 12 µs |";
        assert!(table.contains("| **12,345** |") && table.contains(line), "{table}");
        let page = report.markdown();
        assert!(page.contains("at least 40,000 with less than 20 ms: met"), "{page}");
        assert!(page.contains("| 5-edge | 8.0 | 4.5 | | | 12.5 | 6.0 |"), "{page}");
        assert!(
            page.contains("| 5-edge | 1024 | 3 | | | 1.5 | 0.5 | 41,000 | 41,000 | 0 | 0.7 |"),
            "{page}"
        );
        report.facts[0].1 = "another".to_owned();
        assert!(report.keep(home.path()).is_err(), "of another machine");
    }

    #[test]
    fn the_readme_has_the_table_between_its_marks() {
        let text = format!("a\n{}old\n{}\nb\n", MARKS[0], MARKS[1]);
        let new = between(&text, "new\n").expect("there are marks");
        assert_eq!(new, format!("a\n{}new\n{}\nb\n", MARKS[0], MARKS[1]));
        assert_eq!(between("a\n", "new\n"), None);
    }
}
