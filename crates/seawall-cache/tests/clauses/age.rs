//! How old an answer is (RFC 9111 §4.2.3, §5.1).

use seawall_cache::freshness::{Arrival, age, judge};
use seawall_cache::object::Meta;

use crate::parts::{NOW, answer, check_all, request, rules};

/// What is known of an answer that took `delay` milliseconds.
fn meta(fields: &str, delay: u64) -> Meta {
    let (request, rules) = (request(""), rules());
    let head = answer(&format!("200 | {fields} | ETag: \"a\""));
    let arrival = Arrival {
        request: &request,
        status: 200,
        answer: &head.headers,
        length: None,
        requested: NOW - delay,
        received: NOW,
        rules: &rules,
        parts: false,
        random: 0,
    };
    judge(&arrival).expect("it has a validator").meta
}

#[test]
fn initial_ages() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.2.3 nothing is said", ("X-A: 1", 0), "0"),
        ("9111-5.1 Age", ("Age: 30", 0), "30"),
        ("9111-4.2.3 the delay is added to Age", ("Age: 30", 5000), "35"),
        ("9111-4.2.3 the delay without Age", ("X-A: 1", 5000), "5"),
        ("9111-4.2.3 part of a second", ("X-A: 1", 999), "0"),
        ("9111-4.2.3 an old Date", ("Date: @-100", 0), "100"),
        ("9111-4.2.3 an old Date and a lower Age", ("Date: @-100 | Age: 30", 0), "100"),
        ("9111-4.2.3 an old Date and a higher Age", ("Date: @-100 | Age: 130", 0), "130"),
        ("9111-4.2.3 a Date within what clocks differ", ("Date: @-10", 0), "0"),
        ("9111-4.2.3 a Date just beyond that", ("Date: @-11", 0), "11"),
        ("9111-4.2.3 a Date in the future", ("Date: @100", 0), "0"),
        ("9111-4.2.3 a Date in the future and Age", ("Date: @100 | Age: 7", 0), "7"),
        ("9111-4.2.3 an invalid Date", ("Date: foo", 0), "0"),
        ("9111-4.2.3 a Date of 1900", ("Date: Mon, 01 Jan 1900 00:00:00 GMT", 0), "2147483648"),
        ("9111-5.1 the first of a list", ("Age: 30, 70", 0), "30"),
        ("9111-5.1 the first of a list, though lower", ("Age: 0,7200", 0), "0"),
        ("9111-5.1 the first of two lines", ("Age: 30 | Age: 70", 0), "30"),
        ("9111-5.1 the first of a list is invalid", ("Age: foo, 70", 0), "0"),
        ("9111-5.1 no number", ("Age: abc", 0), "0"),
        ("9111-5.1 empty", ("Age:", 0), "0"),
        ("9111-5.1 negative", ("Age: -7200", 0), "0"),
        ("9111-5.1 signed", ("Age: +7200", 0), "0"),
        ("9111-5.1 decimal", ("Age: 7200.0", 0), "0"),
        ("9111-5.1 a unit", ("Age: 7200s", 0), "0"),
        ("9111-5.1 a parameter", ("Age: 7200;foo=bar", 0), "0"),
        ("9111-5.1 quoted", ("Age: \"7200\"", 0), "0"),
        ("9111-1.2.2 2^31", ("Age: 2147483648", 0), "2147483648"),
        ("9111-1.2.2 more than 32 bits", ("Age: 4294967300", 0), "2147483648"),
        ("9111-1.2.2 more than 64 bits", ("Age: 99999999999999999999", 0), "2147483648"),
        ("9111-1.2.2 overflow by the delay", ("Age: 2147483648", 5000), "2147483648"),
    ];
    check_all(cases, |(fields, delay)| meta(fields, delay).initial_age.to_string());
}

#[test]
fn current_ages() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.2.3 resident time", ("Age: 30", 5000), "35"),
        ("9111-4.2.3 part of a second", ("Age: 30", 999), "30"),
        ("9111-4.2.3 a whole second", ("Age: 30", 1000), "31"),
        ("9111-1.2.2 overflow", ("Age: 2147483648", 9_000_000), "2147483648"),
        ("9111-4.2.3 in a hundred years", ("Age: 0", 3_155_760_000_000), "2147483648"),
    ];
    check_all(cases, |(fields, passed)| age(&meta(fields, 0), NOW + passed).to_string());
    assert_eq!(age(&meta("Age: 3", 0), NOW - 1), 3, "a clock that went back");
}
