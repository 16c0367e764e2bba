//! What a 304 and an answer to HEAD change (RFC 9111 §3.2, §4.3.4, §4.3.5; RFC 9110 §15.3.7.3).

use seawall_cache::conditional::Validators;
use seawall_cache::merge::{HeadSays, can_combine, head_says, is_about, updated};

use crate::parts::{NOW, answer, check_all, stored};

#[test]
fn what_is_stored_after_a_validation() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-3.2 a field is replaced", ("X-A: 1", "X-A: 2"), "x-a=2"),
        ("9111-3.2 whatever its case", ("X-A: 1", "x-a: 2"), "x-a=2"),
        ("9111-3.2 a field is added", ("X-A: 1", "X-B: 2"), "x-a=1 x-b=2"),
        ("9111-3.2 a field stays", ("X-A: 1 | X-B: 2", "X-B: 3"), "x-a=1 x-b=3"),
        ("9111-3.2 all lines of a name go", ("X-A: 1 | X-A: 2", "X-A: 3"), "x-a=3"),
        ("9111-3.2 all lines of a name come", ("X-A: 1", "X-A: 2 | X-A: 3"), "x-a=2 x-a=3"),
        ("9111-3.2 Cache-Control", ("Cache-Control: max-age=1", "Cache-Control: max-age=2"), "cache-control=max-age=2"),
        ("9111-3.2 Expires", ("Expires: 1", "Expires: 2"), "expires=2"),
        ("9111-3.2 Date", ("Date: 1", "Date: 2"), "date=2"),
        ("9110-6.6.1 Date of an earlier time", ("Date: 1 | X-A: 1", "X-B: 2"), "x-a=1 x-b=2"),
        ("9111-5.1 Age of the validation", ("X-A: 1", "Age: 5"), "x-a=1 age=5"),
        ("9111-3.2 Vary", ("Vary: a", "Vary: b"), "vary=b"),
        ("9111-3.2 ETag", ("ETag: W/\"a\"", "ETag: \"a\""), "etag=\"a\""),
        ("9111-3.2 Last-Modified", ("Last-Modified: 1", "Last-Modified: 2"), "last-modified=2"),
        ("9111-3.2 Surrogate-Key", ("Surrogate-Key: a", "Surrogate-Key: b"), "surrogate-key=b"),
        ("9111-3.2 Set-Cookie", ("X-A: 1", "Set-Cookie: a=b"), "x-a=1 set-cookie=a=b"),
        ("9111-3.2 Content-Security-Policy", ("Content-Security-Policy: a", "Content-Security-Policy: b"), "content-security-policy=b"),
        ("9111-3.2 Content-Location", ("Content-Location: /a", "Content-Location: /b"), "content-location=/b"),
        ("9111-3.2 not Content-Type", ("Content-Type: a", "Content-Type: b"), "content-type=a"),
        ("9111-3.2 not Content-Encoding", ("Content-Encoding: br", "Content-Encoding: gzip"), "content-encoding=br"),
        ("9111-3.2 not Content-Encoding that was not there", ("X-A: 1", "Content-Encoding: gzip"), "x-a=1"),
        ("9111-3.2 not Content-Range", ("X-A: 1", "Content-Range: bytes 0-1/2"), "x-a=1"),
        ("9111-3.2 not Content-Length", ("X-A: 1", "Content-Length: 99"), "x-a=1"),
        ("9111-3.1 not those of the connection", ("X-A: 1", "Connection: close | Keep-Alive: 1"), "x-a=1"),
        ("9111-3.1 not those that Connection names", ("X-A: 1", "Connection: x-a, x-b | X-A: 2 | X-B: 2"), "x-a=1"),
        ("7234-4.3.4 warnings of the cache go", ("Warning: 110 - \"stale\" | X-A: 1", "X-B: 2"), "x-a=1 x-b=2"),
        ("7234-4.3.4 warnings of the content stay", ("Warning: 214 - \"t\"", "X-B: 2"), "warning=214 - \"t\" x-b=2"),
        ("9111-3.2 an empty field replaces too", ("X-A: 1", "X-A:"), "x-a="),
    ];
    check_all(cases, |(had, told)| {
        let told = answer(&format!("304 | {told}"));
        let merged = updated(&stored(&format!("200 | {had}")), &told.headers);
        let shown = merged.iter().map(|field| {
            let name = String::from_utf8_lossy(field.name).to_lowercase();
            format!("{name}={}", String::from_utf8_lossy(field.value))
        });
        shown.collect::<Vec<_>>().join(" ")
    });
}

