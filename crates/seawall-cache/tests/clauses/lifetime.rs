//! How long answers are fresh (RFC 9111 §4.2.1, §4.2.2), and in which order that is looked for.

use std::time::Duration;

use proptest::prelude::*;
use seawall_cache::freshness::{Arrival, judge};

use crate::parts::{NOW, answer, check_all, request, rules, verdict};

#[test]
fn lifetimes() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.2.1 max-age", "Cache-Control: max-age=60", "max-age 60"),
        ("9111-4.2.1 s-maxage before max-age", "Cache-Control: max-age=60, s-maxage=30", "s-maxage 30 must-revalidate"),
        ("9111-4.2.1 longer s-maxage before max-age", "Cache-Control: s-maxage=90, max-age=60", "s-maxage 90 must-revalidate"),
        ("9111-4.2.1 s-maxage on another line", "Cache-Control: max-age=60 | Cache-Control: s-maxage=30", "s-maxage 30 must-revalidate"),
        ("9111-4.2.1 max-age before Expires", "Cache-Control: max-age=60 | Date: @0 | Expires: @10", "max-age 60"),
        ("9111-5.3 max-age before a past Expires", "Cache-Control: max-age=60 | Date: @0 | Expires: @-10", "max-age 60"),
        ("9111-5.3 max-age before an invalid Expires", "Cache-Control: max-age=60 | Expires: 0", "max-age 60"),
        ("9111-5.3 max-age=0 before Expires", "Cache-Control: max-age=0 | Date: @0 | Expires: @60", "max-age"),
        ("9111-4.2.1 Expires less Date", "Date: @0 | Expires: @60", "expires 60"),
        ("9111-4.2.1 Expires less an earlier Date", "Date: @-5 | Expires: @60", "expires 65"),
        ("9111-4.2.1 Expires less a later Date", "Date: @50 | Expires: @60", "expires 10"),
        ("9110-6.6.1 Expires without Date", "Expires: @60", "expires 60"),
        ("9110-6.6.1 Expires with an invalid Date", "Date: foo | Expires: @60", "expires 60"),
        ("9111-5.3 Expires in the past", "Date: @0 | Expires: @-60", "expires"),
        ("9111-5.3 Expires as Date", "Date: @0 | Expires: @0", "expires"),
        ("9111-5.3 Expires: 0", "Date: @0 | Expires: 0", "expires"),
        ("9111-5.3 Expires: -1", "Date: @0 | Expires: -1", "expires"),
        ("9111-5.3 empty Expires", "Date: @0 | Expires:", "expires"),
        ("9111-5.3 Expires in another zone", "Date: @0 | Expires: Thu, 18 Aug 2050 02:01:18 AEST", "expires"),
        ("9111-5.3 Expires with a wrong form", "Date: @0 | Expires: Thu, 18 Aug 50 02:01:18 GMT", "expires"),
        ("9111-4.2 Expires in another case", "Date: @0 | Expires: SUN, 06 SEP 2026 00:01:00 gmt", "expires 60"),
        ("9110-5.6.7 Expires as RFC 850 had it", "Date: @0 | Expires: Sunday, 06-Sep-26 00:01:00 GMT", "expires 60"),
        ("9110-5.6.7 Expires as asctime has it", "Date: @0 | Expires: Sun Sep  6 00:01:00 2026", "expires 60"),
        ("9111-4.2.1 two Expires, the earlier first", "Date: @0 | Expires: @10 | Expires: @60", "expires 10"),
        ("9111-4.2.1 two Expires, the later first", "Date: @0 | Expires: @60 | Expires: @10", "expires 10"),
        ("9111-4.2.1 two Expires, one invalid", "Date: @0 | Expires: @60 | Expires: 0", "expires"),
        ("9111-1.2.2 Expires in ages", "Date: @0 | Expires: Fri, 31 Dec 9999 23:59:59 GMT", "expires 2147483648"),
        ("9111-4.2.1 invalid Expires leaves no guess", "Date: @0 | Expires: foo | Last-Modified: @-1000", "expires"),
        ("9111-4.2.1 two max-age, the least first", "Cache-Control: max-age=1, max-age=1800", "max-age 1"),
        ("9111-4.2.1 two max-age, the least last", "Cache-Control: max-age=1800, max-age=1", "max-age 1"),
        ("9111-4.2.1 two max-age on two lines", "Cache-Control: max-age=1800 | Cache-Control: max-age=1", "max-age 1"),
        ("9111-4.2.1 two max-age, one invalid", "Cache-Control: max-age=1800, max-age=foo", "max-age"),
        ("9111-4.2.1 two s-maxage", "Cache-Control: s-maxage=1800, s-maxage=1", "s-maxage 1 must-revalidate"),
        ("9111-5.2 quoted max-age", "Cache-Control: max-age=\"60\"", "max-age 60"),
        ("9111-5.2 max-age in single quotes", "Cache-Control: max-age='60'", "max-age"),
        ("9111-5.2 MaX-aGe", "Cache-Control: MaX-aGe=60", "max-age 60"),
        ("9111-5.2 max-age in a string before", "Cache-Control: a=\"max-age=3600\", max-age=1", "max-age 1"),
        ("9111-5.2 max-age in a string behind", "Cache-Control: max-age=1, a=\"max-age=3600\"", "max-age 1"),
        ("9111-5.2 max-age in a string with a comma", "Cache-Control: a=\"b, max-age=3600, c\", max-age=1", "max-age 1"),
        ("9111-5.2 escaped quotes in a string", "Cache-Control: a=\"\\\", max-age=3600, \\\"\", max-age=1", "max-age 1"),
        ("9111-1.2.2 leading zeros", "Cache-Control: max-age=0060", "max-age 60"),
        ("9111-1.2.2 2^31", "Cache-Control: max-age=2147483648", "max-age 2147483648"),
        ("9111-1.2.2 2^31 and one", "Cache-Control: max-age=2147483649", "max-age 2147483648"),
        ("9111-1.2.2 2^32 and some", "Cache-Control: max-age=4294967299", "max-age 2147483648"),
        ("9111-1.2.2 99999999999", "Cache-Control: max-age=99999999999", "max-age 2147483648"),
        ("9111-1.2.2 more than 64 bits", "Cache-Control: max-age=99999999999999999999999", "max-age 2147483648"),
        ("9111-4.2.1 max-age without a value", "Cache-Control: max-age", "max-age"),
        ("9111-4.2.1 max-age with an empty value", "Cache-Control: max-age=", "max-age"),
        ("9111-4.2.1 empty string", "Cache-Control: max-age=\"\"", "max-age"),
        ("9111-4.2.1 negative max-age", "Cache-Control: max-age=-60", "max-age"),
        ("9111-4.2.1 signed max-age", "Cache-Control: max-age=+60", "max-age"),
        ("9111-4.2.1 decimal max-age", "Cache-Control: max-age=60.5", "max-age"),
        ("9111-4.2.1 max-age with a letter before", "Cache-Control: max-age=a60", "max-age"),
        ("9111-4.2.1 max-age with a letter behind", "Cache-Control: max-age=60a", "max-age"),
        ("9111-4.2.1 space before the sign", "Cache-Control: max-age =60", "max-age"),
        ("9111-4.2.1 space behind the sign", "Cache-Control: max-age= 60", "max-age"),
        ("9111-4.2.1 semicolons", "Cache-Control: max-age=60; public", "max-age"),
        ("9111-4.2.1 invalid s-maxage hides max-age", "Cache-Control: s-maxage=foo, max-age=60", "s-maxage must-revalidate"),
        ("9110-5.6.1 empty members", "Cache-Control: , ,max-age=60,, ", "max-age 60"),
        ("9111-4.2.2 a guess", "Date: @0 | Last-Modified: @-1000", "heuristic 100"),
        ("9111-4.2.2 a guess without Date", "Last-Modified: @-1000", "heuristic 100"),
        ("9111-4.2.2 a guess is no more than a day", "Date: @0 | Last-Modified: @-100000000", "heuristic 86400"),
        ("9111-4.2.2 changed just now", "Date: @0 | Last-Modified: @-5", "none"),
        ("9111-4.2.2 changed tomorrow", "Date: @0 | Last-Modified: @1000", "none"),
        ("9111-4.2.2 changed at an invalid time", "Date: @0 | Last-Modified: foo | ETag: \"b\"", "none"),
        ("9111-4.2.2 no guess with max-age", "Cache-Control: max-age=0 | Date: @0 | Last-Modified: @-1000", "max-age"),
        ("9111-4.2.2 a guess with no-cache", "Cache-Control: no-cache | Date: @0 | Last-Modified: @-1000", "heuristic 100 no-cache"),
        ("9213-2.2 CDN before Cache-Control", "Cache-Control: max-age=1 | CDN-Cache-Control: max-age=60", "max-age 60"),
        ("9213-2.2 CDN before Cache-Control, shorter", "Cache-Control: max-age=60 | CDN-Cache-Control: max-age=1", "max-age 1"),
        ("9213-2.2 CDN before no-store", "Cache-Control: no-store | CDN-Cache-Control: max-age=60", "max-age 60"),
        ("9213-2.2 CDN before private", "Cache-Control: private | CDN-Cache-Control: max-age=60", "max-age 60"),
        ("9213-2.2 CDN no-store", "Cache-Control: max-age=60 | CDN-Cache-Control: no-store", "no-store"),
        ("9213-2.2 CDN private", "Cache-Control: max-age=60 | CDN-Cache-Control: private", "private"),
        ("9213-2.2 CDN private fields", "CDN-Cache-Control: private=\"x-a\", max-age=60", "max-age 60"),
        ("9213-2.2 CDN no-cache", "Cache-Control: max-age=60 | CDN-Cache-Control: no-cache", "none no-cache"),
        ("9213-2.2 CDN must-revalidate", "CDN-Cache-Control: must-revalidate, max-age=60", "max-age 60 must-revalidate"),
        ("9213-2.2 CDN before Expires", "CDN-Cache-Control: max-age=60 | Date: @0 | Expires: @5", "max-age 60"),
        ("9213-2.2 CDN without a lifetime hides Expires", "CDN-Cache-Control: none | Date: @0 | Expires: @60", "none"),
        ("9213-2.2 CDN without a lifetime hides no-store", "CDN-Cache-Control: none | Cache-Control: no-store", "none"),
        ("9213-2.2 CDN max-age=0 before Expires", "CDN-Cache-Control: max-age=0 | Date: @0 | Expires: @60", "max-age"),
        ("9213-2.2 Seawall before CDN", "CDN-Cache-Control: max-age=1 | Seawall-Cache-Control: max-age=60", "max-age 60"),
        ("9213-2.2 invalid Seawall, valid CDN", "CDN-Cache-Control: max-age=60 | Seawall-Cache-Control: max-age=a, &", "max-age 60"),
        ("9213-2.1 empty", "Cache-Control: max-age=60 | CDN-Cache-Control:", "max-age 60"),
        ("9213-2.1 unknown directives", "CDN-Cache-Control: foobar, max-age=60, a=(1 2 \"b\");c=?0, d=:YQ==:, e=1.5", "max-age 60"),
        ("9213-2.1 parameters", "CDN-Cache-Control: max-age=60;a=1; b, no-cache;foo", "max-age 60 no-cache"),
        ("9213-2.1 99999999999", "CDN-Cache-Control: max-age=99999999999", "max-age 2147483648"),
        ("9213-2.1 too many digits", "Cache-Control: no-store | CDN-Cache-Control: max-age=9999999999999999", "no-store"),
        ("9213-2.1 no dictionary", "Cache-Control: no-store | CDN-Cache-Control: max-age=60, &&&&&", "no-store"),
        ("9213-2.1 a string for a number", "Cache-Control: no-store | CDN-Cache-Control: max-age=\"60\"", "no-store"),
        ("9213-2.1 a decimal for a number", "Cache-Control: no-store | CDN-Cache-Control: max-age=60.0", "no-store"),
        ("9213-2.1 a negative number", "Cache-Control: no-store | CDN-Cache-Control: max-age=-1", "no-store"),
        ("9213-2.1 no number", "Cache-Control: no-store | CDN-Cache-Control: max-age", "no-store"),
        ("9213-2.1 a number for a flag", "Cache-Control: max-age=5 | CDN-Cache-Control: no-store=1", "max-age 5"),
        ("9213-2.1 false for a flag", "Cache-Control: max-age=5 | CDN-Cache-Control: no-store=?0", "max-age 5"),
        ("9213-2.1 true for a flag", "Cache-Control: max-age=5 | CDN-Cache-Control: no-store=?1", "no-store"),
        ("9213-2.1 capitals", "Cache-Control: no-store | CDN-Cache-Control: MaX-aGe=60", "no-store"),
        ("9213-2.1 a comma at the end", "Cache-Control: no-store | CDN-Cache-Control: max-age=60,", "no-store"),
        ("9213-2.1 an empty member", "Cache-Control: no-store | CDN-Cache-Control: max-age=60,,public", "no-store"),
        ("9213-2.1 space before the sign", "Cache-Control: no-store | CDN-Cache-Control: max-age =60", "no-store"),
        ("9213-2.1 space behind the sign", "Cache-Control: no-store | CDN-Cache-Control: max-age= 60", "no-store"),
        ("9213-2.1 semicolon as separator", "Cache-Control: no-store | CDN-Cache-Control: max-age=60; public=", "no-store"),
        ("8941-3.2 the last of two holds", "CDN-Cache-Control: max-age=1, max-age=60", "max-age 60"),
        ("8941-4.2 two lines", "CDN-Cache-Control: max-age=1 | CDN-Cache-Control: max-age=60, immutable", "max-age 60 immutable"),
        ("8941-4.2 an invalid second line", "Cache-Control: no-store | CDN-Cache-Control: max-age=1 | CDN-Cache-Control: &", "no-store"),
        ("9213-2.2 CDN s-maxage", "CDN-Cache-Control: s-maxage=60, max-age=5", "s-maxage 60 must-revalidate"),
        ("9213-2.2 other targets mean nothing", "Cache-Control: max-age=60 | Foo-Cache-Control: no-store | Surrogate-Control: no-store", "max-age 60"),
        ("5861-3 stale-while-revalidate", "Cache-Control: max-age=60, stale-while-revalidate=30", "max-age 60 swr 30"),
        ("5861-4 stale-if-error", "Cache-Control: max-age=60, stale-if-error=300", "max-age 60 sie 300"),
        ("5861-3 without a value", "Cache-Control: max-age=60, stale-while-revalidate", "max-age 60"),
        ("5861-3 with an invalid value", "Cache-Control: max-age=60, stale-while-revalidate=foo", "max-age 60"),
        ("5861-3 two values", "Cache-Control: max-age=60, stale-while-revalidate=30, stale-while-revalidate=10", "max-age 60 swr 10"),
        ("5861-3 in a targeted field", "CDN-Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=9", "max-age 60 swr 30 sie 9"),
        ("9111-4.2.4 not with must-revalidate", "Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=30, stale-if-error=30", "max-age 60 must-revalidate"),
        ("9111-4.2.4 not with proxy-revalidate", "Cache-Control: max-age=60, proxy-revalidate, stale-while-revalidate=30", "max-age 60 must-revalidate"),
        ("9111-5.2.2.10 not with s-maxage alone", "Cache-Control: s-maxage=60", "s-maxage 60 must-revalidate"),
        ("5861-3 leave beside s-maxage", "Cache-Control: s-maxage=60, stale-while-revalidate=30, stale-if-error=20", "s-maxage 60 swr 30 sie 20"),
        ("9111-5.2.2.8 no leave beside s-maxage and proxy-revalidate", "Cache-Control: s-maxage=60, proxy-revalidate, stale-if-error=20", "s-maxage 60 must-revalidate"),
        ("9111-4.2.4 not with no-cache", "Cache-Control: no-cache, max-age=60, stale-while-revalidate=30", "max-age 60 no-cache"),
        ("5861-3 with max-age=0", "Cache-Control: max-age=0, stale-while-revalidate=30", "max-age swr 30"),
    ];
    check_all(
        cases, // The tag makes it worth storing what is stale from the start.
        |fields| verdict("", &format!("200 | {fields} | ETag: \"a\""), &rules()),
    );
}

