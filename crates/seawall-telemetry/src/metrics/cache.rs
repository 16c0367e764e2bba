//! What is counted of the cache: by route in cells of the workers, of the node as its store tells
//! when the page is made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cells::{Cell, Histogram, HistogramSnapshot, Peak, PerWorker};
use crate::exposition::Exposition;

/// What became of a request to a route with a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// A fresh answer was there.
    Hit,
    /// A stale answer was there, and was served while it is fetched anew in the background.
    Stale,
    /// A stale answer was there, and was served because the origin failed.
    ErrorStale,
    /// A stored answer was served after the origin had said that it still holds.
    Revalidated,
    /// Nothing was there, and an answer was fetched.
    Miss,
    /// What was there was not good any more, and another answer was fetched.
    Expired,
    /// It went past the cache, by a rule of the route or of its own.
    Bypass,
    /// It was known that the answer would not be stored, so that nobody waited for it.
    Pass,
    /// An answer was fetched that may not be stored.
    Uncacheable,
    /// It was to be answered from the cache alone (`only-if-cached`), and could not be.
    Refused,
}

impl CacheOutcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [CacheOutcome; 10] = {
        use CacheOutcome::*;
        [Hit, Stale, ErrorStale, Revalidated, Miss, Expired, Bypass, Pass, Uncacheable, Refused]
    };

    /// Its name in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            CacheOutcome::Hit => "hit",
            CacheOutcome::Stale => "stale",
            CacheOutcome::ErrorStale => "error-stale",
            CacheOutcome::Revalidated => "revalidated",
            CacheOutcome::Miss => "miss",
            CacheOutcome::Expired => "expired",
            CacheOutcome::Bypass => "bypass",
            CacheOutcome::Pass => "pass",
            CacheOutcome::Uncacheable => "uncacheable",
            CacheOutcome::Refused => "refused",
        }
    }

    /// Whether the origin had no part in the answer while the client waited.
    pub fn is_hit(self) -> bool {
        matches!(self, CacheOutcome::Hit | CacheOutcome::Stale | CacheOutcome::ErrorStale)
    }
}

/// What a purge names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeKind {
    /// One URL.
    Url,
    /// A tag.
    Tag,
    /// All that a URL begins.
    Prefix,
    /// A host.
    Host,
    /// Everything.
    Everything,
}

impl PurgeKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [PurgeKind; 5] = {
        use PurgeKind::*;
        [Url, Tag, Prefix, Host, Everything]
    };

    /// Its name in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            PurgeKind::Url => "url",
            PurgeKind::Tag => "tag",
            PurgeKind::Prefix => "prefix",
            PurgeKind::Host => "host",
            PurgeKind::Everything => "everything",
        }
    }
}

/// How many reasons there can be for which an answer is not stored.
pub const MAX_UNSTORABLE: usize = 64;

/// What is counted for each route with a cache.
#[derive(Debug)]
pub struct Cache {
    /// Requests, by [`CacheOutcome`].
    pub requests: [Cell; CacheOutcome::ALL.len()],
    /// Bytes of content that were served from the cache.
    pub sent: Cell,
    /// Fetches that were begun.
    pub fills: Cell,
    /// Of these, those that came to no whole answer.
    pub fills_failed: Cell,
    /// Fetches that were begun to renew a stale answer that was served meanwhile.
    pub background: Cell,
    /// Fetches that were begun to renew an answer before its lifetime ended.
    pub early: Cell,
    /// Requests that waited for the fetch of another.
    pub waited: Cell,
    /// Of these, those that asked the origin themselves in the end: they had waited too long, or
    /// there were too many.
    pub went_alone: Cell,
    /// Answers that were stored.
    pub stored: Cell,
    /// Answers with `User-Agent` in `Vary`.
    pub vary_user_agent: Cell,
    /// Seconds behind its lifetime of the stalest answer that was served, of late.
    pub staleness: Peak,
    unstorable: [Cell; MAX_UNSTORABLE],
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            requests: Default::default(),
            sent: Cell::default(),
            fills: Cell::default(),
            fills_failed: Cell::default(),
            background: Cell::default(),
            early: Cell::default(),
            waited: Cell::default(),
            went_alone: Cell::default(),
            stored: Cell::default(),
            vary_user_agent: Cell::default(),
            staleness: Peak::default(),
            unstorable: std::array::from_fn(|_| Cell::default()),
        }
    }
}

