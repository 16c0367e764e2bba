//! By what answers differ (RFC 9111 §4.1; RFC 9110 §12.5).

use proptest::prelude::*;
use seawall_cache::vary::{Encodings, Varies, fields, secondary};
use seawall_h1::RequestHead;

use crate::parts::{answer, check_all, request, rules};

#[test]
fn by_what_an_answer_varies() {
    let mut with_rule = rules();
    with_rule.vary = vec!["x-rule".into(), "accept".into()];
    let shown = |varies: Varies| match varies {
        Varies::Any => "any".to_owned(),
        Varies::By(names) => String::from_utf8(names.join(&b","[..])).expect("tokens are ASCII"),
    };
    let many: String = (0..33).map(|n| format!("x-{n},")).collect();
    let many = format!("Vary: {many}");
    #[rustfmt::skip]
    let cases = &[
        ("9110-12.5.5 nothing", "X-A: 1", ""),
        ("9110-12.5.5 one", "Vary: Foo", "foo"),
        ("9110-12.5.5 several, sorted", "Vary: Foo, Bar,baz", "bar,baz,foo"),
        ("9110-12.5.5 several lines", "Vary: Foo | Vary: Bar", "bar,foo"),
        ("9110-12.5.5 twice", "Vary: Foo, FOO | Vary: foo", "foo"),
        ("9110-12.5.5 empty", "Vary:", ""),
        ("9110-12.5.5 empty members", "Vary: ,, Foo,", "foo"),
        ("9110-12.5.5 any", "Vary: *", "any"),
        ("9110-12.5.5 any and one", "Vary: Foo, *", "any"),
        ("9110-12.5.5 malformed", "Vary: Foo;Bar", "any"),
        ("9110-12.5.5 too many", &many, "any"),
        ("9111-4.1 a coding", "Content-Encoding: gzip", "accept-encoding"),
        ("9111-4.1 a coding and its Vary", "Content-Encoding: gzip | Vary: Accept-Encoding", "accept-encoding"),
        ("9111-4.1 no coding", "Content-Encoding: identity", ""),
    ];
    check_all(cases, |lines| shown(fields(&answer(&format!("200 | {lines}")).headers, &rules())));
    let varied = |rules: &_| shown(fields(&answer("200 | Vary: Foo, accept").headers, rules));
    assert_eq!(varied(&with_rule), "accept,foo,x-rule", "rule vary");
    with_rule.ignore_origin.vary = true;
    assert_eq!(varied(&with_rule), "accept,x-rule", "rule ignore-origin vary");
}

fn key(names: &str, request: &RequestHead) -> Vec<u8> {
    let mut out = Vec::new();
    let names: Vec<Box<[u8]>> = names.split(',').map(|name| name.as_bytes().into()).collect();
    secondary(&names, request, &mut out);
    out
}

