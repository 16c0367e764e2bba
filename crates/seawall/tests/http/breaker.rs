//! The circuit breaker, ejection and panic: an upstream that fails is given time, a server that
//! fails is taken out, and neither ever takes the site down with it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

use seawall_testkit::{Gate, Origin, RawClient, ReservedPort, Response, Seawall, Stalled};

use crate::setup::{
    Setup, breaker_becomes, code, eventually, get, in_flight_ends, metric_becomes, refused, server,
    state_becomes, storm, upstream,
};

/// An origin that answers every request with its status, and health checks with another.
struct Moody {
    origin: Origin,
    status: Arc<AtomicU16>,
    health: Arc<AtomicU16>,
}

const CHECK: &str = "/healthz";

fn moody(body: &'static str, status: u16) -> io::Result<Moody> {
    let (status, health) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicU16::new(200)));
    let (now, check) = (status.clone(), health.clone());
    let origin = Origin::responding(move |request| match request.target.as_str() {
        CHECK => Response::new(check.load(Relaxed), ""),
        _ => Response::new(now.load(Relaxed), body),
    })?;
    Ok(Moody { origin, status, health })
}

impl Moody {
    fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// Requests that were no checks.
    fn asked(&self) -> usize {
        let seen = self.origin.seen();
        let text = seen.iter().map(|seen| String::from_utf8_lossy(&seen.received).into_owned());
        text.map(|text| {
            text.lines().filter(|line| line.ends_with(" HTTP/1.1") && !line.contains(CHECK)).count()
        })
        .sum()
    }
}

/// Asks until the breaker is open.
fn until_open(seawall: &Seawall, client: &mut RawClient) -> io::Result<()> {
    eventually("the breaker is to open", || {
        client.get("test", "/")?;
        Ok(upstream(seawall)?["breaker"]["state"] == "open")
    })
}

#[test]
fn a_breaker_opens_and_the_upstream_is_left_alone() -> io::Result<()> {
    let origin = moody("oh", 500)?;
    let setup = Setup::before(&origin.origin)
        .workers(2)
        .upstream("breaker = { minimum = 10, open = \"1h\" }");
    let seawall = setup.start()?;
    let mut client = seawall.connect()?;
    assert_eq!(upstream(&seawall)?["breaker"]["state"], "closed");
    until_open(&seawall, &mut client)?;
    assert!(origin.asked() >= 10);

    let asked = origin.asked();
    for _ in 0..20 {
        let response = seawall.connect()?.get("test", "/")?;
        assert_eq!((response.status, code(&response).as_str()), (503, "breaker-open"));
        let after = response.header("retry-after").and_then(|after| after.parse().ok());
        assert!(after.is_some_and(|seconds: u64| seconds >= 1), "{after:?}");
    }
    assert_eq!(origin.asked(), asked);
    let breaker = upstream(&seawall)?["breaker"].clone();
    assert!(
        breaker["why"].as_str().is_some_and(|why| why.contains("requests failed")),
        "{breaker}"
    );
    assert!(breaker["until_seconds"].as_f64().is_some_and(|left| left > 1000.0), "{breaker}");
    metric_becomes(&seawall, "seawall_breaker_opened_total", &[], 1.0)?;
    metric_becomes(&seawall, "seawall_breaker_state", &["state=\"open\""], 1.0)?;

    // A reload keeps it open, also one that changes its settings, and it does not matter that the
    // upstream is well again.
    origin.status.store(200, Relaxed);
    for text in [
        setup.text(),
        setup.clone().route("timeout = \"7s\"").text(),
        setup.text().replace("minimum = 10", "minimum = 11"),
    ] {
        seawall.rewrite(&text)?;
        assert_eq!(seawall.reload()?.status, 200);
        assert_eq!(code(&client.get("test", "/")?), "breaker-open");
    }
    assert_eq!(origin.asked(), asked);

    // Only one without a breaker ends it.
    let without = Setup::before(&origin.origin).workers(2);
    seawall.rewrite(&without.text())?;
    assert_eq!(seawall.reload()?.status, 200);
    assert_eq!(client.get("test", "/")?.text(), "oh");
    in_flight_ends(&seawall)
}

