//! Where messages end: every framing both ways, and what becomes of connections after it.

use std::io;

use seawall_testkit::{Gate, Origin, RawClient, Response};

use crate::setup::{MOMENT, Setup, code, get, metric_becomes};

/// Sends one answer to each request, chosen by its path, and closes when the answer has no other
/// end.
fn origin() -> io::Result<Origin> {
    Origin::scripted(|conversation| {
        loop {
            let request = conversation.read_request()?;
            let answer = match request.target.as_str() {
                "/length" => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
                "/chunked" => {
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                     2;a=b\r\nbo\r\n002\r\ndy\r\n0\r\n\r\n"
                }
                "/close" => "HTTP/1.1 200 OK\r\n\r\nbody",
                "/old" => "HTTP/1.0 200 OK\r\n\r\nbody",
                "/old-kept" => {
                    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 4\r\n\r\nbody"
                }
                "/empty" => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 400\r\netag: \"x\"\r\n\r\n",
                "/empty-chunked" => {
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                }
                other => panic!("no answer for {other}"),
            };
            if request.method == "HEAD" {
                let head = answer.split_inclusive("\r\n\r\n").next().unwrap_or_default();
                conversation.send(head)?;
            } else {
                conversation.send(answer)?;
            }
            if matches!(request.target.as_str(), "/close" | "/old") {
                return Ok(());
            }
        }
    })
}

const ALL: [(&str, &str); 9] = [
    ("/length", "body"),
    ("/chunked", "body"),
    ("/close", "body"),
    ("/old", "body"),
    ("/old-kept", "body"),
    ("/empty", ""),
    ("/204", ""),
    ("/304", ""),
    ("/empty-chunked", ""),
];

#[test]
fn every_answer_leaves_the_connection_of_an_http_1_1_client_open() -> io::Result<()> {
    let origin = origin()?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for (target, body) in ALL {
        let response = client.get("test", target)?;
        assert_eq!(response.text(), body, "{target}");
        assert_eq!(response.version, "HTTP/1.1", "{target}");
        assert_eq!(response.header("connection"), None, "{target}");
        let has_length = response.header("content-length").is_some();
        let has_chunks = response.headers.lists("transfer-encoding", "chunked");
        let expect = match target {
            "/204" => (false, false),
            "/length" | "/empty" | "/old-kept" | "/304" => (true, false),
            _ => (false, true),
        };
        assert_eq!((has_length, has_chunks), expect, "{target}");
    }
    assert_eq!(client.get("test", "/304")?.header("content-length"), Some("400"));
    Ok(())
}

#[test]
fn an_http_1_0_client_gets_what_it_understands() -> io::Result<()> {
    let origin = origin()?;
    let seawall = Setup::before(&origin).start()?;
    for (target, body) in ALL {
        // Without keep-alive, the connection ends with every answer.
        let mut client = seawall.connect()?;
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"))?;
        let response = client.read_response()?;
        assert_eq!(response.text(), body, "{target}");
        assert_eq!(response.header("transfer-encoding"), None, "{target}");
        assert!(!response.headers.lists("connection", "keep-alive"), "{target}");
        client.expect_close()?;

        // With it, where the length is known.
        let mut client = seawall.connect()?;
        client.send(format!("GET {target} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"))?;
        let response = client.read_response()?;
        assert_eq!(response.text(), body, "{target}");
        assert_eq!(response.header("transfer-encoding"), None, "{target}");
        let known = matches!(target, "/length" | "/empty" | "/204" | "/304" | "/old-kept");
        assert_eq!(response.headers.lists("connection", "keep-alive"), known, "{target}");
        if known {
            client.send("GET /length HTTP/1.0\r\n\r\n")?;
            assert_eq!(client.read_response()?.text(), "body", "{target}");
        }
        client.expect_close()?;
    }
    Ok(())
}

#[test]
fn head_has_the_fields_of_get_and_no_body() -> io::Result<()> {
    let origin = origin()?;
    let seawall = Setup::before(&origin)
        .with("[[route]]\nname = \"page\"\npath = \"/page\"\nrespond = \"a page\"")
        .start()?;
    let mut client = seawall.connect()?;
    for (target, length) in [
        ("/length", Some("4")),
        ("/chunked", None),
        ("/empty", Some("0")),
        ("/204", None),
        ("/304", Some("400")),
        ("/page", Some("6")),
    ] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nhost: test\r\n\r\n"))?;
        let response = client.read_response_to("HEAD")?;
        assert_eq!(response.header("content-length"), length, "{target}");
    }
    // A refusal too.
    client.send("HEAD /chunked HTTP/1.1\r\nhost: test\r\nexpect: a-cake\r\n\r\n")?;
    let response = client.read_response_to("HEAD")?;
    assert_eq!(response.status, 417);
    assert_ne!(response.header("content-length"), None);
    assert_eq!(client.get("test", "/length")?.text(), "body", "nothing came behind the heads");
    Ok(())
}

