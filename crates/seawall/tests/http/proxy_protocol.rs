//! The PROXY protocol: clients are who trusted peers say they are, nobody else is believed, and
//! servers are told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use seawall_testkit::{
    Nginx, Origin, Process, RawClient, ReservedPort, Response, Seawall, raise_open_files,
};

use crate::setup::{BINARY, Setup, code, eventually, get, metric_becomes, refused};
use crate::tcp::{before, expect_refusal, expect_reset};

const TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const FAILURES: &str = "seawall_proxy_protocol_failures_total";
const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 with this command, family and content.
fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, content].concat()
}

/// The same as [`V1`] in version 2, with a field that nobody knows.
fn v2_of_v4() -> Vec<u8> {
    let ends = [192, 0, 2, 7, 198, 51, 100, 1, 0x10, 0x92, 0x01, 0xbb];
    v2(0x21, 0x11, &[&ends[..], &[0xe0, 0, 3, 1, 2, 3]].concat())
}

/// Answers with what it was told of the client.
fn origin() -> io::Result<Origin> {
    Origin::responding(|request| {
        Response::new(200, request.header("x-forwarded-for").unwrap_or("nobody"))
    })
}

/// An HTTP listener whose trusted peers send headers.
fn http(origin: &Origin) -> Setup {
    Setup::before(origin)
        .server("trust = [\"127.0.0.2\", \"10.0.0.0/8\"]")
        .listen("proxy-protocol = true")
}

fn from_trusted(address: SocketAddr) -> io::Result<RawClient> {
    RawClient::connect_from(TRUSTED, address)
}

fn failed(seawall: &Seawall, reason: &str, expect: f64) -> io::Result<()> {
    metric_becomes(seawall, FAILURES, &[&format!("reason=\"{reason}\"")], expect)
}

#[test]
fn the_client_is_whom_a_trusted_peer_names() -> io::Result<()> {
    let origin = origin()?;
    let home = tempfile::tempdir()?;
    let log = home.path().join("access.log");
    let log_to = format!("access-log = {:?}", log.display().to_string());
    let mut seawall = http(&origin).server(&log_to).start()?;
    let web = seawall.address("web");
    let v6 = [
        &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        &[1, 2, 3, 4],
    ]
    .concat();
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4242 443\r\n".to_vec();
    let headers = [
        (V1.as_bytes().to_vec(), "192.0.2.7"),
        (v2_of_v4(), "192.0.2.7"),
        (v2(0x21, 0x21, &v6), "2001:db8::1"),
        (mapped, "192.0.2.7"),
        // These are about the peer itself.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.2"),
        (b"PROXY UNKNOWN ff02::1 ff02::2 1 2\r\n".to_vec(), "127.0.0.2"),
        (v2(0x20, 0x00, b""), "127.0.0.2"),
        (v2(0x20, 0x11, &[0; 12]), "127.0.0.2"),
        (v2(0x21, 0x00, b"abc"), "127.0.0.2"),
        (v2(0x21, 0x31, &[b'/'; 216]), "127.0.0.2"),
    ];
    for (header, client) in &headers {
        // In one piece with the request, apart from it, and byte by byte.
        let mut together = from_trusted(web)?;
        together.send([header, get("/", "").as_bytes()].concat())?;
        assert_eq!(together.read_response()?.text(), *client, "{}", header.escape_ascii());
        // It holds for the whole connection, and comes only once.
        assert_eq!(together.get("test", "/")?.text(), *client);
        let mut apart = from_trusted(web)?;
        apart.send(header)?;
        assert_eq!(apart.get("test", "/")?.text(), *client, "{}", header.escape_ascii());
        let mut slow = from_trusted(web)?;
        slow.send_slowly(header)?;
        slow.send_slowly(get("/", ""))?;
        assert_eq!(slow.read_response()?.text(), *client, "{}", header.escape_ascii());
    }
    assert_eq!(seawall.metric(FAILURES, &[])?, 0.0);
    let connections = 3.0 * headers.len() as f64;
    assert_eq!(seawall.metric("seawall_connections_total", &[])?, connections);
    seawall.terminate()?;
    seawall.wait()?;
    let lines = std::fs::read_to_string(&log)?;
    assert_eq!(lines.matches("\"client\":\"192.0.2.7\"").count(), 12, "{lines}");
    assert_eq!(lines.matches("\"client\":\"2001:db8::1\"").count(), 4, "{lines}");
    Ok(())
}