#[test]
fn a_breaker_closes_by_and_by() -> io::Result<()> {
    let origin = moody("here", 500)?;
    let seawall = Setup::before(&origin.origin)
        .workers(2)
        .upstream(
            "breaker = { minimum = 5, open = \"50ms\", step = \"50ms\", longest = \"100ms\" }",
        )
        .start()?;
    let mut client = seawall.connect()?;
    until_open(&seawall, &mut client)?;
    origin.status.store(200, Relaxed);
    // It needs requests to see that it is well.
    eventually("it is to close", || {
        let response = client.get("test", "/")?;
        assert!(response.status == 200 || code(&response) == "breaker-open");
        Ok(upstream(&seawall)?["breaker"]["state"] == "closed")
    })?;
    let statuses = storm(&seawall, 4, 25, |_| get("/", ""))?;
    assert_eq!(statuses, BTreeMap::from([(200, 100)]));
    let log = seawall.log();
    for step in ["half-open", "recovering", "to=\"closed\""] {
        assert!(log.contains(step), "no {step} in {log}");
    }
    in_flight_ends(&seawall)
}

/// Answers 500 until the gate is there, and then waits at it.
fn then_waits(gate: &Gate) -> io::Result<(Origin, Arc<AtomicBool>)> {
    let waits = Arc::new(AtomicBool::new(false));
    let (now, gate) = (waits.clone(), gate.clone());
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            let waits = now.load(Relaxed);
            if waits {
                conversation.wait(&gate)?;
            }
            let status = if waits { 200 } else { 500 };
            conversation.respond(&request, Response::new(status, "probe"))?;
        }
        Ok(())
    })?;
    Ok((origin, waits))
}

#[test]
fn only_probes_pass_a_half_open_breaker_and_none_is_lost() -> io::Result<()> {
    let gate = Gate::new();
    let (origin, waits) = then_waits(&gate)?;
    let seawall = Setup::before(&origin)
        .workers(2)
        .upstream("breaker = { minimum = 5, open = \"50ms\", probes = 2, step = \"10ms\", probe-timeout = \"1h\" }")
        .start()?;
    let mut client = seawall.connect()?;
    until_open(&seawall, &mut client)?;
    waits.store(true, Relaxed);
    breaker_becomes(&seawall, "half-open")?;
    let before = origin.requests();
    let mut probes = Vec::new();
    for n in 1..=2 {
        let mut probe = seawall.connect()?;
        probe.send(get("/", ""))?;
        origin.wait_for_requests(before + n)?;
        probes.push(probe);
    }
    for _ in 0..5 {
        let response = seawall.connect()?.get("test", "/")?;
        assert_eq!(code(&response), "breaker-open");
        assert!(response.header("retry-after").is_some());
    }
    assert_eq!(origin.requests(), before + 2);

    // Who leaves gives the permission back.
    drop(probes.pop());
    let mut next = seawall.connect()?;
    eventually("the next one is to be a probe", || {
        if origin.requests() > before + 2 {
            return Ok(true);
        }
        let refusals = || seawall.metric("seawall_refusals_total", &["code=\"breaker-open\""]);
        let refused = refusals()?;
        let mut client = seawall.connect()?;
        client.send(get("/", ""))?;
        eventually("it is a probe or refused", || {
            Ok(origin.requests() > before + 2 || refusals()? > refused)
        })?;
        next = client;
        Ok(origin.requests() > before + 2)
    })?;
    assert_eq!(upstream(&seawall)?["breaker"]["state"], "half-open");
    gate.open();
    assert_eq!(probes[0].read_response()?.text(), "probe");
    assert_eq!(next.read_response()?.text(), "probe");
    eventually("it is to close", || {
        client.get("test", "/")?;
        Ok(upstream(&seawall)?["breaker"]["state"] == "closed")
    })?;
    in_flight_ends(&seawall)
}

