//! Cookies of a request (RFC 6265 §4.2.1).

use seawall_h1::{Known, RequestHead, fields};

/// Name and value of each cookie, in order, over all lines.
pub fn cookies(request: &RequestHead) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = request.headers.all_known(Known::Cookie);
    lines.flat_map(|line| line.split(|&b| b == b';')).filter_map(|pair| {
        let equals = pair.iter().position(|&b| b == b'=')?;
        Some((fields::trim(&pair[..equals]), fields::trim(&pair[equals + 1..])))
    })
}

/// Appends the values of the cookies called `name`, of which there may be several, since servers
/// differ in which of them they take: their number, then each led by its length.
pub(super) fn write(request: &RequestHead, name: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count: u32 = 0;
    for (_, value) in cookies(request).filter(|(one, _)| *one == name) {
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(value);
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_le_bytes());
}
