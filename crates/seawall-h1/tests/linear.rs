//! Work is linear in the input however it is split. Work is counted, never timed.
//!
//! That a head is parsed a logarithmic number of times is shown in `parse.rs`, which alone can see
//! it. Here: a body is looked at once. The decoder is a function of its state and of the bytes it
//! is given, so the bytes it is given bound its work, and it keeps nothing but trailers.

#[path = "parts/reader.rs"]
#[allow(dead_code, reason = "shared with tests that look at more of it")]
mod reader;

use seawall_h1::{BodyDecoder, BodyLength, HeadLimits, Piece};

const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, headers: 1000 };

/// Bytes handed to a decoder in all, when `body` comes `step` bytes at a time and what the decoder
/// leaves is handed to it again; and calls it took.
fn work(body: &[u8], length: BodyLength, step: usize) -> (usize, usize) {
    let mut decoder = BodyDecoder::new(length, LIMITS);
    let (mut bytes, mut calls, mut from) = (0, 0, 0);
    for to in (step..body.len()).step_by(step).chain([body.len()]) {
        while from < to && !decoder.is_done() {
            calls += 1;
            let (skip, len) = match decoder.decode(&body[from..to]).expect("a good body") {
                Piece::Data { skip, len } => (skip, len),
                Piece::More { skip } | Piece::End { skip } => (skip, 0),
            };
            // What it looked at is what it takes.
            bytes += skip + len;
            from += skip + len;
        }
    }
    assert!(decoder.is_done());
    (bytes, calls)
}

#[test]
fn each_byte_of_a_body_is_taken_when_it_comes() {
    let content = vec![b'x'; 50_000];
    let one_chunk = [b"c350\r\n", &content[..], b"\r\n0\r\n\r\n"].concat();
    let tiny_chunks = [b"1\r\nx\r\n".repeat(5000), b"0\r\n\r\n".to_vec()].concat();
    let extension = [b"1;", &content[..16_000], b"\r\nx\r\n0\r\n\r\n"].concat();
    let long_trailer = [b"0\r\nx: ", &content[..], b"\r\n\r\n"].concat();
    let many_trailers = [b"0\r\n".to_vec(), b"x: y\r\n".repeat(999), b"\r\n".to_vec()].concat();
    for (name, body, length) in [
        ("length", &content, BodyLength::Length(50_000)),
        ("one chunk", &one_chunk, BodyLength::Chunked),
        ("tiny chunks", &tiny_chunks, BodyLength::Chunked),
        ("an extension", &extension, BodyLength::Chunked),
        ("a long trailer", &long_trailer, BodyLength::Chunked),
        ("many trailers", &many_trailers, BodyLength::Chunked),
    ] {
        for step in [1, 2, 3, 100, 4096, body.len()] {
            let (bytes, calls) = work(body, length, step);
            assert_eq!(bytes, body.len(), "{name} by {step}");
            // One call a portion, and one more for each chunk that begins within it.
            let portions = body.len().div_ceil(step);
            let chunks = body.windows(2).filter(|two| two == b"x\r").count();
            assert!(calls <= portions + chunks + 1, "{name} by {step}: {calls} calls");
        }
    }
}

#[test]
fn a_message_by_bytes_is_the_message() {
    let fields: String = (0..900).map(|at| format!("x-{at}: {at}\r\n")).collect();
    let head = format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{fields}\r\n");
    let body = format!("{}0\r\n{fields}\r\n", "5\r\nhello\r\n".repeat(1000));
    let input = [head.as_bytes(), body.as_bytes()].concat();
    let whole = reader::request(&input, [], LIMITS).expect("a good request");
    assert_eq!((whole.body.content.len(), whole.body.trailers.len()), (5000, 900));
    assert_eq!(reader::request(&input, 1..input.len(), LIMITS), Ok(whole));
}
