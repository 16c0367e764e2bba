//! Byte ranges (RFC 9110 §14).

use proptest::prelude::*;
use seawall_cache::range::{
    ContentRange, MOST_PARTS, Multipart, Part, Ranges, Resolved, write_content_range,
    write_unsatisfied,
};

use crate::parts::{answer, check_all, request};

fn resolved(value: &str, length: u64) -> String {
    match Ranges::parse(value.as_bytes()).map(|ranges| ranges.resolve(length)) {
        None => "ignored".to_owned(),
        Some(Resolved::Whole) => "whole".to_owned(),
        Some(Resolved::Unsatisfiable) => "416".to_owned(),
        Some(Resolved::Parts(parts)) => {
            let shown = parts.as_slice().iter().map(|part| format!("{}-{}", part.first, part.last));
            shown.collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn ranges() {
    let many: String = (0..17).map(|n| format!("{}-{},", n * 10, n * 10)).collect();
    let most: String = (0..16).map(|n| format!("{}-{},", n * 10, n * 10)).collect();
    let all_of_most =
        (0..16).map(|n| format!("{}-{}", n * 10, n * 10)).collect::<Vec<_>>().join(" ");
    let (many, most) = (format!("bytes={many}"), format!("bytes={most}"));
    let too_many = format!("bytes={}", "0-0,".repeat(33));
    let overlapping = format!("bytes={}", "0-,".repeat(32));
    #[rustfmt::skip]
    let cases = &[
        ("9110-14.1.2 the first bytes", ("bytes=0-499", 10_000), "0-499"),
        ("9110-14.1.2 the second bytes", ("bytes=500-999", 10_000), "500-999"),
        ("9110-14.1.2 the last bytes", ("bytes=-500", 10_000), "9500-9999"),
        ("9110-14.1.2 all from a position", ("bytes=9500-", 10_000), "9500-9999"),
        ("9110-14.1.2 the first and the last", ("bytes=0-0,-1", 10_000), "0-0 9999-9999"),
        ("9110-14.1.2 the first, middle and last", ("bytes= 0-999, 4500-5499, -1000", 10_000), "0-999 4500-5499 9000-9999"),
        ("9110-14.1.2 joined as they touch", ("bytes=500-600,601-999", 10_000), "500-999"),
        ("9110-14.1.2 joined as they overlap", ("bytes=500-700,601-999", 10_000), "500-999"),
        ("9110-14.1.2 beyond the end", ("bytes=5-99", 10), "5-9"),
        ("9110-14.1.2 more than there is from the end", ("bytes=-99", 10), "0-9"),
        ("9110-14.1.2 all of it", ("bytes=0-", 10), "0-9"),
        ("9110-14.1.2 one byte", ("bytes=9-9", 10), "9-9"),
        ("9110-14.1.2 just beyond", ("bytes=10-", 10), "416"),
        ("9110-14.1.2 far beyond", ("bytes=99-100", 10), "416"),
        ("9110-14.1.2 none of the last", ("bytes=-0", 10), "416"),
        ("9110-14.1.2 some satisfiable", ("bytes=99-100, 2-3", 10), "2-3"),
        ("9110-14.1.2 none satisfiable", ("bytes=99-100, -0", 10), "416"),
        ("9110-14.1.2 of nothing", ("bytes=0-", 0), "416"),
        ("9110-14.1.2 the last of nothing", ("bytes=-5", 0), "whole"),
        ("9110-14.1.1 last before first", ("bytes=5-4", 10), "ignored"),
        ("9110-14.1.1 one of them malformed", ("bytes=0-1,5-4", 10), "ignored"),
        ("9110-14.1.1 no numbers", ("bytes=-", 10), "ignored"),
        ("9110-14.1.1 letters", ("bytes=a-b", 10), "ignored"),
        ("9110-14.1.1 a sign", ("bytes=+1-2", 10), "ignored"),
        ("9110-14.1.1 two dashes", ("bytes=1--2", 10), "ignored"),
        ("9110-14.1.1 spaces within", ("bytes=1 - 2", 10), "ignored"),
        ("9110-14.1.1 no dash", ("bytes=5", 10), "ignored"),
        ("9110-14.1.1 nothing", ("bytes=", 10), "ignored"),
        ("9110-14.1.1 commas alone", ("bytes=,,", 10), "ignored"),
        ("9110-14.1.1 no unit", ("0-5", 10), "ignored"),
        ("9110-14.1.1 space before the sign", ("bytes =0-5", 10), "ignored"),
        ("9110-14.1 the unit in capitals", ("BYTES=0-5", 10), "0-5"),
        ("9110-14.2 another unit", ("items=0-5", 10), "ignored"),
        ("9110-5.6.1 empty members", ("bytes=, 0-1 ,,3-4", 10), "0-1 3-4"),
        ("9110-14.1.1 more than 64 bits", ("bytes=0-99999999999999999999999", 10), "0-9"),
        ("9110-14.1.1 beginning beyond 64 bits", ("bytes=99999999999999999999999-", 10), "416"),
        ("9110-14.1.1 the last of more than 64 bits", ("bytes=-99999999999999999999999", 10), "0-9"),
        ("9110-15.3.7.2 in the order that was asked for", ("bytes=5-6,0-1", 10), "5-6 0-1"),
        ("9110-15.3.7.2 joined in the place of the first", ("bytes=5-6,0-1,7-8", 10), "5-8 0-1"),
        ("9110-15.3.7.2 joined by what comes between", ("bytes=0-1,4-5,2-3", 10), "0-5"),
        ("9110-15.3.7.2 joined by what covers all", ("bytes=8-8,6-6,0-", 10), "0-9"),
        ("9110-14.2 as many parts as there may be", (&most, 1000), &all_of_most),
        ("9110-14.2 more parts", (&many, 1000), "whole"),
        ("9110-14.2 more ranges", (&too_many, 10), "ignored"),
        ("9110-14.2 all of it, often", (&overlapping, 10), "0-9"),
        ("9110-14.1.2 the end of the numbers", ("bytes=18446744073709551614-,0-0", u64::MAX), "18446744073709551614-18446744073709551614 0-0"),
    ];
    check_all(cases, |(value, length)| resolved(value, length));
}

#[test]
fn who_is_listened_to() {
    #[rustfmt::skip]
    let cases = &[
        ("9110-14.2 GET", "GET / | Range: bytes=0-1", "yes"),
        ("9110-14.2 HEAD", "HEAD / | Range: bytes=0-1", "no"),
        ("9110-14.2 POST", "POST / | Range: bytes=0-1", "no"),
        ("9110-14.2 none", "GET /", "no"),
        ("9110-14.2 two lines", "GET / | Range: bytes=0-1 | Range: bytes=3-4", "no"),
    ];
    check_all(cases, |lines| {
        if Ranges::of(&request(lines)).is_some() { "yes" } else { "no" }.to_owned()
    });
}

#[test]
fn content_ranges() {
    #[rustfmt::skip]
    let cases = &[
        ("9110-14.4 a part", "bytes 42-1233/1234", "42-1233 of 1234"),
        ("9110-14.4 of unknown length", "bytes 42-1233/*", "42-1233"),
        ("9110-14.4 the unit in capitals", "Bytes 0-0/1", "0-0 of 1"),
        ("9110-14.4 not satisfied", "bytes */1234", "none"),
        ("9110-14.4 last before first", "bytes 5-4/10", "none"),
        ("9110-14.4 shorter than the part", "bytes 0-9/9", "none"),
        ("9110-14.4 another unit", "items 0-1/2", "none"),
        ("9110-14.4 no length", "bytes 0-1", "none"),
        ("9110-14.4 an empty length", "bytes 0-1/", "none"),
        ("9110-14.4 as in Range", "bytes=0-1/2", "none"),
        ("9110-14.4 spaces", "bytes 0 - 1/2", "none"),
        ("9110-14.4 two", "bytes 0-1/2, bytes 0-1/2", "none"),
        ("9110-14.4 overflow", "bytes 0-99999999999999999999/*", "none"),
        ("9110-14.4 empty", "", "none"),
        ("9110-14.4 the unit alone", "bytes ", "none"),
        ("9110-14.4 a slash before the dash", "bytes 0/1-2", "none"),
    ];
    check_all(cases, |value| match ContentRange::parse(value.as_bytes()) {
        Some(ContentRange { part, complete: Some(complete) }) => {
            format!("{}-{} of {complete}", part.first, part.last)
        }
        Some(ContentRange { part, complete: None }) => format!("{}-{}", part.first, part.last),
        None => "none".to_owned(),
    });
    assert_eq!(ContentRange::parse_unsatisfied(b"bytes */1234"), Some(1234));
    assert_eq!(ContentRange::parse_unsatisfied(b"bytes */*"), None);
    assert_eq!(ContentRange::parse_unsatisfied(b"bytes 0-1/2"), None);
    let twice = answer("206 | Content-Range: bytes 0-1/2 | Content-Range: bytes 0-1/2");
    assert_eq!(ContentRange::of(&twice.headers), None, "9110-14.4 on two lines");
}

#[test]
fn what_is_written() {
    let mut out = Vec::new();
    write_content_range(Part { first: 1, last: 2 }, Some(9), &mut out);
    write_content_range(Part { first: 1, last: 2 }, None, &mut out);
    write_unsatisfied(9, &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "Content-Range: bytes 1-2/9\r\nContent-Range: bytes 1-2/*\r\nContent-Range: bytes */9\r\n"
    );
}

#[test]
fn several_parts_are_written_as_9110_14_6_shows() {
    let content = b"0123456789";
    let Some(Resolved::Parts(parts)) = Ranges::parse(b"bytes=0-1,5-8").map(|all| all.resolve(10))
    else {
        panic!("both can be satisfied");
    };
    let multipart = Multipart { boundary: 0x1a2b, content_type: Some(b"text/plain"), complete: 10 };
    let mut out = Vec::new();
    for (at, part) in parts.as_slice().iter().enumerate() {
        multipart.write_head(*part, at == 0, &mut out);
        out.extend_from_slice(&content[part.first as usize..=part.last as usize]);
    }
    multipart.write_end(&mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "--0000000000001a2b\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
         --0000000000001a2b\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-8/10\r\n\r\n5678\r\n\
         --0000000000001a2b--\r\n"
    );
    assert_eq!(multipart.length(&parts), out.len() as u64);
    let mut field = Vec::new();
    multipart.write_content_type(&mut field);
    assert_eq!(
        String::from_utf8_lossy(&field),
        "Content-Type: multipart/byteranges; boundary=0000000000001a2b\r\n"
    );
}

/// What a range means, said another way: the bytes it has.
fn bytes_of(member: &str, length: u64) -> Vec<bool> {
    let (first, last) = member.split_once('-').expect("it is generated so");
    let wanted = |at: u64| match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&at),
        (Ok(first), Err(_)) => at >= first,
        (Err(_), Ok(count)) => at + count >= length,
        (Err(_), Err(_)) => false,
    };
    (0..length).map(wanted).collect()
}

proptest! {
    #[test]
    fn parts_have_just_the_bytes_that_were_asked_for(
        asked in prop::collection::vec((0u64..70, 0u64..20, 0u8..4), 1..30),
        length in 0u64..64,
    ) {
        let members: Vec<String> = asked
            .iter()
            .map(|(first, count, kind)| match kind {
                0 => format!("{first}-"),
                1 => format!("-{count}"),
                _ => format!("{first}-{}", first + count),
            })
            .collect();
        let ranges = Ranges::parse(format!("bytes={}", members.join(",")).as_bytes());
        let ranges = ranges.expect("all of them are well-formed");
        let mut wanted = vec![false; length as usize];
        for member in &members {
            for (all, one) in wanted.iter_mut().zip(bytes_of(member, length)) {
                *all |= one;
            }
        }
        match ranges.resolve(length) {
            Resolved::Unsatisfiable => prop_assert!(!wanted.contains(&true)),
            Resolved::Whole => {
                let runs = wanted.split(|byte| !byte).filter(|run| !run.is_empty()).count();
                prop_assert!(length == 0 || runs > MOST_PARTS);
            }
            Resolved::Parts(parts) => {
                let mut got = vec![false; length as usize];
                for part in parts.as_slice() {
                    prop_assert!(part.first <= part.last && part.last < length);
                    for at in part.first..=part.last {
                        prop_assert!(!got[at as usize], "no byte is sent twice");
                        got[at as usize] = true;
                    }
                }
                prop_assert_eq!(got, wanted);
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(value in "(bytes)?[=0-9, *-]{0,60}", length: u64) {
        if let Some(ranges) = Ranges::parse(value.as_bytes())
            && let Resolved::Parts(parts) = ranges.resolve(length)
        {
            prop_assert!(parts.as_slice().iter().all(|part| part.last < length));
        }
        ContentRange::parse(value.as_bytes());
        ContentRange::parse(format!("bytes {value}").as_bytes());
    }
}
