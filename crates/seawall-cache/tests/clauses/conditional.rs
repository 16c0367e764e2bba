//! Preconditions (RFC 9110 §13; RFC 9111 §4.3.1, §4.3.2).

use proptest::prelude::*;
use seawall_cache::conditional::{
    Conditional, Validators, evaluate, has_preconditions, if_range, is_carried_by_304,
    strong_match, weak_match, write_validators,
};
use seawall_h1::headers::Field;
use seawall_h1::{Headers, Known};

use crate::parts::{NOW, answer, check_all, date, request, stored};

#[test]
fn who_has_what_is_stored() {
    #[rustfmt::skip]
    let cases = &[
        ("9110-13.1.2 no precondition", ("GET /", "200 | ETag: \"a\""), "send"),
        ("9110-13.1.2 the same tag", ("GET / | If-None-Match: \"a\"", "200 | ETag: \"a\""), "304"),
        ("9110-13.1.2 another tag", ("GET / | If-None-Match: \"b\"", "200 | ETag: \"a\""), "send"),
        ("9110-13.1.2 HEAD", ("HEAD / | If-None-Match: \"a\"", "200 | ETag: \"a\""), "304"),
        ("9110-13.1.2 the first of several", ("GET / | If-None-Match: \"a\", \"b\", \"c\"", "200 | ETag: \"a\""), "304"),
        ("9110-13.1.2 the second of several", ("GET / | If-None-Match: \"b\", \"a\", \"c\"", "200 | ETag: \"a\""), "304"),
        ("9110-13.1.2 the last of several", ("GET / | If-None-Match: \"b\",\"c\",\"a\"", "200 | ETag: \"a\""), "304"),
        ("9110-13.1.2 none of several", ("GET / | If-None-Match: \"b\", \"c\"", "200 | ETag: \"a\""), "send"),
        ("9110-13.1.2 on a second line", ("GET / | If-None-Match: \"b\" | If-None-Match: \"a\"", "200 | ETag: \"a\""), "304"),
        ("9110-8.8.3 a comma within", ("GET / | If-None-Match: \"a,b\"", "200 | ETag: \"a,b\""), "304"),
        ("9110-8.8.3 a comma within another", ("GET / | If-None-Match: \"x,\"a\"", "200 | ETag: \"a\""), "send"),
        ("9110-8.8.3 other letters", ("GET / | If-None-Match: \"A\"", "200 | ETag: \"a\""), "send"),
        ("9110-8.8.3 bytes above ASCII", ("GET / | If-None-Match: \"ü\"", "200 | ETag: \"ü\""), "304"),
        ("9110-8.8.3 the empty tag", ("GET / | If-None-Match: \"\"", "200 | ETag: \"\""), "304"),
        ("9110-13.1.2 weak by weak", ("GET / | If-None-Match: W/\"a\"", "200 | ETag: W/\"a\""), "304"),
        ("9110-13.1.2 weak by strong", ("GET / | If-None-Match: \"a\"", "200 | ETag: W/\"a\""), "304"),
        ("9110-13.1.2 strong by weak", ("GET / | If-None-Match: W/\"a\"", "200 | ETag: \"a\""), "304"),
        ("9110-8.8.3 w is not W", ("GET / | If-None-Match: w/\"a\"", "200 | ETag: \"a\""), "send"),
        ("9110-8.8.3 no quotes in either", ("GET / | If-None-Match: a", "200 | ETag: a"), "304"),
        ("9110-8.8.3 no quotes in the request", ("GET / | If-None-Match: a", "200 | ETag: \"a\""), "send"),
        ("9110-8.8.3 no quotes in the answer", ("GET / | If-None-Match: \"a\"", "200 | ETag: a"), "send"),
        ("9110-13.1.2 any", ("GET / | If-None-Match: *", "200 | ETag: \"a\""), "304"),
        ("9110-13.1.2 any, without a tag", ("GET / | If-None-Match: *", "200 | X-A: 1"), "304"),
        ("9110-13.1.2 quoted asterisk", ("GET / | If-None-Match: \"*\"", "200 | ETag: \"a\""), "send"),
        ("9110-13.1.2 no tag is stored", ("GET / | If-None-Match: \"a\"", "200 | Last-Modified: @-60"), "send"),
        ("9110-13.1.2 empty", ("GET / | If-None-Match:", "200 | ETag: \"a\""), "send"),
        ("9110-13.1.3 the same date", ("GET / | If-Modified-Since: @-60", "200 | Last-Modified: @-60"), "304"),
        ("9110-13.1.3 a later date", ("GET / | If-Modified-Since: @-50", "200 | Last-Modified: @-60"), "304"),
        ("9110-13.1.3 an earlier date", ("GET / | If-Modified-Since: @-70", "200 | Last-Modified: @-60"), "send"),
        ("9110-13.1.3 HEAD", ("HEAD / | If-Modified-Since: @-60", "200 | Last-Modified: @-60"), "304"),
        ("9110-13.1.3 not with If-None-Match", ("GET / | If-Modified-Since: @-60 | If-None-Match: \"b\"", "200 | Last-Modified: @-60 | ETag: \"a\""), "send"),
        ("9110-13.1.3 If-None-Match first", ("GET / | If-Modified-Since: @-90 | If-None-Match: \"a\"", "200 | Last-Modified: @-60 | ETag: \"a\""), "304"),
        ("9110-13.1.3 not with If-None-Match though no tag is stored", ("GET / | If-Modified-Since: @-60 | If-None-Match: \"b\"", "200 | Last-Modified: @-60"), "send"),
        ("9110-13.1.3 an invalid date", ("GET / | If-Modified-Since: foo", "200 | Last-Modified: @-60"), "send"),
        ("9110-13.1.3 the same invalid date", ("GET / | If-Modified-Since: foo", "200 | Last-Modified: foo"), "send"),
        ("9110-13.1.3 two dates", ("GET / | If-Modified-Since: @-60 | If-Modified-Since: @-60", "200 | Last-Modified: @-60"), "send"),
        ("9110-13.1.3 another form of the date", ("GET / | If-Modified-Since: Sun Sep  6 00:00:00 2026", "200 | Last-Modified: @0"), "304"),
        ("9111-4.3.2 Date in want of Last-Modified, not since", ("GET / | If-Modified-Since: @-5", "200 | Date: @-5"), "304"),
        ("9111-4.3.2 Date in want of Last-Modified, since", ("GET / | If-Modified-Since: @-6", "200 | Date: @-5"), "send"),
        ("9111-4.3.2 arrival in want of Date, not since", ("GET / | If-Modified-Since: @0", "200 | X-A: 1"), "304"),
        ("9111-4.3.2 arrival in want of Date, since", ("GET / | If-Modified-Since: @-1", "200 | X-A: 1"), "send"),
        ("9110-13.2.1 not for a redirection", ("GET / | If-None-Match: \"a\"", "301 | ETag: \"a\""), "send"),
        ("9110-13.2.1 not for 404", ("GET / | If-Modified-Since: @0", "404 | Last-Modified: @-60"), "send"),
        ("9110-13.2.1 for 203", ("GET / | If-None-Match: \"a\"", "203 | ETag: \"a\""), "304"),
        ("9110-13.2.1 not for POST", ("POST / | If-None-Match: \"a\"", "200 | ETag: \"a\""), "send"),
        ("9111-4.3.2 If-Match is for the origin", ("GET / | If-Match: \"a\"", "200 | ETag: \"a\""), "forward"),
        ("9111-4.3.2 If-Match with If-None-Match", ("GET / | If-Match: * | If-None-Match: \"a\"", "200 | ETag: \"a\""), "forward"),
        ("9111-4.3.2 If-Unmodified-Since is for the origin", ("GET / | If-Unmodified-Since: @0", "200 | ETag: \"a\""), "forward"),
    ];
    check_all(cases, |(lines, answer)| {
        let request = request(lines);
        let fields = stored(answer);
        let status = answer[..3].parse().expect("a status");
        let outcome = evaluate(&request, status, &Validators::stored(&fields, NOW));
        assert!(has_preconditions(&request) || outcome == Conditional::Send, "{lines}");
        match outcome {
            Conditional::Send => "send",
            Conditional::NotModified => "304",
            Conditional::Forward => "forward",
        }
        .to_owned()
    });
}