impl Cache {
    /// Counts a request; see [`Cell::add`].
    #[inline]
    pub fn count(&self, outcome: CacheOutcome) {
        self.requests[outcome as usize].add(1);
    }

    /// Counts an answer that was not stored, by the number of the reason; see [`Cell::add`].
    #[inline]
    pub fn not_stored(&self, reason: usize) {
        if let Some(cell) = self.unstorable.get(reason) {
            cell.add(1);
        }
    }
}

/// What was counted for a route with a cache, all workers together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Requests, by [`CacheOutcome`].
    pub requests: [u64; CacheOutcome::ALL.len()],
    /// Bytes of content that were served from the cache.
    pub sent: u64,
    /// Fetches that were begun.
    pub fills: u64,
    /// Answers that were stored.
    pub stored: u64,
    /// Answers that were not stored, by reason; only reasons that occurred.
    pub unstorable: Vec<(&'static str, u64)>,
}

/// What the store of the node holds, as it tells when it is asked. What grows never goes back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// The memory tier.
    pub memory: TierUsage,
    /// The disk tier, if there is one.
    pub disk: Option<DiskUsage>,
    /// Fetches that go on now.
    pub filling: u64,
    /// Variants that were given up for others of the same URL.
    pub variants_capped: u64,
}

/// What a tier of the store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TierUsage {
    /// Bytes in use, with what is kept beside the answers.
    pub bytes: u64,
    /// The most there may be.
    pub limit: u64,
    /// Stored answers.
    pub objects: u64,
    /// Chunks of large answers.
    pub chunks: u64,
    /// Answers and chunks that were given up for others, since the start.
    pub evictions: u64,
}

/// What the disk tier holds, and how it fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// What it holds.
    pub tier: TierUsage,
    /// Whether it is in use; not while the disk fails.
    pub up: bool,
    /// Reads that failed, since the start.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Answers whose checksum was wrong.
    pub corrupt: u64,
    /// Writes that were left out because the disk did not keep up.
    pub dropped: u64,
}

/// What is counted of purges. Workers have cells of their own, and the control thread has the last.
#[derive(Debug)]
pub(super) struct Purges(PerWorker<PurgeCells>);

#[derive(Debug, Default)]
struct PurgeCells {
    /// By kind: soft, hard.
    counts: [[Cell; 2]; PurgeKind::ALL.len()],
    latency: Histogram,
}

impl Purges {
    pub(super) fn new(workers: usize) -> Purges {
        Purges(PerWorker::new(workers + 1))
    }

    pub(super) fn count(&self, worker: usize, kind: PurgeKind, hard: bool) {
        self.0.of(worker).counts[kind as usize][usize::from(hard)].add(1);
    }

    pub(super) fn took(&self, worker: usize, latency: Duration) {
        self.0.of(worker).latency.observe(latency);
    }

    fn expose(&self, page: &mut Exposition) {
        let name = "seawall_cache_purges_total";
        page.metric(name, "counter", "Purges, by what they name.");
        for kind in PurgeKind::ALL {
            for (at, mode) in ["soft", "hard"].into_iter().enumerate() {
                let count = self.0.sum(|cells| &cells.counts[kind as usize][at]);
                if count > 0 {
                    page.sample(name, &[("kind", kind.word()), ("mode", mode)], count);
                }
            }
        }
        let name = "seawall_cache_purge_duration_seconds";
        let help = "From the order to purge, at whichever node, until it holds here.";
        page.metric(name, "histogram", help);
        let mut snapshot = HistogramSnapshot::default();
        self.0.iter().for_each(|cells| cells.latency.add_to(&mut snapshot));
        if snapshot.buckets.iter().any(|bucket| *bucket > 0) {
            page.histogram(name, &[], &snapshot);
        }
    }
}

/// Asks the store of the node what it holds; `None` when there is no store.
#[derive(Default)]
pub(super) struct Usage(Mutex<Option<TellUsage>>);

type TellUsage = Box<dyn Fn() -> Option<CacheUsage> + Send + Sync>;

impl std::fmt::Debug for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Usage(..)")
    }
}

