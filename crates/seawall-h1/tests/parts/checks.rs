//! What must hold for any input whatsoever. Called with random input by `tests/oracles.rs`, and with
//! input that libFuzzer looks for by the targets of the `fuzz` crate.
//!
//! A check returns when all is well and panics when it is not; whether the input was a good message
//! is not its business.

use std::fmt::Debug;

use seawall_h1::head::TargetForm;
use seawall_h1::{
    BadMessage, BodyLength, HeadLimits, Headers, Known, Method, Version, encode, target,
};

use crate::reader::{self, Body, FieldText, Request, Response};

const LIMITS: HeadLimits = HeadLimits { bytes: 2048, headers: 24 };

/// What is written again may be longer: a path in normal form, a `Host` that was not there.
const WIDE: HeadLimits = HeadLimits { bytes: 16 * 1024, headers: 100 };

/// A request is read in the same way however it is split, and what the door would forward of it is
/// one request and the same one.
pub(crate) fn request(input: &[u8]) {
    let read = |input: &[u8], cuts: &[usize]| reader::request(input, cuts.iter().copied(), LIMITS);
    let Ok(request) = same_however_split(input, read) else { return };
    if request.form != TargetForm::Authority && request.path != b"*" {
        assert_normal(&request.path);
    }
    let forwarded = forward_request(&request);
    assert_head_is_clean(&forwarded);
    let again = reader::request(&forwarded, [], WIDE).unwrap_or_else(|bad| {
        panic!("{bad}\n {}\n {}", input.escape_ascii(), forwarded.escape_ascii())
    });
    assert_eq!(again.body.taken, forwarded.len(), "more is forwarded than one request");
    // Host, version and form are what the door writes anew.
    let mut expect = Request {
        version: Version::Http11,
        form: again.form,
        keeps_alive: again.keeps_alive,
        expects: again.expects,
        upgrade: again.upgrade.clone(),
        ..request
    };
    if expect.authority.is_empty() {
        expect.authority = b"unnamed".to_vec();
    }
    expect.fields.retain(|(name, _)| !is_written_anew(name));
    expect.body.taken = forwarded.len();
    let mut found = again;
    found.fields.retain(|(name, _)| !is_written_anew(name));
    assert_eq!(found, expect, "{}", forwarded.escape_ascii());
}

/// As [`request`], for the answer to a request with each of the methods that matter.
pub(crate) fn response(input: &[u8]) {
    for method in [Method::Get, Method::Head] {
        let read = |input: &[u8], cuts: &[usize]| {
            reader::response(input, cuts.iter().copied(), method, LIMITS)
        };
        let Ok(response) = same_however_split(input, read) else { continue };
        assert!((100..1000).contains(&response.status));
        let forwarded = forward_response(&response);
        assert_head_is_clean(&forwarded);
        let again = reader::response(&forwarded, [], method, WIDE).unwrap_or_else(|bad| {
            panic!("{bad}\n {}\n {}", input.escape_ascii(), forwarded.escape_ascii())
        });
        assert_eq!(again.body.taken, forwarded.len(), "more is forwarded than one answer");
        let mut expect = Response {
            version: Version::Http11,
            keeps_alive: again.keeps_alive,
            content_length: again.content_length,
            ..response
        };
        if expect.reason.is_empty() {
            expect.reason = encode::reason(expect.status).as_bytes().to_vec();
        }
        expect.fields.retain(|(name, _)| !is_written_anew(name));
        expect.body.taken = forwarded.len();
        let mut found = again;
        found.fields.retain(|(name, _)| !is_written_anew(name));
        assert_eq!(found, expect, "{}", forwarded.escape_ascii());
    }
}

/// A chunked body is read in the same way however it is split, refusals and their reasons included;
/// written again, in chunks of any size, it is the same body.
pub(crate) fn chunked(input: &[u8]) {
    let read = |input: &[u8], cuts: &[usize]| reader::chunked(input, cuts.iter().copied(), LIMITS);
    let whole = read(input, &[]);
    for cuts in cuts(input) {
        assert_eq!(read(input, &cuts), whole, "{} {cuts:?}", input.escape_ascii());
    }
    let Ok(body) = whole else { return };
    assert!(body.content.len() < body.taken && body.taken <= input.len());
    for size in [1, 2, 15, 16, 17, usize::MAX] {
        let mut written = Vec::new();
        write_chunks(&body, size, &mut written);
        let again = read(&written, &[]).unwrap_or_else(|bad| {
            panic!("{bad}\n {}\n {}", input.escape_ascii(), written.escape_ascii())
        });
        assert_eq!(again, Body { taken: written.len(), ..body.clone() });
    }
}

