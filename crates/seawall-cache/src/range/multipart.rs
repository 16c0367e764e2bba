//! Several parts in one answer: `multipart/byteranges` (RFC 9110 §14.6).

use super::{Part, Parts, write_content_range};

/// Writes what stands around the parts.
#[derive(Debug, Clone, Copy)]
pub struct Multipart<'a> {
    /// Sixteen hexadecimal digits of it separate the parts; at random, so that no content has them.
    pub boundary: u64,
    /// The `Content-Type` of the content, if it has one.
    pub content_type: Option<&'a [u8]>,
    /// Bytes of the whole content.
    pub complete: u64,
}

impl Multipart<'_> {
    /// Appends the field `Content-Type` of the answer.
    pub fn write_content_type(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Content-Type: multipart/byteranges; boundary=");
        self.write_boundary(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends what stands before the bytes of `part`. A line end belongs to the separator, so that
    /// the first may do without.
    pub fn write_head(&self, part: Part, is_first: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(if is_first { b"--" } else { b"\r\n--" });
        self.write_boundary(out);
        out.extend_from_slice(b"\r\n");
        if let Some(kind) = self.content_type {
            seawall_h1::encode::field(b"Content-Type", kind, out);
        }
        write_content_range(part, Some(self.complete), out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends what stands behind the last part.
    pub fn write_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n--");
        self.write_boundary(out);
        out.extend_from_slice(b"--\r\n");
    }

    /// Bytes of the whole answer.
    pub fn length(&self, parts: &Parts) -> u64 {
        let mut scratch = Vec::with_capacity(256);
        let mut length = 0;
        for (at, part) in parts.as_slice().iter().enumerate() {
            scratch.clear();
            self.write_head(*part, at == 0, &mut scratch);
            length += scratch.len() as u64 + part.len();
        }
        scratch.clear();
        self.write_end(&mut scratch);
        length + scratch.len() as u64
    }

    fn write_boundary(&self, out: &mut Vec<u8>) {
        for nibble in (0..16).rev() {
            out.push(b"0123456789abcdef"[(self.boundary >> (4 * nibble) & 15) as usize]);
        }
    }
}
