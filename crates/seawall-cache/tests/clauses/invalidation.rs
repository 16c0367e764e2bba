//! What requests that change something make invalid (RFC 9111 §4.4).

use proptest::prelude::*;
use seawall_cache::invalidation::{is_due, urls};
use seawall_cache::key::Scheme;
use seawall_h1::{Headers, Method};

use crate::parts::{answer, check_all, request};

#[test]
fn which_requests_invalidate() {
    use Method::*;
    for (name, method, status, expect) in [
        ("9111-4.4 POST", Post, 200, true),
        ("9111-4.4 PUT", Put, 204, true),
        ("9111-4.4 DELETE", Delete, 200, true),
        ("9111-4.4 PATCH", Patch, 200, true),
        ("9111-4.4 unknown method", Other, 200, true),
        ("9111-4.4 redirected", Post, 303, true),
        ("9111-4.4 refused", Post, 400, false),
        ("9111-4.4 failed", Put, 500, false),
        ("9111-4.4 interim", Put, 103, false),
        ("9110-9.2.1 GET is safe", Get, 200, false),
        ("9110-9.2.1 HEAD is safe", Head, 200, false),
        ("9110-9.2.1 OPTIONS is safe", Options, 200, false),
        ("9110-9.2.1 TRACE is safe", Trace, 200, false),
    ] {
        assert_eq!(is_due(method, status), expect, "{name}");
    }
}

#[test]
fn what_becomes_invalid() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.4 the target", "X-A: 1", ""),
        ("9111-4.4 Location", "Location: http://a.example/new", "/new"),
        ("9111-4.4 Content-Location", "Content-Location: /new", "/new"),
        ("9111-4.4 both", "Location: /l | Content-Location: /c", "/l /c"),
        ("9111-4.4 another host", "Location: http://b.example/new", ""),
        ("9111-4.4 another port", "Location: http://a.example:8080/new", ""),
        ("9111-4.4 another scheme", "Location: https://a.example/new", ""),
        ("9111-4.4 the usual port", "Location: http://A.example:80/new", "/new"),
        ("9111-4.4 no URL of the web", "Location: mailto:a@a.example", ""),
        ("9111-4.4 the target again", "Location: /dir/x?q=1", ""),
        ("9111-4.4 malformed", "Location: http://", ""),
        ("9111-4.4 with a user", "Location: http://a.example@b.example/new", ""),
        ("3986-5.2.2 without a scheme", "Location: //a.example/new", "/new"),
        ("3986-5.2.2 without a scheme, another host", "Location: //b.example/new", ""),
        ("3986-5.2.2 relative", "Location: new", "/dir/new"),
        ("3986-5.2.2 relative, up", "Location: ../new?a", "/new?a"),
        ("3986-5.2.2 relative, dots", "Location: ./a/../new", "/dir/new"),
        ("3986-5.2.2 above the root", "Location: ../../new", ""),
        ("3986-5.2.2 a query", "Location: ?q=2", "/dir/x?q=2"),
        ("3986-5.2.2 a fragment", "Location: #top", ""),
        ("3986-5.2.2 a URL and a fragment", "Location: /new#top", "/new"),
        ("3986-5.2.2 empty", "Location:", ""),
    ];
    check_all(cases, |fields| {
        let answer = answer(&format!("201 | {fields}"));
        let mut found = Vec::new();
        urls(&request("POST /dir/x?q=1"), Scheme::Http, &answer.headers, |url| {
            let path = [url.path, url.query].concat();
            found.push(String::from_utf8(path).expect("paths are ASCII"));
        });
        assert_eq!(found.remove(0), "/dir/x?q=1", "the target always is");
        found.join(" ")
    });
}

proptest! {
    #[test]
    fn nothing_leads_to_another_host(reference in "(http|HTTP|https)?[:/.a-z@?#%\\\\0-9\\[\\]-]{0,40}") {
        let mut headers = Headers::new();
        headers.push(b"Location", reference.as_bytes());
        urls(&request("POST /dir/x"), Scheme::Http, &headers, |url| {
            let mut host = Vec::new();
            url.write_host(&mut host);
            assert_eq!(host, b"a.example");
        });
    }
}
