//! Commands whose shortener answers badly: not at all, something else, or what would do harm.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use seawall_testkit::{Origin, Request, Response};
use serde_json::{Value, json};

use crate::instance::{BINARY, Run, Snip};

/// Runs a command against this one.
fn run(origin: &Origin, arguments: &[&str]) -> Run {
    let output = Command::new(BINARY)
        .args(arguments)
        .env("SNIP_URL", format!("http://{}", origin.address()))
        .env("SNIP_KEY", "snip_x")
        .stdin(Stdio::null())
        .output()
        .expect("snip runs");
    Run::of(output)
}

fn answer(status: u16, body: &Value) -> Response {
    Response::new(status, body.to_string()).with("content-type", "application/json")
}

fn problem(status: u16, word: &str, detail: &str) -> Response {
    answer(status, &json!({ "type": format!("urn:snip:problem:{word}"), "detail": detail }))
}

fn link(more: &[(&str, Value)]) -> Value {
    let mut link = json!({
        "code": "a", "short_url": "https://sn.ip/a", "target": "https://a.example/",
        "status": 302, "title": null, "tags": [], "expires": null, "clicks_left": null,
        "protected": false, "disabled": false, "created": "2026-11-23T13:19:11.123Z",
        "updated": "2026-11-23T13:19:11.123Z", "version": 7, "warnings": [],
    });
    for (name, value) in more {
        link[*name] = value.clone();
    }
    link
}

/// What a terminal would obey, and with which a text could lie.
const ACTIVE: [char; 6] = ['\x1b', '\x07', '\r', '\u{9b}', '\x7f', '\u{202e}'];

#[test]
fn no_text_of_others_speaks_to_the_terminal() {
    const EVIL: &str = "\x1b]0;x\x07\r\u{9b}2J\x7f\u{202e}";
    let evil = || json!(EVIL);
    let origin = Origin::responding(move |request: &Request| {
        let link = link(&[
            ("code", evil()),
            ("short_url", evil()),
            ("title", evil()),
            ("target", evil()),
            ("tags", json!([EVIL])),
            ("created", evil()),
            ("warnings", json!([{ "code": EVIL, "detail": EVIL }])),
        ]);
        let values = json!([{ "value": EVIL, "clicks": 1 }]);
        let path = request.target.split('?').next().unwrap_or_default();
        match (request.method.as_str(), path) {
            ("GET", "/api/v1/links") => answer(200, &json!({ "links": [link], "next": null })),
            ("GET", "/api/v1/me") => answer(200, &json!({ "url": EVIL })),
            ("GET", "/api/v1/stats") => answer(
                200,
                &json!({
                    "code": EVIL, "from": EVIL, "to": EVIL, "by": EVIL, "clicks": 1, "bots": 1,
                    "visitors": 1, "series": [{ "at": EVIL, "clicks": 1, "bots": 1 }],
                    "referrers": values, "countries": values, "devices": values, "browsers": values,
                    "bots_by_name": values,
                    "links": [{ "code": EVIL, "short_url": EVIL, "clicks": 1, "target": EVIL,
                        "title": EVIL }],
                }),
            ),
            ("DELETE", _) => problem(403, EVIL, EVIL),
            _ => answer(200, &link),
        }
    });
    let origin = origin.expect("an origin");
    for (arguments, is_good) in [
        (&["show", "a"][..], true),
        (&["show", "a", "--json"], true),
        (&["list"], true),
        (&["list", "--json"], true),
        (&["stats"], true),
        (&["stats", "--json"], true),
        (&["create", "https://a.example/"], true),
        (&["create", "https://a.example/", "--json"], true),
        (&["change", "a", "--disable"], true),
        (&["delete", "a"], false),
        (&["show", "https://a.example/a"], false),
    ] {
        let run = run(&origin, arguments);
        assert_eq!(run.succeeded, is_good, "{arguments:?}: {run:?}");
        let said = format!("{}{}", run.out, run.err);
        assert!(!said.contains(ACTIVE), "{arguments:?}: {run:?}");
        assert!(said.contains("\\u{1b}]0;x") || said.contains("\\u001b]0;x"), "{run:?}");
    }
}

