//! Whether a stored answer may be served (RFC 9111 §4, §4.2.4, §5.2.1; RFC 5861; RFC 8246).

use proptest::prelude::*;
use seawall_cache::directives::demand;
use seawall_cache::freshness::{Arrival, Standing, early, expiry, judge, standing};
use seawall_cache::object::{Flags, Meta};

use crate::parts::{NOW, answer, check_all, request, rules};

fn meta(fields: &str) -> Meta {
    let (request, rules) = (request(""), rules());
    let head = answer(&format!("200 | Cache-Control: {fields} | ETag: \"a\""));
    let arrival = Arrival {
        request: &request,
        status: 200,
        answer: &head.headers,
        length: None,
        requested: NOW,
        received: NOW,
        rules: &rules,
        parts: false,
        random: 0,
    };
    judge(&arrival).expect("it has a validator").meta
}

/// Seconds, and what may be done.
fn shown(standing: Standing) -> String {
    match standing {
        Standing::Fresh { left } => format!("fresh {}", left / 1000),
        Standing::Stale { by, while_revalidate, if_error, client_accepts } => {
            let marks = [
                (" while-revalidate", while_revalidate),
                (" if-error", if_error),
                (" accepted", client_accepts),
            ];
            let marks = marks.iter().filter(|(_, is_set)| *is_set).map(|(mark, _)| *mark);
            format!("stale {}{}", by / 1000, marks.collect::<String>())
        }
        Standing::Validate { reason, if_error } => {
            format!("{}{}", reason.code(), if if_error { " if-error" } else { "" })
        }
    }
}