#[test]
fn every_framing_of_a_request_arrives() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let framing = format!(
            "{} {} {:?} {}",
            request.header("content-length").unwrap_or("-"),
            request.header("transfer-encoding").unwrap_or("-"),
            request.text(),
            request
                .trailers
                .0
                .iter()
                .map(|(name, value)| format!("[{name}={value}]"))
                .collect::<String>(),
        );
        Response::new(200, framing)
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for (request, expect) in [
        ("GET / HTTP/1.1\r\nhost: test\r\n\r\n", "- - \"\" "),
        ("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n", "0 - \"\" "),
        ("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3, 3\r\n\r\nabc", "3 - \"abc\" "),
        ("GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc", "3 - \"abc\" "),
        (
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "- chunked \"\" ",
        ),
        (
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: CHUNKED\r\n\r\n\
             1;x=\"y\"\r\na\r\n02\r\nbc\r\n000\r\nsum: 3\r\ncontent-length: 9\r\nhost: evil\r\n\r\n",
            "- chunked \"abc\" [sum=3]",
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
    // One, but for a GET with a body, which some servers do not read.
    assert_eq!(origin.connections(), 3);
    Ok(())
}

#[test]
fn trailers_of_an_answer_arrive_where_they_are_allowed() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        loop {
            conversation.read_request()?;
            conversation
                .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: sum\r\n\r\n")?;
            conversation.send_chunk("body")?;
            conversation.send(
                "0\r\nsum: 4\r\nset-cookie: a=b\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\
                 x-forwarded-for: evil\r\nlocation: /evil\r\n\r\n",
            )?;
        }
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for _ in 0..2 {
        let response = client.exchange(get("/", "te: trailers\r\nconnection: te\r\n"))?;
        assert_eq!(response.text(), "body");
        assert_eq!(response.trailers.0, [("sum".to_owned(), "4".to_owned())]);
    }
    assert!(origin.received(0).to_ascii_lowercase().contains("te: trailers"));

    // An HTTP/1.0 client has no place for them.
    let mut client = seawall.connect()?;
    client.send("GET / HTTP/1.0\r\n\r\n")?;
    assert_eq!(client.read_response()?.text(), "body");
    Ok(())
}

#[test]
fn half_an_answer_is_never_a_whole_one() -> io::Result<()> {
    for half in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nsum: 1",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0x4\r\n",
    ] {
        let origin = Origin::scripted(move |conversation| {
            conversation.read_request()?;
            conversation.send(half)
        })?;
        let seawall = Setup::before(&origin).start()?;
        let mut client = seawall.connect()?;
        client.send(get("/", ""))?;
        let error = client.read_response().expect_err(half);
        let cut = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        assert!(cut.contains(&error.kind()), "{half:?}: {error}");

        // An HTTP/1.0 client finds the end of a chunked answer by the end of the connection, so
        // only a reset can say that it is not the end.
        let mut client = seawall.connect()?;
        client.send("GET / HTTP/1.0\r\n\r\n")?;
        let outcome = client.read_response();
        assert!(outcome.is_err(), "{half:?}: {outcome:?}");
        metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)?;
    }
    Ok(())
}

/// Bytes behind an answer are the beginning of the next one to a client that believes in it.
#[test]
fn what_follows_an_answer_unasked_is_given_to_nobody() -> io::Result<()> {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
    ] {
        for together in [true, false] {
            let sent: Vec<Gate> = (0..3).map(|_| Gate::new()).collect();
            let gates = sent.clone();
            let origin = Origin::scripted(move |conversation| {
                conversation.read_request()?;
                if together {
                    conversation.send([answer, evil].concat())?;
                } else {
                    conversation.send(answer)?;
                    conversation.send(evil)?;
                }
                gates[conversation.index()].open();
                conversation.hang()
            })?;
            let seawall = Setup::before(&origin).start()?;
            for (nth, sent) in sent.iter().enumerate() {
                let mut client = seawall.connect()?;
                let response = client.get("test", "/")?;
                assert_ne!(response.text(), "evil", "{answer:?}");
                // What comes only with the next request cannot be told from its answer.
                sent.wait()?;
                assert_eq!(origin.connections(), nth + 1);
            }
        }
    }
    Ok(())
}

