//! Parts of what is stored, and objects that are larger than there is memory for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use seawall_testkit::{Origin, RawClient, Response, Seawall};

use super::{ask, caching, content, fresh, is_hit, range_of, status_of};
use crate::setup::get;

pub(super) fn range(seawall: &Seawall, target: &str, range: &str) -> io::Result<Response> {
    ask(seawall, target, &format!("range: bytes={range}\r\n"))
}

#[test]
fn parts_of_a_small_object() -> io::Result<()> {
    let origin = Origin::responding(|_| {
        fresh("0123456789").with("etag", "\"one\"").with("content-type", "text/plain")
    })?;
    let seawall = caching(&origin).start()?;
    for (ask, status, of, expect) in [
        // The first is fetched: the origin is asked for the whole.
        ("2-4", 206, "bytes 2-4/10", "234"),
        ("0-0", 206, "bytes 0-0/10", "0"),
        ("7-", 206, "bytes 7-9/10", "789"),
        ("-3", 206, "bytes 7-9/10", "789"),
        ("-30", 206, "bytes 0-9/10", "0123456789"),
        ("5-100", 206, "bytes 5-9/10", "56789"),
        ("10-", 416, "bytes */10", ""),
        ("-0", 416, "bytes */10", ""),
    ] {
        let response = range(&seawall, "/", ask)?;
        assert_eq!(response.status, status, "{ask}");
        assert_eq!(response.header("content-range"), Some(of), "{ask}");
        assert_eq!(response.text(), expect, "{ask}");
    }
    for malformed in ["4-2", "a-b", "", "--", "1-2-3"] {
        let response = range(&seawall, "/", malformed)?;
        assert_eq!((response.status, response.text().as_str()), (200, "0123456789"), "{malformed}");
    }
    for (field, status) in [
        ("if-range: \"one\"", 206),
        ("if-range: \"two\"", 200),
        ("if-range: W/\"one\"", 200),
        ("if-range: Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ] {
        let response = ask_part(&seawall, field)?;
        assert_eq!(response.status, status, "{field}");
    }
    let several = range(&seawall, "/", "0-1,4-5,-1")?;
    assert_eq!(several.status, 206);
    let kind = several.header("content-type").unwrap_or_default();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap_or_default();
    assert!(!boundary.is_empty(), "{several:?}");
    let text = several.text();
    let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 5, "{text}");
    for (part, (of, expect)) in parts[1..].iter().zip([
        ("bytes 0-1/10", "01"),
        ("bytes 4-5/10", "45"),
        ("bytes 9-9/10", "9"),
    ]) {
        let (head, body) = part.split_once("\r\n\r\n").unwrap_or_default();
        let head = head.to_ascii_lowercase();
        assert!(head.contains(&format!("content-range: {of}")), "{text}");
        assert!(head.contains("content-type: text/plain"), "{text}");
        assert_eq!(body, format!("{expect}\r\n"));
    }
    assert_eq!(parts[4].trim_end(), "--");
    // HEAD knows no parts (RFC 9110 §14.2).
    let mut client = seawall.connect()?;
    client.send("HEAD / HTTP/1.1\r\nhost: test\r\nrange: bytes=0-1\r\n\r\n")?;
    let head = client.read_response_to("HEAD")?;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(origin.requests(), 1);
    Ok(())
}

fn ask_part(seawall: &Seawall, field: &str) -> io::Result<Response> {
    ask(seawall, "/", &format!("range: bytes=0-1\r\n{field}\r\n"))
}

/// How an origin of large content behaves.
#[derive(Default)]
pub(super) struct Behaviour {
    /// It takes no notice of `Range`.
    whole_only: bool,
    /// It says nothing by which one version could be told from another.
    no_validator: bool,
    vary: bool,
    /// It has another version by now.
    changed: AtomicBool,
    pub(super) wholes: AtomicUsize,
    pub(super) parts: AtomicUsize,
}

pub(super) const MIB: usize = 1 << 20;

