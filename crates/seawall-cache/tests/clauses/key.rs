//! Under what answers are stored (RFC 9111 §2), and what the rules change of it.

use proptest::prelude::*;
use seawall_cache::key::{
    BadUrl, Device, Scheme, TypedUrl, device, is_bypassed, shown, write, write_url,
};
use seawall_cache::vary::secondary;
use seawall_config::plan::{CacheBypass, CacheKey, CacheQuery};

use crate::parts::{check_all, key_rules, request};

fn key(lines: &str, rules: &CacheKey) -> Vec<u8> {
    let mut out = Vec::new();
    write(&request(lines), rules, Scheme::Http, b"", &mut out);
    out
}

fn url(lines: &str, rules: &CacheKey, scheme: Scheme) -> String {
    let mut out = Vec::new();
    let length = write(&request(lines), rules, scheme, b"v", &mut out);
    assert_eq!(&out[length..length + 3], b"\0v\0");
    String::from_utf8(out[..length].to_vec()).expect("URLs are ASCII")
}

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

#[test]
fn urls() {
    use Scheme::{Http, Https};
    #[rustfmt::skip]
    let cases = &[
        ("9111-2 scheme, host, path, query", ("GET /a/b?c=d&e", Http), "http://a.example/a/b?c=d&e"),
        ("9111-2 another scheme", ("GET /a", Https), "https://a.example/a"),
        ("9110-4.2.3 host in lower case", ("GET / | Host: A.EXAMPLE", Http), "http://a.example/"),
        ("9110-4.2.3 usual port", ("GET / | Host: a.example:80", Http), "http://a.example/"),
        ("9110-4.2.3 usual port of the other scheme", ("GET / | Host: a.example:80", Https), "https://a.example:80/"),
        ("9110-4.2.3 usual port with TLS", ("GET / | Host: a.example:443", Https), "https://a.example/"),
        ("9110-4.2.3 another port", ("GET / | Host: a.example:8080", Http), "http://a.example:8080/"),
        ("9110-4.2.3 empty port", ("GET / | Host: a.example:", Http), "http://a.example/"),
        ("9110-4.2.3 an IPv6 address", ("GET / | Host: [::1]", Http), "http://[::1]/"),
        ("9110-4.2.3 an IPv6 address and port", ("GET / | Host: [::1]:80", Http), "http://[::1]/"),
        ("9110-4.2.3 the path in normal form", ("GET /%61/../b/./c", Http), "http://a.example/b/c"),
        ("9110-4.2.3 the path keeps its case", ("GET /A", Http), "http://a.example/A"),
        ("9112-3.2.2 an absolute target", ("GET http://B.example:80/x?y | Host: b.example", Http), "http://b.example/x?y"),
        ("9111-2 an empty query", ("GET /a?", Http), "http://a.example/a?"),
    ];
    check_all(cases, |(lines, scheme)| url(lines, &key_rules(), scheme));
}

