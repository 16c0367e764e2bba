//! The line in which requests wait while as many as `max-in-flight` allows are in flight: first
//! come, first served, nobody is lost, and nobody waits for nothing.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use seawall_testkit::{Gate, Origin, RawClient, Response, Seawall};

use crate::setup::{
    Setup, code, eventually, get, in_flight_ends, metric_becomes, refused, state_becomes, storm,
};

/// Notes the paths in the order in which they arrive, and answers each once its gate is open.
struct Gated {
    origin: Origin,
    arrived: Arc<Mutex<Vec<String>>>,
}

fn gated(gate: &Gate) -> io::Result<Gated> {
    let arrived: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, gate) = (arrived.clone(), gate.clone());
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            if request.target == CHECK {
                conversation.respond(&request, Response::new(200, ""))?;
                continue;
            }
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(request.target.clone());
            conversation.wait(&gate)?;
            conversation.respond(&request, Response::new(200, request.target.clone()))?;
        }
        Ok(())
    })?;
    Ok(Gated { origin, arrived })
}

impl Gated {
    fn arrived(&self) -> Vec<String> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends a request that will have to wait, as the last of so many.
fn stand_in_line(seawall: &Seawall, target: &str, waiting: usize) -> io::Result<RawClient> {
    let mut client = seawall.connect()?;
    client.send(get(target, ""))?;
    metric_becomes(seawall, "seawall_upstream_waiting", &[], waiting as f64)?;
    Ok(client)
}

/// Takes the only place.
fn take_the_place(seawall: &Seawall, gated: &Gated) -> io::Result<RawClient> {
    let mut client = seawall.connect()?;
    client.send(get("/first", ""))?;
    eventually("it arrives", || Ok(gated.arrived() == ["/first"]))?;
    Ok(client)
}

/// What checks ask for, which is answered at once.
const CHECK: &str = "/healthz";

const LINE: &str = "queue = { wait = \"30s\", size = 100 }";

#[test]
fn who_came_first_is_served_first() -> io::Result<()> {
    for (workers, limit) in [(1, "max-in-flight = 1"), (2, "max-in-flight = { total = 1 }")] {
        let gate = Gate::new();
        let gated = gated(&gate)?;
        let seawall = Setup::before(&gated.origin)
            .workers(workers)
            .upstream(&format!("{limit}\nqueue = {{ wait = \"30s\" }}"))
            .start()?;
        let mut first = take_the_place(&seawall, &gated)?;
        let targets: Vec<String> = (1..=8).map(|n| format!("/{n}")).collect();
        let mut clients = Vec::new();
        for (n, target) in targets.iter().enumerate() {
            clients.push(stand_in_line(&seawall, target, n + 1)?);
        }
        assert_eq!(gated.arrived(), ["/first"]);
        gate.open();
        assert_eq!(first.read_response()?.text(), "/first");
        for (client, target) in clients.iter_mut().zip(&targets) {
            assert_eq!(client.read_response()?.text(), *target);
        }
        let order = gated.arrived();
        // Who has waited for a second has waited too long for the order to be kept.
        assert_eq!(order[1..], targets, "{limit}");
        in_flight_ends(&seawall)?;
    }
    Ok(())
}

#[test]
fn a_full_line_refuses_and_a_place_given_up_is_free() -> io::Result<()> {
    let gate = Gate::new();
    let gated = gated(&gate)?;
    let seawall = Setup::before(&gated.origin)
        .upstream("max-in-flight = 1\nqueue = { size = 2, wait = \"30s\" }")
        .start()?;
    let mut first = take_the_place(&seawall, &gated)?;
    let leaves = stand_in_line(&seawall, "/leaves", 1)?;
    let mut second = stand_in_line(&seawall, "/second", 2)?;

    let mut refused_one = seawall.connect()?;
    let response = refused_one.get("test", "/refused")?;
    assert_eq!((response.status, code(&response).as_str()), (503, "queue-full"));
    assert!(response.header("retry-after").is_some());

    drop(leaves);
    metric_becomes(&seawall, "seawall_upstream_waiting", &[], 1.0)?;
    let mut third = stand_in_line(&seawall, "/third", 2)?;
    gate.open();
    for (client, target) in
        [(&mut first, "/first"), (&mut second, "/second"), (&mut third, "/third")]
    {
        assert_eq!(client.read_response()?.text(), target);
    }
    assert_eq!(gated.arrived(), ["/first", "/second", "/third"], "nobody works for who has left");
    assert_eq!(refused_one.get("test", "/again")?.text(), "/again");
    in_flight_ends(&seawall)
}

#[test]
fn a_wait_has_its_end() -> io::Result<()> {
    let gate = Gate::new();
    let gated = gated(&gate)?;
    let setup = |queue: &str| {
        let limit = format!("max-in-flight = 1\nqueue = {queue}");
        Setup::before(&gated.origin).upstream(&limit)
    };
    let seawall = setup("{ wait = \"50ms\" }").start()?;
    let mut first = take_the_place(&seawall, &gated)?;
    let mut waits = seawall.connect()?;
    let response = waits.get("test", "/waits")?;
    assert_eq!((response.status, code(&response).as_str()), (503, "queue-timeout"));
    assert!(response.header("retry-after").is_some());
    refused(&seawall, "queue-timeout", 1.0)?;

    // None waits.
    seawall.rewrite(&setup("0").text())?;
    assert_eq!(seawall.reload()?.status, 200);
    let response = waits.get("test", "/refused")?;
    assert_eq!((response.status, code(&response).as_str()), (503, "upstream-full"));
    gate.open();
    assert_eq!(first.read_response()?.text(), "/first");
    assert_eq!(gated.arrived(), ["/first"]);
    in_flight_ends(&seawall)
}

/// The deadline of a request holds in the line as well.
#[test]
fn a_deadline_ends_a_wait() -> io::Result<()> {
    let gate = Gate::new();
    let gated = gated(&gate)?;
    let seawall = Setup::before(&gated.origin)
        .server("trust = [\"127.0.0.1\"]")
        .upstream(&format!("max-in-flight = 1\n{LINE}"))
        .start()?;
    let mut first = take_the_place(&seawall, &gated)?;
    let mut waits = seawall.connect()?;
    let response = waits.exchange(get("/waits", "x-request-deadline-ms: 100\r\n"))?;
    assert!(["queue-timeout", "upstream-timeout"].contains(&code(&response).as_str()));
    metric_becomes(&seawall, "seawall_upstream_waiting", &[], 0.0)?;
    gate.open();
    assert_eq!(first.read_response()?.text(), "/first");
    assert_eq!(gated.arrived(), ["/first"]);
    in_flight_ends(&seawall)
}

#[test]
fn a_new_server_takes_who_waits() -> io::Result<()> {
    let gate = Gate::new();
    let gated = gated(&gate)?;
    let more = Origin::always("more")?;
    let seawall = Setup::before(&gated.origin)
        .workers(2)
        .upstream(&format!("max-in-flight = 1\n{LINE}"))
        .start()?;
    let mut first = take_the_place(&seawall, &gated)?;
    let mut waits = [stand_in_line(&seawall, "/1", 1)?, stand_in_line(&seawall, "/2", 2)?];
    let servers = format!("[\"{}\", \"{}\"]", gated.origin.address(), more.address());
    let body = format!("{{\"servers\": {servers}}}");
    let response = seawall.admin_send("PUT", "/api/upstreams/app/servers", &body)?;
    assert_eq!(response.status, 200, "{}", response.text());
    for client in &mut waits {
        assert_eq!(client.read_response()?.text(), "more");
    }
    gate.open();
    assert_eq!(first.read_response()?.text(), "/first");
    in_flight_ends(&seawall)
}

#[test]
fn a_server_that_returns_takes_who_waits() -> io::Result<()> {
    let gate = Gate::new();
    let gated = gated(&gate)?;
    let well = Arc::new(AtomicBool::new(false));
    let now = well.clone();
    let other = Origin::responding(move |request| match request.target.as_str() {
        CHECK if !now.load(Relaxed) => Response::new(404, ""),
        _ => Response::new(200, "other"),
    })?;
    let seawall = Setup::to_all([gated.origin.address(), other.address()])
        .upstream(&format!("max-in-flight = 1\n{LINE}\npanic = \"0%\""))
        .upstream(&format!("health = {{ path = {CHECK:?}, every = \"20ms\", rise = 1, fall = 1 }}"))
        .start()?;
    state_becomes(&seawall, other.address(), "failing")?;
    let mut first = take_the_place(&seawall, &gated)?;
    let mut waits = stand_in_line(&seawall, "/1", 1)?;
    well.store(true, Relaxed);
    assert_eq!(waits.read_response()?.text(), "other");

    // The same when it was taken out by hand.
    let order = |state: &str| {
        let target = format!("/api/upstreams/app/servers/{}/state", other.address());
        seawall.admin_send("PUT", &target, &format!("{{\"state\": \"{state}\"}}"))
    };
    let response = order("disable")?;
    assert_eq!(response.status, 200, "{}", response.text());
    let mut waits = stand_in_line(&seawall, "/2", 1)?;
    assert_eq!(order("use")?.status, 200);
    assert_eq!(waits.read_response()?.text(), "other");
    gate.open();
    assert_eq!(first.read_response()?.text(), "/first");
    in_flight_ends(&seawall)
}

#[test]
fn heavy_nobody_is_lost_in_line() -> io::Result<()> {
    let most = Arc::new(Mutex::new((0, 0)));
    let count = most.clone();
    let origin = Origin::responding(move |_| {
        let change = |by: i32| {
            let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
            count.0 += by;
            count.1 = count.1.max(count.0);
        };
        change(1);
        std::thread::yield_now();
        change(-1);
        Response::new(200, "here")
    })?;
    for limit in ["max-in-flight = 4", "max-in-flight = { total = 4 }"] {
        let seawall = Setup::before(&origin)
            .workers(2)
            .upstream(&format!("{limit}\nqueue = {{ wait = \"30s\" }}"))
            .start()?;
        let before = origin.requests();
        let statuses = storm(&seawall, 64, 32, |n| get(&format!("/{n}"), ""))?;
        assert_eq!(statuses.get(&200), Some(&2048), "{limit}: {statuses:?}");
        assert_eq!(origin.requests() - before, 2048);
        in_flight_ends(&seawall)?;
    }
    let (now, most) = *most.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(now == 0 && most <= 4, "{most} at a time");
    Ok(())
}
