//! `cargo xtask bench choice`: how long each balancer takes to choose one of a hundred servers. No
//! peer takes part: none of them can be asked for this alone.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;

use super::part::circumstances;
use crate::build;

/// The group of the criterion benchmark that is run; the rest of it is not about choices.
const GROUP: &str = "choice of 100";

/// The most nanoseconds of a choice, and of one on a ring of 100 × 160 points.
const MOST: f64 = 150.0;
const MOST_ON_A_RING: f64 = 300.0;

/// How long one benchmark took a time.
#[derive(Debug, Clone, PartialEq)]
struct Choice {
    name: String,
    nanos: f64,
    /// The 95 % confidence interval.
    between: (f64, f64),
}

/// Runs the benchmark and keeps its table in `bench/results/choice.md`.
///
/// # Errors
/// When it does not build or run, or the file cannot be written.
pub(crate) fn run() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let status = build::cargo()
        .args(["bench", "--package", "seawall-core", "--bench", "balance", "--"])
        .args(["--warm-up-time", "1", "--measurement-time", "2", "--noplot", GROUP])
        .env("CRITERION_HOME", home.path())
        .stdout(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the benchmark failed");
    }
    let mut choices = read(home.path())?;
    choices.sort_by(|one, other| one.name.cmp(&other.name));
    let page = format!(
        "# Choosing a server\n\nWritten by `cargo xtask bench choice`: nanoseconds for one choice of \
         100 servers with 300 requests in flight, on one core (95 % confidence interval). `hash` is \
         the ring with 160 points a unit of weight; those within a bound look for a server with \
         room.\n\n{}.\n\n{}",
        circumstances(),
        table(&choices)
    );
    print!("{page}");
    let directory = build::root().join("bench/results");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("choice.md"), page)?;
    Ok(())
}

/// What criterion left in its directory: one directory a group, in it one a benchmark.
fn read(home: &Path) -> anyhow::Result<Vec<Choice>> {
    let mut choices = Vec::new();
    let group = home.join(GROUP);
    let entries = fs::read_dir(&group).context("the benchmark left no results")?;
    for entry in entries {
        let new = entry?.path().join("new");
        if !new.is_dir() {
            continue;
        }
        let file = |name| -> anyhow::Result<Value> {
            let text = fs::read_to_string(new.join(name))?;
            Ok(serde_json::from_str(&text)?)
        };
        choices.push(
            choice(&file("benchmark.json")?, &file("estimates.json")?)
                .with_context(|| format!("cannot read the results in {}", new.display()))?,
        );
    }
    if choices.is_empty() {
        bail!("the benchmark measured nothing");
    }
    Ok(choices)
}

fn choice(benchmark: &Value, estimates: &Value) -> Option<Choice> {
    // The slope, where there is one, is the better estimate.
    let estimate =
        [&estimates["slope"], &estimates["mean"]].into_iter().find(|one| !one.is_null())?;
    let interval = &estimate["confidence_interval"];
    Some(Choice {
        name: benchmark["function_id"].as_str()?.to_owned(),
        nanos: estimate["point_estimate"].as_f64()?,
        between: (interval["lower_bound"].as_f64()?, interval["upper_bound"].as_f64()?),
    })
}

fn table(choices: &[Choice]) -> String {
    let mut out =
        String::from("| balancer, weights | ns a choice | target | |\n|---|--:|--:|---|\n");
    for choice in choices {
        let target = if choice.name.starts_with("hash") { MOST_ON_A_RING } else { MOST };
        // Judged as it is printed.
        let met = choice.nanos.round() <= target;
        let (lower, upper) = choice.between;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {:.0} ({lower:.0}–{upper:.0}) | ≤ {target:.0} | {} |",
            choice.name,
            choice.nanos,
            if met { "met" } else { "**not met**" }
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn leave(home: &Path, name: &str, estimates: &Value) {
        let new = home.join(GROUP).join(name).join("new");
        fs::create_dir_all(&new).expect("a directory");
        let write = |file, value: &Value| fs::write(new.join(file), value.to_string());
        write("benchmark.json", &json!({ "function_id": name })).expect("to write");
        write("estimates.json", estimates).expect("to write");
    }

    #[test]
    fn what_criterion_leaves_is_read_and_judged() {
        let home = tempfile::tempdir().expect("a directory");
        let estimate = |nanos: f64| {
            let interval = json!({ "lower_bound": nanos - 2.0, "upper_bound": nanos + 2.0 });
            json!({ "point_estimate": nanos, "confidence_interval": interval })
        };
        let both = json!({ "mean": estimate(1.0), "slope": estimate(150.4) });
        leave(home.path(), "random, equal", &both);
        leave(home.path(), "hash, equal", &json!({ "mean": estimate(290.0), "slope": null }));
        leave(home.path(), "least-connections, equal", &json!({ "mean": estimate(151.0) }));
        fs::create_dir(home.path().join(GROUP).join("report")).expect("a directory");
        let mut choices = read(home.path()).expect("results");
        choices.sort_by(|one, other| one.name.cmp(&other.name));
        let table = table(&choices);
        for line in [
            "| hash, equal | 290 (288–292) | ≤ 300 | met |",
            "| least-connections, equal | 151 (149–153) | ≤ 150 | **not met** |",
            "| random, equal | 150 (148–152) | ≤ 150 | met |",
        ] {
            assert!(table.contains(line), "{table}");
        }
        assert!(read(&home.path().join("elsewhere")).is_err());
    }
}
