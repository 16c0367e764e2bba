//! `snip import`: links of another shortener, or of `snip export`, into a running one.
//!
//! Links go in batches, each with an idempotency key that is made from what is in it: a run that
//! was broken off, or lost its connection, can be started again as it was, and what was done is not
//! done twice. That holds for a day; after that, links that were given a name by the file are known
//! again by it.

mod rows;
mod sql;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::rows::Row;
use super::client::{Access, Server, unique, words_of};
use super::terminal::shown;
use crate::api::CreateLinks;

/// Links of a request.
const BATCH: usize = 500;

/// Bring links from a file to a running shortener.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The file
    file: PathBuf,
    /// What it comes from
    #[arg(long, value_enum, default_value_t = Source::Csv)]
    from: Source,
    /// Go on at this line, after a run that was broken off more than a day ago
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    from_line: u64,
    /// Do again what was done before within a day, as after the links were deleted
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    access: Access,
}

/// What a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Source {
    /// `snip export`, or any CSV with the columns `target` and, if it has them, `code`, `title`,
    /// `tags`, `status`, `forward_query`, `expires`, `clicks_left`, `disabled`
    Csv,
    /// YOURLS: its table of URLs as CSV (with or without names in the first line), or an SQL dump
    Yourls,
    /// Shlink: the CSV of short URLs that its web client exports
    Shlink,
    /// Bitly: the CSV of its links
    Bitly,
}

/// What came of the links so far.
#[derive(Debug, Default)]
struct Tally {
    imported: u64,
    there: u64,
    failed: u64,
}

impl Import {
    /// Brings the links. Fails when one did not come.
    ///
    /// # Errors
    /// When the file cannot be read, or the shortener cannot be reached.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let server = self.access.server()?;
        let file = File::open(&self.file)
            .with_context(|| format!("cannot open {}", self.file.display()))?;
        let length = file.metadata().map_or(0, |about| about.len());
        let bar = ProgressBar::new(length);
        let style = "{bar:40} {percent}% {msg} ({eta} left)";
        bar.set_style(ProgressStyle::with_template(style).context("the style of the bar")?);

        let salt = if self.again { unique()? } else { String::new() };
        let mut run = Run { server, file: &self.file, salt, tally: Tally::default(), bar };
        let mut batch = Vec::with_capacity(BATCH);
        let file = BufReader::new(run.bar.wrap_read(file));
        let read = rows::read(self.from, Box::new(file) as Box<dyn Read>)?;
        if !read.has_names {
            run.note("no column says what links are called (`code`, `alias`, `slug`, …): all get new names");
        }
        for row in read.rows {
            let row = row.with_context(|| format!("cannot read {}", self.file.display()))?;
            if row.line() < self.from_line {
                continue;
            }
            batch.push(row);
            if batch.len() == BATCH {
                run.send(std::mem::take(&mut batch))?;
            }
        }
        run.send(batch)?;
        run.bar.finish_and_clear();
        let Tally { imported, there, failed } = run.tally;
        println!("imported {imported}, there already {there}, failed {failed}");
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// An import under way.
struct Run<'a> {
    server: Server,
    file: &'a Path,
    salt: String,
    tally: Tally,
    bar: ProgressBar,
}

impl Run<'_> {
    /// Brings a batch. Those that cannot be links are told of; the others are sent.
    fn send(&mut self, batch: Vec<Row>) -> anyhow::Result<()> {
        let first = batch.first().map_or(0, Row::line);
        let mut good = Vec::with_capacity(batch.len());
        for row in batch {
            match row {
                Row::Good(good_row) => good.push(good_row),
                Row::Bad { line, why } => self.failed(line, &why),
            }
        }
        if good.is_empty() {
            return Ok(());
        }
        let links = CreateLinks { links: good.iter().map(|row| row.link.clone()).collect() };
        let once = fingerprint(&self.salt, first, &links)?;
        let answer =
            self.server.make::<Value>("/links/bulk", &links, &once).with_context(|| {
                format!("stopped at line {first}; the same command goes on, or --from-line {first}")
            })?;
        let results = answer.body["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        anyhow::ensure!(results.len() == good.len(), "the server answered something else");
        for (row, result) in good.iter().zip(results) {
            let problem = &result["problem"];
            if problem.is_null() {
                if row.is_disabled {
                    self.disable(&result["link"])?;
                }
                match answer.is_replayed {
                    true => self.tally.there += 1,
                    false => self.tally.imported += 1,
                }
            } else if self.is_there(row, problem)? {
                self.tally.there += 1;
            } else {
                // A line of a dump has many.
                let name = row.link.alias.as_deref().unwrap_or(&row.link.target);
                self.failed(row.line, &format!("{name}: {}", words_of(problem)));
            }
        }
        let Tally { imported, there, failed } = self.tally;
        self.bar.set_message(format!("{imported} imported, {there} there, {failed} failed"));
        Ok(())
    }

    /// Whether the name is taken by just this link: of a run before.
    fn is_there(&self, row: &rows::Good, problem: &Value) -> anyhow::Result<bool> {
        let is_taken = problem["type"].as_str().is_some_and(|word| word.ends_with(":alias-taken"));
        let Some(alias) = row.link.alias.as_deref().filter(|_| is_taken) else { return Ok(false) };
        let Some(link) = self.server.read_if_any(&format!("/links/{alias}"))? else {
            return Ok(false);
        };
        let meant = url::Url::parse(&row.link.target).map(String::from);
        Ok(meant.is_ok_and(|meant| link["target"] == meant.as_str()))
    }

    fn disable(&self, link: &Value) -> anyhow::Result<()> {
        let code = link["code"].as_str().context("the server answered something else")?;
        let path = format!("/links/{code}");
        self.server.change::<Value>(&path, &json!({ "disabled": true }), None).map(drop)
    }

    fn failed(&mut self, line: u64, why: &str) {
        self.tally.failed += 1;
        // Of names and targets of a file others may have been the authors.
        let (file, why) = (self.file.display(), shown(why));
        self.bar.suspend(|| eprintln!("{file}:{line}: {why}"));
    }

    fn note(&self, words: &str) {
        let file = self.file.display();
        self.bar.suspend(|| eprintln!("{file}: {words}"));
    }
}

/// What is the same for the same links at the same place of a file.
fn fingerprint(salt: &str, line: u64, links: &CreateLinks) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(line.to_be_bytes());
    hash.update(serde_json::to_vec(links)?);
    Ok(format!("import-{}", data_encoding::HEXLOWER.encode(&hash.finalize()[..16])))
}
