//! What makes stored answers invalid: requests that change something, and purges.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall_testkit::{Gate, Origin, RawClient, Response, Seawall};

use super::{ask, caching, caching_with, fresh, is_hit, status_of};
use crate::setup::{get, post};

/// Answers everything, and `POST` as the target says: `/STATUS?FIELD:VALUE`.
fn origin() -> io::Result<Origin> {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::responding(move |request| {
        let number = count.fetch_add(1, SeqCst);
        if matches!(request.method.as_str(), "GET" | "HEAD") {
            return fresh(number.to_string());
        }
        let status = request.header("x-status").and_then(|status| status.parse().ok());
        let mut answer = Response::new(status.unwrap_or(200), "");
        for name in ["location", "content-location"] {
            if let Some(value) = request.header(&format!("x-{name}")) {
                answer = answer.with(name, value);
            }
        }
        answer
    })
}

/// Whether what is stored is served; it is stored if not.
fn is_stored(seawall: &Seawall, target: &str) -> io::Result<bool> {
    let response = ask(seawall, target, "")?;
    assert_eq!(response.status, 200);
    Ok(is_hit(&response))
}

#[test]
fn requests_that_change_something() -> io::Result<()> {
    let origin = origin()?;
    let seawall = caching(&origin).start()?;
    for (method, fields, gone) in [
        ("POST", "", &["/a"][..]),
        ("PUT", "", &["/a"]),
        ("DELETE", "", &["/a"]),
        ("PATCH", "", &["/a"]),
        ("BREW", "", &["/a"]),
        ("OPTIONS", "", &[]),
        ("POST", "x-status: 302\r\n", &["/a"]),
        ("POST", "x-status: 400\r\n", &[]),
        ("POST", "x-status: 503\r\n", &[]),
        ("POST", "x-location: /b\r\n", &["/a", "/b"]),
        ("POST", "x-location: http://test/b\r\n", &["/a", "/b"]),
        ("POST", "x-location: http://TEST:80/b\r\n", &["/a", "/b"]),
        ("POST", "x-location: //test/b\r\n", &["/a", "/b"]),
        ("POST", "x-location: b\r\n", &["/a", "/b"]),
        ("POST", "x-content-location: /b\r\n", &["/a", "/b"]),
        ("POST", "x-content-location: /b\r\nx-location: /c\r\n", &["/a", "/b", "/c"]),
        // Others cannot be made invalid (RFC 9111 §4.4).
        ("POST", "x-location: http://other/b\r\n", &["/a"]),
        ("POST", "x-location: https://test/b\r\n", &["/a"]),
        ("POST", "x-location: http://test:8080/b\r\n", &["/a"]),
        ("POST", "x-location: //other/b\r\n", &["/a"]),
    ] {
        let all = ["/a", "/b", "/c", "/a?b"];
        for target in all {
            is_stored(&seawall, target)?;
            assert!(is_stored(&seawall, target)?, "{target}");
        }
        let other = "GET /b HTTP/1.1\r\nhost: other\r\n\r\n";
        seawall.connect()?.exchange(other)?;
        let request = post("/a", fields, "body").replacen("POST", method, 1);
        let answer = seawall.connect()?.exchange(request)?;
        assert!(status_of(&answer).contains("fwd=method"), "{}", status_of(&answer));
        for target in all {
            let expect = !gone.contains(&target);
            assert_eq!(is_stored(&seawall, target)?, expect, "{target} after {method} {fields}");
        }
        assert!(is_hit(&seawall.connect()?.exchange(other)?), "{fields}");
    }
    Ok(())
}

fn purge_from(seawall: &Seawall, host: u8, target: &str, fields: &str) -> io::Result<Response> {
    let source = [127, 0, 0, host].into();
    let mut client = RawClient::connect_from(source, seawall.address("web"))?;
    client.exchange(format!("PURGE {target} HTTP/1.1\r\nhost: test\r\n{fields}\r\n"))
}

