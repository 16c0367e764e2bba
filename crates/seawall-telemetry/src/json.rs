//! Escaping of text for JSON. For the few places on the request path that write JSON by hand.

/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 are replaced, since
/// header values and paths may hold anything.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..=0x1f | 0x7f => {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    out.extend_from_slice(b"\\u00");
                    out.push(DIGITS[(byte >> 4) as usize]);
                    out.push(DIGITS[(byte & 15) as usize]);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_escaped() {
        for (text, expect) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\n\x00\x1f", r#""\n\u0000\u001f""#),
            ("é".as_bytes(), "\"é\""),
            (b"a\xffb", "\"a\u{fffd}b\""),
        ] {
            let mut out = Vec::new();
            super::string(text, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expect);
        }
    }
}
