//! The codec and hyper read the same bytes. Where both accept a message they must agree on all of
//! it; where one refuses what the other accepts, the reason must be one of those listed here.
//!
//! Generated requests come with a second, plain one behind them: two readers that disagree on where
//! a message ends disagree on whether there is a second one.

#[path = "parts/generate.rs"]
#[allow(dead_code, reason = "shared with tests that use other parts of it")]
mod generate;
#[path = "parts/peer.rs"]
mod peer;
#[path = "parts/reader.rs"]
#[allow(dead_code, reason = "shared with tests that look at more of it")]
mod reader;

use std::cell::Cell;

use proptest::test_runner::{Config, TestError, TestRunner};
use seawall_h1::head::TargetForm;
use seawall_h1::{BadMessage, HeadLimits, Known, Method, Version, fields, target};

use peer::{Seen, Start};
use reader::FieldText;

/// As wide as what hyper takes, so that limits are no difference.
const LIMITS: HeadLimits = HeadLimits { bytes: 400_000, headers: 100 };

const CASES: u32 = 20_000;

/// What is refused here and not by hyper, and why.
const STRICTER: &[(BadMessage, &str)] = &[
    (
        BadMessage::BareLf,
        "a recipient may take LF for a line end; two that differ are smuggled past",
    ),
    (
        BadMessage::BothFramings,
        "hyper drops Content-Length, as RFC 9112 allows; who sends both attacks",
    ),
    (
        BadMessage::TransferEncoding,
        "hyper takes any list that ends in chunked, and a repeated field",
    ),
    (BadMessage::CodingUnknown, "hyper leaves the other codings to the application"),
    (BadMessage::ContentLength, "a length past 63 bits, or one next to a Transfer-Encoding"),
    (BadMessage::ContentLengthDiffers, "in an answer that has no body, where hyper looks at none"),
    (BadMessage::HostMissing, "hyper leaves Host to the application"),
    (BadMessage::HostRepeated, "hyper leaves Host to the application"),
    (BadMessage::HostInvalid, "hyper leaves Host to the application"),
    (BadMessage::Target, "user information, schemes other than http, and what is no form at all"),
    (BadMessage::Fragment, "hyper cuts the fragment off"),
    (BadMessage::AboveRoot, "hyper leaves paths to the application"),
    (BadMessage::AmbiguousPath, "hyper leaves paths to the application"),
    (BadMessage::PercentEncoding, "hyper leaves paths to the application"),
    (BadMessage::EncodedNul, "hyper leaves paths to the application"),
    (BadMessage::MethodCase, "to hyper `get` is some method; to some servers it is GET"),
    (BadMessage::ChunkSize, "white space behind a chunk size that no extension follows"),
    (BadMessage::ChunkExtension, "control bytes in chunk extensions"),
    (BadMessage::StatusLine, "empty lines before a status line"),
    (
        BadMessage::BodyNotAllowed,
        "hyper passes over interim answers without a look at their framing",
    ),
];

/// Whether an exception holds for a message.
type Holds = fn(&[u8]) -> bool;

/// What hyper refuses and is accepted here.
const LENIENT: &[(&str, Holds)] = &[
    // They mean nothing to HTTP, some clients send them, and in a path they are forwarded encoded.
    ("bytes that hyper's URI type does not take in a target", |message| {
        let line = message.split(|&b| b == b'\n').find(|line| line.len() > 1);
        line.is_some_and(|line| line.iter().any(|b| b"\"<>`".contains(b)))
    }),
    // RFC 9110 §8.6 allows it, some gateways make it of two fields, and one number is forwarded.
    ("the same Content-Length twice in one field", |message| {
        message.split(|&b| b == b'\n').any(|line| {
            let length = line.to_ascii_lowercase().starts_with(b"content-length:");
            length && line.contains(&b',')
        })
    }),
];

fn assert_is_lenient(message: &[u8]) {
    let listed = LENIENT.iter().any(|(_, holds)| holds(message));
    assert!(listed, "hyper refuses {}", message.escape_ascii());
}

#[derive(Default)]
struct Counts {
    agreed: Cell<u32>,
    refused: Cell<u32>,
    stricter: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() })
}

/// Fails with the reason alone: it shows the message, which reads better than its bytes.
fn assert_never_failed<T>(outcome: Result<(), TestError<T>>) {
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, _) | TestError::Abort(reason)) => panic!("{reason}"),
    }
}

