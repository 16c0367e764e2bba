//! What links and clicks take: of the disk, of Redis, of the process's memory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use seawall_testkit::{PATIENCE, Postgres, RawClient, Redis};

use super::Bench;
use super::ask::{Ask, Draw};
use super::links::{LINKS, SNIP, empty_postgres, output};
use super::sites::{self, Room, Site, Who};
use crate::bench::cpu;

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Size {
    /// What of what.
    pub(super) name: String,
    pub(super) value: f64,
}

/// Links that the process holds when its memory is looked at.
const KEPT: usize = 300_000;

/// Seconds of clicks.
const CLICKING: u32 = 20;

pub(super) fn case(bench: &Bench) -> anyhow::Result<Vec<Size>> {
    let mut sizes = Vec::new();
    let mut found = |name: &str, value: f64| {
        eprintln!("  {name}: {value:.0}");
        sizes.push(Size { name: name.to_owned(), value });
    };
    let (with, without) = sqlite_links(bench)?;
    found("SQLite, bytes of a link", (with - without) as f64 / LINKS as f64);
    for (name, value) in postgres_links(bench)? {
        found(&name, value);
    }
    found("memory of the process, bytes of a link that it keeps", memory(bench)?);
    for (count, bytes) in redis(bench)? {
        found(&format!("Redis, bytes of a mapping, {count} of them"), bytes);
    }
    for (name, value) in clicks(bench)? {
        found(&name, value);
    }
    Ok(sizes)
}

/// Bytes of the file with and without links.
fn sqlite_links(bench: &Bench) -> anyhow::Result<(u64, u64)> {
    let home = tempfile::tempdir()?;
    let with = fs::metadata(bench.links.copy_to(home.path(), true)?)?.len();
    let empty = home.path().join("empty.db");
    sites::prepare(&bench.setting, &bench.snip, &format!("sqlite:{}", empty.display()))?;
    Ok((with, fs::metadata(&empty)?.len()))
}

fn postgres_links(bench: &Bench) -> anyhow::Result<Vec<(String, f64)>> {
    let server = bench.links.postgres(&bench.setting, &bench.snip)?;
    let empty = empty_postgres(&bench.setting, &bench.snip)?;
    let size = |server: &Postgres, function: &str| -> anyhow::Result<f64> {
        Ok(server.sql(SNIP, &format!("SELECT {function}('links')"))?.parse()?)
    };
    let mut sizes = Vec::new();
    for (part, function) in
        [("", "pg_total_relation_size"), (", without its indexes", "pg_table_size")]
    {
        let bytes = size(&server, function)? - size(&empty, function)?;
        sizes.push((format!("PostgreSQL, bytes of a link{part}"), bytes / LINKS as f64));
    }
    Ok(sizes)
}

/// What the process takes for each link that it keeps.
fn memory(bench: &Bench) -> anyhow::Result<f64> {
    let site = Site::start(bench, Who::Snip, None, Room(2 * KEPT))?;
    // Connections and the pages of SQLite are there before it counts.
    walk(bench, &site, 1_000, |_| Ok(true))?;
    let resident = || -> anyhow::Result<f64> {
        let id = site.ids().first().copied().context("it runs")?;
        Ok(cpu::proportional_of_tree(id)? as f64)
    };
    let before = resident()?;
    walk(bench, &site, KEPT, |site| {
        Ok(metric(site, "snip_memory_entries{kind=\"link\"}")? >= KEPT as f64)
    })?;
    Ok((resident()? - before) / (KEPT - 1_000) as f64)
}

