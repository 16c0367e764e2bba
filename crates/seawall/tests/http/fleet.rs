//! Several nodes with one Redis: one fetch for all of them, purges that reach each of them, and what
//! happens when Redis, or a node, is gone for a while.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use seawall_testkit::{Gate, LoadPlan, Origin, Redis, Response, Seawall, Signal};

use crate::setup::{Setup, eventually, get, metric_becomes};

/// An origin whose answers say which of all requests they answer.
fn counting() -> io::Result<Origin> {
    let count = AtomicUsize::new(0);
    Origin::responding(move |_| {
        let count = count.fetch_add(1, SeqCst) + 1;
        Response::new(200, format!("answer {count}")).with("cache-control", "max-age=600")
    })
}

fn setup(origin: &Origin, redis: &Redis, cache: &str) -> Setup {
    Setup::before(origin)
        .with(&format!("[state]\nredis = \"{}\"", redis.url()))
        .route(&format!("cache = {{ purge = [\"127.0.0.1\"] {cache} }}"))
}

/// A node that has joined its fleet.
fn node(setup: &Setup) -> io::Result<Seawall> {
    let node = setup.start()?;
    joined(&node)?;
    Ok(node)
}

fn joined(node: &Seawall) -> io::Result<()> {
    metric_becomes(node, "seawall_state_current", &[], 1.0)?;
    metric_becomes(node, "seawall_state_leasing", &[], 1.0)
}

fn nodes<const N: usize>(setup: &Setup) -> io::Result<[Seawall; N]> {
    let nodes: Vec<_> = (0..N).map(|_| node(setup)).collect::<io::Result<_>>()?;
    Ok(nodes.try_into().expect("as many as were asked for"))
}

fn text(node: &Seawall, target: &str) -> io::Result<String> {
    Ok(node.connect()?.get("test", target)?.text())
}

fn purge(node: &Seawall, target: &str) -> io::Result<()> {
    let response =
        node.connect()?.exchange(format!("PURGE {target} HTTP/1.1\r\nhost: test\r\n\r\n"))?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(())
}

/// What the admin API says of a request for `/a`.
fn explained(node: &Seawall) -> io::Result<String> {
    Ok(node.admin_get("/api/cache/explain?url=http://test/a")?.text())
}

#[test]
fn a_fleet_fetches_once() -> io::Result<()> {
    let (redis, gate) = (Redis::start()?, Gate::new());
    let asked = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&asked)?;
            let answer = Response::new(200, "hot").with("cache-control", "max-age=600");
            conversation.respond(&request, answer)?;
        }
        Ok(())
    })?;
    let setup = setup(&origin, &redis, "");
    let nodes: [Seawall; 3] = nodes(&setup)?;
    let mut clients = Vec::new();
    for number in 0..300 {
        let mut client = nodes[number % 3].connect()?;
        client.send(get("/hot", ""))?;
        clients.push(client);
    }
    // All three know that they want it, and two of them that another is at it.
    origin.wait_for_requests(1)?;
    eventually("two nodes are to wait for the third", || {
        let held = nodes.iter().map(|node| {
            node.metric("seawall_state_turns_total", &["turn=\"held\""]).map(|held| held > 0.0)
        });
        Ok(held.collect::<io::Result<Vec<bool>>>()?.iter().filter(|held| **held).count() == 2)
    })?;
    gate.open();
    for mut client in clients {
        assert_eq!(client.read_response()?.text(), "hot");
    }
    assert_eq!(origin.requests(), 1);
    // A node that comes later has it from there too.
    let late = node(&setup)?;
    assert_eq!(text(&late, "/hot")?, "hot");
    assert_eq!(origin.requests(), 1);
    Ok(())
}