#[test]
fn standings() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-4.2 fresh", ("max-age=60", "", 59_999), "fresh 0"),
        ("9111-4.2 as old as it may get", ("max-age=60", "", 60_000), "stale 0"),
        ("9111-4.2 at once", ("max-age=60", "", 0), "fresh 60"),
        ("9111-4.2 older from the start", ("max-age=60 | Age: 50", "", 9_000), "fresh 1"),
        ("9111-4.2 stale from the start", ("max-age=60 | Age: 90", "", 0), "stale 30"),
        ("9111-4.2 stale from the start, later", ("max-age=60 | Age: 90", "", 5_000), "stale 35"),
        ("9111-4.2.4 no leave", ("max-age=60", "", 70_000), "stale 10"),
        ("5861-3 within", ("max-age=60, stale-while-revalidate=30", "", 89_999), "stale 29 while-revalidate"),
        ("5861-3 at its end", ("max-age=60, stale-while-revalidate=30", "", 90_000), "stale 30"),
        ("5861-3 counted from the lifetime, not from arrival", ("max-age=60, stale-while-revalidate=30 | Age: 80", "", 9_000), "stale 29 while-revalidate"),
        ("5861-3 too old at arrival", ("max-age=60, stale-while-revalidate=30 | Age: 90", "", 0), "stale 30"),
        ("5861-4 within", ("max-age=60, stale-if-error=30", "", 89_999), "stale 29 if-error"),
        ("5861-4 at its end", ("max-age=60, stale-if-error=30", "", 90_000), "stale 30"),
        ("5861-4 the client gives leave", ("max-age=60", "stale-if-error=30", 80_000), "stale 20 if-error"),
        ("5861-4 the client gives less than the origin", ("max-age=60, stale-if-error=30", "stale-if-error=5", 80_000), "stale 20 if-error"),
        ("5861-4 the client gives leave that the origin withdraws", ("max-age=60, must-revalidate", "stale-if-error=30", 80_000), "stale 20"),
        ("5861-4 and 3", ("max-age=60, stale-if-error=30, stale-while-revalidate=10", "", 65_000), "stale 5 while-revalidate if-error"),
        ("9111-5.2.2.2 must-revalidate, fresh", ("max-age=60, must-revalidate", "", 1_000), "fresh 59"),
        ("9111-5.2.2.2 must-revalidate, stale", ("max-age=60, must-revalidate, stale-if-error=99", "max-stale", 61_000), "stale 1"),
        ("9111-5.2.2.8 proxy-revalidate, stale", ("max-age=60, proxy-revalidate", "max-stale=99", 61_000), "stale 1"),
        ("9111-5.2.2.10 s-maxage, stale", ("s-maxage=60", "max-stale", 61_000), "stale 1"),
        ("9111-5.2.2.4 no-cache", ("no-cache, max-age=60", "", 1_000), "no-cache"),
        ("9111-5.2.2.4 no-cache, whatever the client takes", ("no-cache, max-age=60", "max-stale, max-age=99", 1_000), "no-cache"),
        ("9111-5.2.1.4 the client says no-cache", ("max-age=60", "no-cache", 1_000), "request-no-cache if-error"),
        ("9111-5.2.1.4 no-cache, stale", ("max-age=60", "no-cache", 61_000), "request-no-cache"),
        ("9111-5.2.1.4 no-cache, stale with leave", ("max-age=60, stale-if-error=9", "no-cache", 61_000), "request-no-cache if-error"),
        ("9111-5.2.1.1 young enough", ("max-age=60", "max-age=10", 10_000), "fresh 50"),
        ("9111-5.2.1.1 not young enough", ("max-age=60", "max-age=10", 10_001), "request-max-age if-error"),
        ("9111-5.2.1.1 max-age=0", ("max-age=60", "max-age=0", 1), "request-max-age if-error"),
        ("9111-5.2.1.1 max-age=0 at once", ("max-age=60", "max-age=0", 0), "request-max-age if-error"),
        ("9111-5.2.1.1 max-age counts what passed before", ("max-age=60 | Age: 10", "max-age=10", 1_000), "request-max-age if-error"),
        ("9111-5.2.1.1 max-age refuses stale ones", ("max-age=5, stale-while-revalidate=30", "max-age=60", 10_000), "stale 5"),
        ("9111-5.2.1.1 max-age with max-stale takes them", ("max-age=5, stale-while-revalidate=30", "max-age=60, max-stale=9", 10_000), "stale 5 while-revalidate accepted"),
        ("9111-5.2.1.2 max-stale within", ("max-age=60", "max-stale=10", 70_000), "stale 10 accepted"),
        ("9111-5.2.1.2 max-stale beyond", ("max-age=60", "max-stale=10", 70_001), "stale 10"),
        ("9111-5.2.1.2 any", ("max-age=60", "max-stale", 9_000_000_000), "stale 8999940 accepted"),
        ("9111-5.2.1.2 fresh", ("max-age=60", "max-stale=10", 1_000), "fresh 59"),
        ("9111-5.2.1.3 fresh for long enough", ("max-age=60", "min-fresh=10", 50_000), "fresh 10"),
        ("9111-5.2.1.3 not for long enough", ("max-age=60", "min-fresh=10", 50_001), "request-min-fresh if-error"),
        ("9111-5.2.1.3 stale", ("max-age=60, stale-while-revalidate=60", "min-fresh=10", 61_000), "request-min-fresh"),
        ("8246-2 a reload skips validation", ("max-age=60, immutable", "max-age=0", 1_000), "fresh 59"),
        ("8246-2 a forced reload does not", ("max-age=60, immutable", "no-cache", 1_000), "request-no-cache if-error"),
        ("8246-2 not once it is stale", ("max-age=60, immutable", "max-age=0", 61_000), "request-max-age"),
    ];
    check_all(cases, |(fields, asked, passed)| {
        let request = request(&format!("GET / | Cache-Control: {asked}"));
        shown(standing(&meta(fields), &demand(&request.headers), None, NOW + passed))
    });
}

