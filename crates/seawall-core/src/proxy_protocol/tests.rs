//! Headers as others write them, broken in every way, and cut at every byte.

use super::*;
use crate::random::Random;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn octets(ip: &str) -> [u8; 16] {
    ip.parse::<Ipv6Addr>().expect("an address").octets()
}

fn ends(source: &str, destination: &str) -> Option<Addresses> {
    Some(Addresses { source: address(source), destination: address(destination) })
}

/// A header of version 2 with these bytes behind its signature.
fn v2(rest: &[u8]) -> Vec<u8> {
    [SIGNATURE_2, rest].concat()
}

/// Of IPv4, `192.0.2.1:1` to `192.0.2.2:80`, with these fields.
fn v2_with(fields: &[u8]) -> Vec<u8> {
    let length = (12 + fields.len() as u16).to_be_bytes();
    let ends = [192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 80];
    v2(&[&[0x21, 0x11], &length[..], &ends, fields].concat())
}

/// The same with a right checksum between `before` and `after`.
fn v2_with_sum(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut header = v2_with(&[before, &[3, 0, 4, 0, 0, 0, 0], after].concat());
    let at = FIXED + 12 + before.len() + 3;
    let sum = crc32c::of(&[&header]);
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

fn good() -> Vec<(Vec<u8>, Option<Addresses>)> {
    let text = |line: &str| line.as_bytes().to_vec();
    let v4 = ends("192.0.2.1:1", "192.0.2.2:80");
    let unix = [&[0x21, 0x31, 0, 216], &[b'/'; 216][..]].concat();
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    vec![
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n"), v4),
        (
            text("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n"),
            ends("255.255.255.255:65535", "0.0.0.0:0"),
        ),
        (
            text("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 80\r\n"),
            ends("[2001:db8::1]:1", "[2001:db8::2]:80"),
        ),
        (text("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 80\r\n"), v4),
        (
            text(&format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n")),
            ends(&format!("[{longest}]:65535"), &format!("[{longest}]:65535")),
        ),
        (text("PROXY UNKNOWN\r\n"), None),
        (text("PROXY UNKNOWN \r\n"), None),
        (text("PROXY UNKNOWN ffff::1 ffff::1 65535 whatever\r\n"), None),
        (v2_with(&[]), v4),
        (v2_with(&[0x04, 0, 0]), v4),
        (v2_with(&[0x04, 0, 2, 9, 9, 0xe0, 0, 1, 9]), v4),
        (v2_with(&[&[0xea, 0x0f, 0xf1][..], &[7; 4081]].concat()), v4),
        (v2_with_sum(&[], &[]), v4),
        (v2_with_sum(&[0x01, 0, 2, b'h', b'2'], &[0x02, 0, 1, b'a']), v4),
        // Datagrams have addresses too; who sends them over TCP knows why.
        (v2(&[0x21, 0x12, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 80]), v4),
        (
            v2(&[
                &[0x21, 0x21, 0, 36][..],
                &octets("2001:db8::1"),
                &octets("2001:db8::2"),
                &[0, 1, 0, 80],
            ]
            .concat()),
            ends("[2001:db8::1]:1", "[2001:db8::2]:80"),
        ),
        (
            v2(&[
                &[0x21, 0x21, 0, 36][..],
                &octets("::ffff:192.0.2.1"),
                &octets("::ffff:192.0.2.2"),
                &[0, 1, 0, 80],
            ]
            .concat()),
            v4,
        ),
        (v2(&unix), None),
        (v2(&[0x21, 0x00, 0, 0]), None),
        (v2(&[0x21, 0x00, 0, 3, 1, 2, 3]), None),
        (v2(&[0x20, 0x00, 0, 0]), None),
        // Of a local connection nothing else is looked at.
        (v2(&[0x20, 0xff, 0, 5, 3, 0, 4, 1, 2]), None),
        (v2(&[0x20, 0x11, 0, 1, 0]), None),
        (v2(&[&[0x20, 0x11, 0x10, 0x00], &[1; 4096][..]].concat()), None),
    ]
}

#[test]
fn headers_are_read() {
    for (bytes, addresses) in good() {
        let expect = Ok(Some(Header { length: bytes.len(), addresses }));
        assert_eq!(parse(&bytes), expect, "{}", bytes.escape_ascii());
        // What follows is not looked at, be it another header.
        for next in [&b"x"[..], b"\r\n", b"PROXY UNKNOWN\r\n", SIGNATURE_2] {
            let both = [&bytes, next].concat();
            assert_eq!(parse(&both), expect, "{}", both.escape_ascii());
        }
    }
}

#[test]
fn a_header_that_is_not_all_there_is_waited_for() {
    for (bytes, _) in good() {
        for length in 0..bytes.len() {
            let part = &bytes[..length];
            assert_eq!(parse(part), Ok(None), "{}", part.escape_ascii());
        }
        assert!(bytes.len() <= MAX_LENGTH);
    }
}

#[test]
fn what_is_no_header_is_refused() {
    use BadHeader::*;
    let text = |line: &str| line.as_bytes().to_vec();
    let mut wrong_sum = v2_with_sum(&[], &[]);
    *wrong_sum.last_mut().expect("the sum") ^= 1;
    let mut changed = v2_with_sum(&[], &[1, 0, 1, b'x']);
    changed[FIXED] ^= 0x80;
    let table = [
        (text("GET / HTTP/1.1\r\n"), Missing),
        (text("proxy TCP4 192.0.2.1 192.0.2.2 1 80\r\n"), Missing),
        (text(" PROXY UNKNOWN\r\n"), Missing),
        (text("PROXYUNKNOWN\r\n"), Missing),
        (text("PRI * HTTP/2.0\r\n"), Missing),
        (text("\0"), Missing),
        (text("\r\n\r\n\0\r\nQUIT\r"), Missing),
        (text("\r\n\r\nGET / HTTP/1.1"), Missing),
        (text("\n"), Missing),
        (b"\x16\x03\x01\x02\x00".to_vec(), Missing),
        (text("PROXY \r\n"), Malformed),
        (text("PROXY UNKNOWN\n"), Malformed),
        (text("PROXY UNKNOWN\r\r\n"), Malformed),
        (text("PROXY UNKNOWN\rx"), Malformed),
        (text("PROXY UNKNOWNS\r\n"), Malformed),
        (text("PROXY  UNKNOWN\r\n"), Malformed),
        (text("PROXY unknown\r\n"), Malformed),
        (text("PROXY TCP4\r\n"), Malformed),
        (text("PROXY TCP5 192.0.2.1 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY UDP4 192.0.2.1 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 1 80 \r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 1 80 1\r\n"), Malformed),
        (text("PROXY TCP4  192.0.2.1 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY TCP4\t192.0.2.1 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 1 80\n"), Malformed),
        (text("PROXY TCP4 192.0.2.256 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.01 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY TCP4 2001:db8::1 192.0.2.2 1 80\r\n"), Malformed),
        (text("PROXY TCP6 192.0.2.1 2001:db8::2 1 80\r\n"), Malformed),
        (text("PROXY TCP6 fe80::1%lo fe80::2 1 80\r\n"), Malformed),
        (text("PROXY TCP6 [2001:db8::1] 2001:db8::2 1 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 01 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 +1 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2  80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 1 -80\r\n"), Malformed),
        (text("PROXY TCP4 192.0.2.1 192.0.2.2 1 80\0\r\n"), Malformed),
        (b"PROXY UNKNOWN \xff\r\n".to_vec(), Malformed),
        (text(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92))), TooLong),
        (text(&format!("PROXY UNKNOWN {}", "x".repeat(93))), TooLong),
        (v2(&[0x11]), Malformed),
        (v2(&[0x31]), Malformed),
        (v2(&[0x22]), Malformed),
        (v2(&[0x2f]), Malformed),
        (v2(&[0x21, 0x01]), Malformed),
        (v2(&[0x21, 0x10]), Malformed),
        (v2(&[0x21, 0x13]), Malformed),
        (v2(&[0x21, 0x41]), Malformed),
        (v2(&[0x21, 0x11, 0, 11]), Malformed),
        (v2(&[0x21, 0x21, 0, 35]), Malformed),
        (v2(&[0x21, 0x31, 0, 215]), Malformed),
        (v2(&[0x21, 0x11, 0x10, 0x01]), TooLong),
        (v2(&[0x20, 0x00, 0xff, 0xff]), TooLong),
        (v2_with(&[4]), Malformed),
        (v2_with(&[4, 0]), Malformed),
        (v2_with(&[4, 0, 2, 9]), Malformed),
        (v2_with(&[3, 0, 3, 0, 0, 0]), Malformed),
        (wrong_sum, Checksum),
        (changed, Checksum),
    ];
    for (bytes, expect) in table {
        assert_eq!(parse(&bytes), Err(expect), "{}", bytes.escape_ascii());
        // No part of it is taken for a header, and nothing that follows mends it.
        for length in 0..bytes.len() {
            assert!(!matches!(parse(&bytes[..length]), Ok(Some(_))), "{}", bytes.escape_ascii());
        }
        assert_eq!(parse(&[&bytes, &b"\r\n"[..]].concat()), Err(expect));
    }
}

