//! Whether it says how it is, and how it ends.

use seawall_testkit::{Origin, Redis, Response};
use serde_json::{Value, json};

use crate::instance::{Home, to};

fn report(answer: &Response) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/health+json"), "{answer:?}");
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn it_is_alive_and_ready() {
    let home = Home::new();
    let snip = home.start("name = \"here\"");
    assert_eq!(snip.get("/healthz").status, 200);
    let answer = snip.get("/readyz");
    let report = report(&answer);
    assert_eq!((answer.status, &report["status"]), (200, &json!("pass")), "{report}");
    assert_eq!(report["serviceId"], "here");
    for (check, kind) in [("database:responseTime", "datastore"), ("disk:free", "system")] {
        let check = &report["checks"][check][0];
        assert_eq!((&check["status"], &check["componentType"]), (&json!("pass"), &json!(kind)));
        assert!(
            check["observedValue"].is_number() && check["observedUnit"].is_string(),
            "{report}"
        );
    }
}

#[test]
fn what_only_makes_it_slower_is_a_warning() {
    let home = Home::new();
    let mut redis = Redis::start().expect("redis-server");
    let snip = home.start(&format!("redis = \"{}\"", redis.url()));
    let status = |snip: &crate::instance::Instance| {
        let answer = snip.get("/readyz");
        let report = report(&answer);
        let redis = report["checks"]["redis:connection"][0]["status"].clone();
        (answer.status, report["status"].clone(), redis)
    };
    snip.until(status, |status| *status == (200, json!("pass"), json!("pass")));
    redis.kill().expect("it is killed");
    snip.until(status, |status| *status == (200, json!("warn"), json!("warn")));
    redis.restart().expect("it is back");
    snip.until(status, |status| *status == (200, json!("pass"), json!("pass")));
}

#[test]
fn metrics_are_in_the_format_of_prometheus() {
    let home = Home::new();
    let snip = home.start("");
    let code = snip.create(json!({ "target": "https://example.com/" }));
    snip.follow(&code);
    snip.follow("nothing");
    let text = snip.get("/metrics").text();
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().expect("a name").to_owned());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let family = families.last().expect("a family comes first");
            assert!(name.starts_with(family.as_str()), "{line} is not of {family}");
        }
    }
    assert_eq!(snip.metric("snip_redirects_total", "here"), 1);
    assert_eq!(snip.metric("snip_refusals_total", "\"missing\""), 1);
    assert_eq!(snip.metric("snip_redirect_duration_seconds_bucket", "+Inf"), 2);
}

#[test]
fn it_ends_when_requests_have_ended() {
    let home = Home::new();
    let mut snip = home.start("");
    let code = snip.create(json!({ "target": "https://example.com/" }));
    // One that is idle, and one in the middle of a request.
    let mut idle = snip.connect();
    idle.get("snip", &format!("/{code}")).expect("an answer");
    let mut busy = snip.connect();
    let key = snip.key().to_owned();
    let body = json!({ "target": "https://example.com/late", "alias": "late" }).to_string();
    busy.send(format!(
        "POST /api/v1/links HTTP/1.1\r\nhost: snip\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ))
    .expect("the head is taken");
    assert_eq!(busy.read_response().expect("it wants the rest").status, 100);
    snip.process.terminate().expect("it is asked to end");
    snip.process.wait_for_text("draining").expect("it says so");
    idle.expect_close().expect("nobody waits for those who do nothing");
    busy.send(&body).expect("the rest is taken");
    let answer = busy.read_response().expect("it is answered");
    assert_eq!(answer.status, 201, "{}", answer.text());
    busy.expect_close().expect("it was the last");
    assert_eq!(snip.process.wait().expect("it ends").code(), Some(0));
    let next = home.start("");
    assert_eq!(next.follow("late"), to("https://example.com/late"));
}

#[test]
fn a_balancer_sees_that_it_leaves_before_it_is_gone() {
    let home = Home::new();
    let mut snip = home.start("drain-delay = \"1h\"");
    let code = snip.create(json!({ "target": "https://example.com/" }));
    assert_eq!(snip.get("/readyz").status, 200, "what was found is good for a second");
    snip.process.terminate().expect("it is asked to end");
    snip.process.wait_for_text("leaving").expect("it says so");
    let answer = snip.get("/readyz");
    let report = report(&answer);
    assert_eq!((answer.status, &report["status"]), (503, &json!("fail")), "{report}");
    // Nobody who comes meanwhile is sent away.
    assert_eq!(snip.follow(&code), to("https://example.com/"));
    assert_eq!(snip.create(json!({ "target": "https://example.com/", "alias": "late" })), "late");
    assert_eq!(snip.get("/healthz").status, 200);
    snip.process.terminate().expect("it is asked again");
    assert_eq!(snip.process.wait().expect("it ends").code(), Some(1));

    let mut snip = home.start("drain-delay = \"10ms\"");
    snip.process.terminate().expect("it is asked to end");
    assert_eq!(snip.process.wait().expect("it ends").code(), Some(0));
    let log = snip.process.text();
    assert!(log.find("leaving") < log.find("draining"), "{log}");
}

#[test]
fn what_is_wrong_is_said_before_it_starts() {
    let home = Home::new();
    let taken = Origin::scripted(|_| Ok(())).expect("an address");
    let file = home.path().join("snip.toml");
    let run = |text: &str, arguments: &[&str]| {
        std::fs::write(&file, text).expect("it can be written");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_snip"));
        command.arg("serve").args(arguments).current_dir(home.path());
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    let address = taken.address().to_string();
    for (text, arguments, expect) in [
        ("\nlisten = 3", &[][..], "snip.toml:2: "),
        ("", &["--config", "missing.toml"], "cannot read missing.toml"),
        ("", &["--listen", &address], "cannot listen on"),
        ("database = \"sqlite:/no/such/directory/snip.db\"", &[], "the database cannot be opened"),
        ("[links]\nblock-list = \"nowhere\"", &["--listen", "127.0.0.1:0"], "nowhere"),
    ] {
        let said = run(text, arguments);
        assert!(said.contains(expect), "{text} {arguments:?}: {said}");
    }
}
