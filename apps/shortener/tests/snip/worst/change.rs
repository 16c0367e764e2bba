//! Nobody is told what was, longer than is said: a link that changes while many follow it, and
//! while what stands between them and the database goes away and comes back.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use seawall_testkit::{Postgres, RawClient, Redis, Response, Seawall};
use serde_json::json;

use super::Count;
use crate::edge::seawall;
use crate::instance::{Home, Instance, to};

/// How long what was may be told after a change was acknowledged. In these tests `memory-ttl` is a
/// tenth of a second, and an edge is told again a second after that; the rest is for a machine that
/// has other things to do.
const BOUND: Duration = Duration::from_secs(4);

/// What the link leads to after so many changes.
fn target(number: u64) -> String {
    format!("https://example.com/{number}")
}

/// The changes of one link.
#[derive(Default)]
struct Story {
    /// The number of the last change that was begun.
    begun: AtomicU64,
    /// When each was acknowledged, in their order.
    acknowledged: Mutex<Vec<Instant>>,
    told: Count,
    /// The last number that somebody was told.
    last: AtomicU64,
    stop: AtomicBool,
}

impl Story {
    /// The first number that may be told to who asks now.
    fn floor(&self) -> u64 {
        let acknowledged = self.acknowledged.lock().expect("no panic");
        acknowledged.partition_point(|at| at.elapsed() > BOUND) as u64
    }

    /// Changes the link at an instance, to where nothing ever led.
    fn change(&self, snip: &Instance, key: &str, code: &str) {
        let number = self.begun.load(SeqCst) + 1;
        self.begun.store(number, SeqCst);
        snip.change(key, code, json!({ "target": target(number) }));
        self.acknowledged.lock().expect("no panic").push(Instant::now());
    }

    /// Follows the link for ever, and looks where it leads.
    fn follow(&self, address: SocketAddr, code: &str) {
        let mut client = RawClient::connect(address).expect("it accepts");
        while !self.stop.load(SeqCst) {
            let floor = self.floor();
            let answer = client.get("sn.ip", &format!("/{code}")).expect("it answers");
            let number = number(&answer);
            assert!(number >= floor, "{number} was told, and {floor} was due");
            assert!(number <= self.begun.load(SeqCst), "{number} has not been");
            self.last.store(number, SeqCst);
            self.told.add();
        }
    }

    /// Waits until somebody was told of the last change, and then some more.
    fn wait(&self) {
        let begun = self.begun.load(SeqCst);
        let deadline = Instant::now() + seawall_testkit::PATIENCE;
        while self.last.load(SeqCst) != begun {
            assert!(Instant::now() < deadline, "nobody is told of {begun}");
            thread::sleep(Duration::from_millis(2));
        }
        self.told.wait_for(50, "the link is followed");
    }
}

fn number(answer: &Response) -> u64 {
    assert_eq!(answer.status, 302, "{}", answer.text());
    let led = answer.header("location").and_then(|target| target.rsplit('/').next());
    led.and_then(|number| number.parse().ok()).expect("a number")
}

/// Ends the threads that follow, whatever happens to the one that changes.
struct Stop<'a>(&'a Story);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, SeqCst);
    }
}

#[test]
fn nobody_is_told_what_was_while_redis_comes_and_goes() {
    let mut redis = Redis::start().expect("redis-server");
    let home = Home::new();
    let config = format!("redis = \"{}\"\n[cache]\nmemory-ttl = \"100ms\"\n", redis.url());
    let snips = [home.start(&config), home.start(&config), home.start(&config)];
    let (key, story) = (home.key(), Story::default());
    let code = snips[0].create(json!({ "target": target(0) }));
    thread::scope(|scope| {
        let _stop = Stop(&story);
        for snip in snips.iter().chain(&snips) {
            scope.spawn(|| story.follow(snip.address, &code));
        }
        for number in 0..36 {
            match number {
                6 | 30 => redis.kill().expect("it runs"),
                12 => redis.restart().expect("it starts"),
                18 => drop(redis.command(&["FLUSHALL"]).expect("it answers")),
                20 => redis.pause().expect("it runs"),
                24 => redis.resume().expect("it runs"),
                // With the link as it was.
                28 => drop(redis.command(&["SAVE"]).expect("it answers")),
                33 => redis.restart().expect("it starts"),
                _ => {}
            }
            story.change(&snips[number % 3], &key, &code);
            story.wait();
        }
        let led = to(&target(36));
        for snip in &snips {
            snip.until(|snip| snip.metric("snip_redis_up", ""), |up| *up == 1);
            snip.until(|snip| snip.follow(&code), |told| *told == led);
        }
    });
    for snip in &snips {
        assert_eq!(snip.follow(&code), to(&target(36)));
    }
}

