//! The commands of `snip`.

mod cell;
mod client;
mod create;
mod export;
mod import;
mod key;
mod serve;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
    /// Make a short link and print it
    Create(create::Create),
    /// Bring links from a file: of `snip export`, YOURLS or Bitly
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
    match Cli::parse_from(arguments).command {
        Command::Serve(serve) => serve.run(),
        Command::Create(create) => create.run(),
        Command::Import(import) => import.run(),
        Command::Export(export) => export.run(),
        Command::Key(key) => key.run(),
    }
}

/// The configuration of a file; without one that of `snip.toml` in this directory if it is there,
/// else the default.
fn config(file: Option<&Path>) -> Result<Config, ConfigError> {
    let usual = PathBuf::from("snip.toml");
    match file {
        Some(file) => Config::load(file),
        None if usual.exists() => Config::load(&usual),
        None => Ok(Config::default()),
    }
}
