//! The normal form of a field that nothing is known of.

/// Appends the value of a field: its lines joined by commas, without the white space around commas
/// that are in no quoted string (RFC 9111 §4.1 allows as much for any field). False if there is no
/// line.
pub(super) fn write<'a>(lines: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> bool {
    let mut is_there = false;
    for line in lines {
        if is_there {
            out.push(b',');
        }
        is_there = true;
        write_line(line, out);
    }
    is_there
}

fn write_line(line: &[u8], out: &mut Vec<u8>) {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    if !line.contains(&b',') {
        out.extend_from_slice(line);
        return;
    }
    let start = out.len();
    let (mut is_quoted, mut is_escaped, mut is_behind_comma) = (false, false, false);
    for byte in line {
        if !is_quoted {
            if is_behind_comma && blank(byte) {
                continue;
            }
            if *byte == b',' {
                while out.len() > start && out.last().is_some_and(blank) {
                    out.pop();
                }
            }
            is_behind_comma = *byte == b',';
        }
        out.push(*byte);
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && *byte == b'\\' {
            is_escaped = true;
        } else if *byte == b'"' {
            is_quoted = !is_quoted;
        }
    }
}
