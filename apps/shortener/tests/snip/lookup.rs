//! The tiers of the look-up: never older than they say, whatever becomes of Redis and of the
//! database.

use std::thread;

use seawall_testkit::{Postgres, Redis};
use serde_json::json;

use crate::instance::{Home, Instance, to};

const OLD: &str = "https://old.example/";
const NEW: &str = "https://new.example/";

/// Every look-up goes to Redis.
const WITHOUT_MEMORY: &str = "[cache]\nmemory = 0\nmemory-ttl = \"50ms\"";

fn by(snip: &Instance, tier: &str) -> u64 {
    snip.metric("snip_lookups_total", tier)
}

fn redis_up(snip: &Instance) {
    snip.until(|snip| snip.metric("snip_redis_up", ""), |up| *up == 1);
}

fn redis_down(snip: &Instance) {
    snip.until(|snip| snip.metric("snip_redis_up", ""), |up| *up == 0);
}

/// Many clients who all ask for the same at once.
fn storm(snip: &Instance, path: &str, status: u16) {
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let mut client = snip.connect();
                for _ in 0..20 {
                    assert_eq!(client.get("snip", path).expect("an answer").status, status);
                }
            });
        }
    });
}

#[test]
fn a_storm_for_one_code_asks_the_database_once() {
    let home = Home::new();
    let snip = home.start("[cache]\nmemory-ttl = \"1h\"\nnegative-ttl = \"1h\"");
    storm(&snip, "/unknown", 404);
    assert_eq!(by(&snip, "store"), 1);
    let code = snip.create(json!({ "target": OLD }));
    storm(&snip, &format!("/{code}"), 302);
    assert_eq!(by(&snip, "store"), 2);
}

#[test]
fn unknown_codes_do_not_drive_links_away() {
    let home = Home::new();
    let snip = home.start("[cache]\nmemory = 100\nmemory-ttl = \"1h\"\nnegative-ttl = \"1h\"");
    let code = snip.create(json!({ "target": OLD }));
    assert_eq!(snip.follow(&code), to(OLD));
    let mut client = snip.connect();
    for number in 0..5000 {
        let answer = client.get("snip", &format!("/x{number}")).expect("an answer");
        assert_eq!(answer.status, 404);
    }
    let before = by(&snip, "store");
    assert_eq!(snip.follow(&code), to(OLD));
    assert_eq!(by(&snip, "store"), before, "it was still there");
    assert!(snip.metric("snip_memory_entries", "missing") <= 2048, "and they are bounded");
}

#[test]
fn who_changes_a_link_sees_the_change() {
    let home = Home::new();
    let snip = home.start("[cache]\nmemory-ttl = \"1h\"\nnegative-ttl = \"1h\"");
    assert_eq!(snip.follow("alias").0, 404);
    snip.create(json!({ "target": OLD, "alias": "alias" }));
    assert_eq!(snip.follow("alias"), to(OLD), "nobody remembers that there was none");
    snip.change(snip.key(), "alias", json!({ "target": NEW }));
    assert_eq!(snip.follow("alias"), to(NEW));
    let gone = snip.api(snip.key(), "DELETE", "/links/alias", &json!(null));
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(snip.follow("alias").0, 404);
}

#[test]
fn a_change_by_another_process_is_seen_without_redis() {
    let home = Home::new();
    let one = home.start("");
    let other = home.start("[cache]\nmemory-ttl = \"200ms\"\nnegative-ttl = \"1h\"");
    assert_eq!(other.follow("alias").0, 404);
    one.create(json!({ "target": OLD, "alias": "alias" }));
    other.until(|other| other.follow("alias"), |led| *led == to(OLD));
    one.change(one.key(), "alias", json!({ "target": NEW }));
    other.until(|other| other.follow("alias"), |led| *led == to(NEW));
}

#[test]
fn what_nobody_changed_is_not_asked_for_again() {
    let home = Home::new();
    let snip = home.start("[cache]\nmemory-ttl = \"10ms\"");
    let code = snip.create(json!({ "target": OLD }));
    let other = snip.create(json!({ "target": OLD, "alias": "other" }));
    assert_eq!(snip.follow(&code), to(OLD));
    let asked = by(&snip, "store");
    // The change of another is followed, so more than one look at the changes has passed.
    for target in [NEW, OLD, NEW] {
        let before = snip.metric("snip_changes_total", "");
        snip.change(snip.key(), &other, json!({ "target": target }));
        snip.until(|snip| snip.metric("snip_changes_total", ""), |now| *now > before);
    }
    assert_eq!(snip.follow(&code), to(OLD));
    assert_eq!(by(&snip, "store"), asked);
}