impl Usage {
    pub(super) fn tell(&self, tell: TellUsage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    pub(super) fn now(&self) -> Option<CacheUsage> {
        let tell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tell.as_ref().and_then(|tell| tell())
    }
}

/// A route, and what is counted of its cache.
pub(super) type Row = (Arc<str>, Arc<PerWorker<Cache>>);

/// What was counted for each route.
pub(super) fn counts(all: &[Row], reasons: &[&'static str]) -> Vec<(Arc<str>, CacheCounts)> {
    let one = |(route, cells): &Row| {
        let sum = |pick: fn(&Cache) -> &Cell| cells.sum(pick);
        let unstorable = reasons.iter().enumerate();
        let unstorable = unstorable.map(|(at, word)| (*word, cells.sum(|c| &c.unstorable[at])));
        let counts = CacheCounts {
            requests: std::array::from_fn(|at| cells.sum(|c| &c.requests[at])),
            sent: sum(|c| &c.sent),
            fills: sum(|c| &c.fills),
            stored: sum(|c| &c.stored),
            unstorable: unstorable.filter(|(_, count)| *count > 0).collect(),
        };
        (route.clone(), counts)
    };
    all.iter().map(one).collect()
}

/// Writes all of it. `now` is in milliseconds since 1970.
pub(super) fn expose(
    all: &[Row],
    reasons: &[&'static str],
    purges: &Purges,
    usage: Option<&CacheUsage>,
    now: u64,
    page: &mut Exposition,
) {
    let name = "seawall_cache_requests_total";
    page.metric(name, "counter", "Requests to routes with a cache, by what became of them.");
    for (route, cells) in all {
        for outcome in CacheOutcome::ALL {
            let count = cells.sum(|c| &c.requests[outcome as usize]);
            if count > 0 {
                page.sample(name, &[("route", route), ("outcome", outcome.word())], count);
            }
        }
    }
    type Pick = fn(&Cache) -> &Cell;
    let counters: [(&str, &str, Pick); 9] = [
        (
            "seawall_cache_sent_bytes_total",
            "Bytes of content that were served from the cache.",
            |c| &c.sent,
        ),
        ("seawall_cache_fills_total", "Fetches that were begun.", |c| &c.fills),
        ("seawall_cache_fills_failed_total", "Fetches that came to no whole answer.", |c| {
            &c.fills_failed
        }),
        (
            "seawall_cache_background_total",
            "Fetches that were begun to renew a stale answer that was served meanwhile.",
            |c| &c.background,
        ),
        (
            "seawall_cache_early_total",
            "Fetches that were begun to renew an answer before its lifetime ended.",
            |c| &c.early,
        ),
        ("seawall_cache_waited_total", "Requests that waited for the fetch of another.", |c| {
            &c.waited
        }),
        (
            "seawall_cache_went_alone_total",
            "Requests that asked the origin themselves instead of waiting any longer.",
            |c| &c.went_alone,
        ),
        ("seawall_cache_stored_total", "Answers that were stored.", |c| &c.stored),
        ("seawall_cache_vary_user_agent_total", "Answers with `User-Agent` in `Vary`.", |c| {
            &c.vary_user_agent
        }),
    ];
    for (name, help, pick) in counters {
        page.metric(name, "counter", help);
        for (route, cells) in all {
            page.sample(name, &[("route", route)], cells.sum(pick));
        }
    }
    let name = "seawall_cache_unstorable_total";
    page.metric(name, "counter", "Answers that were not stored, by reason.");
    for (route, counts) in counts(all, reasons) {
        for (reason, count) in counts.unstorable {
            page.sample(name, &[("route", &route), ("reason", reason)], count);
        }
    }
    let name = "seawall_cache_staleness_seconds";
    let help = "How far behind its lifetime the stalest answer was that was served of late.";
    page.metric(name, "gauge", help);
    for (route, cells) in all {
        let greatest = cells.iter().map(|c| c.staleness.value(now)).max();
        page.sample(name, &[("route", route)], greatest.unwrap_or(0));
    }
    purges.expose(page);
    if let Some(usage) = usage {
        expose_usage(usage, page);
    }
}

fn expose_usage(usage: &CacheUsage, page: &mut Exposition) {
    let tiers =
        [Some(("memory", &usage.memory)), usage.disk.as_ref().map(|disk| ("disk", &disk.tier))];
    type Pick = fn(&TierUsage) -> u64;
    let by_tier: [(&str, &str, &str, Pick); 5] = [
        ("seawall_cache_bytes", "gauge", "Bytes in use.", |tier| tier.bytes),
        ("seawall_cache_limit_bytes", "gauge", "The most there may be in use.", |tier| tier.limit),
        ("seawall_cache_objects", "gauge", "Stored answers.", |tier| tier.objects),
        ("seawall_cache_chunks", "gauge", "Chunks of large answers.", |tier| tier.chunks),
        (
            "seawall_cache_evictions_total",
            "counter",
            "Answers and chunks that were given up for others.",
            |tier| tier.evictions,
        ),
    ];
    for (name, kind, help, pick) in by_tier {
        page.metric(name, kind, help);
        for (tier, usage) in tiers.into_iter().flatten() {
            page.sample(name, &[("tier", tier)], pick(usage));
        }
    }
    let mut one = |name: &str, kind: &str, help: &str, value: u64| {
        page.metric(name, kind, help);
        page.sample(name, &[], value);
    };
    one("seawall_cache_filling", "gauge", "Fetches that go on now.", usage.filling);
    one(
        "seawall_cache_variants_capped_total",
        "counter",
        "Variants that were given up for others of the same URL.",
        usage.variants_capped,
    );
    let Some(disk) = &usage.disk else { return };
    one(
        "seawall_cache_disk_up",
        "gauge",
        "1 while the disk tier is in use, 0 while the disk fails.",
        u64::from(disk.up),
    );
    one(
        "seawall_cache_disk_dropped_total",
        "counter",
        "Writes that were left out because the disk did not keep up.",
        disk.dropped,
    );
    let name = "seawall_cache_disk_errors_total";
    page.metric(name, "counter", "What failed at the disk.");
    for (what, count) in
        [("read", disk.read_errors), ("write", disk.write_errors), ("checksum", disk.corrupt)]
    {
        page.sample(name, &[("what", what)], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn words_are_counted_by_their_number() {
        for (number, outcome) in CacheOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
        }
        for (number, kind) in PurgeKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn what_was_counted_is_exposed() {
        let metrics = Metrics::new(2, vec![]).with_unstorable(vec!["no-store", "set-cookie"]);
        let api = metrics.cache(&"api".into());
        api.of(0).count(CacheOutcome::Hit);
        api.of(1).count(CacheOutcome::Hit);
        api.of(1).count(CacheOutcome::ErrorStale);
        api.of(0).sent.add(10);
        api.of(0).not_stored(1);
        api.of(1).not_stored(1);
        api.of(1).not_stored(MAX_UNSTORABLE);
        metrics.purge(0, PurgeKind::Tag, false);
        metrics.purge(2, PurgeKind::Tag, false);
        metrics.purge(2, PurgeKind::Everything, true);
        metrics.purge_took(2, Duration::from_millis(3));
        let page = metrics.expose();
        for line in [
            "seawall_cache_requests_total{route=\"api\",outcome=\"hit\"} 2",
            "seawall_cache_requests_total{route=\"api\",outcome=\"error-stale\"} 1",
            "seawall_cache_sent_bytes_total{route=\"api\"} 10",
            "seawall_cache_unstorable_total{route=\"api\",reason=\"set-cookie\"} 2",
            "seawall_cache_purges_total{kind=\"tag\",mode=\"soft\"} 2",
            "seawall_cache_purges_total{kind=\"everything\",mode=\"hard\"} 1",
            "seawall_cache_purge_duration_seconds_count 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
        assert!(!page.contains("no-store"), "{page}");
        assert!(!page.contains("tier="), "there is no store: {page}");
        let counts = metrics.cache_counts();
        assert_eq!(counts.len(), 1);
        let (route, counts) = &counts[0];
        assert_eq!(&**route, "api");
        assert_eq!(counts.requests.iter().sum::<u64>(), 3);
        assert_eq!(counts.unstorable, [("set-cookie", 2)]);
    }

    #[test]
    fn the_store_is_asked_when_the_page_is_made() {
        let metrics = Metrics::new(1, vec![]);
        metrics.count_cache(|| None);
        assert!(!metrics.expose().contains("tier="));
        metrics.count_cache(|| {
            let tier = TierUsage { bytes: 5, limit: 9, objects: 3, chunks: 2, evictions: 1 };
            let disk = DiskUsage { tier: tier.clone(), corrupt: 7, ..DiskUsage::default() };
            Some(CacheUsage { memory: tier, disk: Some(disk), ..CacheUsage::default() })
        });
        let page = metrics.expose();
        for line in [
            "seawall_cache_bytes{tier=\"memory\"} 5",
            "seawall_cache_evictions_total{tier=\"disk\"} 1",
            "seawall_cache_disk_up 0",
            "seawall_cache_disk_errors_total{what=\"checksum\"} 7",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }
}
