//! Who does not wait for the other: servers that answer before they have the request, clients that
//! leave before they have the answer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seawall_testkit::{Gate, Origin, Response};

use crate::setup::{Setup, code, get, metric_becomes, post, refused};

/// An upload far larger than all the buffers on its way.
const LARGE: u64 = 64 << 20;

#[test]
fn a_server_that_refuses_an_upload_and_closes_is_heard() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request_head()?;
        let refusal = Response::new(413, "too much").with("connection", "close");
        conversation.send(refusal.to_bytes(false))?;
        // What has come so far is unread, so that the close is a reset.
        conversation.half_close()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LARGE}\r\n\r\n"))?;
    for _ in 0..LARGE >> 20 {
        // Seawall may stop listening once the answer is out.
        if client.send(vec![b'x'; 1 << 20]).is_err() {
            break;
        }
    }
    let response = client.read_response()?;
    assert_eq!((response.status, response.text().as_str()), (413, "too much"));
    assert!(response.headers.lists("connection", "close"));
    client.expect_close()?;
    origin.wait_until_idle()
}

#[test]
fn a_server_that_answers_early_and_goes_on_reading_gets_everything() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        loop {
            let head = conversation.read_request_head()?;
            conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            conversation.send_chunk("begun ")?;
            let length = conversation.count_body(&head)?;
            conversation.send_chunk(length.to_string())?;
            conversation.send("0\r\n\r\n")?;
        }
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for _ in 0..2 {
        client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LARGE}\r\n\r\n"))?;
        client.read_until(b"6\r\nbegun \r\n")?;
        for _ in 0..LARGE >> 20 {
            client.send(vec![b'x'; 1 << 20])?;
        }
        client.read_until(format!("{LARGE}\r\n0\r\n\r\n").as_bytes())?;
    }
    assert_eq!(origin.connections(), 1, "all of it was used, so the connection was kept");
    Ok(())
}

/// Whatever of an upload is stuck on its way when the client has sent all of it, the rest follows
/// once the server reads on.
#[test]
fn heavy_an_upload_of_any_size_arrives_at_a_server_that_pauses() -> io::Result<()> {
    let gate = Arc::new(Mutex::new(Gate::new()));
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        // A small window, so that uploads get stuck early.
        conversation.socket().set_recv_buffer_size(64 << 10)?;
        let head = conversation.read_request_head()?;
        let gate = at_gate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        conversation.wait(&gate)?;
        let length = conversation.count_body(&head)?;
        conversation
            .respond(&head, Response::new(200, length.to_string()).with("connection", "close"))
    })?;
    let seawall = Setup::before(&origin).start()?;
    for length in (1..=110).map(|step| step * (64 << 10)) {
        let closed = Gate::new();
        *gate.lock().unwrap_or_else(PoisonError::into_inner) = closed.clone();
        let mut client = seawall.connect()?.with_patience(Duration::from_secs(10))?;
        client
            .send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"))?;
        let body = vec![b'x'; length];
        let sent = client.send_until_stuck(&body, length as u64, Duration::from_millis(20))?;
        let sent = usize::try_from(sent).unwrap_or(length);
        closed.wait_for_waiting(1)?;
        closed.open();
        client = client.with_patience(Duration::from_secs(10))?;
        client.send(&body[sent..])?;
        assert_eq!(client.read_response()?.text(), length.to_string());
    }
    Ok(())
}

/// What is stuck of an upload would swallow the next request on the connection.
#[test]
fn heavy_an_unfinished_upload_swallows_no_request() -> io::Result<()> {
    let gates = Arc::new(Mutex::new([Gate::new(), Gate::new()]));
    let at_gates = gates.clone();
    let origin = Origin::scripted(move |conversation| {
        conversation.socket().set_recv_buffer_size(64 << 10)?;
        while let Ok(head) = conversation.read_request_head() {
            let answer = Response::new(200, head.target.clone());
            if head.method == "POST" {
                let gates = at_gates.lock().unwrap_or_else(PoisonError::into_inner).clone();
                conversation.wait(&gates[0])?;
                conversation.respond(&head, answer)?;
                conversation.wait(&gates[1])?;
                conversation.count_body(&head)?;
            } else {
                conversation.respond(&head, answer)?;
            }
        }
        Ok(())
    })?;
    let seawall = Setup::before(&origin).start()?;
    for length in (32..=96).map(|step| step * (64 << 10)) {
        let [answer, read] = [Gate::new(), Gate::new()];
        *gates.lock().unwrap_or_else(PoisonError::into_inner) = [answer.clone(), read.clone()];
        let mut client = seawall.connect()?;
        client.send(format!(
            "POST /one HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"
        ))?;
        client.send_until_stuck(&vec![b'x'; length], length as u64, Duration::from_millis(20))?;
        answer.open();
        assert_eq!(client.read_response()?.text(), "/one");
        let mut other = seawall.connect()?.with_patience(Duration::from_secs(10))?;
        other.send(get("/two", ""))?;
        read.open();
        assert_eq!(other.read_response()?.text(), "/two", "after {length} bytes");
    }
    Ok(())
}