#[test]
fn whether_a_304_is_about_what_is_stored() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.3.4 the same strong tag", ("ETag: \"a\"", "ETag: \"a\""), "yes"),
        ("9111-4.3.4 another strong tag", ("ETag: \"a\"", "ETag: \"b\""), "no"),
        ("9111-4.3.4 a strong tag for a weak one", ("ETag: W/\"a\"", "ETag: \"a\""), "no"),
        ("9111-4.3.4 a strong tag for none", ("Last-Modified: @-60", "ETag: \"a\""), "no"),
        ("9111-4.3.4 a strong tag, another date", ("ETag: \"a\" | Last-Modified: @-60", "ETag: \"a\" | Last-Modified: @-50"), "yes"),
        ("9111-4.3.4 the same weak tag", ("ETag: W/\"a\"", "ETag: W/\"a\""), "yes"),
        ("9111-4.3.4 a weak tag for a strong one", ("ETag: \"a\"", "ETag: W/\"a\""), "yes"),
        ("9111-4.3.4 another weak tag", ("ETag: W/\"a\"", "ETag: W/\"b\""), "no"),
        ("9111-4.3.4 the same date", ("Last-Modified: @-60", "Last-Modified: @-60"), "yes"),
        ("9111-4.3.4 another date", ("Last-Modified: @-60", "Last-Modified: @-50"), "no"),
        ("9111-4.3.4 a date for none", ("ETag: \"a\"", "Last-Modified: @-50"), "no"),
        ("9111-4.3.4 none for a tag", ("ETag: \"a\"", "X-A: 1"), "yes"),
        ("9111-4.3.4 none for none", ("X-A: 1", "X-A: 1"), "yes"),
    ];
    check_all(cases, |(had, told)| {
        let had = stored(&format!("200 | {had}"));
        let told = answer(&format!("304 | {told}"));
        let is = is_about(&Validators::stored(&had, NOW), &told.headers);
        if is { "yes" } else { "no" }.to_owned()
    });
}

#[test]
fn what_an_answer_to_head_says() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.3.5 the same", ("ETag: \"a\" | Last-Modified: @-60", "ETag: \"a\" | Last-Modified: @-60 | Content-Length: 5"), "same"),
        ("9111-4.3.5 another tag", ("ETag: \"a\"", "ETag: \"b\""), "changed"),
        ("9111-4.3.5 another date", ("Last-Modified: @-60", "Last-Modified: @-50"), "changed"),
        ("9111-4.3.5 another length", ("ETag: \"a\"", "ETag: \"a\" | Content-Length: 6"), "changed"),
        ("9111-4.3.5 no length", ("ETag: \"a\"", "ETag: \"a\""), "same"),
        ("9111-4.3.5 a tag for none", ("X-A: 1", "ETag: \"a\""), "changed"),
        ("9111-4.3.5 none for a tag", ("ETag: \"a\"", "X-A: 1"), "same"),
    ];
    check_all(cases, |(had, told)| {
        let had = stored(&format!("200 | {had}"));
        let told = answer(&format!("200 | {told}"));
        let had = Validators::stored(&had, NOW);
        match head_says(&had, Some(5), &told.headers, told.content_length) {
            HeadSays::Same => "same",
            HeadSays::Changed => "changed",
        }
        .to_owned()
    });
}

#[test]
fn which_parts_can_be_combined() {
    #[rustfmt::skip]
    let cases = &[
        ("9110-15.3.7.3 the same strong tag", ("ETag: \"a\"", "ETag: \"a\""), "yes"),
        ("9110-15.3.7.3 another tag", ("ETag: \"a\"", "ETag: \"b\""), "no"),
        ("9110-15.3.7.3 the same weak tag", ("ETag: W/\"a\"", "ETag: W/\"a\""), "no"),
        ("9110-15.3.7.3 a tag and none", ("ETag: \"a\"", "X-A: 1"), "no"),
        ("9110-15.3.7.3 none", ("X-A: 1", "X-A: 1"), "no"),
        ("9110-15.3.7.3 the same strong date", ("Last-Modified: @-60 | Date: @0", "Last-Modified: @-60 | Date: @0"), "yes"),
        ("9110-15.3.7.3 the same weak date", ("Last-Modified: @0 | Date: @0", "Last-Modified: @0 | Date: @0"), "no"),
        ("9110-15.3.7.3 another date", ("Last-Modified: @-60 | Date: @0", "Last-Modified: @-50 | Date: @0"), "no"),
    ];
    check_all(cases, |(one, other)| {
        let (one, other) = (stored(&format!("206 | {one}")), stored(&format!("206 | {other}")));
        let can = can_combine(&Validators::stored(&one, NOW), &Validators::stored(&other, NOW));
        if can { "yes" } else { "no" }.to_owned()
    });
}
