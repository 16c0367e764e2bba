//! Answers as broken and hostile upstreams send them, each delivered whole, one byte at a time and
//! in every way to cut it in two, always with the same outcome.
//!
//! An accepted answer is written as its status and reason, then what is not usual about it: its
//! body in quotes, its trailers in brackets, `close` where the connection is of no use after it,
//! and what was left of the input behind `+`.

#[path = "parts/reader.rs"]
#[allow(dead_code, reason = "shared with tests that look at more of it")]
mod reader;
#[path = "parts/splits.rs"]
mod splits;

use BadMessage::*;
use seawall_h1::{BadMessage, BodyLength, HeadLimits, Method};

const LIMITS: HeadLimits = HeadLimits { bytes: 512, headers: 8 };

type Expect<'a> = Result<&'a str, BadMessage>;

#[track_caller]
fn check(input: impl AsRef<[u8]>, expect: Expect<'_>) {
    check_answer(Method::Get, input.as_ref(), expect, false);
}

/// As [`check`], where which code a refusal has depends on how much had arrived when it was made:
/// what cannot become a message is refused at its first wrong byte, when it is not known yet what
/// follows. That it is refused does not depend on it.
#[track_caller]
fn check_class(input: impl AsRef<[u8]>, expect: Expect<'_>) {
    check_answer(Method::Get, input.as_ref(), expect, true);
}

#[track_caller]
fn check_answer(method: Method, input: &[u8], expect: Expect<'_>, code_may_differ: bool) {
    let found = splits::same_in_every_split(input, code_may_differ, |input, cuts| {
        reader::response(input, cuts.iter().copied(), method, LIMITS)
    });
    let found = found.map(|response| shown(&response, input.len()));
    assert_eq!(found.as_deref(), expect.as_ref().copied(), "{}", input.escape_ascii());
}

fn shown(response: &reader::Response, length: usize) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut shown = response.status.to_string();
    if !response.reason.is_empty() {
        shown += &format!(" {}", text(&response.reason));
    }
    if response.framing != BodyLength::Empty {
        shown += &format!(" \"{}\"", text(&response.body.content));
    }
    for (name, value) in &response.body.trailers {
        shown += &format!(" [{}={}]", text(name), text(value));
    }
    if !response.keeps_alive {
        shown += " close";
    }
    if response.body.taken != length {
        shown += &format!(" +{}", length - response.body.taken);
    }
    shown
}

/// A `200 OK` with these fields, its framing among them, and this behind the head.
fn ok(fields: &str, rest: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{rest}").into_bytes()
}

#[test]
fn plain_answers_are_accepted() {
    for (input, expect) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 OK \"hi\""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP", "200 OK \"hi\" +4"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 OK \"\""),
        ("HTTP/1.1 200 OK\r\n\r\nhi", "200 OK \"hi\" close"),
        ("HTTP/1.1 200 OK\r\n\r\n", "200 OK \"\" close"),
        ("HTTP/1.0 200 OK\r\n\r\nhi", "200 OK \"hi\" close"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 OK \"hi\" close"),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nhi",
            "200 OK \"hi\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
            "200 OK \"hi\" close",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\nHTTP",
            "200 OK \"hi\" [X=y] +4",
        ),
    ] {
        check(input, Ok(expect));
    }
}

