//! Connections that are carried as TCP: everything arrives, both ways, and every end is passed on
//! for what it is.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

use seawall_testkit::{
    Gate, LoadPlan, Nginx, Origin, RawClient, ReservedPort, Response, Seawall, Stalled,
};

use crate::setup::{Setup, eventually, memory, metric_becomes, refused};

const ENDED: &str = "seawall_tcp_connections_total";

/// A listener `tcp` that leads to these servers, with these further keys of the listener and of
/// the upstream, and another for HTTP.
pub(crate) fn before(servers: &[SocketAddr], listen: &str, upstream: &str) -> Setup {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    Setup::alone().with(&format!(
        "[listen.tcp]\naddress = \"127.0.0.1:0\"\ntcp = \"db\"\n{listen}\n\n\
         [upstream.db]\nservers = {servers:?}\n{upstream}\n\n\
         [[route]]\nname = \"page\"\nrespond = \"page\""
    ))
}

/// Sends back what comes, and a farewell at its end.
fn echo() -> io::Result<Origin> {
    Origin::scripted(|conversation| {
        loop {
            let bytes = conversation.read_some()?;
            if bytes.is_empty() {
                return conversation.send("bye");
            }
            conversation.send(bytes)?;
        }
    })
}

/// Greets with its name, and then sends back what comes.
fn named(name: &'static str) -> io::Result<Origin> {
    Origin::scripted(move |conversation| {
        conversation.send(name)?;
        loop {
            let bytes = conversation.read_some()?;
            if bytes.is_empty() {
                return Ok(());
            }
            conversation.send(bytes)?;
        }
    })
}

fn connect(seawall: &Seawall) -> io::Result<RawClient> {
    RawClient::connect(seawall.address("tcp"))
}

fn expect_echo(client: &mut RawClient, text: &str) -> io::Result<()> {
    client.send(text)?;
    assert_eq!(client.read_exact(text.len())?, text.as_bytes());
    Ok(())
}

