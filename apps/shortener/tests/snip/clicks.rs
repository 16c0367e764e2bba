//! Clicks: that each is counted once, with what is told apart, and what becomes of them on the worst
//! days.

mod contract;
mod countries;
mod edge;
mod partitions;
mod stream;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use seawall_testkit::{Postgres, Signal};
use serde_json::{Value, json};

use crate::instance::{Home, Instance};

pub(crate) const PHONE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
pub(crate) const DESK: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

/// What is flushed at once.
pub(crate) const SOON: &str = "[clicks]\nevery = \"20ms\"\n";

pub(crate) const REPORTS: &str =
    "trust = [\"127.0.0.1\"]\n[clicks]\nevery = \"20ms\"\nreport-token = \"of reports\"\n";

/// Follows a link with these fields, each with its CRLF.
pub(crate) fn follow(snip: &Instance, code: &str, fields: &str) {
    let answer = snip.ask("GET", &format!("/{code}"), fields, "");
    assert_eq!(answer.status, 302, "{}", answer.text());
}

/// What the API says of a link, or without one of all: `CODE?QUERY`.
pub(crate) fn stats(snip: &Instance, key: &str, path: &str) -> Value {
    let (code, query) = path.split_once('?').unwrap_or((path, ""));
    let path = match code {
        "" => format!("/stats?{query}"),
        code => format!("/links/{code}/stats?{query}"),
    };
    let answer = snip.api(key, "GET", &path, &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// Clicks of people and of bots together.
pub(crate) fn total(stats: &Value) -> u64 {
    stats["clicks"].as_u64().expect("a number") + stats["bots"].as_u64().expect("a number")
}

/// Waits until a link has so many clicks.
pub(crate) fn until(snip: &Instance, key: &str, code: &str, clicks: u64) -> Value {
    snip.until(|snip| stats(snip, key, code), |stats| total(stats) >= clicks)
}

#[test]
fn clicks_are_told_apart() {
    let home = Home::new();
    let snip = home.start(&format!("trust = [\"127.0.0.1\"]\n{SOON}"));
    let (key, code) = (snip.key(), snip.create(json!({ "target": "https://a.example/" })));
    let from = |client: &str, agent: &str, more: &str| {
        let fields = format!("x-forwarded-for: {client}\r\nuser-agent: {agent}\r\n{more}");
        follow(&snip, &code, &fields);
    };
    from("192.0.2.1", PHONE, "referer: https://www.News.example/a?b\r\n");
    from("192.0.2.1", PHONE, "referer: https://news.example/\r\n");
    from("192.0.2.2", DESK, "");
    from("192.0.2.3", DESK, "dnt: 1\r\nreferer: https://secret.example/\r\n");
    from("192.0.2.3", DESK, "sec-gpc: 1\r\nreferer: https://secret.example/\r\n");
    from("192.0.2.4", "curl/8.5.0", "referer: https://bot.example/\r\n");
    follow(&snip, &code, "");
    let head = snip.ask("HEAD", &format!("/{code}"), &format!("user-agent: {PHONE}\r\n"), "");
    assert_eq!(head.status, 302);
    let seen = until(&snip, key, &code, 7);
    assert_eq!(
        (&seen["clicks"], &seen["bots"], &seen["visitors"]),
        (&json!(5), &json!(2), &json!(2))
    );
    let list = |name: &str| -> Vec<(String, u64)> {
        let list = seen[name].as_array().expect("a list").iter();
        let pair = |one: &Value| Some((one["value"].as_str()?.to_owned(), one["clicks"].as_u64()?));
        list.map(|one| pair(one).expect("a value")).collect()
    };
    let pairs = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(value, clicks)| ((*value).to_owned(), *clicks)).collect()
    };
    assert_eq!(list("referrers"), pairs(&[("", 3), ("news.example", 2)]));
    assert_eq!(list("countries"), pairs(&[("", 5)]));
    assert_eq!(list("devices"), pairs(&[("desktop", 3), ("mobile", 2)]));
    assert_eq!(list("browsers"), pairs(&[("Firefox", 3), ("Chrome", 2)]));
    assert_eq!(list("bots_by_name"), pairs(&[("Other", 1), ("curl", 1)]));
    // The same, all together, and with other counts.
    let all = stats(&snip, key, "");
    assert_eq!((total(&all), &all["code"]), (7, &Value::Null));
    for (by, count) in [("minute", 60), ("hour", 48), ("day", 30)] {
        let stats = stats(&snip, key, &format!("{code}?by={by}"));
        assert_eq!((total(&stats), stats["series"].as_array().map(Vec::len)), (7, Some(count)));
    }
    for (status, path) in [(404, "/links/none/stats"), (400, "/stats?by=week")] {
        assert_eq!(snip.api(key, "GET", path, &Value::Null).status, status, "{path}");
    }
    assert_eq!(snip.api("", "GET", "/stats", &Value::Null).status, 401);
    let (taken, stored) =
        (snip.metric("snip_clicks_total", ""), snip.metric("snip_clicks_stored_total", ""));
    assert_eq!((taken, stored, snip.metric("snip_clicks_lost_total", "")), (7, 7, 0));
}