/// The client talks first and reads later: neither side may wait for the other for ever.
#[test]
fn an_echo_of_an_upload_flows_while_it_is_sent() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request_head()?;
        conversation
            .send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 16 * (64 << 10)))?;
        for _ in 0..16 {
            let piece = conversation.read_exact(64 << 10)?;
            conversation.send(piece)?;
        }
        Ok(())
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    let length = 16 * (64 << 10);
    client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"))?;
    client.read_head()?;
    for round in 0..16u8 {
        client.send(vec![round; 64 << 10])?;
        assert_eq!(client.read_exact(64 << 10)?, vec![round; 64 << 10]);
    }
    Ok(())
}

#[test]
fn an_early_answer_leaves_nothing_of_the_upload_for_the_next_request() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let head = conversation.read_request_head()?;
        conversation.respond(&head, Response::new(200, head.target.clone()))?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send("POST /one HTTP/1.1\r\nhost: test\r\ncontent-length: 40\r\n\r\n")?;
    assert_eq!(client.read_response()?.text(), "/one");
    // It looks like a request, but it is the body of the first.
    client.send("GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")?;
    if client.send(get("/two", "")).is_ok()
        && let Ok(response) = client.read_response()
    {
        assert_eq!(response.text(), "/two");
    }
    for connection in 0..origin.connections() {
        assert!(!origin.received(connection).contains("GET /smuggled HTTP/1.1\r\nHost"));
    }
    Ok(())
}

#[test]
fn a_client_that_leaves_before_the_answer_cancels_the_work() -> io::Result<()> {
    let origin = Origin::silent()?;
    let seawall = Setup::before(&origin).start()?;
    for (nth, request) in [get("/", ""), post("/", "", "whole")].iter().enumerate() {
        let mut client = seawall.connect()?;
        client.send(request)?;
        origin.wait_until(|seen| seen.len() > nth && seen[nth].length > 0)?;
        drop(client);
        origin.wait_until(|seen| seen[nth].ended)?;
    }
    metric_becomes(&seawall, "seawall_refusals_total", &["code=\"client-gone\""], 2.0)?;
    metric_becomes(&seawall, "seawall_requests_total", &["class=\"none\""], 2.0)
}

#[test]
fn a_client_that_leaves_in_the_middle_of_the_answer_cancels_the_work() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let seawall = Setup::before(&origin).start()?;
    for (nth, target) in ["/bytes/10000000000", "/chunked/10000000000"].iter().enumerate() {
        let mut client = seawall.connect()?;
        client.send(get(target, ""))?;
        client.read_head()?;
        client.read_exact(1 << 20)?;
        drop(client);
        origin.wait_until(|seen| seen[nth].ended)?;
    }
    metric_becomes(&seawall, "seawall_refusals_total", &["code=\"client-gone\""], 2.0)
}

/// Nothing flows, so only the close itself can tell.
#[test]
fn a_client_that_leaves_while_the_answer_pauses_cancels_the_work() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nevent\r\n")?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send(get("/events", ""))?;
    client.read_until(b"event\r\n")?;
    drop(client);
    origin.wait_until_idle()
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_upload_cancels_the_work() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let head = conversation.read_request_head()?;
        conversation.count_body(&head).map(drop)
    })?;
    let seawall = Setup::before(&origin).start()?;
    for (nth, start) in
        ["content-length: 100\r\n\r\nsome", "transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"]
            .iter()
            .enumerate()
    {
        let mut client = seawall.connect()?;
        client.send(format!("POST / HTTP/1.1\r\nhost: test\r\n{start}"))?;
        origin.wait_until(|seen| {
            seen.len() > nth && String::from_utf8_lossy(&seen[nth].received).contains("some")
        })?;
        drop(client);
        // Half a body must not look like a whole one.
        let seen = origin.wait_until(|seen| seen[nth].ended)?;
        assert!(seen[nth].error.is_some(), "{:?}", seen[nth]);
    }
    metric_becomes(&seawall, "seawall_refusals_total", &["code=\"client-gone\""], 2.0)
}

#[test]
fn an_upload_beyond_the_limit_is_refused_while_it_is_sent() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        let head = conversation.read_request_head()?;
        let counted = conversation.count_body(&head);
        conversation.wait(&at_gate)?;
        counted.map(drop)
    })?;
    let seawall = Setup::before(&origin).listen("limits.body = \"1MiB\"").start()?;

    let mut client = seawall.connect()?;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1048577\r\n\r\n")?;
    let response = client.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (413, "body-too-large"));
    assert_eq!(origin.connections(), 0, "it could be seen from the head");

    let mut client = seawall.connect()?;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for _ in 0..16 {
        client.send("10000\r\n")?;
        client.send(vec![b'x'; 0x10000])?;
        client.send("\r\n")?;
    }
    client.send("1\r\nx\r\n")?;
    let response = client.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (413, "body-too-large"));
    client.expect_close()?;
    gate.open();
    let seen = origin.wait_until(|seen| seen.len() == 1 && seen[0].ended)?;
    assert!(seen[0].error.is_some(), "the server sees half a body: {:?}", seen[0].error);
    refused(&seawall, "body-too-large", 2.0)?;
    Ok(())
}