#[test]
fn queries() {
    let only = |list| CacheKey { query: CacheQuery::Only(names(list)), ..key_rules() };
    let except = |list| CacheKey { query: CacheQuery::Except(names(list)), ..key_rules() };
    let sorted = CacheKey { sort: true, ..key_rules() };
    let many = format!("GET /?{}", (0..40).map(|n| format!("p{}=1&", 99 - n)).collect::<String>());
    let many_sorted: Vec<String> = (60..100).map(|n| format!("p{n}=1")).collect();
    let many_sorted = format!("?{}", many_sorted.join("&"));
    #[rustfmt::skip]
    let cases = &[
        ("rule key.query, all", (&key_rules(), "GET /?b=1&a=2&b"), "?b=1&a=2&b"),
        ("rule key.query, none", (&only(&[]), "GET /?a=1&b=2"), ""),
        ("rule key.query, one", (&only(&["a"]), "GET /?a=1&b=2"), "?a=1"),
        ("rule key.query, one that is often there", (&only(&["a"]), "GET /?a=1&b=2&a=3"), "?a=1&a=3"),
        ("rule key.query, without a value", (&only(&["a"]), "GET /?b&a"), "?a"),
        ("rule key.query, encoded name", (&only(&["utm_source"]), "GET /?utm%5Fsource=1&b"), "?utm%5Fsource=1"),
        ("rule key.query, name with a space", (&only(&["a b"]), "GET /?a+b=1&a%20b=2&ab=3"), "?a+b=1&a%20b=2"),
        // Some servers take these for `a_b`, so that they count.
        ("rule key.query, another case", (&only(&["a"]), "GET /?A=1"), "?A=1"),
        ("rule key.query, a dot", (&only(&["a_b"]), "GET /?a.b=1&a-b=2"), "?a.b=1"),
        ("rule key.query, brackets", (&only(&["a"]), "GET /?a[]=1&%61%5B0%5D=2&b[a]=3"), "?a[]=1&%61%5B0%5D=2"),
        ("rule key.query, semicolons", (&only(&["a"]), "GET /?b=1;a=2&c"), "?b=1;a=2"),
        ("rule key.query, a longer name", (&only(&["a"]), "GET /?ab=1"), ""),
        ("rule key.query, a malformed escape", (&only(&["a%zz"]), "GET /?a%zz=1&b"), "?a%zz=1"),
        ("rule key.query, names that begin so", (&only(&["a*"]), "GET /?ab=1&a=2&b=3"), "?ab=1&a=2"),
        ("rule key.query, all but", (&except(&["a"]), "GET /?a=1&b=2"), "?b=2"),
        ("rule key.query, all but what begins so", (&except(&["utm_*"]), "GET /?utm_source=1&b=2&utm_x"), "?b=2"),
        ("rule key.query, all but what begins so, encoded", (&except(&["utm_*"]), "GET /?utm%5fsource=1&b=2"), "?b=2"),
        ("rule key.query, nothing left", (&except(&["*"]), "GET /?a=1&b=2"), ""),
        ("rule key.query, empty ones", (&except(&["a"]), "GET /?&&b=2&&a&"), "?b=2"),
        ("rule key.query, no query", (&except(&["a"]), "GET /"), ""),
        ("rule key.query, an empty query", (&except(&["a"]), "GET /?"), ""),
        ("rule key.sort", (&sorted, "GET /?b=1&a=2&c=3"), "?a=2&b=1&c=3"),
        ("rule key.sort leaves those of one name", (&sorted, "GET /?b=2&a=1&b=1&a=0"), "?a=1&a=0&b=2&b=1"),
        ("rule key.sort by decoded names", (&sorted, "GET /?%62=1&a=2"), "?a=2&%62=1"),
        ("rule key.sort, a shorter name first", (&sorted, "GET /?ab=1&a=2"), "?a=2&ab=1"),
        ("rule key.sort, more than there is room for", (&sorted, &many), &many_sorted),
    ];
    check_all(cases, |(rules, lines)| {
        url(lines, rules, Scheme::Http).trim_start_matches("http://a.example/").to_owned()
    });
}