#[test]
fn a_trusted_peer_without_a_header_is_refused() -> io::Result<()> {
    let origin = origin()?;
    for (setup, listener) in [
        (http(&origin), "web"),
        (
            before(&[origin.address()], "proxy-protocol = true", "")
                .server("trust = [\"127.0.0.2\"]"),
            "tcp",
        ),
    ] {
        let seawall = setup.start()?;
        let address = seawall.address(listener);
        for nothing in [
            &get("/", "")[..],
            "proxy TCP4 192.0.2.7 198.51.100.1 4242 443\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n",
            "\0",
        ] {
            let mut client = from_trusted(address)?;
            client.send(nothing)?;
            expect_reset(&mut client)?;
        }
        failed(&seawall, "missing", 4.0)?;
        for bad in [
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\n"[..],
            b"PROXY TCP4 192.0.2.700 198.51.100.1 4242 443\r\n",
            &[b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat(),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x22, 0x11, &[0; 12]),
            &[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat(),
            // A checksum that is none.
            &v2(0x21, 0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 0, 4, 0, 0, 0, 0]),
        ] {
            let mut client = from_trusted(address)?;
            client.send(bad)?;
            expect_reset(&mut client)?;
        }
        failed(&seawall, "malformed", 7.0)?;
        // Who comes and goes without a word is not complained about.
        drop(from_trusted(address)?);
        let mut broken_off = from_trusted(address)?;
        broken_off.send(&V1[..20])?;
        broken_off.half_close()?;
        expect_reset(&mut broken_off)?;
        failed(&seawall, "truncated", 1.0)?;
        assert_eq!(origin.requests(), 0);
        assert_eq!(seawall.metric(FAILURES, &[])?, 12.0);
        assert_eq!(seawall.metric("seawall_connections_total", &[])?, 0.0);
        let log = seawall.log();
        assert_eq!(log.matches("must send a PROXY protocol header").count(), 1, "{log}");
        assert!(log.contains("peer=127.0.0.2") && log.contains("does not begin with one"), "{log}");
    }
    Ok(())
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() -> io::Result<()> {
    let origin = origin()?;
    let seawall = http(&origin).listen("timeouts.head = \"200ms\"").start()?;
    let mut silent = from_trusted(seawall.address("web"))?;
    expect_reset(&mut silent)?;
    let mut half = from_trusted(seawall.address("web"))?;
    half.send(&v2_of_v4()[..20])?;
    expect_reset(&mut half)?;
    failed(&seawall, "timeout", 2.0)
}

#[test]
fn the_words_of_others_are_no_header() -> io::Result<()> {
    // They are HTTP, and bad HTTP.
    let origin = origin()?;
    let seawall = http(&origin).start()?;
    for header in [V1.as_bytes().to_vec(), v2_of_v4()] {
        let mut client = seawall.connect()?;
        client.send([&header, get("/", "").as_bytes()].concat())?;
        let response = client.read_response()?;
        assert_eq!((response.status, code(&response).as_str()), (400, "bad-request"));
    }
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "127.0.0.1");
    // So they are where nobody is to send headers.
    let seawall = Setup::before(&origin).server("trust = [\"127.0.0.2\"]").start()?;
    let mut client = from_trusted(seawall.address("web"))?;
    client.send([V1, &get("/", "")].concat())?;
    assert_eq!(client.read_response()?.status, 400);

    // Or whatever the listener carries.
    let echo = Origin::scripted(|conversation| {
        loop {
            let bytes = conversation.read_some()?;
            if bytes.is_empty() {
                return Ok(());
            }
            conversation.send(bytes)?;
        }
    })?;
    let seawall = before(&[echo.address()], "proxy-protocol = true", "")
        .server("trust = [\"127.0.0.2\"]")
        .start()?;
    let mut client = RawClient::connect(seawall.address("tcp"))?;
    client.send(V1)?;
    assert_eq!(client.read_exact(V1.len())?, V1.as_bytes());
    let mut client = from_trusted(seawall.address("tcp"))?;
    client.send([V1, V1].concat())?;
    client.half_close()?;
    assert_eq!(client.read_to_end()?, V1.as_bytes(), "one header, and then bytes");
    assert_eq!(seawall.metric(FAILURES, &[])?, 0.0);
    Ok(())
}

