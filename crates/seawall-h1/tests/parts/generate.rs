//! Messages for random tests: mostly valid, put together from fragments on which parsers have been
//! seen to disagree, and mutated by a few bytes.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Bytes that mean something to a parser.
const BYTES: &[u8] = b"\r\n \t:;,/0a\0\x0b\x7f\xff%#.";

/// One of a few texts.
macro_rules! one_of {
    ($($text:expr),* $(,)?) => {{
        const TEXTS: &[&[u8]] = &[$($text),*];
        select(TEXTS)
    }};
}

/// A request with its body, perhaps mutated, and perhaps with another one behind it.
pub(crate) fn request() -> BoxedStrategy<Vec<u8>> {
    let line = (method(), target(), version()).prop_map(|(method, target, version)| {
        [method, b" ", &target, b" ", version, b"\r\n"].concat()
    });
    let hosts = prop_oneof![
        12 => Just(&b"Host: a.example\r\n"[..]),
        1 => one_of!(b"", b"Host: a\r\nHost: b\r\n", b"host:[::1]:8080\r\n", b"Host: a b\r\n"),
    ];
    (line, hosts, fields(), framing())
        .prop_map(|(line, host, fields, (framing, body))| {
            [&line, host, &fields, &framing, b"\r\n", &body[..]].concat()
        })
        .prop_flat_map(mutated)
        .boxed()
}

/// An answer with its body, perhaps mutated.
pub(crate) fn response() -> BoxedStrategy<Vec<u8>> {
    let status = prop_oneof![
        6 => one_of!(b"200 OK", b"200", b"404 Not Found", b"200 \xe9", b"500 a  b"),
        3 => one_of!(b"204 No Content", b"304 Not Modified", b"205 Reset", b"206 Part"),
        1 => one_of!(b"100 Continue", b"101 Switch", b"103 Hints", b"99 x", b"1000 x", b""),
    ];
    (version(), status, fields(), framing())
        .prop_map(|(version, status, fields, (framing, body))| {
            [version, b" ", status, b"\r\n", &fields, &framing, b"\r\n", &body[..]].concat()
        })
        .prop_flat_map(mutated)
        .boxed()
}

/// A chunked body, perhaps mutated, perhaps with something behind it.
pub(crate) fn chunked() -> BoxedStrategy<Vec<u8>> {
    let behind = one_of!(b"", b"GET / HTTP/1.1\r\n", b"\r\n");
    (chunks(), behind)
        .prop_map(|(body, behind)| [&body, behind].concat())
        .prop_flat_map(mutated)
        .boxed()
}

/// A path without its first slash.
pub(crate) fn path() -> BoxedStrategy<Vec<u8>> {
    let part = prop_oneof![
        4 => one_of!(b"a", b"admin", b"public", b"x=1", b"%61", b".well"),
        8 => one_of!(b"/", b"//", b"..", b".", b"%2F", b"%2f", b"%2e", b";", b"%3B"),
        2 => one_of!(b"\\", b"%5c", b"%5C", b"%252F", b"+", b"%2b", b"%25", b"...", b"%3b"),
        1 => one_of!(b"%", b"%00", b"%4", b"\xc3\xa9", b"\"", b"<", b"|", b"?", b" "),
    ];
    vec(part, 0..12).prop_map(|parts| parts.concat()).boxed()
}

fn method() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![
        12 => one_of!(b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS"),
        1 => one_of!(b"CONNECT", b"TRACE", b"M-SEARCH", b"get", b"G@T", b"!", b""),
    ]
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let query = weighted(
        0.3,
        prop_oneof![
            one_of!(b"?a=b&c", b"?", b"??", b"?/../", b"?%00", b"?\xc3\xa9", b"?#")
                .prop_map(<[u8]>::to_vec),
        ],
    );
    let start = prop_oneof![
        12 => Just(&b"/"[..]),
        1 => one_of!(b"http://b.example/", b"HTTPS://[::1]:1/", b"//", b"", b"u@b:80", b"a/"),
    ];
    let plain = prop_oneof![
        2 => one_of!(b"", b"a/b.c", b"caf\xc3\xa9", b"%7Ea").prop_map(<[u8]>::to_vec),
        1 => path(),
    ];
    let usual = (start, plain, query)
        .prop_map(|(start, path, query)| [start, &path, &query.unwrap_or_default()].concat());
    let odd = one_of!(b"*", b"b:443", b"http://b", b"http://b?c", b"http:", b"*x");
    prop_oneof![12 => usual, 1 => odd.prop_map(<[u8]>::to_vec)]
}

fn version() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![
        24 => Just(&b"HTTP/1.1"[..]),
        2 => Just(&b"HTTP/1.0"[..]),
        1 => one_of!(b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b""),
    ]
}

