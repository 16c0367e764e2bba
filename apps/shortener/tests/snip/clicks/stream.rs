//! Clicks through NATS JetStream, and the live feed with and without it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use seawall_testkit::{Nats, PATIENCE, Signal};
use serde_json::{Value, json};

use super::{DESK, GOOD, REPORTS, SOON, click, follow, line, report, stats, total, until};
use crate::instance::{Home, Instance};

fn with(nats: &Nats, more: &str) -> String {
    format!("nats = \"{}\"\n{more}", nats.url())
}

/// Ends an instance in order.
fn end(mut snip: Instance) {
    snip.process.signal(Signal::TERM).expect("it runs");
    assert!(snip.process.wait().expect("it ends").success(), "{}", snip.process.text());
}

/// The lines of `snip export --clicks`.
fn exported(home: &Home, nats: &Nats) -> Vec<Value> {
    let file = home.path().join("export.toml");
    std::fs::write(&file, with(nats, "")).expect("it can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_snip"))
        .args(["export", "--clicks", "--config"])
        .arg(&file)
        .output()
        .expect("snip runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn clicks_go_through_the_stream_and_are_counted_once() {
    let nats = Nats::start().expect("nats-server runs");
    let home = Home::new();
    let config = with(&nats, SOON);
    let (one, other) = (home.start(&config), home.start(&config));
    let key = home.key();
    let code = one.create(json!({ "target": "https://a.example/" }));
    for number in 0..2_500 {
        let snip = if number % 2 == 0 { &one } else { &other };
        follow(snip, &code, &format!("user-agent: {DESK}\r\nreferer: https://b.example/\r\n"));
    }
    let seen = until(&other, &key, &code, 2_500);
    assert_eq!((&seen["clicks"], &seen["visitors"]), (&json!(2_500), &json!(1)));
    assert_eq!(seen["referrers"], json!([{ "value": "b.example", "clicks": 2_500 }]));
    let stored: u64 =
        [&one, &other].iter().map(|it| it.metric("snip_clicks_stored_total", "")).sum();
    assert_eq!(stored, 2_500);
    assert_eq!(one.metric("snip_nats_up", ""), 1);
    // The whole stream, by somebody who does not count.
    let clicks = exported(&home, &nats);
    assert_eq!(clicks.len(), 2_500);
    assert!(
        clicks.iter().all(|click| click["code"] == json!(code) && click["browser"] == "Firefox")
    );
    end(one);
    end(other);
    let snip = home.start(&config);
    follow(&snip, &code, "");
    assert_eq!(total(&until(&snip, &key, &code, 2_501)), 2_501);
}

#[test]
fn what_is_sent_is_counted_after_a_kill() {
    let nats = Nats::start().expect("nats-server runs");
    let home = Home::new();
    let mut snip = home.start(&with(&nats, SOON));
    let (key, code) = (home.key(), snip.create(json!({ "target": "https://a.example/" })));
    (0..20).for_each(|_| follow(&snip, &code, ""));
    snip.until(|snip| snip.metric("snip_clicks_sent_total", ""), |sent| *sent == 20);
    snip.process.kill().expect("it can be killed");
    let snip = home.start(&with(&nats, SOON));
    // What it had taken from the stream and not counted is given to others after half a minute.
    let counted = |snip: &Instance| total(&stats(snip, &key, &code));
    assert_eq!(snip.until_within(3 * PATIENCE, counted, |clicks| *clicks >= 20), 20);
}

#[test]
fn clicks_wait_for_nats_as_long_as_there_is_room() {
    let mut nats = Nats::start().expect("nats-server runs");
    let home = Home::new();
    let snip = home.start(&with(&nats, "[clicks]\nevery = \"20ms\"\nmost = 10\n"));
    let (key, code) = (home.key(), snip.create(json!({ "target": "https://a.example/" })));
    let ready = |snip: &Instance| -> Value {
        let answer = snip.get("/readyz");
        assert_eq!(answer.status, 200, "without NATS it does its work");
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        body["checks"]["nats:waiting"][0]["status"].clone()
    };
    follow(&snip, &code, "");
    until(&snip, &key, &code, 1);
    snip.until(ready, |status| status == "pass");
    nats.kill().expect("it can be killed");
    snip.until(ready, |status| status == "warn");
    (0..100).for_each(|_| follow(&snip, &code, ""));
    assert_eq!(snip.metric("snip_nats_up", ""), 0);
    let lost = snip.metric("snip_clicks_lost_total", "");
    assert!((80..=90).contains(&lost), "{lost}");
    nats.restart().expect("it starts");
    assert_eq!(total(&until(&snip, &key, &code, 101 - lost)), 101 - lost);
    snip.until(ready, |status| status == "pass");
    // One that has forgotten the stream gets another.
    nats.kill().expect("it can be killed");
    nats.forget().expect("it forgets");
    nats.restart().expect("it starts");
    follow(&snip, &code, "");
    assert_eq!(total(&until(&snip, &key, &code, 102 - lost)), 102 - lost);
}