#[test]
fn what_clients_claim_counts_only_if_they_are_trusted_themselves() -> io::Result<()> {
    let origin = origin()?;
    let seawall = http(&origin).start()?;
    let claim = get("/", "x-forwarded-for: 203.0.113.9\r\n");
    for (client, expect) in [("192.0.2.7", "192.0.2.7"), ("10.0.0.9", "203.0.113.9, 10.0.0.9")] {
        let mut peer = from_trusted(seawall.address("web"))?;
        peer.send(format!("PROXY TCP4 {client} 198.51.100.1 1 2\r\n{claim}"))?;
        assert_eq!(peer.read_response()?.text(), expect);
    }
    Ok(())
}

#[test]
fn connections_are_counted_by_the_client_that_is_named() -> io::Result<()> {
    let origin = origin()?;
    let limits = "limits = { connections-per-client = 2, connections = 5 }";
    let seawall = http(&origin).listen(limits).start()?;
    let web = seawall.address("web");
    let named = |client: &str| -> io::Result<RawClient> {
        let mut peer = from_trusted(web)?;
        peer.send(format!("PROXY TCP4 {client} 198.51.100.1 1 2\r\n"))?;
        Ok(peer)
    };
    let mut held = Vec::new();
    for client in ["192.0.2.7", "192.0.2.7", "192.0.2.8"] {
        let mut peer = named(client)?;
        assert_eq!(peer.get("test", "/")?.text(), client);
        held.push(peer);
    }
    let response = named("192.0.2.7")?.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (429, "too-many-from-client"));
    refused(&seawall, "too-many-from-client", 1.0)?;
    held.remove(0);
    metric_becomes(&seawall, "seawall_connections_open", &[], 2.0)?;
    let mut again = named("192.0.2.7")?;
    assert_eq!(again.get("test", "/")?.text(), "192.0.2.7");
    held.push(again);
    // A place of the listener is taken before anybody is named.
    let (_one, _other) = (from_trusted(web)?, from_trusted(web)?);
    let response = from_trusted(web)?.read_response()?;
    assert_eq!((response.status, code(&response).as_str()), (503, "too-many-connections"));

    // TCP the same.
    let hanging = Origin::scripted(|conversation| {
        conversation.send("x")?;
        conversation.hang()
    })?;
    let listen = "proxy-protocol = true\nlimits = { connections-per-client = 1 }";
    let seawall =
        before(&[hanging.address()], listen, "").server("trust = [\"127.0.0.2\"]").start()?;
    let named = |client: &str| -> io::Result<RawClient> {
        let mut peer = from_trusted(seawall.address("tcp"))?;
        peer.send(format!("PROXY TCP4 {client} 198.51.100.1 1 2\r\n"))?;
        Ok(peer)
    };
    let mut held = Vec::new();
    for client in ["192.0.2.7", "192.0.2.8"] {
        let mut peer = named(client)?;
        assert_eq!(peer.read_exact(1)?, b"x");
        held.push(peer);
    }
    expect_refusal(named("192.0.2.7"))?;
    refused(&seawall, "too-many-from-client", 1.0)
}

