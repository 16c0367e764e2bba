//! What requests ask of caches (RFC 9111 §5.2.1, §5.4).

use proptest::prelude::*;
use seawall_cache::directives::{Control, Demand, demand};

use crate::parts::{check_all, request};

fn shown(demand: Demand) -> String {
    let mut out = Vec::new();
    let flags = [
        ("no-store", demand.no_store),
        ("no-cache", demand.no_cache),
        ("only-if-cached", demand.only_if_cached),
    ];
    out.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned()));
    let numbers = [
        ("max-age", demand.max_age),
        ("min-fresh", demand.min_fresh),
        ("max-stale", demand.max_stale),
        ("stale-if-error", demand.stale_if_error),
    ];
    for (name, number) in numbers {
        match number {
            Some(u32::MAX) => out.push(format!("{name}=any")),
            Some(number) => out.push(format!("{name}={number}")),
            None => {}
        }
    }
    out.join(" ")
}

#[test]
fn demands() {
    #[rustfmt::skip]
    let cases = &[
        ("9111-5.2.1 nothing", "X-A: 1", ""),
        ("9111-5.2.1.1 max-age", "Cache-Control: max-age=60", "max-age=60"),
        ("9111-5.2.1.1 max-age=0", "Cache-Control: max-age=0", "max-age=0"),
        ("9111-5.2.1.1 max-age without a value", "Cache-Control: max-age", "max-age=0"),
        ("9111-5.2.1.1 invalid max-age", "Cache-Control: max-age=foo", "max-age=0"),
        ("9111-5.2.1.1 quoted max-age", "Cache-Control: max-age=\"60\"", "max-age=60"),
        ("9111-5.2.1.1 two values", "Cache-Control: max-age=60, max-age=5", "max-age=5"),
        ("9111-1.2.2 overflow", "Cache-Control: max-age=99999999999", "max-age=2147483648"),
        ("9111-5.2.1.2 max-stale", "Cache-Control: max-stale=60", "max-stale=60"),
        ("9111-5.2.1.2 max-stale without a value", "Cache-Control: max-stale", "max-stale=any"),
        ("9111-5.2.1.2 invalid max-stale", "Cache-Control: max-stale=foo", "max-stale=0"),
        ("9111-5.2.1.2 two values", "Cache-Control: max-stale, max-stale=5", "max-stale=5"),
        ("9111-5.2.1.3 min-fresh", "Cache-Control: min-fresh=60", "min-fresh=60"),
        ("9111-5.2.1.3 two values", "Cache-Control: min-fresh=60, min-fresh=90", "min-fresh=90"),
        ("9111-5.2.1.3 invalid min-fresh", "Cache-Control: min-fresh", "min-fresh=2147483648"),
        ("9111-5.2.1.4 no-cache", "Cache-Control: no-cache", "no-cache"),
        ("9111-5.2.1.4 no-cache in capitals", "CACHE-CONTROL: NO-CACHE", "no-cache"),
        ("9111-5.2.1.5 no-store", "Cache-Control: no-store", "no-store"),
        ("9111-5.2.1.7 only-if-cached", "Cache-Control: only-if-cached", "only-if-cached"),
        ("9111-5.2.1.6 no-transform", "Cache-Control: no-transform", ""),
        ("5861-4 stale-if-error", "Cache-Control: stale-if-error=60", "stale-if-error=60"),
        ("5861-4 stale-if-error without a value", "Cache-Control: stale-if-error", ""),
        ("9111-5.2 several", "Cache-Control: no-cache, max-age=0 | Cache-Control: no-store", "no-store no-cache max-age=0"),
        ("9111-5.2 in a string", "Cache-Control: a=\"no-cache\"", ""),
        ("9111-5.2 unknown ones", "Cache-Control: foo, max-age=1, bar=2", "max-age=1"),
        ("9111-5.4 Pragma", "Pragma: no-cache", "no-cache"),
        ("9111-5.4 Pragma in capitals", "Pragma: foo, No-Cache", "no-cache"),
        ("9111-5.4 other Pragma", "Pragma: foo", ""),
        ("9111-5.4 Pragma with Cache-Control", "Pragma: no-cache | Cache-Control: max-age=60", "max-age=60"),
        ("9111-5.4 Pragma with an empty Cache-Control", "Pragma: no-cache | Cache-Control:", ""),
    ];
    check_all(cases, |fields| shown(demand(&request(&format!("GET / | {fields}")).headers)));
}

proptest! {
    #[test]
    fn nothing_that_can_be_written_makes_it_panic(value in "[ -~\t\u{80}-\u{ff}]{0,80}") {
        let mut headers = seawall_h1::Headers::new();
        headers.push(b"Cache-Control", value.as_bytes());
        demand(&headers);
        Control::of(&headers);
        headers.push(b"CDN-Cache-Control", value.as_bytes());
        Control::of(&headers);
    }

    /// Whatever stands before it, a directive behind a comma at the end of the line is read, unless
    /// it is in a string that was opened and is closed.
    #[test]
    fn no_store_is_not_hidden(value in "[a-z=, ]{0,40}") {
        let mut headers = seawall_h1::Headers::new();
        headers.push(b"Cache-Control", format!("{value},no-store").as_bytes());
        prop_assert!(Control::of(&headers).no_store);
        prop_assert!(demand(&headers).no_store);
    }
}