#[test]
fn every_click_is_counted_once_though_nats_is_killed_meanwhile() {
    let mut nats = Nats::start().expect("nats-server runs");
    let home = Home::new();
    let config = with(&nats, SOON);
    let snips = [home.start(&config), home.start(&config)];
    let key = home.key();
    let codes: Vec<String> = (0..20)
        .map(|_| snips[0].create_with(&key, json!({ "target": "https://a.example/" })))
        .collect();
    let stop = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let clickers: Vec<_> = [&snips[0], &snips[1], &snips[0], &snips[1]]
            .into_iter()
            .map(|snip| scope.spawn(|| click(snip.address, &codes, &stop)))
            .collect();
        let more = |snip: &Instance| {
            let before = snip.metric("snip_clicks_total", "");
            snip.until(|snip| snip.metric("snip_clicks_total", ""), |now| *now > before + 200);
        };
        for _ in 0..3 {
            snips.iter().for_each(more);
            nats.kill().expect("it can be killed");
            snips.iter().for_each(more);
            nats.restart().expect("it starts");
            for snip in &snips {
                snip.until(|snip| snip.metric("snip_nats_up", ""), |up| *up == 1);
            }
        }
        stop.store(true, Ordering::Relaxed);
        let ended = clickers.into_iter().map(|clicker| clicker.join().expect("no panic"));
        ended.fold(0, |sum, (answered, doubtful)| sum + answered + doubtful)
    });
    assert_eq!(snips.iter().map(|snip| snip.metric("snip_clicks_lost_total", "")).sum::<u64>(), 0);
    let all = |snip: &Instance| total(&stats(snip, &key, ""));
    assert_eq!(snips[0].until(all, |counted| *counted >= answered), answered);
    snips.into_iter().for_each(end);
    let snip = home.start(&config);
    assert_eq!(all(&snip), answered, "and none twice");
}

#[test]
fn a_process_that_ends_without_nats_counts_without_it() {
    let mut nats = Nats::start().expect("nats-server runs");
    let home = Home::new();
    let snip = home.start(&with(&nats, SOON));
    let (key, code) = (home.key(), snip.create(json!({ "target": "https://a.example/" })));
    follow(&snip, &code, "");
    until(&snip, &key, &code, 1);
    nats.kill().expect("it can be killed");
    (0..10).for_each(|_| follow(&snip, &code, ""));
    end(snip);
    nats.restart().expect("it starts");
    let snip = home.start(&with(&nats, SOON));
    assert_eq!(total(&stats(&snip, &key, &code)), 11);
    // Whatever had reached the stream is not counted again.
    follow(&snip, &code, "");
    assert_eq!(total(&until(&snip, &key, &code, 12)), 12);
}

#[test]
fn a_report_is_counted_once_whether_nats_is_there_or_not() {
    let mut nats = Nats::start().expect("nats-server runs");
    let home = Home::new();
    let snip = home.start(&with(&nats, REPORTS));
    let (key, code) = (home.key(), snip.create(json!({ "target": "https://a.example/" })));
    let body = line(&code, "").repeat(2_300);
    let batch = |name: &str| format!("{GOOD}seawall-batch: {name}\r\n");
    assert_eq!(report(&snip, &batch("1"), &body), 204);
    assert_eq!(report(&snip, &batch("1"), &body), 204);
    until(&snip, &key, &code, 2_300);
    nats.kill().expect("it can be killed");
    assert_eq!(report(&snip, &batch("1"), &body), 204, "it is counted without NATS");
    assert_eq!(report(&snip, &batch("2"), &body), 204);
    nats.restart().expect("it starts");
    snip.until(|snip| report(snip, &batch("2"), &body), |_| snip.metric("snip_nats_up", "") == 1);
    follow(&snip, &code, "");
    assert_eq!(total(&until(&snip, &key, &code, 4_601)), 4_601);
}

