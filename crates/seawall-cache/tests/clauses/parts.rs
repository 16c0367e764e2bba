//! Messages and rules for the tables.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use seawall_cache::Millis;
use seawall_cache::freshness::{Arrival, judge};
use seawall_config::plan;
use seawall_h1::{HeadLimits, HeadProgress, Method, RequestHead, ResponseHead, parse};

#[path = "../parts/rules.rs"]
mod rules;

pub(crate) use rules::{key_rules, rules};

/// Sun, 06 Sep 2026 00:00:00 GMT.
pub(crate) const NOW: Millis = 1_788_652_800_000;

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 16, headers: 1000 };

/// A request: `GET /path?query` and fields, with `|` between the lines. Nothing means `GET /`; a
/// `Host` is added unless there is one. `@-60` is the date 60 seconds ago.
pub(crate) fn request(lines: &str) -> RequestHead {
    let lines = with_dates(lines);
    let mut lines = lines.split('|').map(str::trim);
    let first = lines.next().filter(|line| !line.is_empty()).unwrap_or("GET /");
    let mut fields: Vec<&str> = lines.collect();
    if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:")) {
        fields.push("Host: a.example");
    }
    let text = format!("{first} HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
    let mut head = RequestHead::default();
    let length = parse::request(text.as_bytes(), LIMITS, &mut HeadProgress::default(), &mut head);
    assert_eq!(length, Ok(Some(text.len())), "{text}");
    head
}

/// An answer: `200` and fields, with `|` between the lines.
pub(crate) fn answer(lines: &str) -> ResponseHead {
    let lines = with_dates(lines);
    let mut lines = lines.split('|').map(str::trim);
    let status = lines.next().filter(|line| !line.is_empty()).unwrap_or("200");
    let fields: String = lines.map(|field| format!("{field}\r\n")).collect();
    let text = format!("HTTP/1.1 {status} \r\n{fields}\r\n");
    let mut head = ResponseHead::default();
    let mut progress = HeadProgress::default();
    let length = parse::response(text.as_bytes(), Method::Get, LIMITS, &mut progress, &mut head);
    assert_eq!(length, Ok(Some(text.len())), "{text}");
    head
}

/// Fields as they are stored.
pub(crate) fn stored(lines: &str) -> Vec<u8> {
    let mut out = Vec::new();
    answer(lines).headers.write(|_| true, &mut out);
    out
}

/// The date `offset` seconds from now.
pub(crate) fn date(offset: i64) -> String {
    let seconds = (NOW / 1000) as i64 + offset;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds as u64))
}

fn with_dates(lines: &str) -> String {
    let mut out = String::new();
    let mut rest = lines;
    while let Some(at) = rest.find('@') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        match rest[..end].parse() {
            Ok(offset) => out.push_str(&date(offset)),
            Err(_) => out.extend(["@", &rest[..end]]),
        }
        rest = &rest[end..];
    }
    out + rest
}

/// What becomes of an answer that took no time: its code if it is not stored, else where its
/// lifetime is from and how long it is in seconds, and what else holds.
pub(crate) fn verdict(request_lines: &str, answer_lines: &str, rules: &plan::Cache) -> String {
    let head = answer(answer_lines);
    let request = request(request_lines);
    let arrival = Arrival {
        request: &request,
        status: head.status,
        answer: &head.headers,
        length: head.content_length,
        requested: NOW,
        received: NOW,
        rules,
        parts: true,
        random: 0,
    };
    shown(&arrival)
}

/// [`verdict`] of an arrival.
pub(crate) fn shown(arrival: &Arrival<'_>) -> String {
    let terms = match judge(arrival) {
        Err(unstorable) => return unstorable.code().to_owned(),
        Ok(terms) => terms,
    };
    let (meta, flags) = (&terms.meta, terms.meta.flags);
    let mut out = terms.lifetime.name().to_owned();
    let numbers = [
        ("", (meta.lifetime / 1000) as u32),
        ("age ", meta.initial_age),
        ("swr ", meta.stale_while_revalidate),
        ("sie ", meta.stale_if_error),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| *number > 0) {
        write!(out, " {name}{number}").expect("strings take all");
    }
    let marks = [
        ("must-revalidate", flags.must_revalidate),
        ("no-cache", flags.no_cache),
        ("immutable", flags.immutable),
        ("ranges", flags.ranges),
    ];
    for (mark, _) in marks.into_iter().filter(|(_, is_set)| *is_set) {
        out.push(' ');
        out.push_str(mark);
    }
    out
}

/// A table whose cases are a name, what is given, and what is expected. All that fail are told at
/// once.
pub(crate) fn check_all<G: Copy>(cases: &[(&str, G, &str)], mut run: impl FnMut(G) -> String) {
    let mut wrong = String::new();
    let mut names = std::collections::BTreeSet::new();
    for (name, given, expect) in cases {
        assert!(names.insert(*name), "two cases are called {name}");
        let got = run(*given);
        if got != *expect {
            writeln!(wrong, "{name}:\n  expected {expect}\n       got {got}")
                .expect("strings take all");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
