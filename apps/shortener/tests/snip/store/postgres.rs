//! Worst days of a store on PostgreSQL: servers that go away and come back, replicas that lag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use seawall_testkit::{PATIENCE, Postgres};
use snip::code::Codes;
use snip::link::{Code, Link, LinkPatch, LinkQuery, NewLink};
use snip::store::{DatabaseConfig, Once, Read, Standing, Store, StoreError, Update};

use super::block_on;
use super::contract::{alias, make_one, new};

async fn open(url: String) -> Store {
    Store::open(&DatabaseConfig::new(url)).await.expect("it opens")
}

fn to(target: &str) -> LinkPatch {
    LinkPatch { target: Some(target.into()), ..LinkPatch::default() }
}

async fn target(store: &Store, code: &Code, read: Read) -> String {
    let link = store.link(code, read).await.expect("it answers").expect("it is there");
    link.target.into()
}

#[test]
fn a_server_that_crashes_loses_nothing_that_was_acknowledged() {
    let mut server = Postgres::start().expect("a server");
    let url = server.url();
    block_on(async {
        let store = open(url).await;
        let (stop, acknowledged) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut writers = Vec::new();
        for writer in 0..6 {
            let (store, stop, count) = (store.clone(), stop.clone(), acknowledged.clone());
            writers.push(tokio::spawn(async move {
                let mut made = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    made.extend(one_more(&store, writer, number).await);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                made
            }));
        }
        let progress = async |more: usize| {
            let goal = acknowledged.load(Ordering::Relaxed) + more;
            let deadline = Instant::now() + PATIENCE;
            while acknowledged.load(Ordering::Relaxed) < goal {
                assert!(Instant::now() < deadline, "nothing is made any more");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        for round in 0..4 {
            progress(60).await;
            // In order, and not.
            if round % 2 == 0 { server.kill() } else { server.stop() }.expect("it ends");
            server.restart().expect("it starts");
        }
        progress(60).await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            for link in writer.await.expect("it does not panic") {
                let found = store.link(&link.code, Read::Latest).await.expect("it answers");
                assert_eq!(found, Some(link));
            }
        }
        // What was asked for under a key until it was acknowledged was made once.
        let (mut after, mut seen) = (None, std::collections::HashSet::new());
        loop {
            let query = LinkQuery { after, limit: 1000, ..LinkQuery::default() };
            let page = store.links(&query).await.expect("it answers");
            for link in page.links.iter().filter(|link| link.target.contains("/once/")) {
                assert!(seen.insert(link.target.clone()), "{} was made twice", link.target);
            }
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert!(!seen.is_empty());
    });
}

/// Makes links in one of three ways until it is acknowledged. All that may come instead is that
/// the database is not available.
async fn one_more(store: &Store, writer: usize, number: usize) -> Vec<Link> {
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0.. {
        let answer = match number % 3 {
            0 => store.create(vec![new("https://example.com/")]).await,
            1 => {
                // Whether a failed one was made is not known, so that each has a name of its own.
                let name = format!("alias-{writer}-{number}-{attempt}");
                store.create(vec![alias(&name), new("https://example.com/")]).await
            }
            _ => {
                let key = format!("{writer}-{number}");
                let link = new(&format!("https://example.com/once/{key}"));
                match store.create_once(1, &key, [0; 32], vec![link]).await {
                    Ok(Once::Created(created) | Once::Replayed(created)) => Ok(created),
                    // The server may not have noticed yet that its first client has gone.
                    Ok(Once::InProgress) => Err(StoreError::Unavailable("".into())),
                    Ok(Once::Mismatch) => panic!("the same is asked for"),
                    Err(error) => Err(error),
                }
            }
        };
        match answer {
            Ok(created) => {
                return created.into_iter().map(|link| link.expect("not taken")).collect();
            }
            Err(StoreError::Unavailable(_)) => {
                assert!(Instant::now() < deadline, "it does not come back");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    unreachable!("there is no last number")
}

#[test]
fn a_replica_answers_while_it_can() {
    let primary = Postgres::start().expect("a server");
    block_on(async {
        let first = open(primary.url()).await;
        let code = make_one(&first, alias("a")).await.code;
        let mut replica = primary.replica().expect("a replica");
        let config =
            DatabaseConfig { replicas: vec![replica.url()], ..DatabaseConfig::new(primary.url()) };
        let store = Store::open(&config).await.expect("it opens");
        let standing = until_it_is(&store, |it| it.error.is_none()).await;
        assert_eq!(standing.lag, Some(Duration::ZERO));
        assert_eq!(standing.name, replica.address().to_string());

        // It stands still: what it says is old, and what it has not heard of is asked elsewhere.
        replica.sql("postgres", "SELECT pg_wal_replay_pause()").expect("it stands still");
        let answer = store.update(&code, &to("https://example.com/2"), None).await;
        assert!(matches!(answer, Ok(Update::Done(_))), "{answer:?}");
        assert_eq!(target(&store, &code, Read::Any).await, "https://example.com/");
        assert_eq!(target(&store, &code, Read::Latest).await, "https://example.com/2");
        let fresh = make_one(&store, new("https://example.com/fresh")).await;
        assert_eq!(store.link(&fresh.code, Read::Any).await, Ok(Some(fresh)));
        let unknown = Code::new("unknown").expect("a code");
        assert_eq!(store.link(&unknown, Read::Any).await, Ok(None));

        // When it is too far behind, it is not asked any more, by reports neither.
        let deadline = Instant::now() + PATIENCE;
        while target(&store, &code, Read::Any).await != "https://example.com/2" {
            assert!(Instant::now() < deadline, "what is old is told for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let standing = store.health().await.replicas.remove(0);
        assert!(standing.lag.is_some_and(|lag| lag >= Duration::from_secs(5)), "{standing:?}");
        assert!(standing.error.is_some_and(|error| error.to_string().contains("behind")));
        replica.sql("postgres", "SELECT pg_wal_replay_resume()").expect("it goes on");
        primary.wait_for(&replica).expect("it follows");
        assert_eq!(target(&store, &code, Read::Any).await, "https://example.com/2");
        until_it_is(&store, |it| it.error.is_none()).await;

        // It is away: nobody notices.
        replica.kill().expect("it ends");
        for _ in 0..20 {
            assert_eq!(target(&store, &code, Read::Any).await, "https://example.com/2");
        }
        let health = store.health().await;
        assert_eq!(health.primary.error, None);
        assert!(matches!(health.replicas[0].error, Some(StoreError::Unavailable(_))));

        // It is back: it is asked again before long.
        replica.restart().expect("it starts");
        primary.wait_for(&replica).expect("it follows");
        until_it_is(&store, |it| it.error.is_none()).await;
        replica.sql("postgres", "SELECT pg_wal_replay_pause()").expect("it stands still");
        store.update(&code, &to("https://example.com/3"), None).await.expect("it answers");
        assert_eq!(target(&store, &code, Read::Any).await, "https://example.com/2");
        replica.sql("postgres", "SELECT pg_wal_replay_resume()").expect("it goes on");

        // It hangs: the primary answers in its place, and it is not waited for again.
        replica.pause().expect("it runs");
        assert_eq!(target(&store, &code, Read::Any).await, "https://example.com/3");
        replica.resume().expect("it runs");
        until_it_is(&store, |it| it.error.is_none()).await;
    });
}

/// Waits until the only replica is so.
async fn until_it_is(store: &Store, is_so: impl Fn(&Standing) -> bool) -> Standing {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let standing = store.health().await.replicas.remove(0);
        if is_so(&standing) {
            return standing;
        }
        assert!(Instant::now() < deadline, "it is still so: {standing:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn what_is_wrong_with_a_server_is_said() {
    let mut server = Postgres::start().expect("a server");
    block_on(async {
        let opened = async |url: String| {
            let answer = Store::open(&DatabaseConfig::new(url)).await;
            answer.map(drop).expect_err("it does not open")
        };
        let missing = opened(server.url_of("no_such_database")).await;
        assert!(matches!(&missing, StoreError::Unusable(_)), "{missing:?}");
        assert!(missing.to_string().contains("no_such_database"), "{missing}");
        let address = server.address();
        let user = opened(format!("postgres://nobody:secret@{address}/postgres")).await;
        assert!(matches!(&user, StoreError::Unusable(_)), "{user:?}");
        assert!(!user.to_string().contains("secret"), "{user}");
        let url = opened(format!("postgres://user:secret@{address}/postgres?port=x")).await;
        assert!(matches!(&url, StoreError::Unusable(_)), "{url:?}");
        assert!(!url.to_string().contains("secret"), "{url}");

        let store = open(server.url()).await;
        let link = make_one(&store, new("https://example.com/")).await;
        server.sql("postgres", "INSERT INTO migrations VALUES (1000, 'new', 0)").expect("a row");
        let newer = opened(server.url()).await;
        assert!(matches!(&newer, StoreError::Unusable(_)), "{newer:?}");

        server.kill().expect("it ends");
        let gone = store.link(&link.code, Read::Any).await.expect_err("it is away");
        assert!(matches!(&gone, StoreError::Unavailable(_)), "{gone:?}");
        assert!(gone.is_transient());
        let gone = store.create(vec![new("https://example.com/")]).await.expect_err("it is away");
        assert!(matches!(&gone, StoreError::Unavailable(_)), "{gone:?}");
        assert!(store.health().await.primary.error.is_some());
        let away = opened(server.url()).await;
        assert!(matches!(&away, StoreError::Unavailable(_)), "{away:?}");
        server.restart().expect("it starts");
        assert_eq!(store.link(&link.code, Read::Any).await, Ok(Some(link)));
        assert_eq!(store.health().await.primary.error, None);
    });
}

#[test]
fn connections_are_encrypted_as_the_url_says() {
    let server = Postgres::encrypted().expect("a server");
    let plain = Postgres::start().expect("a server");
    let port = server.address().port();
    let authority = server.authority().display().to_string();
    let url =
        |host: &str, query: &str| format!("postgres://postgres@{host}:{port}/postgres{query}");
    let encrypted = || {
        let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE application_name = 'snip'";
        server.sql("postgres", sql).expect("it answers")
    };
    block_on(async {
        for (host, query, expect) in [
            ("127.0.0.1", "".to_owned(), "t"),
            ("127.0.0.1", "?sslmode=disable".to_owned(), "f"),
            ("127.0.0.1", "?sslmode=require".to_owned(), "t"),
            ("127.0.0.1", format!("?sslmode=require&sslrootcert={authority}"), "t"),
            ("127.0.0.1", format!("?sslrootcert={authority}&sslmode=verify-ca"), "t"),
            ("localhost", format!("?sslmode=verify-full&sslrootcert={authority}"), "t"),
        ] {
            let store = open(url(host, &query)).await;
            make_one(&store, new("https://example.com/")).await;
            assert_eq!(encrypted(), expect, "{query}");
            drop(store);
            // The next one is asked about alone.
            server.sql("postgres", GONE).expect("it answers");
        }
        let opened = async |url: String| {
            let answer = Store::open(&DatabaseConfig::new(url)).await;
            answer.map(drop).expect_err("it does not open").to_string()
        };
        // The authority of somebody else.
        let other = Postgres::encrypted().expect("a server").authority();
        for (url, expect) in [
            (url("127.0.0.1", &format!("?sslmode=verify-full&sslrootcert={authority}")), "name"),
            (url("localhost", &format!("?sslmode=verify-ca&sslrootcert={}", other.display())), ""),
            (format!("{}?sslmode=require", plain.url()), "does not support TLS"),
            (url("localhost", "?sslmode=verify-full"), "needs `sslrootcert`"),
        ] {
            let error = opened(url.clone()).await;
            assert!(error.contains(expect), "{url}: {error}");
        }
        // Where it is not asked for, a server without it is as good.
        make_one(&open(plain.url()).await, new("https://example.com/")).await;
    });
}

/// Waits until the connections of a store have ended.
const GONE: &str = "DO $$ BEGIN
    FOR i IN 1..6000 LOOP
        PERFORM pg_stat_clear_snapshot();
        IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'snip') THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE 'connections stay open';
END $$";

/// After a failover, the new primary may not have heard of the last blocks.
#[test]
fn a_sequence_that_is_behind_catches_up() {
    let server = Postgres::start().expect("a server");
    block_on(async {
        let store = open(server.url()).await;
        let codes = Codes::new(&store.secret("codes").await.expect("it answers"));
        let old = store.create(vec![new("https://example.com/old"); 5_000]).await;
        let old = old.expect("they are made");
        server.sql("postgres", "UPDATE blocks SET next = 0").expect("it is behind");
        let other = open(server.url()).await;
        let one = make_one(&other, new("https://example.com/new")).await;
        assert!(codes.decode(&one.code).is_some_and(|id| id >= 5_000));
        let many = other.create(vec![new("https://example.com/new"); 3_000]).await;
        assert!(many.expect("they are made").iter().all(Result::is_ok));
        for link in old.into_iter().step_by(100).map(|link| link.expect("not taken")) {
            assert_eq!(other.link(&link.code, Read::Latest).await, Ok(Some(link)));
        }
    });
}

/// Whoever waits for numbers of codes holds no connection meanwhile.
#[test]
fn one_connection_serves_all() {
    let server = Postgres::start().expect("a server");
    block_on(async {
        let config = DatabaseConfig { pool: 1, ..DatabaseConfig::new(server.url()) };
        let store = Store::open(&config).await.expect("it opens");
        let mut tasks = Vec::new();
        for number in 0..60 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                let links: Vec<NewLink> = vec![
                    new("https://example.com/"),
                    alias(&format!("a{number}")),
                    new("https://example.com/"),
                ];
                let created = match number % 2 {
                    0 => store.create(links).await.expect("it answers"),
                    _ => match store.create_once(1, &number.to_string(), [0; 32], links).await {
                        Ok(Once::Created(created)) => created,
                        answer => panic!("{answer:?}"),
                    },
                };
                created.into_iter().filter(Result::is_ok).count()
            }));
        }
        for task in tasks {
            assert_eq!(task.await.expect("it does not panic"), 3);
        }
    });
}