/// Two instances over one PostgreSQL server and one Redis.
struct Fleet {
    server: Postgres,
    redis: Redis,
    one: Instance,
    two: Instance,
    home: Home,
}

impl Fleet {
    fn start(cache: &str) -> Fleet {
        let server = Postgres::start().expect("PostgreSQL");
        let redis = Redis::start().expect("redis-server");
        let database = server.url();
        let config = format!("database = \"{database}\"\nredis = \"{}\"\n{cache}", redis.url());
        let home = Home::new();
        let one = home.start(&config);
        let two = home.start(&config);
        for snip in [&one, &two] {
            redis_up(snip);
        }
        Fleet { server, redis, one, two, home }
    }

    fn key(&self) -> &str {
        self.one.key()
    }
}

#[test]
fn what_one_instance_read_the_others_have_from_redis() {
    let fleet = Fleet::start(WITHOUT_MEMORY);
    let code = fleet.one.create(json!({ "target": OLD, "expires": "2100-01-01T00:00:00Z" }));
    assert_eq!(fleet.one.follow(&code), to(OLD));
    let before = by(&fleet.two, "store");
    assert_eq!(fleet.two.follow(&code), to(OLD));
    assert_eq!((by(&fleet.two, "redis"), by(&fleet.two, "store")), (1, before));
    assert_eq!(fleet.two.follow("nothing").0, 404);
    assert_eq!(fleet.one.follow("nothing").0, 404);
    assert_eq!(by(&fleet.one, "redis"), 1, "that there is none is shared too");
}

#[test]
fn a_change_at_one_instance_is_seen_at_the_other() {
    let fleet = Fleet::start("[cache]\nmemory-ttl = \"1h\"\nnegative-ttl = \"1h\"");
    let code = fleet.one.create(json!({ "target": OLD }));
    assert_eq!(fleet.two.follow(&code), to(OLD));
    // They look at the changes once in half an hour: this comes by way of Redis.
    fleet.two.change(fleet.key(), &code, json!({ "target": NEW }));
    assert_eq!(fleet.two.follow(&code), to(NEW));
    fleet.one.until(|one| one.follow(&code), |led| *led == to(NEW));
}

#[test]
fn what_redis_had_before_a_change_is_never_told_after_it() {
    let mut fleet = Fleet::start(WITHOUT_MEMORY);
    let code = fleet.one.create(json!({ "target": OLD }));
    assert_eq!(fleet.two.follow(&code), to(OLD));
    assert_eq!(fleet.two.follow(&code), to(OLD));
    assert!(by(&fleet.two, "redis") > 0, "redis has it");
    // What Redis has now is what it will come back with.
    fleet.redis.command(&["SAVE"]).expect("it saves");
    fleet.redis.kill().expect("it is killed");
    for snip in [&fleet.one, &fleet.two] {
        redis_down(snip);
        assert_eq!(snip.follow(&code), to(OLD), "slower, and right");
    }
    fleet.one.change(fleet.key(), &code, json!({ "target": NEW }));
    fleet.redis.restart().expect("it is back");
    let key = |pattern: &str| fleet.redis.command(&["KEYS", pattern]).expect("it answers");
    assert!(key("snip:*").contains(&code), "it came back with the link: {}", key("*"));
    // While it comes into use, and after, nobody is told what was.
    for snip in [&fleet.one, &fleet.two] {
        let told = |snip: &Instance| {
            assert_eq!(snip.follow(&code), to(NEW));
            snip.metric("snip_redis_up", "")
        };
        snip.until(told, |up| *up == 1);
        for _ in 0..100 {
            assert_eq!(snip.follow(&code), to(NEW));
        }
    }
}

#[test]
fn a_change_by_an_instance_that_cannot_reach_redis_is_seen_by_those_who_can() {
    let fleet = Fleet::start(WITHOUT_MEMORY);
    let apart = fleet
        .home
        .start(&format!("database = \"{}\"\nredis = \"redis://127.0.0.1:1\"", fleet.server.url()));
    let code = fleet.one.create(json!({ "target": OLD }));
    assert_eq!(fleet.two.follow(&code), to(OLD));
    assert_eq!(apart.follow(&code), to(OLD), "it goes without");
    apart.change(fleet.key(), &code, json!({ "target": NEW }));
    assert_eq!(apart.follow(&code), to(NEW));
    for snip in [&fleet.one, &fleet.two] {
        snip.until(|snip| snip.follow(&code), |led| *led == to(NEW));
    }
}

