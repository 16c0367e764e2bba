//! Clients and servers that are slow: each has its own limit, and none disturbs the others.

use std::io;
use std::time::{Duration, Instant};

use seawall_testkit::{Origin, RawClient, Response, Seawall};

use crate::setup::{MOMENT, Setup, code, get, metric_becomes, post, refused};

/// Answers everything but what begins with `/never`.
fn mostly_answering() -> io::Result<Origin> {
    Origin::scripted(|conversation| {
        loop {
            let head = conversation.read_request_head()?;
            if head.target.starts_with("/never") {
                return conversation.hang();
            }
            conversation.respond(&head, Response::new(200, "here"))?;
        }
    })
}

#[test]
fn a_head_that_does_not_arrive_is_refused() -> io::Result<()> {
    let origin = Origin::always("")?;
    let seawall = Setup::before(&origin).listen("timeouts.head = \"100ms\"").start()?;
    for begun in ["G", "GET / HTTP/1.1\r\nhost: te"] {
        let mut client = seawall.connect()?;
        client.send(begun)?;
        let response = client.read_response()?;
        assert_eq!((response.status, code(&response).as_str()), (408, "head-timeout"));
        assert!(response.headers.lists("connection", "close"));
        client.expect_close()?;
    }
    refused(&seawall, "head-timeout", 2.0)?;
    assert_eq!(origin.connections(), 0);
    Ok(())
}

/// The clock of the head starts with its first byte, not with the connection.
#[test]
fn a_connection_may_be_idle_longer_than_a_head_may_take() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).listen("timeouts.head = \"100ms\"").start()?;
    let mut idle = seawall.connect()?;
    let mut late = seawall.connect()?;
    late.send("G")?;
    assert_eq!(late.read_response()?.status, 408, "the head timeout has passed");
    assert_eq!(idle.get("test", "/")?.text(), "here");
    Ok(())
}

#[test]
fn an_idle_connection_is_closed_without_a_word() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).listen("timeouts.idle = \"100ms\"").start()?;
    let mut unused = seawall.connect()?;
    let mut used = seawall.connect()?;
    assert_eq!(used.get("test", "/")?.text(), "here");
    unused.expect_close()?;
    used.expect_close()?;
    refused(&seawall, "head-timeout", 0.0)?;
    Ok(())
}

#[test]
fn a_body_that_does_not_arrive_is_refused() -> io::Result<()> {
    let origin = mostly_answering()?;
    let seawall = Setup::before(&origin)
        .listen("timeouts.body = \"100ms\"\nlimits.progress = \"1KiB\"")
        .start()?;
    for (framing, some) in [
        ("content-length: 10", ""),
        ("content-length: 4000", "123"),
        ("transfer-encoding: chunked", "1\r\nx"),
    ] {
        let mut client = seawall.connect()?;
        client.send(format!("POST /never HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n{some}"))?;
        let response = client.read_response()?;
        assert_eq!((response.status, code(&response).as_str()), (408, "body-too-slow"), "{some}");
        client.expect_close()?;
    }
    origin.wait_until_idle()
}

/// A worker that waited for such a body in a loop of its own would serve nobody else.
#[test]
fn a_stalled_upload_past_the_timeout_of_its_route_stalls_nobody_else() -> io::Result<()> {
    let origin = mostly_answering()?;
    let seawall = Setup::before(&origin).route("timeout = \"100ms\"").start()?;
    for (fields, some) in [("", ""), ("", "x"), ("expect: 100-continue\r\n", "")] {
        let mut stalled = seawall.connect()?;
        stalled.send(format!(
            "POST /never HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n{fields}\r\n{some}"
        ))?;
        // Sent later, so its timeout is over later.
        let mut other = seawall.connect()?.with_patience(Duration::from_secs(10))?;
        let response = other.get("test", "/never")?;
        assert_eq!((response.status, code(&response).as_str()), (504, "upstream-timeout"));
        assert_eq!(other.get("test", "/")?.text(), "here");
    }
    Ok(())
}

/// Waiting costs nothing, whatever has run out meanwhile.
#[test]
fn a_stalled_upload_past_the_timeout_of_its_route_costs_no_cpu() -> io::Result<()> {
    let origin = mostly_answering()?;
    let mut seawall = Setup::before(&origin).route("timeout = \"100ms\"").start()?;
    let mut stalled = seawall.connect()?;
    stalled.send("POST /never HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nx")?;
    let mut other = seawall.connect()?;
    assert_eq!(other.get("test", "/never")?.status, 504, "the timeout has passed");
    let before = cpu_ticks(&mut seawall)?;
    std::thread::sleep(2 * MOMENT);
    let spent = cpu_ticks(&mut seawall)? - before;
    assert!(spent < 20, "{spent} hundredths of a second were spent waiting for {MOMENT:?} twice");
    stalled.send("123456789")?;
    Ok(())
}