#[test]
fn which_requests_share_a_key() {
    let host = CacheKey { host: false, ..key_rules() };
    let headers = CacheKey { headers: names(&["x-a", "x-b"]), ..key_rules() };
    let encoding = CacheKey { headers: names(&["accept-encoding"]), ..key_rules() };
    let cookies = CacheKey { cookies: names(&["a", "b"]), ..key_rules() };
    let devices = CacheKey { device: true, ..key_rules() };
    #[rustfmt::skip]
    let cases = &[
        ("9111-2 other hosts", (&key_rules(), "GET / | Host: a", "GET / | Host: b"), "different"),
        ("rule key.host off", (&host, "GET / | Host: a", "GET / | Host: b"), "same"),
        ("rule key.host off, other paths", (&host, "GET /a", "GET /b"), "different"),
        ("rule key.headers", (&headers, "GET / | X-A: 1", "GET / | X-A: 2"), "different"),
        ("rule key.headers, others", (&headers, "GET / | X-C: 1", "GET / | X-C: 2"), "same"),
        ("rule key.headers, empty and absent", (&headers, "GET / | X-A:", "GET /"), "different"),
        ("rule key.headers, which of them", (&headers, "GET / | X-A: 1", "GET / | X-B: 1"), "different"),
        ("rule key.headers, no running into each other", (&headers, "GET / | X-A: ab | X-B: c", "GET / | X-A: a | X-B: bc"), "different"),
        ("rule key.headers, in normal form", (&encoding, "GET / | Accept-Encoding: gzip, br", "GET / | Accept-Encoding: br,gzip"), "same"),
        ("rule key.cookies", (&cookies, "GET / | Cookie: a=1", "GET / | Cookie: a=2"), "different"),
        ("rule key.cookies, others", (&cookies, "GET / | Cookie: a=1; c=2", "GET / | Cookie: c=3; a=1"), "same"),
        ("rule key.cookies, order", (&cookies, "GET / | Cookie: a=1; b=2", "GET / | Cookie: b=2;a=1"), "same"),
        ("rule key.cookies, two lines", (&cookies, "GET / | Cookie: a=1; b=2", "GET / | Cookie: a=1 | Cookie: b=2"), "same"),
        ("rule key.cookies, empty and absent", (&cookies, "GET / | Cookie: a=", "GET /"), "different"),
        ("rule key.cookies, no value", (&cookies, "GET / | Cookie: a", "GET /"), "same"),
        ("rule key.cookies, a second of that name", (&cookies, "GET / | Cookie: a=1; a=2", "GET / | Cookie: a=1"), "different"),
        ("rule key.cookies, part of a name", (&cookies, "GET / | Cookie: xa=1", "GET / | Cookie: xa=2"), "same"),
        ("rule key.cookies, an equals sign within", (&cookies, "GET / | Cookie: a=1=2", "GET / | Cookie: a=1"), "different"),
        ("rule key.device", (&devices, "GET / | User-Agent: iPhone", "GET / | User-Agent: foo"), "different"),
        ("rule key.device, same class", (&devices, "GET / | User-Agent: foo", "GET / | User-Agent: bar"), "same"),
        ("9111-2 query and path", (&key_rules(), "GET /a?b", "GET /a%3Fb"), "different"),
    ];
    check_all(cases, |(rules, one, other)| {
        if key(one, rules) == key(other, rules) { "same" } else { "different" }.to_owned()
    });
}

#[test]
fn routes_with_other_rules_share_no_key() {
    let by_header = CacheKey { headers: names(&["a"]), ..key_rules() };
    let by_cookie = CacheKey { cookies: names(&["a"]), ..key_rules() };
    let by_nothing = key_rules();
    let keys = [&by_header, &by_cookie, &by_nothing].map(|rules| key("GET /", rules));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
}

#[test]
fn versions_are_namespaces() {
    let with = |version: &[u8]| {
        let mut out = Vec::new();
        write(&request(""), &key_rules(), Scheme::Http, version, &mut out);
        out
    };
    assert_ne!(with(b""), with(b"1"));
    assert_ne!(with(b"1"), with(b"2"));
    assert_eq!(with(b"1\x002"), with(b"1 2"), "a NUL would end it");
}

