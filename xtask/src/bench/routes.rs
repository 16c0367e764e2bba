//! `cargo xtask bench routes`: how long it takes to find a route among many. No peer takes part:
//! none of them can be asked for this alone.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, bail};

use super::machine;
use crate::build;

/// Runs the benchmark and keeps its table in `bench/results/routes.md`.
///
/// # Errors
/// When it does not build or run, or the file cannot be written.
pub(crate) fn run() -> anyhow::Result<()> {
    let output = build::cargo()
        .args(["bench", "--quiet", "--package", "seawall-http", "--bench", "routes"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the benchmark failed");
    }
    let table = String::from_utf8_lossy(&output.stdout);
    let facts: Vec<String> = machine::facts(None)
        .iter()
        .filter(|(name, _)| matches!(*name, "date" | "cpu" | "kernel"))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let page = format!(
        "# Finding a route\n\nWritten by `cargo xtask bench routes`: the best of 5 rounds of 200,000 \
         look-ups each, on one core.\n\n{}.\n\n{table}",
        facts.join(" · ")
    );
    print!("{page}");
    let directory = build::root().join("bench/results");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("routes.md"), page)?;
    Ok(())
}
