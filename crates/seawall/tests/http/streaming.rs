//! Large bodies pass in constant memory, and neither side is read faster than the other takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall_testkit::{Gate, Origin, RawClient, Response, Seawall};

use crate::setup::{MOMENT, Setup, get, memory, metric_becomes};

const GIB: u64 = 1 << 30;

/// What one exchange may add to the memory of the process, in KiB: its windows, and what the
/// allocator keeps of them.
const ROOM: u64 = 1024;

/// Runs `body` after a first exchange has warmed everything up, and checks the growth.
fn in_constant_memory(
    seawall: &mut Seawall,
    body: impl FnOnce(&Seawall) -> io::Result<()>,
) -> io::Result<()> {
    seawall.connect()?.get("test", "/bytes/1000000")?;
    let before = memory(seawall, "VmHWM")?;
    body(seawall)?;
    let after = memory(seawall, "VmHWM")?;
    assert!(after - before <= ROOM, "memory grew from {before} to {after} KiB");
    Ok(())
}

#[test]
fn heavy_a_download_of_4_gib() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let mut seawall = Setup::before(&origin).start()?;
    in_constant_memory(&mut seawall, |seawall| {
        let mut client = seawall.connect()?;
        client.send(get(&format!("/bytes/{}", 4 * GIB), ""))?;
        let head = client.read_head()?;
        assert_eq!(head.header("content-length"), Some("4294967296"));
        assert_eq!(client.count_body(&head)?, 4 * GIB);
        metric_becomes(
            seawall,
            "seawall_sent_bytes_total",
            &["route=\"app\""],
            4.0 * GIB as f64 + 1e6,
        )
    })
}

#[test]
fn heavy_downloads_of_every_framing() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let mut seawall = Setup::before(&origin).start()?;
    in_constant_memory(&mut seawall, |seawall| {
        let mut client = seawall.connect()?;
        for framing in ["chunked", "close"] {
            client.send(get(&format!("/{framing}/{GIB}"), ""))?;
            let head = client.read_head()?;
            assert!(head.headers.lists("transfer-encoding", "chunked"));
            assert_eq!(client.count_body(&head)?, GIB, "{framing}");
        }
        client.send(format!("GET /chunked/{GIB} HTTP/1.0\r\nhost: test\r\n\r\n"))?;
        let head = client.read_head()?;
        assert_eq!(client.count_body(&head)?, GIB);
        client.expect_close()
    })
}

#[test]
fn heavy_an_upload_of_4_gib() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let mut seawall = Setup::before(&origin).listen("limits.body = \"8GiB\"").start()?;
    in_constant_memory(&mut seawall, |seawall| {
        let mut client = seawall.connect()?;
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
            4 * GIB
        ))?;
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..(4 * GIB) >> 20 {
            client.send(&piece)?;
        }
        assert_eq!(client.read_response()?.text(), (4 * GIB).to_string());
        metric_becomes(
            seawall,
            "seawall_received_bytes_total",
            &["route=\"app\""],
            4.0 * GIB as f64,
        )
    })
}

#[test]
fn heavy_an_upload_in_chunks() -> io::Result<()> {
    let origin = Origin::bulk()?;
    let mut seawall = Setup::before(&origin).start()?;
    in_constant_memory(&mut seawall, |seawall| {
        let mut client = seawall.connect()?;
        client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let mut piece = format!("{:x};ignored=yes\r\n", 1 << 20).into_bytes();
        piece.extend(vec![b'x'; 1 << 20]);
        piece.extend(b"\r\n");
        for _ in 0..GIB >> 20 {
            client.send(&piece)?;
        }
        client.send("0\r\n\r\n")?;
        assert_eq!(client.read_response()?.text(), GIB.to_string());
        Ok(())
    })
}

/// What a writer can get rid of while nobody reads at the other end: what kernels hold for the four
/// sockets on the way, and the windows.
const KERNELS: u64 = 16 << 20;

#[test]
fn a_slow_reader_makes_nobody_read_ahead() -> io::Result<()> {
    let taken = Arc::new(AtomicU64::new(0));
    let count = taken.clone();
    let origin = Origin::scripted(move |conversation| {
        conversation.read_request()?;
        conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n"))?;
        let socket = conversation.socket();
        socket.set_send_buffer_size(64 << 10)?;
        socket.set_write_timeout(Some(MOMENT))?;
        let piece = [b'x'; 64 << 10];
        // Stuck when nothing is taken for a moment.
        while let Ok(sent) = socket.send(&piece) {
            count.fetch_add(sent as u64, Relaxed);
        }
        Ok(())
    })?;
    let mut seawall = Setup::before(&origin).start()?;
    let before = memory(&mut seawall, "VmRSS")?;
    let mut clients = Vec::new();
    for nth in 1..=8 {
        let mut client = RawClient::connect_with_receive_buffer(seawall.address("web"), 16 << 10)?;
        client.send(get("/", ""))?;
        client.read_head()?;
        clients.push(client);
        origin.wait_until(|seen| seen.len() == nth && seen[nth - 1].ended)?;
    }
    let taken = taken.load(Relaxed);
    assert!(
        taken <= 8 * KERNELS / 2,
        "{taken} bytes left the origin for readers that read nothing"
    );
    let after = memory(&mut seawall, "VmRSS")?;
    assert!(after - before <= 8 * 128 + ROOM, "memory grew from {before} to {after} KiB");
    Ok(())
}