#[test]
fn redis_may_be_flushed_and_stopped() {
    let mut fleet = Fleet::start(WITHOUT_MEMORY);
    let code = fleet.one.create(json!({ "target": OLD }));
    assert_eq!(fleet.two.follow(&code), to(OLD));
    fleet.redis.command(&["FLUSHALL"]).expect("it is flushed");
    assert_eq!(fleet.two.follow(&code), to(OLD));
    fleet.one.change(fleet.key(), &code, json!({ "target": NEW }));
    assert_eq!(fleet.two.follow(&code), to(NEW));
    fleet.redis.pause().expect("it stands still");
    storm(&fleet.two, &format!("/{code}"), 302);
    redis_down(&fleet.two);
    assert_eq!(fleet.two.follow(&code), to(NEW));
    fleet.redis.resume().expect("it goes on");
    redis_up(&fleet.two);
    assert_eq!(fleet.two.follow(&code), to(NEW));
}

#[test]
fn another_version_forgets_all_of_redis() {
    let fleet = Fleet::start(WITHOUT_MEMORY);
    let code = fleet.one.create(json!({ "target": OLD }));
    assert_eq!(fleet.one.follow(&code), to(OLD));
    let keys = || fleet.redis.command(&["KEYS", "snip:*"]).expect("it answers");
    let key = keys().lines().find(|key| key.ends_with(&code)).expect("it is there").to_owned();
    // That there is no such link, for a long time: wrong, and put there by somebody.
    fleet.redis.command(&["SET", &key, "\0\u{7f}\u{7f}\u{7f}\u{7f}"]).expect("it is set");
    assert_eq!(fleet.two.follow(&code).0, 404, "Redis is believed");
    let seq = keys().lines().find(|key| key.ends_with("!seq")).expect("it is there").to_owned();
    fleet.redis.command(&["INCR", &seq.replace("!seq", "!version")]).expect("it counts");
    for snip in [&fleet.one, &fleet.two] {
        snip.until(|snip| snip.follow(&code), |led| *led == to(OLD));
    }
}

#[test]
fn a_link_takes_few_bytes_of_redis() {
    let fleet = Fleet::start(WITHOUT_MEMORY);
    let mut total = 0;
    for number in 0..100 {
        let target = format!("https://www.example.com/articles/2026/{number:05}");
        let code = fleet.one.create(json!({ "target": target }));
        assert_eq!(fleet.one.follow(&code), to(&target));
        let key = fleet.redis.command(&["KEYS", &format!("snip:*:{code}")]).expect("an answer");
        let used = fleet.redis.command(&["MEMORY", "USAGE", &key]).expect("an answer");
        total += used.parse::<u64>().expect("a number");
    }
    // The target has 43 bytes, of which 31 are written, behind 5; the key has 20; the rest is what
    // Redis needs for any key that has a time to live.
    assert!(total / 100 <= 160, "{} bytes each", total / 100);
    println!("{} bytes each", total / 100);
}

#[test]
fn while_the_database_is_away_what_is_known_is_told_and_not_passed_on() {
    let mut fleet = Fleet::start("[cache]\nmemory-ttl = \"50ms\"");
    let code = fleet.one.create(json!({ "target": OLD }));
    assert_eq!(fleet.one.follow(&code), to(OLD));
    fleet.redis.kill().expect("it is killed");
    redis_down(&fleet.one);
    fleet.server.stop().expect("it stops");
    let path = format!("/{code}");
    let told = fleet
        .one
        .until(|one| one.get(&path), |told| told.header("cache-control") == Some("no-store"));
    assert_eq!((told.status, told.header("location")), (302, Some(OLD)));
    assert_eq!(fleet.one.follow("another").0, 503, "not 404: nobody knows");
    assert_eq!(fleet.one.get("/readyz").status, 503);
    assert_eq!(fleet.one.get("/healthz").status, 200);
    fleet.server.restart().expect("it is back");
    fleet.one.until(|one| one.get(&path).header("cache-tag").is_some(), |is_sure| *is_sure);
    fleet.one.until(|one| one.get("/readyz").status, |status| *status == 200);
}
