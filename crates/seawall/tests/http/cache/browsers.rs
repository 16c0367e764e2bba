//! What clients are told to keep themselves (`browser-ttl`).

use std::io;

use seawall_testkit::{Origin, Response};

use super::{ask, caching_with, fresh, is_hit};

#[test]
fn clients_are_told_another_lifetime_than_the_cache() -> io::Result<()> {
    let origin = Origin::responding(|_| {
        fresh("x").with("expires", "Thu, 01 Jan 2032 00:00:00 GMT").with("etag", "\"x\"")
    })?;
    let seawall = caching_with(&origin, "browser-ttl = \"5s\"").start()?;
    for hit in [false, true] {
        let answer = ask(&seawall, "/", "")?;
        assert_eq!((is_hit(&answer), answer.header("expires")), (hit, None));
        let age: u64 = answer.header("age").and_then(|age| age.parse().ok()).unwrap_or(u64::MAX);
        let told = format!("max-age={}", age + 5);
        assert_eq!(answer.header("cache-control"), Some(&*told), "5 s are left of it");
    }
    assert_eq!(origin.requests(), 1);
    Ok(())
}

/// An answer that is shared with those who wait and not stored, such as a failure, would be kept by
/// browsers as if it were good.
#[test]
fn what_is_not_stored_here_is_not_to_be_stored_there() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/broken" => Response::new(500, "broken"),
        _ => Response::new(200, "mine").with("cache-control", "no-store"),
    })?;
    let seawall = caching_with(&origin, "browser-ttl = \"10m\"").start()?;
    let broken = ask(&seawall, "/broken", "")?;
    assert_eq!((broken.status, broken.header("cache-control")), (500, None));
    assert_eq!(ask(&seawall, "/mine", "")?.header("cache-control"), Some("no-store"));
    Ok(())
}
