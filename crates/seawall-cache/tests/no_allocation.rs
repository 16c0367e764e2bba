//! What is done for each hit takes no memory but that of the buffers it is given. A counting
//! allocator would need `unsafe`, so buffers with room are watched: what is returned borrows, and
//! what is written stays in them.

use std::time::Duration;

use seawall_cache::conditional::{self, Validators};
use seawall_cache::directives::demand;
use seawall_cache::freshness::{age, standing};
use seawall_cache::key::{self, Scheme};
use seawall_cache::object::{Flags, Meta};
use seawall_cache::range::Ranges;
use seawall_cache::status::{CacheStatus, Outcome};
use seawall_cache::vary;
use seawall_config::plan::{CacheKey, CacheQuery};
use seawall_h1::{HeadLimits, HeadProgress, RequestHead, parse};

#[test]
fn a_hit_fits_in_the_buffers_it_is_given() {
    let text = b"GET /products/7?b=2&a=1&utm_source=x HTTP/1.1\r\nHost: A.example\r\n\
        User-Agent: Mozilla/5.0 (Linux; Android 14) Mobile\r\nAccept-Encoding: gzip, deflate, br\r\n\
        Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\nCookie: a=1; b=2; currency=EUR\r\n\
        Cache-Control: max-age=600\r\nIf-None-Match: \"x\", \"y\"\r\nRange: bytes=0-9,20-29\r\n\r\n";
    let mut request = RequestHead::default();
    let limits = HeadLimits { bytes: 4096, headers: 64 };
    let read = parse::request(text, limits, &mut HeadProgress::default(), &mut request);
    assert_eq!(read, Ok(Some(text.len())));
    let rules = CacheKey {
        host: true,
        query: CacheQuery::Except(vec!["utm_*".into()]),
        sort: true,
        headers: vec!["accept-language".into()],
        cookies: vec!["currency".into()],
        device: true,
    };
    let meta = Meta {
        received: 1_000_000,
        lifetime: 60_000,
        sequence: 0,
        initial_age: 0,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        cost: 10,
        status: 200,
        flags: Flags::default(),
    };
    let names = ["accept-encoding", "accept-language", "user-agent"];
    let names = names.map(|name| Box::from(name.as_bytes()));
    let stored =
        b"Content-Type: text/html\r\nETag: \"y\"\r\nDate: Sun, 06 Sep 2026 00:00:00 GMT\r\n";
    let now = meta.received + Duration::from_secs(5).as_millis() as u64;

    let mut out = Vec::with_capacity(1024);
    let (at, room) = (out.as_ptr(), out.capacity());
    key::write(&request, &rules, Scheme::Https, b"3", &mut out);
    vary::secondary(&names, &request, &mut out);
    let demand = demand(&request.headers);
    standing(&meta, &demand, None, now);
    let validators = Validators::stored(stored, meta.received);
    let outcome = conditional::evaluate(&request, 200, &validators);
    assert_eq!(outcome, conditional::Conditional::NotModified);
    assert!(Ranges::of(&request).is_some());
    let ttl = Some(i64::from(60 - age(&meta, now)));
    CacheStatus { outcome: Outcome::Hit, ttl, key: None, detail: None }.write(&mut out);
    assert_eq!((out.as_ptr(), out.capacity()), (at, room));
    assert!(out.ends_with(b"Cache-Status: seawall; hit; ttl=55\r\n"));
}