#[test]
fn an_answer_that_is_no_http_is_a_502_and_ends_its_connection() -> io::Result<()> {
    for (answer, expect) in [
        ("ICY 200 OK\r\n\r\n", "status-line"),
        ("HTTP/2 200\r\n\r\n", "version"),
        ("HTTP/1.1 20 OK\r\n\r\n", "status-line"),
        ("\0\0\0", "status-line"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
            "content-length-differs",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "both-framings",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "transfer-encoding",
        ),
        ("HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "space-before-colon"),
        ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n", "folded-field"),
        ("HTTP/1.1 200 OK\nx: a\n\n", "bare-lf"),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", "field-value"),
    ] {
        let origin = Origin::scripted(move |conversation| {
            conversation.read_request()?;
            if conversation.index() % 2 == 0 {
                conversation.send(answer)?;
            } else {
                conversation.send_slowly(answer).ok();
            }
            conversation.hang()
        })?;
        let seawall = Setup::before(&origin).start()?;
        let mut client = seawall.connect()?;
        for nth in 1..=2 {
            let response = client.get("test", "/")?;
            assert_eq!(
                (response.status, code(&response).as_str()),
                (502, "bad-answer"),
                "{answer:?}"
            );
            let status = response.header("proxy-status").unwrap_or_default();
            assert!(status.contains("bad-answer: "), "{status}");
            if nth == 1 {
                assert!(status.contains(expect), "{answer:?}: {status}");
            }
            origin.wait_until(|seen| seen.len() == nth && seen[nth - 1].ended)?;
        }
    }
    Ok(())
}

#[test]
fn an_answer_beyond_the_limits_is_a_502() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/long" => Response::new(200, "").with("x", &"y".repeat(2000)),
        _ => (0..20)
            .fold(Response::new(200, ""), |response, n| response.with(&format!("x-{n}"), "y")),
    })?;
    let seawall =
        Setup::before(&origin).upstream("limits = { head = \"1KiB\", headers = 10 }").start()?;
    for (target, expect) in [("/long", "head-too-large"), ("/many", "too-many-headers")] {
        let response = seawall.connect()?.get("test", target)?;
        assert_eq!((response.status, code(&response).as_str()), (502, "bad-answer"));
        let status = response.header("proxy-status").unwrap_or_default();
        assert!(status.contains(expect), "{status}");
    }
    Ok(())
}

#[test]
fn pipelined_requests_are_answered_in_order_whoever_answers() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let body = format!("{} {}", request.target, request.text());
        match request.target.ends_with("chunked") {
            true => Response::new(200, body).with("transfer-encoding", "chunked"),
            false => Response::new(200, body),
        }
    })?;
    let seawall = Setup::before(&origin)
        .with(
            "[[route]]\nname = \"page\"\npath = \"/page\"\nrespond = \"page\"\n\
             [[route]]\nname = \"old\"\npath = \"/old\"\nredirect = \"/new\"",
        )
        .start()?;
    let pipeline = "GET /1 HTTP/1.1\r\nhost: test\r\n\r\n\
         POST /2 HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\ntwo\
         GET /page HTTP/1.1\r\nhost: test\r\n\r\n\
         POST /3-chunked HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n\
         GET /old HTTP/1.1\r\nhost: test\r\n\r\n\
         POST /page HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nunread\
         GET /a%2Fb HTTP/1.1\r\nhost: test\r\nexpect: cake\r\n\r\n\
         TRACE /t HTTP/1.1\r\nhost: test\r\n\r\n\
         HEAD /4 HTTP/1.1\r\nhost: test\r\n\r\n\
         GET /5 HTTP/1.1\r\nhost: test\r\n\r\n";
    for slowly in [false, true] {
        let mut client = seawall.connect()?;
        if slowly {
            client.send_slowly(pipeline)?
        } else {
            client.send(pipeline)?
        };
        for (method, status, body) in [
            ("GET", 200, "/1 "),
            ("POST", 200, "/2 two"),
            ("GET", 200, "page"),
            ("POST", 200, "/3-chunked three"),
            ("GET", 308, ""),
            ("POST", 200, "page"),
        ] {
            let response = client.read_response_to(method)?;
            assert_eq!((response.status, response.text().as_str()), (status, body));
        }
        assert_eq!(client.read_response()?.status, 417);
        assert_eq!(client.read_response()?.status, 405);
        assert_eq!(client.read_response_to("HEAD")?.status, 200);
        assert_eq!(client.read_response()?.text(), "/5 ");
    }
    Ok(())
}

