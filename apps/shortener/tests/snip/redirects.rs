//! Following short links.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::instance::{Home, Instance, to};

const TARGET: &str = "https://example.com/page?a=1#b";

fn start() -> (Home, Instance) {
    let home = Home::new();
    let snip = home.start("[cache]\nnegative-ttl = \"7s\"");
    (home, snip)
}

#[test]
fn a_link_redirects_with_what_caches_need_to_know() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET }));
    let answer = snip.get(&format!("/{code}"));
    assert_eq!(answer.status, 302);
    for (name, value) in [
        ("location", TARGET),
        ("cache-control", "public, max-age=5"),
        ("cdn-cache-control", "max-age=300"),
        ("cache-tag", &format!("link:{code}")),
        ("content-length", "0"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert!(answer.header("etag").is_some_and(|etag| etag.starts_with('"')), "{answer:?}");
}

#[test]
fn each_status_is_that_of_the_link() {
    let (_home, snip) = start();
    for status in [301, 302, 307, 308] {
        let code = snip.create(json!({ "target": TARGET, "status": status }));
        assert_eq!(snip.follow(&code), (status, Some(TARGET.to_owned())));
    }
}

#[test]
fn the_request_leaves_no_trace_in_where_it_leads() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET }));
    assert_eq!(snip.follow(&format!("{code}?next=https://evil.example/&x=%0d%0a")), to(TARGET));
    // A redirect has no content that a validator could be of (RFC 9110, 13.2.1).
    let etag = snip.get(&format!("/{code}")).header("etag").expect("it has one").to_owned();
    let fields = format!("if-none-match: {etag}\r\n");
    let answer = snip.ask("GET", &format!("/{code}"), &fields, "");
    assert_eq!(answer.status, 302);
}

#[test]
fn a_link_that_says_so_sends_queries_on() {
    let (_home, snip) = start();
    let link = json!({ "target": "https://a.example/?b=1#c", "forward_query": true });
    let code = snip.create(link);
    let there = |query: &str| snip.follow(&format!("{code}{query}"));
    assert_eq!(there(""), to("https://a.example/?b=1#c"));
    assert_eq!(there("?"), to("https://a.example/?b=1#c"));
    assert_eq!(
        there("?x=%0d%0a&y=//evil.example"),
        to("https://a.example/?b=1&x=%0d%0a&y=//evil.example#c")
    );
    assert_eq!(there("/?b=2"), to("https://a.example/?b=2#c"));
    let head = snip.ask("HEAD", &format!("/{code}?b=3"), "", "");
    assert_eq!(head.header("location"), Some("https://a.example/?b=3#c"));
    // A cache in front may leave queries out of its keys.
    let answer = snip.get(&format!("/{code}"));
    let keep = (answer.header("cache-control"), answer.header("cdn-cache-control"));
    assert_eq!(keep, (Some("private, max-age=5"), Some("no-store")));
    snip.change(snip.key(), &code, json!({ "password": "x" }));
    let right = snip.ask("POST", &format!("/{code}?z=1"), FORM, "password=x");
    assert_eq!(right.header("location"), Some("https://a.example/?b=1&z=1#c"));
    snip.change(snip.key(), &code, json!({ "password": null, "forward_query": null }));
    assert_eq!(there("?z=1"), to("https://a.example/?b=1#c"));
}

#[test]
fn a_shortener_may_send_queries_on_unless_a_link_says_otherwise() {
    let home = Home::new();
    let snip = home.start("[links]\nforward-query = true");
    let plain = snip.create(json!({ "target": TARGET }));
    assert_ne!(snip.follow(&format!("{plain}?x=1")), to(TARGET));
    let other = snip.create(json!({ "target": TARGET, "forward_query": false }));
    assert_eq!(snip.follow(&format!("{other}?x=1")), to(TARGET));
}