#[test]
fn variants_are_each_fetched_once() -> io::Result<()> {
    let redis = Redis::start()?;
    let origin = Origin::responding(|request| {
        let language = request.header("accept-language").unwrap_or("none").to_owned();
        Response::new(200, language)
            .with("cache-control", "max-age=600")
            .with("vary", "accept-language")
    })?;
    let nodes: [Seawall; 3] = nodes(&setup(&origin, &redis, ""))?;
    for round in 0..2 {
        for node in &nodes {
            for language in ["de", "fr", "it"] {
                let request = get("/", &format!("accept-language: {language}\r\n"));
                let answer = node.connect()?.exchange(request)?;
                assert_eq!(answer.text(), language, "round {round}");
            }
        }
    }
    assert_eq!(origin.requests(), 3);
    Ok(())
}

#[test]
fn what_is_not_to_be_stored_is_not_waited_for() -> io::Result<()> {
    let redis = Redis::start()?;
    let origin = Origin::responding(|_| Response::new(200, "x").with("cache-control", "private"))?;
    let nodes: [Seawall; 3] = nodes(&setup(&origin, &redis, ""))?;
    for node in &nodes {
        for _ in 0..3 {
            assert_eq!(text(node, "/mine")?, "x");
        }
    }
    assert_eq!(origin.requests(), 9, "each has an answer of its own");
    let leases = |node: &Seawall| node.metric("seawall_state_turns_total", &["turn=\"lease\""]);
    assert_eq!(leases(&nodes[0])?, 1.0);
    assert_eq!(leases(&nodes[1])? + leases(&nodes[2])?, 0.0, "they were told by the first");
    Ok(())
}

#[test]
fn a_purge_reaches_all_nodes() -> io::Result<()> {
    let redis = Redis::start()?;
    let origin = counting()?;
    let nodes: [Seawall; 3] = nodes(&setup(&origin, &redis, ""))?;
    for node in &nodes {
        assert_eq!(text(node, "/a")?, "answer 1");
    }
    purge(&nodes[2], "/a")?;
    for node in &nodes {
        eventually("the purge to reach a node", || Ok(text(node, "/a")? == "answer 2"))?;
    }
    assert_eq!(origin.requests(), 2, "and it was fetched anew once");
    // An unsafe request to one node is one to all.
    let answer = nodes[0]
        .connect()?
        .exchange("POST /a HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n")?;
    assert_eq!(answer.text(), "answer 3");
    for node in &nodes {
        eventually("the change to reach a node", || Ok(text(node, "/a")? == "answer 4"))?;
    }
    Ok(())
}

#[test]
fn a_purge_holds_for_what_is_being_fetched() -> io::Result<()> {
    let (redis, gate, count) = (Redis::start()?, Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (asked, counted) = (gate.clone(), count.clone());
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            let count = counted.fetch_add(1, SeqCst) + 1;
            if count == 1 {
                conversation.wait(&asked)?;
            }
            let answer = Response::new(200, format!("answer {count}"));
            conversation.respond(&request, answer.with("cache-control", "max-age=600"))?;
        }
        Ok(())
    })?;
    let nodes: [Seawall; 2] = nodes(&setup(&origin, &redis, ""))?;
    let mut first = nodes[0].connect()?;
    first.send(get("/a", ""))?;
    origin.wait_for_requests(1)?;
    purge(&nodes[1], "/a")?;
    metric_becomes(&nodes[0], "seawall_state_purges_total", &[], 1.0)?;
    // It may have been answered before the purge, so nobody else is given it.
    assert_eq!(text(&nodes[1], "/a")?, "answer 2");
    gate.open();
    assert_eq!(first.read_response()?.text(), "answer 1", "it was asked before the purge");
    for node in &nodes {
        assert_eq!(text(node, "/a")?, "answer 2");
    }
    Ok(())
}

#[test]
fn a_node_that_stood_still_catches_up_before_it_serves() -> io::Result<()> {
    let redis = Redis::start()?;
    let origin = counting()?;
    let mut nodes: [Seawall; 2] = nodes(&setup(&origin, &redis, ""))?;
    for node in &nodes {
        assert_eq!(text(node, "/a")?, "answer 1");
    }
    // This connection is there before, so that nothing but the node itself is slow.
    let mut client = nodes[1].connect()?;
    assert_eq!(client.get("test", "/a")?.text(), "answer 1");
    nodes[1].process().signal(Signal::STOP)?;
    purge(&nodes[0], "/a")?;
    assert_eq!(text(&nodes[0], "/a")?, "answer 2");
    // Longer than a node counts as current without having heard anything.
    thread::sleep(std::time::Duration::from_millis(1100));
    client.send(get("/a", ""))?;
    nodes[1].process().signal(Signal::CONT)?;
    assert_eq!(client.read_response()?.text(), "answer 2", "not even the first is old");
    Ok(())
}

