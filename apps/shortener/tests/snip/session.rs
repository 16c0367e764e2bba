//! Sessions of the web page, QR codes and the files of the page, as they are on the wire.

use seawall_testkit::Response;
use serde_json::{Value, json};

use crate::client::{json as body_of, problem};
use crate::instance::{Home, Instance};

const OURS: &str = "sec-fetch-site: same-origin\r\n";

fn sign_in(snip: &Instance, key: &str, fields: &str) -> Response {
    let fields = format!("content-type: application/json\r\n{fields}");
    snip.ask("POST", "/api/v1/session", &fields, &json!({ "key": key }).to_string())
}

/// What a browser sends back, as a field.
fn cookie(answer: &Response) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    format!("cookie: {}\r\n", set.split(';').next().expect("a pair"))
}

fn change(snip: &Instance, code: &str, fields: &str) -> Response {
    let fields = format!("content-type: application/json\r\n{fields}");
    snip.ask("PATCH", &format!("/api/v1/links/{code}"), &fields, "{\"title\":\"x\"}")
}

#[test]
fn a_session_may_what_its_key_may_at_every_instance() {
    let home = Home::new();
    let (one, other) = (home.start(""), home.start(""));
    let code = one.create(json!({ "target": "https://example.com/" }));
    let answer = sign_in(&one, one.key(), OURS);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let session = cookie(&answer);
    let me = other.ask("GET", "/api/v1/me", &session, "");
    assert_eq!((me.status, &body_of(&me)["name"]), (200, &json!("first")));
    assert_eq!(me.header("set-cookie"), None, "it is young");
    assert_eq!(change(&other, &code, &format!("{session}{OURS}")).status, 200);

    let reader = json!({ "name": "reader", "scopes": ["links:read"] });
    let reader = body_of(&one.api(one.key(), "POST", "/keys", &reader));
    let session = cookie(&sign_in(&one, reader["key"].as_str().expect("a key"), OURS));
    assert_eq!(other.ask("GET", "/api/v1/links", &session, "").status, 200);
    assert_eq!(change(&other, &code, &format!("{session}{OURS}")).status, 403);
    let revoked = one.api(one.key(), "DELETE", &format!("/keys/{}", reader["id"]), &Value::Null);
    assert_eq!(revoked.status, 204);
    let ask = |snip: &Instance| snip.ask("GET", "/api/v1/links", &session, "").status;
    assert_eq!(ask(&one), 401, "at once where it was revoked");
    other.until(ask, |status| *status == 401);
}

