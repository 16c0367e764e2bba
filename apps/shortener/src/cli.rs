//! The commands of `snip`.

mod change;
mod check;
mod client;
mod create;
mod delete;
mod export;
mod import;
mod key;
mod list;
mod named;
mod password;
mod serve;
mod show;
mod stats;
mod terminal;
mod when;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};

/// A link shortener that grows from one process to an edge by configuration.
#[derive(Debug, Parser)]
#[command(name = "snip", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve short links, the API and the pages
    Serve(serve::Serve),
    /// Say what is wrong with a configuration, without starting anything
    Check(check::Check),
    /// Make a short link and print it
    Create(create::Create),
    /// Show all that is known of a link
    Show(show::Show),
    /// List links
    ///
    /// At a terminal, a table. To other programs a line for each link, its columns between tabs and
    /// none of them cut: code, when it was made, state (`active`, `disabled`, `expired` or `used-up`,
    /// and `,password`), clicks in 30 days (empty without --clicks), target, tags, title.
    List(list::List),
    /// Change a link; what is not named stays
    Change(Box<change::Change>),
    /// Delete links, for ever
    Delete(delete::Delete),
    /// Show how a link, or all together, were clicked
    Stats(stats::Stats),
    /// Bring links from a file: of `snip export`, Shlink, YOURLS or Bitly
    Import(import::Import),
    /// Write all links to the standard output
    Export(export::Export),
    /// Make, list and revoke API keys in the database, as when the last one is lost
    Key(key::Key),
}

/// Runs the command of these arguments, the first of which is the program.
///
/// # Errors
/// Whatever ended it.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let outcome = match Cli::parse_from(arguments).command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Create(create) => create.run(),
        Command::Show(show) => show.run(),
        Command::List(list) => list.run(),
        Command::Change(change) => change.run(),
        Command::Delete(delete) => delete.run(),
        Command::Stats(stats) => stats.run(),
        Command::Import(import) => import.run(),
        Command::Export(export) => export.run(),
        Command::Key(key) => key.run(),
    };
    match outcome {
        // Whoever reads has enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        outcome => outcome,
    }
}

/// The file that is read if none is named.
const USUAL: &str = "snip.toml";

/// The configuration of a file; without one that of `snip.toml` in this directory if it is there,
/// else the default.
fn config(file: Option<&Path>) -> Result<Config, ConfigError> {
    let usual = Path::new(USUAL);
    match file {
        Some(file) => Config::load(file),
        None if usual.exists() => Config::load(usual),
        None => Ok(Config::default()),
    }
}

/// Whether whoever reads the output has gone. A server that has gone is another matter.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    if error.chain().any(|cause| cause.is::<ureq::Error>()) {
        return false;
    }
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let csv = cause.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
            csv::ErrorKind::Io(error) => Some(error.kind()),
            _ => None,
        });
        let json =
            cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        [io, csv, json].contains(&Some(ErrorKind::BrokenPipe))
    })
}
