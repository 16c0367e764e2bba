//! What is served behind its lifetime, and how it is validated.
//!
//! Lifetimes begin with an `Age` of the origin near their end, so that they are over at once or
//! after a second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall_testkit::{Gate, Origin, Response};

use super::{ask, caching, caching_with, fresh, is_hit, status_of};
use crate::setup::{Setup, eventually};

/// An answer that was stale before it came, with these further directives.
fn stale(body: impl Into<Vec<u8>>, more: &str) -> Response {
    Response::new(200, body)
        .with("cache-control", &format!("max-age=10{more}"))
        .with("age", "20")
        .with("etag", "\"one\"")
}

#[test]
fn stale_while_revalidate_serves_at_once_and_fetches_once() -> io::Result<()> {
    let gate = Gate::new();
    let origin = Origin::scripted({
        let gate = gate.clone();
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                if request.header("if-none-match").is_none() {
                    conversation.respond(&request, stale("old", ", stale-while-revalidate=60"))?;
                    continue;
                }
                conversation.wait(&gate)?;
                conversation.respond(&request, fresh("new").with("etag", "\"two\""))?;
            }
            Ok(())
        }
    })?;
    let seawall = caching(&origin).workers(2).start()?;
    assert_eq!(ask(&seawall, "/", "")?.text(), "old");
    for _ in 0..50 {
        let response = ask(&seawall, "/", "")?;
        assert_eq!(response.text(), "old");
        assert!(status_of(&response).contains("revalidating"), "{}", status_of(&response));
    }
    gate.wait_for_waiting(1)?;
    assert_eq!(origin.requests(), 2, "one fetch in the background");
    gate.open();
    eventually("the new one is served", || Ok(ask(&seawall, "/", "")?.text() == "new"))?;
    assert_eq!(origin.requests(), 2);
    Ok(())
}

/// A failing origin, in all the ways that it can fail.
#[test]
fn stale_if_error() -> io::Result<()> {
    for (way, more, serves) in [
        ("503", ", stale-if-error=60", true),
        ("500", ", stale-if-error=60", true),
        ("close", ", stale-if-error=60", true),
        ("hang", ", stale-if-error=60", true),
        ("404", ", stale-if-error=60", false),
        ("503", "", false),
        ("503", ", stale-if-error=5", false),
        ("close", ", stale-if-error=60, must-revalidate", false),
        ("503", ", s-maxage=5", false),
        ("503", ", stale-if-error=60, proxy-revalidate", false),
        ("503", ", stale-if-error=60, no-cache", false),
    ] {
        let origin = Origin::scripted(move |conversation| {
            while let Some(request) = conversation.next_request()? {
                if request.header("if-none-match").is_none() {
                    conversation.respond(&request, stale("old", more))?;
                    continue;
                }
                match way {
                    "close" => return Ok(()),
                    "hang" => return conversation.hang(),
                    status => {
                        let status = status.parse().unwrap_or(500);
                        conversation.respond(&request, Response::new(status, "failed"))?;
                    }
                }
            }
            Ok(())
        })?;
        let seawall =
            caching(&origin).route("retry = { attempts = 1 }\ntimeout = \"300ms\"").start()?;
        assert_eq!(ask(&seawall, "/", "")?.text(), "old");
        // 404 is no failure, and nothing is left to be asked about after it.
        for _ in 0..if way == "404" { 1 } else { 2 } {
            let response = ask(&seawall, "/", "")?;
            let name = format!("{way}{more}: {response:?}");
            assert_eq!(response.text() == "old", serves, "{name}");
            if serves {
                assert_eq!(response.status, 200, "{name}");
                assert!(status_of(&response).contains("stale-if-error"), "{name}");
                assert_eq!(
                    response
                        .header("age")
                        .and_then(|age| age.parse().ok())
                        .map(|age: u32| age >= 20),
                    Some(true),
                    "{name}"
                );
            } else if way != "404" {
                assert!(response.status >= 500, "{name}");
            }
        }
    }
    Ok(())
}

/// The same for a server that is not there at all.
#[test]
fn stale_when_nobody_listens() -> io::Result<()> {
    let origin = Origin::responding(|_| stale("old", ""))?;
    let seawall = caching_with(&origin, "stale-if-error = \"60s\"").start()?;
    assert_eq!(ask(&seawall, "/", "")?.text(), "old");
    origin.stop();
    let response = ask(&seawall, "/", "")?;
    assert_eq!((response.status, response.text().as_str()), (200, "old"));
    assert!(ask(&seawall, "/other", "")?.status >= 500);
    Ok(())
}