/// A probe that is never answered does not keep it half open.
#[test]
fn a_probe_without_an_answer_opens_the_breaker_again() -> io::Result<()> {
    let gate = Gate::new();
    let (origin, waits) = then_waits(&gate)?;
    let seawall = Setup::before(&origin)
        .upstream("breaker = { minimum = 5, open = \"50ms\", probes = 1, probe-timeout = \"50ms\", longest = \"60ms\" }")
        .start()?;
    let mut client = seawall.connect()?;
    until_open(&seawall, &mut client)?;
    waits.store(true, Relaxed);
    breaker_becomes(&seawall, "half-open")?;
    let mut probe = seawall.connect()?;
    probe.send(get("/", ""))?;
    metric_becomes(&seawall, "seawall_breaker_opened_total", &[], 2.0)?;
    gate.open();
    assert_eq!(probe.read_response()?.text(), "probe", "its client is none the worse");
    eventually("it is to recover", || Ok(client.get("test", "/")?.status == 200))
}

#[test]
fn an_open_breaker_has_its_page() -> io::Result<()> {
    let origin = moody("oh", 500)?;
    let seawall = Setup::before(&origin.origin)
        .upstream("breaker = { minimum = 5, open = \"1h\" }")
        .route("fallback = { on = \"breaker-open\", respond = \"back soon\" }")
        .start()?;
    let mut client = seawall.connect()?;
    until_open(&seawall, &mut client)?;
    let asked = origin.asked();
    let response = client.get("test", "/")?;
    assert_eq!((response.status, response.text().as_str()), (503, "back soon"));
    let said = response.header("proxy-status").unwrap_or_default();
    assert!(said.contains("breaker-open; fallback=page"), "{said}");
    assert_eq!(origin.asked(), asked);
    Ok(())
}

/// No server of its own was asked, so that the budget has nothing to pay for.
#[test]
fn an_open_breaker_hands_over_to_another_upstream() -> io::Result<()> {
    let (origin, other) = (moody("oh", 500)?, Origin::always("other")?);
    let seawall = Setup::before(&origin.origin)
        .upstream("breaker = { minimum = 5, open = \"1h\" }")
        .with(&format!("[upstream.other]\nservers = [\"{}\"]", other.address()))
        .route("fallback = { to = \"other\" }\nretry = { budget = \"0%\", floor = \"0/s\" }")
        .start()?;
    let mut client = seawall.connect()?;
    eventually("the breaker is to open", || {
        assert_eq!(client.get("test", "/")?.text(), "other");
        let labels = ["upstream=\"app\"", "state=\"open\""];
        Ok(seawall.metric("seawall_breaker_state", &labels)? == 1.0)
    })?;
    let (asked, handed) = (origin.origin.requests(), other.requests());
    assert_eq!(storm(&seawall, 2, 50, |_| get("/", ""))?, BTreeMap::from([(200, 100)]));
    assert_eq!(other.requests(), handed + 100);
    assert_eq!(origin.origin.requests(), asked, "it is left alone");
    Ok(())
}

/// Errors that are the client's say nothing, and few requests say little.
#[test]
fn a_breaker_stays_closed_without_a_reason() -> io::Result<()> {
    let origin = moody("no", 404)?;
    let seawall = Setup::before(&origin.origin)
        .upstream("breaker = { minimum = 20, open = \"1h\" }")
        .start()?;
    assert_eq!(storm(&seawall, 2, 100, |_| get("/", ""))?, BTreeMap::from([(404, 200)]));
    origin.status.store(501, Relaxed);
    assert_eq!(storm(&seawall, 2, 300, |_| get("/", ""))?, BTreeMap::from([(501, 600)]));
    assert_eq!(upstream(&seawall)?["breaker"]["state"], "closed");
    Ok(())
}

