//! `cargo xtask bench shortener`: `snip` by itself, over a million links: redirects from memory and
//! from the database beside shorteners in Node and PHP, what counting clicks costs, how fast links
//! are made, and what they take of disk and memory.
//!
//! `snip` and its peers are measured on one machine in one run, in alternating rounds: the program
//! on one core, its PostgreSQL server and the load on another. What counts is the CPU time of a
//! request. Traffic goes to loopback addresses only, for a bounded time.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::chosen;
use super::options::{Options, name_of};
use crate::build;
use crate::tools::Tool;

mod ask;
mod create;
mod links;
mod redirects;
mod report;
mod sites;
mod size;

use links::Links;
use report::Report;
use sites::Who;

/// Options of `cargo xtask bench shortener`.
#[derive(Debug, Args)]
pub(crate) struct Shortener {
    #[command(flatten)]
    options: Options,
    /// Measure this `snip` instead of building one.
    #[arg(long, value_name = "FILE")]
    snip: Option<PathBuf>,
    /// Only these shorteners.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<Who>,
    /// Only these cases.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE,...")]
    case: Vec<Case>,
    /// Keep what the results of an earlier run say of other cases. Run case by case, it takes a
    /// minute or two at a time.
    #[arg(long)]
    keep: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// Redirects of 100,000 links by Zipf's law, all of them in memory; SQLite, 64 connections.
    Memory,
    /// Redirects of 1,000,000 links by Zipf's law, 100,000 in memory; SQLite, 64 connections.
    Zipf,
    /// The same on PostgreSQL.
    ZipfPostgres,
    /// Redirects of 1,000,000 links, each as likely, nothing in memory; SQLite, 64 connections.
    Store,
    /// The same on PostgreSQL.
    StorePostgres,
    /// One connection; otherwise as `memory`.
    Single,
    /// HEAD; otherwise as `memory`.
    Head,
    /// Codes that lead nowhere, each another: 404.
    Missing,
    /// Links that have expired: 410.
    Gone,
    /// Links made a thousand a request, SQLite and PostgreSQL.
    CreateBulk,
    /// Links made one a request over 64 connections, SQLite and PostgreSQL.
    CreateSingle,
    /// Bytes of a link in SQLite and PostgreSQL, of a million clicks, of a link in Redis and in the
    /// memory of the process.
    Size,
}

impl Case {
    /// Its name on the command line and in the results.
    fn name(self) -> String {
        name_of(self)
    }
}

impl Shortener {
    /// Measures and writes the report.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let who: BTreeSet<Who> = chosen(&self.only);
        let cases: BTreeSet<Case> = chosen(&self.case);
        let setting = self.options.setting(&tools(&who), false, (3, 5))?;
        let snip = match &self.snip {
            Some(file) => std::path::absolute(file)?,
            None => build::release("snip")?,
        };
        let links = Links::ready(&setting, &snip)?;
        let bench = Bench { setting, snip, who, links };
        let all =
            self.only.is_empty() && (cases.len() == Case::value_variants().len() || self.keep);
        let directory = self.options.directory(all);
        let mut report = Report::new(&bench.setting, &bench.snip);
        if self.keep {
            report.keep(&directory)?;
        }
        for case in &cases {
            eprintln!("case {}", case.name());
            match case {
                Case::CreateBulk => report.put_creations(*case, create::bulk(&bench, *case)?),
                Case::CreateSingle => report.put_creations(*case, create::single(&bench, *case)?),
                Case::Size => report.sizes = size::case(&bench)?,
                _ => report.put_redirects(*case, redirects::case(&bench, *case)?),
            }
            // One that fails is not to take the others with it.
            report
                .write(&directory)
                .with_context(|| format!("cannot write results to {}", directory.display()))?;
        }
        println!("{}", report.markdown());
        eprintln!("written to {}", directory.display());
        Ok(())
    }
}

/// What all cases need.
struct Bench {
    setting: super::Setting,
    snip: PathBuf,
    who: BTreeSet<Who>,
    links: Links,
}

impl Bench {
    /// Those of `all` that take part.
    fn taking_part(&self, all: &[Who]) -> Vec<Who> {
        all.iter().copied().filter(|who| self.who.contains(who)).collect()
    }
}

fn tools(who: &BTreeSet<Who>) -> Vec<Tool> {
    let mut tools = vec![
        Tool::named("wrk"),
        Tool::named("sqlite3"),
        Tool { program: "postgres", package: "postgresql" },
        Tool::named("redis-server"),
    ];
    if who.contains(&Who::Node) {
        tools.extend([Tool { program: "node", package: "nodejs" }, Tool::named("npm")]);
    }
    if who.contains(&Who::Php) {
        tools.push(Tool::named("nginx"));
        tools.push(Tool { program: "php-fpm8.2", package: "php8.2-fpm" });
    }
    tools
}