#[test]
fn who_may_get_a_part() {
    #[rustfmt::skip]
    let cases = &[
        ("9110-13.1.5 no If-Range", ("GET /", "ETag: \"a\""), "part"),
        ("9110-13.1.5 the same tag", ("GET / | If-Range: \"a\"", "ETag: \"a\""), "part"),
        ("9110-13.1.5 another tag", ("GET / | If-Range: \"b\"", "ETag: \"a\""), "whole"),
        ("9110-13.1.5 a weak tag is stored", ("GET / | If-Range: \"a\"", "ETag: W/\"a\""), "whole"),
        ("9110-13.1.5 a weak tag is sent", ("GET / | If-Range: W/\"a\"", "ETag: W/\"a\""), "whole"),
        ("9110-13.1.5 no tag is stored", ("GET / | If-Range: \"a\"", "Last-Modified: @-60"), "whole"),
        ("9110-13.1.5 no list", ("GET / | If-Range: \"a\", \"b\"", "ETag: \"a\""), "whole"),
        ("9110-13.1.5 twice", ("GET / | If-Range: \"a\" | If-Range: \"a\"", "ETag: \"a\""), "whole"),
        ("9110-13.1.5 neither tag nor date", ("GET / | If-Range: foo", "ETag: foo"), "whole"),
        ("9110-13.1.5 the same date", ("GET / | If-Range: @-60", "Last-Modified: @-60 | Date: @0"), "part"),
        ("9110-13.1.5 a later date", ("GET / | If-Range: @-50", "Last-Modified: @-60 | Date: @0"), "whole"),
        ("9110-13.1.5 an earlier date", ("GET / | If-Range: @-70", "Last-Modified: @-60 | Date: @0"), "whole"),
        ("9110-8.8.2.2 a date that may have been passed", ("GET / | If-Range: @0", "Last-Modified: @0 | Date: @0"), "whole"),
        ("9110-8.8.2.2 a second later", ("GET / | If-Range: @-1", "Last-Modified: @-1 | Date: @0"), "part"),
        ("9110-8.8.2.2 without Date", ("GET / | If-Range: @-60", "Last-Modified: @-60"), "whole"),
    ];
    check_all(cases, |(lines, fields)| {
        let fields = stored(&format!("200 | {fields}"));
        let may = if_range(&request(lines), &Validators::stored(&fields, NOW));
        if may { "part" } else { "whole" }.to_owned()
    });
}

