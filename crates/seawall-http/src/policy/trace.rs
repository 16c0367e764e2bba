//! `traceparent` (W3C Trace Context, level 1): passed on as it came, made where there is none, so
//! that every request can be followed from the access log through the application.

use seawall_h1::{Known, RequestHead, encode};

use crate::message::Request;

/// Writes the field, and notes the trace it names.
pub(crate) fn write(request: &Request<'_>, out: &mut Vec<u8>) {
    let (trace, made);
    let value: &[u8] = match received(request.head) {
        Some((value, id)) => {
            trace = id;
            value
        }
        None => {
            let number = || request.worker.any_number();
            // One that was made for an attempt before stays; an id of zero means that there is none.
            trace = match request.facts.trace.get() {
                0 => (u128::from(number()) << 64 | u128::from(number())).max(1),
                before => before,
            };
            made = make(trace, number().max(1));
            &made
        }
    };
    request.facts.trace.set(trace);
    encode::field(b"traceparent", value, out);
}

/// `00-TRACE-PARENT-01`: version, ids, and the flag that it may be recorded.
fn make(trace: u128, parent: u64) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    write_hex(&trace.to_be_bytes(), &mut text[3..35]);
    write_hex(&parent.to_be_bytes(), &mut text[36..52]);
    text
}

#[inline(always)]
fn write_hex(bytes: &[u8], text: &mut [u8]) {
    for (byte, digits) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        digits.copy_from_slice(&HEX[usize::from(*byte)]);
    }
}

/// The digits of each byte.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The field as it came with its trace id, if there is exactly one and it is well-formed.
fn received(head: &RequestHead) -> Option<(&[u8], u128)> {
    let mut values = head.headers.all_known(Known::Traceparent);
    let value = values.next().filter(|_| values.next().is_none())?;
    let hex = |text: &[u8]| text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    // Later versions may be longer, with a dash behind what is known of them (§3.2.4).
    let (known, rest) = value.split_at_checked(55)?;
    let dashed = known[2] == b'-' && known[35] == b'-' && known[52] == b'-';
    let ids = hex(&known[..2]) && hex(&known[3..35]) && hex(&known[36..52]) && hex(&known[53..]);
    let version =
        &known[..2] != b"ff" && (rest.is_empty() || (&known[..2] != b"00" && rest[0] == b'-'));
    let parent = known[36..52].iter().any(|b| *b != b'0');
    let trace =
        std::str::from_utf8(&known[3..35]).ok().and_then(|id| u128::from_str_radix(id, 16).ok())?;
    (dashed && ids && version && parent && trace != 0).then_some((value, trace))
}

#[cfg(test)]
mod tests {
    use seawall_h1::{HeadLimits, HeadProgress, parse};

    use super::*;

    #[test]
    fn only_well_formed_fields_are_passed_on() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let made = make(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(made, GOOD.as_bytes());
        for (value, good) in [
            (GOOD.to_owned(), true),
            (GOOD.replace("00-", "cc-") + "-more", true),
            (GOOD.to_owned() + "-more", false),
            (GOOD.replace("00-4", "ff-4"), false),
            (GOOD.to_uppercase(), false),
            (GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
            (GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (GOOD[..54].to_owned(), false),
            (format!("{GOOD}\r\ntraceparent: {GOOD}"), false),
            (String::new(), false),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {value}\r\n\r\n");
            let limits = HeadLimits { bytes: 8192, headers: 100 };
            let mut head = RequestHead::default();
            let parsed =
                parse::request(text.as_bytes(), limits, &mut HeadProgress::default(), &mut head);
            assert_eq!(parsed, Ok(Some(text.len())));
            assert_eq!(received(&head).is_some(), good, "{value}");
        }
    }
}
