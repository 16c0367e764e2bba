//! `kill -9` in the middle of creations and clicks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::{Value, json};

use super::{Count, post};
use crate::clicks::{click, stats, total};
use crate::client::{json, problem};
use crate::instance::{Database, Snip, on_both};

on_both!(
    killed_on_postgres:
    a_kill_loses_no_link_and_no_click_that_was_stored,
);

/// Who creates links until the process is gone: what was acknowledged, and the one that was not.
struct Creator {
    codes: BTreeMap<String, String>,
    doubtful: String,
}

fn link(name: &str) -> Value {
    json!({ "target": format!("https://once.example/{name}") })
}

fn idempotent(name: &str) -> String {
    format!("idempotency-key: \"{name}\"\r\n")
}

fn create(address: SocketAddr, key: &str, who: &str, made: &Count) -> Creator {
    let mut codes = BTreeMap::new();
    for number in 0.. {
        let name = format!("{who}-{number}");
        match post(address, key, &idempotent(&name), &link(&name)) {
            Ok(answer) => {
                assert_eq!(answer.status, 201, "{}", answer.text());
                codes.insert(name, code_of(&json(&answer)));
                made.add();
            }
            Err(_) => return Creator { codes, doubtful: name },
        }
    }
    unreachable!("there is no last number")
}

fn code_of(link: &Value) -> String {
    link["code"].as_str().expect("a code").to_owned()
}

fn a_kill_loses_no_link_and_no_click_that_was_stored(database: &Database<'_>) {
    let config = format!("{}[clicks]\nevery = \"20ms\"\n", database.config());
    let mut snip = Snip::with(&config);
    let key = snip.key().to_owned();
    let viral = [snip.create(json!({ "target": "https://a.example/" }))];
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    let (mut stored, mut answered, mut doubtful) = (0, 0, 0);
    for round in 0..3 {
        let (made, stop) = (Count::default(), AtomicBool::new(false));
        let address = snip.address;
        let creators: Vec<Creator> = thread::scope(|scope| {
            let creators: Vec<_> = (0..4)
                .map(|number| {
                    let (key, made) = (&key, &made);
                    let who = format!("{round}-{number}");
                    scope.spawn(move || create(address, key, &who, made))
                })
                .collect();
            let clickers: Vec<_> =
                (0..2).map(|_| scope.spawn(|| click(address, &viral, &stop))).collect();
            made.wait_for(40, "links are made");
            snip.until(|snip| snip.metric("snip_clicks_stored_total", ""), |stored| *stored > 20);
            stored += snip.metric("snip_clicks_stored_total", "");
            snip.process.kill().expect("it is killed");
            stop.store(true, Relaxed);
            for clicker in clickers {
                let (more, perhaps) = clicker.join().expect("no panic");
                (answered, doubtful) = (answered + more, doubtful + perhaps);
            }
            creators.into_iter().map(|creator| creator.join().expect("no panic")).collect()
        });
        snip.kill_and_restart();
        // Whoever was not answered asks again, and is answered as if nothing had been.
        for creator in creators {
            acknowledged.extend(creator.codes);
            let name = creator.doubtful;
            let answer = loop {
                let answer = post(snip.address, &key, &idempotent(&name), &link(&name));
                let answer = answer.expect("it answers");
                // A server may not have noticed yet that its client has gone.
                if answer.status != 409 {
                    break answer;
                }
                assert_eq!(problem(&answer).1, "in-progress");
            };
            assert_eq!(answer.status, 201, "{}", answer.text());
            acknowledged.insert(name, code_of(&json(&answer)));
        }
        // So is who does not believe that it was.
        for (name, code) in &acknowledged {
            let again = post(snip.address, &key, &idempotent(name), &link(name));
            let again = again.expect("it answers");
            assert_eq!(again.header("idempotency-replayed"), Some("true"), "{name} was lost");
            assert_eq!(&code_of(&json(&again)), code);
        }
    }
    // Each was made once.
    let csv = snip.run(&["export"]).ok();
    let targets: Vec<&str> = csv
        .lines()
        .flat_map(|line| line.split(','))
        .filter_map(|value| value.strip_prefix("https://once.example/"))
        .collect();
    assert_eq!(targets.len(), acknowledged.len());
    let names: BTreeSet<&str> = acknowledged.keys().map(String::as_str).collect();
    assert_eq!(targets.into_iter().collect::<BTreeSet<_>>(), names);
    // Of the clicks only those are lost that came since the last flush.
    let counted = total(&stats(&snip, &key, &viral[0]));
    assert!((stored..=answered + doubtful).contains(&counted), "{stored} {counted} {answered}");
}
