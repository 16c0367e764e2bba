//! Benchmarks of one part alone: cargo runs them, they print tables, and those are kept. No server
//! takes part.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, bail};

use super::machine;
use crate::build;

/// A benchmark that prints Markdown.
pub(crate) struct Part {
    /// The crate that has it.
    pub(crate) package: &'static str,
    /// Its name there, and that of the file in `bench/results`.
    pub(crate) bench: &'static str,
    /// The title of the page.
    pub(crate) title: &'static str,
    /// How it was measured, behind "Written by …: ".
    pub(crate) how: &'static str,
}

impl Part {
    /// Runs it and returns the page.
    ///
    /// # Errors
    /// When it does not build or run.
    pub(crate) fn page(&self, arguments: &[String]) -> anyhow::Result<String> {
        let Self { package, bench, title, how } = self;
        let output = build::cargo()
            .args(["bench", "--quiet", "--package", package, "--bench", bench, "--"])
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            bail!("the benchmark failed");
        }
        let tables = String::from_utf8_lossy(&output.stdout);
        Ok(format!(
            "# {title}\n\nWritten by `cargo xtask bench {bench}`: {how}\n\n{}.\n\n{tables}",
            circumstances()
        ))
    }

    /// Keeps its page, that of a complete run, in `bench/results`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep(&self, page: &str) -> anyhow::Result<()> {
        let directory = build::root().join("bench/results");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("{}.md", self.bench)), page)?;
        Ok(())
    }
}

/// What has to be known of the machine to read the results of one part.
pub(crate) fn circumstances() -> String {
    let facts: Vec<String> = machine::facts(None)
        .iter()
        .filter(|(name, _)| matches!(*name, "date" | "cpu" | "kernel"))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    facts.join(" · ")
}
