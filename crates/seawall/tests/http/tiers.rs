//! Tiers of caches: edges ask a shield, that asks the origin, and none gives another what it would
//! not take itself.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall_testkit::{Origin, Redis, ReservedPort, Response, Seawall};

use crate::setup::{Setup, eventually, get, metric_becomes};

fn counting() -> io::Result<Origin> {
    let count = AtomicUsize::new(0);
    Origin::responding(move |_| {
        let count = count.fetch_add(1, SeqCst) + 1;
        Response::new(200, format!("answer {count}"))
            .with("cache-control", "max-age=600, stale-while-revalidate=600")
    })
}

fn shield(origin: &Origin) -> Setup {
    Setup::before(origin)
        .server("trust = [\"127.0.0.1\"]")
        .route("cache = { tier = \"shield\", purge = [\"127.0.0.1\"] }")
}

fn edge(origin: &Origin, parents: &[std::net::SocketAddr]) -> Setup {
    let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
    Setup::before(origin)
        .with(&format!("[upstream.shield]\nservers = {parents:?}"))
        .route("cache = { tier = \"edge\", parent = \"shield\", purge = [\"127.0.0.1\"] }")
}

fn text(node: &Seawall, target: &str) -> io::Result<String> {
    Ok(node.connect()?.get("test", target)?.text())
}

fn purge(node: &Seawall, fields: &str) -> io::Result<()> {
    let request = format!("PURGE /a HTTP/1.1\r\nhost: test\r\n{fields}\r\n");
    let response = node.connect()?.exchange(request)?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(())
}

#[test]
fn edges_ask_the_shield_and_that_asks_the_origin_once() -> io::Result<()> {
    let (origin, unasked) = (counting()?, Origin::always("not asked")?);
    let shield = shield(&origin).start()?;
    for _ in 0..3 {
        let edge = edge(&unasked, &[shield.address("web")]).start()?;
        for _ in 0..3 {
            assert_eq!(text(&edge, "/a")?, "answer 1");
        }
    }
    assert_eq!((origin.requests(), unasked.requests()), (1, 0));
    Ok(())
}

#[test]
fn a_parent_that_is_down_is_skipped() -> io::Result<()> {
    let origin = counting()?;
    let nobody = ReservedPort::new()?;
    let edge = edge(&origin, &[nobody.address()]).start()?;
    assert_eq!(text(&edge, "/a")?, "answer 1");
    assert_eq!(text(&edge, "/a")?, "answer 1");
    assert_eq!(origin.requests(), 1);
    Ok(())
}

#[test]
fn a_parent_that_hangs_is_skipped() -> io::Result<()> {
    let (origin, silent) = (counting()?, Origin::silent()?);
    let edge = edge(&origin, &[silent.address()]).route("timeout = \"2s\"").start()?;
    assert_eq!(text(&edge, "/a")?, "answer 1");
    assert_eq!(origin.requests(), 1);
    Ok(())
}

#[test]
fn a_tier_serves_nothing_stale_to_another() -> io::Result<()> {
    let origin = counting()?;
    let shield = shield(&origin).start()?;
    assert_eq!(text(&shield, "/a")?, "answer 1");
    purge(&shield, "soft-purge: 1\r\n")?;
    let edge = edge(&origin, &[shield.address("web")]).start()?;
    assert_eq!(text(&edge, "/a")?, "answer 2", "it would have taken the old one for fresh");
    purge(&shield, "soft-purge: 1\r\n")?;
    assert_eq!(text(&shield, "/a")?, "answer 2", "clients are served while it is fetched anew");
    Ok(())
}

#[test]
fn a_shield_that_has_not_heard_of_a_purge_does_not_undo_it() -> io::Result<()> {
    let (origin, redis) = (counting()?, Redis::start()?);
    let state = format!("[state]\nredis = \"{}\"", redis.url());
    let shield = shield(&origin).with(&state).start()?;
    let edge = edge(&origin, &[shield.address("web")]).with(&state).start()?;
    for node in [&shield, &edge] {
        metric_becomes(node, "seawall_state_current", &[], 1.0)?;
    }
    for round in 1..100 {
        assert_eq!(text(&edge, "/a")?, format!("answer {round}"));
        purge(&edge, "")?;
    }
    Ok(())
}

#[test]
fn a_tier_that_knows_of_more_purges_is_served_nothing_old() -> io::Result<()> {
    let (origin, redis) = (counting()?, Redis::start()?);
    let state = format!("[state]\nredis = \"{}\"", redis.url());
    let trusting = shield(&origin).with(&state).start()?;
    let other = Setup::before(&origin).with(&state).route("cache = {}").start()?;
    for node in [&trusting, &other] {
        metric_becomes(node, "seawall_state_current", &[], 1.0)?;
    }
    assert_eq!(text(&trusting, "/a")?, "answer 1");
    assert_eq!(text(&other, "/a")?, "answer 2", "another tier fetches for itself");
    let fields = format!("cdn-loop: seawall; node=x\r\nseawall-purges: {}\r\n", "f".repeat(32));
    let ask = |node: &Seawall| node.connect()?.exchange(get("/a", &fields));
    assert_eq!(ask(&other)?.text(), "answer 2", "it does not believe everybody");
    assert_eq!(ask(&trusting)?.text(), "answer 3");
    Ok(())
}

