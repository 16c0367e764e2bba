//! Purging a million objects by their tag, while hits of something else are measured one by one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use seawall_testkit::{RawClient, Response};

use super::origin::{Origin, TAG, TAGGED_PREFIX};
use crate::bench::balance::stay_on;
use crate::bench::options::Setting;
use crate::bench::peers::Server;
use crate::bench::wrk::Ask;

/// How long hits are measured before a purge, around it, and after that.
const BEFORE: Duration = Duration::from_secs(1);
const DURING: Duration = Duration::from_millis(250);
const AFTER: Duration = Duration::from_secs(1);

/// One purge. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Purge {
    /// From the request to its answer.
    pub(super) took: f64,
    /// The 99th percentile of hits before, around and after it.
    pub(super) hits: [f64; 3],
}

/// Purges once a round.
pub(super) fn all(
    setting: &Setting,
    server: &Server,
    origin: &Origin,
) -> anyhow::Result<Vec<Purge>> {
    super::warm(server, origin, Ask::Small)?;
    let core = setting.load_cores.parse().context("the load has one core")?;
    let mut purges = Vec::new();
    for round in 0..setting.rounds {
        let purge = one(core, server.address, server.admin()?)?;
        eprintln!("  round {} purged in {:.2} ms", round + 1, purge.took);
        purges.push(purge);
    }
    // Or else it was quick because it did nothing, or too much.
    let asked = origin.asked()?;
    server.check(&[Ask::Small])?;
    ensure!(origin.asked()? == asked, "more was purged than the tag");
    RawClient::connect(server.address)?.get("bench", &format!("{TAGGED_PREFIX}1"))?;
    ensure!(origin.asked()? == asked + 1, "what has the tag is still there");
    Ok(purges)
}

fn one(core: usize, server: SocketAddr, admin: SocketAddr) -> anyhow::Result<Purge> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hits = scope.spawn(|| -> anyhow::Result<Vec<(Instant, Duration)>> {
            stay_on(core)?;
            let mut client = RawClient::connect(server)?;
            let mut hits = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                let answer = client.exchange(Ask::Small.request())?;
                ensure!(answer.status == 200, "a hit with status {}", answer.status);
                hits.push((start, start.elapsed()));
            }
            Ok(hits)
        });
        let purge = scope.spawn(|| -> anyhow::Result<(Instant, Duration)> {
            stay_on(core)?;
            let mut client = RawClient::connect(admin)?;
            std::thread::sleep(BEFORE);
            let request = request(admin, TAG);
            let start = Instant::now();
            let answer = client.exchange(request)?;
            let took = start.elapsed();
            accepted(&answer)?;
            std::thread::sleep(DURING + AFTER);
            Ok((start, took))
        });
        let purge = purge.join();
        done.store(true, Ordering::Relaxed);
        let hits = hits.join().map_err(|_| lost())??;
        let (at, took) = purge.map_err(|_| lost())??;
        let between = |from: Instant, to: Instant| {
            let within = hits.iter().filter(|(start, _)| (from..to).contains(start));
            p99(within.map(|(_, took)| *took).collect())
        };
        let (early, late) = (at - BEFORE, at + DURING);
        Ok(Purge {
            took: took.as_secs_f64() * 1e3,
            // One that began just before may have had to wait for it.
            hits: [between(early, at), between(at, late), between(late, late + AFTER)],
        })
    })
}

/// Whether a purge was done.
pub(super) fn accepted(answer: &Response) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 200, "the purge is answered with {}: {text}", answer.status);
    Ok(())
}

/// The request to the admin API that purges all that have a tag.
pub(super) fn request(admin: SocketAddr, tag: &str) -> String {
    let body = format!("{{\"tags\":[\"{tag}\"],\"hard\":true}}");
    format!(
        "POST /api/cache/purge HTTP/1.1\r\nhost: {admin}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn lost() -> anyhow::Error {
    anyhow::anyhow!("a thread of the load panicked")
}

/// In milliseconds.
fn p99(times: Vec<Duration>) -> f64 {
    percentile(times, 99)
}

/// In milliseconds; the nearest rank.
pub(super) fn percentile(mut times: Vec<Duration>, percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_is_not_the_largest_of_many() {
        let times = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(p99(times), 198.0);
        assert_eq!(p99(vec![Duration::from_millis(3)]), 3.0);
        assert!(p99(Vec::new()).is_nan());
    }
}
