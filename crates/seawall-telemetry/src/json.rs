//! Escaping of text for JSON. For the few places on the request path that write JSON by hand.

/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 are replaced, since
/// header values and paths may hold anything.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(text, out);
    out.push(b'"');
}

/// The same without the quotes.
pub fn escaped(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let mut plain = chunk.valid().as_bytes();
        while let Some(at) = plain.iter().position(|byte| MUST_BE_ESCAPED[usize::from(*byte)]) {
            out.extend_from_slice(&plain[..at]);
            escape(plain[at], out);
            plain = &plain[at + 1..];
        }
        out.extend_from_slice(plain);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

const MUST_BE_ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'"' | b'\\' | 0..=0x1f | 0x7f);
        byte += 1;
    }
    table
};

#[cold]
fn escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
        }
    }
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
