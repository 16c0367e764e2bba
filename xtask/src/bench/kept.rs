//! The file of results of an earlier run, from which a run takes what it leaves out itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// Has `take` read the file of an earlier run, if there is one. `now` is what this run would write.
///
/// # Errors
/// When the file is about another machine, commit or kind of rounds, or `take` cannot read it.
pub(crate) fn keep(
    file: &Path,
    now: &Value,
    take: impl FnOnce(&Value) -> Option<()>,
) -> anyhow::Result<()> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(()) };
    let old: Value = serde_json::from_str(&text)?;
    ensure!(
        circumstances(&old) == circumstances(now),
        "{} was measured in other circumstances, or with another commit: begin anew without it",
        file.display()
    );
    take(&old).with_context(|| format!("{} is no report of this benchmark", file.display()))
}

/// All but the date, and whether there were changes to the commit: results make some.
fn circumstances(report: &Value) -> Value {
    let mut facts = report["machine"].clone();
    if let Some(facts) = facts.as_object_mut() {
        facts.remove("date");
        if let Some(Value::String(commit)) = facts.get_mut("commit") {
            commit.truncate(commit.find(' ').unwrap_or(commit.len()));
        }
    }
    json!([facts, report["rounds"], report["seconds"]])
}
