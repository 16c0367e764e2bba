//! Header fields on their way: what belongs to one connection stays there, and what is said about
//! the client is said by those who know.

use std::io;

use seawall_testkit::{Origin, Request, Response, Seawall};

use crate::setup::{Setup, get};

/// Answers with the head of the request as it came.
fn mirror() -> io::Result<Origin> {
    Origin::responding(|request: &Request| {
        let lines = request.headers.0.iter().map(|(name, value)| format!("{name}: {value}\n"));
        Response::new(
            200,
            format!("{} {}\n{}", request.method, request.target, lines.collect::<String>()),
        )
    })
}

/// What a server sees of a request with these fields: all values of one field, joined by `|`.
fn seen(seawall: &Seawall, fields: &str, name: &str) -> io::Result<Option<String>> {
    let response = seawall.connect()?.exchange(get("/", fields))?;
    assert_eq!(response.status, 200, "{fields}: {}", response.text());
    let text = response.text();
    let values: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(':')))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect();
    Ok((!values.is_empty()).then(|| values.join("|")))
}

#[track_caller]
fn check(seawall: &Seawall, fields: &str, name: &str, expect: Option<&str>) {
    let found = seen(seawall, fields, name).expect("an answer");
    assert_eq!(found.as_deref(), expect, "{name} of {fields:?}");
}

#[test]
fn fields_of_the_connection_stay_behind() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin).start()?;
    let check = |fields, name, expect| check(&seawall, fields, name, expect);
    for (fields, name) in [
        ("Connection: keep-alive\r\n", "connection"),
        ("Keep-Alive: timeout=5\r\n", "keep-alive"),
        ("Proxy-Connection: keep-alive\r\n", "proxy-connection"),
        ("TE: gzip\r\n", "te"),
        ("Trailer: sum\r\n", "trailer"),
        ("Upgrade: foo\r\n", "upgrade"),
        ("Proxy: http://evil\r\n", "proxy"),
        ("Connection: x-one\r\nX-One: 1\r\n", "x-one"),
        ("Connection: close, X-ONE ,x-two\r\nx-one: 1\r\n", "x-one"),
        ("X-Two: 1\r\nConnection: x-one\r\nConnection: x-two\r\n", "x-two"),
        ("Connection: cookie\r\ncookie: a=b\r\n", "cookie"),
    ] {
        check(fields, name, None);
    }
    // What is not the client's to take away.
    check("Connection: host, x-forwarded-for, via\r\n", "host", Some("test"));
    check("Connection: host, x-forwarded-for, via\r\n", "x-forwarded-for", Some("127.0.0.1"));
    check("Connection: via\r\n", "via", Some("1.1 seawall"));
    check("Connection: te\r\nTE: trailers\r\n", "te", Some("trailers"));
    Ok(())
}

#[test]
fn everything_else_arrives_as_it_was_sent() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin).start()?;
    let check = |fields, name, expect| check(&seawall, fields, name, expect);
    check("Cookie: a=b\r\nx: 1\r\nCookie: c=d\r\nX: 2\r\n", "cookie", Some("a=b|c=d"));
    check("X: 1\r\nx:2\r\nX: \t 3 \t\r\n", "x", Some("1|2|3"));
    check("X:\r\n", "x", Some(""));
    check("X: caf\u{e9}\r\n", "x", Some("caf\u{c3}\u{a9}"));
    check("Authorization: Basic eDp5\r\n", "authorization", Some("Basic eDp5"));
    check("Accept-Encoding: gzip\r\n", "accept-encoding", Some("gzip"));
    check("Range: bytes=0-1\r\n", "range", Some("bytes=0-1"));
    check("", "host", Some("test"));
    check("", "user-agent", None);
    check("", "connection", None);
    Ok(())
}

#[test]
fn what_an_untrusted_client_says_about_itself_is_not_passed_on() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin).start()?;
    let check = |fields, name, expect| check(&seawall, fields, name, expect);
    let lies = "X-Forwarded-For: 1.1.1.1\r\nX-FORWARDED-FOR: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nForwarded: for=1.1.1.1;host=evil;proto=https\r\n\
         X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 1.1.1.1\r\n\
         X_Forwarded_For: 1.1.1.1\r\nx-forwarded_for: 1.1.1.1\r\nX_Real_Ip: 1.1.1.1\r\n\
         X_Forwarded-Proto: https\r\n";
    check(lies, "x-forwarded-for", Some("127.0.0.1"));
    check(lies, "x-forwarded-proto", Some("http"));
    check(lies, "x-forwarded-host", Some("test"));
    check(lies, "forwarded", Some("for=127.0.0.1;host=\"test\";proto=http"));
    for gone in [
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-real-ip",
        "x_forwarded_for",
        "x-forwarded_for",
        "x_real_ip",
        "x_forwarded-proto",
    ] {
        check(lies, gone, None);
    }
    // The way that it came is no secret and no claim.
    check("Via: 1.0 other\r\n", "via", Some("1.0 other, 1.1 seawall"));
    Ok(())
}