#[test]
fn a_status_line_is_a_version_a_number_and_perhaps_a_reason() {
    let rest = "Content-Length: 0\r\n\r\n";
    for (line, expect) in [
        ("HTTP/1.1 200 OK", Ok("200 OK \"\"")),
        ("HTTP/1.1 200 ", Ok("200 \"\"")),
        ("HTTP/1.1 200", Ok("200 \"\"")),
        ("HTTP/1.1 404 Nothing  here\t!", Ok("404 Nothing  here\\t! \"\"")),
        ("HTTP/1.1 200 Tr\u{e8}s bien", Ok("200 Tr\\xc3\\xa8s bien \"\"")),
        ("HTTP/1.1 200  OK", Ok("200  OK \"\"")),
        ("HTTP/1.1 599 x", Ok("599 x \"\"")),
        ("HTTP/1.1 999 x", Ok("999 x \"\"")),
        ("HTTP/1.1 099 x", Err(StatusLine)),
        ("HTTP/1.1 000 x", Err(StatusLine)),
        ("HTTP/1.1 1000 x", Err(StatusLine)),
        ("HTTP/1.1 20 OK", Err(StatusLine)),
        ("HTTP/1.1 2000", Err(StatusLine)),
        ("HTTP/1.1 20x OK", Err(StatusLine)),
        ("HTTP/1.1 +20 OK", Err(StatusLine)),
        ("HTTP/1.1 -20 OK", Err(StatusLine)),
        ("HTTP/1.1 OK", Err(StatusLine)),
        ("HTTP/1.1  200 OK", Err(StatusLine)),
        ("HTTP/1.1\t200 OK", Err(StatusLine)),
        ("HTTP/1.1 200\tOK", Err(StatusLine)),
        ("HTTP/1.1 200\u{b}OK", Err(StatusLine)),
        ("HTTP/1.1 200 O\0K", Err(StatusLine)),
        ("HTTP/1.1 200 O\u{7f}K", Err(StatusLine)),
        ("HTTP/1.1 200 O\u{1b}K", Err(StatusLine)),
        ("HTTP/1.1", Err(StatusLine)),
        ("HTTP/1.1 ", Err(StatusLine)),
        (" HTTP/1.1 200 OK", Err(StatusLine)),
        ("http/1.1 200 OK", Err(StatusLine)),
        ("HTTP 200 OK", Err(StatusLine)),
        ("HTTP/x 200 OK", Err(StatusLine)),
        ("ICY 200 OK", Err(StatusLine)),
        ("GET / HTTP/1.1", Err(StatusLine)),
        ("<html>", Err(StatusLine)),
        ("\u{15}\u{3}\u{1}\0\u{2}\u{2}", Err(StatusLine)),
        ("HTTP/1.2 200 OK", Err(Version)),
        ("HTTP/2.0 200 OK", Err(Version)),
        ("HTTP/2 200", Err(Version)),
        ("HTTP/0.9 200 OK", Err(Version)),
    ] {
        let input = format!("{line}\r\n{rest}");
        // Refused as soon as it cannot become a status line, before the whole of it is there.
        if expect.is_err() { check_class(input, expect) } else { check(input, expect) }
    }
    check([b"HTTP/1.1 200 \xff\x80\r\n", rest.as_bytes()].concat(), Ok("200 \\xff\\x80 \"\""));
}

#[test]
fn nothing_stands_before_an_answer() {
    for before in ["\r\n", "\n", "\r", "\r\n\r\n", " ", "x", "0\r\n\r\n", "hello", "\0"] {
        check_class(format!("{before}HTTP/1.1 204 x\r\n\r\n"), Err(StatusLine));
    }
}

