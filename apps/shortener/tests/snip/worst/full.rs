//! No room to write.

use std::process::Command;

use serde_json::{Value, json};

use crate::clicks::{SOON, stats, total, until};
use crate::client::{json, problem};
use crate::instance::Snip;

#[test]
fn a_full_disk_stops_writing_and_nothing_else() {
    let mut snip = Snip::with(SOON);
    let key = snip.key().to_owned();
    let id = snip.process.id().to_string();
    let limit = |bytes: &str| {
        let limit = format!("--fsize={bytes}:unlimited");
        let limited = Command::new("prlimit").args([&limit, "--pid", &id]).status();
        assert!(limited.expect("prlimit").success());
    };
    // No file may grow past 2 MB.
    limit("2000000");
    let mut made: Vec<(String, String)> = Vec::new();
    let mut client = snip.client();
    let refused = (0..).find_map(|number| {
        let target = |n| format!("https://a.example/{number}/{n}/{}", "x".repeat(1000));
        let links: Vec<Value> = (0..50).map(|n| json!({ "target": target(n) })).collect();
        let answer = client.post("/links/bulk", &json!({ "links": links }));
        if answer.status != 200 {
            return Some(answer);
        }
        let links = json(&answer)["results"].as_array().cloned().expect("a list");
        let text = |link: &Value, field: &str| link[field].as_str().expect("a text").to_owned();
        made.extend(
            links.iter().map(|one| (text(&one["link"], "code"), text(&one["link"], "target"))),
        );
        None
    });
    let refused = refused.expect("it is full before long");
    assert_eq!(problem(&refused).0, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(made.len() > 50, "{} links", made.len());
    // Whoever follows a link notices nothing, and the clicks wait.
    let led = |snip: &Snip| {
        for (code, target) in &made {
            let answer = snip.get(&format!("/{code}"));
            assert_eq!((answer.status, answer.header("location")), (302, Some(&**target)));
        }
    };
    led(&snip);
    snip.until(|snip| snip.metric("snip_clicks_write_failures_total", ""), |times| *times > 0);
    assert_eq!(client.get("/links").status, 200);
    // There is room again.
    limit("unlimited");
    let fresh = snip.create(json!({ "target": "https://b.example/" }));
    let clicks = made.len() as u64;
    let counted = snip.until(|snip| total(&stats(snip, &key, "")), |counted| *counted >= clicks);
    assert_eq!((counted, snip.metric("snip_clicks_lost_total", "")), (clicks, 0));
    snip.kill_and_restart();
    led(&snip);
    assert_eq!(snip.follow(&fresh).0, 302);
    until(&snip, &key, &fresh, 1);
}
