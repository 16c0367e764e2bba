use std::time::Duration;

use seawall_config::plan::{HealthCheck, Probe};
use seawall_telemetry::metrics::CheckOutcome;
use seawall_testkit::{Origin, ReservedPort, Stalled};

use super::super::tests::{check, found};
use super::*;
use crate::upstream::answer::MAX_BODY;

/// A `GET /healthz` that wants a 2xx, and `text` if there is one.
fn get(text: Option<&str>) -> HealthCheck {
    check(Probe::Http {
        path: "/healthz".into(),
        method: "GET".into(),
        host: None,
        status: vec![(200, 299)],
        body: text.map(Into::into),
    })
}

/// What the check of a server finds that answers with these bytes and closes.
async fn of_bytes(answer: impl Into<Vec<u8>>, slowly: bool, check: HealthCheck) -> Finding {
    let answer = answer.into();
    let origin = Origin::scripted(move |connection| {
        connection.read_request()?;
        match slowly {
            true => connection.send_slowly(&answer),
            false => connection.send(&answer),
        }
    });
    let origin = origin.expect("an origin");
    found(origin.address(), check).await
}

#[tokio::test]
async fn answers_are_judged_however_they_arrive() {
    let ok = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}");
    let many_hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33);
    let cases: Vec<(String, Option<&str>, Result<&str, &str>)> = vec![
        (ok("Content-Length: 2\r\n", "hi"), None, Ok("status 200")),
        ("HTTP/1.0 200 OK\r\n\r\n".to_owned(), None, Ok("status 200")),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), None, Ok("status 204")),
        (
            format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{}", ok("", "")),
            None,
            Ok("status 200"),
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), None, Err("status 404")),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(), None, Err("status 101")),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n".to_owned(), None, Err("status 302")),
        // The text, in each framing and across its joints.
        (ok("Content-Length: 9\r\n", "it is ok."), Some("is ok"), Ok("status 200")),
        (ok("", "it is ok."), Some("is ok"), Ok("status 200")),
        (
            ok("Transfer-Encoding: chunked\r\n", "4\r\nit i\r\n3\r\ns o\r\n2\r\nk.\r\n0\r\n\r\n"),
            Some("is ok"),
            Ok("status 200"),
        ),
        (
            ok("Transfer-Encoding: chunked\r\n", "3\r\nis \r\n2\r\nok\r\n0\r\n\r\n"),
            Some("3\r\nis"),
            Err("the body does not contain \"3\\r\\nis\""),
        ),
        (
            ok("Content-Length: 5\r\n", "is no"),
            Some("is ok"),
            Err("the body does not contain \"is ok\""),
        ),
        (ok("Content-Length: 0\r\n", ""), Some("ok"), Err("the body does not contain \"ok\"")),
        (
            ok("Content-Length: 9\r\n", "it is"),
            Some("is ok"),
            Err("malformed answer: the connection closed before the message was complete"),
        ),
        (
            ok("Transfer-Encoding: chunked\r\n", "0x4\r\n"),
            Some("ok"),
            Err("malformed answer: a chunk size is not a hexadecimal number of at most 16 digits"),
        ),
        // No HTTP, or not quite.
        (String::new(), None, Err("connection closed without an answer")),
        (
            "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
            None,
            Err("malformed answer: the status line is not `HTTP/1.1 NNN reason`"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-".to_owned(),
            None,
            Err("malformed answer: the connection closed before the message was complete"),
        ),
        (
            ok("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", ""),
            None,
            Err("malformed answer: there are both Content-Length and Transfer-Encoding"),
        ),
        (
            ok(&format!("X: {}\r\n", "x".repeat(40_000)), ""),
            None,
            Err("malformed answer: the head is longer than the limit"),
        ),
        (many_hints, None, Err("malformed answer: the status line is not `HTTP/1.1 NNN reason`")),
    ];
    for (answer, text, expect) in cases {
        // Forty thousand writes of one byte say no more than one.
        let ways: &[bool] = if answer.len() > 10_000 { &[false] } else { &[false, true] };
        for slowly in ways {
            let finding = of_bytes(answer.clone(), *slowly, get(text)).await;
            let result = match finding.outcome {
                CheckOutcome::Good => Ok(&*finding.reason),
                CheckOutcome::Answer => Err(&*finding.reason),
                other => panic!("{other:?}: {}", finding.reason),
            };
            assert_eq!(result, expect, "{answer:?}");
            assert!(finding.connected);
        }
    }
}

#[tokio::test]
async fn only_the_beginning_of_a_body_is_read() {
    for (before, good) in [(MAX_BODY - 2, true), (MAX_BODY - 1, false), (3 * MAX_BODY, false)] {
        let body = format!("{}ok", "x".repeat(before));
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let finding = of_bytes(answer, false, get(Some("ok"))).await;
        assert_eq!(finding.outcome == CheckOutcome::Good, good, "{before}: {}", finding.reason);
    }
}

#[tokio::test]
async fn a_text_that_is_found_need_not_be_waited_behind() {
    let origin = Origin::scripted(|connection| {
        connection.read_request()?;
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        connection.send_chunk("all is ok")?;
        connection.hang()
    });
    let finding = found(origin.expect("an origin").address(), get(Some("ok"))).await;
    assert_eq!(finding.outcome, CheckOutcome::Good, "{}", finding.reason);
}