#[test]
fn stale_answers_without_a_validator_are_of_use_only_with_leave_to_serve_them() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.2.4 none", "Cache-Control: max-age=0", "useless"),
        ("5861-3 while it is validated", "Cache-Control: max-age=0, stale-while-revalidate=30", "max-age swr 30"),
        ("5861-4 when the origin fails", "Cache-Control: max-age=0, stale-if-error=30", "max-age sie 30"),
        ("9111-4.2.4 leave that is withdrawn", "Cache-Control: max-age=0, stale-if-error=30, must-revalidate", "useless"),
        ("9111-4.2 too old", "Cache-Control: max-age=60 | Age: 60", "useless"),
        ("9111-4.2 not yet too old", "Cache-Control: max-age=60 | Age: 59", "max-age 60 age 59"),
        ("9111-4.3.1 an invalid date is no validator", "Cache-Control: max-age=0 | Last-Modified: foo", "useless"),
    ];
    check_all(cases, |fields| verdict("", &format!("200 | {fields}"), &rules()));
}

#[test]
fn rules_say_how_long_stale_answers_are_served_where_the_origin_does_not() {
    let mut rules = rules();
    rules.stale_while_revalidate = Duration::from_secs(7);
    rules.stale_if_error = Duration::from_secs(8);
    #[rustfmt::skip]
    let cases = &[
        ("rule", "Cache-Control: max-age=60", "max-age 60 swr 7 sie 8"),
        ("5861-3 before the rule", "Cache-Control: max-age=60, stale-while-revalidate=0", "max-age 60 sie 8"),
        ("5861-4 before the rule", "Cache-Control: max-age=60, stale-if-error=90", "max-age 60 swr 7 sie 90"),
        ("9111-5.2.2.2 must-revalidate before the rule", "Cache-Control: max-age=60, must-revalidate", "max-age 60 must-revalidate"),
        ("rule: leave beside s-maxage", "Cache-Control: s-maxage=60", "s-maxage 60 swr 7 sie 8"),
        ("9111-5.2.2.8 proxy-revalidate before the rule", "Cache-Control: s-maxage=60, proxy-revalidate", "s-maxage 60 must-revalidate"),
    ];
    check_all(cases, |fields| verdict("", &format!("200 | {fields}"), &rules));
}