/// A connection that is reset before it is of any use.
pub(crate) fn expect_refusal(client: io::Result<RawClient>) -> io::Result<()> {
    match client {
        Ok(mut client) => expect_reset(&mut client),
        // The reset may overtake the news that there is a connection.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits for the connection to be reset; a mere close is not enough.
pub(crate) fn expect_reset(client: &mut RawClient) -> io::Result<()> {
    match client.read_to_end() {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Ok(bytes) => {
            Err(io::Error::other(format!("closed after {:?}", bytes.escape_ascii().to_string())))
        }
        Err(error) => Err(error),
    }
}

fn ended(seawall: &Seawall, outcome: &str, expect: f64) -> io::Result<()> {
    metric_becomes(seawall, ENDED, &[&format!("outcome=\"{outcome}\"")], expect)
}

#[test]
fn bytes_pass_both_ways_and_are_counted_as_they_pass() -> io::Result<()> {
    let origin = echo()?;
    let home = tempfile::tempdir()?;
    let log = home.path().join("access.log");
    let log_to = format!("access-log = {:?}", log.display().to_string());
    let mut seawall = before(&[origin.address()], "", "").server(&log_to).start()?;
    let labels = ["listener=\"tcp\""];
    let mut client = connect(&seawall)?;
    // What they say means nothing here.
    for text in ["one", "GET / HTTP/1.1\r\n\r\n", "PROXY UNKNOWN\r\n", "\0\u{1}\u{7f}"] {
        expect_echo(&mut client, text)?;
    }
    metric_becomes(&seawall, "seawall_tcp_received_bytes_total", &labels, 39.0)?;
    metric_becomes(&seawall, "seawall_tcp_sent_bytes_total", &labels, 39.0)?;
    metric_becomes(&seawall, "seawall_connections_open", &labels, 1.0)?;
    metric_becomes(&seawall, "seawall_upstream_in_flight", &[], 1.0)?;
    assert_eq!(seawall.metric(ENDED, &[])?, 0.0);
    client.half_close()?;
    assert_eq!(client.read_to_end()?, b"bye");
    ended(&seawall, "closed", 1.0)?;
    metric_becomes(&seawall, "seawall_tcp_sent_bytes_total", &labels, 42.0)?;
    metric_becomes(&seawall, "seawall_connections_open", &labels, 0.0)?;
    metric_becomes(&seawall, "seawall_upstream_in_flight", &[], 0.0)?;
    assert_eq!(seawall.metric("seawall_requests_total", &[])?, 0.0);

    seawall.terminate()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    let lines = std::fs::read_to_string(&log)?;
    let server = format!("\"server\":\"{}\"", origin.address());
    for part in [
        "\"listener\":\"tcp\"",
        "\"client\":\"127.0.0.1\"",
        "\"received\":39,\"sent\":42",
        &server,
        "\"outcome\":\"closed\"",
        "\"duration_ms\":",
    ] {
        assert!(lines.contains(part), "{part} is not in {lines}");
    }
    assert_eq!(lines.lines().count(), 1, "{lines}");
    Ok(())
}

#[test]
fn the_server_may_speak_first() -> io::Result<()> {
    let origin = named("hello")?;
    let seawall = before(&[origin.address()], "", "").start()?;
    let mut client = connect(&seawall)?;
    assert_eq!(client.read_exact(5)?, b"hello");
    expect_echo(&mut client, "and so on")
}

#[test]
fn each_side_may_close_its_direction() -> io::Result<()> {
    // The client asks, says that this is all, and waits for the answer.
    let origin = Origin::scripted(|conversation| {
        let question = conversation.read_to_end()?;
        conversation.send(question)?;
        conversation.send(" was the question")
    })?;
    let seawall = before(&[origin.address()], "", "").start()?;
    let mut client = connect(&seawall)?;
    client.send("how?")?;
    client.half_close()?;
    assert_eq!(client.read_to_end()?, b"how? was the question");

    // The server says all it has to say, and goes on listening.
    let origin = Origin::scripted(|conversation| {
        conversation.send("go on")?;
        conversation.half_close()?;
        assert_eq!(conversation.read_to_end()?.len(), 4 << 20);
        Ok(())
    })?;
    let seawall = before(&[origin.address()], "", "").start()?;
    let mut client = connect(&seawall)?;
    assert_eq!(client.read_to_end()?, b"go on");
    for _ in 0..4 {
        client.send(vec![b'x'; 1 << 20])?;
    }
    client.half_close()?;
    let seen = origin.wait_until(|seen| seen[0].ended)?;
    assert_eq!(seen[0].error, None);
    ended(&seawall, "closed", 1.0)
}

#[test]
fn a_reset_is_passed_on_as_a_reset() -> io::Result<()> {
    // To the client, after what the server said before it.
    let origin = named("partly")?;
    let seawall = before(&[origin.address()], "", "").start()?;
    let mut client = connect(&seawall)?;
    assert_eq!(client.read_exact(6)?, b"partly");
    expect_echo(&mut client, "it stands")?;
    origin.reset_connections();
    expect_reset(&mut client)?;
    ended(&seawall, "server-failed", 1.0)?;

    // To the server.
    let mut client = connect(&seawall)?;
    assert_eq!(client.read_exact(6)?, b"partly");
    client.abort()?;
    let seen = origin.wait_until(|seen| seen.len() == 2 && seen[1].ended)?;
    let error = seen[1].error.clone().unwrap_or_default();
    assert!(error.to_lowercase().contains("reset"), "{error:?}");
    ended(&seawall, "client-failed", 1.0)
}

#[test]
fn what_a_server_said_before_it_left_is_not_lost() -> io::Result<()> {
    // It answers and leaves while it is still being told things, which resets the connection.
    let origin = Origin::scripted(|conversation| {
        conversation.read_exact(1)?;
        conversation.send("enough")
    })?;
    let seawall = before(&[origin.address()], "", "").start()?;
    for _ in 0..50 {
        let mut client = connect(&seawall)?;
        client.send(vec![b'x'; 256 * 1024])?;
        assert_eq!(client.read_exact(6)?, b"enough");
    }
    Ok(())
}

#[test]
fn a_killed_server_ends_its_connections_and_takes_no_new_ones() -> io::Result<()> {
    let mut nginx = Nginx::serving("location / { limit_rate 1m; }")?;
    std::fs::write(nginx.home().join("html/large"), vec![b'x'; 64 << 20])?;
    let seawall = before(&[nginx.address()], "", "").start()?;
    let mut client = connect(&seawall)?;
    client.send("GET /large HTTP/1.1\r\nhost: test\r\n\r\n")?;
    let head = client.read_head()?;
    assert_eq!(head.status, 200);
    nginx.process().kill()?;
    let error = client.count_body(&head).expect_err("it was cut");
    assert!(
        matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        "{error}"
    );
    expect_refusal(connect(&seawall))?;
    ended(&seawall, "refused", 1.0)?;
    refused(&seawall, "connect-failed", 1.0)
}

#[test]
fn without_a_server_clients_are_reset_at_once() -> io::Result<()> {
    let (one, other) = (ReservedPort::new()?, ReservedPort::new()?);
    let home = tempfile::tempdir()?;
    let log = home.path().join("access.log");
    let log_to = format!("access-log = {:?}", log.display().to_string());
    let mut seawall = before(&[one.address(), other.address()], "", "").server(&log_to).start()?;
    for _ in 0..3 {
        expect_refusal(connect(&seawall))?;
    }
    ended(&seawall, "refused", 3.0)?;
    // The first to come finds that out.
    refused(&seawall, "connect-failed", 1.0)?;
    refused(&seawall, "no-healthy-upstream", 2.0)?;
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)?;
    seawall.terminate()?;
    seawall.wait()?;
    let lines = std::fs::read_to_string(&log)?;
    let refused = |code: &str| format!("\"outcome\":\"refused\",\"refusal\":\"{code}\"");
    assert_eq!(lines.matches(&refused("connect-failed")).count(), 1, "{lines}");
    assert_eq!(lines.matches(&refused("no-healthy-upstream")).count(), 2, "{lines}");
    Ok(())
}

#[test]
fn a_server_that_cannot_be_reached_is_not_noticed_while_there_is_another() -> io::Result<()> {
    let (dead, stalled) = (ReservedPort::new()?, Stalled::new()?);
    let origin = named("here")?;
    let servers = [dead.address(), stalled.address(), origin.address()];
    let seawall =
        before(&servers, "", "balance = \"round-robin\"\nconnect-timeout = \"100ms\"").start()?;
    for _ in 0..10 {
        let mut client = connect(&seawall)?;
        client.send("early")?;
        assert_eq!(client.read_exact(9)?, b"hereearly");
    }
    assert!(seawall.metric("seawall_upstream_connect_failures_total", &[])? >= 2.0);
    assert_eq!(seawall.metric(ENDED, &["outcome=\"refused\""])?, 0.0);
    Ok(())
}

#[test]
fn checks_decide_who_gets_connections() -> io::Result<()> {
    let (one, other) = (named("one")?, named("two")?);
    let address = one.address();
    let health =
        "health = { tcp = true, every = \"100ms\", timeout = \"100ms\", rise = 1, fall = 1 }";
    let seawall = before(&[address, other.address()], "", health).start()?;
    let healthy = |expect| metric_becomes(&seawall, "seawall_upstream_check_healthy", &[], expect);
    healthy(2.0)?;
    one.stop();
    healthy(1.0)?;
    let failures = "seawall_upstream_connect_failures_total";
    let before_it = seawall.metric(failures, &[])?;
    for _ in 0..20 {
        assert_eq!(connect(&seawall)?.read_exact(3)?, b"two");
    }
    assert_eq!(seawall.metric(failures, &[])?, before_it, "nobody was sent there");

    let one = Origin::scripted_at(address, |conversation| {
        conversation.send("one")?;
        conversation.hang()
    })?;
    eventually("it is used again", || Ok(connect(&seawall)?.read_exact(3)? == b"one"))?;
    drop(one);
    Ok(())
}

#[test]
fn a_client_that_leaves_while_a_server_is_looked_for_is_let_go() -> io::Result<()> {
    let stalled = Stalled::new()?;
    let limits = "limits = { connections = 1 }";
    let seawall = before(&[stalled.address()], limits, "connect-timeout = \"30s\"").start()?;
    let client = connect(&seawall)?;
    metric_becomes(&seawall, "seawall_connections_open", &["listener=\"tcp\""], 1.0)?;
    client.abort()?;
    ended(&seawall, "client-failed", 1.0)?;
    metric_becomes(&seawall, "seawall_connections_open", &["listener=\"tcp\""], 0.0)?;
    metric_becomes(&seawall, "seawall_upstream_in_flight", &[], 0.0)
}

#[test]
fn connections_are_spread_by_how_many_there_are() -> io::Result<()> {
    let (one, other) = (echo()?, echo()?);
    let seawall = before(&[one.address(), other.address()], "", "").start()?;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = connect(&seawall)?;
        expect_echo(&mut client, "x")?;
        clients.push(client);
    }
    assert_eq!((one.open_connections(), other.open_connections()), (10, 10));
    Ok(())
}

