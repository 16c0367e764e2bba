//! `Cache-Status` (RFC 9211).

use seawall_cache::status::{CacheStatus, Forward, Outcome};

fn written(status: &CacheStatus<'_>, before: &[&str]) -> String {
    let mut out = Vec::new();
    status.write_behind(before.iter().map(|value| value.as_bytes()), &mut out);
    if before.is_empty() {
        let mut again = Vec::new();
        status.write(&mut again);
        assert_eq!(again, out);
    }
    let line = String::from_utf8(out).expect("it is ASCII");
    let value = line.strip_prefix("Cache-Status: ").expect("its name comes first");
    value.strip_suffix("\r\n").expect("it is one line").to_owned()
}

const HIT: CacheStatus<'_> =
    CacheStatus { outcome: Outcome::Hit, ttl: None, key: None, detail: None };

fn forward(
    why: Forward,
    status: Option<u16>,
    stored: bool,
    collapsed: bool,
) -> CacheStatus<'static> {
    CacheStatus { outcome: Outcome::Forward { why, status, stored, collapsed }, ..HIT }
}

#[test]
fn what_was_done() {
    let miss = forward(Forward::UriMiss, Some(200), true, true);
    for (name, status, before, expect) in [
        ("9211-2.1 hit", HIT, &[][..], "seawall; hit"),
        ("9211-2.4 ttl", CacheStatus { ttl: Some(30), ..HIT }, &[], "seawall; hit; ttl=30"),
        ("9211-2.4 just stale", CacheStatus { ttl: Some(0), ..HIT }, &[], "seawall; hit; ttl=0"),
        ("9211-2.4 stale", CacheStatus { ttl: Some(-412), ..HIT }, &[], "seawall; hit; ttl=-412"),
        (
            "8941-3.3.1 no more than 15 digits",
            CacheStatus { ttl: Some(i64::MIN), ..HIT },
            &[],
            "seawall; hit; ttl=-999999999999999",
        ),
        (
            "9211-2.2 bypass",
            forward(Forward::Bypass, None, false, false),
            &[],
            "seawall; fwd=bypass",
        ),
        (
            "9211-2.2 method",
            forward(Forward::Method, None, false, false),
            &[],
            "seawall; fwd=method",
        ),
        (
            "9211-2.2 vary-miss",
            forward(Forward::VaryMiss, None, false, false),
            &[],
            "seawall; fwd=vary-miss",
        ),
        ("9211-2.2 miss", forward(Forward::Miss, None, false, false), &[], "seawall; fwd=miss"),
        (
            "9211-2.2 request",
            forward(Forward::Request, None, false, false),
            &[],
            "seawall; fwd=request",
        ),
        (
            "9211-2.2 partial",
            forward(Forward::Partial, None, false, false),
            &[],
            "seawall; fwd=partial",
        ),
        (
            "9211-2.3 status",
            forward(Forward::Stale, Some(304), false, false),
            &[],
            "seawall; fwd=stale; fwd-status=304",
        ),
        (
            "9211-2.5 stored",
            forward(Forward::Stale, None, true, false),
            &[],
            "seawall; fwd=stale; stored",
        ),
        (
            "9211-2.6 collapsed",
            forward(Forward::UriMiss, None, false, true),
            &[],
            "seawall; fwd=uri-miss; collapsed",
        ),
        (
            "9211-2 all of them",
            CacheStatus { ttl: Some(60), ..miss },
            &[],
            "seawall; fwd=uri-miss; fwd-status=200; stored; collapsed; ttl=60",
        ),
        (
            "9211-2.7 key",
            CacheStatus { key: Some(b"http://a/?b"), ..HIT },
            &[],
            "seawall; hit; key=\"http://a/?b\"",
        ),
        (
            "8941-3.3.3 quotes in a key",
            CacheStatus { key: Some(b"a\"b\\c"), ..HIT },
            &[],
            "seawall; hit; key=\"a\\\"b\\\\c\"",
        ),
        (
            "8941-3.3.3 other bytes in a key",
            CacheStatus { key: Some(b"a\0\r\n\xff"), ..HIT },
            &[],
            "seawall; hit; key=\"a????\"",
        ),
        (
            "9211-2.8 detail",
            CacheStatus {
                detail: Some("set-cookie"),
                ..forward(Forward::Miss, None, false, false)
            },
            &[],
            "seawall; fwd=miss; detail=set-cookie",
        ),
        (
            "9211-2.8 detail that is no token",
            CacheStatus { detail: Some("a b"), ..HIT },
            &[],
            "seawall; hit; detail=\"a b\"",
        ),
        (
            "9211-2.8 detail that begins with a digit",
            CacheStatus { detail: Some("1"), ..HIT },
            &[],
            "seawall; hit; detail=\"1\"",
        ),
        (
            "9211-2 behind another cache",
            HIT,
            &["origin; hit; ttl=5"],
            "origin; hit; ttl=5, seawall; hit",
        ),
        ("9211-2 behind two", HIT, &["a; hit", "b; fwd=miss"], "a; hit, b; fwd=miss, seawall; hit"),
        ("9211-2 behind nothing", HIT, &["", ""], "seawall; hit"),
    ] {
        assert_eq!(written(&status, before), expect, "{name}");
    }
}
