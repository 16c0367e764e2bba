//! `snip key`: API keys, directly in the database, for when the last key is lost.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::auth::{Keys, Scope, Scopes};
use crate::config::Config;
use crate::instant;
use crate::store::{DatabaseConfig, Store};

/// Make, list and revoke API keys.
#[derive(Debug, clap::Args)]
pub(super) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print it, this once
    Create {
        /// What people call it
        #[arg(long)]
        name: String,
        /// What it may be used for: links:read, links:write, stats:read, keys:admin; may be
        /// repeated [default: all]
        #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
        scopes: Vec<Scope>,
        #[command(flatten)]
        place: Place,
    },
    /// List all keys
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a key; instances that run believe it for a second more
    Revoke {
        /// Its number, as `snip key list` shows it
        id: i64,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the database is.
#[derive(Debug, clap::Args)]
struct Place {
    /// Configuration file [default: snip.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// `sqlite:FILE` or `postgres://…`, in place of what the file says; others on this machine can
    /// see a password in it
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl Place {
    async fn keys(self) -> anyhow::Result<Keys> {
        let Config { database, .. } = super::config(self.config.as_deref())?;
        let url = self.database.unwrap_or(database);
        // One that is made here by a slip of the pen would have keys that open nothing.
        if let Some(path) = url.strip_prefix("sqlite:")
            && !PathBuf::from(path.strip_prefix("//").unwrap_or(path)).exists()
        {
            bail!("there is no database {path}; `snip serve` makes one");
        }
        let database = DatabaseConfig { pool: 1, ..DatabaseConfig::new(url) };
        Ok(Keys::new(Store::open(&database).await.context("the database cannot be opened")?))
    }
}

impl Key {
    /// Does it.
    ///
    /// # Errors
    /// When the database does not.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.command.run())
    }
}

impl Command {
    async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Create { name, scopes, place } => {
                let scopes = match scopes.is_empty() {
                    true => Scopes::all(),
                    false => scopes.into_iter().collect(),
                };
                let is_fit = !name.trim().is_empty()
                    && name.chars().count() <= 100
                    && !name.chars().any(char::is_control);
                if !is_fit {
                    bail!("a name has 1 to 100 characters, none of them a control character");
                }
                let (key, secret) = place.keys().await?.create(&name, scopes).await?;
                eprintln!("key {} for {scopes}; it is shown only now:", key.id);
                writeln!(io::stdout(), "{secret}")?;
            }
            Command::List { place } => {
                let mut out = io::stdout().lock();
                writeln!(out, "{:>6}  {:24}  {:24}  name and scopes", "id", "made", "revoked")?;
                for key in place.keys().await?.all().await? {
                    let made = instant::shown(key.created);
                    let revoked = key.revoked.map_or_else(|| "-".to_owned(), instant::shown);
                    writeln!(
                        out,
                        "{:>6}  {made:24}  {revoked:24}  {} ({})",
                        key.id, key.name, key.scopes
                    )?;
                }
            }
            Command::Revoke { id, place } => {
                let keys = place.keys().await?;
                if !keys.revoke(id).await? {
                    let exists = keys.all().await?.iter().any(|key| key.id == id);
                    match exists {
                        true => bail!("key {id} was revoked before"),
                        false => bail!("there is no key {id}"),
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::of(text).ok_or_else(|| format!("a scope is one of {}", Scopes::all()))
}