#[test]
fn a_session_changes_nothing_for_other_sites() {
    let home = Home::new();
    let snip = home.start("");
    let code = snip.create(json!({ "target": "https://example.com/" }));
    let session = cookie(&sign_in(&snip, snip.key(), OURS));
    let own = format!("origin: http://{}\r\n", snip.address);
    for (fields, status) in [
        (OURS, 200),
        (own.as_str(), 200),
        ("origin: http://snip\r\n", 200),
        ("", 403),
        ("origin: https://evil.example\r\n", 403),
        ("origin: null\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
        ("sec-fetch-site: same-site\r\norigin: http://snip\r\n", 403),
    ] {
        let answer = change(&snip, &code, &format!("{session}{fields}"));
        assert_eq!(answer.status, status, "{fields}");
        if status == 403 {
            assert_eq!(problem(&answer).1, "cross-site");
        }
    }
    // A key is sent by whoever has it, from wherever.
    let key =
        format!("{session}authorization: Bearer {}\r\nsec-fetch-site: cross-site\r\n", snip.key());
    assert_eq!(change(&snip, &code, &key).status, 200);
    assert_eq!(sign_in(&snip, snip.key(), "origin: https://evil.example\r\n").status, 403);
    let out = |fields: &str| snip.ask("DELETE", "/api/v1/session", fields, "");
    assert_eq!(out(&format!("{session}sec-fetch-site: cross-site\r\n")).status, 403);
    let out = out(&format!("{session}{OURS}"));
    let gone = "snip=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict";
    assert_eq!((out.status, out.header("set-cookie")), (204, Some(gone)));
}

#[test]
fn only_a_good_key_signs_in() {
    let home = Home::new();
    let snip = home.start("url = \"https://sn.ip\"");
    let wrong = format!("snip_{}", "A".repeat(43));
    assert_eq!(sign_in(&snip, &wrong, OURS).status, 401);
    assert_eq!(sign_in(&snip, "x", OURS).status, 401);
    assert_eq!(problem(&sign_in(&snip, "", OURS)).2, [("#/key".into(), "empty".into())]);
    let answer = sign_in(&snip, &format!(" {} ", snip.key()), OURS);
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(set.starts_with("__Host-snip=") && set.ends_with("; SameSite=Strict; Secure"), "{set}");
    assert!(!set.contains(snip.key()));
    let forged = "cookie: __Host-snip=AQAAAA\r\n";
    assert_eq!(snip.ask("GET", "/api/v1/me", forged, "").status, 401);
}

#[test]
fn qr_codes_are_of_links_that_there_are_and_can_be_kept() {
    let home = Home::new();
    let snip = home.start("url = \"https://sn.ip\"");
    let code = snip.create(json!({ "target": "https://example.com/" }));
    let key = format!("authorization: Bearer {}\r\n", snip.key());
    let ask = |rest: &str, fields: &str| {
        snip.ask("GET", &format!("/api/v1/links/{rest}"), &format!("{key}{fields}"), "")
    };
    for (file, kind, begin) in
        [("qr.svg", "image/svg+xml", &b"<svg "[..]), ("qr.png", "image/png", &b"\x89PNG"[..])]
    {
        let answer = ask(&format!("{code}/{file}?size=256&margin=1&level=H"), "");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        assert_eq!(answer.header("cache-control"), Some("private, max-age=86400"));
        assert!(answer.body.starts_with(begin));
        let etag = answer.header("etag").expect("an entity tag").to_owned();
        let known = format!("if-none-match: {etag}\r\n");
        assert_eq!(ask(&format!("{code}/{file}?size=256&margin=1&level=H"), &known).status, 304);
        assert_eq!(ask(&format!("{code}/{file}?size=257&margin=1&level=H"), &known).status, 200);
        assert_eq!(ask(&format!("none/{file}"), &known).status, 404);
        assert_eq!(ask(&format!("{code}/{file}?size=1000000000"), "").status, 400);
        assert_eq!(snip.get(&format!("/api/v1/links/{code}/{file}")).status, 401);
    }
}

#[test]
fn the_page_is_the_same_for_all_and_takes_nothing_from_elsewhere() {
    let home = Home::new();
    let snip = home.start("");
    for path in ["/", "/login", "/links/abc"] {
        let answer = snip.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(
            !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let known = format!("if-none-match: {}\r\n", answer.header("etag").expect("one"));
        assert_eq!(snip.ask("GET", path, &known, "").status, 304);
        let text = answer.text();
        let depth = path.matches('/').count() - 1;
        let files: Vec<&str> = text
            .split('"')
            .filter_map(|piece| piece.strip_prefix(&"../".repeat(depth)))
            .filter(|piece| piece.starts_with("assets/"))
            .collect();
        assert!(files.len() > 10, "{files:?}");
        for file in files {
            let answer = snip.get(&format!("/{file}"));
            let keep = Some("public, max-age=31536000, immutable");
            assert_eq!((answer.status, answer.header("cache-control")), (200, keep), "{file}");
        }
    }
    assert_eq!(snip.get("/assets/none.js").status, 404);
    assert_eq!(snip.get("/links/").status, 404);
    assert_eq!(snip.get("/favicon.ico").header("content-type"), Some("image/svg+xml"));
    assert!(snip.get("/robots.txt").text().starts_with("User-agent: *"));
}
