//! Protocol upgrades: a tunnel when both sides want it, and never otherwise.

use std::io;

use seawall_testkit::{Origin, RawClient, Response};

use crate::setup::{Setup, code, get, metric_becomes, post};

pub(crate) const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\n\
     upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     sec-websocket-version: 13\r\n\r\n";

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
     connection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches when it is asked to and echoes what comes; answers everything else with 200.
pub(crate) fn echo() -> io::Result<Origin> {
    Origin::scripted(|conversation| {
        while let Some(request) = conversation.next_request()? {
            if request.header("upgrade").is_some() {
                conversation.send(SWITCH)?;
                loop {
                    let bytes = conversation.read_some()?;
                    if bytes.is_empty() {
                        return conversation.send("bye");
                    }
                    conversation.send(bytes)?;
                }
            }
            let body = format!("{} {}", request.target, request.text());
            conversation.respond(&request, Response::new(200, body))?;
            if !request.keeps_alive() {
                break;
            }
        }
        Ok(())
    })
}

/// A client in a tunnel, and the head of the answer.
fn tunnel(address: std::net::SocketAddr) -> io::Result<(RawClient, Response)> {
    let mut client = RawClient::connect(address)?;
    client.send(UPGRADE)?;
    let head = client.read_head()?;
    assert_eq!(head.status, 101);
    Ok((client, head))
}

#[test]
fn bytes_pass_both_ways_and_are_counted() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let (mut client, head) = tunnel(seawall.address("web"))?;
    assert!(head.headers.lists("connection", "upgrade"));
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.header("content-length"), None);
    assert_eq!(head.header("transfer-encoding"), None);
    let request = origin.received(0).to_ascii_lowercase();
    for field in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: dghl"] {
        assert!(request.contains(field), "{request}");
    }
    metric_becomes(&seawall, "seawall_tunnels_open", &["listener=\"web\""], 1.0)?;
    for text in ["one", "GET / HTTP/1.1\r\n\r\n", "\0\u{1}"] {
        client.send(text)?;
        assert_eq!(client.read_exact(text.len())?, text.as_bytes());
    }
    drop(client);
    origin.wait_until_idle()?;
    metric_becomes(&seawall, "seawall_tunnels_open", &[], 0.0)?;
    assert_eq!(seawall.metric("seawall_tunnels_total", &[])?, 1.0);
    assert_eq!(seawall.metric("seawall_tunnel_received_bytes_total", &[])?, 23.0);
    assert!(seawall.metric("seawall_tunnel_sent_bytes_total", &[])? >= 23.0);
    assert_eq!(seawall.metric("seawall_requests_total", &["class=\"1xx\""])?, 1.0);
    Ok(())
}

#[test]
fn what_is_sent_before_the_answer_is_not_lost() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send([SWITCH, "hello"].concat())?;
        let bytes = conversation.read_exact(5)?;
        conversation.send(bytes)?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    client.send([UPGRADE, "early"].concat())?;
    assert_eq!(client.read_head()?.status, 101);
    assert_eq!(client.read_exact(10)?, b"helloearly");
    Ok(())
}

#[test]
fn each_side_may_close_its_direction() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let (mut client, _) = tunnel(seawall.address("web"))?;
    client.send("half")?;
    client.half_close()?;
    assert_eq!(client.read_to_end()?, b"halfbye");

    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send([SWITCH, "bye"].concat())?;
        conversation.half_close()?;
        assert_eq!(conversation.read_to_end()?, b"I go on");
        Ok(())
    })?;
    let seawall = Setup::before(&origin).start()?;
    let (mut client, _) = tunnel(seawall.address("web"))?;
    assert_eq!(client.read_to_end()?, b"bye");
    client.send("I go on")?;
    client.half_close()?;
    let seen = origin.wait_until(|seen| seen[0].ended)?;
    assert_eq!(seen[0].error, None);
    Ok(())
}

