//! What must not happen when a request is sent once more, or no server can take it: a connection
//! that is used again in the middle of a request, a search without an end.

use std::io::{self, Read};
use std::net::TcpListener;

use seawall_testkit::{Gate, Origin, ReservedPort, Response};

use crate::setup::{Setup, code, get};

/// A request whose body is not there yet but for its beginning.
const BEGUN: &str = "PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nabc";

/// Answers the first request on its first connection early, and everything else in order.
fn early(status: u16) -> io::Result<Origin> {
    Origin::scripted(move |conversation| {
        if conversation.index() == 0 {
            conversation.read_request_head()?;
            conversation.send(Response::new(status, "early").to_bytes(false))?;
            conversation.read_to_end()?;
            return Ok(());
        }
        while let Some(request) = conversation.next_request()? {
            let body = request.body.clone();
            conversation.respond(&request, Response::new(200, body))?;
        }
        Ok(())
    })
}

#[test]
fn a_connection_with_half_a_request_on_it_is_not_used_for_the_retry() -> io::Result<()> {
    let origin = early(503)?;
    let retry = "retry = { attempts = 2, on = [\"503\"], backoff = \"0s\" }";
    let seawall = Setup::before(&origin).route(retry).start()?;
    let mut client = seawall.connect()?;
    client.send(BEGUN)?;
    origin.wait_for_connections(2)?;
    client.send("defghij")?;
    let response = client.read_response()?;
    assert_eq!((response.status, response.text().as_str()), (200, "abcdefghij"));
    let first = origin.received(0);
    assert_eq!(first.matches("PUT").count(), 1, "{first}");
    Ok(())
}

#[test]
fn nor_for_the_next_request_when_another_upstream_answered_this_one() -> io::Result<()> {
    let (origin, other) =
        (early(500)?, Origin::responding(|r| Response::new(200, r.body.clone()))?);
    let others = format!("[upstream.other]\nservers = [\"{}\"]", other.address());
    let fallback = "fallback = [{ to = \"other\" }]";
    let seawall = Setup::before(&origin).with(&others).route(fallback).start()?;
    let mut client = seawall.connect()?;
    client.send(BEGUN)?;
    other.wait_for_connections(1)?;
    client.send("defghij")?;
    assert_eq!(client.read_response()?.text(), "abcdefghij");
    let response = seawall.connect()?.exchange(get("/", ""))?;
    assert_eq!(response.status, 200);
    let first = origin.received(0);
    assert!(!first.contains("GET"), "{first}");
    Ok(())
}

/// A fallback that is for other failures leaves the way of the request alone.
#[test]
fn an_early_answer_that_is_passed_on_does_not_stop_the_upload() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let head = conversation.read_request_head()?;
        conversation.send("HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n")?;
        conversation.send_chunk("begun ")?;
        let length = conversation.count_body(&head)?;
        conversation.send_chunk(length.to_string())?;
        conversation.send("0\r\n\r\n")
    })?;
    let others = "[upstream.other]\nservers = [\"127.0.0.1:9\"]";
    let fallback = "fallback = [{ to = \"other\" }]";
    let seawall = Setup::before(&origin).with(others).route(fallback).start()?;
    let mut client = seawall.connect()?;
    client.send(BEGUN)?;
    client.read_until(b"6\r\nbegun \r\n")?;
    client.send("defghij")?;
    client.read_until(b"10\r\n0\r\n\r\n")?;
    Ok(())
}

/// The worker went round for good: the server refuses connections, so that it costs nothing to ask
/// it once more, but has as many requests as it may.
#[test]
fn a_server_that_is_full_and_refuses_connections_is_not_asked_for_ever() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let setup = Setup::to(listener.local_addr()?);
    let limits =
        |server| format!("max-in-flight = {{ server = {server} }}\nqueue = {{ size = 0 }}");
    let seawall = setup.clone().upstream(&limits(2)).start()?;
    let mut first = seawall.connect()?;
    first.send(get("/", ""))?;
    let (mut server, _) = listener.accept()?;
    assert!(server.read(&mut [0; 1024])? > 0);
    drop(listener);
    let refused = seawall.connect()?.exchange(get("/", ""))?;
    assert_eq!(code(&refused), "connect-failed");
    seawall.rewrite(&setup.upstream(&limits(1)).text())?;
    assert_eq!(seawall.reload()?.status, 200);
    let refused = seawall.connect()?.exchange(get("/", ""))?;
    assert_eq!(code(&refused), "no-healthy-upstream");
    io::Write::write_all(&mut server, &Response::new(200, "late").to_bytes(false))?;
    assert_eq!(first.read_response()?.text(), "late");
    Ok(())
}

/// The worker went round for good: a server that cannot be reached has no connections, but that is
/// no room.
#[test]
fn a_server_that_is_down_is_no_room_for_those_that_another_has_none_for() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, "late"))?;
        }
        Ok(())
    })?;
    let down = ReservedPort::new()?;
    let servers = [origin.address(), down.address()];
    let setup = Setup::to_all(servers).upstream("limits = { connections = 1 }");
    let seawall = setup.start()?;
    let mut first = seawall.connect()?;
    first.send(get("/", ""))?;
    origin.wait_for_requests(1)?;
    let second = seawall.connect()?.exchange(get("/", ""))?;
    assert_eq!(code(&second), "upstream-full");
    gate.open();
    assert_eq!(first.read_response()?.text(), "late");
    Ok(())
}
