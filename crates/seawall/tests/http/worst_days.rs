//! Worst days: servers that are killed, stopped, that flap, lie, or answer nonsense, under load,
//! with all that is there against it at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use seawall_testkit::{
    Load, LoadPlan, Nginx, NodeApp, Origin, RawClient, Response, Seawall, Signal, Tally,
};

use crate::setup::{Setup, code, eventually, get, in_flight_ends, server, state_becomes, storm};

const APP: &str = "
const http = require('http');
const server = http.createServer((request, answer) => answer.end('node'));
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log('listening ' + server.address().port));";

const CONNECTIONS: usize = 8;

/// Health, ejection and retries, quick enough for a test.
fn guarded(servers: impl IntoIterator<Item = SocketAddr>) -> io::Result<Seawall> {
    Setup::to_all(servers)
        .workers(2)
        .upstream("health = { path = \"/\", every = \"100ms\", timeout = \"100ms\", fall = 2 }")
        .upstream("eject = { errors = 5, for = \"200ms\" }")
        .route("retry = { attempts = 3, attempt-timeout = \"2s\" }")
        .start()
}

fn load(seawall: &Seawall) -> io::Result<Load> {
    LoadPlan::get(seawall.address("web"), "/", CONNECTIONS)
        .judging(|response| match response.status {
            200 => Ok(response.text()),
            status => Err(format!("{status} {}", code(response))),
        })
        .start()
}

/// Waits until a server has left the ranks.
fn gone(seawall: &Seawall, address: SocketAddr) -> io::Result<()> {
    eventually("it is to be passed over", || Ok(server(seawall, address)?["state"] != "ready"))
}

fn count(tally: &Tally, name: &str) -> u64 {
    tally.by_name.get(name).copied().unwrap_or(0)
}

#[test]
fn heavy_real_servers_stopped_and_killed_under_load() -> io::Result<()> {
    let nginx = |name: &str| Nginx::serving(&format!("location / {{ return 200 \"{name}\"; }}"));
    let (mut one, mut two, mut node) = (nginx("one")?, nginx("two")?, NodeApp::start(APP)?);
    let seawall = guarded([one.address(), two.address(), node.address()])?;
    let load = load(&seawall)?;
    load.wait_until(|tally| ["one", "two", "node"].iter().all(|name| count(tally, name) > 20))?;
    assert_eq!(load.tally().failed, 0, "{:?}", load.tally());

    // One hangs. What is in flight there waits for `attempt-timeout` and goes elsewhere.
    one.process().signal(Signal::STOP)?;
    gone(&seawall, one.address())?;
    eventually("nothing is in flight there", || {
        Ok(server(&seawall, one.address())?["in_flight"] == 0)
    })?;
    let stopped = load.wait_for_more(300)?;
    assert!(stopped.failed <= CONNECTIONS as u64, "{stopped:?}");
    let tally = load.wait_for_more(300)?;
    assert_eq!(tally.failed, stopped.failed, "nobody else notices: {tally:?}");
    assert_eq!(count(&tally, "one"), count(&stopped, "one"));

    one.process().signal(Signal::CONT)?;
    load.wait_until(|now| count(now, "one") > count(&tally, "one") + 20)?;

    // One is killed, another kind of server.
    let before = load.tally().failed;
    node.process().kill()?;
    gone(&seawall, node.address())?;
    let killed = load.wait_for_more(300)?;
    assert!(killed.failed - before <= CONNECTIONS as u64, "{killed:?}");
    let tally = load.wait_for_more(300)?;
    assert_eq!((tally.failed, count(&tally, "node")), (killed.failed, count(&killed, "node")));

    // And the next: one is left, and does it all.
    two.process().kill()?;
    gone(&seawall, two.address())?;
    let alone = load.wait_for_more(100)?;
    assert!(alone.failed - killed.failed <= CONNECTIONS as u64, "{alone:?}");
    let tally = load.wait_for_more(300)?;
    assert_eq!(tally.failed, alone.failed, "{tally:?}");
    load.stop();
    in_flight_ends(&seawall)
}

