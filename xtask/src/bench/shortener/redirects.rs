//! Redirects under load, in alternating rounds.

use std::time::Instant;

use anyhow::{Context, ensure};
use seawall_testkit::{PATIENCE, RawClient};

use super::ask::{Ask, Draw};
use super::create;
use super::links::LINKS;
use super::sites::{self, Backend, Room, Site, Who};
use super::{Bench, Case};
use crate::bench::cpu;
use crate::bench::rounds::{self, Round};

/// Links of the cases in which all are in memory.
pub(super) const KEPT: usize = 100_000;

/// Links that have expired.
const GONE: usize = 1_000;

/// One shortener in one case: its rounds.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) case: String,
    pub(super) who: Who,
    pub(super) backend: String,
    pub(super) rounds: Vec<Round>,
    /// Bytes of all its processes in the end; what they share counts once.
    pub(super) resident: u64,
}

/// How a case is set up.
struct Plan {
    backend: Backend,
    draw: Draw,
    room: Room,
    connections: u32,
    who: &'static [Who],
}

fn plan(case: Case) -> Plan {
    let zipf = Plan {
        backend: Backend::Sqlite,
        draw: Draw::Zipf(LINKS),
        room: Room::default(),
        connections: 64,
        who: &Who::ALL,
    };
    match case {
        Case::Zipf => zipf,
        Case::ZipfPostgres => Plan { backend: Backend::Postgres, ..zipf },
        Case::Store => Plan { draw: Draw::Uniform, room: Room(0), ..zipf },
        Case::StorePostgres => {
            Plan { draw: Draw::Uniform, room: Room(0), backend: Backend::Postgres, ..zipf }
        }
        Case::Missing => Plan { draw: Draw::Missing, who: &[Who::Snip], ..zipf },
        Case::Gone => Plan { draw: Draw::Walk(GONE), who: &[Who::Snip], ..zipf },
        Case::Head => {
            Plan { draw: Draw::Zipf(KEPT), room: Room(2 * KEPT), who: &[Who::Snip], ..zipf }
        }
        // Room for twice as many: the caches in question let go of some before they are full.
        Case::Single => Plan {
            draw: Draw::Zipf(KEPT),
            room: Room(2 * KEPT),
            connections: 1,
            who: &[Who::Snip, Who::Node],
            ..zipf
        },
        _ => Plan { draw: Draw::Zipf(KEPT), room: Room(2 * KEPT), ..zipf },
    }
}

/// Measures all who take part in a case.
pub(super) fn case(bench: &Bench, case: Case) -> anyhow::Result<Vec<Row>> {
    let plan = plan(case);
    let mut server = match plan.backend {
        Backend::Sqlite => None,
        Backend::Postgres => Some(bench.links.postgres(&bench.setting, &bench.snip)?),
    };
    let ask = match case {
        Case::Gone => None,
        Case::Head => Some(Ask::of(&bench.links, plan.draw)?.head()),
        _ => Some(Ask::of(&bench.links, plan.draw)?),
    };
    let mut sites = Vec::new();
    for who in bench.taking_part(plan.who) {
        let site = Site::start(bench, who, server.as_ref(), plan.room)?;
        check(bench, &site).with_context(|| format!("{} does not redirect", who.name()))?;
        sites.push((who, site));
    }
    let ask = match (ask, sites.first()) {
        (Some(ask), _) => ask,
        (None, Some((_, site))) => expired(bench, site)?,
        (None, None) => return Ok(Vec::new()),
    };
    if plan.room == Room(2 * KEPT) {
        for (who, site) in &sites {
            warm(bench, *who, site)?;
        }
    }
    let behind: Vec<u32> = server.iter_mut().map(|server| server.process().id()).collect();
    rows(bench, case, &plan, &ask, &sites, &behind)
}

fn rows(
    bench: &Bench,
    case: Case,
    plan: &Plan,
    ask: &Ask,
    sites: &[(Who, Site)],
    behind: &[u32],
) -> anyhow::Result<Vec<Row>> {
    let row = |(who, _): &(Who, Site)| Row {
        case: case.name(),
        who: *who,
        backend: plan.backend.name().to_owned(),
        rounds: Vec::new(),
        resident: 0,
    };
    let mut rows: Vec<Row> = sites.iter().map(row).collect();
    for round in 0..bench.setting.rounds as usize {
        for step in 0..rows.len() {
            // Whoever was first is last in the next round.
            let at = (round + step) % rows.len();
            let (who, site) = &sites[at];
            // Each round goes on elsewhere, the same for all.
            let from = (*who != Who::Uncounted, round * 333_331);
            let load =
                |seconds| ask.send(&bench.setting, site.address, plan.connections, seconds, from);
            let found = rounds::measured(&bench.setting, &site.ids(), behind, load)?;
            let Round { sample, p50, behind } = found;
            eprintln!(
                "  round {} {:<24} {:6.2} µs/request ({:.2} user, {:.2} behind) {:8.0}/s p50 {:.2} p99 {:.2} ms{}",
                round + 1,
                who.name(),
                sample.cpu,
                sample.user,
                behind,
                sample.rate,
                p50,
                sample.p99,
                sample.errors.describe().map_or_else(String::new, |it| format!("  ERRORS: {it}")),
            );
            rows[at].rounds.push(found);
        }
    }
    for (row, (_, site)) in rows.iter_mut().zip(sites) {
        for id in site.ids() {
            row.resident += cpu::proportional_of_tree(id)?;
        }
    }
    Ok(rows)
}

/// Whether a link leads where it should, and a code that is none nowhere.
fn check(bench: &Bench, site: &Site) -> anyhow::Result<()> {
    let mut client = RawClient::connect(site.address)?;
    let code = String::from_utf8_lossy(bench.links.code(0)).into_owned();
    let answer = client.get("go.example", &format!("/{code}"))?;
    let target = answer.headers.first("location").unwrap_or_default().to_owned();
    ensure!(
        answer.status == 302 && target.starts_with(create::TARGET),
        "/{code} is answered with status {} and {target:?}",
        answer.status
    );
    let status = RawClient::connect(site.address)?.get("go.example", "/0000000")?.status;
    ensure!(status == 404, "a code that is none is answered with status {status}");
    Ok(())
}

/// Asks for all links that are to be in memory.
fn warm(bench: &Bench, who: Who, site: &Site) -> anyhow::Result<()> {
    // PHP keeps nothing.
    if who == Who::Php {
        return Ok(());
    }
    let walk = Ask::of(&bench.links, Draw::Walk(KEPT))?;
    let (mut sent, deadline) = (0, Instant::now() + PATIENCE);
    while sent < KEPT {
        let outcome = walk.send(&bench.setting, site.address, 64, 2, (false, sent))?;
        sent += usize::try_from(outcome.requests)?;
        ensure!(Instant::now() < deadline, "{} links take too long", KEPT);
    }
    Ok(())
}

/// Links that have expired.
fn expired(bench: &Bench, site: &Site) -> anyhow::Result<Ask> {
    let url = format!("sqlite:{}", site.file().display());
    let key = sites::key(&bench.snip, &url)?;
    let codes = create::expired(site.address, &key, GONE)?;
    Ask::with(&codes, true)
}