/// A looker-on: its lines.
fn look(snip: &Instance, key: &str, query: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(snip.address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a patience");
    let request = format!(
        "GET /api/v1/clicks/live{query} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut reader = BufReader::new(stream);
    let first = until_line(&mut reader, |line| line.starts_with("HTTP/1.1 "));
    assert!(first.contains(" 200 "), "{first}");
    until_line(&mut reader, |line| line.starts_with("retry: "));
    reader
}

fn until_line(reader: &mut BufReader<TcpStream>, is_so: impl Fn(&str) -> bool) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).expect("it goes on") > 0, "it has ended");
        if is_so(&line) {
            return line;
        }
    }
}

/// The next click.
fn next(reader: &mut BufReader<TcpStream>) -> Value {
    let line = until_line(reader, |line| line.starts_with("data: {"));
    serde_json::from_str(line.trim_start_matches("data: ")).expect("JSON")
}

fn clicks_are_seen_as_they_are_made(config: &str) {
    let home = Home::new();
    let snip = home.start(config);
    let key = home.key();
    let codes: Vec<_> =
        (0..2).map(|_| snip.create(json!({ "target": "https://a.example/" }))).collect();
    // With NATS, once it is there.
    snip.until(
        |snip| {
            let fields = format!("authorization: Bearer {key}\r\n");
            snip.ask("HEAD", "/api/v1/clicks/live", &fields, "").status
        },
        |status| *status == 200,
    );
    let mut all = look(&snip, &key, "");
    let mut one = look(&snip, &key, &format!("?code={}", codes[1]));
    follow(&snip, &codes[0], &format!("user-agent: {DESK}\r\nreferer: https://b.example/x\r\n"));
    let click = next(&mut all);
    assert_eq!(click["code"], json!(codes[0]));
    assert_eq!((&click["referrer"], &click["device"]), (&json!("b.example"), &json!("desktop")));
    assert_eq!(click["visitor"], Value::Null, "whose it was is not told");
    follow(&snip, &codes[1], "");
    assert_eq!(next(&mut all)["code"], json!(codes[1]));
    assert_eq!(next(&mut one)["code"], json!(codes[1]), "the first one was of another link");
    // It does not keep the process from ending.
    end(snip);
    let mut rest = String::new();
    while all.read_line(&mut rest).is_ok_and(|bytes| bytes > 0) {}
}

#[test]
fn nobody_looks_on_with_a_key_that_is_revoked() {
    let home = Home::new();
    let snip = home.start(SOON);
    let made = json!({ "name": "looker", "scopes": ["stats:read"] });
    let made = snip.api(&home.key(), "POST", "/keys", &made);
    let made: Value = serde_json::from_slice(&made.body).expect("JSON");
    let mut feed = look(&snip, made["key"].as_str().expect("a key"), "");
    let path = format!("/keys/{}", made["id"]);
    assert_eq!(snip.api(&home.key(), "DELETE", &path, &Value::Null).status, 204);
    // At the next beat; the connection goes on, and the answer ends with an empty chunk.
    until_line(&mut feed, |line| line == "0\r\n");
}

#[test]
fn clicks_are_seen_without_nats() {
    clicks_are_seen_as_they_are_made(SOON);
}

#[test]
fn clicks_are_seen_with_nats() {
    let nats = Nats::start().expect("nats-server runs");
    clicks_are_seen_as_they_are_made(&with(&nats, SOON));
}

#[test]
fn who_looks_on_is_bounded_and_needs_to_be_allowed_to() {
    let home = Home::new();
    let snip = home.start(SOON);
    let key = home.key();
    let status = |fields: &str| snip.ask("HEAD", "/api/v1/clicks/live", fields, "").status;
    assert_eq!(status(""), 401);
    let authorized = format!("authorization: Bearer {key}\r\n");
    let lookers: Vec<_> = (0..64).map(|_| look(&snip, &key, "")).collect();
    assert_eq!(status(&authorized), 503);
    drop(lookers);
    snip.until(|_| status(&authorized), |status| *status == 200);
}