#[test]
fn what_a_trusted_peer_says_is_passed_on_and_added_to() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin).server("trust = [\"127.0.0.0/8\"]").start()?;
    let check = |fields, name, expect| check(&seawall, fields, name, expect);
    let told = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.example\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\n";
    check(told, "x-forwarded-for", Some("1.1.1.1, 2.2.2.2, 127.0.0.1"));
    check(told, "x-forwarded-proto", Some("https"));
    check(told, "x-forwarded-host", Some("shop.example"));
    check(told, "forwarded", Some("for=1.1.1.1, for=127.0.0.1;host=\"test\";proto=http"));
    check(told, "x-real-ip", Some("1.1.1.1"));
    check("", "x-forwarded-for", Some("127.0.0.1"));
    Ok(())
}

#[test]
fn edits_see_the_client_that_trusted_peers_tell_of() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin)
        .server("trust = [\"127.0.0.1\", \"10.0.0.0/8\"]")
        .route("headers.request.set = { x-client = \"{client-ip}\" }")
        .start()?;
    for (fields, expect) in [
        ("", "127.0.0.1"),
        ("x-forwarded-for: 1.1.1.1\r\n", "1.1.1.1"),
        ("x-forwarded-for: 6.6.6.6, 1.1.1.1, 10.0.0.7\r\n", "1.1.1.1"),
        ("x-forwarded-for: 6.6.6.6\r\nx-forwarded-for: 2001:db8::1\r\n", "2001:db8::1"),
        ("x-forwarded-for: nonsense\r\n", "127.0.0.1"),
    ] {
        check(&seawall, fields, "x-client", Some(expect));
    }
    Ok(())
}

#[test]
fn edits_are_made_in_order() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let all = |name: &str| request.headers.all(name).collect::<Vec<_>>().join("|");
        Response::new(200, format!("{};{};{};{}", all("x"), all("y"), all("host"), all("cookie")))
            .with("x", "theirs")
            .with("server", "theirs")
            .with("set-cookie", "a=b")
    })?;
    let seawall = Setup::before(&origin)
        .route(
            "headers.request = { remove = [\"cookie\"], set = { x = \"{method} {path}{query} {route}\", host = \"inner\" }, add = { y = \"{scheme}://{host}\" } }\n\
             headers.response = { remove = [\"server\"], set = { x = \"ours\" }, add = { set-cookie = \"c=d\" } }",
        )
        .start()?;
    let mut client = seawall.connect()?;
    let response = client.exchange(get("/a?b=c", "X: 1\r\nx: 2\r\ny: 3\r\ncookie: s=t\r\n"))?;
    assert_eq!(response.text(), "GET /a?b=c app;3|http://test;inner;");
    assert_eq!(response.headers.all("x").collect::<Vec<_>>(), ["ours"]);
    assert_eq!(response.header("server"), None);
    assert_eq!(response.headers.all("set-cookie").collect::<Vec<_>>(), ["a=b", "c=d"]);
    Ok(())
}

