//! Connections to servers: kept, limited, replaced when they die, and never the reason that a
//! request is sent twice when that could do harm.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall_testkit::{Gate, LoadPlan, NodeApp, Origin, ReservedPort, Response, Stalled, Tally};

use crate::setup::{Setup, code, eventually, get, metric_becomes, post, refused};

#[test]
fn a_connection_serves_one_request_after_another() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.body.clone()))?;
    let seawall = Setup::before(&origin).start()?;
    for _ in 0..10 {
        let mut client = seawall.connect()?;
        assert_eq!(client.get("test", "/")?.status, 200);
        assert_eq!(client.exchange(post("/", "", "body"))?.text(), "body");
        client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n")?;
        assert_eq!(client.read_response_to("HEAD")?.status, 200);
    }
    assert_eq!((origin.connections(), origin.requests()), (1, 30));
    assert_eq!(seawall.metric("seawall_upstream_connections_total", &[])?, 1.0);
    assert_eq!(seawall.metric("seawall_upstream_requests_total", &[])?, 30.0);
    Ok(())
}

#[test]
fn idle_connections_are_kept_up_to_their_number_and_age() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, ""))?;
        }
        Ok(())
    })?;
    let setup = Setup::before(&origin);
    let seawall = setup.clone().upstream("keepalive = { idle = 2 }").start()?;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = seawall.connect()?;
        client.send(get("/", ""))?;
        clients.push(client);
    }
    origin.wait_for_connections(6)?;
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response()?.status, 200);
    }
    metric_becomes(&seawall, "seawall_upstream_connections_open", &[], 2.0)?;
    origin.wait_until(|seen| seen.iter().filter(|seen| !seen.ended).count() == 2)?;

    let brief = setup.clone().upstream("keepalive = { timeout = \"100ms\" }").text();
    seawall.rewrite(&brief)?;
    assert_eq!(seawall.reload()?.status, 200);
    origin.wait_until_idle()?;

    // Not at all.
    seawall.rewrite(&setup.upstream("keepalive = { idle = 0 }").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    assert_eq!(clients[0].get("test", "/")?.status, 200);
    origin.wait_until_idle()?;
    metric_becomes(&seawall, "seawall_upstream_connections_open", &[], 0.0)
}

#[test]
fn a_full_upstream_refuses_at_once() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, "here"))?;
        }
        Ok(())
    })?;
    let seawall = Setup::before(&origin).upstream("limits.connections = 2").start()?;
    let mut busy = [seawall.connect()?, seawall.connect()?];
    for client in &mut busy {
        client.send(get("/", ""))?;
    }
    gate.wait_for_waiting(2)?;
    let mut third = seawall.connect()?;
    let response = third.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), (503, "upstream-full"));
    assert!(response.header("retry-after").is_some());
    gate.open();
    for client in &mut busy {
        assert_eq!(client.read_response()?.text(), "here");
    }
    assert_eq!(third.get("test", "/")?.text(), "here", "there is room again");
    assert_eq!(origin.connections(), 2);
    Ok(())
}

/// A cap is for all workers, so the idle connections of one must not shut the others out.
#[test]
fn a_cap_is_shared_by_workers_that_take_turns() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin)
        .workers(4)
        .upstream("limits.connections = 2\nconnect-timeout = \"30s\"")
        .start()?;
    for _ in 0..12 {
        // A new connection each, so that every worker has its turn, and never more than two at once:
        // one that has its answer may still be being cleared away.
        let response = seawall.connect()?.get("test", "/")?;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    Ok(())
}

/// Accepts connections and closes each after its first answer, but only when the test says so.
struct Mortal {
    origin: Origin,
    die: Gate,
}

/// On its first connection, answers one request and closes when `die` opens; on later ones, goes
/// on answering.
fn mortal(also_read: bool) -> io::Result<Mortal> {
    let die = Gate::new();
    let at_gate = die.clone();
    let origin = Origin::scripted(move |conversation| {
        if conversation.index() == 0 {
            let request = conversation.read_request()?;
            conversation.respond(&request, Response::new(200, "first"))?;
            if also_read {
                // Takes the second request and dies of it.
                conversation.read_request()?;
                return conversation.reset();
            }
            return conversation.wait(&at_gate);
        }
        while let Some(request) = conversation.next_request()? {
            let body = format!("again {}", request.text());
            conversation.respond(&request, Response::new(200, body))?;
        }
        Ok(())
    })?;
    Ok(Mortal { origin, die })
}

