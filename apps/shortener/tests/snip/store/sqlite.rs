//! Worst days of a store in a file: locked, full, damaged. What a kill does is in `crash.rs`.

use std::fs;
use std::path::Path;

use snip::link::LinkPatch;
use snip::store::{DatabaseConfig, Read, Store, StoreError};

use super::block_on;
use super::contract::{alias, make_one, new};

fn config(path: &Path) -> DatabaseConfig {
    DatabaseConfig::new(format!("sqlite:{}", path.display()))
}

#[test]
fn a_locked_file_is_read_and_says_that_it_is_locked() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("snip.db");
    block_on(async {
        let store = Store::open(&config(&path)).await.expect("it opens");
        let link = make_one(&store, alias("a")).await;
        let other = rusqlite::Connection::open(&path).expect("it opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");

        let mut tasks = Vec::new();
        for _ in 0..20 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move { store.create(vec![new("https://x.y/")]).await }));
        }
        // Those who come together fail together, and redirects go on.
        for task in tasks {
            let answer = task.await.expect("it does not panic");
            assert!(matches!(answer, Err(StoreError::Locked(_))), "{answer:?}");
            assert_eq!(store.link(&link.code, Read::Any).await, Ok(Some(link.clone())));
        }
        let health = store.health().await;
        assert!(matches!(health.primary.error, Some(StoreError::Locked(_))), "{health:?}");

        other.execute_batch("COMMIT").expect("it ends");
        make_one(&store, new("https://x.y/")).await;
        assert_eq!(store.health().await.primary.error, None);
        let size = store.size().await.expect("it answers");
        assert_eq!(size.links, 2, "what failed was not made");
    });
}

#[test]
fn what_cannot_be_a_database_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("snip.db");
    block_on(async {
        let opened = async |config: DatabaseConfig| {
            Store::open(&config).await.map(drop).expect_err("it does not open")
        };
        fs::write(&path, "This is a text, and a long one. ".repeat(1_000)).expect("a file");
        let text = opened(config(&path)).await;
        assert!(matches!(text, StoreError::Corrupt(_)), "{text:?}");
        let missing = opened(config(&home.path().join("no/such/directory.db"))).await;
        assert!(matches!(&missing, StoreError::Unusable(_)), "{missing:?}");
        assert!(missing.to_string().contains("no/such/directory.db"), "{missing}");
        let directory = opened(config(home.path())).await;
        assert!(matches!(&directory, StoreError::Unusable(_)), "{directory:?}");
        for url in ["", "mysql://host/db", "snip.db"] {
            let error = opened(DatabaseConfig::new(url)).await;
            assert!(matches!(&error, StoreError::Unusable(_)), "{error:?}");
        }
        let replicas = vec!["postgres://localhost/x".to_owned()];
        let path = home.path().join("other.db");
        let error = opened(DatabaseConfig { replicas, ..config(&path) }).await;
        assert!(matches!(&error, StoreError::Unusable(_)), "{error:?}");
    });
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("snip.db");
    block_on(async {
        drop(Store::open(&config(&path)).await.expect("it opens"));
        let connection = rusqlite::Connection::open(&path).expect("it opens");
        connection
            .execute("INSERT INTO migrations (number, name, applied) VALUES (1000, 'new', 0)", [])
            .expect("a row");
        let error = Store::open(&config(&path)).await.map(drop).expect_err("it does not open");
        assert!(matches!(&error, StoreError::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains("newer version"), "{error}");
    });
}

#[test]
fn what_is_damaged_is_said_and_the_rest_is_read() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("snip.db");
    block_on(async {
        let store = Store::open(&config(&path)).await.expect("it opens");
        make_one(&store, alias("a")).await;
        let fine = make_one(&store, alias("b")).await;
        let connection = rusqlite::Connection::open(&path).expect("it opens");
        connection.execute("UPDATE links SET status = 200 WHERE code = 'a'", []).expect("a row");
        let code = snip::link::Code::new("a").expect("a code");
        let answer = store.link(&code, Read::Any).await;
        assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
        let answer = store.update(&code, &LinkPatch::default(), None).await;
        assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
        assert_eq!(store.link(&fine.code, Read::Any).await, Ok(Some(fine)));
    });
}