/// An origin of two versions of large content.
pub(super) fn large(
    behaviour: &Arc<Behaviour>,
    versions: [&Arc<Vec<u8>>; 2],
) -> io::Result<Origin> {
    let behaviour = behaviour.clone();
    let versions = versions.map(Arc::clone);
    Origin::scripted(move |conversation| {
        while let Some(request) = conversation.next_request()? {
            let version = usize::from(behaviour.changed.load(SeqCst));
            let body = &versions[version];
            let tag = format!("\"{version}\"");
            let same = request.header("if-range").is_none_or(|had| had == tag);
            let mut answer = match range_of(&request, body.len()) {
                Some((from, to)) if same && !behaviour.whole_only => {
                    behaviour.parts.fetch_add(1, SeqCst);
                    let of = format!("bytes {from}-{}/{}", to - 1, body.len());
                    Response::new(206, &body[from..to]).with("content-range", &of)
                }
                _ => {
                    behaviour.wholes.fetch_add(1, SeqCst);
                    Response::new(200, &body[..])
                }
            };
            answer = answer.with("cache-control", "max-age=60");
            if !behaviour.no_validator {
                answer = answer.with("etag", &tag);
            }
            if !behaviour.whole_only {
                answer = answer.with("accept-ranges", "bytes");
            }
            if behaviour.vary {
                answer = answer.with("vary", "x-word");
            }
            conversation.respond(&request, answer)?;
        }
        Ok(())
    })
}

/// Where memory is for much less than one of the objects.
fn narrow(origin: &Origin) -> io::Result<Seawall> {
    super::caching_with(origin, "max-object = \"24MiB\"")
        .with("[cache]\nmemory = \"24MiB\"")
        .start()
}

/// Large objects in little memory: chunks that were evicted are fetched again, each by itself.
#[test]
fn chunks_are_fetched_again() -> io::Result<()> {
    let body = Arc::new(content(20 * MIB, 5));
    let behaviour = Arc::new(Behaviour::default());
    let origin = large(&behaviour, [&body, &body])?;
    let seawall = narrow(&origin)?;
    for target in ["/a", "/b", "/c"] {
        assert!(ask(&seawall, target, "")?.body == *body, "the first answer");
    }
    assert_eq!(behaviour.parts.load(SeqCst), 0);
    let ranges = [(0, 10), (5 * MIB - 7, 6 * MIB + 7), (19 * MIB, 20 * MIB), (10 * MIB, 12 * MIB)];
    for target in ["/a", "/b", "/c"] {
        for (from, to) in ranges {
            let response = range(&seawall, target, &format!("{from}-{}", to - 1))?;
            assert_eq!(response.status, 206);
            assert!(is_hit(&response), "{}", status_of(&response));
            assert!(response.body == body[from..to], "{target} {from}-{to}");
        }
    }
    let parts = behaviour.parts.load(SeqCst);
    assert!((1..=21).contains(&parts), "{parts} chunks");
    for target in ["/a", "/b", "/c"] {
        assert!(ask(&seawall, target, "")?.body == *body, "all of it");
    }
    assert_eq!(behaviour.wholes.load(SeqCst), 3, "nothing is fetched whole twice");
    Ok(())
}

/// What cannot be fetched in parts is fetched whole, and nobody is given half of it.
#[test]
fn chunks_that_cannot_be_fetched_again() -> io::Result<()> {
    let body = Arc::new(content(12 * MIB, 6));
    for behaviour in [
        Behaviour { whole_only: true, ..Behaviour::default() },
        Behaviour { no_validator: true, ..Behaviour::default() },
        Behaviour { no_validator: true, vary: true, ..Behaviour::default() },
        Behaviour { whole_only: true, vary: true, ..Behaviour::default() },
    ] {
        let behaviour = Arc::new(behaviour);
        let origin = large(&behaviour, [&body, &body])?;
        let seawall = narrow(&origin)?;
        for target in ["/a", "/b", "/c", "/a", "/b", "/c", "/a", "/a"] {
            let response = ask(&seawall, target, "")?;
            assert!(response.body == *body, "{target}: {}", status_of(&response));
            let part = range(&seawall, target, "1000000-2999999")?;
            // While the one before is still being stored there may be no room, and the origin
            // answers as it likes.
            let expect = if part.status == 206 { &body[1_000_000..3_000_000] } else { &body[..] };
            assert!(part.body == expect, "{target}: {}", status_of(&part));
        }
    }
    Ok(())
}