const CHECK: &str = "/healthz";
const HEALTH: &str = "health = { path = \"/healthz\", every = \"20ms\", rise = 1, fall = 1 }";
const RICH: &str = "floor = \"1000/s\", backoff = \"0s\"";

/// Such servers pass every check and are of no use: they are found out by what they answer.
#[test]
fn heavy_a_server_that_is_well_by_its_own_account_only() -> io::Result<()> {
    let bad = Origin::responding(|request| match request.target.as_str() {
        CHECK => Response::new(200, ""),
        _ => Response::new(500, "bad"),
    })?;
    let good = [Origin::always("good")?, Origin::always("good")?];
    let seawall = Setup::to_all([bad.address(), good[0].address(), good[1].address()])
        .workers(2)
        .upstream(HEALTH)
        .upstream("eject = { for = \"1h\" }")
        .start()?;
    let judged = |seawall: &Seawall| {
        LoadPlan::get(seawall.address("web"), "/", 4)
            .resting(Duration::from_millis(1))
            .judging(|response| Ok(response.status.to_string()))
            .start()
    };
    let first = judged(&seawall)?;
    let told = state_becomes(&seawall, bad.address(), "ejected")?;
    assert!(told["check"]["good"] == true && told["why"].is_string(), "{told}");
    let tally = first.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    let checks = seawall.metric("seawall_upstream_checks_total", &["outcome=\"good\""])?;
    eventually("more checks are good", || {
        let now = seawall.metric("seawall_upstream_checks_total", &["outcome=\"good\""])?;
        Ok(now > checks + 10.0)
    })?;
    assert_eq!(storm(&seawall, 4, 50, |_| get("/", ""))?, BTreeMap::from([(200, 200)]));
    assert_eq!(server(&seawall, bad.address())?["state"], "ejected", "checks do not bring it back");
    in_flight_ends(&seawall)
}

#[test]
fn heavy_a_server_that_flaps_bothers_nobody() -> io::Result<()> {
    let status = Arc::new(AtomicU16::new(200));
    let now = status.clone();
    let flapping = Origin::responding(move |_| Response::new(now.load(Relaxed), "flapping"))?;
    let good = Origin::always("good")?;
    let seawall = Setup::to_all([flapping.address(), good.address()])
        .workers(2)
        .upstream(HEALTH)
        .upstream("eject = { errors = 3, for = \"20ms\", longest = \"50ms\" }")
        .route(&format!("retry = {{ attempts = 3, {RICH} }}"))
        .start()?;
    let load = load(&seawall)?;
    for flap in 0..20 {
        status.store(if flap % 2 == 0 { 502 } else { 200 }, Relaxed);
        load.wait_for_more(50)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert!(count(&tally, "flapping") > 0, "it is used while it is well");
    status.store(200, Relaxed);
    state_becomes(&seawall, flapping.address(), "ready")?;
    in_flight_ends(&seawall)
}

/// What a server may do that is no answer.
const NONSENSE: [&str; 7] = [
    "",
    "garbage\r\n\r\n",
    "HTTP/1.1 abc\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    "HTTP/1.1 200 O",
    "HTTP/1.1 99999 OK\r\n\r\n",
];

#[test]
fn nonsense_is_answered_by_another_server_and_its_author_taken_out() -> io::Result<()> {
    for nonsense in NONSENSE {
        let bad = Origin::scripted(move |conversation| {
            conversation.read_request()?;
            conversation.send(nonsense)
        })?;
        let good = Origin::always("good")?;
        let seawall = Setup::to_all([bad.address(), good.address()])
            .upstream("balance = \"round-robin\"\neject = { errors = 3, for = \"1h\" }")
            .route(&format!("retry = {{ attempts = 2, {RICH} }}"))
            .start()?;
        let mut client = seawall.connect()?;
        eventually("it is to be taken out", || {
            assert_eq!(client.get("test", "/")?.text(), "good", "{nonsense:?}");
            Ok(server(&seawall, bad.address())?["state"] == "ejected")
        })?;
        in_flight_ends(&seawall)?;
        // Alone, it is a 502, and no hang.
        let seawall = Setup::before(&bad).route("retry = 3").start()?;
        let response = seawall.connect()?.get("test", "/")?;
        assert_eq!(response.status, 502, "{nonsense:?}: {}", response.text());
        in_flight_ends(&seawall)?;
    }
    Ok(())
}

/// An answer that has begun cannot be taken back, but its author is taken out.
#[test]
fn a_server_that_breaks_off_its_answers_is_taken_out() -> io::Result<()> {
    let bad = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")?;
        conversation.reset()
    })?;
    let good = Origin::always("good")?;
    let seawall = Setup::to_all([bad.address(), good.address()])
        .upstream("balance = \"round-robin\"\neject = { errors = 3, for = \"1h\" }")
        .route(&format!("retry = {{ attempts = 2, {RICH} }}"))
        .start()?;
    let mut broken = 0;
    eventually("it is to be taken out", || {
        let mut client = seawall.connect()?;
        match client.get("test", "/") {
            Ok(response) => assert_eq!(response.text(), "good"),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(error),
            Err(_) => broken += 1,
        }
        Ok(server(&seawall, bad.address())?["state"] == "ejected")
    })?;
    assert!(broken >= 3, "{broken} answers were broken off");
    assert_eq!(storm(&seawall, 2, 20, |_| get("/", ""))?, BTreeMap::from([(200, 40)]));
    in_flight_ends(&seawall)
}