#[test]
fn what_the_origin_is_asked() {
    let since = date(-60);
    let both = format!("If-None-Match: \"a\"\r\nIf-Modified-Since: {since}\r\n");
    let date_only = format!("If-Modified-Since: {since}\r\n");
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.3.1 tag", "ETag: \"a\"", "If-None-Match: \"a\"\r\n"),
        ("9111-4.3.1 weak tag", "ETag: W/\"a\"", "If-None-Match: W/\"a\"\r\n"),
        ("9111-4.3.1 date", "Last-Modified: @-60", &date_only),
        ("9111-4.3.1 tag and date", "Last-Modified: @-60 | ETag: \"a\"", &both),
        ("9111-4.3.1 an invalid date", "Last-Modified: foo | ETag: \"a\"", "If-None-Match: \"a\"\r\n"),
        ("9111-4.3.1 nothing to ask by", "X-A: 1", ""),
    ];
    check_all(cases, |fields| {
        let fields = stored(&format!("200 | {fields}"));
        let mut out = Vec::new();
        let one = Validators::stored(&fields, NOW);
        let wrote = write_validators(std::iter::once(one), &mut out);
        assert_eq!(wrote, !out.is_empty());
        assert_eq!(wrote, one.can_validate());
        String::from_utf8(out).expect("the cases are ASCII")
    });
    let (one, other) = (stored("200 | ETag: \"a\""), stored("200 | ETag: \"b\""));
    let mut out = Vec::new();
    write_validators([&one, &other].map(|it| Validators::stored(it, NOW)).into_iter(), &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "If-None-Match: \"a\", \"b\"\r\n",
        "9111-4.3.1 variants"
    );
}

