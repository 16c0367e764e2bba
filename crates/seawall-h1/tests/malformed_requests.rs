//! Requests as attackers, broken clients and picky ones send them, each delivered whole, one byte
//! at a time and in every way to cut it in two, always with the same outcome.
//!
//! An accepted request is written as `METHOD path?query @authority`, then what is not usual about
//! it: its body in quotes, its trailers in brackets, and what was left of the input behind `+`.

#[path = "malformed_requests/framing.rs"]
mod framing;
#[path = "parts/reader.rs"]
#[allow(dead_code, reason = "shared with tests that look at more of it")]
mod reader;
#[path = "parts/splits.rs"]
mod splits;
#[path = "malformed_requests/targets.rs"]
mod targets;

use BadMessage::*;
use seawall_h1::{BadMessage, BodyLength, HeadLimits, Version};

const LIMITS: HeadLimits = HeadLimits { bytes: 512, headers: 8 };

type Expect<'a> = Result<&'a str, BadMessage>;

#[track_caller]
fn check(input: impl AsRef<[u8]>, expect: Expect<'_>) {
    check_codes(input.as_ref(), expect, false);
}

/// As [`check`], where which code a refusal has depends on how much had arrived when it was made:
/// what cannot become a message is refused at its first wrong byte, when it is not known yet
/// whether an LF follows a CR or a colon a space. That it is refused, and with which status, does
/// not depend on it.
#[track_caller]
fn check_class(input: impl AsRef<[u8]>, expect: Expect<'_>) {
    check_codes(input.as_ref(), expect, true);
}

#[track_caller]
fn check_codes(input: &[u8], expect: Expect<'_>, code_may_differ: bool) {
    let found = splits::same_in_every_split(input, code_may_differ, |input, cuts| {
        reader::request(input, cuts.iter().copied(), LIMITS)
    });
    let found = found.map(|request| shown(&request, input.len()));
    assert_eq!(found.as_deref(), expect.as_ref().copied(), "{}", input.escape_ascii());
}

fn shown(request: &reader::Request, length: usize) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut shown = format!(
        "{} {}{} @{}",
        text(&request.method),
        text(&request.path),
        text(&request.query),
        text(&request.authority)
    );
    if request.version == Version::Http10 {
        shown += " 1.0";
    }
    if request.framing != BodyLength::Empty {
        shown += &format!(" \"{}\"", text(&request.body.content));
    }
    for (name, value) in &request.body.trailers {
        shown += &format!(" [{}={}]", text(name), text(value));
    }
    if request.body.taken != length {
        shown += &format!(" +{}", length - request.body.taken);
    }
    shown
}

/// A POST with these fields, its framing among them, and this behind the head.
fn post(fields: &str, rest: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{rest}").into_bytes()
}

/// A GET of this target.
fn target(target: &str) -> Vec<u8> {
    [b"GET ", target.as_bytes(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat()
}

#[test]
fn plain_requests_are_accepted() {
    for (input, expect) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / @a"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "GET / @a +3"),
        ("GET /b?c=d&e HTTP/1.1\r\nhOST:a:80\r\n\r\n", "GET /b?c=d&e @a:80"),
        ("GET / HTTP/1.0\r\n\r\n", "GET / @ 1.0"),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / @a 1.0"),
        ("HEAD / HTTP/1.1\r\nHost:\t a \t\r\n\r\n", "HEAD / @a"),
        ("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH / @a"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t \r\nZ: \x7e\u{e9}\r\n\r\n", "GET / @a"),
        ("GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~9: token\r\n\r\n", "GET / @a"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * @a"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST / @a \"\""),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcde", "PUT / @a \"abc\" +2"),
    ] {
        check(input, Ok(expect));
    }
}

#[test]
fn lines_end_in_crlf_and_nothing_else() {
    for (input, expect) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLf),
        ("GET / HTTP/1.1\nHost: a\n\n", BareLf),
        ("GET / HTTP/1.0\n\n", BareLf),
        ("GET / HTTP/1.0\r\n\n", BareLf),
        ("GET / HTTP/1.0\n\r\n", BareLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nX:\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nX: y\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\n\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost:\ra\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", BareCr),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareCr),
        ("\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\rX\r\nBad Name: y\r\nHost: a\r\n\r\n", BareCr),
    ] {
        check(input, Err(expect));
    }
    // A CR in method, target or name is refused as soon as it is seen.
    for input in [
        "GE\rT / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / \rHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r: y\r\n\r\n",
    ] {
        check_class(input, Err(BareCr));
    }
}

