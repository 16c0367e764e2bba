//! PostgreSQL that is killed, stopped, and hangs, with people who create and follow links.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use seawall_testkit::{Postgres, RawClient};
use serde_json::json;

use super::{Count, aliased, post};
use crate::instance::{Home, to};

/// What people met.
#[derive(Default)]
struct Met {
    led: Count,
    made: Count,
    refused: Count,
    acknowledged: Mutex<Vec<String>>,
}

fn target(code: &str) -> String {
    format!("https://{code}.example/")
}

/// Follows links: to where they lead, or not at all.
fn follow(address: SocketAddr, codes: &[String], met: &Met, stop: &AtomicBool) {
    let mut client = RawClient::connect(address).expect("it accepts");
    for code in codes.iter().cycle().take_while(|_| !stop.load(Relaxed)) {
        let answer = client.get("snip", &format!("/{code}")).expect("it answers");
        match answer.status {
            302 => assert_eq!(answer.header("location"), Some(&*target(code))),
            503 => {
                assert!(answer.header("retry-after").is_some());
                continue;
            }
            status => panic!("{code} has status {status}"),
        }
        met.led.add();
    }
}

fn create(address: SocketAddr, key: &str, who: &str, met: &Met, stop: &AtomicBool) {
    for number in (0..).take_while(|_| !stop.load(Relaxed)) {
        let alias = format!("{who}-{number}");
        let answer = post(address, key, "", &aliased(&target(&alias), &alias));
        let answer = answer.expect("it answers");
        match answer.status {
            201 => {
                met.acknowledged.lock().expect("no panic").push(alias);
                met.made.add();
            }
            503 => met.refused.add(),
            status => panic!("status {status}: {}", answer.text()),
        }
    }
}

#[test]
fn a_database_that_restarts_under_load_costs_no_link() {
    let mut server = Postgres::start().expect("PostgreSQL");
    let home = Home::new();
    let config = format!("database = \"{}\"\n[cache]\nmemory = 10\n", server.url());
    let (one, two) = (home.start(&config), home.start(&config));
    let key = home.key();
    let codes: Vec<String> = (0..100).map(|number| format!("old-{number}")).collect();
    for code in &codes {
        one.create(aliased(&target(code), code));
    }
    let (met, stop) = (Met::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for (number, snip) in [&one, &two, &one, &two].into_iter().enumerate() {
            let (address, codes, met, stop, key) = (snip.address, &codes, &met, &stop, &key);
            scope.spawn(move || follow(address, codes, met, stop));
            scope.spawn(move || create(address, key, &format!("new-{number}"), met, stop));
        }
        for round in 0..4 {
            met.made.wait_for(20, "links are made");
            met.led.wait_for(20, "links are followed");
            // In order, and not.
            if round % 2 == 0 { server.kill() } else { server.stop() }.expect("it ends");
            met.refused.wait_for(4, "creations are refused");
            server.restart().expect("it starts");
        }
        met.made.wait_for(20, "links are made");
        met.led.wait_for(20, "links are followed");
        stop.store(true, Relaxed);
    });
    for code in met.acknowledged.into_inner().expect("no panic") {
        for snip in [&one, &two] {
            assert_eq!(snip.follow(&code), to(&target(&code)), "it was acknowledged");
        }
    }
}

#[test]
fn a_database_that_hangs_is_not_waited_for_by_who_can_do_without() {
    let mut server = Postgres::start().expect("PostgreSQL");
    let home = Home::new();
    let config = format!("database = \"{}\"\n[cache]\nmemory-ttl = \"50ms\"\n", server.url());
    let snip = home.start(&config);
    let key = home.key();
    for code in ["known", "unknown"] {
        snip.create(aliased(&target(code), code));
    }
    // Who follows the changes forgets once more what was just made.
    snip.until(|snip| snip.metric("snip_changes_total", ""), |changes| *changes >= 2);
    snip.until(
        |snip| (snip.follow("known"), snip.metric("snip_lookups_total", "memory")).1,
        |kept| *kept >= 1,
    );
    server.pause().expect("it runs");
    // Answers that may be old are for no cache.
    let answer = snip
        .until(|snip| snip.get("/known"), |told| told.header("cache-control") == Some("no-store"));
    assert_eq!((answer.status, answer.header("location")), (302, Some(&*target("known"))));
    thread::scope(|scope| {
        let refused = scope.spawn(|| post(snip.address, &key, "", &aliased("https://a.b/", "c")));
        let ready = scope.spawn(|| snip.get("/readyz"));
        // This does.
        assert_eq!(snip.follow("unknown").0, 503);
        // Each of these would take three seconds if it waited.
        for _ in 0..500 {
            assert_eq!(snip.follow("known"), to(&target("known")));
        }
        let ready = ready.join().expect("no panic");
        assert_eq!(ready.status, 503, "{}", ready.text());
        let refused = refused.join().expect("no panic").expect("it is answered");
        assert_eq!(refused.status, 503, "{}", refused.text());
    });
    assert!(snip.metric("snip_lookups_total", "unsure") > 500);
    server.resume().expect("it goes on");
    assert_eq!(
        snip.until(|snip| snip.follow("unknown"), |led| led.0 == 302),
        to(&target("unknown"))
    );
    snip.until(|snip| snip.get("/readyz").status, |status| *status == 200);
    let change = json!({ "target": "https://new.example/" });
    snip.change(&key, "known", change);
    assert_eq!(snip.follow("known"), to("https://new.example/"));
}
