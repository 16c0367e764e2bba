//! Making links: a thousand a request, and one a request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, ensure};
use seawall_testkit::{RawClient, Response};
use serde_json::{Value, json};

use super::links::{LINKS, SNIP};
use super::sites::{self, Backend, Room, Site};
use super::{Bench, Case};
use crate::bench::Setting;
use crate::bench::balance::stay_on;
use crate::bench::rounds::{self, Round};
use crate::bench::wrk::{self, Outcome, SUMMARY};

/// What all targets begin with; a number of eight digits follows.
pub(super) const TARGET: &str = "https://www.example.com/articles/2026/11/";

/// Links of a bulk request.
const BATCH: usize = 1_000;

/// Who make links at the same time, in bulk and one by one.
const BULK_CLIENTS: usize = 2;
const CLIENTS: u32 = 64;

/// Requests in bulk of one second of a round: above the target, so that it lasts about as long.
const BATCHES_A_SECOND: usize = 15;

/// One way to make links: its rounds, in which a request is a link.
#[derive(Debug, Clone)]
pub(super) struct Creation {
    pub(super) case: String,
    pub(super) backend: String,
    pub(super) rounds: Vec<Round>,
}

/// Links in bulk.
pub(super) fn bulk(bench: &Bench, case: Case) -> anyhow::Result<Vec<Creation>> {
    each(bench, case, |site, key, seconds, made| {
        let count = BATCHES_A_SECOND * BATCH * seconds as usize;
        let first = made.fetch_add(count, Ordering::Relaxed);
        fill(&bench.setting, site.address, key, first, count)
    })
}

/// Links one by one.
pub(super) fn single(bench: &Bench, case: Case) -> anyhow::Result<Vec<Creation>> {
    each(bench, case, |site, key, seconds, _| {
        let script = format!("local key, target = '{key}', '{TARGET}'\n{SCRIPT}{SUMMARY}");
        let url = format!("http://{}/", site.address);
        wrk::scripted(&bench.setting.load_cores, &url, &script, CLIENTS, seconds)
    })
}

/// On SQLite and on PostgreSQL, which have a million links already.
fn each(
    bench: &Bench,
    case: Case,
    load: impl Fn(&Site, &str, u32, &AtomicUsize) -> anyhow::Result<Outcome>,
) -> anyhow::Result<Vec<Creation>> {
    let mut creations = Vec::new();
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let mut server = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(bench.links.postgres(&bench.setting, &bench.snip)?),
        };
        let home = tempfile::tempdir()?;
        let url = match &server {
            Some(server) => server.url_of(SNIP),
            None => format!("sqlite:{}", bench.links.copy_to(home.path(), true)?.display()),
        };
        let key = sites::key(&bench.snip, &url)?;
        let site = sites::snip_on(&bench.setting, &bench.snip, &url, Room::default(), "")?;
        let behind: Vec<u32> = server.iter_mut().map(|server| server.process().id()).collect();
        let made = AtomicUsize::new(LINKS);
        let mut rounds = Vec::new();
        for round in 0..bench.setting.rounds {
            let load = |seconds| load(&site, &key, seconds, &made);
            let found = rounds::measured(&bench.setting, &site.ids(), &behind, load)?;
            let Round { sample, p50, behind } = found;
            eprintln!(
                "  round {} {:<10} {:6.2} µs/link ({behind:.2} behind) {:8.0}/s p50 {p50:.2} p99 {:.2} ms{}",
                round + 1,
                backend.name(),
                sample.cpu,
                sample.rate,
                sample.p99,
                sample.errors.describe().map_or_else(String::new, |it| format!("  ERRORS: {it}")),
            );
            rounds.push(found);
        }
        creations.push(Creation { case: case.name(), backend: backend.name().into(), rounds });
        drop(site);
        drop(server);
    }
    Ok(creations)
}

/// Makes so many links in bulk from the core of the load. The latency is that of requests.
pub(super) fn fill(
    setting: &Setting,
    address: SocketAddr,
    key: &str,
    first: usize,
    count: usize,
) -> anyhow::Result<Outcome> {
    let core = setting.load_cores.parse().context("the load has one core")?;
    let next = AtomicUsize::new(0);
    let client = || -> anyhow::Result<Vec<u64>> {
        stay_on(core)?;
        let mut client = RawClient::connect(address)?;
        let mut took = Vec::new();
        loop {
            let at = next.fetch_add(BATCH, Ordering::Relaxed);
            if at >= count {
                return Ok(took);
            }
            let numbers = first + at..first + count.min(at + BATCH);
            let links = numbers.map(|number| json!({ "target": format!("{TARGET}{number:08}") }));
            let body = json!({ "links": links.collect::<Vec<_>>() }).to_string();
            let begun = Instant::now();
            let answer = post(&mut client, key, "/api/v1/links/bulk", &body)?;
            took.push(u64::try_from(begun.elapsed().as_micros())?);
            ensure!(answer.status == 200, "links were not made: status {}", answer.status);
            let answer: Value = serde_json::from_slice(&answer.body)?;
            ensure!(answer["failed"] == 0, "{} links were not made", answer["failed"]);
        }
    };
    let begun = Instant::now();
    let mut took = std::thread::scope(|scope| -> anyhow::Result<Vec<u64>> {
        let threads: Vec<_> = (0..BULK_CLIENTS).map(|_| scope.spawn(client)).collect();
        let mut took = Vec::new();
        for thread in threads {
            took.extend(thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(took)
    })?;
    let micros = u64::try_from(begun.elapsed().as_micros())?;
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let (p50, p99) = (at(0.5), at(0.99));
    Ok(Outcome { requests: count as u64, micros, p50, p99, errors: wrk::Errors::default() })
}

/// The codes of so many links that expired long ago, one behind the other.
pub(super) fn expired(address: SocketAddr, key: &str, count: usize) -> anyhow::Result<Vec<u8>> {
    let link = json!({ "target": TARGET, "expires": "2020-01-01T00:00:00Z" });
    let body = json!({ "links": vec![link; count] }).to_string();
    let answer = post(&mut RawClient::connect(address)?, key, "/api/v1/links/bulk", &body)?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let results = answer["results"].as_array().context("no results")?;
    let code = |result: &Value| result["link"]["code"].as_str().map(str::to_owned);
    let codes: Option<Vec<String>> = results.iter().map(code).collect();
    Ok(codes.with_context(|| format!("not all were made: {answer}"))?.concat().into_bytes())
}

fn post(client: &mut RawClient, key: &str, path: &str, body: &str) -> anyhow::Result<Response> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: go.example\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    Ok(client.exchange(request)?)
}

/// Each link another: the clock and a number tell them apart.
const SCRIPT: &str = "\
local head = 'POST /api/v1/links HTTP/1.1\\r\\nHost: go.example\\r\\nAuthorization: Bearer ' .. key
  .. '\\r\\nContent-Type: application/json\\r\\nContent-Length: '
math.randomseed(os.time())
local number = math.random(10000000, 80000000)
request = function()
  number = number + 1
  local body = '{\"target\":\"' .. target .. number .. '\"}'
  return head .. #body .. '\\r\\n\\r\\n' .. body
end
";