#[test]
fn nodes_that_name_each_other_as_parents_ask_the_origin() -> io::Result<()> {
    let origin = counting()?;
    let nobody = ReservedPort::new()?;
    let one = edge(&origin, &[nobody.address()]).start()?;
    let two = edge(&origin, &[one.address("web")]).start()?;
    one.rewrite(&edge(&origin, &[two.address("web")]).text())?;
    let reloaded = one.reload()?;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let answer = one.connect()?.exchange(get("/a", ""))?;
    assert_eq!((answer.status, answer.text()), (200, "answer 1".to_owned()));
    eventually("both to have it", || Ok(text(&two, "/a")? == "answer 1"))?;
    assert_eq!(origin.requests(), 1);
    Ok(())
}

/// Purges at one node by its API.
fn purge_at(node: &Seawall, order: &str) -> io::Result<()> {
    let response = node.admin_send("POST", "/api/cache/purge", order)?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(())
}

#[test]
fn tiers_that_share_nothing_go_by_ages() -> io::Result<()> {
    let count = AtomicUsize::new(0);
    let origin = Origin::responding(move |_| {
        let count = count.fetch_add(1, SeqCst) + 1;
        Response::new(200, format!("answer {count}"))
            .with("cache-control", "max-age=600, stale-while-revalidate=600")
            .with("cache-tag", "prices")
    })?;
    let unasked = Origin::always("not asked")?;
    // Clients are not listened to, but the tier below is.
    let shield = Setup::before(&origin)
        .server("trust = [\"127.0.0.1\"]")
        .route("cache = { tier = \"shield\", client-control = false }")
        .start()?;
    let edge = edge(&unasked, &[shield.address("web")]).start()?;
    assert_eq!(text(&edge, "/a")?, "answer 1");
    for (order, expect) in [
        ("{\"urls\": [\"http://test/a\"], \"hard\": true}", "answer 2"),
        // What had the tag is gone here, so that it is known only from the answer.
        ("{\"tags\": [\"prices\"], \"hard\": true}", "answer 3"),
    ] {
        purge_at(&edge, order)?;
        assert_eq!(text(&edge, "/a")?, expect, "{order}");
        assert_eq!(text(&edge, "/a")?, expect, "it is stored again");
        assert_eq!(text(&shield, "/a")?, expect, "the shield was asked, and has it too");
    }
    purge_at(&edge, "{\"tags\": [\"prices\"]}")?;
    assert_eq!(text(&edge, "/a")?, "answer 3", "it is served while it is fetched anew");
    eventually("what is new to arrive", || Ok(text(&edge, "/a")? == "answer 4"))?;
    assert_eq!((origin.requests(), unasked.requests()), (4, 0));
    Ok(())
}

#[test]
fn a_request_that_comes_back_is_refused() -> io::Result<()> {
    let origin = counting()?;
    let parent = Origin::always("from the parent")?;
    let edge = edge(&origin, &[parent.address()]).start()?;
    assert_eq!(text(&edge, "/a")?, "from the parent");
    let received = parent.received(0).to_lowercase();
    let own = received.lines().find_map(|line| line.strip_prefix("cdn-loop: "));
    let own = own.unwrap_or_else(|| panic!("it does not say who asks: {received}"));
    let again = edge.connect()?.exchange(get("/b", &format!("cdn-loop: other, {own}\r\n")))?;
    assert_eq!((again.status, crate::setup::code(&again)), (508, "loop".to_owned()));
    assert_eq!(origin.requests(), 0);
    Ok(())
}

#[test]
fn a_parent_is_asked_for_the_url_that_the_client_asked_for() -> io::Result<()> {
    let (origin, nobody) = (counting()?, ReservedPort::new()?);
    let prefixes = "path = \"/shop/*\"\nstrip-prefix = \"/shop\"\nadd-prefix = \"/inner\"";
    let parent = Origin::responding(|request| Response::new(200, request.target.clone()))?;
    let seawall = edge(&origin, &[parent.address()]).route(prefixes).start()?;
    assert_eq!(text(&seawall, "/shop/a?b")?, "/shop/a?b", "or no purge would find it there");
    // The origin is asked for what the route makes of it.
    let seawall = edge(&origin, &[nobody.address()]).route(prefixes).start()?;
    assert_eq!(text(&seawall, "/shop/a?b")?, "answer 1");
    assert!(origin.received(0).starts_with("GET /inner/a?b "), "{}", origin.received(0));
    Ok(())
}

#[test]
fn a_failure_of_the_origin_is_not_asked_for_again() -> io::Result<()> {
    let origin = Origin::responding(|_| Response::new(503, "too much"))?;
    let unasked = Origin::always("not asked")?;
    let shield = shield(&origin).start()?;
    let edge = edge(&unasked, &[shield.address("web")]).start()?;
    let answer = edge.connect()?.get("test", "/a")?;
    assert_eq!((answer.status, answer.text()), (503, "too much".to_owned()));
    assert_eq!((origin.requests(), unasked.requests()), (1, 0));
    Ok(())
}

#[test]
fn a_shield_that_does_not_reach_the_origin_is_skipped() -> io::Result<()> {
    let origin = counting()?;
    let nobody = ReservedPort::new()?;
    let shield = Setup::to(nobody.address()).route("cache = { tier = \"shield\" }").start()?;
    let edge = edge(&origin, &[shield.address("web")]).start()?;
    assert_eq!(text(&edge, "/a")?, "answer 1");
    assert_eq!(origin.requests(), 1);
    Ok(())
}
