//! Many ask for the same at once.

use std::io;
use std::sync::Arc;

use seawall_testkit::{Gate, Origin, RawClient, Response, raise_open_files};

use super::{ask, caching, content, fresh, is_hit};
use crate::setup::{get, metric_becomes};

/// Clients of the largest stampede.
const CLIENTS: usize = 10_000;

#[test]
fn ten_thousand_clients_are_one_fetch() -> io::Result<()> {
    // Clients are in this process, what accepts them in another.
    let files = raise_open_files(CLIENTS as u64 + 2_000)?;
    assert!(files > CLIENTS as u64 + 200, "{files} open files are too few");
    let gate = Gate::new();
    let body = content(3_000, 1);
    let origin = Origin::scripted({
        let (gate, body) = (gate.clone(), body.clone());
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                conversation.wait(&gate)?;
                conversation.respond(&request, fresh(body.clone()))?;
            }
            Ok(())
        }
    })?;
    let seawall = caching(&origin).workers(2).start()?;
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let mut client = seawall.connect()?;
        client.send(get("/hot", ""))?;
        clients.push(client);
    }
    metric_becomes(&seawall, "seawall_connections_open", &["listener=\"web\""], CLIENTS as f64)?;
    gate.open();
    let mut collapsed = 0;
    for mut client in clients {
        let response = client.read_response()?;
        assert_eq!(response.status, 200);
        assert!(response.body == body, "another body");
        collapsed += usize::from(super::status_of(&response).contains("collapsed"));
    }
    assert_eq!(origin.requests(), 1);
    assert!(collapsed > CLIENTS / 2, "only {collapsed} have waited");
    Ok(())
}

/// Some of those who wait leave, or read nothing, or little at a time: the others notice nothing.
#[test]
fn slow_and_leaving_clients_hold_up_nobody() -> io::Result<()> {
    const LENGTH: usize = 3 << 20;
    let (begin, go_on) = (Gate::new(), Gate::new());
    let body = Arc::new(content(LENGTH, 2));
    let origin = Origin::scripted({
        let (begin, go_on, body) = (begin.clone(), go_on.clone(), body.clone());
        move |conversation| {
            let request = conversation.read_request()?;
            conversation.wait(&begin)?;
            let (first, rest) = body.split_at(LENGTH / 2);
            let head = fresh("").with("content-length", &LENGTH.to_string());
            conversation.respond(&request, head)?;
            conversation.send(first)?;
            conversation.wait(&go_on)?;
            conversation.send(rest)?;
            conversation.hang()
        }
    })?;
    let seawall = caching(&origin).workers(2).start()?;
    // Whoever has made it begin leaves before there is an answer.
    let mut first = seawall.connect()?;
    first.send(get("/large", ""))?;
    origin.wait_for_requests(1)?;
    drop(first);
    let narrow = || {
        let mut client = RawClient::connect_with_receive_buffer(seawall.address("web"), 4096)?;
        client.send(get("/large", ""))?;
        io::Result::Ok(client)
    };
    // These read nothing, these leave in the middle.
    let idle: Vec<_> = (0..20).map(|_| narrow()).collect::<io::Result<_>>()?;
    let leaving: Vec<_> = (0..20).map(|_| narrow()).collect::<io::Result<_>>()?;
    let good = |seawall: &seawall_testkit::Seawall| -> io::Result<()> {
        let mut clients = Vec::new();
        for _ in 0..60 {
            let mut client = seawall.connect()?;
            client.send(get("/large", ""))?;
            clients.push(client);
        }
        for mut client in clients {
            let response = client.read_response()?;
            assert!(response.status == 200 && response.body == *body, "not what was asked for");
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let good = &good;
        let threads: Vec<_> = (0..7).map(|_| scope.spawn(|| good(&seawall))).collect();
        begin.open();
        for mut client in leaving {
            assert_eq!(client.read_head()?.status, 200);
            client.abort()?;
        }
        go_on.open();
        for thread in threads {
            thread.join().expect("no client is wrong")?;
        }
        io::Result::Ok(())
    })?;
    assert!(is_hit(&ask(&seawall, "/large", "")?));
    // Those who have read nothing until now get it all the same.
    for mut client in idle {
        assert!(client.read_response()?.body == *body, "not what was asked for");
    }
    assert_eq!(origin.requests(), 1);
    Ok(())
}