/// A validation brings new fields and a new lifetime to what is stored.
#[test]
fn a_304_updates_what_is_stored() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.header("if-none-match") {
        Some("\"one\"") => Response::new(304, "")
            .with("etag", "\"one\"")
            .with("cache-control", "max-age=60")
            .with("x-new", "yes")
            .with("x-both", "new"),
        Some(other) => panic!("{other} was never sent"),
        None => stale("0123456789", "").with("x-old", "yes").with("x-both", "old"),
    })?;
    let seawall = caching(&origin).start()?;
    ask(&seawall, "/", "")?;
    for hit in [false, true, true] {
        let response = ask(&seawall, "/", "")?;
        assert_eq!(is_hit(&response), hit, "{}", status_of(&response));
        assert_eq!((response.status, response.text().as_str()), (200, "0123456789"));
        assert_eq!(response.header("x-new"), Some("yes"));
        assert_eq!(response.header("x-old"), Some("yes"));
        assert_eq!(response.headers.all("x-both").collect::<Vec<_>>(), ["new"]);
        let age: u32 = response.header("age").and_then(|age| age.parse().ok()).unwrap_or(99);
        assert!(age < 20, "{age}");
    }
    assert_eq!(origin.requests(), 2);
    origin.stop();
    Ok(())
}

/// A 304 after which nothing may be kept, for each method.
#[test]
fn a_304_that_forbids_to_keep() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.header("if-none-match") {
        Some(_) => Response::new(304, "").with("etag", "\"one\"").with("cache-control", "no-store"),
        None => stale("0123456789", ""),
    })?;
    let seawall = caching(&origin).start()?;
    let mut client = seawall.connect()?;
    for _ in 0..3 {
        assert_eq!(client.get("test", "/")?.text(), "0123456789");
        client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n")?;
        let head = client.read_response_to("HEAD")?;
        assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    }
    Ok(())
}

/// A hot answer is fetched anew before its lifetime ends, and never asked for in the foreground
/// again; what fails in the background replaces nothing.
#[test]
fn early_refresh() -> io::Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let gate = Gate::new();
    let origin = Origin::scripted({
        let (gate, count) = (gate.clone(), count.clone());
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                match count.fetch_add(1, SeqCst) {
                    0 => {
                        // A fetch that takes long is begun early.
                        conversation.wait(&gate)?;
                        let first = Response::new(200, "0").with("cache-control", "max-age=3");
                        conversation.respond(&request, first)?;
                    }
                    1 => conversation.respond(&request, Response::new(500, "sorry"))?,
                    number => conversation.respond(&request, fresh(number.to_string()))?,
                }
            }
            Ok(())
        }
    })?;
    let seawall = Setup::before(&origin).route("cache = { jitter = \"0%\" }").start()?;
    let mut first = seawall.connect()?;
    first.send(crate::setup::get("/", ""))?;
    gate.wait_for_waiting(1)?;
    // What is measured is how long the origin takes, which is to be something.
    std::thread::sleep(std::time::Duration::from_millis(400));
    gate.open();
    assert_eq!(first.read_response()?.text(), "0");
    let mut client = seawall.connect()?;
    let mut last = String::new();
    eventually("it is fetched anew", || {
        let response = client.get("test", "/")?;
        assert_eq!(response.status, 200);
        assert!(is_hit(&response), "{}", status_of(&response));
        last = response.text();
        Ok(last != "0")
    })?;
    assert_eq!(last, "2", "a failure is not stored");
    Ok(())
}

/// Several who ask while what is stored is validated wait for the one validation.
#[test]
fn one_validation_for_all() -> io::Result<()> {
    let gate = Gate::new();
    let origin = Origin::scripted({
        let gate = gate.clone();
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                if request.header("if-none-match").is_none() {
                    conversation.respond(&request, stale("old", ""))?;
                    continue;
                }
                conversation.wait(&gate)?;
                let answer = Response::new(304, "").with("cache-control", "max-age=60");
                conversation.respond(&request, answer.with("etag", "\"one\""))?;
            }
            Ok(())
        }
    })?;
    let seawall = caching(&origin).workers(2).start()?;
    ask(&seawall, "/", "")?;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = seawall.connect()?;
        client.send(crate::setup::get("/", ""))?;
        clients.push(client);
    }
    gate.wait_for_waiting(1)?;
    gate.open();
    for mut client in clients {
        assert_eq!(client.read_response()?.text(), "old");
    }
    assert_eq!(origin.requests(), 2);
    Ok(())
}