#[test]
fn limits_hold_and_places_come_back() -> io::Result<()> {
    let origin = echo()?;
    let listen = "limits = { connections = 3, connections-per-client = 2 }";
    let seawall = before(&[origin.address()], listen, "").start()?;
    let mut first = connect(&seawall)?;
    let mut second = connect(&seawall)?;
    expect_echo(&mut first, "x")?;
    expect_echo(&mut second, "x")?;
    expect_refusal(connect(&seawall))?;
    refused(&seawall, "too-many-from-client", 1.0)?;
    let from = |last| RawClient::connect_from([127, 0, 0, last].into(), seawall.address("tcp"));
    let mut third = from(2)?;
    expect_echo(&mut third, "x")?;
    expect_refusal(from(3))?;
    refused(&seawall, "too-many-connections", 1.0)?;
    assert_eq!(seawall.metric("seawall_connections_turned_away_total", &[])?, 2.0);
    assert_eq!(seawall.metric("seawall_connections_total", &[])?, 3.0);
    drop(first);
    metric_becomes(&seawall, "seawall_connections_open", &[], 2.0)?;
    expect_echo(&mut connect(&seawall)?, "x")?;

    // Those of the servers hold too.
    let seawall = before(&[origin.address()], "", "limits = { connections = 1 }").start()?;
    let mut first = connect(&seawall)?;
    expect_echo(&mut first, "x")?;
    expect_refusal(connect(&seawall))?;
    refused(&seawall, "upstream-full", 1.0)?;
    drop(first);
    metric_becomes(&seawall, "seawall_upstream_connections_open", &[], 0.0)?;
    expect_echo(&mut connect(&seawall)?, "x")
}

