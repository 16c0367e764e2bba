//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, versions 1 and 2): the header by which a
//! proxy tells the next one whose connection it carries, read and written.
//!
//! Reading is strict, since what follows a header that was misread is misread too, and bounded:
//! a header has at most [`MAX_LENGTH`] bytes. Whom to believe is decided by whoever calls this: the
//! listeners of the doors, and the balancer of TCP connections.

mod crc32c;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What begins a header of version 1.
const SIGNATURE_1: &[u8] = b"PROXY ";
/// What begins a header of version 2; no text protocol can begin so.
const SIGNATURE_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, its line end included.
const MAX_LENGTH_1: usize = 107;
/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;
/// Longest part of version 2 behind these. The protocol allows 64 KiB; those who use it send
/// certificates' names and identifiers of a few hundred bytes.
const MAX_REST: usize = 4096;

/// The longest header that is read, in bytes.
pub const MAX_LENGTH: usize = FIXED + MAX_REST;

/// The type of the field with a checksum (`PP2_TYPE_CRC32C`).
const TYPE_CRC32C: u8 = 0x03;

/// Versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The two ends of the connection that a proxy carries. Both are canonical: what is IPv4 inside of
/// IPv6 is IPv4 here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes; what follows belongs to the connection that is carried.
    pub length: usize,
    /// Whose connection it is; `None` when it is the proxy's own (`LOCAL`, such as a health check)
    /// or when the proxy knows no addresses of the Internet (`UNKNOWN`, `UNSPEC`, Unix sockets).
    /// The addresses of the connection itself hold then.
    pub addresses: Option<Addresses>,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// They do not begin like one: the peer does not speak the protocol.
    Missing,
    /// They begin like one.
    Malformed,
    /// It is longer than [`MAX_LENGTH`], or than 107 bytes in version 1.
    TooLong,
    /// Its checksum is wrong.
    Checksum,
}

/// Reads the header at the start of `bytes`; `None` while there is not all of it. To be called
/// again with more bytes after the same ones.
///
/// # Errors
///
/// Once it is clear that no further bytes make it a header; of version 1, at the latest at the end
/// of the line.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
    if begins(bytes, SIGNATURE_2) {
        return parse_2(bytes);
    }
    if begins(bytes, SIGNATURE_1) {
        return parse_1(bytes);
    }
    Err(BadHeader::Missing)
}

