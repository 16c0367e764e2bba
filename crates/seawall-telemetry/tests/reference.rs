//! The page of metrics names each metric there is, with its type and labels, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seawall_telemetry::access_log::Destination;
use seawall_telemetry::metrics::{
    CacheOutcome, CacheUsage, CheckOutcome, DiskUsage, PurgeKind, SharedState,
};
use seawall_telemetry::{AccessLog, Metrics};

/// Type and labels by name.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

#[test]
fn the_page_names_every_metric_and_no_other() {
    let exposed = exposed(&everything().expose());
    assert!(exposed.len() > 20, "metrics are missing: {exposed:?}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let page = fs::read_to_string(&page).expect("the page of metrics");
    let described = described(&page);
    for (name, exposed) in &exposed {
        assert_eq!(described.get(name), Some(exposed), "{name} in docs/reference/metrics.md");
    }
    for name in described.keys() {
        assert!(exposed.contains_key(name), "{name} is described, and there is no such metric");
    }
}

/// Metrics of a process that has one of everything.
fn everything() -> Metrics {
    let metrics = Metrics::new(1, vec!["no-route"]).with_unstorable(vec!["no-store"]);
    let cache = metrics.cache(&"app".into());
    cache.of(0).count(CacheOutcome::Hit);
    cache.of(0).not_stored(0);
    metrics.purge(1, PurgeKind::Tag, false);
    metrics.purge_took(1, Duration::from_millis(1));
    metrics.count_cache(|| {
        Some(CacheUsage { disk: Some(DiskUsage::default()), ..CacheUsage::default() })
    });
    metrics.route(&"app".into()).of(0).answers[2].add(1);
    metrics.listener(&"web".into()).of(0).tcp_ended[0].add(1);
    metrics.listener(&"web".into()).of(0).header_failures[0].add(1);
    metrics.server(&"app".into(), "127.0.0.1:1");
    metrics.upstream(&"app".into()).breaker.store(1, Relaxed);
    metrics.count_servers(|| vec![("app".into(), vec![("ready", 1)])]);
    metrics.file_looked_at(&"app".into(), true);
    let checks = metrics.checks(&"app".into(), "127.0.0.1:1");
    checks.of(0).count(CheckOutcome::Good);
    checks.of(0).checked(true);
    metrics.report(&"app".into());
    metrics.ask_state(|| Some(SharedState::default()));
    metrics.log_to(AccessLog::start(&Destination::Stdout).ok());
    metrics
}

fn exposed(page: &str) -> Described {
    let mut all = Described::new();
    for line in page.lines() {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            let (name, kind) = announced.split_once(' ').expect("a name and a type");
            all.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((sample, rest)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| sample.strip_suffix(suffix))
                .find(|name| all.contains_key(*name))
                .unwrap_or(sample);
            let labels = rest.split_once('}').expect("labels end").0.split(',');
            let labels = labels.filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            // `le` is how a histogram is written down.
            let labels = labels.filter(|name| *name != "le").map(str::to_owned);
            all.get_mut(name).expect("announced before").1.extend(labels);
        }
    }
    all
}

/// The rows ``| `name` | type | `label`, … | meaning |`` of a page.
fn described(page: &str) -> Described {
    let row = |line: &str| {
        let mut columns = line.strip_prefix("| `seawall_")?.split('|').map(str::trim);
        let name = format!("seawall_{}", columns.next()?.strip_suffix('`')?);
        let kind = columns.next()?.to_owned();
        let labels = columns.next()?.split(',').map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
        assert!(columns.next().is_some_and(|meaning| !meaning.is_empty()), "{name} means nothing");
        Some((name, (kind, labels)))
    };
    page.lines().filter_map(row).collect()
}
