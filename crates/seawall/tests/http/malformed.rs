//! Malformed requests against the running binary, whole and one byte at a time: each is refused,
//! its connection ends, and nothing of it or behind it ever reaches a server. What exactly is
//! malformed is tested at length in `seawall-h1`.

use std::io;

use seawall_testkit::{Origin, Response, Seawall};

use crate::setup::{Setup, code, eventually, get};

/// Says which target it was asked for.
fn echo() -> io::Result<Origin> {
    Origin::responding(|request| {
        Response::new(200, format!("{} {}", request.target, request.text()))
    })
}

const BEHIND: &str = "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n";

fn refuse(seawall: &Seawall, request: &[u8], status: u16) -> io::Result<()> {
    for slowly in [false, true] {
        let shown = request.escape_ascii().to_string();
        let mut client = seawall.connect()?;
        // The rest may meet a closed door, which is well.
        if slowly {
            client.send_slowly(request).ok()
        } else {
            client.send(request).ok()
        };
        client.send(BEHIND).ok();
        let response = client
            .read_response()
            .map_err(|error| io::Error::new(error.kind(), format!("{shown}: {error}")))?;
        assert_eq!(response.status, status, "{shown}: {}", response.text());
        assert_eq!(response.version, "HTTP/1.1");
        assert!(response.headers.lists("connection", "close"), "{shown}");
        client
            .expect_close()
            .map_err(|error| io::Error::new(error.kind(), format!("{shown}: {error}")))?;
    }
    Ok(())
}

#[test]
fn malformed_requests_are_refused_and_reach_nobody() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let heads: [(&str, u16); 34] = [
        // The request line.
        ("GET /\r\nhost: test\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nhost: test\r\n\r\n", 400),
        ("GET\t/ HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("get / HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET / HTTP/1.1\nhost: test\n\n", 400),
        ("GET / http/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nhost: test\r\n\r\n", 505),
        ("GET / HTTP/3.0\r\nhost: test\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET x HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET /#x HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET ftp://test/ HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET http://user@test/ HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0", 400),
        // The fields.
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nhost: test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test:99999999\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nx : y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\n x: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nx: y\r\n z\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nx\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\n: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nx: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nx: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nx: a\nb: c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: test\r\nx\u{b}: y\r\n\r\n", 400),
        // Paths that hide what they mean.
        ("GET /../x HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nhost: test\r\n\r\n", 400),
        ("GET /a/..%2fb HTTP/1.1\r\nhost: test\r\n\r\n", 400),
    ];
    for (request, status) in heads {
        refuse(&seawall, request.as_bytes(), status)?;
    }
    assert_eq!(origin.connections(), 0);
    Ok(())
}