/// The normal form of a path is a fixed point without dot segments, and no server, whatever it does
/// with separators and parameters, is led by it to a place of which no reading tells.
pub(crate) fn path(input: &[u8]) {
    let path = [b"/", input].concat();
    let Ok(normal) = target::normalise(&path) else { return };
    let Some(normal) = normal else {
        assert_normal(&path);
        assert!(!can_be_read_otherwise(&path), "{}", path.escape_ascii());
        return;
    };
    assert_normal(&normal.path);
    let readings = [normal.other_reading.as_deref(), normal.third_reading.as_deref()];
    assert_eq!(readings[0].is_some(), can_be_read_otherwise(&normal.path));
    match target::normalise(&normal.path) {
        Ok(None) => assert_eq!(readings, [None, None]),
        Ok(Some(again)) => assert_eq!(again, normal, "{}", path.escape_ascii()),
        Err(bad) => panic!("{bad}: {}", normal.path.escape_ascii()),
    }
    for reading in readings.into_iter().flatten() {
        assert!(!has_dot_segments(reading), "{}", reading.escape_ascii());
    }
    let mut mixed = hash(input);
    for _ in 0..64 {
        let mut reading = normal.path.clone();
        for at in 0..8 {
            if let Some(step) = SERVER_STEPS.get((mixed >> (8 * at) & 7) as usize) {
                reading = step(&reading);
            }
        }
        mixed = hash(&mixed.to_le_bytes());
        assert_led_nowhere_else(&normal.path, readings, &reading);
    }
}

/// Something a server does to a path before it looks what the path names.
type ServerStep = fn(&[u8]) -> Vec<u8>;

/// What servers do, each in an order of its own, some of it twice.
const SERVER_STEPS: [ServerStep; 7] = [
    |path| replace(path, b"%2F", b"/"),
    |path| replace(&replace(path, b"%5C", b"\\"), b"\\", b"/"),
    |path| replace(path, b"%3B", b";"),
    |path| replace(path, b"%2B", b"+"),
    |path| {
        let name = |segment: &[u8]| {
            segment.split(|&b| b == b';').next().map(<[u8]>::to_vec).unwrap_or_default()
        };
        path.split(|&b| b == b'/').map(name).collect::<Vec<_>>().join(&b'/')
    },
    |path| {
        let mut path = path.to_vec();
        path.dedup_by(|b, a| *a == b'/' && *b == b'/');
        path
    },
    |path| {
        let mut out: Vec<&[u8]> = Vec::new();
        let mut segments = path[1..].split(|&b| b == b'/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                b"." => {}
                b".." => drop(out.pop()),
                _ => out.push(segment),
            }
            if matches!(segment, b"." | b"..") && segments.peek().is_none() {
                out.push(b"");
            }
        }
        [b"/", &out.join(&b'/')[..]].concat()
    },
];

/// A rule names plain segments: a whole path of them, or the first few of one. Such a rule holds for
/// a server's reading only if it holds for a reading that is checked; and one that holds for what is
/// forwarded holds for the server's.
fn assert_led_nowhere_else(normal: &[u8], readings: [Option<&[u8]>; 2], reading: &[u8]) {
    let plain = |path: &[u8]| -> Vec<Vec<u8>> {
        let special = |segment: &&[u8]| {
            segment.is_empty() || can_be_read_otherwise(&[b"/", *segment].concat())
        };
        let segments: Vec<&[u8]> = path[1..].split(|&b| b == b'/').collect();
        let (last, parts) = segments.split_last().expect("split gives at least one");
        let mut plain: Vec<_> = parts.iter().take_while(|part| !special(part)).collect();
        if plain.len() == parts.len() && (last.is_empty() || !special(last)) {
            plain.push(last);
        }
        plain.into_iter().map(|segment| segment.to_vec()).collect()
    };
    let checked = || readings.into_iter().flatten().chain([normal]).map(plain);
    let (led, forwarded) = (plain(reading), plain(normal));
    // A whole plain path ends its list with its last segment, and so does the reading it must be.
    let whole = led.len() == reading.split(|&b| b == b'/').count() - 1;
    let told = checked().any(|told| if whole { told == led } else { told.starts_with(&led) });
    assert!(
        told && led.starts_with(&forwarded),
        "{} is read as {}, not as any of {readings:?}",
        normal.escape_ascii(),
        reading.escape_ascii()
    );
}

fn can_be_read_otherwise(path: &[u8]) -> bool {
    [&b"//"[..], b"\\", b";", b"%2F", b"%5C", b"%3B", b"%2B"]
        .iter()
        .any(|what| path.windows(what.len()).any(|part| part == *what))
}

fn has_dot_segments(path: &[u8]) -> bool {
    path.split(|&b| b == b'/').any(|segment| matches!(segment, b"." | b".."))
}

fn assert_normal(path: &[u8]) {
    assert_eq!(path.first(), Some(&b'/'));
    assert!(!has_dot_segments(path), "{}", path.escape_ascii());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        let printable = (0x21..0x7f).contains(byte);
        assert!(printable && !b"\"<>".contains(byte), "{}", path.escape_ascii());
        if *byte == b'%' {
            let hex = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
            assert!(tail.len() >= 2 && tail[..2].iter().all(hex), "{}", path.escape_ascii());
        }
        rest = tail;
    }
}

