//! The way from text to plan, in order.

use toml::de::{DeTable, Error};

use crate::compile::compile;
use crate::config::Config;
use crate::plan::Plan;
use crate::problem::Problems;
use crate::read::{Entries, Reader};
use crate::report::Report;
use crate::section::{ROOT, Section};
use crate::source::Span;
use crate::surroundings::Surroundings;

/// Largest configuration in bytes that is read at all: 16 MiB.
pub const LARGEST_FILE: usize = 16 << 20;

/// Largest text of which all syntax errors are told: there can be one for every byte.
const ALL_ERRORS: usize = 1 << 20;

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub plan: Plan,
    /// What is allowed in it but hardly meant; no errors.
    pub warnings: Problems,
}

/// Reads a configuration that takes nothing from outside but environment variables.
///
/// `file` is what problems call it. `env` looks up the variables that `${NAME}` names; it is asked
/// for nothing else.
///
/// # Errors
///
/// All that is wrong, errors and warnings, by position.
pub fn load(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    load_text(text, file, &Surroundings::variables(env))
}

fn load_text(text: &str, file: &str, around: &Surroundings<'_>) -> Result<Loaded, Problems> {
    if text.len() > LARGEST_FILE {
        let mut report = Report::new("");
        let message = format!("the file has {} bytes; at most {LARGEST_FILE} are read", text.len());
        report.error(Span::FILE, message, None);
        return Err(report.into_problems(file));
    }
    let (table, syntax) = parse(text);
    let mut reader = Reader { env: around.variable, report: Report::new(text) };
    let entries = Entries::of(ROOT.to_owned(), Span::FILE, &table);
    let config = Config::read(entries, &mut reader);
    let mut report = reader.report;
    if !syntax.is_empty() {
        // Whole tables may be missing: what holds between sections cannot be told.
        report.add_syntax(syntax.iter().map(|error| crate::syntax::explain(error, text)).collect());
        return Err(report.into_problems(file));
    }
    let plan = config.and_then(|config| compile(&config, around, &mut report));
    let problems = report.into_problems(file);
    match plan {
        Some(plan) => Ok(Loaded { plan, warnings: problems }),
        None => Err(problems),
    }
}

/// The tree of a text and its syntax errors: all of them, except of texts so large that all would
/// take too much memory. Of those there is no tree either.
fn parse(text: &str) -> (DeTable<'_>, Vec<Error>) {
    if text.len() <= ALL_ERRORS {
        let (table, errors) = DeTable::parse_recoverable(text);
        return (table.into_inner(), errors);
    }
    match DeTable::parse(text) {
        Ok(table) => (table.into_inner(), Vec::new()),
        Err(first) => (DeTable::new(), vec![first]),
    }
}

/// Reads a configuration from bytes, as [`load`] does from text. A byte order mark is skipped.
///
/// # Errors
///
/// Those of [`load`]; and bytes that are not UTF-8, with their place.
pub fn load_bytes(
    bytes: &[u8],
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    load_bytes_with(bytes, file, &Surroundings::variables(env))
}

/// Reads a configuration from bytes, as [`load_bytes`] does, with all that it may name.
///
/// # Errors
///
/// Those of [`load_bytes`]; and files that cannot be read, at the place where they are named.
pub fn load_bytes_with(
    bytes: &[u8],
    file: &str,
    around: &Surroundings<'_>,
) -> Result<Loaded, Problems> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return load_text(text, file, around),
        Err(error) => error,
    };
    let at = error.valid_up_to();
    // With the bad bytes replaced there is a line to show; what is before them stays in place.
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(LARGEST_FILE)]);
    let mut report = Report::new(&shown);
    let (message, help) = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("the file is in UTF-16", "save it as UTF-8"),
        _ => ("this is not UTF-8", "save the file as UTF-8"),
    };
    report.error(Span::from(at..at + 1), message, Some(help.to_owned()));
    Err(report.into_problems(file))
}
