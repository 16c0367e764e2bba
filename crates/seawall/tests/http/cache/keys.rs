//! What makes answers different ones, and what goes past the cache.

use std::io;

use seawall_testkit::{Origin, Seawall};

use super::{ask, caching_with, fresh, is_hit, status_of};
use crate::setup::Setup;

/// Answers with what it was asked for.
fn echo() -> io::Result<Origin> {
    Origin::responding(|request| fresh(request.target.clone()))
}

/// Asks for the first, and says whether the second is given the same answer.
fn is_same(seawall: &Seawall, one: (&str, &str), other: (&str, &str)) -> io::Result<bool> {
    ask(seawall, one.0, one.1)?;
    let response = ask(seawall, other.0, other.1)?;
    assert_eq!(response.status, 200, "{other:?}");
    Ok(is_hit(&response))
}

const PHONE: &str = "user-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) \
    AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1\r\n";
const DESKTOP: &str = "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 \
    Firefox/128.0\r\n";
const OTHER_DESKTOP: &str = "user-agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n";

#[test]
fn what_makes_answers_different() -> io::Result<()> {
    let only = "key = { query = [\"page\"] }";
    let except = "key = { query = { except = [\"utm_*\"] } }";
    let cookies = "key = { cookies = [\"currency\"] }";
    let device = "key = { device = true }";
    for (keys, one, other, same) in [
        ("", ("/1?a&b", ""), ("/1?b&a", ""), false),
        ("", ("/2?", ""), ("/2", ""), false),
        ("", ("/3", ""), ("/3/", ""), false),
        ("", ("/4/%7Ea", ""), ("/4/~a", ""), true),
        ("", ("/5", "cookie: a=1\r\n"), ("/5", "cookie: a=2\r\n"), true),
        ("key = { sort-query = true }", ("/6?b=1&a=2", ""), ("/6?a=2&b=1", ""), true),
        ("key = { sort-query = true }", ("/7?b=1&a=2", ""), ("/7?a=1&b=2", ""), false),
        ("key = { query = false }", ("/8?a", ""), ("/8?b", ""), true),
        (only, ("/1?page=1&x=2", ""), ("/1?y&page=1", ""), true),
        (only, ("/2?page=1", ""), ("/2?page=2", ""), false),
        (except, ("/1?a=1&utm_source=x", ""), ("/1?utm_medium=y&a=1", ""), true),
        (except, ("/2?a=1&utm=x", ""), ("/2?a=1", ""), false),
        // What some servers read otherwise: `;` between parameters, names in any case or with
        // brackets, a dot for `_`.
        (except, ("/3?utm_source=x;a=2", ""), ("/3", ""), false),
        (only, ("/3?page=1&x=2;page=3", ""), ("/3?page=1", ""), false),
        (only, ("/4?page=1&PAGE=2", ""), ("/4?page=1", ""), false),
        (only, ("/5?page=1&page%5B%5D=2", ""), ("/5?page=1", ""), false),
        (only, ("/6?page=1&+page=2", ""), ("/6?page=1", ""), false),
        ("", ("/9", "x-forwarded-host: evil.example\r\n"), ("/9", ""), false),
        ("", ("/10", "x-forwarded-host: TEST\r\n"), ("/10", ""), true),
        (
            "key = { host = false }",
            ("/11", "x-forwarded-host: other.example\r\n"),
            ("/11", ""),
            true,
        ),
        (
            cookies,
            ("/1", "cookie: a=1; currency=eur\r\n"),
            ("/1", "cookie: currency=eur; a=2\r\n"),
            true,
        ),
        (cookies, ("/2", "cookie: currency=eur\r\n"), ("/2", "cookie: currency=usd\r\n"), false),
        (cookies, ("/3", "cookie: currency=\r\n"), ("/3", ""), false),
        (cookies, ("/4", "cookie: xcurrency=eur\r\n"), ("/4", ""), true),
        (
            "key = { headers = [\"x-site\"] }",
            ("/1", "x-site: a\r\n"),
            ("/1", "x-site: b\r\n"),
            false,
        ),
        (
            "key = { headers = [\"x-site\"] }",
            ("/2", "X-Site: a\r\n"),
            ("/2", "x-site: a\r\n"),
            true,
        ),
        (device, ("/1", PHONE), ("/1", DESKTOP), false),
        (device, ("/2", OTHER_DESKTOP), ("/2", DESKTOP), true),
        ("vary = [\"x-word\"]", ("/1", "x-word: a\r\n"), ("/1", "x-word: b\r\n"), false),
        ("vary = [\"x-word\"]", ("/2", "x-word: a\r\n"), ("/2", "x-word: a\r\n"), true),
        (
            "vary = [\"accept-encoding\"]",
            ("/3", "accept-encoding: gzip, br\r\n"),
            ("/3", "accept-encoding: br,  gzip\r\n"),
            true,
        ),
    ] {
        let origin = echo()?;
        let seawall = caching_with(&origin, keys).start()?;
        assert_eq!(is_same(&seawall, one, other)?, same, "{keys}: {one:?} and {other:?}");
    }
    Ok(())
}