#[test]
fn purge_is_for_those_who_may() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.method.as_str() {
        "PURGE" => Response::new(405, ""),
        _ => fresh(request.target.clone()),
    })?;
    let seawall = caching_with(&origin, "purge = [\"127.0.0.2\"]").start()?;
    let all = ["/a", "/dir/b", "/dir/c?d", "/dirt"];
    for target in all {
        is_stored(&seawall, target)?;
    }
    assert_eq!(purge_from(&seawall, 3, "/a", "")?.status, 405);
    assert!(is_stored(&seawall, "/a")?);
    assert_eq!(purge_from(&seawall, 2, "/a", "")?.status, 200);
    for target in all {
        assert_eq!(is_stored(&seawall, target)?, target != "/a", "{target}");
    }
    assert_eq!(purge_from(&seawall, 2, "/dir/*", "")?.status, 200);
    for target in all {
        assert_eq!(is_stored(&seawall, target)?, !target.starts_with("/dir/"), "{target}");
    }
    // What is purged softly is served while it is fetched anew.
    let before = origin.requests();
    assert_eq!(purge_from(&seawall, 2, "/a", "soft-purge: 1\r\n")?.status, 200);
    let response = ask(&seawall, "/a", "")?;
    assert!(status_of(&response).contains("revalidating"), "{}", status_of(&response));
    origin.wait_for_requests(before + 1)?;
    crate::setup::eventually("it is fresh", || {
        Ok(!status_of(&ask(&seawall, "/a", "")?).contains("revalidating"))
    })?;
    assert_eq!(origin.requests(), before + 1);
    Ok(())
}

/// What was being fetched when it was purged is given to those who had asked before, and to nobody
/// after it.
#[test]
fn what_was_being_fetched_when_it_was_purged() -> io::Result<()> {
    for soft in [false, true] {
        let gate = Gate::new();
        let count = Arc::new(AtomicUsize::new(0));
        let origin = Origin::scripted({
            let (gate, count) = (gate.clone(), count.clone());
            move |conversation| {
                while let Some(request) = conversation.next_request()? {
                    let number = count.fetch_add(1, SeqCst);
                    if number == 0 {
                        conversation.wait(&gate)?;
                    }
                    conversation.respond(&request, fresh(number.to_string()))?;
                }
                Ok(())
            }
        })?;
        let seawall = caching_with(&origin, "purge = [\"127.0.0.2\"]").start()?;
        let mut first = seawall.connect()?;
        first.send(get("/", ""))?;
        gate.wait_for_waiting(1)?;
        let fields = if soft { "soft-purge: 1\r\n" } else { "" };
        assert_eq!(purge_from(&seawall, 2, "/", fields)?.status, 200);
        assert_eq!(ask(&seawall, "/", "")?.text(), "1", "it does not wait for what is old");
        gate.open();
        assert_eq!(first.read_response()?.text(), "0");
        for _ in 0..3 {
            assert_eq!(ask(&seawall, "/", "")?.text(), "1");
        }
    }
    Ok(())
}

fn purge(seawall: &Seawall, order: &str) -> io::Result<()> {
    let answer = seawall.admin_send("POST", "/api/cache/purge", order)?;
    assert_eq!(answer.status, 200, "{order}: {}", answer.text());
    Ok(())
}

