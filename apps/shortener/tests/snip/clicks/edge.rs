//! Clicks that Seawall answers from its cache, as it reports them.

use seawall_testkit::{RawClient, Seawall};
use serde_json::{Value, json};

use super::{DESK, PHONE, REPORTS, follow, stats, total, until};
use crate::edge::seawall;
use crate::instance::Home;

#[test]
fn what_the_cache_answers_is_counted_once() {
    let home = Home::new();
    let snip = home.start(REPORTS);
    let (key, code) = (home.key(), snip.create(json!({ "target": "https://a.example/" })));
    let mut edge = Seawall::start(
        seawall(),
        &format!(
            "[server]\nadmin = \"127.0.0.1:0\"\n[listen.web]\naddress = \"127.0.0.1:0\"\n\
             [upstream.snip]\nservers = [\"{}\"]\n[[route]]\nto = \"snip\"\ncache = {{}}\n\
             [route.report]\npath = \"/api/v1/clicks/report\"\n\
             authorization = \"Bearer of reports\"\nevery = \"100ms\"\n",
            snip.address
        ),
    )
    .expect("seawall starts");
    let mut client = RawClient::connect(edge.address("web")).expect("it accepts");
    let mut ask = |agent: &str, count: usize| {
        let mut hits = 0;
        for _ in 0..count {
            let head = format!(
                "GET /{code}?utm=1 HTTP/1.1\r\nhost: sn.ip\r\nuser-agent: {agent}\r\n\
                 referer: https://www.news.example/\r\nseawall-reported: 1\r\n\r\n"
            );
            client.send(head).expect("it takes a request");
            let answer = client.read_response_to("GET").expect("it answers");
            assert_eq!(answer.status, 302);
            hits +=
                usize::from(answer.header("cache-status").is_some_and(|it| it.contains("; hit")));
        }
        hits
    };
    assert_eq!(ask(DESK, 30), 29, "only the first one reaches the shortener");
    assert_eq!(ask(PHONE, 20), 20);
    follow(&snip, &code, &format!("user-agent: {DESK}\r\n"));
    let seen = until(&snip, &key, &code, 51);
    assert_eq!((&seen["clicks"], &seen["bots"]), (&json!(51), &json!(0)));
    let value = |value: &str, clicks: u64| json!({ "value": value, "clicks": clicks });
    assert_eq!(seen["devices"], Value::from(vec![value("desktop", 31), value("mobile", 20)]));
    assert_eq!(seen["referrers"], Value::from(vec![value("news.example", 50), value("", 1)]));
    assert_eq!(snip.metric("snip_redirects_total", "seawall"), 1);
    // What it has not delivered yet, it delivers when it ends.
    assert_eq!(ask(PHONE, 10), 10);
    edge.terminate().expect("it runs");
    edge.wait().expect("it ends");
    assert_eq!(total(&until(&snip, &key, &code, 61)), 61);
    assert_eq!(total(&stats(&snip, &key, "")), 61);
    assert_eq!(snip.metric("snip_clicks_lost_total", ""), 0);
}