#[test]
fn a_silent_connection_is_closed_and_a_busy_one_is_not() -> io::Result<()> {
    let listen = "timeouts.tunnel = \"400ms\"";
    // Bytes in one direction keep both.
    let origin = Origin::scripted(|conversation| {
        for _ in 0..50 {
            conversation.send("x")?;
            std::thread::sleep(Duration::from_millis(20));
        }
        conversation.hang()
    })?;
    let seawall = before(&[origin.address()], listen, "").start()?;
    let mut busy = connect(&seawall)?;
    assert_eq!(busy.read_exact(50)?, [b'x'; 50]);
    assert_eq!(seawall.metric(ENDED, &[])?, 0.0);
    expect_reset(&mut busy)?;
    ended(&seawall, "idle", 1.0)?;

    // A closed direction does not keep the other.
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        conversation.read_to_end()?;
        conversation.wait(&at_gate)
    })?;
    let seawall = before(&[origin.address()], listen, "").start()?;
    let mut half = connect(&seawall)?;
    half.half_close()?;
    expect_reset(&mut half)?;
    ended(&seawall, "idle", 1.0)?;
    gate.open();
    Ok(())
}

#[test]
fn neither_side_is_read_faster_than_the_other_takes_it() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        conversation.wait(&at_gate)?;
        let mut length = 0;
        loop {
            let bytes = conversation.read_some()?;
            if bytes.is_empty() {
                return conversation.send(format!("{length}"));
            }
            length += bytes.len();
        }
    })?;
    let mut seawall = before(&[origin.address()], "", "").start()?;
    let mut client = connect(&seawall)?;
    let limit = 256 << 20;
    let before_it = memory(&mut seawall, "VmRSS")?;
    let sent = client.send_until_stuck(&[b'x'; 64 * 1024], limit, Duration::from_millis(500))?;
    assert!(sent < limit, "all of it was taken");
    let grown = memory(&mut seawall, "VmRSS")?.saturating_sub(before_it);
    assert!(grown < 4096, "{grown} KiB");
    gate.open();
    client.half_close()?;
    assert_eq!(client.read_to_end()?, sent.to_string().as_bytes());
    Ok(())
}