#[test]
fn a_server_that_never_answers_is_taken_out() -> io::Result<()> {
    let (silent, good) = (Origin::silent()?, Origin::always("good")?);
    let seawall = Setup::to_all([silent.address(), good.address()])
        .upstream("balance = \"round-robin\"\neject = { errors = 3, for = \"1h\" }")
        .route(&format!("retry = {{ attempts = 2, attempt-timeout = \"30ms\", {RICH} }}"))
        .start()?;
    let mut client = seawall.connect()?;
    eventually("it is to be taken out", || {
        assert_eq!(client.get("test", "/")?.text(), "good");
        Ok(server(&seawall, silent.address())?["state"] == "ejected")
    })?;
    silent.wait_until_idle()?;

    // Without retries: the route's own timeout says as much.
    let seawall = Setup::to_all([silent.address(), good.address()])
        .upstream("balance = \"round-robin\"\neject = { errors = 3, for = \"1h\" }")
        .route("timeout = \"30ms\"")
        .start()?;
    let mut client = seawall.connect()?;
    eventually("it is to be taken out", || {
        let response = client.get("test", "/")?;
        assert!(response.text() == "good" || code(&response) == "upstream-timeout");
        Ok(server(&seawall, silent.address())?["state"] == "ejected")
    })?;
    in_flight_ends(&seawall)
}

/// A number that looks random and is always the same (SplitMix64).
fn scrambled(n: usize) -> u64 {
    let mut z = (n as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Does whatever comes, until it is told to be well.
fn chaotic(next: Arc<AtomicUsize>, well: Arc<AtomicBool>) -> io::Result<Origin> {
    Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            let choice = match well.load(Relaxed) {
                true => 99,
                false => scrambled(next.fetch_add(1, Relaxed)) % 100,
            };
            let nonsense = NONSENSE[choice as usize % NONSENSE.len()];
            match choice {
                0..6 => return conversation.reset(),
                6..12 => return conversation.send(nonsense),
                12..24 => conversation.respond(&request, Response::new(503, "busy"))?,
                24..32 => conversation.respond(&request, Response::new(500, "oh"))?,
                32..35 => return conversation.hang(),
                35..50 => {
                    std::thread::sleep(Duration::from_millis(20));
                    conversation.respond(&request, Response::new(200, request.target.clone()))?;
                }
                _ => conversation.respond(&request, Response::new(200, request.target.clone()))?,
            }
        }
        Ok(())
    })
}