#[test]
fn a_node_that_was_restarted_catches_up_before_it_serves() -> io::Result<()> {
    let (redis, home) = (Redis::start()?, tempfile::tempdir()?);
    let origin = counting()?;
    let place = home.path().join("fleet");
    let with_disk = setup(&origin, &redis, "")
        .with(&format!("[cache]\ndisk = {{ path = {:?}, size = \"64MiB\" }}", home.path()));
    let other = node(&setup(&origin, &redis, ""))?;
    let mut first = node(&with_disk)?;
    // What is found in memory goes to disk.
    for _ in 0..2 {
        assert_eq!(text(&first, "/a")?, "answer 1");
        assert_eq!(text(&first, "/b")?, "answer 2");
    }
    // Its place among purges is kept, and another than that of its beginning.
    eventually("its place to be kept", || Ok(place.exists()))?;
    let begun = std::fs::read(&place)?;
    purge(&other, "/c")?;
    eventually("its place to change", || Ok(std::fs::read(&place)? != begun))?;
    first.terminate()?;
    first.wait()?;
    purge(&other, "/a")?;
    assert_eq!(text(&other, "/a")?, "answer 3");
    let second = with_disk.start()?;
    assert_eq!(text(&second, "/a")?, "answer 3", "not even the first is old");
    // The disk is read in the background; this asks nobody but the cache.
    let cached = get("/b", "cache-control: only-if-cached\r\n");
    eventually("the disk to be read", || {
        Ok(second.connect()?.exchange(&cached)?.text() == "answer 2")
    })?;
    assert_eq!(text(&second, "/b")?, "answer 2");
    assert_eq!(origin.requests(), 3, "what was not purged is still there");
    assert_eq!(second.metric("seawall_state_lost_total", &[])?, 0.0);
    Ok(())
}

#[test]
fn redis_may_die_under_load() -> io::Result<()> {
    let mut redis = Redis::start()?;
    let origin =
        Origin::responding(|_| Response::new(200, "ok").with("cache-control", "max-age=1"))?;
    let setup = setup(&origin, &redis, "");
    let nodes: [Seawall; 2] = nodes(&setup)?;
    let loads: Vec<_> = nodes
        .iter()
        .map(|node| LoadPlan::get(node.address("web"), "/hot", 8).start())
        .collect::<io::Result<_>>()?;
    let all_go_on = || loads.iter().try_for_each(|load| load.wait_for_more(500).map(drop));
    all_go_on()?;
    redis.kill()?;
    for node in &nodes {
        metric_becomes(node, "seawall_state_current", &[], 0.0)?;
    }
    all_go_on()?;
    redis.restart()?;
    nodes.iter().try_for_each(joined)?;
    all_go_on()?;
    redis.pause()?;
    for node in &nodes {
        metric_becomes(node, "seawall_state_current", &[], 0.0)?;
    }
    all_go_on()?;
    redis.resume()?;
    nodes.iter().try_for_each(joined)?;
    all_go_on()?;
    for load in loads {
        let tally = load.stop();
        assert_eq!(tally.failed, 0, "{tally:?}");
    }
    Ok(())
}

