//! Those who want others to get what is not theirs, or the origin to get more than it can take.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use seawall_testkit::{Gate, Origin, RawClient, Response, Seawall};

use super::{ask, caching, caching_with, fresh, is_hit, status_of};
use crate::setup::{Setup, eventually, get};

/// Answers with what it is told in `X-Site`, as applications do that are handed fields as
/// variables: `-` and `_` are one to them.
fn of_site() -> io::Result<Origin> {
    Origin::responding(|request| {
        let site = request.header("x-site").or(request.header("x_site"));
        fresh(site.unwrap_or("none"))
    })
}

#[test]
fn connection_takes_no_field_from_the_origin_that_the_cache_goes_by() -> io::Result<()> {
    for keys in ["key = { headers = [\"x-site\"] }", "vary = [\"x-site\"]"] {
        let origin = of_site()?;
        let seawall = caching_with(&origin, keys).start()?;
        let attack = ask(&seawall, "/", "x-site: a\r\nconnection: x-site\r\n")?;
        assert_eq!(attack.text(), "none", "{keys}");
        assert!(status_of(&attack).contains("fwd=bypass"), "{}", status_of(&attack));
        let victim = ask(&seawall, "/", "x-site: a\r\n")?;
        assert_eq!(victim.text(), "a", "{keys}: {}", status_of(&victim));
        // Names of fields that are not there change nothing.
        let other = ask(&seawall, "/", "x-site: a\r\nconnection: x-other, te\r\n")?;
        assert!(is_hit(&other), "{keys}: {}", status_of(&other));
    }
    Ok(())
}

#[test]
fn an_underscore_makes_no_other_field() -> io::Result<()> {
    for keys in ["key = { headers = [\"x-site\"] }", "bypass = { headers = [\"x-site\"] }"] {
        let origin = of_site()?;
        let seawall = caching_with(&origin, keys).start()?;
        ask(&seawall, "/", "x_site: evil\r\n")?;
        let victim = ask(&seawall, "/", "")?;
        assert_eq!(victim.text(), "none", "{keys}: {}", status_of(&victim));
    }
    // Who does go by such a name says so.
    let origin = of_site()?;
    let seawall = caching_with(&origin, "vary = [\"x_site\"]").start()?;
    assert_eq!(ask(&seawall, "/", "x_site: a\r\n")?.text(), "a");
    assert_eq!(ask(&seawall, "/", "x_site: b\r\n")?.text(), "b");
    Ok(())
}

#[test]
fn another_method_in_a_field_is_for_the_origin() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let all = ["x-http-method-override", "x-http-method", "x-method-override", "x_http_method"];
        let method = all.iter().find_map(|name| request.header(name)).unwrap_or("GET");
        fresh(method)
    })?;
    let seawall = caching_with(&origin, "stale-while-revalidate = \"1h\"").start()?;
    for name in ["x-http-method-override", "x-http-method", "x-method-override", "x_http_method"] {
        let attack = ask(&seawall, "/", &format!("{name}: HEAD\r\n"))?;
        assert_eq!(attack.text(), "HEAD");
        assert!(status_of(&attack).contains("fwd=bypass"), "{}", status_of(&attack));
    }
    let victim = ask(&seawall, "/", "")?;
    assert_eq!(victim.text(), "GET", "{}", status_of(&victim));
    Ok(())
}

/// Who asks is written by Seawall, so that an answer that depends on it is for nobody else.
#[test]
fn answers_that_vary_by_who_asks_are_not_stored() -> io::Result<()> {
    for name in ["X-Forwarded-For", "forwarded"] {
        let origin = Origin::responding(move |request| {
            let told = request.header(&name.to_ascii_lowercase()).unwrap_or_default();
            fresh(told).with("vary", name)
        })?;
        let seawall = Setup::before(&origin).route("cache = {}").start()?;
        for host in [2, 3, 2] {
            let source = [127, 0, 0, host].into();
            let mut client = RawClient::connect_from(source, seawall.address("web"))?;
            let response = client.exchange(get("/", ""))?;
            assert!(response.text().contains(&format!("127.0.0.{host}")), "{}", response.text());
        }
    }
    Ok(())
}

/// A proxy that may be in a network whose clients may purge does not do so for everybody.
#[test]
fn nobody_purges_through_a_proxy_who_may_not_by_himself() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.method.as_str() {
        "PURGE" => Response::new(405, ""),
        _ => fresh("page"),
    })?;
    let seawall = Setup::before(&origin)
        .server("trust = [\"127.0.0.2\", \"127.0.0.3\"]")
        .route("cache = { purge = [\"127.0.0.0/8\"] }")
        .start()?;
    for (host, fields, may) in [
        (2, "", true),
        (2, "x-forwarded-for: 203.0.113.9\r\n", false),
        (2, "x-forwarded-for: 127.0.0.9, 203.0.113.9\r\n", false),
        (2, "x-forwarded-for: 127.0.0.9\r\n", true),
        (2, "x-forwarded-for: 203.0.113.9, 127.0.0.3\r\n", false),
        (2, "x-forwarded-for: somebody\r\n", false),
        (2, "forwarded: for=203.0.113.9\r\n", false),
        (2, "via: 1.1 proxy\r\n", false),
        // It is not trusted, so its word counts for nothing; but it asks for somebody else.
        (4, "x-forwarded-for: 127.0.0.9\r\n", false),
        (4, "", true),
    ] {
        let mut client = RawClient::connect_from([127, 0, 0, host].into(), seawall.address("web"))?;
        let request = format!("PURGE / HTTP/1.1\r\nhost: test\r\n{fields}\r\n");
        let status = client.exchange(request)?.status;
        assert_eq!(status, if may { 200 } else { 405 }, "from {host} with {fields}");
    }
    Ok(())
}

