//! One fetch: how it ends, and what of it is kept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall_testkit::{Gate, Origin, Response};

use super::{ask, caching, caching_with, content, fresh, is_hit, status_of};
use crate::setup::{code, get};

/// A fetch that breaks off is one for all who read it, and nothing of it is kept.
#[test]
fn an_origin_that_dies_in_the_middle() -> io::Result<()> {
    for chunked in [false, true] {
        let gate = Gate::new();
        let body = content(100_000, 3);
        let origin = Origin::scripted({
            let (gate, body) = (gate.clone(), body.clone());
            move |conversation| {
                let request = conversation.read_request()?;
                if conversation.index() > 0 {
                    return conversation.respond(&request, fresh(body.clone()));
                }
                conversation.send("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n")?;
                if chunked {
                    conversation.send("transfer-encoding: chunked\r\n\r\n")?;
                    conversation.send_chunk(&body[..60_000])?;
                } else {
                    conversation.send("content-length: 100000\r\n\r\n")?;
                    conversation.send(&body[..60_000])?;
                }
                conversation.wait(&gate)
            }
        })?;
        let seawall = caching(&origin).start()?;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = seawall.connect()?;
            client.send(get("/", ""))?;
            assert_eq!(client.read_head()?.status, 200);
            clients.push(client);
        }
        gate.open();
        for mut client in clients {
            let got = client.read_to_end()?;
            assert!(got.len() < 61_000 && !got.ends_with(b"0\r\n\r\n"), "{} bytes", got.len());
        }
        let again = ask(&seawall, "/", "")?;
        assert!(again.body == body && !is_hit(&again), "{chunked}: {}", status_of(&again));
        assert!(is_hit(&ask(&seawall, "/", "")?));
        assert_eq!(origin.requests(), 2);
    }
    Ok(())
}

/// Those who wait for an origin that fails are told so all together, and the next one tries again.
#[test]
fn a_failure_is_for_all_who_wait_and_for_nobody_else() -> io::Result<()> {
    const CLIENTS: usize = 50;
    for dead in [false, true] {
        let gate = Gate::new();
        let origin = Origin::scripted({
            let gate = gate.clone();
            move |conversation| {
                while let Some(request) = conversation.next_request()? {
                    if request.target == "/fast" {
                        conversation.respond(&request, Response::new(200, ""))?;
                        continue;
                    }
                    conversation.wait(&gate)?;
                    if dead {
                        return Ok(());
                    }
                    conversation.respond(&request, Response::new(500, "sorry"))?;
                }
                Ok(())
            }
        })?;
        let seawall = caching_with(&origin, "ttl = \"60s\"")
            .route("retry = { attempts = 1 }")
            .workers(2)
            .start()?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = seawall.connect()?;
            client.send(get("/", ""))?;
            clients.push(client);
        }
        let open = || seawall.metric("seawall_connections_open", &["listener=\"web\""]);
        crate::setup::eventually("all are there", || Ok(open()? == CLIENTS as f64))?;
        // Of those whose requests came before these, all but a few have been read.
        for _ in 0..20 {
            assert_eq!(ask(&seawall, "/fast", "")?.status, 200);
        }
        gate.open();
        for mut client in clients {
            let response = client.read_response()?;
            match dead {
                false => assert_eq!((response.status, response.text().as_str()), (500, "sorry")),
                true => assert_eq!(response.status, 502),
            }
        }
        let before = origin.requests();
        assert!(before < 20 + CLIENTS / 2, "{before}");
        assert!(ask(&seawall, "/", "")?.status >= 500);
        assert!(origin.requests() > before, "it is not kept");
    }
    Ok(())
}

/// An answer that varies is for whom it was made.
#[test]
fn variants() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let word = request.header("x-word").unwrap_or("none").to_owned();
        fresh(word).with("vary", "X-Word")
    })?;
    let seawall = caching(&origin).with("[cache]\nvariants = 8").start()?;
    let word = |number: usize| format!("x-word: {number}\r\n");
    for round in 0..2 {
        for number in 0..8 {
            let response = ask(&seawall, "/", &word(number))?;
            assert_eq!(response.text(), number.to_string());
            assert_eq!(is_hit(&response), round == 1, "{}", status_of(&response));
        }
    }
    assert_eq!(origin.requests(), 8);
    // There is room for so many; others take their place, and all stay right.
    for number in 0..100 {
        assert_eq!(ask(&seawall, "/", &word(number))?.text(), number.to_string());
    }
    let kept = (0..100).filter_map(|number| {
        ask(&seawall, "/", &(word(number) + "cache-control: only-if-cached\r\n")).ok()
    });
    let kept = kept.filter(|response| response.status == 200).count();
    assert_eq!(kept, 8);
    Ok(())
}