/// Time spent by the process so far, in hundredths of a second.
fn cpu_ticks(seawall: &mut Seawall) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", seawall.process().id()))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    // User and system time, the 14th and 15th field, of which two are before the bracket.
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let spent = ticks(12).zip(ticks(13)).map(|(user, system)| user + system);
    spent.ok_or_else(|| io::Error::other(format!("no times in {stat}")))
}

/// It waits for a server that says nothing, so the timeout is the server's.
#[test]
fn a_client_that_waits_for_100_gets_the_timeout_of_the_server() -> io::Result<()> {
    let origin = mostly_answering()?;
    let seawall = Setup::before(&origin).route("timeout = \"100ms\"").start()?;
    let mut client = seawall.connect()?.with_patience(Duration::from_secs(10))?;
    client.send(
        "POST /never HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n",
    )?;
    let response = client.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (504, "upstream-timeout"));
    client.expect_close()
}

/// A slow but honest upload: the timeout of the route runs from the end of the body.
#[test]
fn the_time_an_upload_takes_is_not_the_servers() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.body.len().to_string()))?;
    let seawall = Setup::before(&origin).route("timeout = \"200ms\"").start()?;
    let mut client = seawall.connect()?;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let (started, mut sent) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_millis(700) {
        client.send("1\r\nx\r\n")?;
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    client.send("0\r\n\r\n")?;
    let response = client.read_response()?;
    assert_eq!((response.status, response.text()), (200, sent.to_string()));
    Ok(())
}

#[test]
fn a_client_that_takes_nothing_is_left_and_its_server_with_it() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let seawall = Setup::before(&origin).listen("timeouts.body = \"200ms\"").start()?;
    let mut client = RawClient::connect_with_receive_buffer(seawall.address("web"), 4096)?;
    client.send(get("/bytes/10000000000", ""))?;
    assert_eq!(client.read_head()?.status, 200);
    origin.wait_until_idle()?;
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)?;
    refused(&seawall, "client-gone", 1.0)?;
    Ok(())
}

/// However much has been taken before, and however fast.
#[test]
fn a_client_that_takes_no_more_is_left() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let seawall = Setup::before(&origin).listen("timeouts.body = \"200ms\"").start()?;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = seawall.connect()?;
        client.send(get("/bytes/10000000000", ""))?;
        client.read_head()?;
        for _ in 0..256 {
            client.read_exact(256 << 10)?;
        }
        clients.push(client);
    }
    origin.wait_until_idle()?;
    refused(&seawall, "client-gone", 8.0)
}

#[test]
fn a_server_that_does_not_answer_is_given_up() -> io::Result<()> {
    let origin = mostly_answering()?;
    let seawall = Setup::before(&origin).route("timeout = \"100ms\"").start()?;
    let mut client = seawall.connect()?;
    for request in [get("/never", ""), post("/never", "", "whole")] {
        let response = client.exchange(request)?;
        assert_eq!((response.status, code(&response).as_str()), (504, "upstream-timeout"));
    }
    assert_eq!(client.get("test", "/")?.text(), "here", "the connection is kept");
    origin.wait_until(|seen| seen[0].ended && seen[1].ended)?;
    Ok(())
}

#[test]
fn a_server_that_falls_silent_in_its_answer_is_given_up() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).upstream("idle-timeout = \"100ms\"").start()?;
    let mut client = seawall.connect()?;
    client.send(get("/", ""))?;
    client.read_until(b"\r\n\r\nhalf")?;
    client.expect_close()?;
    origin.wait_until_idle()?;
    refused(&seawall, "upstream-timeout", 1.0)?;
    Ok(())
}

/// The server is silent because it listens: that is not what its timeout is for.
#[test]
fn an_upload_that_goes_on_after_the_head_of_the_answer_is_not_silence() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let head = conversation.read_request_head()?;
        conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let length = conversation.count_body(&head)?;
        conversation.send_chunk(length.to_string())?;
        conversation.send("0\r\n\r\n")
    })?;
    let seawall = Setup::before(&origin).upstream("idle-timeout = \"200ms\"").start()?;
    let mut client = seawall.connect()?;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let head = client.read_head()?;
    assert_eq!(head.status, 200);
    let (started, mut sent) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_millis(700) {
        client.send("1\r\nx\r\n")?;
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    client.send("0\r\n\r\n")?;
    let rest = String::from_utf8_lossy(&client.read_until(b"0\r\n\r\n")?).into_owned();
    let digits = sent.to_string();
    assert_eq!(rest, format!("{:x}\r\n{digits}\r\n0\r\n\r\n", digits.len()));
    Ok(())
}

/// Once the answer has begun, a client that stops sending is still a client that stops sending.
#[test]
fn an_upload_that_stalls_after_the_head_of_the_answer_is_ended() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request_head()?;
        conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).listen("timeouts.body = \"100ms\"").start()?;
    let mut client = seawall.connect()?.with_patience(Duration::from_secs(10))?;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")?;
    assert_eq!(client.read_head()?.status, 200);
    client.expect_close()?;
    origin.wait_until_idle()
}