#[test]
fn a_kept_connection_that_was_closed_is_not_used() -> io::Result<()> {
    for request in [get("/", ""), post("/", "", "body")] {
        let Mortal { origin, die } = mortal(false)?;
        let seawall = Setup::before(&origin).start()?;
        let mut client = seawall.connect()?;
        assert_eq!(client.get("test", "/")?.text(), "first");
        die.open();
        origin.wait_until_idle()?;
        assert!(client.exchange(request)?.text().starts_with("again"));
    }
    Ok(())
}

#[test]
fn an_idempotent_request_is_sent_again_when_its_connection_dies() -> io::Result<()> {
    let put = |framing: &str| format!("PUT / HTTP/1.1\r\nhost: test\r\n{framing}");
    for (request, body) in [
        (get("/", ""), ""),
        (put("content-length: 4\r\n\r\nbody"), "body"),
        (
            put("transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\nsum: 4\r\n\r\n"),
            "body",
        ),
        ("DELETE / HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), ""),
    ] {
        let Mortal { origin, .. } = mortal(true)?;
        let seawall = Setup::before(&origin).start()?;
        let mut client = seawall.connect()?;
        assert_eq!(client.get("test", "/")?.text(), "first");
        let response = client.exchange(&request)?;
        assert_eq!((response.status, response.text()), (200, format!("again {body}")), "{request}");
        assert_eq!(seawall.metric("seawall_upstream_resent_total", &[])?, 1.0);
        assert_eq!(client.get("test", "/")?.text(), "again ", "and the connections go on");
        if request.contains("sum: 4") {
            assert!(origin.received(1).contains("sum: 4"), "{}", origin.received(1));
        }
    }
    Ok(())
}

#[test]
fn a_request_that_may_have_had_effect_is_never_sent_again() -> io::Result<()> {
    for method in ["POST", "PATCH", "BUY"] {
        let Mortal { origin, .. } = mortal(true)?;
        let seawall = Setup::before(&origin).start()?;
        let mut client = seawall.connect()?;
        assert_eq!(client.get("test", "/")?.text(), "first");
        let response = client.exchange(post("/", "", "body").replacen("POST", method, 1))?;
        assert_eq!((response.status, code(&response).as_str()), (502, "upstream-closed"));
        assert_eq!((origin.connections(), origin.requests()), (1, 2), "{method}");
    }
    Ok(())
}

#[test]
fn a_body_too_large_to_keep_is_not_sent_again() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        if conversation.index() == 0 {
            let request = conversation.read_request()?;
            conversation.respond(&request, Response::new(200, "first"))?;
            conversation.read_request_head()?;
            conversation.read_exact(1 << 20)?;
            return conversation.reset();
        }
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    assert_eq!(client.get("test", "/")?.text(), "first");
    let length = 2 << 20;
    client.send(format!("PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"))?;
    client.send(vec![b'x'; length]).ok();
    let response = client.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (502, "upstream-closed"));
    assert_eq!(origin.connections(), 1);
    Ok(())
}

#[test]
fn a_fresh_connection_that_dies_is_the_servers_fault() -> io::Result<()> {
    let origin = Origin::hanging_up()?;
    let seawall = Setup::before(&origin).start()?;
    let response = seawall.connect()?.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), (502, "upstream-closed"));
    assert_eq!(origin.connections(), 1, "once is enough");
    assert_eq!(seawall.metric("seawall_upstream_failures_total", &[])?, 1.0);
    Ok(())
}

#[test]
fn a_server_that_refuses_is_passed_over() -> io::Result<()> {
    let (good, down) = (Origin::always("here")?, ReservedPort::new()?);
    for balance in ["round-robin", "two-choices"] {
        let seawall = Setup::to_all([good.address(), down.address()])
            .upstream(&format!("balance = {balance:?}"))
            .start()?;
        let mut client = seawall.connect()?;
        for _ in 0..50 {
            assert_eq!(client.exchange(post("/", "", "body"))?.text(), "here");
        }
        let label = format!("server=\"{}\"", down.address());
        let failures = seawall.metric("seawall_upstream_connect_failures_total", &[&label])?;
        assert!((1.0..10.0).contains(&failures), "{balance}: asked {failures} times");
    }
    Ok(())
}