fn assert_is_listed(bad: BadMessage, input: &[u8], seen: &Seen) {
    assert!(
        STRICTER.iter().any(|(listed, _)| *listed == bad),
        "{bad:?} is no rule of hyper's and not listed: {}\n {seen:?}",
        input.escape_ascii()
    );
}

#[test]
fn requests() {
    let counts = Counts::default();
    let outcome = runner().run(&generate::request(), |mut input| {
        input.extend_from_slice(b"GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        compare_requests(&input, &counts);
        Ok(())
    });
    assert_never_failed(outcome);
    assert_all_happened(&counts);
}

fn compare_requests(input: &[u8], counts: &Counts) {
    let (ours, bad) = reader::requests(input, LIMITS);
    let theirs = peer::requests(input);
    for (our, their) in ours.iter().zip(&theirs) {
        assert_same_request(our, their, input);
        count(&counts.agreed);
    }
    match (ours.get(theirs.len()), theirs.get(ours.len()), bad) {
        (None, None, None) => {}
        (None, None, Some(_)) => count(&counts.refused),
        (None, Some(their), Some(bad)) => {
            assert_is_listed(bad, input, their);
            count(&counts.stricter);
        }
        (None, Some(their), None) => {
            panic!("only hyper sees {their:?}: {}", input.escape_ascii())
        }
        (Some(our), _, _) => {
            let from: usize = ours[..theirs.len()].iter().map(|request| request.body.taken).sum();
            assert_is_lenient(&input[from..from + our.body.taken]);
        }
    }
}

fn assert_same_request(our: &reader::Request, their: &Seen, input: &[u8]) {
    let shown = input.escape_ascii();
    let Start::Request { method, authority, path, query } = &their.start else {
        panic!("{their:?} is no request")
    };
    assert_eq!(our.method, method.as_bytes(), "{shown}");
    assert_eq!(our.version == Version::Http10, their.is_http10, "{shown}");
    match our.form {
        TargetForm::Authority => {
            assert_eq!(
                authority.as_deref().map(str::as_bytes),
                Some(&our.authority[..]),
                "{shown}"
            );
        }
        TargetForm::Asterisk => assert_eq!(path, "*", "{shown}"),
        TargetForm::Origin | TargetForm::Absolute => {
            if our.form == TargetForm::Absolute {
                let authority = authority.as_deref().map(str::as_bytes);
                assert_eq!(authority, Some(&our.authority[..]), "{shown}");
            }
            let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            // What is not ASCII is encoded.
            let encoded = |byte: u8| match byte.is_ascii() {
                true => vec![byte],
                false => format!("%{byte:02X}").into_bytes(),
            };
            let query: Vec<u8> = query.bytes().flat_map(encoded).collect();
            assert_eq!(our.query, query, "{shown}");
            let normal = target::normalise(path.as_bytes()).expect("we accepted it");
            let normal = normal.map_or(path.clone().into_bytes(), |normal| normal.path);
            // `OPTIONS http://a` asks about the server, which hyper leaves to the application.
            let whole_server = our.path == b"*" && our.method == b"OPTIONS" && path == "/";
            assert!(our.path == normal || whole_server, "{shown}\n {our:?}\n {their:?}");
        }
    }
    assert_same_rest(&our.fields, &our.body, their, input);
}

fn assert_same_rest(ours: &[FieldText], body: &reader::Body, their: &Seen, input: &[u8]) {
    let shown = input.escape_ascii();
    // hyper keeps one Content-Length of several that are equal.
    let without_length = |fields: &[FieldText]| {
        let mut fields = peer::sorted(fields.to_vec());
        fields.retain(|(name, _)| Known::of(name) != Known::ContentLength);
        fields
    };
    assert_eq!(without_length(ours), without_length(&their.fields), "{shown}");
    assert_eq!(body.content, their.content, "{shown}");
    let mut allowed = their.trailers.clone();
    allowed
        .retain(|(name, _)| fields::allowed_in_trailer(name) && !Known::of(name).is_hop_by_hop());
    assert_eq!(peer::sorted(body.trailers.clone()), allowed, "{shown}");
}

#[test]
fn responses() {
    let counts = Counts::default();
    let outcome = runner().run(&generate::response(), |input| {
        compare_responses(&input, &counts);
        Ok(())
    });
    assert_never_failed(outcome);
    assert_all_happened(&counts);
}

fn compare_responses(input: &[u8], counts: &Counts) {
    for (method, name) in [(Method::Get, "GET"), (Method::Head, "HEAD")] {
        let ours = final_response(input, method);
        match (ours, peer::response(input, name)) {
            (Ok(our), Some(their)) => {
                assert_eq!(their.start, Start::Response { status: our.status });
                assert_eq!(our.version == Version::Http10, their.is_http10);
                assert_same_rest(&our.fields, &our.body, &their, input);
                count(&counts.agreed);
            }
            (Err(_), None) => count(&counts.refused),
            (Err(bad), Some(their)) => {
                assert_is_listed(bad, input, &their);
                count(&counts.stricter);
            }
            (Ok(_), None) => assert_is_lenient(input),
        }
    }
}

/// The answer behind the interim ones, which hyper passes over.
fn final_response(input: &[u8], method: Method) -> Result<reader::Response, BadMessage> {
    let mut from = 0;
    loop {
        let response = reader::response(&input[from..], [], method, LIMITS)?;
        if !response.interim {
            return Ok(response);
        }
        from += response.body.taken;
    }
}

/// A comparison in which nothing was accepted, or nothing refused, would prove nothing.
fn assert_all_happened(counts: &Counts) {
    let [agreed, refused, stricter] =
        [&counts.agreed, &counts.refused, &counts.stricter].map(Cell::get);
    assert!(
        agreed > CASES / 3 && refused > CASES / 50 && stricter > CASES / 50,
        "agreed on {agreed}, both refused {refused}, refused {stricter} that hyper accepted"
    );
}

/// Every rule on the list is needed: there is a message that it refuses and hyper accepts.
#[test]
fn each_stricter_rule_has_its_message() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let requests = [
        (BadMessage::BareLf, "GET / HTTP/1.1\nHost: a\n\n".to_owned()),
        (BadMessage::BothFramings, format!("{chunked}Content-Length: 3\r\n\r\n0\r\n\r\n")),
        (
            BadMessage::TransferEncoding,
            format!("{post}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            BadMessage::CodingUnknown,
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ),
        (BadMessage::ContentLength, format!("{chunked}Content-Length: x\r\n\r\n0\r\n\r\n")),
        (BadMessage::HostMissing, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (BadMessage::HostRepeated, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned()),
        (BadMessage::HostInvalid, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned()),
        (BadMessage::Target, get("http://u@b/")),
        (BadMessage::Fragment, get("/a#b")),
        (BadMessage::AboveRoot, get("/..")),
        (BadMessage::AmbiguousPath, get("/..%2Fa")),
        (BadMessage::PercentEncoding, get("/%")),
        (BadMessage::EncodedNul, get("/%00")),
        (BadMessage::MethodCase, "get / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (BadMessage::ChunkSize, format!("{chunked}\r\n1 \r\nx\r\n0\r\n\r\n")),
        (BadMessage::ChunkExtension, format!("{chunked}\r\n1;\u{1}\r\nx\r\n0\r\n\r\n")),
    ];
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let responses = [
        (
            BadMessage::ContentLengthDiffers,
            "HTTP/1.1 304 x\r\nContent-Length: 1, 2\r\n\r\n".to_owned(),
        ),
        (BadMessage::StatusLine, format!("\r\n{ok}")),
        (BadMessage::BodyNotAllowed, format!("HTTP/1.1 103 x\r\nContent-Length: 1\r\n\r\n{ok}")),
    ];
    for (bad, input) in &requests {
        let found = reader::request(input.as_bytes(), [], LIMITS);
        assert_eq!(found.err(), Some(*bad), "{input:?}");
        assert_eq!(peer::requests(input.as_bytes()).len(), 1, "hyper refuses {input:?}");
    }
    for (bad, input) in &responses {
        assert_eq!(final_response(input.as_bytes(), Method::Get).err(), Some(*bad), "{input:?}");
        let seen = peer::response(input.as_bytes(), "GET");
        assert!(seen.is_some(), "hyper refuses {input:?}");
    }
    for (rule, _) in STRICTER {
        let mut examples = requests.iter().chain(&responses);
        assert!(examples.any(|(bad, _)| bad == rule), "{rule:?} has no message");
    }
}

/// Every exception on the other list is needed, too.
#[test]
fn each_lenient_rule_has_its_message() {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let twice = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx";
    let examples = [get("/a<b"), get("/a>b"), get("/a`b"), get("/?\""), twice.to_owned()];
    for input in &examples {
        assert_is_lenient(input.as_bytes());
        assert!(reader::request(input.as_bytes(), [], LIMITS).is_ok(), "{input:?}");
        assert!(peer::requests(input.as_bytes()).is_empty(), "hyper accepts {input:?}");
    }
    for (rule, holds) in LENIENT {
        assert!(examples.iter().any(|input| holds(input.as_bytes())), "{rule} has no message");
    }
}
