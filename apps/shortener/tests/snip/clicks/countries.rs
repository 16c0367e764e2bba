//! Countries, from a database that is made here: a few networks in the format of MaxMind
//! (<https://maxmind.github.io/MaxMind-DB/>).

use std::fs;

use serde_json::json;

use super::{DESK, SOON, follow, stats};
use crate::instance::Home;

/// A text with its control byte.
fn text(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29, "longer ones have another form");
    out.push(2 << 5 | text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// A number: type 5 of two bytes, 6 of four; 9, of eight, is an extended type.
fn number(out: &mut Vec<u8>, kind: u8, number: u64) {
    let size = match kind {
        5 => 2,
        6 => 4,
        _ => 8,
    };
    match kind {
        9 => out.extend_from_slice(&[8, 9 - 7]),
        _ => out.push(kind << 5 | size),
    }
    out.extend_from_slice(&number.to_be_bytes()[8 - usize::from(size)..]);
}

/// A database of networks of IPv4, each with the letters of its country.
fn database(networks: &[([u8; 4], u32, &str)]) -> Vec<u8> {
    // Nodes have two ways on: to another node, to data, or to nothing.
    #[derive(Clone, Copy)]
    enum Way {
        Nothing,
        Node(usize),
        Data(usize),
    }
    let (mut nodes, mut data) = (vec![[Way::Nothing; 2]], Vec::new());
    for (address, bits, country) in networks {
        let (address, mut at) = (u32::from_be_bytes(*address), 0);
        for depth in 0..*bits {
            let bit = (address >> (31 - depth) & 1) as usize;
            if depth + 1 == *bits {
                nodes[at][bit] = Way::Data(data.len());
                break;
            }
            at = match nodes[at][bit] {
                Way::Node(next) => next,
                _ => {
                    nodes.push([Way::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[at][bit] = Way::Node(next);
                    next
                }
            };
        }
        data.push(7 << 5 | 1);
        text(&mut data, "country");
        data.push(7 << 5 | 1);
        text(&mut data, "iso_code");
        text(&mut data, country);
    }
    let (count, mut out) = (nodes.len(), Vec::new());
    for way in nodes.iter().flatten() {
        let record = match way {
            Way::Nothing => count,
            Way::Node(node) => *node,
            Way::Data(offset) => count + 16 + offset,
        };
        out.extend_from_slice(&(record as u32).to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    out.push(7 << 5 | 9);
    for (name, kind, value) in [
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
        ("build_epoch", 9, 1_700_000_000),
        ("ip_version", 5, 4),
        ("node_count", 6, count as u64),
        ("record_size", 5, 24),
    ] {
        text(&mut out, name);
        number(&mut out, kind, value);
    }
    text(&mut out, "database_type");
    text(&mut out, "Test-Country");
    text(&mut out, "description");
    out.push(7 << 5);
    text(&mut out, "languages");
    out.extend_from_slice(&[0, 11 - 7]);
    out
}

#[test]
fn countries_are_those_of_the_addresses() {
    let home = Home::new();
    let networks =
        [([192, 0, 2, 0], 24, "DE"), ([198, 51, 100, 0], 24, "FR"), ([127, 0, 0, 0], 8, "xx")];
    fs::write(home.path().join("c.mmdb"), database(&networks)).expect("it can be written");
    let snip = home.start(&format!("trust = [\"127.0.0.1\"]\ncountry = \"c.mmdb\"\n{SOON}"));
    let code = snip.create(json!({ "target": "https://a.example/" }));
    let from = |client: &str, more: &str| {
        let fields = format!("x-forwarded-for: {client}\r\nuser-agent: {DESK}\r\n{more}");
        follow(&snip, &code, &fields);
    };
    from("192.0.2.1", "");
    from("::ffff:192.0.2.200", "");
    from("198.51.100.9", "");
    from("203.0.113.1", "");
    from("2001:db8::1", "");
    from("192.0.2.1", "dnt: 1\r\n");
    follow(&snip, &code, &format!("user-agent: {DESK}\r\n"));
    let seen = snip.until(|it| stats(it, it.key(), &code), |stats| stats["clicks"] == 7);
    let expect = json!([
        { "value": "", "clicks": 4 },
        { "value": "DE", "clicks": 2 },
        { "value": "FR", "clicks": 1 },
    ]);
    assert_eq!(seen["countries"], expect);
}