#[test]
fn a_drain_waits_for_headers_that_have_begun() -> io::Result<()> {
    let origin = origin()?;
    let mut seawall = http(&origin).start()?;
    let mut silent = from_trusted(seawall.address("web"))?;
    let mut begun = from_trusted(seawall.address("web"))?;
    begun.send(&V1[..10])?;
    let mut other = seawall.connect()?;
    assert_eq!(other.get("test", "/")?.status, 200);
    seawall.terminate()?;
    eventually("not ready", || Ok(seawall.admin_get("/readyz")?.status == 503))?;
    begun.send([&V1[10..], &get("/", "")].concat())?;
    assert_eq!(begun.read_response()?.text(), "192.0.2.7");
    silent.expect_close()?;
    assert_eq!(seawall.wait()?.code(), Some(0));
    Ok(())
}

/// What clients of [`showing`] end with; a binary header does not contain it.
const END: &str = "the end";

/// Sends back all that came until the client's end.
fn showing() -> io::Result<Origin> {
    Origin::scripted(|conversation| {
        let begun = conversation.read_until(END.as_bytes())?;
        conversation.send(begun)
    })
}

#[test]
fn servers_are_told_whose_connection_it_is() -> io::Result<()> {
    let origin = showing()?;
    let upstream = |version| format!("proxy-protocol = \"{version}\"");
    let seawall = before(&[origin.address()], "", &upstream("v1")).start()?;
    let to = seawall.address("tcp");
    let mut client = RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 9).into(), to)?;
    let port = client.local_address()?.port();
    client.send(["early ", END].concat())?;
    let expect = format!("PROXY TCP4 127.0.0.9 127.0.0.1 {port} {}\r\nearly {END}", to.port());
    assert_eq!(String::from_utf8_lossy(&client.read_to_end()?), expect);
    // The header is not the client's.
    metric_becomes(&seawall, "seawall_tcp_received_bytes_total", &[], 13.0)?;

    let seawall = before(&[origin.address()], "", &upstream("v2")).start()?;
    let to = seawall.address("tcp").port();
    let mut client = RawClient::connect(seawall.address("tcp"))?;
    let port = client.local_address()?.port();
    client.send(END)?;
    let mut ends = vec![127, 0, 0, 1, 127, 0, 0, 1];
    ends.extend(port.to_be_bytes());
    ends.extend(to.to_be_bytes());
    let expect = [&v2(0x21, 0x11, &ends)[..], END.as_bytes()].concat();
    assert_eq!(client.read_to_end()?, expect);
    Ok(())
}

#[test]
fn a_server_is_told_before_the_client_says_anything() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let line = conversation.read_until(b"\r\n")?;
        conversation.send(line)
    })?;
    let seawall = before(&[origin.address()], "", "proxy-protocol = \"v1\"").start()?;
    let mut client = RawClient::connect(seawall.address("tcp"))?;
    assert!(client.read_to_end()?.starts_with(b"PROXY TCP4 127.0.0.1 127.0.0.1 "));
    metric_becomes(&seawall, "seawall_tcp_received_bytes_total", &[], 0.0)
}

#[test]
fn ipv4_is_ipv4_also_where_ipv6_is_listened_on() -> io::Result<()> {
    let origin = showing()?;
    let setup = before(&[origin.address()], "proxy-protocol = true", "proxy-protocol = \"v1\"")
        .server("trust = [\"127.0.0.2\"]");
    let here = "address = \"127.0.0.1:0\"\ntcp";
    let text = setup.text().replace(here, "address = \"[::]:0\"\ntcp");
    assert!(text.contains("[::]:0"), "{text}");
    let seawall = Seawall::start(BINARY, &text)?;
    let to = SocketAddr::from(([127, 0, 0, 1], seawall.address("tcp").port()));
    let mut client = RawClient::connect(to)?;
    let port = client.local_address()?.port();
    client.send(END)?;
    let expect = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n{END}", to.port());
    assert_eq!(String::from_utf8_lossy(&client.read_to_end()?), expect);
    let mut peer = from_trusted(to)?;
    peer.send([V1, END].concat())?;
    assert_eq!(peer.read_to_end()?, [V1, END].concat().as_bytes());
    Ok(())
}