#[test]
fn the_death_of_one_side_is_the_end_of_the_other() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let (client, _) = tunnel(seawall.address("web"))?;
    client.abort()?;
    origin.wait_until_idle()?;

    let origin = Origin::scripted(|conversation| {
        conversation.read_request()?;
        conversation.send(SWITCH)?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let (mut client, _) = tunnel(seawall.address("web"))?;
    origin.reset_connections();
    client.expect_close()
}

#[test]
fn a_silent_tunnel_is_closed_and_a_busy_one_is_not() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).listen("timeouts.tunnel = \"300ms\"").start()?;
    let (mut busy, _) = tunnel(seawall.address("web"))?;
    let (mut silent, _) = tunnel(seawall.address("web"))?;
    let started = std::time::Instant::now();
    while started.elapsed() < std::time::Duration::from_millis(900) {
        busy.send("x")?;
        assert_eq!(busy.read_exact(1)?, b"x");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    silent.expect_close()?;
    metric_becomes(&seawall, "seawall_tunnels_open", &[], 1.0)?;
    busy.expect_close()
}

#[test]
fn much_passes_both_ways_at_once() -> io::Result<()> {
    let origin = echo()?;
    let seawall = Setup::before(&origin).start()?;
    let (client, _) = tunnel(seawall.address("web"))?;
    let socket = client.socket().try_clone()?;
    let length: usize = 64 << 20;
    let writer = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::from(socket);
        let piece: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
        (0..length >> 20).try_for_each(|_| io::Write::write_all(&mut stream, &piece))
    });
    let mut client = client;
    let mut received = 0;
    while received < length {
        let bytes = client.read_some()?;
        assert!(!bytes.is_empty(), "closed after {received}");
        assert_eq!(usize::from(bytes[0]), received % 256);
        received += bytes.len();
    }
    writer.join().expect("no panic")?;
    Ok(())
}

#[test]
fn a_server_that_switches_unasked_is_refused() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        conversation.read_request_head()?;
        conversation.send(SWITCH)?;
        conversation.hang()
    })?;
    let seawall = Setup::before(&origin).start()?;
    let requests = [
        get("/", ""),
        // `h2c` would be a way past every rule, and an upgrade cannot have a body.
        get(
            "/",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        ),
        get("/", "connection: upgrade\r\nupgrade: websocket, h2c\r\n"),
        get("/", "upgrade: websocket\r\n"),
        post("/", "connection: upgrade\r\nupgrade: websocket\r\n", "body"),
    ];
    for (nth, request) in requests.iter().enumerate() {
        let response = seawall.connect()?.exchange(request)?;
        assert_eq!((response.status, code(&response).as_str()), (502, "bad-upgrade"), "{request}");
        origin.wait_until(|seen| seen.len() == nth + 1 && seen[nth].ended)?;
        let received = origin.received(nth).to_ascii_lowercase();
        assert!(
            !received.contains("upgrade") && !received.contains("http2-settings"),
            "{received}"
        );
    }
    Ok(())
}

#[test]
fn an_upgrade_that_is_declined_is_an_ordinary_exchange() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/426" => {
            Response::new(426, "old").with("upgrade", "websocket").with("connection", "upgrade")
        }
        "/403" => Response::new(403, "no"),
        _ => Response::new(200, "yes"),
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?;
    let asking = "connection: upgrade\r\nupgrade: websocket\r\n";
    let response = client.exchange(get("/426", asking))?;
    assert_eq!((response.status, response.header("upgrade")), (426, Some("websocket")));
    assert_eq!(client.exchange(get("/403", asking))?.status, 403);
    assert_eq!(client.exchange(get("/", asking))?.text(), "yes");
    assert_eq!(client.get("test", "/")?.text(), "yes");
    assert_eq!(origin.connections(), 1);
    assert_eq!(seawall.metric("seawall_tunnels_total", &[])?, 0.0);
    Ok(())
}