#[test]
fn a_server_that_does_not_read_makes_nobody_read_ahead() -> io::Result<()> {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::scripted(move |conversation| {
        let head = conversation.read_request_head()?;
        conversation.wait(&at_gate)?;
        let length = conversation.count_body(&head)?;
        conversation.respond(&head, Response::new(200, length.to_string()))
    })?;
    let mut seawall = Setup::before(&origin).start()?;
    let before = memory(&mut seawall, "VmRSS")?;
    let length: u64 = 256 << 20;
    let mut client = seawall.connect()?;
    client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"))?;
    let sent = client.send_until_stuck(&[b'x'; 1 << 16], length, MOMENT)?;
    assert!(sent <= KERNELS, "{sent} bytes were taken for a server that reads nothing");
    let after = memory(&mut seawall, "VmRSS")?;
    assert!(after - before <= ROOM, "memory grew from {before} to {after} KiB");
    // It was held back, not lost.
    gate.open();
    for _ in (sent..length).step_by(1 << 16) {
        client.send([b'x'; 1 << 16])?;
    }
    assert_eq!(client.read_response()?.text(), length.to_string());
    Ok(())
}

/// Small events must not wait for larger ones.
#[test]
fn a_piece_is_passed_on_when_it_comes() -> io::Result<()> {
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let at_gates = gates.clone();
    let origin = Origin::scripted(move |conversation| {
        let request = conversation.read_request()?;
        let chunked = request.target == "/chunked";
        conversation.send("HTTP/1.1 200 OK\r\n")?;
        conversation.send(if chunked {
            "transfer-encoding: chunked\r\n\r\n"
        } else {
            "content-length: 10\r\n\r\n"
        })?;
        for gate in &at_gates {
            conversation.wait(gate)?;
            if chunked {
                conversation.send_chunk("ab")?
            } else {
                conversation.send("ab")?
            };
        }
        if chunked { conversation.send("0\r\n\r\n") } else { Ok(()) }
    })?;
    let seawall = Setup::before(&origin).start()?;
    let (mut chunked, mut length) = (seawall.connect()?, seawall.connect()?);
    chunked.send(get("/chunked", ""))?;
    length.send(get("/length", ""))?;
    chunked.read_head()?;
    length.read_head()?;
    for gate in &gates {
        gate.open();
        assert_eq!(chunked.read_exact(7)?, b"2\r\nab\r\n");
        assert_eq!(length.read_exact(2)?, b"ab");
    }
    assert_eq!(chunked.read_exact(5)?, b"0\r\n\r\n");
    Ok(())
}

/// Uploads too: a server may answer each piece.
#[test]
fn a_piece_of_an_upload_is_passed_on_when_it_comes() -> io::Result<()> {
    let origin = Origin::scripted(|conversation| {
        let head = conversation.read_request_head()?;
        let length = conversation.count_body(&head)?;
        conversation.respond(&head, Response::new(200, length.to_string()))
    })?;
    let seawall = Setup::before(&origin).start()?;
    let mut client = seawall.connect()?.with_patience(Duration::from_secs(10))?;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for nth in 0..5usize {
        client.send(format!("5\r\npart{nth}\r\n"))?;
        origin.wait_until(|seen| {
            let part = format!("part{nth}");
            seen.first().is_some_and(|s| String::from_utf8_lossy(&s.received).contains(&part))
        })?;
    }
    client.send("0\r\n\r\n")?;
    assert_eq!(client.read_response()?.text(), "25");
    Ok(())
}

/// The end of the body is known long before the server has taken it.
#[test]
fn the_last_piece_of_an_upload_waits_for_a_server_that_reads_slowly() -> io::Result<()> {
    const LENGTH: usize = 4 << 20;
    let origin = Origin::scripted(|conversation| {
        conversation.socket().set_recv_buffer_size(64 << 10)?;
        loop {
            let head = conversation.read_request_head()?;
            for _ in 0..LENGTH / 4096 {
                conversation.read_exact(4096)?;
            }
            conversation.respond(&head, Response::new(200, "all of it"))?;
        }
    })?;
    let seawall = Setup::before(&origin).route("timeout = \"10s\"").start()?;
    for _ in 0..60 {
        let mut client = seawall.connect()?;
        client
            .send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LENGTH}\r\n\r\n"))?;
        client.send(vec![b'x'; LENGTH])?;
        assert_eq!(client.read_response()?.text(), "all of it");
    }
    Ok(())
}