/// An origin that answers who says `X-Bad` in this way, once the gate is open, and others well.
fn picky(gate: &Gate, bad: fn() -> Response) -> io::Result<Origin> {
    let gate = gate.clone();
    Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            let answer = match request.header("x-bad") {
                Some(_) => {
                    conversation.wait(&gate)?;
                    bad()
                }
                None => fresh("good"),
            };
            conversation.respond(&request, answer)?;
        }
        Ok(())
    })
}

/// Whoever makes the origin refuse him cannot make all who wait with him ask it at once.
#[test]
fn a_request_that_is_refused_is_no_stampede() -> io::Result<()> {
    const CLIENTS: u64 = 40;
    type Refusal = (&'static str, fn() -> Response);
    let refusals: [Refusal; 4] = [
        ("", || Response::new(400, "bad")),
        ("", || Response::new(431, "large")),
        ("", || Response::new(429, "slow down").with("cache-control", "no-store")),
        ("authorization: Bearer x\r\n", || {
            Response::new(200, "mine").with("cache-control", "max-age=60")
        }),
    ];
    for (fields, bad) in refusals {
        let gate = Gate::new();
        let origin = picky(&gate, bad)?;
        let seawall = caching(&origin).start()?;
        let mut attacker = seawall.connect()?;
        attacker.send(get("/", &format!("x-bad: 1\r\n{fields}")))?;
        origin.wait_for_requests(1)?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = seawall.connect()?;
            client.send(get("/", ""))?;
            clients.push(client);
        }
        let waited = || seawall.metric("seawall_cache_waited_total", &["route=\"app\""]);
        eventually("all wait", || Ok(waited()? == CLIENTS as f64))?;
        gate.open();
        assert_ne!(attacker.read_response()?.text(), "good");
        for mut client in clients {
            let response = client.read_response()?;
            assert_eq!(response.text(), "good", "{}", status_of(&response));
        }
        assert_eq!(origin.requests(), 2, "{fields}: one for the attacker, one for the others");
        assert!(is_hit(&ask(&seawall, "/", "")?));
    }
    Ok(())
}

/// A range far beyond what is there has the origin asked for a part; that there is none says
/// nothing of the whole.
#[test]
fn a_range_beyond_the_end_leaves_no_mark() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.header("range") {
        Some(_) => Response::new(416, "").with("content-range", "bytes */5"),
        None => fresh("small"),
    })?;
    let seawall = caching(&origin).start()?;
    let response = ask(&seawall, "/", "range: bytes=5000000-\r\n")?;
    assert_eq!(response.status, 416);
    let response = ask(&seawall, "/", "")?;
    assert!(status_of(&response).contains("stored"), "{}", status_of(&response));
    assert!(is_hit(&ask(&seawall, "/", "")?));
    Ok(())
}

/// What is stored and stale stays for the others when the origin is asked about it by a request
/// that it refuses, or whose answer is only for who has its credentials.
#[test]
fn what_is_stale_survives_a_request_that_is_refused() -> io::Result<()> {
    for (fields, status) in [("x-bad: 1\r\n", 400), ("authorization: Bearer x\r\n", 304)] {
        let asked = Arc::new(AtomicBool::new(false));
        let origin = Origin::responding({
            let asked = asked.clone();
            move |request| {
                if request.header("x-bad").is_some() || request.header("authorization").is_some() {
                    asked.store(true, SeqCst);
                    return Response::new(status, "");
                }
                Response::new(200, "good")
                    .with("cache-control", "max-age=0, stale-while-revalidate=600")
                    .with("etag", "\"one\"")
            }
        })?;
        let seawall = caching(&origin).start()?;
        ask(&seawall, "/", "")?;
        let response = ask(&seawall, "/", fields)?;
        assert!(status_of(&response).contains("revalidating"), "{}", status_of(&response));
        eventually("it has been asked about", || Ok(asked.load(SeqCst)))?;
        eventually("that is over", || Ok(settled(&seawall)? == 0.0))?;
        let response = ask(&seawall, "/", "")?;
        assert!(is_hit(&response), "{fields}: {}", status_of(&response));
        assert_eq!(response.text(), "good");
    }
    Ok(())
}

/// Fetches that go on.
fn settled(seawall: &Seawall) -> io::Result<f64> {
    seawall.metric("seawall_cache_filling", &[])
}
