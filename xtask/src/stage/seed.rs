//! Databases with many links, made once through the API of `snip` and kept in `target/stages`, so
//! that a stage that is measured starts with them in seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use anyhow::{Context, bail, ensure};
use seawall_testkit::Postgres;

use super::plan::{PLANS, Plan};
use super::site::{Programs, Site};
use crate::build;
use crate::scene::{Stop, Stopped, grouped};

/// Links of one request.
const AT_ONCE: usize = 1000;

/// Requests at the same time.
const WRITERS: usize = 4;

/// A database with links, and their codes.
#[derive(Debug)]
pub(crate) struct Seed {
    file: PathBuf,
    /// The n-th leads to [`target`] of n.
    pub(crate) codes: Vec<String>,
}

/// Where a link leads.
pub(crate) fn target(number: usize) -> String {
    format!("https://www.example.com/articles/{number:07}?utm_source=mail&utm_medium=link")
}

impl Seed {
    /// The database for a stage with so many links, made if there is none yet.
    pub(crate) fn of(
        plan: &Plan,
        links: usize,
        programs: &Programs,
        stop: &Stop,
    ) -> anyhow::Result<Seed> {
        let kind = if plan.is_postgres { "postgres" } else { "sqlite" };
        let directory = build::root().join("target/stages");
        let file = directory.join(format!("{kind}-{links}"));
        // Written last, so that what was broken off is begun again.
        let list = directory.join(format!("{kind}-{links}.codes"));
        if let Ok(text) = fs::read_to_string(&list) {
            let codes: Vec<String> = text.lines().map(str::to_owned).collect();
            if codes.len() == links && file.is_file() {
                return Ok(Seed { file, codes });
            }
        }
        fs::create_dir_all(&directory).context("target/stages cannot be made")?;
        eprintln!(
            "making {} links ({kind}); they are kept in target/stages",
            grouped(links as u64)
        );
        let small = PLANS[usize::from(plan.is_postgres)];
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let mut site = Site::start(small, programs, anywhere, None)?;
        let codes = make(&site, links, stop)?;
        // In order: what a file has beside it is then written into it.
        site.instances[0].process.terminate()?;
        site.instances[0].process.wait()?;
        match &site.postgres {
            Some(postgres) => postgres.dump(&site.database, &file)?,
            None => fs::copy(&site.database, &file).map(drop)?,
        }
        fs::write(&list, codes.join("\n")).context("the codes cannot be written")?;
        Ok(Seed { file, codes })
    }

    /// A copy of the file of SQLite.
    pub(super) fn copy_to(&self, file: &Path) -> anyhow::Result<()> {
        fs::copy(&self.file, file).map(drop).context("the seeded database cannot be copied")
    }

    /// The same in a database of PostgreSQL that has nothing yet.
    pub(super) fn restore_to(&self, postgres: &Postgres, name: &str) -> anyhow::Result<()> {
        postgres.restore(name, &self.file).context("the seeded database cannot be restored")?;
        // As it would be after a while.
        postgres.sql(name, "VACUUM ANALYZE")?;
        postgres.sql(name, "CHECKPOINT").map(drop).map_err(Into::into)
    }
}

/// Makes links and returns their codes.
fn make(site: &Site, links: usize, stop: &Stop) -> anyhow::Result<Vec<String>> {
    let batches = links.div_ceil(AT_ONCE);
    let (next, api) = (AtomicUsize::new(0), site.api());
    let made = Mutex::new(vec![Vec::new(); batches]);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    loop {
                        let batch = next.fetch_add(1, Relaxed);
                        if batch >= batches {
                            return Ok(());
                        }
                        ensure!(!stop.is_asked(), Stopped);
                        let from = batch * AT_ONCE;
                        let targets: Vec<String> =
                            (from..links.min(from + AT_ONCE)).map(target).collect();
                        let codes = api.create_all(&targets)?;
                        made.lock().unwrap_or_else(PoisonError::into_inner)[batch] = codes;
                    }
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("a writer panicked"),
        })
    })?;
    Ok(made.into_inner().unwrap_or_else(PoisonError::into_inner).concat())
}