#[test]
fn answers_without_a_body_have_none_whatever_they_say() {
    let get = Method::Get;
    let head = Method::Head;
    for (method, input, expect) in [
        (get, "HTTP/1.1 204 x\r\n\r\nHTTP", Ok("204 x +4")),
        (get, "HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", Ok("204 x")),
        (get, "HTTP/1.1 304 x\r\n\r\nHTTP", Ok("304 x +4")),
        (get, "HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", Ok("304 x")),
        (get, "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", Ok("304 x")),
        (get, "HTTP/1.1 100 x\r\n\r\nHTTP", Ok("100 x +4")),
        (get, "HTTP/1.1 100 x\r\nContent-Length: 0\r\n\r\n", Ok("100 x")),
        (get, "HTTP/1.1 103 x\r\nLink: </a>\r\n\r\nHTTP", Ok("103 x +4")),
        (get, "HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\ndata", Ok("101 x +4")),
        (head, "HTTP/1.1 200 x\r\n\r\n", Ok("200 x")),
        (head, "HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n", Ok("200 x")),
        (head, "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", Ok("200 x")),
        (head, "HTTP/1.1 404 x\r\nContent-Length: 9\r\n\r\nHTTP", Ok("404 x +4")),
        // Where a body is announced and none can be, what follows may be that body.
        (get, "HTTP/1.1 204 x\r\nContent-Length: 4\r\n\r\nHTTP", Ok("204 x close +4")),
        (
            get,
            "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Ok("204 x close +5"),
        ),
        (head, "HTTP/1.1 204 x\r\nContent-Length: 4\r\n\r\n", Ok("204 x close")),
        (get, "HTTP/1.1 100 x\r\nContent-Length: 4\r\n\r\nHTTP", Err(BodyNotAllowed)),
        (get, "HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Err(BodyNotAllowed)),
        (get, "HTTP/1.1 101 x\r\nContent-Length: 4\r\n\r\nHTTP", Err(BodyNotAllowed)),
        // That there is no body excuses no malformed framing.
        (head, "HTTP/1.1 200 x\r\nContent-Length: x\r\n\r\n", Err(ContentLength)),
        (head, "HTTP/1.1 200 x\r\nContent-Length: 1, 2\r\n\r\n", Err(ContentLengthDiffers)),
        (get, "HTTP/1.1 304 x\r\nTransfer-Encoding: x\r\n\r\n", Err(TransferEncoding)),
        (
            get,
            "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            Err(BothFramings),
        ),
    ] {
        check_answer(method, input.as_bytes(), expect, false);
    }
}

#[test]
fn framing_is_checked_as_hard_as_that_of_requests() {
    for (fields, expect) in [
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", Err(BothFramings)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", Err(BothFramings)),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", Err(ContentLengthDiffers)),
        ("Content-Length: 2, 3\r\n", Err(ContentLengthDiffers)),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", Ok("200 OK \"hi\"")),
        ("Content-Length: 2, 2\r\n", Ok("200 OK \"hi\"")),
        ("Content-Length: +2\r\n", Err(ContentLength)),
        ("Content-Length: -1\r\n", Err(ContentLength)),
        ("Content-Length: 0x2\r\n", Err(ContentLength)),
        ("Content-Length: 2 2\r\n", Err(ContentLength)),
        ("Content-Length:\r\n", Err(ContentLength)),
        ("Content-Length: 9223372036854775808\r\n", Err(ContentLength)),
        ("Content-Length: 99999999999999999999\r\n", Err(ContentLength)),
        ("Content-Length: 3\r\n", Err(Truncated)),
        ("Transfer-Encoding: identity\r\n", Err(TransferEncoding)),
        ("Transfer-Encoding: xchunked\r\n", Err(TransferEncoding)),
        ("Transfer-Encoding: chunked, chunked\r\n", Err(TransferEncoding)),
        ("Transfer-Encoding: chunked, gzip\r\n", Err(TransferEncoding)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(TransferEncoding)),
        ("Transfer-Encoding: \u{b}chunked\r\n", Err(FieldValue)),
        ("Transfer-Encoding:\r\n chunked\r\n", Err(Folded)),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(CodingUnknown)),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", Err(Folded)),
        ("X: y\rTransfer-Encoding: chunked\r\n", Err(BareCr)),
        ("X: y\nTransfer-Encoding: chunked\r\n", Err(BareLf)),
        ("X: a\0b\r\n", Err(FieldValue)),
        ("X: a\u{7f}b\r\n", Err(FieldValue)),
        ("\0X: y\r\n", Err(FieldName)),
    ] {
        check(ok(fields, "hi"), expect);
    }
    for (fields, expect) in [
        ("Transfer-Encoding : chunked\r\n", SpaceBeforeColon),
        ("Content-Length : 2\r\n", SpaceBeforeColon),
        (": y\r\n", FieldName),
        ("X\r\n", FieldName),
        ("X Y: z\r\n", FieldName),
        (" X: y\r\n", Folded),
    ] {
        check_class(ok(fields, "hi"), Err(expect));
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    check(old, Err(TransferEncoding));
    for (body, expect) in [
        ("2\r\nhi\r\n0\r\n\r\n", Ok("200 OK \"hi\"")),
        ("2\r\nhi\r\n", Err(Truncated)),
        ("2\r\nhi\r\n0\r\n", Err(Truncated)),
        ("2\nhi\r\n0\r\n\r\n", Err(BareLf)),
        ("2\r\nhi\n0\r\n\r\n", Err(ChunkEnd)),
        ("2 \r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("0x2\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("-1\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("<html>", Err(ChunkSize)),
        ("0\r\nSet-Cookie: a=b\r\nX: y\r\n\r\n", Ok("200 OK \"\" [X=y]")),
        ("0\r\nX: a\0\r\n\r\n", Err(Trailer)),
    ] {
        check(ok("Transfer-Encoding: chunked\r\n", body), expect);
    }
}

#[test]
fn lines_end_in_crlf_and_nothing_else() {
    for (input, expect) in [
        ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", BareLf),
        ("HTTP/1.1 200\nContent-Length: 0\r\n\r\n", BareLf),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", BareLf),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", BareLf),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", BareLf),
        ("HTTP/1.1 200 OK\n\n", BareLf),
        ("HTTP/1.1 200 OK\n\r\n", BareLf),
        ("HTTP/1.1 200 OK\r\n\n", BareLf),
        ("HTTP/1.1 200\n\r\n", BareLf),
        ("HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n", BareCr),
        ("HTTP/1.1 200\rContent-Length: 0\r\n\r\n", BareCr),
        ("HTTP/1.1 200 O\rK\r\n\r\n", BareCr),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\r\n\r\n", BareCr),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\rX: y\r\n\r\n", BareCr),
    ] {
        check(input, Err(expect));
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ";
    let filled = |length: usize| format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4));
    check(filled(LIMITS.bytes), Ok("200 OK \"\""));
    check(filled(LIMITS.bytes + 1), Err(HeadTooLarge));
    check(filled(4 * LIMITS.bytes), Err(HeadTooLarge));
    check(format!("HTTP/1.1 200 {}", "r".repeat(LIMITS.bytes)), Err(HeadTooLarge));

    let many =
        |number: usize| ok(&format!("Content-Length: 0\r\n{}", "X: y\r\n".repeat(number - 1)), "");
    check(many(LIMITS.headers), Ok("200 OK \"\""));
    check(many(LIMITS.headers + 1), Err(TooManyHeaders));
}

#[test]
fn an_answer_that_ends_early_is_known_to_have() {
    for input in [
        "H",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r",
    ] {
        check(input, Err(Truncated));
    }
}