#[test]
fn nobody_is_told_what_was_by_a_cache_before_three_instances() {
    let home = Home::new();
    let config = "[server]\nadmin = \"127.0.0.1:0\"\n[listen.web]\naddress = \"127.0.0.1:0\"\n\
                  [upstream.snip]\nservers = [SERVERS]\nbalance = \"random\"\n\
                  [[route]]\nto = \"snip\"\ncache = {}\n";
    let edge = Seawall::start(seawall(), &config.replace("SERVERS", "\"127.0.0.1:1\""))
        .expect("seawall starts");
    let admin = edge.admin().expect("it has one");
    let text = format!(
        "url = \"http://sn.ip\"\ntrust = [\"127.0.0.1\"]\n[cache]\nmemory-ttl = \"100ms\"\n\
         [edge]\npurge = [\"http://{admin}\"]\n"
    );
    let snips = [home.start(&text), home.start(&text), home.start(&text)];
    let servers: Vec<_> = snips.iter().map(|snip| format!("\"{}\"", snip.address)).collect();
    edge.rewrite(&config.replace("SERVERS", &servers.join(", "))).expect("it can be written");
    assert_eq!(edge.reload().expect("an answer").status, 200);
    let (key, story) = (home.key(), Story::default());
    let code = snips[0].create(json!({ "target": target(0) }));
    let address = edge.address("web");
    thread::scope(|scope| {
        let _stop = Stop(&story);
        for _ in 0..6 {
            scope.spawn(|| story.follow(address, &code));
        }
        for number in 0..20 {
            story.change(&snips[number % 3], &key, &code);
            story.wait();
        }
        // Whatever the cache was given meanwhile, it has been told again by then.
        while story.floor() < 20 {
            story.told.wait_for(1, "the link is followed");
        }
        let mut client = RawClient::connect(address).expect("it accepts");
        let mut hits = 0;
        for _ in 0..300 {
            let answer = client.get("sn.ip", &format!("/{code}")).expect("it answers");
            assert_eq!(number(&answer), 20);
            hits +=
                usize::from(answer.header("cache-status").is_some_and(|it| it.contains("; hit")));
        }
        assert!(hits > 250, "{hits} of 300 by the cache");
    });
}

#[test]
fn a_replica_that_is_behind_is_not_believed_about_what_changed() {
    let primary = Postgres::start().expect("PostgreSQL");
    let home = Home::new();
    let start = |replica: &Postgres| {
        home.start(&format!(
            "database = \"{}\"\nreplicas = [\"{}\"]\n[cache]\nmemory-ttl = \"100ms\"\n",
            primary.url(),
            replica.url()
        ))
    };
    let first = home.start(&format!("database = \"{}\"", primary.url()));
    let replica = primary.replica().expect("a replica");
    let (one, two) = (start(&replica), start(&replica));
    let key = home.key();
    let codes: Vec<String> =
        (0..3).map(|_| first.create_with(&key, json!({ "target": target(0) }))).collect();
    primary.wait_for(&replica).expect("it follows");
    let is_read = |snip: &Instance| {
        let body: serde_json::Value =
            serde_json::from_slice(&snip.get("/readyz").body).expect("JSON");
        body["checks"]["replica:lag"][0]["status"].clone()
    };
    for snip in [&one, &two] {
        snip.until(is_read, |status| status == "pass");
    }
    assert_eq!(one.follow(&codes[0]), to(&target(0)));
    replica.sql("postgres", "SELECT pg_wal_replay_pause()").expect("it stands still");
    for code in &codes {
        one.change(&key, code, json!({ "target": target(1) }));
        // Whoever changed it sees it at once where it was changed,
        assert_eq!(one.follow(code), to(&target(1)));
        // soon elsewhere,
        two.until(|two| two.follow(code), |led| *led == to(&target(1)));
    }
    // and at an instance that has just started, which knows only of the replica that it lags.
    let third = start(&replica);
    for code in &codes {
        assert_eq!(third.follow(code), to(&target(1)));
    }
    for snip in [&one, &two, &third] {
        // Nothing of what the replica said is kept.
        snip.until(is_read, |status| status == "warn");
        for code in &codes {
            assert_eq!(snip.follow(code), to(&target(1)));
        }
    }
}