#[test]
fn what_a_trusted_peer_says_is_handed_on() -> io::Result<()> {
    let origin = showing()?;
    let seawall = before(&[origin.address()], "proxy-protocol = true", "proxy-protocol = \"v1\"")
        .server("trust = [\"127.0.0.2\"]")
        .start()?;
    let to = seawall.address("tcp");
    for header in [V1.as_bytes().to_vec(), v2_of_v4()] {
        let mut peer = from_trusted(to)?;
        peer.send([&header, END.as_bytes()].concat())?;
        assert_eq!(peer.read_to_end()?, [V1, END].concat().as_bytes());
    }
    // Of the peer's own connections, its own address.
    let mut peer = from_trusted(to)?;
    let port = peer.local_address()?.port();
    peer.send([&v2(0x20, 0, b""), END.as_bytes()].concat())?;
    let expect = format!("PROXY TCP4 127.0.0.2 127.0.0.1 {port} {}\r\n{END}", to.port());
    assert_eq!(String::from_utf8_lossy(&peer.read_to_end()?), expect);
    Ok(())
}

#[test]
fn nginx_understands_what_servers_are_told() -> io::Result<()> {
    let nginx = Nginx::configured(|listen| {
        let listen = listen.replace(';', " proxy_protocol;");
        format!(
            "worker_processes 1;\nevents {{ worker_connections 512; }}\n\
             http {{\naccess_log off;\nserver {{\n{listen}\n\
             location / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_server_port\"; }}\n\
             }}\n}}\n"
        )
    })?;
    for version in ["v1", "v2"] {
        let upstream = format!("proxy-protocol = \"{version}\"");
        let seawall = before(&[nginx.address()], "proxy-protocol = true", &upstream)
            .server("trust = [\"127.0.0.2\"]")
            .start()?;
        let to = seawall.address("tcp");
        let mut client = RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 9).into(), to)?;
        let expect = format!("127.0.0.9 {}", to.port());
        assert_eq!(client.get("test", "/")?.text(), expect, "{version}");
        assert_eq!(client.get("test", "/")?.text(), expect, "{version}");
        let mut peer = from_trusted(to)?;
        peer.send("PROXY TCP6 2001:db8::7 2001:db8::8 4242 443\r\n")?;
        assert_eq!(peer.get("test", "/")?.text(), "2001:db8::7 443", "{version}");
    }
    Ok(())
}

#[test]
fn servers_are_told_that_checks_are_our_own() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let text = conversation.read_until(b"\r\n\r\n")?;
        // The signature of version 2 begins with a blank line.
        let rest = match text.len() {
            4 => conversation.read_until(b"\r\n\r\n")?,
            _ => Vec::new(),
        };
        let bytes = [text, rest].concat();
        let request = b"GET /up HTTP/1.1\r\n";
        let at = bytes.windows(request.len()).position(|window| window == request);
        let good = match at.map(|at| &bytes[..at]) {
            Some(header) => header == b"PROXY UNKNOWN\r\n" || header == v2(0x20, 0, b""),
            None => false,
        };
        let status = if good { "200 OK" } else { "400 Bad Request" };
        conversation.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))
    })?;
    let checks = "seawall_upstream_checks_total";
    for version in ["v1", "v2"] {
        let upstream = format!(
            "proxy-protocol = \"{version}\"\n\
             health = {{ path = \"/up\", every = \"50ms\", timeout = \"50ms\" }}"
        );
        let seawall = before(&[origin.address()], "", &upstream).start()?;
        eventually("three good checks", || {
            let bad = seawall.metric(checks, &["outcome=\"answer\""])?;
            assert_eq!(bad, 0.0, "{version}: {}", origin.received(0).escape_debug());
            Ok(seawall.metric(checks, &["outcome=\"good\""])? >= 3.0)
        })?;
    }
    Ok(())
}