/// Whether an answer to the first request may be given to the second.
#[test]
fn which_requests_are_alike() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.1 the same", ("foo", "Foo: 1", "Foo: 1"), "alike"),
        ("9111-4.1 other values", ("foo", "Foo: 1", "Foo: 2"), "different"),
        ("9111-4.1 other letters", ("foo", "Foo: a", "Foo: A"), "different"),
        ("9111-4.1 absent from both", ("foo", "Bar: 1", "Bar: 2"), "alike"),
        ("9111-4.1 absent from the second", ("foo", "Foo: 1", "Bar: 1"), "different"),
        ("9111-4.1 absent from the first", ("foo", "Bar: 1", "Foo: 1"), "different"),
        ("9111-4.1 empty is not absent", ("foo", "Foo:", "Bar: 1"), "different"),
        ("9111-4.1 one of several", ("bar,foo", "Foo: 1 | Bar: 2", "Foo: 1 | Bar: 3"), "different"),
        ("9111-4.1 all of several", ("bar,foo", "Foo: 1 | Bar: 2", "Bar: 2 | Foo: 1 | Baz: 3"), "alike"),
        ("9111-4.1 values do not run into each other", ("bar,foo", "Bar: ab | Foo: c", "Bar: a | Foo: bc"), "different"),
        ("9111-4.1 values do not change places", ("bar,foo", "Bar: 1 | Foo: 2", "Bar: 2 | Foo: 1"), "different"),
        ("9111-4.1 white space around commas", ("foo", "Foo: 1, 2", "Foo: 1 ,\t2"), "alike"),
        ("9111-4.1 several lines", ("foo", "Foo: 1, 2", "Foo: 1 | Foo: 2"), "alike"),
        ("9111-4.1 the order of values", ("foo", "Foo: 1, 2", "Foo: 2, 1"), "different"),
        ("9111-4.1 white space elsewhere", ("foo", "Foo: 1 2", "Foo: 12"), "different"),
        ("9111-4.1 white space in strings", ("foo", "Foo: \"a, b\"", "Foo: \"a,b\""), "different"),
        ("9111-4.1 white space behind strings", ("foo", "Foo: \"a\", b", "Foo: \"a\",b"), "alike"),
        ("9111-4.1 an escaped quote", ("foo", "Foo: \"a\\\", b\"", "Foo: \"a\\\",b\""), "different"),
        ("9111-4.1 the names' case", ("user-agent", "USER-AGENT: a", "user-agent: a"), "alike"),
        ("9110-12.5.3 order of codings", ("accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br,gzip"), "alike"),
        ("9110-12.5.3 another coding", ("accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: br"), "different"),
        ("9110-12.5.3 codings that do not matter", ("accept-encoding", "Accept-Encoding: gzip, deflate", "Accept-Encoding: gzip"), "alike"),
        ("9110-12.5.3 weights", ("accept-encoding", "Accept-Encoding: gzip;q=0.5", "Accept-Encoding: gzip"), "alike"),
        ("9110-12.5.3 refused", ("accept-encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip"), "different"),
        ("9110-12.5.3 refused, written otherwise", ("accept-encoding", "Accept-Encoding: gzip;q=0.000", "Accept-Encoding: identity"), "alike"),
        ("9110-12.5.3 none and identity", ("accept-encoding", "Foo: 1", "Accept-Encoding: identity"), "alike"),
        ("9110-12.5.3 identity refused", ("accept-encoding", "Accept-Encoding: gzip, identity;q=0", "Accept-Encoding: gzip"), "different"),
        ("9110-12.5.3 all", ("accept-encoding", "Accept-Encoding: *", "Accept-Encoding: zstd, br, gzip"), "alike"),
        ("9110-12.5.3 x-gzip", ("accept-encoding", "Accept-Encoding: x-gzip", "Accept-Encoding: GZIP"), "alike"),
        ("9110-12.5.4 case", ("accept-language", "Accept-Language: en-US,en", "Accept-Language: EN-us, en"), "alike"),
        ("9110-12.5.4 weights that say no more", ("accept-language", "Accept-Language: en-US,en;q=0.9,de;q=0.8", "Accept-Language: en-us, en;q=0.7, de;q=0.3"), "alike"),
        ("9110-12.5.4 the order that weights make", ("accept-language", "Accept-Language: de;q=0.3, en", "Accept-Language: en, de"), "alike"),
        ("9110-12.5.4 another order", ("accept-language", "Accept-Language: de, en", "Accept-Language: en, de"), "different"),
        ("9110-12.5.4 refused", ("accept-language", "Accept-Language: de, en;q=0", "Accept-Language: de, en"), "different"),
        ("9110-12.5.4 refused is not left out", ("accept-language", "Accept-Language: de, en;q=0", "Accept-Language: de"), "different"),
        ("9110-12.5.4 more of them", ("accept-language", "Accept-Language: de, en", "Accept-Language: de"), "different"),
    ];
    check_all(cases, |(names, one, other)| {
        let (one, other) =
            (request(&format!("GET / | {one}")), request(&format!("GET / | {other}")));
        let alike = key(names, &one) == key(names, &other);
        if alike { "alike" } else { "different" }.to_owned()
    });
}

#[test]
fn more_languages_than_are_put_in_order_are_not_cut_off() {
    let languages: Vec<String> = (0..20).map(|n| format!("l{n}")).collect();
    let all = request(&format!("GET / | Accept-Language: {}", languages.join(", ")));
    let fewer = request(&format!("GET / | Accept-Language: {}", languages[..19].join(", ")));
    assert_ne!(key("accept-language", &all), key("accept-language", &fewer));
}