#[test]
fn no_line_of_a_file_speaks_to_the_terminal() {
    let snip = Snip::start();
    snip.file("links.csv", "target\n\"javascript:\x1b]0;x\x07\u{202e}\"\n");
    let run = snip.run(&["import", "links.csv"]);
    assert_eq!(run.out, "imported 0, there already 0, failed 1\n");
    assert!(run.err.contains("links.csv:2: javascript:\\u{1b}]0;x"), "{run:?}");
    assert!(!run.err.contains(ACTIVE), "{run:?}");
}

#[test]
fn an_answer_that_was_lost_does_not_make_a_failure_of_what_was_done() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            // The first time it is done, and nobody hears of it.
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                return Ok(());
            }
            let answer = match request.method.as_str() {
                "DELETE" => problem(404, "no-link", "there is none"),
                _ => problem(412, "changed", "it has version 8 by now"),
            };
            conversation.respond(&request, answer)?;
        }
        Ok(())
    });
    let origin = origin.expect("an origin");
    assert_eq!(run(&origin, &["delete", "a"]).ok(), "deleted a\n");
    // Now it was heard at once.
    let gone = run(&origin, &["delete", "a"]);
    assert!(!gone.succeeded && gone.err.contains("there is no link `a`"), "{gone:?}");
    let changed = run(&origin, &["change", "a", "--disable", "--if-version", "7"]);
    assert!(changed.err.starts_with("snip: http://"), "{changed:?}");

    let origin = Origin::scripted(|conversation| {
        if conversation.index() == 0 {
            conversation.next_request()?;
            return Ok(());
        }
        while let Some(request) = conversation.next_request()? {
            conversation.respond(&request, problem(412, "changed", "it has version 8 by now"))?;
        }
        Ok(())
    });
    let origin = origin.expect("an origin");
    let changed = run(&origin, &["change", "a", "--disable", "--if-version", "7"]);
    let words = "an earlier try, whose answer was lost, may have changed it";
    assert!(!changed.succeeded && changed.err.contains(words), "{changed:?}");
    assert!(changed.err.contains("version 8"), "{changed:?}");
}

#[test]
fn tags_are_read_again_when_others_change_them_but_not_for_ever() {
    let origin = Origin::responding(|request| match request.method.as_str() {
        "GET" => answer(200, &link(&[])),
        _ => problem(412, "changed", "it has version 8 by now"),
    });
    let origin = origin.expect("an origin");
    let run = run(&origin, &["change", "a", "--add-tag", "x"]);
    assert!(!run.succeeded && run.err.contains("others change this link all the time"), "{run:?}");
    assert_eq!(origin.requests(), 20);
    let received = origin.received(0);
    assert!(received.to_lowercase().contains("if-match: \"7\""), "{received}");
}

#[test]
fn whoever_is_no_shortener_or_is_busy_is_told_of() {
    let page = Origin::always("<html>").expect("an origin");
    let busy = Origin::responding(|_| {
        problem(503, "unavailable", "the database does not answer").with("retry-after", "0")
    });
    let busy = busy.expect("an origin");
    let away = Origin::responding(|_| Response::new(301, "").with("location", "http://b.example/"));
    let away = away.expect("an origin");
    for (origin, words) in [
        (&page, "is not that of a shortener; is a shortener there? SNIP_URL or --url says"),
        (&busy, "answers 503: the database does not answer"),
        (&away, "answers 301: it does not say why; is a shortener there?"),
    ] {
        for arguments in [
            &["show", "a"][..],
            &["list"],
            &["stats", "a"],
            &["change", "a", "--disable"],
            &["delete", "a"],
            &["create", "https://a.example/"],
        ] {
            let run = run(origin, arguments);
            assert!(!run.succeeded && run.err.contains(words), "{arguments:?}: {run:?}");
            assert!(run.err.contains(&origin.address().to_string()), "{run:?}");
            assert_eq!(run.out, "", "{arguments:?}");
        }
    }
}
