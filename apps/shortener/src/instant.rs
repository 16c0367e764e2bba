//! Times as people and programs write them (RFC 3339), and as they are stored.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::link::Millis;

/// A time as text, in UTC, with milliseconds; times that no text can be for (beyond the year 9999)
/// as the last that one can.
pub fn shown(at: Millis) -> String {
    const LAST: &str = "9999-12-31T23:59:59.999Z";
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000) else {
        return LAST.to_owned();
    };
    let (hour, minute, second) = time.to_hms();
    if !(0..=9999).contains(&time.year()) {
        return LAST.to_owned();
    }
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.millisecond()
    )
}

/// A time from text such as `2027-01-31T12:00:00Z`, or with an offset, or with a fraction, of
/// which milliseconds count.
pub fn parse(text: &str) -> Option<Millis> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Millis::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, at) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2026-11-23T13:19:11.123Z", 1_795_439_951_123),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(shown(at), text);
            assert_eq!(parse(text), Some(at));
        }
        assert_eq!(parse("2026-11-23T14:19:11.1239+01:00"), Some(1_795_439_951_123));
        assert_eq!(shown(Millis::MAX), "9999-12-31T23:59:59.999Z");
        for wrong in ["", "2026-11-23", "2026-11-23 13:19:11", "2026-02-30T00:00:00Z", "tomorrow"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