/// The origin has something else by the time that a chunk is missing: content of two versions is
/// never mixed, and whoever asks next gets what there is now.
#[test]
fn chunks_of_another_version() -> io::Result<()> {
    for vary in [false, true] {
        let versions = [Arc::new(content(20 * MIB, 7)), Arc::new(content(20 * MIB, 8))];
        let behaviour = Arc::new(Behaviour { vary, ..Behaviour::default() });
        let origin = large(&behaviour, [&versions[0], &versions[1]])?;
        let seawall = narrow(&origin)?;
        assert!(ask(&seawall, "/", "")?.body == *versions[0]);
        for target in ["/a", "/b", "/c", "/a", "/b", "/c"] {
            assert!(ask(&seawall, target, "")?.body == *versions[0]);
        }
        behaviour.changed.store(true, SeqCst);
        let mut client = seawall.connect()?;
        client.send(get("/", ""))?;
        let head = client.read_head()?;
        assert_eq!(head.status, 200);
        let version = if head.header("etag") == Some("\"0\"") { 0 } else { 1 };
        let got = read_while_it_lasts(&mut client, 20 * MIB);
        assert!(versions[version].starts_with(&got), "{} bytes are not of one version", got.len());
        let next = ask(&seawall, "/", "")?;
        assert_eq!(next.header("etag"), Some("\"1\""), "vary: {vary}");
        assert!(next.body == *versions[1]);
    }
    Ok(())
}

/// At most so many bytes, until the connection ends.
pub(super) fn read_while_it_lasts(client: &mut RawClient, most: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < most {
        match client.read_some() {
            Ok(bytes) if !bytes.is_empty() => got.extend(bytes),
            _ => break,
        }
    }
    got
}

/// Whoever reads a large answer more slowly than others gets all of it, too, though it does not fit
/// the memory.
#[test]
fn slow_readers_of_large_answers() -> io::Result<()> {
    let body = Arc::new(content(20 * MIB, 9));
    let behaviour = Arc::new(Behaviour::default());
    let origin = large(&behaviour, [&body, &body])?;
    let seawall = narrow(&origin)?;
    let mut slow = RawClient::connect_with_receive_buffer(seawall.address("web"), 4096)?;
    slow.send(get("/", ""))?;
    assert_eq!(slow.read_head()?.status, 200);
    assert!(ask(&seawall, "/", "")?.body == *body, "the fast one");
    let got = read_while_it_lasts(&mut slow, body.len());
    assert!(got == *body, "the slow one got {} bytes", got.len());
    assert_eq!(behaviour.wholes.load(SeqCst), 1);
    Ok(())
}

/// The same of answers whose length nobody knows, and that turn out too large to be kept.
#[test]
fn slow_readers_of_streams() -> io::Result<()> {
    let body = Arc::new(content(48 * MIB, 10));
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
    let seawall = caching(&origin).with("[cache]\nmemory = \"16MiB\"").start()?;
    let mut slow = RawClient::connect_with_receive_buffer(seawall.address("web"), 4096)?;
    slow.send(get("/", ""))?;
    let head = slow.read_head()?;
    std::thread::scope(|scope| {
        let fast = scope.spawn(|| ask(&seawall, "/", ""));
        let mut length = 0;
        // It reads at its own pace, but it reads.
        let counted = slow.count_body(&head)?;
        length += counted;
        assert_eq!(length, body.len() as u64);
        assert!(fast.join().expect("no panic")?.body == *body);
        io::Result::Ok(())
    })
}