pub(crate) fn line(code: &str, more: &str) -> String {
    let now = snip::store::system_clock();
    format!(
        "{{\"time\":{now},\"client\":\"192.0.2.7\",\"method\":\"GET\",\"host\":\"sn.ip\",\
         \"path\":\"/{code}\",\"status\":302,\"agent\":\"{PHONE}\",\"dnt\":false{more}}}\n"
    )
}

pub(crate) fn report(snip: &Instance, fields: &str, body: &str) -> u16 {
    let fields = format!("content-type: application/x-ndjson\r\n{fields}");
    snip.ask("POST", "/api/v1/clicks/report", &fields, body).status
}

pub(crate) const GOOD: &str = "authorization: Bearer of reports\r\n";

#[test]
fn a_report_is_counted_once_and_what_it_has_counted_not_here() {
    let home = Home::new();
    let snip = home.start(REPORTS);
    let (key, code) = (snip.key(), snip.create(json!({ "target": "https://a.example/" })));
    follow(&snip, &code, "seawall-reported: 1\r\n");
    let others = [
        line(&code, "").replace("GET", "HEAD"),
        line(&code, "").replace("302", "304"),
        line("api/v1/links", ""),
        line(&code, "").replace("GET", "POST"),
    ]
    .concat();
    let lines = [
        line(&code, ",\"referrer\":\"https://b.example/\",\"cache\":\"hit\""),
        line(&format!("{code}?utm=\\\"1"), ",\"cache\":\"miss\""),
        line(&code, "").replace("GET", "POST").replace("302", "303"),
        "{\"time\":1}\nnothing\n\r\n".to_owned(),
        others,
    ];
    let body = lines.concat();
    let batch = |name: &str| format!("{GOOD}seawall-batch: {name}\r\n");
    for _ in 0..3 {
        assert_eq!(report(&snip, &batch("n-1-1"), &body), 204);
    }
    let seen = stats(&snip, key, &code);
    assert_eq!(
        (&seen["clicks"], &seen["bots"], &seen["visitors"]),
        (&json!(3), &json!(0), &json!(1))
    );
    // Another instance knows it too, and so does the same one after a crash.
    drop(snip);
    let snip = home.start(REPORTS);
    assert_eq!(report(&snip, &batch("n-1-1"), &body), 204);
    assert_eq!(snip.metric("snip_reports_repeated_total", ""), 1);
    assert_eq!(report(&snip, &batch("n-1-2"), &body), 204);
    assert_eq!(snip.metric("snip_report_lines_unreadable_total", ""), 2);
    let key = &home.key();
    assert_eq!(total(&stats(&snip, key, &code)), 6);
    assert_eq!(report(&snip, &batch("n-1-3"), ""), 204);
}