/// How many mappings, and bytes of each of them.
fn redis(bench: &Bench) -> anyhow::Result<Vec<(usize, f64)>> {
    let home = tempfile::tempdir()?;
    let database = bench.links.copy_to(home.path(), true)?;
    let redis = Redis::start()?;
    let number = |section: &str, field: &str| -> anyhow::Result<f64> {
        let text = redis.command(&["INFO", section])?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {field} in {text}"))?.trim().parse()?)
    };
    let url = format!("sqlite:{}", database.display());
    let more = format!("redis = \"{}\"\n", redis.url());
    let site = sites::snip_on(&bench.setting, &bench.snip, &url, Room(0), &more)?;
    let keys = || -> anyhow::Result<usize> { Ok(redis.command(&["DBSIZE"])?.trim().parse()?) };
    // What there is beside mappings is there once one link was looked up.
    walk(bench, &site, 1, |_| Ok(keys()? > 1))?;
    let (others, before) = (keys()?, number("memory", "used_memory")?);
    let mut sizes = Vec::new();
    for count in [1_000, 10_000, 100_000] {
        walk(bench, &site, count, |_| Ok(keys()? >= others + count - 1))?;
        // Connections of `snip` have grown meanwhile as they like; what they hold is not mappings.
        let bytes = number("memory", "used_memory")? - before;
        sizes.push((count, bytes / (count - 1) as f64));
    }
    Ok(sizes)
}

/// Rows and bytes of a million clicks, as they come within a minute or so.
fn clicks(bench: &Bench) -> anyhow::Result<Vec<(String, f64)>> {
    let mut site = Site::start(bench, Who::Snip, None, Room::default())?;
    let before = fs::metadata(site.file())?.len();
    let ask = Ask::of(&bench.links, Draw::Zipf(LINKS))?;
    ask.send(&bench.setting, site.address, 64, CLICKING, (true, 0))?;
    // What is lost is not stored; what is stored is what counts here.
    let counted = || metric(&site, "snip_clicks_total{from=\"redirect\"}");
    let deadline = Instant::now() + PATIENCE;
    while metric(&site, "snip_clicks_stored_total")? + metric(&site, "snip_clicks_lost_total")?
        < counted()?
    {
        ensure!(Instant::now() < deadline, "clicks are not written");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let millions = metric(&site, "snip_clicks_stored_total")? / 1e6;
    let lost = metric(&site, "snip_clicks_lost_total")?;
    site.end()?;
    let mut sizes = vec![
        ("clicks that were counted in the run".to_owned(), millions * 1e6),
        ("clicks that were lost in the run".to_owned(), lost),
    ];
    let grown = fs::metadata(site.file())?.len() - before;
    sizes.push(("SQLite, bytes of rollups a million clicks".to_owned(), grown as f64 / millions));
    for unit in ["minute", "hour", "day"] {
        let rows = rows(&site.file(), unit)?;
        sizes.push((format!("SQLite, rows of a {unit} a million clicks"), rows / millions));
    }
    Ok(sizes)
}

/// Rows of all tables of a unit.
fn rows(database: &Path, unit: &str) -> anyhow::Result<f64> {
    let sql = |sql: &str| output(Command::new("sqlite3").arg(database).arg(sql));
    let tables = sql(&format!(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'clicks_{unit}_*'"
    ))?;
    let mut rows = 0.0;
    for table in tables.lines() {
        rows += sql(&format!("SELECT COUNT(*) FROM {table}"))?.trim().parse::<f64>()?;
    }
    Ok(rows)
}

/// Asks for so many links, one after the other and uncounted, until it is enough.
fn walk(
    bench: &Bench,
    site: &Site,
    count: usize,
    is_enough: impl Fn(&Site) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let ask = Ask::of(&bench.links, Draw::Walk(count))?;
    let (mut sent, deadline) = (0, Instant::now() + 2 * PATIENCE);
    while sent < count || !is_enough(site)? {
        let outcome = ask.send(&bench.setting, site.address, 16, 1, (false, sent % count))?;
        sent += usize::try_from(outcome.requests)?;
        ensure!(Instant::now() < deadline, "{count} links take too long");
    }
    Ok(())
}

/// A number of `/metrics`.
fn metric(site: &Site, name: &str) -> anyhow::Result<f64> {
    let answer = RawClient::connect(site.address)?.get("go.example", "/metrics")?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
}