#[test]
fn which_fields_go_with_a_304() {
    let carried = |name: &str, has_etag| {
        let field = Field { name: name.as_bytes(), value: b"", known: Known::of(name.as_bytes()) };
        is_carried_by_304(&field, has_etag)
    };
    for (name, expect) in [
        ("Content-Location", true),
        ("Date", true),
        ("ETag", true),
        ("Vary", true),
        ("Cache-Control", true),
        ("Expires", true),
        ("Content-Security-Policy", true),
        ("Set-Cookie", true),
        ("X-Foo", true),
        ("Last-Modified", false),
        ("Content-Length", false),
        ("Content-Type", false),
        ("content-encoding", false),
        ("Content-Language", false),
        ("Content-Range", false),
        ("Content-MD5", false),
        ("Content-Digest", false),
        ("Repr-Digest", false),
        ("Transfer-Encoding", false),
    ] {
        assert_eq!(carried(name, true), expect, "9110-15.4.5 {name}");
    }
    assert!(carried("Last-Modified", false), "9110-15.4.5 Last-Modified in want of ETag");
}

#[test]
fn validators_are_the_same_from_both_sides() {
    let lines = "200 | Date: @0 | etag: \"a\" | Last-Modified: @-60 | ETag: \"b\"";
    let (head, fields) = (answer(lines), stored(lines));
    let one = Validators::stored(&fields, NOW);
    assert_eq!(one, Validators::of(&head.headers, NOW));
    assert_eq!(one.etag, Some(&b"\"a\""[..]));
    assert!(one.is_strong());
}

#[test]
fn tags_compare_as_the_table_of_9110_8_8_3_2_says() {
    for (one, other, strongly, weakly) in [
        ("W/\"1\"", "W/\"1\"", false, true),
        ("W/\"1\"", "W/\"2\"", false, false),
        ("W/\"1\"", "\"1\"", false, true),
        ("\"1\"", "\"1\"", true, true),
        ("", "", false, false),
        ("W/", "W/", false, false),
        ("1", "1", false, true),
    ] {
        assert_eq!(strong_match(one.as_bytes(), other.as_bytes()), strongly, "{one} {other}");
        assert_eq!(weak_match(one.as_bytes(), other.as_bytes()), weakly, "{one} {other}");
    }
}

proptest! {
    #[test]
    fn nothing_that_can_be_sent_makes_it_panic(
        values in prop::collection::vec("[ -~]{0,40}", 5),
        fields in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut request = request("");
        let names = ["If-None-Match", "If-Modified-Since", "If-Match", "If-Range", "If-None-Match"];
        let mut headers = Headers::new();
        for (name, value) in names.iter().zip(&values) {
            headers.push(name.as_bytes(), seawall_h1::fields::trim(value.as_bytes()));
        }
        request.headers = headers;
        let stored = Validators::stored(&fields, NOW);
        evaluate(&request, 200, &stored);
        if_range(&request, &stored);
    }

    #[test]
    fn a_tag_is_found_in_any_list_that_has_it(
        tags in prop::collection::vec("(W/)?\"[!#-~,]{0,10}\"", 1..6),
        at in any::<prop::sample::Index>(),
    ) {
        let wanted = &tags[at.index(tags.len())];
        let validators =
            Validators { etag: Some(wanted.as_bytes()), received: NOW, ..Validators::default() };
        let mut request = request("GET /");
        request.headers.push(b"If-None-Match", tags.join(", ").as_bytes());
        prop_assert_eq!(evaluate(&request, 200, &validators), Conditional::NotModified);
    }
}