#[test]
fn empty_lines_before_a_request_are_few() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for lines in 0..=4 {
        check(format!("{}{get}", "\r\n".repeat(lines)), Ok("GET / @a"));
    }
    check(format!("{}{get}", "\r\n".repeat(5)), Err(RequestLine));
    check("\r\n", Err(Truncated));
    check("\r", Err(Truncated));
    check("\r\n\r", Err(Truncated));
}

#[test]
fn fields_are_not_folded_and_nothing_stands_before_them() {
    for (fields, expect) in [
        ("X: a\r\n b\r\n", Folded),
        ("X: a\r\n\tb\r\n", Folded),
        ("X:\r\n b\r\n", Folded),
        ("X: a\r\n \r\n", Folded),
        ("X: a\r\n Content-Length: 5\r\n", Folded),
        ("X : a\r\n", SpaceBeforeColon),
        ("X\t: a\r\n", SpaceBeforeColon),
        ("Content-Length : 5\r\n", SpaceBeforeColon),
        ("Host : b\r\n", SpaceBeforeColon),
        (": a\r\n", FieldName),
        (":\r\n", FieldName),
        ("X\r\n", FieldName),
        ("X Y: a\r\n", FieldName),
        ("X\u{e9}: a\r\n", FieldName),
        ("(X): a\r\n", FieldName),
        ("X@: a\r\n", FieldName),
        ("X/: a\r\n", FieldName),
        ("{X}: a\r\n", FieldName),
        ("X,Y: a\r\n", FieldName),
        ("X\u{1}: a\r\n", FieldName),
        ("X\u{7f}: a\r\n", FieldName),
        ("X\\: a\r\n", FieldName),
    ] {
        check_class(post(fields, ""), Err(expect));
        // And as the very first field, where a parser may take it for part of the request line.
        let first = format!("POST / HTTP/1.1\r\n{fields}Host: a\r\n\r\n");
        check_class(first, Err(expect));
    }
}

#[test]
fn values_have_no_control_bytes() {
    for byte in (0..=0x1f).chain([0x7f]) {
        for place in [
            "X: #\r\n",
            "X: a#b\r\n",
            "X: a#\r\n",
            "X:#\r\n",
            "X: a longer value, past eight bytes, past sixteen#: b\r\n",
        ] {
            let fields: Vec<u8> = place.bytes().map(|b| if b == b'#' { byte } else { b }).collect();
            let head = [b"GET / HTTP/1.1\r\nHost: a\r\n", &fields[..], b"\r\n"].concat();
            match byte {
                b'\t' => check(head, Ok("GET / @a")),
                b'\r' => check(head, Err(BareCr)),
                // What stands behind the LF is a line that is no field.
                b'\n' if place.contains("#b") => check(head, Err(FieldName)),
                b'\n' if place.contains(": b") => check(head, Err(FieldName)),
                b'\n' => check(head, Err(BareLf)),
                _ => check(head, Err(FieldValue)),
            }
        }
    }
    for byte in 0x80..=0xff {
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &[byte][..], b"\r\n\r\n"].concat();
        check(head, Ok("GET / @a"));
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let filled = |length: usize| format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4));
    check(filled(LIMITS.bytes), Ok("GET / @a"));
    check(format!("{}{}", filled(LIMITS.bytes), "GET"), Ok("GET / @a +3"));
    check(format!("\r\n{}", filled(LIMITS.bytes)), Ok("GET / @a"));
    check(filled(LIMITS.bytes + 1), Err(HeadTooLarge));
    check(filled(4 * LIMITS.bytes), Err(HeadTooLarge));

    let around = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".len();
    let path = "p".repeat(LIMITS.bytes - around);
    check(target(&format!("/{path}")), Ok(&format!("GET /{path} @a")));
    check(target(&format!("/{path}p")), Err(HeadTooLarge));
    check(target(&format!("/{}", "p".repeat(LIMITS.bytes))), Err(TargetTooLong));
    check("A".repeat(LIMITS.bytes), Err(Truncated));
    check("A".repeat(LIMITS.bytes + 1), Err(TargetTooLong));

    let many = |number: usize| post(&"X: y\r\n".repeat(number - 1), "");
    check(many(LIMITS.headers), Ok("POST / @a"));
    check(many(LIMITS.headers + 1), Err(TooManyHeaders));
    // How many there are too many is seen only when they are parsed; the byte limit may be first.
    check(many(LIMITS.headers + 40), Err(TooManyHeaders));

    let trailers =
        |fields: &str| post("Transfer-Encoding: chunked\r\n", &format!("0\r\n{fields}\r\n"));
    let eight = "X: y\r\n".repeat(LIMITS.headers);
    check(trailers(&eight), Ok(&format!("POST / @a \"\"{}", " [X=y]".repeat(LIMITS.headers))));
    check(trailers(&format!("{eight}X: y\r\n")), Err(TrailerTooLarge));
    let long = "y".repeat(LIMITS.bytes - "X: \r\n\r\n".len());
    check(trailers(&format!("X: {long}\r\n")), Ok(&format!("POST / @a \"\" [X={long}]")));
    check(trailers(&format!("X: {long}y\r\n")), Err(TrailerTooLarge));

    let extension = |length: usize| {
        post("Transfer-Encoding: chunked\r\n", &format!("0;{}\r\n\r\n", "x".repeat(length)))
    };
    let read = |input: &[u8], step| {
        let found = reader::request(input, (0..input.len()).step_by(step), LIMITS);
        found.map(|request| shown(&request, input.len()))
    };
    // Too long to be cut in every place.
    for step in [1, 7, 64, 100_000] {
        assert_eq!(read(&extension(16 * 1024), step).as_deref(), Ok("POST / @a \"\""), "{step}");
        assert_eq!(read(&extension(16 * 1024 + 1), step), Err(ChunkExtension), "{step}");
    }
}