#[test]
fn reports_of_others_are_refused() {
    let home = Home::new();
    let snip = home.start(REPORTS);
    let code = snip.create(json!({ "target": "https://a.example/" }));
    let body = line(&code, "");
    let with = |token: &str| format!("{token}seawall-batch: 1\r\n");
    for (status, fields) in [
        (401, with("")),
        (401, with("authorization: Bearer of report\r\n")),
        (401, with("authorization: Bearer of reports2\r\n")),
        (401, with("authorization: Basic of reports\r\n")),
        (401, with(&format!("authorization: Bearer {}\r\n", snip.key()))),
        (401, with(&GOOD.repeat(2))),
        (400, GOOD.to_owned()),
        (400, format!("{GOOD}seawall-batch: {}\r\n", "a".repeat(129))),
        (400, format!("{GOOD}seawall-batch: a b\r\n")),
        (400, format!("{}seawall-batch: 2\r\n", with(GOOD))),
        (415, format!("{}content-encoding: gzip\r\n", with(GOOD))),
    ] {
        assert_eq!(report(&snip, &fields, &body), status, "{fields}");
    }
    let fields = format!("content-type: application/json\r\n{}", with(GOOD));
    assert_eq!(snip.ask("POST", "/api/v1/clicks/report", &fields, &body).status, 415);
    let large = "\n".repeat(snip::api::LARGEST_REPORT + 1);
    assert_eq!(report(&snip, &with(GOOD), &large), 413);
    assert_eq!(snip.metric("snip_clicks_total", ""), 0);
    // Somebody who is not trusted counts for nobody.
    let home = Home::new();
    let snip = home.start(SOON);
    let (key, code) = (snip.key(), snip.create(json!({ "target": "https://a.example/" })));
    assert_eq!(report(&snip, &with(GOOD), &body), 401, "there is no token");
    follow(&snip, &code, "seawall-reported: 1\r\n");
    until(&snip, key, &code, 1);
}

#[test]
fn the_times_of_a_report_are_believed_as_far_as_they_can_be_true() {
    let home = Home::new();
    let snip = home.start(REPORTS);
    let (key, code) = (snip.key(), snip.create(json!({ "target": "https://a.example/" })));
    let now = snip::store::system_clock();
    let day = 86_400_000;
    let at = |time: i64| {
        let line = line(&code, "");
        let (_, rest) = line.split_once(',').expect("the time comes first");
        format!("{{\"time\":{time},{rest}")
    };
    let times = [now, now - day, now - 400 * day, now + 400 * day, i64::MIN, i64::MAX, 0];
    let body: String = times.iter().map(|time| at(*time)).collect();
    assert_eq!(report(&snip, &format!("{GOOD}seawall-batch: 1\r\n"), &body), 204);
    // That of yesterday is before the link was made.
    assert_eq!(total(&stats(&snip, key, &code)), 6);
    let all = stats(&snip, key, "");
    let points = all["series"].as_array().expect("a list");
    let clicks: Vec<u64> = points
        .iter()
        .rev()
        .take(2)
        .map(|point| point["clicks"].as_u64().expect("a number"))
        .collect();
    assert_eq!(clicks, [6, 1]);
}

#[test]
fn a_kill_loses_at_most_what_came_since_the_last_flush() {
    let home = Home::new();
    let mut snip = home.start(SOON);
    let key = snip.key().to_owned();
    let code = snip.create(json!({ "target": "https://a.example/" }));
    (0..50).for_each(|_| follow(&snip, &code, ""));
    until(&snip, &key, &code, 50);
    snip.process.kill().expect("it can be killed");
    // Nothing is flushed any more: all of it is lost, and nothing else.
    let mut snip = home.start("[clicks]\nevery = \"1h\"");
    (0..20).for_each(|_| follow(&snip, &code, ""));
    assert_eq!(snip.metric("snip_clicks_total", ""), 20);
    snip.process.kill().expect("it can be killed");
    let snip = home.start(SOON);
    assert_eq!(total(&stats(&snip, &key, &code)), 50);
    follow(&snip, &code, "");
    assert_eq!(total(&until(&snip, &key, &code, 51)), 51);
}

/// Follows links over one connection until it is told to stop, or the server ends. Returns how many
/// answers it has, and whether one may be missing.
pub(crate) fn click(address: SocketAddr, codes: &[String], stop: &AtomicBool) -> (u64, u64) {
    let Ok(mut stream) = TcpStream::connect(address) else { return (0, 0) };
    let (mut answered, mut buffer) = (0, vec![0; 4096]);
    for code in codes.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let request = format!("GET /{code} HTTP/1.1\r\nhost: a\r\nuser-agent: {PHONE}\r\n\r\n");
        if stream.write_all(request.as_bytes()).is_err() {
            return (answered, 1);
        }
        let mut have = 0;
        while !buffer[..have].ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer[have..]) {
                Ok(0) | Err(_) => return (answered, 1),
                Ok(more) => have += more,
            }
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 302"),
            "{}",
            String::from_utf8_lossy(&buffer[..have])
        );
        answered += 1;
    }
    (answered, 0)
}

