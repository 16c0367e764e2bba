//! What may be stored (RFC 9111 §3).

use std::time::Duration;

use seawall_cache::freshness::{Arrival, Unstorable, judge};
use seawall_config::plan;

use crate::parts::{NOW, answer, check_all, date, request, rules, shown, verdict};

#[test]
fn what_is_stored() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-3 explicit freshness", ("", "200 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 no freshness, no validator", ("", "200"), "useless"),
        ("9111-3 no freshness, a tag", ("", "200 | ETag: \"a\""), "none"),
        ("9111-3 no freshness, a weak tag", ("", "200 | ETag: W/\"a\""), "none"),
        ("9111-3 public is enough for any status", ("", "302 | Cache-Control: public | ETag: \"a\""), "none"),
        ("9111-3 302 without freshness", ("", "302 | ETag: \"a\""), "no-freshness"),
        ("9111-3 302 with freshness", ("", "302 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 307 with freshness", ("", "307 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 500 without freshness", ("", "500 | ETag: \"a\""), "no-freshness"),
        ("9111-3 500 with freshness", ("", "500 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 503 with freshness", ("", "503 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 404 with Expires", ("", "404 | Date: @0 | Expires: @60"), "expires 60"),
        ("9111-3 unknown status with freshness", ("", "599 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 unknown status, public and guessed", ("", "599 | Cache-Control: public | Date: @0 | Last-Modified: @-1000"), "heuristic 100"),
        ("9111-3 unknown status, guessed", ("", "599 | Date: @0 | Last-Modified: @-1000"), "no-freshness"),
        ("9111-3 299 with freshness", ("", "299 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 499 with freshness", ("", "499 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3 HEAD", ("HEAD /", "200 | Cache-Control: max-age=60"), "method"),
        ("9111-3 POST", ("POST /", "200 | Cache-Control: max-age=60"), "method"),
        ("9111-3 OPTIONS", ("OPTIONS /", "200 | Cache-Control: max-age=60"), "method"),
        ("9111-3 PUT", ("PUT /", "200 | Cache-Control: max-age=60"), "method"),
        ("9111-3 an unknown method", ("FOO /", "200 | Cache-Control: max-age=60"), "method"),
        ("9110-9.3.1 GET with a body", ("GET / | Content-Length: 1", "200 | Cache-Control: max-age=60"), "method"),
        ("9110-9.3.1 GET with an empty body", ("GET / | Content-Length: 0", "200 | Cache-Control: max-age=60"), "max-age 60"),
        ("9110-15.4.5 304 is no answer of its own", ("", "304 | Cache-Control: max-age=60"), "status"),
        ("9110-15.5.13 412 is about one request", ("", "412 | Cache-Control: max-age=60"), "status"),
        ("9110-15.5.17 416 is about one request", ("", "416 | Cache-Control: max-age=60"), "status"),
        ("9110-15.5.18 417 is about one request", ("", "417 | Cache-Control: max-age=60"), "status"),
        ("9110-15.5.9 408 is about one request", ("", "408 | Cache-Control: max-age=60"), "status"),
        ("6585-3 428", ("", "428 | Cache-Control: max-age=60"), "status"),
        ("6585-4 429", ("", "429 | Cache-Control: max-age=60"), "status"),
        ("6585-5 431", ("", "431 | Cache-Control: max-age=60"), "status"),
        ("6585-6 511", ("", "511 | Cache-Control: max-age=60"), "status"),
        ("8470-5.2 425", ("", "425 | Cache-Control: max-age=60"), "status"),
        ("9111-3.3 a part", ("", "206 | Content-Range: bytes 0-1/9 | ETag: \"a\" | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-3.3 a part that does not say of what", ("", "206 | Cache-Control: max-age=60"), "partial"),
        ("9111-3.3 a part with a wrong range", ("", "206 | Content-Range: bytes 5-1/9 | Cache-Control: max-age=60"), "partial"),
        ("9111-5.2.2.5 no-store", ("", "200 | Cache-Control: no-store"), "no-store"),
        ("9111-5.2.2.5 no-store with freshness", ("", "200 | Cache-Control: no-store, max-age=60"), "no-store"),
        ("9111-5.2.2.5 no-store in capitals", ("", "200 | cache-control: NO-STORE, max-age=60"), "no-store"),
        ("9111-5.2.2.5 no-store on another line", ("", "200 | Cache-Control: max-age=60 | Cache-Control: no-store"), "no-store"),
        ("9111-5.2.2.5 no-store with an argument", ("", "200 | Cache-Control: max-age=60, no-store=1"), "no-store"),
        ("9111-5.2 no-store in a string", ("", "200 | Cache-Control: max-age=60, a=\"no-store\""), "max-age 60"),
        ("9111-5.2 no-store behind an open string", ("", "200 | Cache-Control: max-age=60, a=\"b, no-store"), "no-store"),
        ("9111-5.2.3 unknown directives", ("", "200 | Cache-Control: foo, max-age=60, bar=\"a, b\""), "max-age 60"),
        ("9111-5.2.2.3 must-understand undoes no-store", ("", "200 | Cache-Control: must-understand, no-store, max-age=60"), "max-age 60"),
        ("9111-5.2.2.3 must-understand, status unknown", ("", "599 | Cache-Control: must-understand, max-age=60"), "not-understood"),
        ("9111-5.2.2.3 must-understand, no-store, status unknown", ("", "599 | Cache-Control: must-understand, no-store, max-age=60"), "not-understood"),
        ("9111-5.2.2.3 must-understand does not undo private", ("", "200 | Cache-Control: must-understand, private, max-age=60"), "private"),
        ("9111-5.2.2.7 private", ("", "200 | Cache-Control: private, max-age=60"), "private"),
        ("9111-5.2.2.7 private and s-maxage", ("", "200 | Cache-Control: private, s-maxage=60"), "private"),
        ("9111-5.2.2.7 private and public", ("", "200 | Cache-Control: public, private, max-age=60"), "private"),
        ("9111-5.2.2.7 private fields", ("", "200 | Cache-Control: private=\"x-a, x-b\", max-age=60"), "max-age 60"),
        ("9111-5.2.2.7 a private field as a token", ("", "200 | Cache-Control: private=x-a, max-age=60"), "max-age 60"),
        ("9111-5.2.2.7 private fields, then all", ("", "200 | Cache-Control: private=\"x-a\", private, max-age=60"), "private"),
        ("9111-5.2.2.7 all private, then fields", ("", "200 | Cache-Control: private, private=\"x-a\", max-age=60"), "private"),
        ("9111-5.2.2.7 private without a name", ("", "200 | Cache-Control: private=\"\", max-age=60"), "private"),
        ("9111-5.2.2.7 private with no name", ("", "200 | Cache-Control: private=\"a b\", max-age=60"), "private"),
        ("9111-5.2.2.7 private with an open string", ("", "200 | Cache-Control: private=\"a, max-age=60"), "private"),
        ("9111-3.5 Authorization", ("GET / | Authorization: Basic YQ==", "200 | Cache-Control: max-age=60"), "authorization"),
        ("9111-3.5 Authorization and Expires", ("GET / | Authorization: a", "200 | Date: @0 | Expires: @60"), "authorization"),
        ("9111-3.5 Authorization and no-cache", ("GET / | Authorization: a", "200 | Cache-Control: no-cache | ETag: \"a\""), "authorization"),
        ("9111-3.5 Authorization and proxy-revalidate", ("GET / | Authorization: a", "200 | Cache-Control: proxy-revalidate, max-age=60"), "authorization"),
        ("9111-3.5 Authorization and public", ("GET / | Authorization: a", "200 | Cache-Control: public, max-age=60"), "max-age 60"),
        ("9111-3.5 Authorization and s-maxage", ("GET / | Authorization: a", "200 | Cache-Control: s-maxage=60"), "s-maxage 60 must-revalidate"),
        ("9111-3.5 Authorization and must-revalidate", ("GET / | Authorization: a", "200 | Cache-Control: must-revalidate, max-age=60"), "max-age 60 must-revalidate"),
        ("9111-3.5 Authorization and private", ("GET / | Authorization: a", "200 | Cache-Control: public, private"), "private"),
        ("9111-3.5 empty Authorization", ("GET / | Authorization:", "200 | Cache-Control: max-age=60"), "authorization"),
        ("9111-5.2.1.5 the request says no-store", ("GET / | Cache-Control: no-store", "200 | Cache-Control: max-age=60"), "request-no-store"),
        ("9111-5.2.1.4 the request says no-cache", ("GET / | Cache-Control: no-cache", "200 | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-7.3 Set-Cookie", ("", "200 | Set-Cookie: a=b | Cache-Control: public, max-age=60"), "set-cookie"),
        ("9111-7.3 Set-Cookie named by no-cache", ("", "200 | Set-Cookie: a=b | Cache-Control: no-cache=\"set-cookie\", max-age=60"), "set-cookie"),
        ("9111-4.1 Vary: *", ("", "200 | Vary: * | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 Vary: *, *", ("", "200 | Vary: *, * | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 Vary: * twice", ("", "200 | Vary: * | Vary: * | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 Vary: , *", ("", "200 | Vary: , * | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 Vary: *, Foo", ("", "200 | Vary: *, Foo | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 Vary: Foo, *", ("", "200 | Vary: Foo, * | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 * on a second line", ("", "200 | Vary: Foo | Vary: * | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 malformed Vary", ("", "200 | Vary: Foo Bar | Cache-Control: max-age=60"), "vary-any"),
        ("9111-4.1 Vary on a field", ("", "200 | Vary: Foo | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-4.1 a coding that was asked for", ("GET / | Accept-Encoding: gzip", "200 | Vary: Accept-Encoding | Content-Encoding: gzip | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-4.1 a coding that others may not know", ("GET / | Accept-Encoding: gzip, deflate", "200 | Vary: Accept-Encoding | Content-Encoding: deflate | Cache-Control: max-age=60"), "coding"),
        ("9111-4.1 a coding that nobody asked for", ("", "200 | Content-Encoding: br | Cache-Control: max-age=60"), "coding"),
        ("9111-4.1 identity is no coding", ("", "200 | Content-Encoding: identity | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-5.2.2.4 no-cache with a validator", ("", "200 | Cache-Control: no-cache | ETag: \"a\""), "none no-cache"),
        ("9111-5.2.2.4 no-cache with freshness", ("", "200 | Cache-Control: no-cache, max-age=60 | ETag: \"a\""), "max-age 60 no-cache"),
        ("9111-5.2.2.4 no-cache without a validator", ("", "200 | Cache-Control: no-cache, max-age=60"), "useless"),
        ("9111-5.2.2.4 no-cache with fields", ("", "200 | Cache-Control: no-cache=\"x-a\", max-age=60"), "max-age 60"),
        ("9111-5.2.2.4 no-cache without a name", ("", "200 | Cache-Control: no-cache=\"\", max-age=60 | ETag: \"a\""), "max-age 60 no-cache"),
        ("9111-5.4 Pragma of an answer means nothing", ("", "200 | Pragma: no-cache | Cache-Control: max-age=60"), "max-age 60"),
        ("9111-5.2.2.6 no-transform forbids no storing", ("", "200 | Cache-Control: no-transform, max-age=60"), "max-age 60"),
        ("8246-2 immutable", ("", "200 | Cache-Control: immutable, max-age=60"), "max-age 60 immutable"),
        ("9110-14.3 ranges", ("", "200 | Accept-Ranges: bytes | Cache-Control: max-age=60"), "max-age 60 ranges"),
        ("9110-14.3 no ranges", ("", "200 | Accept-Ranges: none | Cache-Control: max-age=60"), "max-age 60"),
    ];
    check_all(cases, |(request, answer)| verdict(request, answer, &rules()));
}

#[test]
fn what_the_rules_change() {
    type Change = fn(&mut plan::Cache);
    #[rustfmt::skip]
    let cases: &[(&str, (Change, &str, &str), &str)] = &[
        ("rule max-object, too large", (|rules| rules.max_object = 5, "", "200 | Content-Length: 6 | Cache-Control: max-age=60"), "too-large"),
        ("rule max-object, just as large", (|rules| rules.max_object = 6, "", "200 | Content-Length: 6 | Cache-Control: max-age=60"), "max-age 60"),
        ("rule ignore-origin set-cookie", (|rules| rules.ignore_origin.set_cookie = true, "", "200 | Set-Cookie: a=b | Cache-Control: max-age=60"), "max-age 60"),
        ("rule ignore-origin vary", (|rules| rules.ignore_origin.vary = true, "", "200 | Vary: * | Cache-Control: max-age=60"), "max-age 60"),
        ("rule ignore-origin cache-control", (|rules| rules.ignore_origin.cache_control = true, "", "200 | Cache-Control: no-store, private | ETag: \"a\""), "none"),
        ("rule ignore-origin cache-control, targeted", (|rules| rules.ignore_origin.cache_control = true, "", "200 | CDN-Cache-Control: no-store | ETag: \"a\""), "none"),
        ("rule ignore-origin cache-control leaves Expires", (|rules| rules.ignore_origin.cache_control = true, "", "200 | Cache-Control: max-age=5 | Date: @0 | Expires: @9"), "expires 9"),
        ("rule ignore-origin cache-control leaves Authorization", (|rules| rules.ignore_origin.cache_control = true, "GET / | Authorization: a", "200 | Cache-Control: public | ETag: \"a\""), "authorization"),
        ("rule ignore-origin expires", (|rules| rules.ignore_origin.expires = true, "", "200 | Date: @0 | Expires: @9 | ETag: \"a\""), "none"),
        ("rule client-control off", (|rules| rules.client_control = false, "GET / | Cache-Control: no-store", "200 | Cache-Control: max-age=60"), "max-age 60"),
        ("rule ttl", (|rules| rules.ttl = Some(MINUTE), "", "200"), "ttl 60"),
        ("rule ttl leaves what the origin says", (|rules| rules.ttl = Some(MINUTE), "", "200 | Cache-Control: max-age=5"), "max-age 5"),
        ("rule ttl leaves what Expires says", (|rules| rules.ttl = Some(MINUTE), "", "200 | Date: @0 | Expires: @5"), "expires 5"),
        ("rule ttl leaves an invalid Expires", (|rules| rules.ttl = Some(MINUTE), "", "200 | Expires: 0 | ETag: \"a\""), "expires"),
        ("rule ttl leaves no-store", (|rules| rules.ttl = Some(MINUTE), "", "200 | Cache-Control: no-store"), "no-store"),
        ("rule ttl leaves private", (|rules| rules.ttl = Some(MINUTE), "", "200 | Cache-Control: private"), "private"),
        ("rule ttl, no-cache", (|rules| rules.ttl = Some(MINUTE), "", "200 | Cache-Control: no-cache | ETag: \"a\""), "ttl 60 no-cache"),
        ("rule ttl takes the place of a guess", (|rules| rules.ttl = Some(MINUTE), "", "200 | Date: @0 | Last-Modified: @-1000"), "ttl 60"),
        ("rule ttl, 404 is cacheable by default", (|rules| rules.ttl = Some(MINUTE), "", "404"), "ttl 60"),
        ("rule ttl, 302 is not", (|rules| rules.ttl = Some(MINUTE), "", "302"), "no-freshness"),
        ("rule ttl, 500 is not", (|rules| rules.ttl = Some(MINUTE), "", "500"), "no-freshness"),
        ("rule statuses, one of them", (|rules| { rules.ttl = Some(MINUTE); rules.statuses = vec![302]; }, "", "302"), "ttl 60"),
        ("rule statuses, none of them", (|rules| { rules.ttl = Some(MINUTE); rules.statuses = vec![302]; }, "", "200"), "useless"),
        ("rule statuses do not allow what never is", (|rules| { rules.ttl = Some(MINUTE); rules.statuses = vec![429]; }, "", "429"), "status"),
        ("rule negative-ttl, 404", (|rules| { rules.ttl = Some(MINUTE); rules.negative_ttl = Some(SECOND); }, "", "404"), "negative-ttl 1"),
        ("rule negative-ttl, 410", (|rules| rules.negative_ttl = Some(SECOND), "", "410"), "negative-ttl 1"),
        ("rule negative-ttl, 500", (|rules| rules.negative_ttl = Some(SECOND), "", "500"), "negative-ttl 1"),
        ("rule negative-ttl, 503", (|rules| rules.negative_ttl = Some(SECOND), "", "503"), "negative-ttl 1"),
        ("rule negative-ttl, 200", (|rules| rules.negative_ttl = Some(SECOND), "", "200"), "useless"),
        ("rule negative-ttl, 403", (|rules| rules.negative_ttl = Some(SECOND), "", "403"), "no-freshness"),
        ("rule negative-ttl leaves what the origin says", (|rules| rules.negative_ttl = Some(SECOND), "", "404 | Cache-Control: max-age=60"), "max-age 60"),
        ("rule negative-ttl, not among the statuses", (|rules| { rules.negative_ttl = Some(SECOND); rules.statuses = vec![200]; }, "", "404"), "useless"),
        ("rule force", (|rules| rules.force = Some(MINUTE), "", "200 | Cache-Control: max-age=5"), "force 60"),
        ("rule force, stale from the start", (|rules| rules.force = Some(MINUTE), "", "200 | Cache-Control: max-age=0"), "force 60"),
        ("rule force, no freshness", (|rules| rules.force = Some(MINUTE), "", "200"), "force 60"),
        ("rule force leaves no-store", (|rules| rules.force = Some(MINUTE), "", "200 | Cache-Control: no-store"), "no-store"),
        ("rule force leaves private", (|rules| rules.force = Some(MINUTE), "", "200 | Cache-Control: private"), "private"),
        ("rule force leaves Set-Cookie", (|rules| rules.force = Some(MINUTE), "", "200 | Set-Cookie: a=b"), "set-cookie"),
        ("rule force, 500 without freshness", (|rules| rules.force = Some(MINUTE), "", "500"), "no-freshness"),
        ("rule force, 500 with freshness", (|rules| rules.force = Some(MINUTE), "", "500 | Cache-Control: max-age=1"), "force 60"),
        ("rule force, a chosen status", (|rules| { rules.force = Some(MINUTE); rules.statuses = vec![302]; }, "", "302"), "force 60"),
        ("rule force and negative-ttl", (|rules| { rules.force = Some(MINUTE); rules.negative_ttl = Some(SECOND); }, "", "404 | Cache-Control: max-age=9"), "negative-ttl 1"),
        ("rule vary", (|rules| rules.vary = vec!["x-a".into()], "", "200 | Cache-Control: max-age=60"), "max-age 60"),
    ];
    check_all(cases, |(change, request, answer)| {
        let mut rules = rules();
        change(&mut rules);
        verdict(request, answer, &rules)
    });
}

#[test]
fn what_one_request_spoils_is_not_held_against_the_next() {
    for (name, request, answer, expect) in [
        ("no-store", "GET / | Cache-Control: no-store", "200 | Cache-Control: max-age=60", true),
        ("Authorization", "GET / | Authorization: a", "200 | Cache-Control: max-age=60", true),
        ("a body", "GET / | Content-Length: 1", "200 | Cache-Control: max-age=60", true),
        (
            "no coding accepted",
            "GET /",
            "200 | Content-Encoding: br | Cache-Control: max-age=60",
            true,
        ),
        ("private", "GET /", "200 | Cache-Control: private", false),
        ("a cookie", "GET /", "200 | Set-Cookie: a=b | Cache-Control: max-age=60", false),
        ("no freshness", "GET /", "302", false),
    ] {
        let code = verdict(request, answer, &rules());
        let reason = Unstorable::ALL.into_iter().find(|reason| reason.code() == code);
        assert_eq!(reason.map(Unstorable::is_of_request), Some(expect), "{name}: {code}");
    }
}

#[test]
fn reasons_have_names_of_their_own() {
    let codes: std::collections::BTreeSet<_> =
        Unstorable::ALL.iter().map(|one| one.code()).collect();
    assert_eq!(codes.len(), Unstorable::ALL.len());
    assert!(Unstorable::ALL.iter().all(|reason| !reason.why().is_empty()));
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn parts_are_stored_by_those_who_can_combine_them() {
    let (request, rules) = (request("GET / | Range: bytes=0-1"), rules());
    let head = answer("206 | Content-Range: bytes 0-1/9 | ETag: \"a\" | Cache-Control: max-age=60");
    let arrival = Arrival {
        request: &request,
        status: 206,
        answer: &head.headers,
        length: Some(9),
        requested: NOW,
        received: NOW,
        rules: &rules,
        parts: true,
        random: 0,
    };
    assert_eq!(shown(&arrival), "max-age 60");
    assert_eq!(shown(&Arrival { parts: false, ..arrival }), "partial");
    assert!(judge(&arrival).expect("it has just been judged").meta.flags.strong);
}

#[test]
fn which_fields_are_stored() {
    let rules = plan::Cache {
        ignore_origin: plan::IgnoreOrigin { set_cookie: true, ..Default::default() },
        ..rules()
    };
    #[rustfmt::skip]
    let cases = &[
        ("9111-3.1 most are", "X-A: 1 | Server: s | ETag: \"a\"", "x-a server etag"),
        ("9111-3.1 those of the connection", "Connection: x-b, close | X-B: 1 | X-A: 1 | Keep-Alive: 1 | TE: 1 | Proxy-Connection: 1 | Upgrade: a | Trailer: x-c", "x-a"),
        ("9111-3.1 several lines of Connection", "Connection: x-a | Connection: close, X-B | x-a: 1 | x-b: 1 | x-c: 1", "x-c"),
        ("9111-3.1 those of proxies", "Proxy-Authenticate: a | Proxy-Authentication-Info: a | Proxy-Authorization: a | Proxy-Status: a", "proxy-status"),
        ("9111-3.1 those named by no-cache", "Cache-Control: no-cache=\"x-b, X-C\", max-age=9 | X-A: 1 | X-B: 1 | x-c: 1", "cache-control x-a"),
        ("9111-3.1 those named by private", "Cache-Control: private=\"x-b\", max-age=9 | X-A: 1 | X-B: 1", "cache-control x-a"),
        ("9111-3.1 those that are made anew", "Age: 1 | Content-Length: 3 | X-A: 1", "x-a"),
        ("9111-7.3 cookies", "Set-Cookie: a=b | X-A: 1", "x-a"),
        ("9111-3.1 unknown ones", "Foo-Bar: 1 | Foo-Bar: 2 | Content-Location: /a", "foo-bar foo-bar content-location"),
        ("9211-2 Cache-Status of caches before", "Cache-Status: other; hit", "cache-status"),
    ];
    check_all(cases, |fields| {
        let lines =
            stored_of(&format!("200 | {fields} | Date: @0 | Last-Modified: @-1000"), &rules);
        let names = lines.lines().map(|line| line.split(':').next().unwrap_or_default());
        let names: Vec<String> = names.map(str::to_lowercase).collect();
        names.join(" ").replace(" date last-modified", "")
    });
}

#[test]
fn answers_without_a_date_get_that_of_their_arrival() {
    let arrival = format!("Date: {}\r\n", date(0));
    for (name, fields, expect) in [
        ("9110-6.6.1 none", "ETag: \"a\"", arrival.clone()),
        ("9110-6.6.1 an invalid one", "Date: foo | ETag: \"a\"", arrival),
        ("9110-6.6.1 another", "Date: @-5 | ETag: \"a\"", format!("Date: {}\r\n", date(-5))),
    ] {
        let lines = stored_of(&format!("200 | {fields}"), &rules());
        assert_eq!(lines.replace("ETag: \"a\"\r\n", ""), expect, "{name}");
    }
}

fn stored_of(lines: &str, rules: &plan::Cache) -> String {
    let (head, request) = (answer(lines), request(""));
    let arrival = Arrival {
        request: &request,
        status: 200,
        answer: &head.headers,
        length: None,
        requested: NOW,
        received: NOW,
        rules,
        parts: false,
        random: 0,
    };
    let terms = judge(&arrival).expect("each of them is stored");
    let mut out = Vec::new();
    terms.fields.write(&head.headers, &mut out);
    String::from_utf8(out).expect("the cases are ASCII")
}