#[test]
fn hosts_count_unless_they_are_not_to() -> io::Result<()> {
    for host in [true, false] {
        let origin = echo()?;
        let seawall = caching_with(&origin, &format!("key = {{ host = {host} }}")).start()?;
        let from = |host: &str| -> io::Result<bool> {
            let response = seawall.connect()?.get(host, "/")?;
            Ok(is_hit(&response))
        };
        assert!(!from("one.test")?);
        assert_eq!(from("two.test")?, !host);
        assert!(from("ONE.test:80")?);
        assert_eq!(from("one.test:81")?, !host);
    }
    Ok(())
}

#[test]
fn what_goes_past_the_cache() -> io::Result<()> {
    let origin = echo()?;
    let bypass =
        "bypass = { headers = [\"x-debug\"], cookies = [\"session*\"], query = [\"preview\"] }";
    let seawall = caching_with(&origin, bypass).start()?;
    ask(&seawall, "/", "")?;
    for (target, fields, past) in [
        ("/", "", false),
        ("/", "x-debug: 1\r\n", true),
        ("/", "cookie: a=b; session_id=1\r\n", true),
        ("/", "cookie: mysession=1\r\n", false),
        ("/?preview=1", "", true),
        ("/?preview", "", true),
        ("/", "range: bytes=0-0\r\nif-match: \"x\"\r\n", true),
        ("/", "cache-control: no-store\r\n", true),
        ("/", "upgrade: websocket\r\nconnection: upgrade\r\n", true),
    ] {
        for _ in 0..2 {
            let response = ask(&seawall, target, fields)?;
            let told = status_of(&response);
            assert_eq!(told.contains("fwd=bypass"), past, "{target} {fields:?}: {told}");
            assert_eq!(is_hit(&response), !past, "{target} {fields:?}: {told}");
        }
    }
    Ok(())
}

#[test]
fn versions_are_worlds_apart() -> io::Result<()> {
    let origin = echo()?;
    let text = |version: &str| caching_with(&origin, &format!("version = \"{version}\"")).text();
    let seawall = Seawall::start(crate::setup::BINARY, &text("1"))?;
    ask(&seawall, "/", "")?;
    assert!(is_hit(&ask(&seawall, "/", "")?));
    let become_version = |version: &str| -> io::Result<()> {
        seawall.rewrite(&text(version))?;
        let answer = seawall.reload()?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Ok(())
    };
    become_version("2")?;
    assert!(!is_hit(&ask(&seawall, "/", "")?));
    become_version("1")?;
    assert!(is_hit(&ask(&seawall, "/", "")?));
    Ok(())
}

/// Only trusted peers say which version a request is for.
#[test]
fn versions_by_a_field() -> io::Result<()> {
    for trusted in [true, false] {
        let origin = echo()?;
        let trust = if trusted { "trust = [\"127.0.0.1\"]" } else { "" };
        let seawall = Setup::before(&origin)
            .server(trust)
            .route("cache = { version = { header = \"x-version\" } }")
            .start()?;
        assert!(!is_hit(&ask(&seawall, "/", "x-version: 1\r\n")?));
        assert!(is_hit(&ask(&seawall, "/", "x-version: 1\r\n")?));
        assert_eq!(is_hit(&ask(&seawall, "/", "x-version: 2\r\n")?), !trusted);
    }
    Ok(())
}

/// Routes share the store; each goes by its own rules.
#[test]
fn two_routes() -> io::Result<()> {
    let origin =
        Origin::responding(|request| seawall_testkit::Response::new(200, request.target.clone()))?;
    let seawall = Setup::before(&origin)
        .with(
            "[[route]]\nname = \"kept\"\npath = \"/kept/*\"\nto = \"app\"\ncache = { ttl = \"60s\" }\n\
             [[route]]\nname = \"plain\"\npath = \"/plain/*\"\nto = \"app\"\n",
        )
        .route("cache = {}")
        .start()?;
    for (target, hit, told) in [
        ("/kept/x", true, "seawall; hit"),
        ("/plain/x", false, ""),
        ("/other/x", false, "seawall; fwd"),
    ] {
        ask(&seawall, target, "")?;
        let response = ask(&seawall, target, "")?;
        assert_eq!(is_hit(&response), hit, "{target}");
        assert!(status_of(&response).starts_with(told), "{target}: {}", status_of(&response));
        assert_eq!(response.header("cache-status").is_some(), !told.is_empty());
    }
    Ok(())
}
