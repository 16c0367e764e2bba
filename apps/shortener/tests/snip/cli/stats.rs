//! `snip stats`.

use serde_json::{Value, json};

use crate::clicks::{DESK, PHONE, SOON, follow, stats, until};
use crate::instance::Snip;

#[test]
fn clicks_are_reported() {
    let snip = Snip::with(&format!("trust = [\"127.0.0.1\"]\n{SOON}"));
    let code = snip.create(json!({ "target": "https://a.example/", "alias": "spring" }));
    snip.create(json!({ "target": "https://b.example/", "alias": "other", "title": "Title" }));
    let from = |client: &str, agent: &str, more: &str| {
        let fields = format!("x-forwarded-for: {client}\r\nuser-agent: {agent}\r\n{more}");
        follow(&snip, &code, &fields);
    };
    from("192.0.2.1", PHONE, "referer: https://news.example/a?b\r\n");
    from("192.0.2.1", PHONE, "referer: https://news.example/\r\n");
    from("192.0.2.2", DESK, "referer: https://a.example/\r\n");
    from("192.0.2.3", DESK, "");
    from("192.0.2.4", "curl/8.5.0", "");
    follow(&snip, "other", &format!("x-forwarded-for: 192.0.2.5\r\nuser-agent: {PHONE}\r\n"));
    until(&snip, snip.key(), &code, 5);
    until(&snip, snip.key(), "other", 1);

    let text = snip.run(&["stats", "https://sn.ip/spring", "--top", "1"]).ok();
    for part in [
        "spring, from 20",
        "         4  clicks\n         1  clicks of bots\n         3  visitors",
        "clicks        bots  visitors  day (UTC)\n         4           1         3  20",
        "\nreferrers\n         2  news.example\n         2  (all others)\n",
        "\ncountries\n         4  (not known)\n",
        "\ndevices\n         2  ",
        "\nbrowsers\n         2  ",
        "\nbots\n         1  curl\n",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("links that"), "{text}");
    let text = snip.run(&["stats", "--range", "hour"]).ok();
    for part in [
        "all links, from 20",
        "         5  clicks\n         1  clicks of bots\n\n",
        "bots  minute (UTC)\n",
        "\nof the whole days",
        "\nlinks that were clicked most\n         4  https://sn.ip/spring  https://a.example/\n",
        "         1  https://sn.ip/other  Title\n",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }

    let now: Value =
        serde_json::from_str(&snip.run(&["stats", "spring", "--json"]).ok()).expect("JSON");
    // Midnight may pass in between, but the clicks do not become others.
    let told = |stats: &Value| (stats["clicks"].clone(), stats["referrers"].clone());
    assert_eq!(told(&now), told(&stats(&snip, snip.key(), "spring")));
    let line =
        ["stats", "spring", "--from", "2026-01-01", "--to", "2026-01-31", "--by", "hour", "--json"];
    let past: Value = serde_json::from_str(&snip.run(&line).ok()).expect("JSON");
    assert_eq!((&past["clicks"], &past["by"]), (&json!(0), &json!("hour")));
    assert_eq!(past["from"], "2026-01-01T00:00:00.000Z");
    assert_eq!(past["to"], "2026-02-01T00:00:00.000Z");
    assert_eq!(past["series"].as_array().map(Vec::len), Some(31 * 24));
}