#[test]
fn heavy_a_gibibyte_each_way_takes_constant_memory() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let mut seawall = before(&[origin.address()], "", "").start()?;
    let length: u64 = 1 << 30;
    connect(&seawall)?.get("test", "/bytes/1000000")?;
    let before_it = memory(&mut seawall, "VmHWM")?;
    let mut client = connect(&seawall)?;
    client.send(format!("GET /bytes/{length} HTTP/1.1\r\nhost: test\r\n\r\n"))?;
    let head = client.read_head()?;
    assert_eq!(client.count_body(&head)?, length);
    client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"))?;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..length >> 20 {
        client.send(&piece)?;
    }
    assert_eq!(client.read_response()?.text(), length.to_string());
    let grown = memory(&mut seawall, "VmHWM")?.saturating_sub(before_it);
    assert!(grown < 2048, "{grown} KiB");
    let sent = seawall.metric("seawall_tcp_sent_bytes_total", &[])?;
    let received = seawall.metric("seawall_tcp_received_bytes_total", &[])?;
    assert!(sent > length as f64 && received > length as f64, "{sent}, {received}");
    Ok(())
}

#[test]
fn much_passes_both_ways_at_once() -> io::Result<()> {
    let origin = echo()?;
    let seawall = before(&[origin.address()], "", "").start()?;
    let mut client = connect(&seawall)?;
    let socket = client.socket().try_clone()?;
    let length: usize = 64 << 20;
    let writer = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::from(socket);
        let piece: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
        (0..length >> 20).try_for_each(|_| stream.write_all(&piece))
    });
    let mut received = 0;
    while received < length {
        let bytes = client.read_some()?;
        assert!(!bytes.is_empty(), "closed after {received}");
        let expect = (received..).map(|at| at as u8);
        assert!(bytes.iter().copied().eq(expect.take(bytes.len())), "near {received}");
        received += bytes.len();
    }
    writer.join().expect("no panic")?;
    Ok(())
}

#[test]
fn a_slow_reader_gets_everything() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let seawall = before(&[origin.address()], "", "").start()?;
    let mut slow = RawClient::connect_with_receive_buffer(seawall.address("tcp"), 4096)?;
    let length: u64 = 4 << 20;
    slow.send(format!("GET /close/{length} HTTP/1.1\r\nhost: test\r\n\r\n"))?;
    let head = slow.read_head()?;
    // Others are not held up meanwhile.
    let load = LoadPlan::get(seawall.address("tcp"), "/bytes/100", 2).start()?;
    load.wait_for_more(100)?;
    assert_eq!(slow.count_body(&head)?, length);
    let tally = load.stop();
    assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
    Ok(())
}

