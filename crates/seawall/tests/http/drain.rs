//! The end: SIGTERM lets exchanges end and nothing new begin.

use std::io;

use seawall_testkit::{Gate, LoadPlan, Origin, RawClient, Response, Seawall, Signal};

use crate::setup::{Setup, eventually, get};
use crate::upgrade::{UPGRADE, echo};

/// Answers when the gate opens, and gives the gate.
fn late() -> io::Result<(Origin, Gate)> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        let request = conversation.read_request()?;
        conversation.wait(&at_gate)?;
        conversation.respond(&request, Response::new(200, "late"))
    })?;
    Ok((origin, gate))
}

fn wait_for_draining(seawall: &Seawall) -> io::Result<()> {
    eventually("not ready", || Ok(seawall.admin_get("/readyz")?.status == 503))
}

#[test]
fn exchanges_end_and_nothing_new_begins() -> io::Result<()> {
    let (origin, gate) = late()?;
    let mut seawall = Setup::before(&origin).workers(2).start()?;
    let mut idle = seawall.connect()?;
    let mut in_flight = seawall.connect()?;
    in_flight.send(get("/", ""))?;
    gate.wait_for_waiting(1)?;
    let mut half = seawall.connect()?;
    half.send("GET / HTTP/1.1\r\nho")?;
    assert_eq!(seawall.admin_get("/readyz")?.status, 200);

    seawall.terminate()?;
    wait_for_draining(&seawall)?;
    assert_eq!(seawall.admin_get("/healthz")?.status, 200, "it lives");
    idle.expect_close()?;
    eventually("nobody listens", || Ok(RawClient::connect(seawall.address("web")).is_err()))?;
    assert!(seawall.process().is_running()?);

    gate.open();
    let response = in_flight.read_response()?;
    assert_eq!(response.text(), "late");
    assert!(response.headers.lists("connection", "close"));
    in_flight.expect_close()?;
    // Whoever has begun to ask is answered.
    half.send("st: test\r\n\r\n")?;
    let response = half.read_response()?;
    assert_eq!(response.text(), "late");
    assert!(response.headers.lists("connection", "close"));
    half.expect_close()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn an_idle_process_ends_at_once() -> io::Result<()> {
    let (origin, _gate) = late()?;
    for signal in [Signal::TERM, Signal::INT] {
        let mut seawall = Setup::before(&origin).start()?;
        let mut idle = seawall.connect()?;
        seawall.process().signal(signal)?;
        assert_eq!(seawall.wait()?.code(), Some(0), "{signal:?}");
        idle.expect_close()?;
    }
    Ok(())
}

#[test]
fn an_upload_and_a_download_in_flight_are_completed() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let mut seawall = Setup::before(&origin).start()?;
    let length: u64 = 64 << 20;
    let mut upload = seawall.connect()?;
    upload.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"))?;
    let mut download = seawall.connect()?;
    download.send(get(&format!("/bytes/{length}"), ""))?;
    let head = download.read_head()?;
    origin.wait_for_requests(2)?;

    seawall.terminate()?;
    wait_for_draining(&seawall)?;
    for _ in 0..length >> 20 {
        upload.send(vec![b'x'; 1 << 20])?;
    }
    assert_eq!(upload.read_response()?.text(), length.to_string());
    assert_eq!(download.count_body(&head)?, length);
    assert_eq!(seawall.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn what_takes_longer_than_drain_is_cut() -> io::Result<()> {
    let (origin, gate) = late()?;
    let mut seawall = Setup::before(&origin).server("drain = \"200ms\"").start()?;
    let mut in_flight = seawall.connect()?;
    in_flight.send(get("/", ""))?;
    gate.wait_for_waiting(1)?;
    seawall.terminate()?;
    in_flight.expect_close()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    assert!(seawall.log().contains("connections are cut"), "{}", seawall.log());
    gate.open();
    Ok(())
}

#[test]
fn a_tunnel_lives_as_long_as_drain() -> io::Result<()> {
    let origin = echo()?;
    let mut seawall = Setup::before(&origin).server("drain = \"500ms\"").start()?;
    let mut tunnel = seawall.connect()?;
    tunnel.send(UPGRADE)?;
    assert_eq!(tunnel.read_head()?.status, 101);
    seawall.terminate()?;
    wait_for_draining(&seawall)?;
    tunnel.send("last words")?;
    assert_eq!(tunnel.read_exact(10)?, b"last words");
    tunnel.expect_close()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    origin.wait_until_idle()
}

#[test]
fn a_second_signal_ends_it_at_once() -> io::Result<()> {
    let (origin, gate) = late()?;
    let mut seawall = Setup::before(&origin).start()?;
    let mut in_flight = seawall.connect()?;
    in_flight.send(get("/", ""))?;
    gate.wait_for_waiting(1)?;
    seawall.terminate()?;
    wait_for_draining(&seawall)?;
    seawall.terminate()?;
    assert_eq!(seawall.wait()?.code(), Some(1));
    in_flight.expect_close()
}

#[test]
fn nobody_who_was_let_in_goes_without_an_answer() -> io::Result<()> {
    const WORKERS: u64 = 2;
    let origin = Origin::always("here")?;
    let mut seawall = Setup::before(&origin).workers(WORKERS as usize).start()?;
    let load = LoadPlan::get(seawall.address("web"), "/", 8).start()?;
    load.wait_for_more(200)?;
    seawall.terminate()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    let tally = load.stop();
    for (what, count) in &tally.failures {
        // What comes between a worker's last look at its queue and the end of that is reset by the
        // kernel: nobody has let it in.
        let is_too_late = what.contains("reset") && *count <= WORKERS;
        let is_gone = what.contains("refused");
        assert!(is_gone || is_too_late, "only that nobody listens any more: {tally:?}");
    }
    Ok(())
}

#[test]
fn the_last_lines_of_the_access_log_are_written() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let log = home.path().join("access.log");
    let mut seawall = Setup::alone()
        .server(&format!("access-log = {:?}", log.display().to_string()))
        .with("[[route]]\nname = \"page\"\nrespond = \"page\"")
        .start()?;
    let mut client = seawall.connect()?;
    for _ in 0..100 {
        client.get("test", "/")?;
    }
    seawall.terminate()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&log)?.lines().count(), 100);
    Ok(())
}