/// Many click at once on one or two instances, the first of which is told to end in the middle.
fn all_are_counted(home: &Home, config: &str, instances: usize) {
    let mut snips = vec![home.start(config)];
    snips.extend((1..instances).map(|_| home.start(config)));
    let key = snips[0].key().to_owned();
    let codes: Vec<String> = (0..20)
        .map(|_| snips[0].create_with(&key, json!({ "target": "https://a.example/" })))
        .collect();
    let stop = AtomicBool::new(false);
    let (answered, doubtful) = thread::scope(|scope| {
        let clickers: Vec<_> = (0..6)
            .map(|number| {
                let (address, codes, stop) = (snips[number % instances].address, &codes, &stop);
                scope.spawn(move || click(address, codes, stop))
            })
            .collect();
        // In the middle: when there are some, and more to come.
        snips[0].until(|snip| snip.metric("snip_clicks_total", ""), |taken| *taken > 500);
        snips[0].process.signal(Signal::TERM).expect("it runs");
        let ended = clickers.into_iter().enumerate().map(|(number, clicker)| {
            if number % instances != 0 {
                stop.store(true, Ordering::Relaxed);
            }
            clicker.join().expect("no panic")
        });
        ended.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let status = snips[0].process.wait().expect("it ends");
    assert!(status.success(), "{}", snips[0].process.text());
    let mut rest = snips.split_off(1);
    for snip in &mut rest {
        snip.process.signal(Signal::TERM).expect("it runs");
        snip.process.wait().expect("it ends");
    }
    let snip = home.start(config);
    let counted = total(&stats(&snip, &key, ""));
    // One that was counted, and whose answer did not arrive, is the only one in doubt.
    assert!((answered..=answered + doubtful).contains(&counted), "{counted} of {answered}");
    let each: u64 = codes.iter().map(|code| total(&stats(&snip, &key, code))).sum();
    assert_eq!(each, counted);
    let minutes = stats(&snip, &key, &format!("{}?by=minute", codes[0]));
    assert_eq!(total(&minutes), total(&stats(&snip, &key, &codes[0])));
}

#[test]
fn every_click_is_counted_once_though_it_ends_in_the_middle() {
    all_are_counted(&Home::new(), SOON, 1);
}

#[test]
fn two_instances_count_the_same_links() {
    all_are_counted(&Home::new(), SOON, 2);
}

#[test]
fn two_instances_count_the_same_links_on_postgres() {
    let server = Postgres::start().expect("a server");
    let database = server.database().expect("a database");
    let config = format!("database = \"{}\"\n{SOON}", server.url_of(&database));
    all_are_counted(&Home::new(), &config, 2);
}

#[test]
fn clicks_wait_for_the_database_as_long_as_there_is_room() {
    let mut server = Postgres::start().expect("a server");
    let database = server.database().expect("a database");
    let home = Home::new();
    let snip = home.start(&format!(
        "database = \"{}\"\n[cache]\nmemory-ttl = \"1h\"\nredis-ttl = \"1h\"\n\
         [clicks]\nevery = \"20ms\"\nmost = 3\n",
        server.url_of(&database)
    ));
    let key = snip.key();
    let codes: Vec<_> =
        (0..5).map(|_| snip.create(json!({ "target": "https://a.example/" }))).collect();
    codes.iter().for_each(|code| follow(&snip, code, ""));
    snip.until(|snip| snip.metric("snip_clicks_held", ""), |held| *held == 0);
    let (before, lost) =
        (snip.metric("snip_clicks_stored_total", ""), snip.metric("snip_clicks_lost_total", ""));
    assert_eq!(before + lost, 5);
    server.stop().expect("it stops");
    // Two for each of the first three, unless a minute ends in the middle.
    for code in codes.iter().chain(&codes) {
        follow(&snip, code, "");
    }
    snip.until(|snip| snip.metric("snip_clicks_write_failures_total", ""), |times| *times > 1);
    assert_eq!(snip.metric("snip_clicks_held", ""), 3);
    server.restart().expect("it starts");
    snip.until(|snip| snip.metric("snip_clicks_held", ""), |held| *held == 0);
    let (stored, lost) =
        (snip.metric("snip_clicks_stored_total", ""), snip.metric("snip_clicks_lost_total", ""));
    assert!(lost >= 4, "{lost}");
    assert_eq!(stored + lost, 15);
    let counted = snip.until(|snip| total(&stats(snip, key, "")), |counted| *counted >= stored);
    assert_eq!(counted, stored);
}