#[test]
fn head_tells_the_same_and_is_no_click() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET }));
    for _ in 0..3 {
        let answer = snip.ask("HEAD", &format!("/{code}"), "", "");
        assert_eq!((answer.status, answer.header("location")), (302, Some(TARGET)));
    }
    assert_eq!(snip.metric("snip_redirects_total", "none"), 3);
    assert_eq!(snip.metric("snip_redirects_total", "here"), 0);
    let answer = snip.ask("HEAD", "/nothing", "", "");
    assert_eq!((answer.status, answer.body.len()), (404, 0));
}

#[test]
fn other_methods_do_not_follow() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET }));
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "POST", "BREW"] {
        let answer = snip.ask(method, &format!("/{code}"), "", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn an_unknown_code_has_a_page_that_caches_keep_for_a_moment() {
    let (_home, snip) = start();
    let answer = snip.get("/nothing");
    assert_eq!(answer.status, 404);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "public, max-age=5"),
        ("cdn-cache-control", "max-age=7"),
        ("cache-tag", "link:nothing"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert!(answer.text().contains("There is no such link"));
}

#[test]
fn what_cannot_be_a_code_is_never_looked_up() {
    let (_home, snip) = start();
    let before = snip.metric("snip_lookups_total", "store");
    let long = "a".repeat(65);
    for path in
        ["/%61bc", "/a%0d%0ab", "/a:b", &format!("/{long}"), "/a/b", "/a//", "/.env", "/'--"]
    {
        assert_eq!(snip.get(path).status, 404, "{path}");
    }
    assert_eq!(snip.metric("snip_lookups_total", "store"), before);
}

#[test]
fn a_link_that_is_disabled_cannot_be_told_from_none() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET }));
    assert_eq!(snip.follow(&code), to(TARGET));
    assert_eq!(snip.follow(&format!("{code}/")), to(TARGET));
    snip.change(snip.key(), &code, json!({ "disabled": true }));
    let (disabled, none) = (snip.get(&format!("/{code}")), snip.get("/nothing"));
    assert_eq!((disabled.status, disabled.text()), (404, none.text()));
    snip.change(snip.key(), &code, json!({ "disabled": false }));
    assert_eq!(snip.follow(&code), to(TARGET));
}

#[test]
fn a_limited_link_leads_so_many_there_and_no_more() {
    let (_home, snip) = start();
    let code = snip.create(json!({ "target": TARGET, "clicks_left": 100 }));
    let path = format!("/{code}");
    let (led, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = snip.connect();
                for _ in 0..25 {
                    let answer = client.get("snip", &path).expect("it answers");
                    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
                    match answer.status {
                        302 => led.fetch_add(1, Relaxed),
                        410 => ended.fetch_add(1, Relaxed),
                        status => panic!("status {status}"),
                    };
                }
            });
        }
    });
    assert_eq!((led.into_inner(), ended.into_inner()), (100, 400));
    snip.change(snip.key(), &code, json!({ "clicks_left": 1 }));
    assert_eq!(snip.follow(&code), to(TARGET), "more can be given");
    assert_eq!(snip.follow(&code).0, 410);
}

#[test]
fn a_viral_link_ends_for_everyone_at_its_time() {
    let (_home, snip) = start();
    let millis = snip::store::system_clock() + 1500;
    // To the millisecond, as the link has it.
    let end = SystemTime::UNIX_EPOCH + Duration::from_millis(millis as u64);
    let expires = snip::instant::shown(millis);
    let code = snip.create(json!({ "target": TARGET, "expires": expires }));
    let path = format!("/{code}");
    let before = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let mut client = snip.connect();
                let mut after = 0;
                while after < 50 {
                    // What is asked after the end is refused; what was asked before may be either.
                    let is_over = SystemTime::now() >= end;
                    let answer = client.get("snip", &path).expect("it answers");
                    match answer.status {
                        302 => {
                            assert!(!is_over, "led there after its end");
                            let cdn = answer.header("cdn-cache-control").expect("it says");
                            assert!(["max-age=1", "no-store"].contains(&cdn), "beyond: {cdn}");
                            before.fetch_add(1, Relaxed);
                        }
                        410 => {
                            assert!(SystemTime::now() >= end, "refused before its end");
                            after += 1;
                        }
                        status => panic!("status {status}"),
                    }
                }
            });
        }
    });
    assert!(before.into_inner() > 0, "it led there before");
    // The end costs the database nothing.
    assert!(snip.metric("snip_lookups_total", "store") <= 2);
    let answer = snip.get(&path);
    assert_eq!(answer.header("cdn-cache-control"), Some("max-age=300"), "ended for good");
    assert_eq!(answer.header("cache-tag"), Some(&*format!("link:{code}")));
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

