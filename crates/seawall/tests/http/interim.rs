//! Interim answers: passed on at once, and `Expect: 100-continue` both ways.

use std::io;

use seawall_testkit::{Gate, Origin, RawClient, Response};

use crate::setup::{MOMENT, Setup, code, get, refused};

const WAITING: &str =
    "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";

#[test]
fn hints_come_before_the_answer() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        loop {
            let request = conversation.read_request()?;
            conversation.send(
                "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-private\r\n\
                 x-private: 1\r\nkeep-alive: 5\r\n\r\n\
                 HTTP/1.1 103 Early Hints\r\nlink: </b.css>\r\n\r\n",
            )?;
            conversation.wait(&at_gate)?;
            conversation.respond(&request, Response::new(200, "here"))?;
        }
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send(get("/", ""))?;
    let first = client.read_response()?;
    assert_eq!((first.status, first.header("link")), (103, Some("</a.css>; rel=preload")));
    for name in ["connection", "x-private", "keep-alive"] {
        assert_eq!(first.header(name), None, "it is of the other connection");
    }
    assert_eq!(client.read_response()?.header("link"), Some("</b.css>"));
    gate.open();
    assert_eq!(client.read_response()?.text(), "here");

    // An HTTP/1.0 client does not know them.
    let mut client = seawall.connect()?;
    client.send("GET / HTTP/1.0\r\n\r\n")?;
    let response = client.read_response()?;
    assert_eq!((response.status, response.text().as_str()), (200, "here"));
    Ok(())
}

#[test]
fn interim_answers_without_end_are_a_bad_answer() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        while conversation.send("HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
        Ok(())
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send(get("/", ""))?;
    let (_, response) = client.read_final_response()?;
    assert_eq!((response.status, code(&response).as_str()), (502, "bad-answer"));
    origin.wait_until_idle()
}

#[test]
fn the_client_waits_for_the_server_to_say_continue() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        loop {
            let head = conversation.read_request_head()?;
            assert_eq!(head.header("expect"), Some("100-continue"));
            conversation.wait(&at_gate)?;
            conversation.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            let body = conversation.read_exact(4)?;
            conversation.respond(&head, Response::new(200, body))?;
        }
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?.with_patience(MOMENT)?;
    client.send(WAITING)?;
    gate.wait_for_waiting(1)?;
    let error = client.read_response().expect_err("Seawall does not say it by itself");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    gate.open();
    client = client.with_patience(seawall_testkit::PATIENCE)?;
    for body in ["body", "more"] {
        if body == "more" {
            client.send(WAITING)?;
        }
        assert_eq!(client.read_response()?.status, 100);
        client.send(body)?;
        assert_eq!(client.read_response()?.text(), body);
    }
    assert_eq!(origin.connections(), 1);
    Ok(())
}

/// Servers of HTTP/1.0 times never say it, so clients stop waiting some time.
#[test]
fn the_client_need_not_wait() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.body.clone()))?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for request in [[WAITING, "body"].concat(), [WAITING, "more"].concat()] {
        client.send(&request)?;
        assert!(request.ends_with(&client.read_response()?.text()));
    }
    client.send(WAITING)?;
    origin.wait_for_requests(3)?;
    client.send("late")?;
    assert_eq!(client.read_response()?.text(), "late");
    Ok(())
}

#[test]
fn a_refusal_comes_instead_of_continue() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request_head()?;
        conversation.send(Response::new(413, "no").to_bytes(false))?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin)
        .with("[[route]]\nname = \"page\"\npath = \"/page\"\nrespond = { status = 403, body = \"no\" }")
        .start()?;
    for (request, status) in
        [(WAITING.to_owned(), 413), (WAITING.replace("POST /", "POST /page"), 403)]
    {
        let mut client = seawall.connect()?;
        client.send(request)?;
        let response = client.read_response()?;
        assert_eq!((response.status, response.text().as_str()), (status, "no"));
        // The client may send the body or not, and nobody knows: the connection is of no use.
        assert!(response.headers.lists("connection", "close"));
        client.expect_close()?;
    }
    origin.wait_until_idle()
}

#[test]
fn an_expectation_of_an_http_1_0_client_is_no_expectation() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        Response::new(200, format!("{:?} {}", request.header("expect"), request.text()))
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send("POST / HTTP/1.0\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\nbody")?;
    assert_eq!(client.read_response()?.text(), "None body");
    Ok(())
}

/// Whether the body follows is the client's choice then, and nobody knows how it chose.
#[test]
fn a_final_answer_instead_of_continue_ends_the_connection() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let head = conversation.read_request_head()?;
        conversation.respond(&head, Response::new(200, "no need"))?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send(WAITING)?;
    let response = client.read_response()?;
    assert_eq!((response.status, response.text().as_str()), (200, "no need"));
    assert!(response.headers.lists("connection", "close"), "{response:?}");
    client.expect_close()
}

#[test]
fn half_an_interim_answer_is_not_followed_by_a_refusal() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request_head()?;
        let hints = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "x".repeat(60_000));
        for _ in 0..30 {
            conversation.send(&hints)?;
        }
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).route("timeout = \"500ms\"").start()?;
    let address = seawall.address("web");
    let mut client = RawClient::connect_with_receive_buffer(address, 4096)?;
    client.send(get("/", ""))?;
    refused(&seawall, "upstream-timeout", 1.0)?;
    let all = String::from_utf8_lossy(&client.read_to_end()?).into_owned();
    let (_, last) = all.rsplit_once("HTTP/1.1 ").expect("it began to send");
    assert!(last.starts_with("103") && !last.ends_with("\r\n\r\n"), "{}", &last[..100]);
    Ok(())
}