#[test]
fn nginx_is_served_through_it() -> io::Result<()> {
    let nginx = Nginx::serving("location / { return 200 $request_uri; }")?;
    let seawall = before(&[nginx.address()], "", "").workers(2).start()?;
    let address = seawall.address("tcp");
    let kept = LoadPlan::get(address, "/kept", 4).start()?;
    let fresh = LoadPlan::get(address, "/", 2)
        .sending("GET /fresh HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .start()?;
    for load in [kept, fresh] {
        load.wait_for_more(500)?;
        let tally = load.stop();
        assert_eq!((tally.failed, tally.retried), (0, 0), "{:?}", tally.failures);
    }
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)?;
    assert_eq!(seawall.metric(ENDED, &["outcome=\"server-failed\""])?, 0.0);
    Ok(())
}

fn reload(seawall: &Seawall, setup: &Setup) -> io::Result<()> {
    seawall.rewrite(&setup.text())?;
    let response = seawall.reload()?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(())
}

#[test]
fn a_reload_leaves_connections_where_they_are() -> io::Result<()> {
    let (one, other) = (named("one")?, named("two")?);
    let seawall = before(&[one.address()], "", "").start()?;
    let mut first = connect(&seawall)?;
    assert_eq!(first.read_exact(3)?, b"one");

    // Another server.
    reload(&seawall, &before(&[other.address()], "", ""))?;
    expect_echo(&mut first, "still with one")?;
    let mut second = connect(&seawall)?;
    assert_eq!(second.read_exact(3)?, b"two");

    // Another protocol at the same address, and no upstream any more.
    let http = before(&[], "", "").text();
    let (start, rest) = http.split_once("tcp = \"db\"").expect("the key");
    let (_, end) = rest.split_once("[[route]]").expect("the route");
    seawall.rewrite(&format!("{start}\n\n[[route]]{end}"))?;
    let response = seawall.reload()?;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(connect(&seawall)?.get("test", "/")?.text(), "page");
    expect_echo(&mut first, "still with one")?;
    expect_echo(&mut second, "still with two")?;

    // No listener any more.
    let nothing = Setup::alone().with("[[route]]\nname = \"page\"\nrespond = \"page\"");
    reload(&seawall, &nothing)?;
    eventually("nobody listens", || Ok(connect(&seawall).is_err()))?;
    expect_echo(&mut first, "still with one")?;
    first.half_close()?;
    assert_eq!(first.read_to_end()?, b"");
    origin_saw_the_end(&one)?;
    expect_echo(&mut second, "still with two")?;
    ended(&seawall, "closed", 1.0)
}

#[test]
fn a_connection_that_lives_on_keeps_nothing_else_of_its_server_alive() -> io::Result<()> {
    let origin = Origin::responding(|_| Response::new(200, "here"))?;
    let other = Origin::always("there")?;
    // The upstream is there for HTTP too, so a connection stays idle.
    let setup = |server: &Origin| {
        Setup::before(server).with("[listen.tcp]\naddress = \"127.0.0.1:0\"\ntcp = \"app\"")
    };
    for gone in [setup(&other), Setup::alone().with("[[route]]\nrespond = \"page\"")] {
        let seawall = setup(&origin).start()?;
        assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
        let mut carried = connect(&seawall)?;
        assert_eq!(carried.get("test", "/")?.text(), "here");
        assert_eq!(origin.open_connections(), 2);
        reload(&seawall, &gone)?;
        eventually("the idle one is gone", || Ok(origin.open_connections() == 1))?;
        assert_eq!(carried.get("test", "/")?.text(), "here");
        drop(carried);
        origin.wait_until_idle()?;
    }
    Ok(())
}

