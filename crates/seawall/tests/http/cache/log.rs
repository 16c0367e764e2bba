//! What the access log and the log of the process say of the cache.

use std::io;

use seawall_testkit::{Origin, Response};
use serde_json::{Value, json};

use super::{ask, caching_with};
use crate::setup::{Setup, eventually};

#[test]
fn the_access_log_says_what_the_cache_did() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/private" => Response::new(200, "mine").with("cache-control", "private"),
        _ => Response::new(200, "for all").with("cache-control", "max-age=600").with("age", "7"),
    })?;
    let home = tempfile::tempdir()?;
    let log = home.path().join("access.log");
    let mut seawall = Setup::before(&origin)
        .server(&format!("access-log = {:?}", log.display().to_string()))
        .with("[[route]]\nname = \"plain\"\npath = \"/plain\"\nto = \"app\"")
        .route("cache = { bypass = { cookies = [\"session\"] } }")
        .start()?;
    let mut client = seawall.connect()?;
    for (target, fields) in [
        ("/a", ""),
        ("/a", ""),
        ("/a", "cookie: session=1\r\n"),
        ("/private", ""),
        ("/private", ""),
        ("/b", "cache-control: only-if-cached\r\n"),
        ("/plain", ""),
    ] {
        client.exchange(crate::setup::get(target, fields))?;
    }
    drop(client);
    seawall.terminate()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    let text = std::fs::read_to_string(&log)?;
    let lines: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let said: Vec<(&Value, &Value)> = lines
        .iter()
        .map(|line| (&line["cache"], line.get("age").unwrap_or(&Value::Null)))
        .collect();
    let none = Value::Null;
    let expect = [
        (&json!("miss"), &json!(7)),
        (&json!("hit"), &json!(7)),
        (&json!("bypass"), &none),
        (&json!("uncacheable"), &none),
        (&json!("pass"), &none),
        (&json!("refused"), &none),
        (&none, &none),
    ];
    let ages = |pair: &(&Value, &Value)| pair.1.as_u64();
    for (found, expect) in said.iter().zip(&expect) {
        assert_eq!(found.0, expect.0, "{text}");
        // A second may have gone by.
        assert_eq!(ages(found).is_some(), ages(expect).is_some(), "{text}");
        assert!(ages(found) >= ages(expect), "{text}");
    }
    assert_eq!(said.len(), expect.len());
    Ok(())
}

#[test]
fn a_page_that_may_be_of_one_user_is_told_of_once() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let answer = Response::new(200, "x");
        match request.target.as_str() {
            "/own" => answer.with("content-type", "text/html").with("cache-control", "max-age=60"),
            "/varies" => answer.with("content-type", "text/html").with("vary", "cookie"),
            "/a.css" => answer.with("content-type", "text/css"),
            _ => answer.with("content-type", "text/html; charset=utf-8"),
        }
    })?;
    let seawall = caching_with(&origin, "ttl = \"1m\"").start()?;
    let said = || seawall.log().matches("asked for with a session cookie").count();
    let session = "cookie: theme=dark; connect.sid=1\r\n";
    for (target, fields) in [
        ("/own", session),
        ("/varies", session),
        ("/a.css", session),
        ("/page", "cookie: theme=dark\r\n"),
    ] {
        ask(&seawall, target, fields)?;
    }
    ask(&seawall, "/account", session)?;
    ask(&seawall, "/orders", session)?;
    eventually("it to be said", || Ok(said() > 0))?;
    let log = seawall.log();
    assert_eq!(said(), 1, "{log}");
    assert!(log.contains("connect.sid") && log.contains("/account"), "{log}");
    assert!(log.contains("cache.ttl"), "{log}");
    Ok(())
}