const EJECT: &str = "eject = { errors = 5, outliers = false, for = \"1h\" }";
const RETRY: &str = "retry = { attempts = 3, floor = \"1000/s\", backoff = \"0s\" }";

#[test]
fn a_server_that_fails_is_taken_out_and_nobody_notices() -> io::Result<()> {
    let bad = moody("bad", 502)?;
    let good = [moody("good", 200)?, moody("good", 200)?];
    let setup = Setup::to_all([bad.address(), good[0].address(), good[1].address()])
        .workers(2)
        .upstream(EJECT)
        .route(RETRY);
    let seawall = setup.start()?;
    let statuses = storm(&seawall, 4, 100, |_| get("/", ""))?;
    assert_eq!(statuses, BTreeMap::from([(200, 400)]));
    let told = state_becomes(&seawall, bad.address(), "ejected")?;
    assert!(told["why"].as_str().is_some_and(|why| !why.is_empty()), "{told}");
    assert_eq!(told["ejections"], 1);
    metric_becomes(&seawall, "seawall_upstream_servers", &["state=\"ejected\""], 1.0)?;
    let asked = bad.asked();
    assert!((5..100).contains(&asked), "{asked}");
    assert!(seawall.log().contains("server is taken out"));

    // A reload keeps it out.
    seawall.rewrite(&setup.clone().route("timeout = \"7s\"").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    assert_eq!(storm(&seawall, 4, 50, |_| get("/", ""))?, BTreeMap::from([(200, 200)]));
    assert_eq!(
        (bad.asked(), server(&seawall, bad.address())?["state"].as_str()),
        (asked, Some("ejected"))
    );
    in_flight_ends(&seawall)
}

#[test]
fn an_ejected_server_returns() -> io::Result<()> {
    let (bad, good) = (moody("bad", 502)?, moody("good", 200)?);
    let seawall = Setup::to_all([bad.address(), good.address()])
        .upstream(
            "balance = \"round-robin\"\neject = { errors = 3, outliers = false, for = \"200ms\" }",
        )
        .route(RETRY)
        .start()?;
    let mut client = seawall.connect()?;
    eventually("it is to be taken out", || {
        assert_eq!(client.get("test", "/")?.text(), "good");
        Ok(server(&seawall, bad.address())?["state"] == "ejected")
    })?;
    bad.status.store(200, Relaxed);
    state_becomes(&seawall, bad.address(), "ready")?;
    let before = bad.asked();
    for _ in 0..10 {
        assert_eq!(client.get("test", "/")?.status, 200);
    }
    assert_eq!(bad.asked(), before + 5, "it has its whole share again");
    assert!(seawall.log().contains("its time is over"));
    Ok(())
}

#[test]
fn the_last_server_is_never_taken_out() -> io::Result<()> {
    for (servers, status) in [(1, 502), (1, 500), (2, 502), (2, 503)] {
        let origins: Vec<Moody> =
            (0..servers).map(|_| moody("bad", status)).collect::<io::Result<_>>()?;
        let seawall = Setup::to_all(origins.iter().map(Moody::address))
            .workers(2)
            .upstream("eject = { errors = 5, for = \"1h\", at-most = \"100%\" }")
            .start()?;
        let statuses = storm(&seawall, 4, 100, |_| get("/", ""))?;
        assert_eq!(statuses, BTreeMap::from([(status, 400)]), "answers of the servers alone");
        let ejected = seawall.metric("seawall_upstream_servers", &["state=\"ejected\""])?;
        assert!(ejected < servers as f64, "{ejected} of {servers}");
        for origin in &origins {
            origin.status.store(200, Relaxed);
        }
        let statuses = storm(&seawall, 4, 25, |_| get("/", ""))?;
        assert_eq!(statuses, BTreeMap::from([(200, 100)]), "it is there at once");
    }
    Ok(())
}

/// Three servers with active checks, of which these fail.
fn checked(origins: &[Moody; 3], panic: &str) -> io::Result<Seawall> {
    Setup::to_all(origins.iter().map(Moody::address))
        .upstream(&format!("balance = \"round-robin\"\npanic = {panic:?}"))
        .upstream(&format!("health = {{ path = {CHECK:?}, every = \"20ms\", rise = 1, fall = 1 }}"))
        .start()
}

#[test]
fn too_few_that_pass_their_checks_are_no_reason_to_drown_them() -> io::Result<()> {
    let origins = [moody("a", 200)?, moody("b", 200)?, moody("c", 200)?];
    let used = |seawall: &Seawall| -> io::Result<Vec<bool>> {
        let before: Vec<usize> = origins.iter().map(Moody::asked).collect();
        assert_eq!(storm(seawall, 1, 30, |_| get("/", ""))?, BTreeMap::from([(200, 30)]));
        Ok(origins.iter().zip(before).map(|(origin, before)| origin.asked() > before).collect())
    };
    for (failing, panic, expect) in [
        (0, "50%", [true, true, true]),
        (1, "50%", [false, true, true]),
        (2, "50%", [true, true, true]),
        (2, "0%", [false, false, true]),
        (3, "50%", [true, true, true]),
    ] {
        for (n, origin) in origins.iter().enumerate() {
            origin.health.store(if n < failing { 404 } else { 200 }, Relaxed);
        }
        let seawall = checked(&origins, panic)?;
        for (n, origin) in origins.iter().enumerate() {
            let state = if n < failing { "failing" } else { "ready" };
            let told = state_becomes(&seawall, origin.address(), state)?;
            let why = told["why"].as_str().unwrap_or_default();
            assert_eq!(why.contains("404"), n < failing, "{told}");
        }
        assert_eq!(used(&seawall)?, expect, "{failing} failing, panic at {panic}");
        for origin in &origins {
            origin.health.store(200, Relaxed);
        }
        for origin in &origins {
            state_becomes(&seawall, origin.address(), "ready")?;
        }
        assert_eq!(used(&seawall)?, [true; 3]);
    }
    // None at all, and nobody may panic.
    for origin in &origins {
        origin.health.store(503, Relaxed);
    }
    let seawall = checked(&origins, "0%")?;
    for origin in &origins {
        state_becomes(&seawall, origin.address(), "failing")?;
    }
    let response = seawall.connect()?.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), (503, "no-healthy-upstream"));
    assert!(response.header("retry-after").is_some());
    Ok(())
}