#[test]
fn without_the_state_answers_are_served_or_validated() -> io::Result<()> {
    let mut redis = Redis::start()?;
    let origin = counting()?;
    let setup = setup(&origin, &redis, "");
    let serves = node(&setup)?;
    let validates = node(&setup.with("[cache]\nwithout-state = \"validate\""))?;
    for node in [&serves, &validates] {
        assert_eq!(text(node, "/a")?, "answer 1");
    }
    redis.kill()?;
    assert!(explained(&serves)?.contains("knows of all purges"));
    for node in [&serves, &validates] {
        metric_becomes(node, "seawall_state_current", &[], 0.0)?;
    }
    let told = [explained(&serves)?, explained(&validates)?];
    assert!(
        told[0].contains("has been away") && told[0].contains("served all the same"),
        "{told:?}"
    );
    assert!(told[1].contains("has been away") && told[1].contains("\"expired\""), "{told:?}");
    eventually("what it means to be said", || {
        Ok(serves.log().contains("mend state.redis; until it is back each node fetches for itself"))
    })?;
    assert_eq!(text(&serves, "/a")?, "answer 1");
    eventually("the other to ask the origin", || Ok(text(&validates, "/a")? != "answer 1"))?;
    // What is purged now is told when it can be.
    purge(&validates, "/a")?;
    assert_eq!(text(&serves, "/a")?, "answer 1");
    redis.restart()?;
    eventually("the purge to arrive", || Ok(text(&serves, "/a")? != "answer 1"))
}

#[test]
fn a_version_in_the_state_is_a_namespace() -> io::Result<()> {
    let redis = Redis::start()?;
    redis.command(&["SET", "seawall:shop-version", "1"])?;
    let origin = counting()?;
    let nodes: [Seawall; 2] =
        nodes(&setup(&origin, &redis, ", version = { state = \"shop-version\" }"))?;
    for node in &nodes {
        eventually("the version to be known", || Ok(!text(node, "/a")?.is_empty()))?;
    }
    let before = [text(&nodes[0], "/a")?, text(&nodes[1], "/a")?];
    redis.command(&["INCR", "seawall:shop-version"])?;
    for (node, before) in nodes.iter().zip(&before) {
        eventually("the version to change", || Ok(text(node, "/a")? != *before))?;
    }
    redis.command(&["DECR", "seawall:shop-version"])?;
    for (node, before) in nodes.iter().zip(&before) {
        eventually("the version to be what it was", || Ok(text(node, "/a")? == *before))?;
    }
    Ok(())
}

#[test]
fn a_wrong_password_is_said_once_and_all_is_served() -> io::Result<()> {
    let redis = Redis::with(&["--requirepass", "right"])?;
    let origin = counting()?;
    let url = format!("[state]\nredis = \"redis://:wrong@{}\"", redis.address());
    let mut node = Setup::before(&origin).with(&url).route("cache = {}").start()?;
    assert_eq!(text(&node, "/a")?, "answer 1");
    assert_eq!(text(&node, "/a")?, "answer 1");
    let says = "refuses the user or the password of state.redis";
    node.process().wait_for_text(says)?;
    eventually("some more attempts", || {
        Ok(node.metric("seawall_state_failures_total", &[])? > 5.0)
    })?;
    let lines = node.process().lines();
    assert_eq!(lines.iter().filter(|line| line.text.contains(says)).count(), 1);
    assert!(lines.iter().all(|line| !line.text.contains(":wrong@")));
    Ok(())
}

#[test]
fn a_reload_joins_and_leaves() -> io::Result<()> {
    let redis = Redis::start()?;
    let origin = counting()?;
    let alone = Setup::before(&origin).route("cache = { purge = [\"127.0.0.1\"] }");
    let fleet = setup(&origin, &redis, "");
    let (a, b) = (alone.start()?, node(&fleet)?);
    assert_eq!(text(&a, "/a")?, "answer 1");
    assert_eq!(text(&b, "/a")?, "answer 2");
    a.rewrite(&fleet.text())?;
    assert_eq!(a.reload()?.status, 200);
    joined(&a)?;
    purge(&b, "/a")?;
    eventually("the purge to reach the other", || Ok(text(&a, "/a")? != "answer 1"))?;
    a.rewrite(&alone.text())?;
    assert_eq!(a.reload()?.status, 200);
    let before = text(&a, "/a")?;
    purge(&b, "/a")?;
    eventually("the purge to hold", || Ok(text(&b, "/a")? != before))?;
    assert_eq!(text(&a, "/a")?, before, "it is on its own again");
    assert_eq!(a.metric("seawall_state_leasing", &[])?, 0.0);
    Ok(())
}
