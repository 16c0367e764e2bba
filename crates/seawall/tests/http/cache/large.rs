//! Large objects of which most is on disk, from where they are sent without a copy.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use seawall_testkit::{Origin, RawClient, Seawall};

use super::ranges::{Behaviour, MIB, large, range, read_while_it_lasts};
use super::{ask, caching_with, content, fresh, is_hit, status_of};
use crate::setup::{Setup, eventually, get};

/// Little memory, and a disk of so many mebibytes.
fn on_disk(origin: &Origin, directory: &Path, mebibytes: usize) -> Setup {
    let disk = format!("disk = {{ path = {directory:?}, size = \"{mebibytes}MiB\" }}");
    caching_with(origin, "max-object = \"64MiB\", purge = [\"127.0.0.1\"]")
        .with(&format!("[cache]\nmemory = \"16MiB\"\n{disk}"))
}

/// Everything about an object that is on disk.
fn check(seawall: &Seawall, body: &[u8]) -> io::Result<()> {
    let whole = ask(seawall, "/", "")?;
    assert!(is_hit(&whole) && whole.body == body, "{}", status_of(&whole));
    let length = body.len();
    let ranges = [
        (0, 1),
        (MIB - 1, MIB + 1),
        (5 * MIB, 6 * MIB),
        (3 * MIB + 100, 3 * MIB + 20_000),
        (3 * MIB + 100, 3 * MIB + 200_000),
        (7 * MIB - 40_000, 9 * MIB + 40_000),
        (length - 3, length),
        (1, length - 1),
    ];
    for (from, to) in ranges {
        let part = range(seawall, "/", &format!("{from}-{}", to - 1))?;
        assert_eq!(part.status, 206);
        assert!(is_hit(&part) && part.body == body[from..to], "{from} to {to}");
    }
    let several = range(seawall, "/", "10-19,2000000-2999999,4000000-4999999")?;
    let has = |from: usize, to: usize| {
        several.body.windows(to - from).any(|window| window == &body[from..to])
    };
    assert!(several.status == 206 && has(10, 20) && has(2_000_000, 3_000_000));
    assert!(has(4_000_000, 5_000_000));
    // One connection for several, and something small behind them.
    let mut client = seawall.connect()?;
    for _ in 0..3 {
        assert!(client.exchange(get("/", ""))?.body == body);
        let part = client.exchange(get("/", "range: bytes=4194300-4194309\r\n"))?;
        assert!(part.body == body[4_194_300..4_194_310]);
    }
    Ok(())
}

#[test]
fn what_is_on_disk_is_sent_as_it_was_fetched_also_after_a_restart() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let body = Arc::new(content(30 * MIB + 12_345, 21));
    let behaviour = Arc::new(Behaviour::default());
    let origin = large(&behaviour, [&body, &body])?;
    let setup = on_disk(&origin, directory.path(), 128);
    let mut seawall = setup.start()?;
    assert!(ask(&seawall, "/", "")?.body == *body);
    check(&seawall, &body)?;
    seawall.terminate()?;
    seawall.wait()?;
    let seawall = setup.start()?;
    eventually("the disk to be read", || {
        let cached = range(&seawall, "/", "0-0\r\ncache-control: only-if-cached")?;
        Ok(cached.status == 206)
    })?;
    check(&seawall, &body)?;
    assert_eq!((behaviour.wholes.load(SeqCst), behaviour.parts.load(SeqCst)), (1, 0));
    Ok(())
}

/// A client reads so slowly that what it is being sent is purged, and overwritten, before it has it.
#[test]
fn a_slow_reader_gets_what_has_been_purged_and_overwritten_meanwhile() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let body = Arc::new(content(20 * MIB, 22));
    let behaviour = Arc::new(Behaviour::default());
    let origin = large(&behaviour, [&body, &body])?;
    let seawall = on_disk(&origin, directory.path(), 64).start()?;
    for _ in 0..2 {
        assert!(ask(&seawall, "/", "")?.body == *body);
    }
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut client = RawClient::connect_with_receive_buffer(seawall.address("web"), 4096)?;
        client.send(get("/", ""))?;
        assert_eq!(client.read_head()?.status, 200);
        slow.push((client, Vec::new()));
    }
    // Some are further than others.
    for (some, (client, got)) in slow.iter_mut().enumerate() {
        got.extend(client.read_exact(some * 3 * MIB + 1)?);
    }
    let purged = seawall.connect()?.exchange(get("/", "").replace("GET", "PURGE"))?;
    assert_eq!(purged.status, 200);
    for other in 0..8 {
        assert!(ask(&seawall, &format!("/{other}"), "")?.body == *body);
    }
    for (mut client, mut got) in slow {
        let rest = body.len() - got.len();
        got.extend(read_while_it_lasts(&mut client, rest));
        // What is on disk no longer is fetched again, of the same version.
        assert!(got == *body, "{} bytes, or others", got.len());
    }
    Ok(())
}

/// What cannot be fetched again ends when it is gone, and is never something else.
#[test]
fn a_slow_reader_of_what_cannot_be_fetched_again_gets_nothing_wrong() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let body = Arc::new(content(20 * MIB, 23));
    let other = Arc::new(content(20 * MIB, 24));
    let origin = Origin::responding({
        let (body, other) = (body.clone(), other.clone());
        move |request| fresh(if request.target == "/" { &body[..] } else { &other[..] })
    })?;
    let seawall = on_disk(&origin, directory.path(), 64).start()?;
    for _ in 0..2 {
        assert!(ask(&seawall, "/", "")?.body == *body);
    }
    let mut slow = RawClient::connect_with_receive_buffer(seawall.address("web"), 4096)?;
    slow.send(get("/", ""))?;
    assert_eq!(slow.read_head()?.status, 200);
    for number in 0..8 {
        assert!(ask(&seawall, &format!("/{number}"), "")?.body == *other);
    }
    let got = read_while_it_lasts(&mut slow, body.len());
    assert!(got.len() > 60_000 && body.starts_with(&got), "{} bytes", got.len());
    Ok(())
}

/// Who falls behind a stream reads on from disk, in the framing of that stream.
#[test]
fn a_slow_reader_of_a_stream_reads_on_from_disk() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let body = Arc::new(content(40 * MIB, 25));
    let origin = Origin::scripted({
        let body = body.clone();
        move |conversation| {
            conversation.read_request()?;
            conversation.send("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n")?;
            for piece in body.chunks(256 << 10) {
                conversation.send_chunk(piece)?;
            }
            conversation.send("0\r\n\r\n")?;
            conversation.hang()
        }
    })?;
    let seawall = on_disk(&origin, directory.path(), 128).start()?;
    let mut slow = RawClient::connect_with_receive_buffer(seawall.address("web"), 4096)?;
    slow.send(get("/", ""))?;
    assert!(ask(&seawall, "/", "")?.body == *body, "the fast one");
    assert!(slow.read_response()?.body == *body, "the slow one");
    assert_eq!(origin.requests(), 1);
    Ok(())
}
