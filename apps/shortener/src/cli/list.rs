//! `snip list`: links of a running shortener, page by page: a table at a terminal, columns between
//! tabs for other programs, or JSON.

mod table;

use std::io::{self, BufWriter, Write};
use std::num::NonZeroU64;
use std::process::ExitCode;

use clap::ValueEnum;
use url::form_urlencoded::Serializer;

use self::table::Table;
use super::client::{Access, Server};
use super::terminal;
use crate::api::LinkList;

/// Links that are shown if nobody says how many.
const USUAL: u64 = 50;

/// Links of a page at most: of the API, without and with their clicks.
const MOST: u64 = 1000;
const MOST_WITH_CLICKS: u64 = 100;

/// List links.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only those with this text in code, target or title, case aside
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those with this tag
    #[arg(long)]
    tag: Option<String>,
    /// In which order, by when they were made
    #[arg(long, value_enum, default_value_t = Sort::Newest)]
    sort: Sort,
    /// So many at most [default: 50]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<NonZeroU64>,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// With the clicks of people in 30 days, for which the key needs the scope `stats:read`, too
    #[arg(long)]
    clicks: bool,
    /// A JSON object for each, on a line of its own
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

/// An order of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// The last one first
    Newest,
    /// The first one first
    Oldest,
}

impl List {
    /// Prints the links.
    ///
    /// # Errors
    /// When the shortener cannot be read, or nothing can be written.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let limit = self.limit.map_or(USUAL, NonZeroU64::get);
        let mut left = if self.all { u64::MAX } else { limit };
        let mut table = Table::new(terminal::width(), self.clicks);
        let mut out = BufWriter::new(io::stdout().lock());
        let server = self.access.server()?;
        let mut next = None;
        loop {
            let page = self.page(&server, left, next.as_deref())?;
            match self.json {
                true => page
                    .links
                    .iter()
                    .try_for_each(|link| writeln!(out, "{}", terminal::json_line(link)?))?,
                false => out.write_all(table.page(&page.links).as_bytes())?,
            }
            out.flush()?;
            left = left.saturating_sub(page.links.len() as u64);
            next = page.next;
            if next.is_none() || left == 0 {
                break;
            }
        }
        // Whoever said how many knows.
        if next.is_some() && self.limit.is_none() {
            eprintln!("snip: these are the first {limit}; --limit and --all show more");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn page(&self, server: &Server, left: u64, next: Option<&str>) -> anyhow::Result<LinkList> {
        let most = if self.clicks { MOST_WITH_CLICKS } else { MOST };
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &left.min(most).to_string());
        if self.sort == Sort::Oldest {
            query.append_pair("sort", "oldest");
        }
        let with = self.clicks.then_some("clicks");
        for (name, value) in [
            ("q", self.search.as_deref()),
            ("tag", self.tag.as_deref()),
            ("with", with),
            ("cursor", next),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        server.read(&format!("/links?{}", query.finish()))
    }
}