#[test]
fn a_malformed_request_in_a_pipeline_ends_it_after_those_before() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.target.clone()))?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send(
        "GET /1 HTTP/1.1\r\nhost: test\r\n\r\nGET /2 HTTP/1.1\r\nhost : test\r\n\r\n\
         GET /3 HTTP/1.1\r\nhost: test\r\n\r\n",
    )?;
    assert_eq!(client.read_response()?.text(), "/1");
    let response = client.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (400, "bad-request"));
    client.expect_close()?;
    assert_eq!(origin.requests(), 1);
    Ok(())
}

#[test]
fn connection_close_is_the_last_word() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send([get("/", "connection: close\r\n"), get("/", "")].concat())?;
    let response = client.read_response()?;
    assert!(response.headers.lists("connection", "close"));
    client.expect_close()?;
    assert_eq!(origin.requests(), 1);
    // It is said to this client only: the connection to the server is kept.
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
    assert_eq!(origin.connections(), 1);
    Ok(())
}

/// A request that fills the buffer to its last byte leaves the socket looking readable.
#[test]
fn a_request_of_exactly_a_buffer_leaves_its_connection_open() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.body.len().to_string()))?;
    let seawall = Setup::before(&origin).start()?;
    let plain = get("/", "x: \r\n");
    let padding = "y".repeat(8192 - plain.len());
    let exact = get("/", &format!("x: {padding}\r\n"));
    assert_eq!(exact.len(), 8192);
    let mut client = seawall.connect()?;
    assert_eq!(client.exchange(&exact)?.text(), "0");
    // Longer than the lull after which a connection gives its memory back.
    client = client.with_patience(5 * MOMENT)?;
    let error = client.expect_close().expect_err("it is kept");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(client.exchange(&exact)?.text(), "0");
    Ok(())
}

#[test]
fn options_of_the_whole_server_and_absolute_targets() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let host = request.header("host").unwrap_or("-");
        Response::new(200, format!("{} {} {host}", request.method, request.target))
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for (request, expect) in [
        ("OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n", "OPTIONS * test"),
        ("GET http://other:81/a?b HTTP/1.1\r\nhost: test\r\n\r\n", "GET /a?b other:81"),
        ("GET http://other HTTP/1.1\r\nhost: test\r\n\r\n", "GET / other"),
        ("OPTIONS http://other HTTP/1.1\r\nhost: test\r\n\r\n", "OPTIONS * other"),
    ] {
        assert_eq!(client.exchange(request)?.text(), expect, "{request}");
    }
    Ok(())
}

#[test]
fn what_is_no_business_of_a_reverse_proxy_is_refused() -> io::Result<()> {
    let origin = Origin::always("")?;
    let seawall = Setup::before(&origin).start()?;
    for request in [
        "CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: test\r\n\r\n",
    ] {
        let mut client = seawall.connect()?;
        let response = client.exchange(request)?;
        assert_eq!(
            (response.status, code(&response).as_str()),
            (405, "method-refused"),
            "{request}"
        );
        assert!(response.header("allow").is_some_and(|allow| allow.contains("GET")));
    }
    assert_eq!(origin.connections(), 0);
    Ok(())
}

#[test]
fn a_client_may_close_its_side_when_it_has_sent_everything() -> io::Result<()> {
    // Answers are cancelled when clients leave, and a client that will read no more looks the
    // same: the standards leave it open. What Seawall makes itself is sent all the same.
    let seawall = Setup::alone().with("[[route]]\nname = \"page\"\nrespond = \"page\"").start()?;
    let mut client = RawClient::connect(seawall.address("web"))?;
    client.send(get("/", ""))?;
    client.half_close()?;
    assert_eq!(client.read_response()?.text(), "page");
    client.expect_close()
}

/// It is how load balancers ask after health, and servers refuse an empty Host.
#[test]
fn a_server_gets_a_host_though_the_client_named_none() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send("GET / HTTP/1.0\r\n\r\n")?;
    assert_eq!(client.read_response()?.text(), "here");
    let received = origin.received(0);
    assert!(received.contains(&format!("\r\nHost: {}\r\n", origin.address())), "{received}");
    Ok(())
}