#[test]
fn nobody_waits_for_servers_that_are_all_gone() -> io::Result<()> {
    let gone = [ReservedPort::new()?, ReservedPort::new()?, ReservedPort::new()?];
    let seawall = Setup::to_all(gone.iter().map(ReservedPort::address)).route(RETRY).start()?;
    let mut client = seawall.connect()?;
    assert_eq!(code(&client.get("test", "/")?), "connect-failed", "that has to be found out");
    for _ in 0..10 {
        let response = client.get("test", "/")?;
        assert_eq!((response.status, code(&response).as_str()), (503, "no-healthy-upstream"));
        assert!(response.header("retry-after").is_some());
    }

    // The packets of these are lost: with a minute's patience for a connection nobody waits for
    // one after the first has.
    let gone = [Stalled::new()?, Stalled::new()?];
    let setup = Setup::to_all(gone.iter().map(Stalled::address));
    let seawall = setup.upstream("connect-timeout = \"300ms\"").start()?;
    let mut client = seawall.connect()?;
    let response = client.get("test", "/")?;
    assert_eq!((response.status, code(&response).as_str()), (504, "connect-timeout"));
    for gone in &gone {
        state_becomes(&seawall, gone.address(), "unreachable")?;
    }
    assert_eq!(code(&client.get("test", "/")?), "no-healthy-upstream");
    refused(&seawall, "connect-timeout", 1.0)?;
    in_flight_ends(&seawall)
}