#[test]
fn the_connection_is_kept_only_when_both_want_it() {
    for (head, keeps, upgrade) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", false, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true, None),
        ("GET / HTTP/1.0\r\n\r\n", false, None),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, None),
        ("GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", false, None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            true,
            Some("websocket"),
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nUpgrade: websocket\r\n\r\n", true, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", true, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", true, None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, H2C\r\n\r\n",
            true,
            None,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n",
            true,
            None,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
            true,
            None,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n", true, None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n",
            true,
            None,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 1\r\n\r\nx",
            true,
            None,
        ),
        ("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", false, None),
    ] {
        let found = splits::same_in_every_split(head.as_bytes(), false, |input, cuts| {
            reader::request(input, cuts.iter().copied(), LIMITS)
        });
        let found = found.expect("a good request");
        let upgrade = upgrade.map(|name| name.as_bytes().to_vec());
        assert_eq!((found.keeps_alive, found.upgrade), (keeps, upgrade), "{head}");
    }
}

#[test]
fn expectations_are_known_or_refused_as_a_whole() {
    for (fields, expect) in [
        ("", (false, false)),
        ("Expect: 100-continue\r\n", (true, false)),
        ("expect: 100-Continue\r\n", (true, false)),
        ("Expect: x\r\n", (false, true)),
        ("Expect:\r\n", (false, true)),
        ("Expect: 100-continue, x\r\n", (false, true)),
        ("Expect: x 100-continue\r\n", (false, true)),
        ("Expect: 100-continue\r\nExpect: x\r\n", (false, true)),
        ("Expect: x\r\nExpect: 100-continue\r\n", (false, true)),
        ("Expect: 100-continue\r\nExpect: 100-continue\r\n", (true, false)),
    ] {
        let found = reader::request(&post(fields, ""), [], LIMITS).expect("a good request");
        assert_eq!(found.expects, expect, "{fields}");
    }
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n";
    let found = reader::request(old, [], LIMITS).expect("a good request");
    assert_eq!(found.expects, (false, false), "HTTP/1.0 knows no interim answers");
}

#[test]
fn what_follows_a_request_is_the_next_one() {
    let input = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET \
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\nX: y\r\n\r\n\
        \r\nGET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
        GET /5 HTTP/1.1\r\nHost: a\r\n\r\n";
    let (found, bad) = reader::requests(input, LIMITS);
    let paths: Vec<_> =
        found.iter().map(|request| request.path.escape_ascii().to_string()).collect();
    assert_eq!((paths, bad), (["/1", "/2", "/3", "/4"].map(String::from).to_vec(), None));
}