#[tokio::test]
async fn requests_say_who_asks_and_whom() {
    let origin = Origin::always("ok").expect("an origin");
    let address = origin.address();
    let mut other = get(None);
    let Probe::Http { method, host, path, .. } = &mut other.probe else { unreachable!() };
    (*method, *host, *path) = ("POST".into(), Some("shop.example.com".into()), "/a?b=c".into());
    for (check, expect) in [
        (
            get(None),
            format!(
                "GET /healthz HTTP/1.1\r\nHost: {address}\r\nUser-Agent: seawall-health\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            ),
        ),
        (
            other,
            "POST /a?b=c HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: seawall-health\r\n\
             Accept: */*\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
        ),
    ] {
        let connection = origin.connections();
        let finding = found(address, check).await;
        assert_eq!(finding.outcome, CheckOutcome::Good, "{}", finding.reason);
        assert_eq!(origin.received(connection), expect);
    }
    let zoned = "[fe80::1%7]:80".parse().expect("an address");
    assert!(request("GET", "/", None, zoned).contains("Host: [fe80::1]:80\r\n"));
}

#[tokio::test]
async fn head_has_no_content_and_another_port_may_be_asked() {
    let origin = Origin::always("ok").expect("an origin");
    let closed = ReservedPort::new().expect("a port");
    let mut check = get(None);
    let Probe::Http { method, .. } = &mut check.probe else { unreachable!() };
    *method = "HEAD".into();
    check.port = Some(origin.address().port());
    let finding = found(closed.address(), check).await;
    assert_eq!((finding.outcome, &*finding.reason), (CheckOutcome::Good, "status 200"));
}

#[tokio::test]
async fn no_connection_is_not_the_same_as_no_answer() {
    let hurried = |mut check: HealthCheck| {
        check.timeout = Duration::from_millis(250);
        check
    };
    let closed = ReservedPort::new().expect("a port");
    let stalled = Stalled::new().expect("a full queue");
    let silent = Origin::silent().expect("an origin");
    let resetting = Origin::scripted(|connection| {
        connection.read_request()?;
        connection.reset()
    });
    let resetting = resetting.expect("an origin");
    let refused = (CheckOutcome::Connect, "connection refused", false);
    let unheard = (CheckOutcome::Timeout, "timed out after 250ms", false);
    let unanswered = (CheckOutcome::Timeout, "timed out after 250ms", true);
    for (address, check, expect) in [
        (closed.address(), get(None), refused),
        (closed.address(), check(Probe::Tcp), refused),
        (stalled.address(), hurried(get(None)), unheard),
        (silent.address(), hurried(get(None)), unanswered),
        (silent.address(), check(Probe::Tcp), (CheckOutcome::Good, "connected", true)),
        (resetting.address(), get(None), (CheckOutcome::Answer, "connection reset", true)),
    ] {
        let finding = found(address, check).await;
        assert_eq!((finding.outcome, &*finding.reason, finding.connected), expect);
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_too_late() {
    for sent in ["HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nit is"] {
        let origin = Origin::scripted(move |connection| {
            connection.read_request()?;
            connection.send_slowly(sent)?;
            connection.hang()
        });
        let mut check = get(Some("ok"));
        check.timeout = Duration::from_millis(250);
        let finding = found(origin.expect("an origin").address(), check).await;
        assert_eq!(&*finding.reason, "timed out after 250ms", "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_when_the_time_is_over_is_said() {
    let head = b"HTTP/1.1 503 No\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(head).await.expect("there is room");
    let wanted = Wanted { status: &[(200, 299)], text: None };
    let limits = HeadLimits { bytes: 32 << 10, headers: 100 };
    let deadline = Instant::now() + Duration::from_secs(1);
    let finding = ask(ours, "GET / HTTP/1.1\r\n\r\n", "GET", wanted, limits, deadline).await;
    assert_eq!((&*finding.reason, finding.parts), ("status 503", None));
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test]
async fn json_tells_of_the_parts() {
    let json = |status: &str, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let well = r#"{"status":"pass","checks":{"database":{"status":"pass","observed":"3 ms"}}}"#;
    let ill = r#"{"status":"fail","checks":{"database":{"status":"fail","observed":"3 s"}}}"#;
    let ill_says = "status 200, but the body says \"fail\" because of database";
    for (answer, text, good, reason, parts) in [
        (json("200 OK", "application/json", well), None, true, "status 200", true),
        (
            json("200 OK", "Application/Health+JSON; charset=utf-8", well),
            None,
            true,
            "status 200",
            true,
        ),
        (json("200 OK", "application/json", well), Some("3 ms"), true, "status 200", true),
        (
            json("200 OK", "application/json", well),
            Some("4 ms"),
            false,
            "the body does not contain \"4 ms\"",
            true,
        ),
        (json("200 OK", "application/json", ill), None, false, ill_says, true),
        (json("200 OK", "application/json", ill), Some("3 s"), false, ill_says, true),
        (json("503 No", "application/json", ill), None, false, "status 503", true),
        // Not said to be JSON, or not about health.
        (json("200 OK", "text/plain", ill), None, true, "status 200", false),
        (json("200 OK", "application/json", "[1, 2]"), None, true, "status 200", false),
        (json("200 OK", "application/json", "{\"status\":"), None, true, "status 200", false),
    ] {
        let finding = of_bytes(answer.clone(), false, get(text)).await;
        let found = (finding.outcome == CheckOutcome::Good, &*finding.reason);
        assert_eq!(found, (good, reason), "{answer}");
        assert_eq!(finding.parts.is_some(), parts, "{answer}");
    }
    let long = format!("{{\"status\":\"fail\",\"x\":\"{}\"}}", "x".repeat(MAX_BODY));
    let finding = of_bytes(json("200 OK", "application/json", &long), false, get(None)).await;
    assert_eq!((finding.outcome, finding.parts), (CheckOutcome::Good, None));
}