/// Answers for one client are given to nobody else, whoever waits for what.
#[test]
fn each_gets_his_own_private_answer() -> io::Result<()> {
    let origin = Origin::responding(|request| {
        let user = request.header("cookie").unwrap_or_default().to_owned();
        Response::new(200, user).with("cache-control", "private, max-age=60")
    })?;
    let seawall = caching(&origin).workers(2).start()?;
    for _ in 0..3 {
        let mut clients = Vec::new();
        for number in 0..100 {
            let mut client = seawall.connect()?;
            client.send(get("/", &format!("cookie: user={number}\r\n")))?;
            clients.push(client);
        }
        for (number, mut client) in clients.into_iter().enumerate() {
            assert_eq!(client.read_response()?.text(), format!("user={number}"));
        }
    }
    assert_eq!(origin.requests(), 300);
    Ok(())
}

/// Once an answer was for one client, those who ask next are at the origin together.
#[test]
fn what_was_private_is_asked_for_in_parallel() -> io::Result<()> {
    const CLIENTS: usize = 50;
    for (fields, name) in [("", "set-cookie"), ("authorization: Basic YTpi\r\n", "x-mine")] {
        let gate = Gate::new();
        let origin = Origin::scripted({
            let gate = gate.clone();
            move |conversation| {
                while let Some(request) = conversation.next_request()? {
                    if request.header("fast").is_none() {
                        conversation.wait(&gate)?;
                    }
                    let answer = fresh("mine").with(name, "session=1");
                    conversation.respond(&request, answer)?;
                }
                Ok(())
            }
        })?;
        let seawall = caching(&origin).start()?;
        let first = ask(&seawall, "/", &format!("{fields}fast: 1\r\n"))?;
        assert_eq!(first.header(name), Some("session=1"));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = seawall.connect()?;
            client.send(get("/", fields))?;
            clients.push(client);
        }
        gate.wait_for_waiting(CLIENTS)?;
        gate.open();
        for mut client in clients {
            let response = client.read_response()?;
            assert_eq!(response.header(name), Some("session=1"));
            assert!(super::status_of(&response).contains("hit-for-miss"), "{response:?}");
        }
        if !fields.is_empty() {
            // Those without credentials are given what is for all.
            ask(&seawall, "/", "")?;
            assert!(is_hit(&ask(&seawall, "/", "")?));
        }
    }
    Ok(())
}

/// More than may wait ask the origin themselves, and so do those who have waited for long enough.
#[test]
fn who_does_not_wait_asks_the_origin() -> io::Result<()> {
    let gate = Gate::new();
    let origin = Origin::scripted({
        let gate = gate.clone();
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                if request.header("fast").is_none() {
                    conversation.wait(&gate)?;
                }
                conversation.respond(&request, fresh("answer"))?;
            }
            Ok(())
        }
    })?;
    let seawall = super::caching_with(&origin, "coalesce = { waiters = 1 }").start()?;
    let mut first = seawall.connect()?;
    first.send(get("/", ""))?;
    gate.wait_for_waiting(1)?;
    let crowded = ask(&seawall, "/", "fast: 1\r\n")?;
    assert_eq!(crowded.text(), "answer");
    assert!(super::status_of(&crowded).contains("not-waited"), "{crowded:?}");
    gate.open();
    assert_eq!(first.read_response()?.text(), "answer");
    assert!(is_hit(&ask(&seawall, "/", "")?));
    Ok(())
}

#[test]
fn waiting_has_an_end() -> io::Result<()> {
    let gate = Gate::new();
    let origin = Origin::scripted({
        let gate = gate.clone();
        move |conversation| {
            while let Some(request) = conversation.next_request()? {
                if request.header("fast").is_none() {
                    conversation.wait(&gate)?;
                }
                conversation.respond(&request, fresh("answer"))?;
            }
            Ok(())
        }
    })?;
    let seawall = super::caching_with(&origin, "coalesce = { wait = \"50ms\" }").start()?;
    let mut first = seawall.connect()?;
    first.send(get("/", ""))?;
    gate.wait_for_waiting(1)?;
    let impatient = ask(&seawall, "/", "fast: 1\r\n")?;
    assert!(super::status_of(&impatient).contains("not-waited"), "{impatient:?}");
    gate.open();
    assert_eq!(first.read_response()?.text(), "answer");
    Ok(())
}