#[test]
fn heavy_all_of_it_at_once_under_chaos() -> io::Result<()> {
    let (next, well) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let origins: Vec<Origin> =
        (0..3).map(|_| chaotic(next.clone(), well.clone())).collect::<io::Result<_>>()?;
    let seawall = Setup::to_all(origins.iter().map(Origin::address))
        .workers(2)
        .upstream("eject = { errors = 4, for = \"50ms\", longest = \"100ms\" }")
        .upstream(
            "breaker = { window = \"500ms\", minimum = 20, failures = \"40%\", open = \"50ms\", \
             longest = \"100ms\", probes = 3, step = \"20ms\", probe-timeout = \"500ms\" }",
        )
        .upstream("max-in-flight = 4\nqueue = { size = 50, wait = \"2s\" }")
        .route("timeout = \"3s\"\nretry = { attempts = 3, attempt-timeout = \"300ms\" }")
        .route("hedge = { after = \"10ms\" }")
        .start()?;
    let began = Instant::now();
    let (clients, each) = (16, 125);
    let statuses = answers(&seawall, clients, each)?;
    let took = began.elapsed().as_secs_f64();
    assert_eq!(statuses.values().sum::<usize>(), 2000, "{statuses:?}");
    assert!(statuses["200"] > 500, "{statuses:?}");
    in_flight_ends(&seawall)?;
    let counted = seawall.metric("seawall_requests_total", &["route=\"app\""])?;
    assert_eq!(counted, 2000.0, "{statuses:?}");

    // Counted once with each connection that died while it was idle, which is nobody's fault.
    let resent = seawall.metric("seawall_upstream_resent_total", &[])?;
    let asked = seawall.metric("seawall_upstream_requests_total", &[])?;
    let most = 1.1 * 2000.0 + 10.0 + took + 1.0 + resent;
    assert!(asked <= most, "{asked} instead of {most}: {statuses:?}");
    let [retries, hedges, won] =
        ["seawall_retries_total", "seawall_hedges_total", "seawall_hedges_won_total"]
            .map(|name| seawall.metric(name, &[]));
    let (retries, hedges, won) = (retries?, hedges?, won?);
    // Whether anything is hedged depends on how busy the servers just are.
    assert!(retries > 0.0 && won <= hedges, "{retries} {hedges} {won}");
    assert!(retries + hedges <= 0.1 * 2000.0 + 10.0 + took + 1.0, "{retries} {hedges}");

    well.store(true, Relaxed);
    eventually("it is to recover", || {
        seawall.connect()?.get("test", "/")?;
        Ok(crate::setup::upstream(&seawall)?["breaker"]["state"] == "closed")
    })?;
    for origin in &origins {
        state_becomes(&seawall, origin.address(), "ready")?;
    }
    let statuses = answers(&seawall, 4, 100)?;
    assert_eq!(statuses, BTreeMap::from([("200".to_owned(), 400)]));
    in_flight_ends(&seawall)
}

/// Each client's answers, which must be to its own requests and whole, by status and code.
fn answers(seawall: &Seawall, clients: usize, each: usize) -> io::Result<BTreeMap<String, usize>> {
    let web = seawall.address("web");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || -> io::Result<Vec<String>> {
                    let mut client = RawClient::connect(web)?;
                    let mut found = Vec::new();
                    for n in 0..each {
                        let target = format!("/{number}/{n}");
                        let response = client.get("test", &target)?;
                        let (text, code) = (response.text(), code(&response));
                        let own = match response.status {
                            200 => text == target,
                            500 => text == "oh",
                            503 if code.is_empty() => text == "busy",
                            status => matches!(status, 502..=504) && !code.is_empty(),
                        };
                        assert!(own, "{target}: {} {text}", response.status);
                        found.push(format!("{} {code}", response.status).trim().to_owned());
                        if response.headers.lists("connection", "close") {
                            client = RawClient::connect(web)?;
                        }
                    }
                    Ok(found)
                })
            })
            .collect();
        for thread in threads {
            for what in thread.join().expect("an answer is to its own request")? {
                *counts.entry(what).or_default() += 1;
            }
        }
        Ok(counts)
    })
}