/// What the API purges is gone, and nothing else is.
#[test]
fn purges_by_the_api() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let answer = fresh(request.target.clone());
        match request.target.as_str() {
            "/a" => answer.with("surrogate-key", "one two"),
            "/b" => answer.with("cache-tag", "two, three"),
            "/c" => answer.with("x-tags", "three").with("surrogate-key", ""),
            "/dir/d" => answer.with("cache-tag", ", ,"),
            _ => answer,
        }
    })?;
    let seawall = caching_with(&origin, "tags = \"x-tags\"").workers(2).start()?;
    let all = ["/a", "/b", "/c", "/dir/d", "/dir/sub/e?f", "/dirt"];
    for (order, gone) in [
        (r#"{"tags": ["one"], "hard": true}"#, &["/a"][..]),
        (r#"{"tags": ["two"], "hard": true}"#, &["/a", "/b"]),
        (r#"{"tags": ["three"], "hard": true}"#, &["/b", "/c"]),
        (r#"{"tags": ["one", "three"], "hard": true}"#, &["/a", "/b", "/c"]),
        (r#"{"tags": ["none"], "hard": true}"#, &[]),
        (r#"{"urls": ["http://test/b"], "hard": true}"#, &["/b"]),
        (r#"{"urls": ["http://test/dir/sub/e"], "hard": true}"#, &[]),
        (r#"{"urls": ["http://test/dir/sub/e?f"], "hard": true}"#, &["/dir/sub/e?f"]),
        (r#"{"prefixes": ["http://test/dir/*"], "hard": true}"#, &["/dir/d", "/dir/sub/e?f"]),
        (r#"{"prefixes": ["http://other/dir/*"], "hard": true}"#, &[]),
        (r#"{"hosts": ["other"], "hard": true}"#, &[]),
        (r#"{"hosts": ["test"], "hard": true}"#, &all),
        (r#"{"everything": true, "hard": true}"#, &all),
    ] {
        for target in all {
            is_stored(&seawall, target)?;
            assert!(is_stored(&seawall, target)?, "{target}");
        }
        purge(&seawall, order)?;
        for target in all {
            let expect = !gone.contains(&target);
            assert_eq!(is_stored(&seawall, target)?, expect, "{target} after {order}");
        }
    }
    // Nothing is labelled with nothing.
    for order in [r#"{"tags": [""]}"#, r#"{"tags": [" "], "hard": true}"#, "{}", r#"{"tags": []}"#]
    {
        assert_eq!(seawall.admin_send("POST", "/api/cache/purge", order)?.status, 422, "{order}");
    }
    for target in all {
        assert!(is_stored(&seawall, target)?, "{target}");
    }
    Ok(())
}

/// After a soft purge of everything, what is old is served until what is new is there.
#[test]
fn a_soft_purge_of_everything() -> io::Result<()> {
    let origin = origin()?;
    let seawall = caching(&origin).workers(2).start()?;
    let targets: Vec<_> = (0..300).map(|number| format!("/{number}")).collect();
    let mut old = Vec::new();
    for target in &targets {
        old.push(ask(&seawall, target, "")?.text());
    }
    purge(&seawall, r#"{"everything": true}"#)?;
    for (target, old) in targets.iter().zip(&old) {
        let response = ask(&seawall, target, "")?;
        assert!(status_of(&response).contains("revalidating"), "{}", status_of(&response));
        assert_eq!(response.text(), *old);
    }
    for (target, old) in targets.iter().zip(&old) {
        crate::setup::eventually("it is new", || Ok(ask(&seawall, target, "")?.text() != *old))?;
    }
    assert_eq!(origin.requests(), 2 * targets.len());
    Ok(())
}

/// Tags beyond so many are dropped, and the answer is stored with the others.
#[test]
fn too_many_tags() -> io::Result<()> {
    let origin = Origin::responding(|_| {
        let tags: Vec<_> = (0..1_000).map(|number| format!("t{number}")).collect();
        fresh("tagged").with("surrogate-key", &tags.join(" "))
    })?;
    let seawall = caching(&origin).start()?;
    is_stored(&seawall, "/")?;
    purge(&seawall, r#"{"tags": ["t999"], "hard": true}"#)?;
    assert!(is_stored(&seawall, "/")?);
    purge(&seawall, r#"{"tags": ["t100"], "hard": true}"#)?;
    assert!(!is_stored(&seawall, "/")?);
    Ok(())
}