#[test]
fn an_answer_loses_the_fields_of_its_connection_too() -> io::Result<()> {
    let origin = Origin::responding(|_| {
        Response::new(200, "here")
            .with("Connection", "x-one, keep-alive")
            .with("X-One", "1")
            .with("Keep-Alive", "timeout=5")
            .with("Proxy-Connection", "x")
            .with("Upgrade", "h2,h2c")
            .with("Trailer", "sum")
            .with("X-Two", "2")
            .with("Set-Cookie", "a=b")
            .with("Set-Cookie", "c=d")
            .with("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .with("Server", "theirs")
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    let response = client.get("test", "/")?;
    for gone in ["connection", "x-one", "keep-alive", "proxy-connection", "upgrade", "trailer"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
    assert_eq!(response.header("x-two"), Some("2"));
    assert_eq!(response.headers.all("set-cookie").collect::<Vec<_>>(), ["a=b", "c=d"]);
    assert_eq!(response.header("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(response.header("server"), Some("theirs"));
    assert_eq!(response.header("via"), Some("1.1 seawall"));
    assert_eq!(client.get("test", "/")?.text(), "here", "the connection is kept");
    assert_eq!(origin.connections(), 1);
    Ok(())
}

#[test]
fn every_answer_of_a_server_says_the_way_and_the_date() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/204" => Response::new(204, ""),
        "/304" => Response::new(304, ""),
        "/empty" => Response::new(200, ""),
        _ => Response::new(200, "here").with("via", "1.1 inner"),
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    for target in ["/", "/empty", "/204", "/304"] {
        let response = client.get("test", target)?;
        let way: Vec<&str> = response.headers.all("via").collect();
        let expect: &[&str] =
            if target == "/" { &["1.1 inner", "1.1 seawall"] } else { &["1.1 seawall"] };
        assert_eq!(way, expect, "{target}");
        assert!(response.header("date").is_some_and(|date| date.ends_with(" GMT")), "{target}");
    }
    Ok(())
}

#[test]
fn a_loop_is_broken() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    let nine = "1.1 seawall, ".repeat(8) + "1.1 seawall";
    assert_eq!(client.exchange(get("/", &format!("via: {nine}\r\n")))?.status, 200);
    let response = client.exchange(get("/", &format!("via: 1.1 seawall\r\nvia: {nine}\r\n")))?;
    assert_eq!(response.status, 508);

    // A real one: a listener that is its own upstream.
    let seawall = Setup::alone()
        .with("[listen.other]\naddress = \"127.0.0.1:0\"\n[[route]]\nrespond = \"x\"")
        .start()?;
    let web = seawall.address("web");
    let text = Setup::to(web).with("[listen.other]\naddress = \"127.0.0.1:0\"").text();
    seawall.rewrite(&text)?;
    assert_eq!(seawall.reload()?.status, 200);
    assert_eq!(seawall.connect()?.get("test", "/")?.status, 508);
    Ok(())
}

#[test]
fn twins_of_a_field_do_not_come_past_it() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin)
        .route("headers = { request = { set = { x-user = \"nobody\" }, remove = [\"x-secret\"] } }")
        .start()?;
    check(&seawall, "X-User: root\r\nX_User: root\r\n", "x-user", Some("nobody"));
    check(&seawall, "X_User: root\r\n", "x_user", None);
    check(&seawall, "X_Secret: 1\r\n", "x_secret", None);
    for twin in ["Content_Length: 5", "transfer_encoding: chunked", "X_Forwarded_For: 6.6.6.6"] {
        let (name, _) = twin.split_once(':').expect("a field");
        check(&seawall, &format!("{twin}\r\n"), name, None);
    }
    check(&seawall, "X_Own: 1\r\n", "x_own", Some("1"));
    Ok(())
}

#[test]
fn only_trusted_peers_say_what_was_asked_for() -> io::Result<()> {
    const FIELDS: [&str; 4] = ["X-Original-URL", "X-Rewrite-URL", "X-Real-IP", "True-Client-IP"];
    let origin = mirror()?;
    let stranger = Setup::before(&origin).start()?;
    let trusted = Setup::before(&origin).server("trust = [\"127.0.0.0/8\"]").start()?;
    for name in FIELDS {
        let field = format!("{name}: /admin\r\n");
        check(&stranger, &field, name, None);
        check(&trusted, &field, name, Some("/admin"));
    }
    Ok(())
}

#[test]
fn a_get_with_a_body_leaves_nothing_behind_for_the_next_request() -> io::Result<()> {
    // A server that does not read the body of a GET takes it for the next request.
    let origin = mirror()?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    let body = "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n";
    let fields = format!("content-length: {}\r\n", body.len());
    assert_eq!(client.exchange(get("/one", &fields).to_owned() + body)?.status, 200);
    assert_eq!(client.exchange(get("/two", ""))?.status, 200);
    assert_eq!(origin.connections(), 2, "the connection was used again");
    Ok(())
}

/// Each of them is compared with each field, so that many would cost a worker milliseconds.
#[test]
fn a_connection_field_with_very_many_options_is_refused() -> io::Result<()> {
    let origin = mirror()?;
    let seawall = Setup::before(&origin).start()?;
    for (options, status) in [(20, 200), (5000, 400)] {
        let fields = format!("connection: {}\r\n", "a, ".repeat(options));
        assert_eq!(seawall.connect()?.exchange(get("/", &fields))?.status, status, "{options}");
    }
    Ok(())
}

#[test]
fn a_trace_is_passed_on_or_begun() -> io::Result<()> {
    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let origin = mirror()?;
    let seawall = Setup::before(&origin).start()?;
    check(&seawall, &format!("Traceparent: {GIVEN}\r\n"), "traceparent", Some(GIVEN));
    let made = |fields: &str| -> io::Result<String> {
        let value = seen(&seawall, fields, "traceparent")?.unwrap_or_default();
        let parts: Vec<&str> = value.split('-').collect();
        assert_eq!(
            parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
            [2, 32, 16, 2],
            "{value}"
        );
        Ok(value)
    };
    assert_ne!(made("")?, made("")?);
    assert_ne!(made("traceparent: nonsense\r\n")?, "nonsense");
    Ok(())
}
