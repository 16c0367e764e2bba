//! What must hold of any request and answer, asked of many that are put together at random. The
//! fuzz targets `cache_messages` and `cache_bytes` ask the same.

use proptest::prelude::*;

#[path = "parts/any_message.rs"]
mod any_message;

/// Parts of fields that mean something to a cache.
const WORDS: &[&str] = &[
    "max-age",
    "=",
    "0",
    "60",
    "\"",
    ",",
    " ",
    "s-maxage",
    "no-cache",
    "private",
    "no-store",
    "public",
    "must-revalidate",
    "must-understand",
    "99999999999999999999",
    "-1",
    "x-site",
    "*",
    ";",
    "q=0.5",
    "gzip",
    "br",
    "identity",
    "bytes=",
    "bytes ",
    "-",
    "0-0",
    "5-",
    "/",
    "10",
    "W/",
    "\"a\"",
    "\\",
    "Sun, 06 Sep 2026 00:00:00 GMT",
    "Sunday, 06-Sep-26 00:00:00 GMT",
    "de",
    "en-GB",
    "http://a/b",
    "//b",
    "?",
    "..",
    "a=b",
    "stale-while-revalidate",
    "stale-if-error",
    "immutable",
    "%",
    "session",
];

const NAMES: &[&str] = &[
    "Cache-Control",
    "CDN-Cache-Control",
    "Seawall-Cache-Control",
    "Expires",
    "Age",
    "Date",
    "Vary",
    "ETag",
    "Last-Modified",
    "Set-Cookie",
    "Authorization",
    "Range",
    "If-Range",
    "If-None-Match",
    "If-Modified-Since",
    "Content-Range",
    "Accept-Encoding",
    "Accept-Language",
    "Content-Encoding",
    "Cookie",
    "Pragma",
    "Surrogate-Key",
    "Cache-Tag",
    "X-Tags",
    "Location",
    "Connection",
    "X-Site",
    "Accept-Ranges",
    "Content-Location",
    "Warning",
    "User-Agent",
];

fn fields() -> impl Strategy<Value = String> {
    let value = proptest::collection::vec(proptest::sample::select(WORDS), 0..8);
    let field = (proptest::sample::select(NAMES), value)
        .prop_map(|(name, words)| format!("{name}: {}\r\n", words.concat()));
    proptest::collection::vec(field, 0..8).prop_map(|fields| fields.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn messages(
        target in "/[a-z%2F./]{0,8}(\\?[a-z&;=%_.\\[]{0,12})?",
        asks in fields(),
        status in 100..600u16,
        answers in fields(),
    ) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{asks}\r\n");
        any_message::check_messages(
            format!("{request}HTTP/1.1 {status} \r\n{answers}\r\n").as_bytes(),
        );
    }

    #[test]
    fn bytes(
        any in proptest::collection::vec(any::<u8>(), 0..200),
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..8),
    ) {
        any_message::check_bytes(&any);
        any_message::check_bytes(words.concat().as_bytes());
        any_message::check_bytes(&[&[2, 0][..], &any].concat());
    }
}