#[test]
fn one_seawall_understands_another() -> io::Result<()> {
    let origin = origin()?;
    let inner = http(&origin).text().replace("\"127.0.0.2\"", "\"127.0.0.1\"");
    let inner = Seawall::start(BINARY, &inner)?;
    for version in ["v1", "v2"] {
        let upstream = format!("proxy-protocol = \"{version}\"");
        let outer = before(&[inner.address("web")], "", &upstream).start()?;
        let mut client =
            RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 77).into(), outer.address("tcp"))?;
        assert_eq!(client.get("test", "/")?.text(), "127.0.0.77");
    }
    Ok(())
}

/// The makers of the protocol, on both sides.
#[test]
fn haproxy_understands_and_is_understood() -> io::Result<()> {
    let origin = origin()?;
    let seawall = http(&origin).start()?;
    let [v1, v2, sum] = [ReservedPort::new()?, ReservedPort::new()?, ReservedPort::new()?];
    let last = ReservedPort::new()?;
    let options = [
        (&v1, "send-proxy"),
        (&v2, "send-proxy-v2 proxy-v2-options unique-id,crc32c"),
        (&sum, "send-proxy-v2 proxy-v2-options crc32c"),
    ];
    let mut config =
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            .to_owned();
    for (port, option) in &options {
        let (port, to) = (port.port(), seawall.address("web"));
        config += &format!(
            "listen to-{port}\n bind 127.0.0.1:{port}\n unique-id-format %rt\n source 127.0.0.2\n server s {to} {option}\n"
        );
    }
    config += &format!(
        "frontend from\n mode http\n bind {} accept-proxy\n http-request return status 200 content-type text/plain lf-string \"%[src] %[dst_port]\"\n",
        last.address()
    );
    let home = tempfile::tempdir()?;
    let file = home.path().join("haproxy.cfg");
    std::fs::write(&file, config)?;
    let mut command = Command::new("haproxy");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin")).args(["-db", "-f"]).arg(&file);
    let mut haproxy = Process::spawn(command)?;
    eventually("haproxy listens", || {
        if !haproxy.is_running()? {
            return Err(io::Error::other(haproxy.text()));
        }
        Ok(RawClient::connect(last.address()).is_ok())
    })?;

    for (port, option) in &options {
        let mut client =
            RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 5).into(), port.address())?;
        assert_eq!(client.get("test", "/")?.text(), "127.0.0.5", "{option}");
    }
    for version in ["v1", "v2"] {
        let upstream = format!("proxy-protocol = \"{version}\"");
        let outer = before(&[last.address()], "", &upstream).start()?;
        let to = outer.address("tcp");
        let mut client = RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 6).into(), to)?;
        assert_eq!(client.get("test", "/")?.text(), format!("127.0.0.6 {}", to.port()));
    }
    Ok(())
}

#[test]
fn heavy_a_thousand_headers_that_never_come_disturb_nobody() -> io::Result<()> {
    raise_open_files(4_000)?;
    let origin = origin()?;
    let mut seawall = http(&origin).listen("timeouts.head = \"1s\"").start()?;
    let web = seawall.address("web");
    let before_it = crate::setup::memory(&mut seawall, "VmRSS")?;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(from_trusted(web)?);
    }
    for _ in 0..50 {
        let mut client = from_trusted(web)?.with_patience(Duration::from_secs(10))?;
        client.send([V1, &get("/", "")].concat())?;
        assert_eq!(client.read_response()?.text(), "192.0.2.7");
    }
    let grown = crate::setup::memory(&mut seawall, "VmRSS")?.saturating_sub(before_it);
    assert!(grown < 6 * 1024, "{grown} KiB for 1000");
    for client in &mut silent {
        expect_reset(client)?;
    }
    failed(&seawall, "timeout", 1000.0)
}