/// Fields that are not about framing.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        20 => one_of!(b"Accept", b"x", b"Cookie", b"Via", b"X-Forwarded-For", b"!#$%&'*+-.^_`|~"),
        8 => one_of!(b"Connection", b"Upgrade", b"Expect", b"TE", b"Trailer", b"Keep-Alive"),
        1 => one_of!(b"Transfer_Encoding", b"Content-Lengt", b"a b", b"", b"\xe9", b" x", b"x "),
    ];
    let value = prop_oneof![
        20 => one_of!(b"a", b"", b"a, b", b" a\t", b"\xe9\xff", b"close", b"\"a,b\"", b"a:b"),
        8 => one_of!(b"keep-alive", b"upgrade", b"websocket", b"100-continue", b"close, x"),
        1 => one_of!(b"a\0", b"\x7f", b"a\r\n b", b"a\nb: c", b"a\rb", b"\x0b"),
    ];
    let field = (name, one_of!(b": ", b":", b":\t"), value)
        .prop_map(|(name, colon, value)| [name, colon, value, b"\r\n"].concat());
    vec(field, 0..6).prop_map(|fields| fields.concat())
}

/// The fields of a framing and a body, which mostly go together.
fn framing() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let content = vec(any::<u8>(), 0..40);
    let counted = content.prop_map(|content| {
        let field = format!("Content-Length: {}\r\n", content.len());
        (field.into_bytes(), content)
    });
    let chunked = chunks().prop_map(|body| (b"Transfer-Encoding: chunked\r\n".to_vec(), body));
    let length =
        one_of!(b"0", b"3", b"3, 3", b"3, 4", b"+3", b"03", b"", b"3 ", b"99999999999999999999");
    let coding = one_of!(
        b"chunked",
        b"Chunked",
        b"chunked, chunked",
        b"identity",
        b"gzip, chunked",
        b"xchunked",
        b"",
        b" chunked\t"
    );
    let field = prop_oneof![
        length.prop_map(|length| [b"Content-Length: ", length, b"\r\n"].concat()),
        coding.prop_map(|coding| [b"Transfer-Encoding:", coding, b"\r\n"].concat()),
    ];
    let body = prop_oneof![Just(b"abcdef".to_vec()), chunks()];
    let odd = (vec(field, 1..3), body).prop_map(|(fields, body)| (fields.concat(), body));
    prop_oneof![3 => Just((Vec::new(), Vec::new())), 4 => counted, 4 => chunked, 2 => odd]
}

fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop_oneof![
        20 => Just(&b""[..]),
        1 => one_of!(b";a=b", b" ;a", b";", b";\"\\\"\"", b" ", b";a\nb", b";\xe9"),
    ];
    let chunk = (vec(any::<u8>(), 1..20), extension, 0usize..3, any::<bool>()).prop_map(
        |(content, extension, zeros, capital)| {
            let size = format!("{}{:x}", "0".repeat(zeros), content.len());
            let size = if capital { size.to_uppercase() } else { size };
            [size.as_bytes(), extension, b"\r\n", &content, b"\r\n"].concat()
        },
    );
    let trailer = one_of!(
        b"X-Sum: 1\r\n",
        b"grpc-status: 0\r\n",
        b"Host: b\r\n",
        b"Content-Length: 1\r\n",
        b"x:\r\n",
        b"a b: c\r\n",
        b"x: y\n"
    );
    let last =
        prop_oneof![8 => Just(&b"0\r\n"[..]), 1 => one_of!(b"000\r\n", b"0;x\r\n", b"", b"0\n")];
    let end = prop_oneof![24 => Just(&b"\r\n"[..]), 1 => one_of!(b"\n", b"", b"\r")];
    (vec(chunk, 0..4), last, vec(trailer, 0..3), end).prop_map(|(chunks, last, trailers, end)| {
        [&chunks.concat(), last, &trailers.concat()[..], end].concat()
    })
}

/// The message itself, or with a few bytes replaced, put in or taken out.
fn mutated(message: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let byte = select(BYTES);
    let change = (any::<Index>(), byte, 0..4u8);
    let changes = prop_oneof![3 => Just(0usize..1), 1 => Just(1..4usize)];
    changes.prop_flat_map(move |number| vec(change.clone(), number)).prop_map(move |changes| {
        let mut message = message.clone();
        for (at, byte, kind) in changes {
            if message.is_empty() {
                break;
            }
            let at = at.index(message.len());
            match kind {
                0 => message[at] = byte,
                1 => message.insert(at, byte),
                2 => drop(message.remove(at)),
                _ => {
                    // A line or a part of it twice.
                    let copy = message[at..(at + 9).min(message.len())].to_vec();
                    message.splice(at..at, copy);
                }
            }
        }
        message
    })
}