/// Whether `bytes` begin with `signature`, as far as they go.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let length = bytes.len().min(signature.len());
    bytes[..length] == signature[..length]
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n` (§2.1).
fn parse_1(bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
    let window = &bytes[..bytes.len().min(MAX_LENGTH_1)];
    let Some(at) = window.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
        let is_full = window.len() == MAX_LENGTH_1;
        return if is_full { Err(BadHeader::TooLong) } else { Ok(None) };
    };
    match (window[at], window.get(at + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if at + 1 == MAX_LENGTH_1 => return Err(BadHeader::TooLong),
        (b'\r', None) => return Ok(None),
        _ => return Err(BadHeader::Malformed),
    }
    let line = std::str::from_utf8(&window[SIGNATURE_1.len().min(at)..at]);
    let mut words = line.map_err(|_| BadHeader::Malformed)?.split(' ');
    let addresses = match words.next() {
        // Whatever else the line says is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses_1::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(addresses_1::<Ipv6Addr>(words)?),
        _ => return Err(BadHeader::Malformed),
    };
    Ok(Some(Header { length: at + 2, addresses }))
}

fn addresses_1<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<Addresses, BadHeader> {
    let mut word = || words.next().ok_or(BadHeader::Malformed);
    let [source, destination] = [word()?, word()?];
    let [source_port, destination_port] = [word()?, word()?];
    if words.next().is_some() {
        return Err(BadHeader::Malformed);
    }
    let end = |ip: &str, port: &str| {
        let ip = ip.parse::<A>().map_err(|_| BadHeader::Malformed)?;
        Ok(canonical(SocketAddr::new(ip.into(), port_1(port)?)))
    };
    Ok(Addresses {
        source: end(source, source_port)?,
        destination: end(destination, destination_port)?,
    })
}

/// A decimal number without sign or leading zeroes.
fn port_1(text: &str) -> Result<u16, BadHeader> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || (text.len() > 1 && text.starts_with('0')) {
        return Err(BadHeader::Malformed);
    }
    text.parse().map_err(|_| BadHeader::Malformed)
}

/// The binary header (§2.2).
fn parse_2(bytes: &[u8]) -> Result<Option<Header>, BadHeader> {
    // Each byte is judged as soon as it is there.
    let (Some(&version_command), family) = (bytes.get(12), bytes.get(13)) else {
        return Ok(None);
    };
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(BadHeader::Malformed),
    };
    let Some(&family) = family else { return Ok(None) };
    let address_length = match family {
        // Nothing behind the fixed part means anything.
        _ if is_local => 0,
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(BadHeader::Malformed),
    };
    let Some(rest) = bytes.get(14..FIXED) else { return Ok(None) };
    let rest_length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    if rest_length > MAX_REST {
        return Err(BadHeader::TooLong);
    }
    if rest_length < address_length {
        return Err(BadHeader::Malformed);
    }
    let length = FIXED + rest_length;
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    if address_length > 0 {
        check_fields(header, FIXED + address_length)?;
    }
    let rest = &header[FIXED..];
    let addresses = match address_length {
        12 => Some(addresses_2::<4>(rest)),
        36 => Some(addresses_2::<16>(rest)),
        _ => None,
    };
    Ok(Some(Header { length, addresses }))
}

/// Two addresses of `N` bytes, then two ports. There are as many bytes.
fn addresses_2<const N: usize>(bytes: &[u8]) -> Addresses
where
    IpAddr: From<[u8; N]>,
{
    let end = |nth: usize| {
        let mut ip = [0; N];
        ip.copy_from_slice(&bytes[nth * N..][..N]);
        let port = &bytes[2 * N + 2 * nth..];
        canonical(SocketAddr::new(ip.into(), u16::from_be_bytes([port[0], port[1]])))
    };
    Addresses { source: end(0), destination: end(1) }
}

/// Goes through the fields behind the addresses (type, length, value), none of which is used but
/// the checksum.
fn check_fields(header: &[u8], from: usize) -> Result<(), BadHeader> {
    let mut at = from;
    while at < header.len() {
        let Some(&[kind, high, low]) = header[at..].first_chunk() else {
            return Err(BadHeader::Malformed);
        };
        let value = at + 3;
        let end = value + usize::from(u16::from_be_bytes([high, low]));
        let Some(field) = header.get(value..end) else { return Err(BadHeader::Malformed) };
        if kind == TYPE_CRC32C {
            let claimed = field.try_into().map_err(|_| BadHeader::Malformed)?;
            // The sum is over the header with zeroes where the sum is.
            let found = crc32c::of(&[&header[..value], &[0; 4], &header[end..]]);
            if found != u32::from_be_bytes(claimed) {
                return Err(BadHeader::Checksum);
            }
        }
        at = end;
    }
    Ok(())
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Appends a header to `out`: at most 107 bytes of version 1, or 52 of version 2. Without
/// addresses it says that the connection is the proxy's own, as for a health check (`LOCAL`; in
/// version 1, which has no word for that, `UNKNOWN`).
///
/// One end of IPv4 and one of IPv6 are both told as IPv6.
pub fn encode(version: Version, addresses: Option<Addresses>, out: &mut Vec<u8>) {
    let ends = addresses.map(|Addresses { source, destination }| {
        let (source, destination) = (canonical(source), canonical(destination));
        let ips = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ips::V4([source, destination]),
            (source, destination) => Ips::V6([source, destination].map(wide)),
        };
        (ips, [source.port(), destination.port()])
    });
    match version {
        Version::V1 => encode_1(ends, out),
        Version::V2 => encode_2(ends, out),
    }
}

/// Two addresses of one family.
enum Ips {
    V4([Ipv4Addr; 2]),
    V6([Ipv6Addr; 2]),
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn encode_1(ends: Option<(Ips, [u16; 2])>, out: &mut Vec<u8>) {
    let line = match ends {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((Ips::V4([from, to]), [from_port, to_port])) => {
            format!("PROXY TCP4 {from} {to} {from_port} {to_port}\r\n")
        }
        Some((Ips::V6([from, to]), [from_port, to_port])) => {
            format!("PROXY TCP6 {from} {to} {from_port} {to_port}\r\n")
        }
    };
    out.extend_from_slice(line.as_bytes());
}

fn encode_2(ends: Option<(Ips, [u16; 2])>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE_2);
    let Some((ips, ports)) = ends else {
        return out.extend_from_slice(&[0x20, 0x00, 0, 0]);
    };
    match ips {
        Ips::V4(ips) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            ips.iter().for_each(|ip| out.extend_from_slice(&ip.octets()));
        }
        Ips::V6(ips) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            ips.iter().for_each(|ip| out.extend_from_slice(&ip.octets()));
        }
    }
    ports.iter().for_each(|port| out.extend_from_slice(&port.to_be_bytes()));
}

#[cfg(test)]
mod tests;