fn origin_saw_the_end(origin: &Origin) -> io::Result<()> {
    let seen = origin.wait_until(|seen| seen[0].ended)?;
    assert_eq!(seen[0].error, None);
    Ok(())
}

#[test]
fn a_drain_waits_for_connections_and_then_cuts_them() -> io::Result<()> {
    let origin = echo()?;
    let home = tempfile::tempdir()?;
    let log = home.path().join("access.log");
    let server = format!("drain = \"1s\"\naccess-log = {:?}", log.display().to_string());
    let mut seawall = before(&[origin.address()], "", "").server(&server).start()?;
    let (mut ends, mut stays) = (connect(&seawall)?, connect(&seawall)?);
    expect_echo(&mut ends, "x")?;
    expect_echo(&mut stays, "x")?;
    seawall.terminate()?;
    eventually("nobody listens", || Ok(connect(&seawall).is_err()))?;
    expect_echo(&mut ends, "last words")?;
    ends.half_close()?;
    assert_eq!(ends.read_to_end()?, b"bye");
    expect_echo(&mut stays, "more last words")?;
    expect_reset(&mut stays)?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    let lines = std::fs::read_to_string(&log)?;
    for outcome in ["\"outcome\":\"closed\"", "\"received\":16,\"sent\":16"] {
        assert_eq!(lines.matches(outcome).count(), 1, "{lines}");
    }
    assert!(lines.contains("\"outcome\":\"cut\""), "{lines}");

    // Without connections it ends at once.
    let mut seawall = before(&[origin.address()], "", "").server("drain = \"10m\"").start()?;
    expect_echo(&mut connect(&seawall)?, "x")?;
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)?;
    seawall.terminate()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn http_beside_it_is_not_disturbed() -> io::Result<()> {
    let origin = Origin::responding(|_| Response::new(200, "here"))?;
    let seawall = before(&[origin.address()], "", "").start()?;
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "page");
    let mut client = connect(&seawall)?;
    assert_eq!(client.get("test", "/")?.text(), "here");
    assert_eq!(client.get("test", "/")?.text(), "here");
    // It is the client's own words that the server hears.
    assert!(!origin.received(0).to_lowercase().contains("forwarded"), "{}", origin.received(0));
    Ok(())
}

/// Most memory that an idle connection may cost.
const KIB_EACH: u64 = 6;

#[test]
fn heavy_thousands_of_idle_connections_cost_little() -> io::Result<()> {
    // Two ends each in this process, and two in Seawall.
    let files = seawall_testkit::raise_open_files(24_000)?;
    let count = (files.saturating_sub(500) / 2).min(10_000);
    assert!(count >= 4_000, "only {files} open files are allowed");
    let held = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    let keep = held.clone();
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            if stream.write_all(b"x").is_ok() {
                keep.lock().expect("no panic").push(stream);
            }
        }
    });
    let mut seawall = before(&[address], "", "limits = { connections = 20_000 }").start()?;
    let mut idle = vec![connect(&seawall)?];
    metric_becomes(&seawall, "seawall_upstream_connections_open", &[], 1.0)?;
    let before_it = memory(&mut seawall, "VmRSS")?;
    for nth in 1..count {
        let mut client = connect(&seawall)?;
        client.read_exact(1)?;
        // Half of them have been of use, the others only came.
        if nth % 2 == 0 {
            client.send(vec![b'x'; 20_000])?;
        }
        idle.push(client);
    }
    metric_becomes(&seawall, "seawall_upstream_connections_open", &[], count as f64)?;
    let passed = 20_000.0 * ((count - 1) / 2) as f64;
    metric_becomes(&seawall, "seawall_tcp_received_bytes_total", &[], passed)?;
    let grown = memory(&mut seawall, "VmRSS")?.saturating_sub(before_it);
    assert!(grown <= count * KIB_EACH, "{grown} KiB for {count}");
    drop(idle);
    held.lock().expect("no panic").clear();
    metric_becomes(&seawall, "seawall_connections_open", &[], 0.0)?;
    Ok(())
}