#[test]
fn bytes_that_resemble_the_signature_are_none() {
    for at in 0..SIGNATURE_2.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = v2(&[0x20, 0, 0, 0]);
            if std::mem::replace(&mut bytes[at], byte) == byte {
                continue;
            }
            let bad = Err(BadHeader::Missing);
            // `P` at the start could become `PROXY `, if the rest did not say otherwise.
            assert_eq!(parse(&bytes), bad, "{}", bytes.escape_ascii());
            let is_p = at == 0 && byte == b'P';
            let expect = if is_p { Ok(None) } else { bad };
            assert_eq!(parse(&bytes[..=at]), expect, "{}", bytes[..=at].escape_ascii());
        }
    }
}

#[test]
fn what_is_read_of_a_changed_header_is_whole() {
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let all = good();
        let (mut bytes, _) = all[random.below(all.len() as u64) as usize].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.number() as u8;
        }
        let parsed = parse(&bytes);
        if let Ok(Some(header)) = parsed {
            assert!(header.length <= bytes.len().min(MAX_LENGTH), "seed {seed}");
            // As soon as it is whole, and not before.
            assert_eq!(parse(&bytes[..header.length]), parsed, "seed {seed}");
            assert_eq!(parse(&bytes[..header.length - 1]), Ok(None), "seed {seed}");
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let any = |random: &mut Random| {
        let port = random.number() as u16;
        let ip = match random.below(3) {
            0 => Ipv4Addr::from_bits(random.number() as u32).into(),
            1 => Ipv4Addr::from_bits(random.number() as u32).to_ipv6_mapped().into(),
            _ => IpAddr::V6(Ipv6Addr::from_bits(
                u128::from(random.number()) << 64 | u128::from(random.number()),
            )),
        };
        SocketAddr::new(ip, port)
    };
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let given = Addresses { source: any(&mut random), destination: any(&mut random) };
        let expect = Addresses {
            source: canonical(given.source),
            destination: canonical(given.destination),
        };
        for (version, most) in [(Version::V1, MAX_LENGTH_1), (Version::V2, 52)] {
            for (given, expect) in [(Some(given), Some(expect)), (None, None)] {
                let mut bytes = Vec::new();
                encode(version, given, &mut bytes);
                assert!(bytes.len() <= most, "seed {seed}: {}", bytes.escape_ascii());
                let header = Header { length: bytes.len(), addresses: expect };
                assert_eq!(parse(&bytes), Ok(Some(header)), "seed {seed}");
            }
        }
    }
}

#[test]
fn headers_are_written_as_the_protocol_shows_them() {
    let written = |version, addresses| {
        let mut bytes = Vec::new();
        encode(version, addresses, &mut bytes);
        bytes.escape_ascii().to_string()
    };
    let v4 = ends("192.0.2.1:56324", "198.51.100.1:443");
    let mixed = ends("192.0.2.1:56324", "[2001:db8::1]:443");
    let signature = r"\r\n\r\n\x00\r\nQUIT\n";
    for (version, addresses, expect) in [
        (Version::V1, v4, r"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_owned()),
        (Version::V1, mixed, r"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 56324 443\r\n".to_owned()),
        (Version::V1, None, r"PROXY UNKNOWN\r\n".to_owned()),
        (
            Version::V2,
            v4,
            format!(r"{signature}!\x11\x00\x0c\xc0\x00\x02\x01\xc63d\x01\xdc\x04\x01\xbb"),
        ),
        (Version::V2, None, format!(r"{signature} \x00\x00\x00")),
    ] {
        assert_eq!(written(version, addresses), expect);
    }
}
