//! Origin and client against each other: what one scripts the other must see, byte by byte.

use std::io::{self, ErrorKind};

use seawall_testkit::{Gate, Origin, RawClient, Response};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn an_ordinary_origin_keeps_connections_alive() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.target.clone()))?;
    let mut client = RawClient::connect(origin.address())?;
    for target in ["/one", "/two"] {
        assert_eq!(client.get("x", target)?.text(), target);
    }
    client.send("HEAD /three HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let response = client.read_response_to("HEAD")?;
    assert_eq!(response.header("content-length"), Some("6"));
    assert!(response.headers.lists("connection", "close"));
    client.expect_close()?;
    assert_eq!((origin.connections(), origin.requests()), (1, 3));
    Ok(())
}

#[test]
fn pipelined_requests_are_answered_in_order() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.body.clone()))?;
    let mut client = RawClient::connect(origin.address())?;
    client.send_slowly(
        "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\none\
         POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\ntw\r\n1;x=y\r\no\r\n0\r\n\r\n",
    )?;
    assert_eq!(client.read_response()?.text(), "one");
    assert_eq!(client.read_response()?.text(), "two");
    assert!(origin.received(0).ends_with("0\r\n\r\n"));
    Ok(())
}

#[test]
fn every_framing_is_read() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")?;
        conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        conversation.send_chunk("one ")?;
        conversation.send_slowly("3\r\ntwo\r\n0\r\nsum: 6\r\n\r\n")?;
        conversation.read_request()?;
        conversation.send("HTTP/1.1 200 OK\r\n\r\nuntil the end")
    })?;
    let mut client = RawClient::connect(origin.address())?;
    client.send(GET)?;
    let (interim, response) = client.read_final_response()?;
    assert_eq!((interim.len(), interim[0].status), (1, 103));
    assert_eq!(response.text(), "one two");
    assert_eq!(response.trailers.first("sum"), Some("6"));
    assert_eq!(client.exchange(GET)?.text(), "until the end");
    Ok(())
}

#[test]
fn half_an_answer_and_a_bad_one_are_errors() -> io::Result<()> {
    let check = |answer: &'static str, expect: ErrorKind| -> io::Result<()> {
        let origin = Origin::scripted(move |conversation| {
            conversation.read_request()?;
            conversation.send(answer)
        })?;
        let error = RawClient::connect(origin.address())?.exchange(GET).expect_err(answer);
        assert_eq!(error.kind(), expect, "{answer:?}");
        Ok(())
    };
    check("", ErrorKind::UnexpectedEof)?;
    check("HTTP/1.1 200 OK\r\n", ErrorKind::UnexpectedEof)?;
    check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nno", ErrorKind::UnexpectedEof)?;
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
        ErrorKind::InvalidData,
    )?;
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx",
        ErrorKind::UnexpectedEof,
    )?;
    check("ICY 200 OK\r\n\r\n", ErrorKind::InvalidData)
}

#[test]
fn a_gate_decides_the_order() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        let request = conversation.read_request()?;
        conversation.wait(&at_gate)?;
        conversation.respond(&request, Response::new(200, "late"))
    })?;
    let mut client = RawClient::connect(origin.address())?;
    client.send(GET)?;
    gate.wait_for_waiting(1)?;
    assert_eq!((origin.requests(), origin.open_connections()), (1, 1));
    gate.open();
    assert_eq!(client.read_response()?.text(), "late");
    origin.wait_until_idle()
}

#[test]
fn resets_are_resets_on_both_sides() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.reset()
    })?;
    let mut client = RawClient::connect(origin.address())?;
    client.send(GET)?;
    let error = client.read_to_end().expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let origin = Origin::scripted(|conversation| conversation.read_to_end().map(drop))?;
    let client = RawClient::connect(origin.address())?;
    origin.wait_for_connections(1)?;
    client.abort()?;
    let seen = origin.wait_until(|seen| seen[0].ended)?;
    assert!(seen[0].error.is_some(), "the script saw the reset: {seen:?}");
    Ok(())
}

#[test]
fn reset_connections_leave_the_listener() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let mut client = RawClient::connect(origin.address())?;
    assert_eq!(client.get("x", "/")?.text(), "here");
    origin.reset_connections();
    let error = client.read_to_end().expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(RawClient::connect(origin.address())?.get("x", "/")?.text(), "here");
    Ok(())
}

#[test]
fn a_stopped_origin_refuses_and_can_come_back() -> io::Result<()> {
    let origin = Origin::silent()?;
    let address = origin.address();
    let mut client = RawClient::connect(address)?;
    client.send(GET)?;
    origin.wait_until(|seen| seen.iter().any(|seen| seen.length > 0))?;
    let seen = origin.stop();
    assert_eq!(seen[0].received, GET.as_bytes());
    client.expect_close()?;
    let error = RawClient::connect(address).err().expect("nobody is there");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    let _again = Origin::responding_at(address, |_| Response::new(200, "back"))?;
    assert_eq!(RawClient::connect(address)?.get("x", "/")?.text(), "back");
    Ok(())
}

#[test]
fn a_panic_in_a_script_is_not_lost() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let request = conversation.read_request()?;
        assert_eq!(request.target, "/expected", "the script's own assertion");
        Ok(())
    })?;
    RawClient::connect(origin.address())?.exchange(GET).expect_err("no answer");
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| origin.stop()))
        .expect_err("it comes out at the end");
    let message = payload.downcast_ref::<String>().expect("a message");
    assert!(message.contains("the script's own assertion"), "{message}");
    Ok(())
}

#[test]
fn bulk_bodies_flow_both_ways() -> io::Result<()> {
    const SIZE: u64 = 20 << 20;
    let origin = Origin::bulk()?;
    let mut client = RawClient::connect(origin.address())?;
    for target in ["bytes", "chunked", "close"] {
        client.send(format!("GET /{target}/{SIZE} HTTP/1.1\r\nhost: x\r\n\r\n"))?;
        let head = client.read_head()?;
        assert_eq!(client.count_body(&head)?, SIZE, "{target}");
    }
    client.expect_close()?;
    let mut client = RawClient::connect(origin.address())?;
    client.send(format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {SIZE}\r\n\r\n"))?;
    let piece = vec![b'y'; 1 << 20];
    for _ in 0..SIZE >> 20 {
        client.send(&piece)?;
    }
    assert_eq!(client.read_response()?.text(), SIZE.to_string());
    assert!(origin.seen()[1].length > SIZE);
    assert_eq!(origin.seen()[1].received.len(), 1 << 20, "only so much is recorded");
    Ok(())
}

#[test]
fn a_peer_that_does_not_read_can_be_filled_only_so_far() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        conversation.wait(&at_gate)?;
        conversation.hang()
    })?;
    let mut client = RawClient::connect(origin.address())?;
    let patience = std::time::Duration::from_millis(100);
    let sent = client.send_until_stuck(&[b'z'; 65536], 1 << 30, patience)?;
    assert!(sent < 1 << 30, "the socket buffers are not that large: {sent}");
    gate.open();
    Ok(())
}