#[test]
fn what_a_fill_asks_for() {
    #[rustfmt::skip]
    let cases = &[
        ("9110-12.5.3 what browsers send", "Accept-Encoding: gzip, deflate, br, zstd", "br, zstd, gzip"),
        ("9110-12.5.3 none", "X-A: 1", "identity"),
        ("9110-12.5.3 empty", "Accept-Encoding:", "identity"),
        ("9110-12.5.3 identity", "Accept-Encoding: identity", "identity"),
        ("9110-12.5.3 unknown ones", "Accept-Encoding: deflate, foo", "identity"),
        ("9110-12.5.3 all", "Accept-Encoding: *", "br, zstd, gzip"),
        ("9110-12.5.3 all but one", "Accept-Encoding: *, br;q=0", "zstd, gzip"),
        ("9110-12.5.3 none but one", "Accept-Encoding: br, *;q=0", "br, identity;q=0"),
        ("9110-12.5.3 nothing at all", "Accept-Encoding: *;q=0", "*;q=0"),
        ("9110-8.4.1.3 gzip refused by its other name", "Accept-Encoding: x-gzip;q=0, gzip, br", "br"),
        ("9110-12.5.3 identity alone refused", "Accept-Encoding: identity;q=0", "*;q=0"),
        ("9110-12.5.3 identity before all are refused", "Accept-Encoding: identity, *;q=0", "identity"),
        ("9110-12.4.2 spaces around weights", "Accept-Encoding: gzip ; q=0 , br ;Q=0.001", "br"),
        ("9110-12.4.2 malformed weight", "Accept-Encoding: gzip;q=2, br;q=0.0001, zstd;q=", "identity"),
        ("9110-5.3 two lines", "Accept-Encoding: gzip | Accept-Encoding: br", "br, gzip"),
    ];
    check_all(cases, |lines| {
        let mut out = Vec::new();
        Encodings::of(&request(&format!("GET / | {lines}"))).write(&mut out);
        String::from_utf8(out).expect("codings are ASCII")
    });
}

proptest! {
    /// No two requests that differ in a field that means nothing to us share a key.
    #[test]
    fn keys_differ_as_values_do(
        one in prop::collection::vec(prop::option::of("[a-c]{0,3}"), 3),
        other in prop::collection::vec(prop::option::of("[a-c]{0,3}"), 3),
    ) {
        let with = |values: &[Option<String>]| {
            let mut request = request("GET /");
            for (name, value) in ["x-a", "x-b", "x-c"].iter().zip(values) {
                if let Some(value) = value {
                    request.headers.push(name.as_bytes(), value.as_bytes());
                }
            }
            key("x-a,x-b,x-c", &request)
        };
        prop_assert_eq!(with(&one) == with(&other), one == other);
    }

    /// A fill that carries the normal form is asked for by requests with the same key.
    #[test]
    fn the_normal_form_has_the_key_of_what_it_is_of(
        value in "((br|gzip|zstd|identity|deflate|\\*|x-gzip)(;q=(0|0\\.5|1))?,? ?){0,5}",
    ) {
        let client = request(&format!("GET / | Accept-Encoding: {value}"));
        let mut normal = Vec::new();
        Encodings::of(&client).write(&mut normal);
        let fill = request(&format!("GET / | Accept-Encoding: {}", String::from_utf8_lossy(&normal)));
        prop_assert_eq!(Encodings::of(&fill), Encodings::of(&client));
        prop_assert_eq!(key("accept-encoding", &fill), key("accept-encoding", &client));
    }

    #[test]
    fn nothing_makes_it_panic(value in "[ -~\t]{0,100}") {
        let mut request = request("GET /");
        for name in ["accept-encoding", "accept-language", "foo", "user-agent", "sec-ch-ua-mobile"] {
            request.headers.push(name.as_bytes(), seawall_h1::fields::trim(value.as_bytes()));
        }
        key("accept-encoding,accept-language,foo,user-agent", &request);
    }
}