fn replace(path: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(byte) = rest.first() {
        let found = rest.starts_with(what);
        out.extend_from_slice(if found { by } else { std::slice::from_ref(byte) });
        rest = &rest[if found { what.len() } else { 1 }..];
    }
    out
}

/// The request as the door forwards it: what RFC 9112 has an intermediary write anew is written
/// anew, the rest is copied.
fn forward_request(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    encode::request_line(&request.method, &request.path, &request.query, &mut out);
    let named = !request.authority.is_empty();
    encode::field(b"Host", if named { &request.authority } else { b"unnamed" }, &mut out);
    forward_rest(&request.fields, request.framing, &request.body, &mut out);
    out
}

fn forward_response(response: &Response) -> Vec<u8> {
    let mut out = Vec::new();
    encode::status_line(response.status, &response.reason, &mut out);
    forward_rest(&response.fields, response.framing, &response.body, &mut out);
    out
}

fn forward_rest(fields: &[FieldText], framing: BodyLength, body: &Body, out: &mut Vec<u8>) {
    let mut list = Headers::new();
    for (name, value) in fields {
        list.push(name, value);
    }
    list.write(|field| !is_written_anew(field.name), out);
    match framing {
        BodyLength::Empty | BodyLength::UntilClose => {}
        BodyLength::Length(length) => encode::content_length(length, out),
        BodyLength::Chunked => encode::field(b"Transfer-Encoding", b"chunked", out),
    }
    out.extend_from_slice(b"\r\n");
    match framing {
        BodyLength::Chunked => write_chunks(body, 7, out),
        _ => out.extend_from_slice(&body.content),
    }
}

fn is_written_anew(name: &[u8]) -> bool {
    matches!(Known::of(name), Known::Host | Known::ContentLength | Known::TransferEncoding)
}

fn write_chunks(body: &Body, size: usize, out: &mut Vec<u8>) {
    for chunk in body.content.chunks(size) {
        encode::chunk_size(chunk.len(), out);
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    let mut trailers = Headers::new();
    for (name, value) in &body.trailers {
        trailers.push(name, value);
    }
    encode::last_chunk(Some(&trailers), out);
}

/// No server can disagree about the lines of this head: each ends in CRLF, none begins with white
/// space, all but the first are a token, a colon and text, and the first has its three words.
fn assert_head_is_clean(message: &[u8]) {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends");
    for (at, line) in message[..end].split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = line.escape_ascii();
        assert!(line.iter().all(|&b| b == b'\t' || b >= b' ' && b != 0x7f), "{shown}");
        if at == 0 {
            let is_answer = line.starts_with(b"HTTP/1.1 ");
            assert!(is_answer || line.split(|&b| b == b' ').count() == 3, "{shown}");
            continue;
        }
        let colon = line.iter().position(|&b| b == b':').expect("a field has a colon");
        assert!(seawall_h1::headers::is_field_name(&line[..colon]), "{shown}");
    }
    assert_eq!(
        message[..end].iter().filter(|&&b| b == b'\r').count(),
        message[..end].iter().filter(|&&b| b == b'\n').count(),
    );
}

/// Asserts that a message is accepted, with what it says, or refused in every split.
fn same_however_split<T: Debug + PartialEq>(
    input: &[u8],
    read: impl Fn(&[u8], &[usize]) -> Result<T, BadMessage>,
) -> Result<T, BadMessage> {
    let whole = read(input, &[]);
    for cuts in cuts(input) {
        let found = read(input, &cuts);
        let same = match (&whole, &found) {
            (Err(BadMessage::Truncated), Err(found)) => *found == BadMessage::Truncated,
            // Not looked at again yet. It is refused when the end of the head is there at the
            // latest.
            (Err(_), Err(BadMessage::Truncated)) => {
                let ended = [input, b"\r\n\r\n"].concat();
                read(&ended, &cuts).is_err_and(|bad| bad != BadMessage::Truncated)
            }
            // The reason may be another one: a limit may be reached before a fault is seen, and
            // what follows a fault may not be there yet.
            (Err(_), Err(_)) => true,
            (whole, found) => whole == found,
        };
        assert!(same, "{}\n {cuts:?}: {found:?}\n whole: {whole:?}", input.escape_ascii());
    }
    whole
}

/// By bytes, in two, and in several places that depend on the input.
fn cuts(input: &[u8]) -> Vec<Vec<usize>> {
    let mut random = hash(input);
    let mut cuts = vec![(1..input.len()).collect::<Vec<_>>()];
    for number in [1, 1, 1, 2, 3, 8] {
        let mut some: Vec<usize> = Vec::new();
        for _ in 0..number {
            random = hash(&random.to_le_bytes());
            some.push((random % (input.len() as u64 + 1)) as usize);
        }
        some.sort_unstable();
        cuts.push(some);
    }
    cuts
}

/// FNV-1a: any mixture does that is the same on each run.
fn hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
