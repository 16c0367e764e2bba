//! That a question about a day reads a day.

use seawall_testkit::{PATIENCE, Postgres};
use snip::clicks::agent::Device;
use snip::clicks::unit::Unit;
use snip::store::{DatabaseConfig, Store};

use super::contract::{KEEP, ask, at, before_new_year, click, count, open, part};
use crate::store::block_on;

/// Clicks on three days, in two months and years.
async fn clicks(config: &DatabaseConfig) -> Store {
    let store = open(config, before_new_year).await;
    for moment in ["2026-12-30T12:00:00Z", "2026-12-31T12:00:00Z", "2027-01-01T12:00:00Z"] {
        count(&store, vec![part(moment, [click("a", at(moment), Device::Mobile, 1)])]).await;
    }
    assert_eq!(store.keep_up(KEEP).await.expect("it is tidied up").dropped, 0);
    store
}

#[test]
fn a_file_is_asked_for_the_tables_of_the_day_only() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("snip.db");
    let config = DatabaseConfig::new(format!("sqlite:{}", file.display()));
    block_on(async {
        let store = clicks(&config).await;
        // Whoever reads these tables fails.
        let connection = rusqlite::Connection::open(&file).expect("it opens");
        for name in [
            "clicks_minute_20261230",
            "clicks_minute_20270101",
            "clicks_hour_202612",
            "clicks_day_2027",
        ] {
            connection
                .execute_batch(&format!(
                    "DROP TABLE {name}; CREATE VIEW {name} AS SELECT no_such_function() AS at,
                         1 AS code, 1 AS clicks, 1 AS bots, 1 AS detail"
                ))
                .expect("it is replaced");
        }
        let (from, to) = ("2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z");
        let day = ask(&store, "a", Unit::Minute, from, to).await;
        assert_eq!((day.series.len(), day.detail.clicks()), (1, 1));
        let query = snip::clicks::stats::StatsQuery {
            code: None,
            unit: Unit::Minute,
            from: at("2026-12-30T00:00:00Z"),
            to: at(from),
        };
        store.stats(&query).await.expect_err("its table cannot be read");
    });
}

#[test]
fn a_server_plans_to_read_the_partitions_of_the_day_only() {
    let server = Postgres::with(&[
        "fsync=off",
        // With three rows it would be the faster.
        "enable_seqscan=off",
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_analyze=on",
        "auto_explain.log_timing=off",
    ])
    .expect("a server");
    block_on(async {
        let store = clicks(&DatabaseConfig::new(server.url())).await;
        let (from, to) = ("2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z");
        // So often that the server may take a plan for any day.
        for _ in 0..10 {
            let day = ask(&store, "a", Unit::Minute, from, to).await;
            assert_eq!((day.series.len(), day.detail.clicks()), (1, 1));
        }
    });
    // All plans are in the log once this one is.
    server.sql("postgres", "SELECT 'the last plan'").expect("it answers");
    let mut server = server;
    let deadline = std::time::Instant::now() + PATIENCE;
    while !server.process().text().contains("the last plan") {
        assert!(std::time::Instant::now() < deadline, "it does not explain");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let log = server.process().text();
    let plans: Vec<&str> = log
        .split("plan:")
        .filter(|plan| plan.contains("at = ANY($1) AND at >= $2"))
        .map(|plan| plan.split("LOG:").next().unwrap_or_default())
        .collect();
    assert_eq!(plans.len(), 20, "{log}");
    for plan in plans {
        let scans: Vec<&str> = plan
            .lines()
            .filter(|line| line.contains(" on clicks_") && !line.contains("never executed"))
            .collect();
        let table =
            if plan.contains("FROM clicks_minute") { "minute_20261231" } else { "day_2026" };
        assert_eq!(scans.len(), 1, "{plan}");
        assert!(scans[0].contains("Index") && scans[0].contains(table), "{plan}");
    }
}