/// Two parties that disagree about where a request ends: the classic pairs.
#[test]
fn framings_that_can_be_read_in_two_ways_are_refused() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let framings: [(&str, u16); 30] = [
        ("content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n", 400),
        ("transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n", 400),
        ("content-length: 4\r\ncontent-length: 5\r\n\r\n", 400),
        ("content-length: 4, 5\r\n\r\n", 400),
        ("content-length: +4\r\n\r\n", 400),
        ("content-length: -1\r\n\r\n", 400),
        ("content-length: 0x4\r\n\r\n", 400),
        ("content-length: 4 4\r\n\r\n", 400),
        ("content-length: \r\n\r\n", 400),
        ("content-length: 99999999999999999999\r\n\r\n", 400),
        ("content-length : 4\r\n\r\n", 400),
        ("content-length\r\n: 4\r\n\r\n", 400),
        ("transfer-encoding: chunked, chunked\r\n\r\n", 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("transfer-encoding: chunked, identity\r\n\r\n", 400),
        ("transfer-encoding: identity\r\n\r\n", 400),
        ("transfer-encoding: gzip, chunked\r\n\r\n", 501),
        ("transfer-encoding: xchunked\r\n\r\n", 400),
        ("transfer-encoding: \"chunked\"\r\n\r\n", 400),
        ("transfer-encoding: chunked;x=y\r\n\r\n", 400),
        ("transfer-encoding:\u{b}chunked\r\n\r\n", 400),
        ("transfer-encoding : chunked\r\n\r\n", 400),
        ("transfer-encoding:\r\n chunked\r\n\r\n", 400),
        ("transfer-encoding\r\n: chunked\r\n\r\n", 400),
        ("x: y\rtransfer-encoding: chunked\r\n\r\n", 400),
        ("x: y\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("transfer-encoding: chunked\n\r\n", 400),
        ("transfer-encoding: chunked\0\r\n\r\n", 400),
        ("transfer-encoding: chunked,\r\n\r\n", 400),
    ];
    for (fields, status) in framings {
        let request = format!("POST / HTTP/1.1\r\nhost: test\r\n{fields}0\r\n\r\n");
        refuse(&seawall, request.as_bytes(), status)?;
    }
    let old = "POST / HTTP/1.0\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    refuse(&seawall, old.as_bytes(), 400)?;
    assert_eq!(origin.connections(), 0);
    Ok(())
}

/// Found out only when the server has the head: it must see half a body, and the client a refusal.
#[test]
fn malformed_chunks_are_refused_and_never_completed() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let bodies = [
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "1\r\nx0\r\n\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1;a\rb\r\nx\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "g\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
        "1\r\nx\r\n0\r\nno colon\r\n\r\n",
        "1\r\nx\r\n0\r\na : b\r\n\r\n",
        "1\r\nx\r\n0\r\na: b\nc: d\r\n\r\n",
        "1\r\nx\r\n0\r\r\n\r\n",
    ];
    for body in bodies {
        let request =
            format!("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        refuse(&seawall, request.as_bytes(), 400)?;
    }
    eventually("the servers' sides end", || Ok(origin.open_connections() == 0))?;
    for (nth, seen) in origin.seen().iter().enumerate() {
        let received = origin.received(nth);
        // What was found out in time was not even begun.
        assert!(
            received.is_empty() || seen.error.is_some(),
            "half a body is an error to the server: {received:?}"
        );
        assert!(!received.contains("smuggled"), "{received:?}");
    }
    Ok(())
}

/// What is unusual and harmless is let through, in a form that nobody reads in two ways.
#[test]
fn odd_but_honest_requests_arrive_in_plain_form() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for (request, expect) in [
        ("\r\nGET /a HTTP/1.1\r\nhost: test\r\n\r\n", "/a "),
        ("GET /b HTTP/1.1\r\nHost:test\r\n\r\n", "/b "),
        ("POST /c HTTP/1.1\r\nhost: test\r\ncontent-length: 2,2\r\n\r\nok", "/c ok"),
        ("POST /d HTTP/1.1\r\nhost: test\r\ncontent-length: 002\r\n\r\nok", "/d ok"),
        (
            "POST /e HTTP/1.1\r\nhost: test\r\nTransfer-Encoding: Chunked\r\n\r\n\
             001 ; a=\"b\"\r\no\r\n1\r\nk\r\n0;z\r\n\r\n",
            "/e ok",
        ),
    ] {
        for slowly in [false, true] {
            if slowly {
                client.send_slowly(request)?
            } else {
                client.send(request)?
            };
            assert_eq!(client.read_response()?.text(), expect, "{request:?}");
        }
    }
    let seen = origin.received(0).to_ascii_lowercase();
    assert!(seen.contains("content-length: 2\r\n") && !seen.contains(": 002"), "{seen}");
    assert!(!seen.contains("a=\"b\"") && !seen.contains(";z"), "{seen}");
    Ok(())
}

/// A refused body leaves its connection unusable, so that nothing of it is taken for a request.
#[test]
fn the_body_of_a_refused_request_is_no_request() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin)
        .listen("limits.body = \"20B\"")
        .with("[[route]]\npath = \"/closed/*\"\nrespond = { status = 403, body = \"no\" }")
        .start()?;
    for (target, length, status) in [("/open", BEHIND.len(), 413), ("/closed/x", 20, 403)] {
        let mut client = seawall.connect()?;
        client.send(format!(
            "POST {target} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"
        ))?;
        client.send(&BEHIND[..length]).ok();
        assert_eq!(client.read_response()?.status, status);
        client.send(get("/behind", "connection: close\r\n")).ok();
        // Either the connection is closed, or the body was read past.
        if let Ok(response) = client.read_response() {
            assert_eq!((response.status, response.text().as_str()), (200, "/behind "));
        }
    }
    for connection in 0..origin.connections() {
        assert!(!origin.received(connection).contains("smuggled"));
    }
    Ok(())
}

#[test]
fn a_request_cut_off_is_refused() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send("GET / HTTP/1.1\r\nhost: te")?;
    client.half_close()?;
    let response = client.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (400, "bad-request"));
    client.expect_close()?;
    assert_eq!(origin.connections(), 0);
    Ok(())
}
