//! What the reports have in common: medians with their spread, results beside what they should be.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::rounds::{Row, Sample, Workers};

/// A result beside what it should be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) case: String,
    pub(crate) measure: &'static str,
    pub(crate) against: &'static str,
    pub(crate) value: f64,
    pub(crate) target: f64,
    /// Whether more is better.
    pub(crate) at_least: bool,
    pub(crate) valid: bool,
}

impl Verdict {
    /// Judged as it is printed, to two decimals.
    pub(crate) fn met(&self) -> bool {
        let (value, target) = (rounded(self.value), self.target);
        self.valid && if self.at_least { value >= target } else { value <= target }
    }

    pub(crate) fn word(&self) -> &'static str {
        match (self.valid, self.met()) {
            (false, _) => "invalid",
            (_, true) => "met",
            (_, false) => "**not met**",
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "case": self.case,
            "measure": self.measure,
            "against": self.against,
            "result": self.value,
            "target": self.target,
            "at_least": self.at_least,
            "valid": self.valid,
            "met": self.met(),
        })
    }
}

/// The table of all verdicts, if there are any.
pub(crate) fn write_verdicts(out: &mut String, verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    out.push_str("\n## Against the targets\n\n");
    out.push_str("| case | measure | against | result | target | |\n|---|---|---|--:|--:|---|\n");
    for verdict in verdicts {
        let sign = if verdict.at_least { '≥' } else { '≤' };
        // Writing to a String cannot fail.
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

/// The table of all rounds of load, if there were any.
pub(crate) fn write_rows(out: &mut String, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    out.push_str("\n## Measured\n\n");
    out.push_str("| case | proxy | CPU µs/request | of it user | requests/s | p99 ms | |\n");
    out.push_str("|---|---|--:|--:|--:|--:|---|\n");
    for row in rows {
        let _ = writeln!(out, "| {} | {} | {} |", row.case, row.proxy, cells(&row.samples));
    }
}

/// The cells of a row of samples, without what it is about.
pub(crate) fn cells(samples: &[Sample]) -> String {
    format!(
        "{} | {} | {} | {} | {}",
        spread(samples, |sample| sample.cpu, 2),
        spread(samples, |sample| sample.user, 2),
        spread(samples, |sample| sample.rate, 0),
        spread(samples, |sample| sample.p99, 2),
        errors(samples).map_or_else(String::new, |what| format!("invalid: {what}")),
    )
}

/// The table of one worker beside two, if that was measured.
pub(crate) fn write_workers(out: &mut String, workers: &[Workers]) {
    if workers.is_empty() {
        return;
    }
    out.push_str(
        "\n## Workers\n\n1 KiB answers, 64 connections, everything free to run on both cores.\n\n",
    );
    out.push_str("| workers | CPU µs/request | requests per CPU second × workers | share of the busiest thread | |\n");
    out.push_str("|--:|--:|--:|--:|---|\n");
    for row in workers {
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

/// What two workers should do beside one.
pub(crate) fn worker_verdict(case: String, workers: &[Workers]) -> Option<Verdict> {
    let [one, two] = workers else {
        return None;
    };
    Some(Verdict {
        case,
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

/// The median of `ours` in one case divided by the lowest median of `theirs`, and whether none of
/// those rounds had errors. `None` unless all were measured.
pub(crate) fn ratio(
    rows: &[Row],
    case: &str,
    ours: &str,
    theirs: &[&str],
    of: impl Fn(&Sample) -> f64,
) -> Option<(f64, bool)> {
    let find = |proxy: &str| rows.iter().find(|row| row.case == case && row.proxy == proxy);
    let ours = find(ours)?;
    let theirs: Vec<&Row> = theirs.iter().map(|proxy| find(proxy)).collect::<Option<_>>()?;
    let value = |row: &Row| median(row.samples.iter().map(&of).collect());
    let best = theirs.iter().map(|row| value(row)).reduce(f64::min)?;
    let valid = theirs.iter().chain([&ours]).all(|row| errors(&row.samples).is_none());
    Some((value(ours) / best, valid))
}

/// The largest share of the CPU time that one of two workers may have had, or it was not two that
/// served: connections are dealt out at random, so that it is seldom just a half.
const BOTH_WORKED: f64 = 0.75;

/// Requests per CPU second, times the workers that could spend one each second.
pub(crate) fn normalised_rate(row: &Workers) -> f64 {
    let cpu = median(row.samples.iter().map(|sample| sample.cpu).collect());
    f64::from(row.workers) * 1e6 / cpu
}

/// What went wrong in any of the rounds.
pub(crate) fn errors(samples: &[Sample]) -> Option<String> {
    let all: Vec<String> = samples.iter().filter_map(|sample| sample.errors.describe()).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The median, the lowest and the highest.
pub(crate) fn spread(samples: &[Sample], of: impl Fn(&Sample) -> f64, decimals: usize) -> String {
    spread_of(samples.iter().map(of).collect(), decimals)
}

/// The same of plain numbers.
pub(crate) fn spread_of(values: Vec<f64>, decimals: usize) -> String {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.decimals$} ({lowest:.decimals$}–{highest:.decimals$})", median(values))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

pub(crate) fn mebi(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// All rounds of a row.
pub(crate) fn samples_json(samples: &[Sample]) -> Vec<Value> {
    let one = |sample: &Sample| {
        json!({
            "cpu_us_per_request": sample.cpu,
            "user_us_per_request": sample.user,
            "requests_per_second": sample.rate,
            "p99_ms": sample.p99,
            "errors": sample.errors.describe(),
        })
    };
    samples.iter().map(one).collect()
}

/// All rounds of load.
pub(crate) fn rows_json(rows: &[Row]) -> Vec<Value> {
    let one = |row: &Row| json!({ "case": row.case, "proxy": row.proxy, "rounds": samples_json(&row.samples) });
    rows.iter().map(one).collect()
}

/// One worker beside two.
pub(crate) fn workers_json(workers: &[Workers]) -> Vec<Value> {
    let one = |row: &Workers| {
        json!({
            "workers": row.workers,
            "busiest_thread": row.busiest,
            "rounds": samples_json(&row.samples),
        })
    };
    workers.iter().map(one).collect()
}

/// Facts as an object.
pub(crate) fn facts_json(facts: &[(&'static str, String)]) -> Value {
    facts
        .iter()
        .map(|(name, fact)| ((*name).to_owned(), json!(fact)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Facts as a line.
pub(crate) fn facts_line(facts: &[(&'static str, String)]) -> String {
    let facts: Vec<String> = facts.iter().map(|(name, fact)| format!("{name} {fact}")).collect();
    facts.join(" · ")
}

/// Writes a report as `NAME.md` for people and `NAME.json` for programs.
pub(crate) fn write(
    directory: &Path,
    name: &str,
    markdown: &str,
    json: &Value,
) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(format!("{name}.md")), markdown)?;
    let mut json = serde_json::to_string_pretty(json)?;
    json.push('\n');
    fs::write(directory.join(format!("{name}.json")), json)?;
    Ok(())
}