/// Clients that wait for one variant and are another one get their own.
#[test]
fn variants_are_not_mixed_up_by_waiting() -> io::Result<()> {
    let gate = Gate::new();
    let origin = Origin::scripted({
        let gate = gate.clone();
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                conversation.wait(&gate)?;
                let word = request.header("x-word").unwrap_or("none").to_owned();
                conversation.respond(&request, fresh(word).with("vary", "x-word"))?;
            }
            Ok(())
        }
    })?;
    let seawall = caching(&origin).workers(2).start()?;
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut client = seawall.connect()?;
        client.send(get("/", &format!("x-word: {}\r\n", number % 10)))?;
        clients.push(client);
    }
    crate::setup::metric_becomes(
        &seawall,
        "seawall_connections_open",
        &["listener=\"web\""],
        200.0,
    )?;
    gate.open();
    for (number, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.read_response()?.text(), (number % 10).to_string());
    }
    assert!(origin.requests() >= 10, "{}", origin.requests());
    for number in 0..10 {
        assert!(is_hit(&ask(&seawall, "/", &format!("x-word: {number}\r\n"))?), "{number}");
    }
    Ok(())
}

#[test]
fn what_is_answered_from_what_is_stored() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/private" => Response::new(200, "mine").with("cache-control", "private"),
        _ => fresh("0123456789")
            .with("etag", "\"one\"")
            .with("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    })?;
    let seawall = caching(&origin).start()?;
    let mut client = seawall.connect()?;
    let only = client.exchange(get("/", "cache-control: only-if-cached\r\n"))?;
    assert_eq!((only.status, code(&only).as_str()), (504, "not-cached"));
    assert_eq!(origin.requests(), 0);

    // The first to ask has something already, which makes no difference to what is stored.
    let first = client.exchange(get("/", "if-none-match: \"one\"\r\n"))?;
    assert_eq!((first.status, first.body.len()), (304, 0));
    let sent = origin.received(0).to_ascii_lowercase();
    assert!(!sent.contains("if-none-match"), "{sent}");
    client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n")?;
    let head = client.read_response_to("HEAD")?;
    assert!(is_hit(&head), "{head:?}");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    for (fields, status) in [
        ("if-none-match: \"one\"\r\n", 304),
        ("if-none-match: \"two\", W/\"one\"\r\n", 304),
        ("if-none-match: *\r\n", 304),
        ("if-none-match: \"two\"\r\n", 200),
        ("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 304),
        ("if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 200),
        ("if-none-match: \"two\"\r\nif-modified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200),
        ("cache-control: only-if-cached\r\n", 200),
    ] {
        let response = client.exchange(get("/", fields))?;
        assert!(is_hit(&response), "{fields}: {}", status_of(&response));
        let length = if status == 200 { 10 } else { 0 };
        assert_eq!((response.status, response.body.len()), (status, length), "{fields}");
        assert_eq!(response.header("etag"), Some("\"one\""));
    }
    assert_eq!(origin.requests(), 1);

    // What is not stored is answered to each method as it must be, and the connection goes on.
    for _ in 0..2 {
        client.send("HEAD /private HTTP/1.1\r\nhost: test\r\n\r\n")?;
        let head = client.read_response_to("HEAD")?;
        assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
        let only = client.exchange(get("/private", "cache-control: only-if-cached\r\n"))?;
        assert_eq!(only.status, 504);
    }
    assert_eq!(client.get("test", "/private")?.text(), "mine");
    Ok(())
}

/// Who asks for the head alone is not told of content that breaks off, and goes on.
#[test]
fn a_head_is_whole_without_its_content() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation
            .send("HTTP/1.1 200 OK\r\ncache-control: private\r\ncontent-length: 9\r\n\r\nhalf")
    })?;
    let seawall = caching(&origin).start()?;
    let mut client = seawall.connect()?;
    for number in 0..10 {
        client.send(format!("HEAD /{number} HTTP/1.1\r\nhost: test\r\n\r\n"))?;
        let head = client.read_response_to("HEAD")?;
        assert_eq!((head.status, head.header("content-length")), (200, Some("9")));
    }
    Ok(())
}

/// What may not be shared is asked for each time.
#[test]
fn what_is_never_kept() -> io::Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = Origin::responding(move |request| {
        let number = count.fetch_add(1, SeqCst).to_string();
        let answer = Response::new(200, number);
        match request.target.as_str() {
            "/cookie" => answer.with("cache-control", "max-age=60").with("set-cookie", "a=b"),
            "/private" => answer.with("cache-control", "private, max-age=60"),
            "/no-store" => answer.with("cache-control", "no-store, max-age=60"),
            "/vary" => answer.with("cache-control", "max-age=60").with("vary", "*"),
            "/authorized" => answer.with("cache-control", "max-age=60"),
            "/large" => Response::new(200, vec![b'x'; 40_000]).with("cache-control", "max-age=60"),
            "/large-chunked" => Response::new(200, vec![b'x'; 40_000])
                .with("cache-control", "max-age=60")
                .with("transfer-encoding", "chunked"),
            _ => answer,
        }
    })?;
    let seawall = caching_with(&origin, "max-object = \"32KiB\"").start()?;
    let targets = [
        "/cookie",
        "/private",
        "/no-store",
        "/vary",
        "/authorized",
        "/large",
        "/large-chunked",
        "/bare",
    ];
    for target in targets {
        let fields = if target == "/authorized" { "authorization: Basic YTpi\r\n" } else { "" };
        let before = origin.requests();
        for _ in 0..3 {
            let response = ask(&seawall, target, fields)?;
            assert!(!is_hit(&response) && response.status == 200, "{target}: {response:?}");
        }
        assert_eq!(origin.requests() - before, 3, "{target}");
    }
    Ok(())
}