#[test]
fn a_password_stands_before_the_target() {
    let (_home, snip) = start();
    let code = snip
        .create(json!({ "target": TARGET, "password": "open sesame & more", "clicks_left": 1 }));
    let path = format!("/{code}");
    let asked = snip.get(&path);
    assert_eq!((asked.status, asked.header("cache-control")), (200, Some("no-store")));
    assert!(asked.text().contains("type=password"), "{}", asked.text());
    assert!(!asked.text().contains("example.com") && asked.header("location").is_none());
    let wrong = snip.ask("POST", &path, FORM, "password=open");
    assert_eq!((wrong.status, wrong.header("location")), (403, None));
    for (fields, body) in [("", "password=x"), (FORM, "x=y"), (FORM, ""), (FORM, &"x".repeat(5000))]
    {
        assert_eq!(snip.ask("POST", &path, fields, body).status, 400, "{fields}{body}");
    }
    let right = snip.ask("POST", &path, FORM, "password=open+sesame+%26+more");
    assert_eq!((right.status, right.header("location")), (303, Some(TARGET)));
    assert_eq!(right.header("cache-control"), Some("no-store"));
    assert_eq!(snip.metric("snip_redirects_total", "here"), 1, "that is the click");
    let again = snip.ask("POST", &path, FORM, "password=open+sesame+%26+more");
    assert_eq!(again.status, 410, "it had one click");
}

#[test]
fn passwords_cannot_be_tried_out() {
    let home = Home::new();
    let snip = home.start("trust = [\"127.0.0.1\"]");
    let code = snip.create(json!({ "target": TARGET, "password": "correct" }));
    let path = format!("/{code}");
    let attempt = |client: &str, password: &str| {
        let fields = format!("{FORM}x-forwarded-for: {client}\r\n");
        snip.ask("POST", &path, &fields, &format!("password={password}")).status
    };
    for _ in 0..10 {
        assert_eq!(attempt("192.0.2.1", "wrong"), 403);
    }
    // One more would be allowed after six seconds, which ten checks may well take here.
    let refused = (0..20).map(|_| attempt("192.0.2.1", "wrong")).find(|status| *status != 403);
    assert_eq!(refused, Some(429));
    assert_eq!(attempt("192.0.2.1", "correct"), 429, "not even the right one");
    assert_eq!(attempt("192.0.2.2", "correct"), 303, "others are not concerned");
}

#[test]
fn what_seawall_has_counted_is_not_counted_here() {
    let home = Home::new();
    let trusting = home.start("trust = [\"127.0.0.1\"]");
    let code = trusting.create(json!({ "target": TARGET }));
    let wary = home.start("");
    for snip in [&trusting, &wary] {
        let answer = snip.ask("GET", &format!("/{code}"), "seawall-reported: 1\r\n", "");
        assert_eq!(answer.status, 302);
    }
    let counted = |snip: &Instance, by| snip.metric("snip_redirects_total", by);
    assert_eq!((counted(&trusting, "seawall"), counted(&trusting, "here")), (1, 0));
    assert_eq!((counted(&wary, "seawall"), counted(&wary, "here")), (0, 1));
}