#[test]
fn nobody_there_is_a_502_and_nobody_answering_a_504() -> io::Result<()> {
    let (down, stalled) = (ReservedPort::new()?, Stalled::new()?);
    let seawall = Setup::to(down.address()).start()?;
    let mut client = seawall.connect()?;
    let found = (502, "connect-failed");
    let known = (503, "no-healthy-upstream");
    for expect in [found, known, known] {
        let response = client.get("test", "/")?;
        assert_eq!((response.status, code(&response).as_str()), expect);
        assert!(response.header("retry-after").is_some());
    }
    let seawall = Setup::to(stalled.address()).upstream("connect-timeout = \"100ms\"").start()?;
    let response = seawall.connect()?.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), (504, "connect-timeout"));
    // Nobody else has to wait for that.
    let response = seawall.connect()?.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), known);
    refused(&seawall, "connect-timeout", 1.0)?;
    Ok(())
}

#[test]
fn a_server_that_comes_back_is_used_at_once_when_there_is_no_other() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let address = origin.address();
    origin.stop();
    let seawall = Setup::to(address).start()?;
    let mut client = seawall.connect()?;
    assert_eq!(client.get("test", "/")?.status, 502);
    let _back = Origin::responding_at(address, |_| Response::new(200, "back"))?;
    assert_eq!(client.get("test", "/")?.text(), "back");
    Ok(())
}

#[test]
fn weights_and_turns() -> io::Result<()> {
    let origins: Vec<Origin> =
        ["a", "b", "c"].into_iter().map(Origin::always).collect::<io::Result<_>>()?;
    let servers = |weights: [u32; 3]| {
        let entry = |(origin, weight): (&Origin, u32)| {
            format!("{{ address = \"{}\", weight = {weight} }}", origin.address())
        };
        let entries: Vec<String> = origins.iter().zip(weights).map(entry).collect();
        format!(
            "[upstream.weighted]\nservers = [{}]\nbalance = \"round-robin\"",
            entries.join(", ")
        )
    };
    let seawall =
        Setup::alone().with(&servers([3, 2, 1])).with("[[route]]\nto = \"weighted\"").start()?;
    let mut client = seawall.connect()?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..60 {
        *counts.entry(client.get("test", "/")?.text()).or_default() += 1;
    }
    let expect = [("a".to_owned(), 30), ("b".to_owned(), 20), ("c".to_owned(), 10)];
    assert_eq!(counts, BTreeMap::from(expect));
    Ok(())
}

/// The busy one gets nothing while the other has nothing to do.
#[test]
fn two_choices_takes_the_server_with_less_to_do() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let slow = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, "slow"))?;
        }
        Ok(())
    })?;
    let quick = Origin::always("quick")?;
    let seawall = Setup::to_all([slow.address(), quick.address()]).start()?;
    let mut stuck = Vec::new();
    while slow.requests() == 0 {
        let before = quick.requests();
        let mut client = seawall.connect()?;
        client.send(get("/", ""))?;
        eventually("it arrives", || Ok(slow.requests() > 0 || quick.requests() > before))?;
        stuck.push(client);
    }
    let mut client = seawall.connect()?;
    for _ in 0..50 {
        assert_eq!(client.get("test", "/")?.text(), "quick");
    }
    gate.open();
    Ok(())
}