#[test]
fn soft_purges() {
    #[rustfmt::skip]
    let cases = &[
        ("purge makes stale", ("max-age=3600", 10_000, 10_000), "stale 0 while-revalidate if-error"),
        ("purge, within ten minutes", ("max-age=3600", 10_000, 609_999), "stale 599 while-revalidate if-error"),
        ("purge, after ten minutes", ("max-age=3600", 10_000, 610_000), "stale 600"),
        ("purge, a longer leave", ("max-age=3600, stale-while-revalidate=900", 10_000, 700_000), "stale 690 while-revalidate"),
        ("purge of what was stale", ("max-age=60, stale-while-revalidate=30", 70_000, 80_000), "stale 20 while-revalidate"),
        ("purge of what was stale gives no new leave", ("max-age=60", 70_000, 80_000), "stale 20"),
        ("purge of what must be validated", ("max-age=3600, must-revalidate", 10_000, 11_000), "stale 1"),
        ("purge of what is validated anyhow", ("max-age=3600, no-cache", 10_000, 11_000), "no-cache"),
        ("purge while the clock of the other node is ahead", ("max-age=3600", 20_000, 15_000), "fresh 5"),
    ];
    check_all(cases, |(fields, purged, now)| {
        let demand = Default::default();
        shown(standing(&meta(fields), &demand, Some(NOW + purged), NOW + now))
    });
}

fn with(lifetime: u64, cost: u32) -> Meta {
    Meta {
        received: NOW,
        lifetime,
        sequence: 0,
        initial_age: 0,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        cost,
        status: 200,
        flags: Flags::default(),
    }
}

#[test]
fn early_fetches_become_likely_towards_the_end_as_xfetch_says() {
    // -ln(1/2) = 0.693: half of the requests fetch when 693 ms are left of a fetch that takes 1 s.
    let meta = with(60_000, 1000);
    let half = u64::MAX / 2;
    assert!(!early(&meta, NOW + 60_000 - 694, half));
    assert!(early(&meta, NOW + 60_000 - 692, half));
    assert!(early(&meta, NOW + 60_000, u64::MAX), "at its end all do");
    assert!(early(&meta, NOW + 60_000 - 44_000, 0), "the least number there is");
    assert!(!early(&meta, NOW + 60_000 - 45_001, 0));
    assert!(!early(&with(60_000, 0), NOW + 59_999, 0), "what costs nothing is fetched at its end");

    let fetches = |left: u64| {
        let random = (0..10_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.filter(|random| early(&meta, NOW + 60_000 - left, *random)).count()
    };
    // P = exp(-left / cost)
    for (left, expect) in [(100, 9048), (500, 6065), (1000, 3679), (3000, 498), (9000, 1)] {
        let got = fetches(left);
        assert!(got.abs_diff(expect) < 60, "{left} ms before: {got} of 10000, not {expect}");
    }
}

proptest! {
    /// What the spec calls stale is never told to be fresh, and leave is never longer than given.
    #[test]
    fn nothing_is_fresh_beyond_its_lifetime(
        lifetime in 0u64..1 << 42,
        initial_age in 0u32..=1 << 31,
        swr in 0u32..=1 << 31,
        sie in 0u32..=1 << 31,
        passed in 0u64..1 << 43,
        purged in prop::option::of(0u64..1 << 43),
        must_revalidate: bool,
    ) {
        let mut meta = with(lifetime, 0);
        meta.initial_age = initial_age;
        meta.stale_while_revalidate = swr;
        meta.stale_if_error = sie;
        meta.flags.must_revalidate = must_revalidate;
        let now = NOW + passed;
        let age = u64::from(initial_age) * 1000 + passed;
        let purged = purged.map(|at| NOW + at);
        match standing(&meta, &Default::default(), purged, now) {
            Standing::Fresh { left } => {
                prop_assert!(age < lifetime);
                prop_assert!(purged.is_none_or(|at| now < at));
                prop_assert!(left > 0 && left <= lifetime - age);
            }
            Standing::Stale { by, while_revalidate, if_error, client_accepts } => {
                prop_assert!(age >= lifetime || purged.is_some_and(|at| now >= at));
                prop_assert!(!client_accepts);
                prop_assert!(!(must_revalidate && (while_revalidate || if_error)));
                let least = if purged.is_some() { 600_000 } else { 0 };
                prop_assert!(!while_revalidate || by < (u64::from(swr) * 1000).max(least));
                prop_assert!(!if_error || by < (u64::from(sie) * 1000).max(least));
            }
            Standing::Validate { .. } => prop_assert!(false, "nobody asked for it"),
        }
        if purged.is_none() && expiry(&meta) > 0 {
            prop_assert_eq!(expiry(&meta) > now, age < lifetime);
        }
    }
}