#[test]
fn devices() {
    for (agent, hint, expect) in [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
            "",
            Device::Desktop,
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15",
            "",
            Device::Desktop,
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
            "",
            Device::Phone,
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
            "?1",
            Device::Phone,
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
            "",
            Device::Phone,
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
            "?0",
            Device::Tablet,
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
            "",
            Device::Tablet,
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
            "",
            Device::Tablet,
        ),
        (
            "Mozilla/5.0 (Android 13; Tablet; rv:109.0) Gecko/118.0 Firefox/118.0",
            "",
            Device::Tablet,
        ),
        ("Mozilla/5.0 (Android 13; Mobile; rv:109.0) Gecko/118.0 Firefox/118.0", "", Device::Phone),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
            "?0",
            Device::Desktop,
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "",
            Device::Bot,
        ),
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) Chrome/140.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)",
            "?1",
            Device::Bot,
        ),
        ("facebookexternalhit/1.1", "", Device::Bot),
        ("curl/8.0", "", Device::Desktop),
        ("", "?1", Device::Phone),
        ("", "", Device::Desktop),
    ] {
        let mut request = request(&format!("GET / | User-Agent: {agent}"));
        if !hint.is_empty() {
            request.headers.push(b"Sec-CH-UA-Mobile", hint.as_bytes());
        }
        assert_eq!(device(&request.headers), expect, "{agent} {hint} {}", expect.name());
    }
}

#[test]
fn typed_urls_have_the_key_of_requests() {
    let rules =
        CacheKey { query: CacheQuery::Except(names(&["utm_*"])), sort: true, ..key_rules() };
    #[rustfmt::skip]
    let cases = &[
        ("9110-4.2 plain", "http://a.example/x?b=1&a=2", "http://a.example/x?a=2&b=1"),
        ("9110-4.2 capitals and port", "HTTPS://A.Example:443/x", "https://a.example/x"),
        ("9110-4.2 no path", "http://a.example", "http://a.example/"),
        ("9110-4.2 no path, a query", "http://a.example?a", "http://a.example/?a"),
        ("9110-4.2.3 normal form", "http://a.example/%7Ea/../b", "http://a.example/b"),
        ("9110-4.2.5 a fragment", "http://a.example/x?a#b", "http://a.example/x?a"),
        ("9110-4.2.3 bytes above ASCII", "http://a.example/ü?ü", "http://a.example/%C3%BC?%C3%BC"),
        ("rule key.query", "http://a.example/x?utm_source=1", "http://a.example/x"),
    ];
    check_all(cases, |text| {
        let typed = TypedUrl::parse(text).expect("it is a URL");
        let mut out = Vec::new();
        let length = write_url(&typed.as_url(), &rules, &mut out);
        assert_eq!(length, out.len());
        String::from_utf8(out).expect("keys of URLs are ASCII")
    });
    for (text, expect) in [
        ("/x", BadUrl::Scheme),
        ("a.example/x", BadUrl::Scheme),
        ("ftp://a.example/x", BadUrl::Scheme),
        ("", BadUrl::Scheme),
        ("http://", BadUrl::Host),
        ("http:///x", BadUrl::Host),
        ("http://:80/x", BadUrl::Host),
        ("http://u@a.example/x", BadUrl::Host),
        ("http://a.example/a b", BadUrl::Byte),
        ("http://a.example/\0", BadUrl::Byte),
        ("http://a.example/a\n", BadUrl::Byte),
    ] {
        assert_eq!(TypedUrl::parse(text), Err(expect), "{text:?}");
    }
    assert!(matches!(TypedUrl::parse("http://a.example/../x"), Err(BadUrl::Path(_))));
}