const APP: &str = "
const http = require('http');
const server = http.createServer((request, answer) => {
    let length = 0;
    request.on('data', data => length += data.length);
    request.on('end', () => setTimeout(() => answer.end(`pid ${process.pid} ${length}`), 1));
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log('listening ' + server.address().port));";

/// Only what was in flight to it may fail: what it had taken and not answered when it died.
#[test]
fn heavy_an_application_killed_under_load_takes_only_what_it_had() -> io::Result<()> {
    let (mut first, second) = (NodeApp::start(APP)?, NodeApp::start(APP)?);
    let seawall = Setup::to_all([first.address(), second.address()]).workers(2).start()?;
    let connections = 16;
    let judge = |response: &Response| match response.status {
        200 => Ok(response.text().split(' ').nth(1).unwrap_or_default().to_owned()),
        502 => Err(code(response)),
        status => Err(format!("status {status}")),
    };
    let post = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
    let load = || LoadPlan::get(seawall.address("web"), "/", connections / 2).judging(judge);
    let loads = [load().start()?, load().sending(post).start()?];
    for load in &loads {
        load.wait_for_more(300)?;
    }
    first.process().kill()?;
    for load in &loads {
        load.wait_for_more(1000)?;
    }
    let tallies = loads.map(seawall_testkit::Load::stop);
    let dead = format!("server=\"{}\"", first.address());
    let sent = seawall.metric("seawall_upstream_requests_total", &[&dead])?;
    let resent = seawall.metric("seawall_upstream_resent_total", &[&dead])?;
    let pid = first.process().id().to_string();
    let sum = |of: &dyn Fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let failed = sum(&|tally| tally.failed);
    let answered = sum(&|tally| tally.by_name.get(&pid).copied().unwrap_or(0));
    assert_eq!(failed as f64, sent - resent - answered as f64, "{tallies:?}");
    // A process dies in steps, so that one connection may meet it twice, but hardly more often.
    assert!(failed <= 2 * connections as u64, "{tallies:?}");
    let kinds = tallies.iter().flat_map(|tally| tally.failures.keys());
    assert!(kinds.clone().all(|kind| kind == "upstream-closed"), "{tallies:?}");
    assert!(answered > 0 && sum(&|tally| tally.by_name.len() as u64) == 4, "{tallies:?}");
    Ok(())
}

/// A rolling restart: servers go in an orderly way and come back, and nothing fails.
#[test]
fn heavy_servers_that_restart_in_turn_fail_no_request() -> io::Result<()> {
    let origins: Vec<Origin> = (0..2).map(|_| Origin::always("here")).collect::<io::Result<_>>()?;
    let addresses: Vec<_> = origins.iter().map(Origin::address).collect();
    let seawall = Setup::to_all(addresses.clone()).start()?;
    let load =
        LoadPlan::get(seawall.address("web"), "/", 4).resting(Duration::from_millis(1)).start()?;
    let mut running: Vec<Option<Origin>> = origins.into_iter().map(Some).collect();
    for round in 0..10 {
        load.wait_for_more(20)?;
        let at = round % 2;
        drop(running[at].take());
        load.wait_for_more(20)?;
        running[at] = Some(Origin::responding_at(addresses[at], |_| Response::new(200, "again"))?);
    }
    let tally = load.stop();
    // An origin that stops cuts what it was just answering: that alone may fail.
    assert!(tally.failed <= 10 * 4, "{tally:?}");
    assert!(tally.failures.keys().all(|what| what == "status 502"), "{tally:?}");
    Ok(())
}

/// Whose answer is whose: under load over few connections, nobody gets another's.
#[test]
fn answers_find_their_requests() -> io::Result<()> {
    let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let noted = seen.clone();
    let origin = Origin::responding(move |request| {
        let mut noted = noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *noted.entry(request.target.clone()).or_default() += 1;
        Response::new(200, request.target.clone()).with("x-body", &request.text())
    })?;
    let seawall = Setup::before(&origin).workers(2).upstream("keepalive = { idle = 3 }").start()?;
    let web = seawall.address("web");
    let next = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let next = next.clone();
            std::thread::spawn(move || -> io::Result<()> {
                let mut client = seawall_testkit::RawClient::connect(web)?;
                for _ in 0..100 {
                    let n = next.fetch_add(1, Relaxed);
                    let response = match n % 3 {
                        0 => client.get("test", &format!("/{n}"))?,
                        1 => client.exchange(post(&format!("/{n}"), "", &format!("body {n}")))?,
                        _ => client.exchange(format!(
                            "PUT /{n} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
                             3\r\nabc\r\n0\r\n\r\n"
                        ))?,
                    };
                    assert_eq!(response.text(), format!("/{n}"));
                    if n % 3 == 1 {
                        assert_eq!(response.header("x-body"), Some(&*format!("body {n}")));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic")?;
    }
    let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert_eq!(seen.len(), 800);
    assert!(seen.values().all(|&times| times == 1), "nothing was sent twice");
    Ok(())
}