proptest! {
    #[test]
    fn jitter_cuts_what_remains_by_no_more_than_it_may(
        lifetime in 0u32..=1 << 31,
        age in 0u32..100_000,
        jitter in 0u32..=1000,
        random: u64,
    ) {
        let (request, mut rules) = (request(""), rules());
        rules.jitter = jitter;
        let head = answer(&format!(
            "200 | Cache-Control: max-age={lifetime} | Age: {age} | ETag: \"a\""
        ));
        let arrival = Arrival {
            request: &request,
            status: 200,
            answer: &head.headers,
            length: None,
            requested: NOW,
            received: NOW,
            rules: &rules,
            parts: false,
            random,
        };
        let meta = judge(&arrival).expect("it has a validator").meta;
        let (full, age) = (u64::from(lifetime) * 1000, u64::from(age) * 1000);
        let remains = full.saturating_sub(age);
        prop_assert!(meta.lifetime <= full);
        prop_assert!(full - meta.lifetime <= remains * u64::from(jitter) / 1000);
    }

    #[test]
    fn no_answer_makes_it_panic(
        values in prop::collection::vec(("[ -~]{0,40}", 0usize..10), 0..6),
        status in 100u16..1000,
    ) {
        const NAMES: [&[u8]; 10] = [
            b"Cache-Control", b"CDN-Cache-Control", b"Expires", b"Date", b"Age", b"Vary",
            b"Last-Modified", b"ETag", b"Content-Range", b"Seawall-Cache-Control",
        ];
        let mut headers = seawall_h1::Headers::new();
        for (value, name) in &values {
            headers.push(NAMES[*name], seawall_h1::fields::trim(value.as_bytes()));
        }
        let (request, rules) = (request(""), rules());
        let arrival = Arrival {
            request: &request,
            status,
            answer: &headers,
            length: None,
            requested: NOW,
            received: NOW,
            rules: &rules,
            parts: true,
            random: u64::MAX,
        };
        if let Ok(terms) = judge(&arrival) {
            prop_assert!(terms.meta.lifetime <= 1000 << 31);
        }
    }
}