#[test]
fn who_goes_past_the_cache() {
    let rules = CacheBypass {
        headers: names(&["x-preview"]),
        cookies: names(&["session", "wp_*"]),
        query: names(&["nocache", "debug_*"]),
    };
    #[rustfmt::skip]
    let cases = &[
        ("rule bypass, nothing", "GET /a?b | Cookie: a=b | X-A: 1", "no"),
        ("rule bypass.headers", "GET / | X-Preview: 1", "yes"),
        ("rule bypass.headers, empty", "GET / | x-preview:", "yes"),
        ("rule bypass.cookies", "GET / | Cookie: a=b; session=1", "yes"),
        ("rule bypass.cookies, a longer name", "GET / | Cookie: session2=1", "no"),
        ("rule bypass.cookies, begins so", "GET / | Cookie: wp_user=1", "yes"),
        ("rule bypass.cookies, a second line", "GET / | Cookie: a=b | Cookie: session=", "yes"),
        ("rule bypass.query", "GET /?a=1&nocache", "yes"),
        ("rule bypass.query, encoded", "GET /?no%63ache=1", "yes"),
        ("rule bypass.query, begins so", "GET /?debug_x=1", "yes"),
        ("rule bypass.query, a value", "GET /?a=nocache", "no"),
    ];
    check_all(cases, |lines| {
        if is_bypassed(&request(lines), &rules) { "yes" } else { "no" }.to_owned()
    });
    let empty = CacheBypass::default();
    assert!(!is_bypassed(&request("GET /?nocache | X-Preview: 1 | Cookie: session=1"), &empty));
}

proptest! {
    /// Requests share a key only if all that belongs to it is the same.
    #[test]
    fn keys_are_unambiguous(
        one in parts(),
        other in parts(),
    ) {
        let rules = CacheKey {
            headers: names(&["x-a", "x-b"]),
            cookies: names(&["a", "b"]),
            ..key_rules()
        };
        let key = |(path, query, version, a, cookie): &Parts| {
            let lines = format!("GET /{path}{query} | X-A: {a} | Cookie: a={cookie}");
            let mut out = Vec::new();
            write(&request(&lines), &rules, Scheme::Http, version.as_bytes(), &mut out);
            out
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }

    #[test]
    fn sorting_makes_the_order_of_names_mean_nothing(
        mut parameters in prop::collection::btree_map("[a-d]{1,2}", "[0-9]{0,2}", 0..40)
            .prop_map(|map| map.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()),
        seed: u64,
    ) {
        let rules = CacheKey { sort: true, ..key_rules() };
        let straight = key(&format!("GET /?{}", parameters.join("&")), &rules);
        let mut state = seed;
        for at in (1..parameters.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            parameters.swap(at, (state >> 33) as usize % (at + 1));
        }
        prop_assert_eq!(key(&format!("GET /?{}", parameters.join("&")), &rules), straight);
    }
}

type Parts = (String, String, String, String, String);

fn parts() -> impl Strategy<Value = Parts> {
    ("[ab]{0,2}", "(\\?[ab=&]{0,3})?", "[ab]{0,2}", "[ab]{0,2}", "[ab]{0,2}")
}

#[test]
fn keys_can_be_read() {
    let rules = CacheKey {
        headers: names(&["x-a", "x-b"]),
        cookies: names(&["c", "none"]),
        device: true,
        ..key_rules()
    };
    let lines = "GET /a?b | X-A: 1 2 | Cookie: c=d; c=e | Accept-Encoding: gzip, br | Accept: *";
    let request = request(lines);
    let mut text = Vec::new();
    write(&request, &rules, Scheme::Https, b"7", &mut text);
    let primary = text.len();
    let fields: Vec<Box<[u8]>> =
        [&b"accept-encoding"[..], b"accept", b"x-c"].into_iter().map(Into::into).collect();
    secondary(&fields, &request, &mut text);
    let url = "https://a.example/a?b version=7 x-a=1 2 x-b cookie:c=d,e cookie:none \
               device=desktop";
    assert_eq!(shown(&text[..primary], primary, &[]), url);
    let all = format!("{url} accept-encoding=br,gzip accept=* x-c");
    assert_eq!(shown(&text, primary, &fields), all);
    // What is not a key, or not by these names, is shown as far as it can be read.
    assert_eq!(shown(&text, primary, &fields[..1]), format!("{url} accept-encoding=br,gzip …"));
    assert_eq!(shown(b"x\0\0h\xff\xff\xff\xff", 100, &[]), "x …");
}
