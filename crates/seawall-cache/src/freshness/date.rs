//! Dates of header fields (RFC 9110 §5.6.7), as caches read them (RFC 9111 §4.2).
//!
//! All three forms, in any case. Zones other than GMT are refused, as §4.2 asks: a wrong guess
//! would make a stale answer fresh. Dates are written elsewhere.

use crate::Millis;

/// Seconds since 1970 that `text` stands for. `now` tells the century of a year with two digits:
/// the year that is no more than 50 years ahead.
pub fn parse(text: &[u8], now: Millis) -> Option<i64> {
    let comma = text.iter().position(|&b| b == b',');
    match comma {
        Some(3) => imf_fixdate(text),
        Some(_) => rfc850(text, now),
        None => asctime(text),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<i64> {
    let text: &[u8; 29] = text.try_into().ok()?;
    let fits = is_one_of(&text[..3], DAYS)
        && &text[3..5] == b", "
        && text[7] == b' '
        && text[11] == b' '
        && text[16] == b' '
        && text[25..].eq_ignore_ascii_case(b" GMT");
    if !fits {
        return None;
    }
    seconds(number(&text[12..16])?, month(&text[8..11])?, number(&text[5..7])?, &text[17..25])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now: Millis) -> Option<i64> {
    let comma = text.iter().position(|&b| b == b',')?;
    let (day, rest) = text.split_at(comma);
    let rest: &[u8; 24] = rest.try_into().ok()?;
    const LONG: [&[u8]; 7] =
        [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];
    let fits = LONG.iter().any(|name| day.eq_ignore_ascii_case(name))
        && &rest[..2] == b", "
        && rest[4] == b'-'
        && rest[8] == b'-'
        && rest[11] == b' '
        && rest[20..].eq_ignore_ascii_case(b" GMT");
    if !fits {
        return None;
    }
    let this_year = year_of((now / 1000) as i64);
    let mut year = this_year - this_year.rem_euclid(100) + number(&rest[9..11])?;
    if year > this_year + 50 {
        year -= 100;
    } else if year <= this_year - 50 {
        year += 100;
    }
    seconds(year, month(&rest[5..8])?, number(&rest[2..4])?, &rest[12..20])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let fits = is_one_of(&text[..3], DAYS)
        && text[3] == b' '
        && text[7] == b' '
        && text[10] == b' '
        && text[19] == b' ';
    if !fits {
        return None;
    }
    let day = if text[8] == b' ' { &text[9..10] } else { &text[8..10] };
    seconds(number(&text[20..])?, month(&text[4..7])?, number(day)?, &text[11..19])
}

const DAYS: &[u8] = b"montuewedthufrisatsun";
const MONTHS: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";

fn is_one_of(name: &[u8], names: &[u8]) -> bool {
    names.chunks(3).any(|one| one.eq_ignore_ascii_case(name))
}

fn month(name: &[u8]) -> Option<i64> {
    let at = MONTHS.chunks(3).position(|one| one.eq_ignore_ascii_case(name))?;
    Some(at as i64 + 1)
}

fn number(digits: &[u8]) -> Option<i64> {
    let mut number = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(number)
}

/// `time` is `HH:MM:SS`; a leap second counts as the second behind it.
fn seconds(year: i64, month: i64, day: i64, time: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..])?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let fits = (1..=days_of_month).contains(&day)
        && time[2] == b':'
        && time[5] == b':'
        && hour < 24
        && minute < 60
        && second <= 60;
    fits.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970 of a date of the Gregorian calendar. Years are counted from March, so that the
/// leap day is the last one; 146,097 days are 400 years.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + of_year - 719_468
}

/// The year that `seconds` since 1970 lie in.
fn year_of(seconds: i64) -> i64 {
    let day = seconds.div_euclid(86_400);
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    year
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Sep 2026.
    const NOW: Millis = 1_788_652_800_000;

    #[test]
    fn dates() {
        for (name, text, expect) in [
            ("9110-5.6.7 imf-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("9110-5.6.7 rfc850", "Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("9110-5.6.7 asctime", "Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("9110-5.6.7 asctime, two digits", "Wed Nov 16 08:49:37 1994", Some(784_975_777)),
            ("9111-4.2 any case", "sUN, 06 nOV 1994 08:49:37 gmt", Some(784_111_777)),
            (
                "9110-5.6.7 rfc850, next decade",
                "Sunday, 06-Nov-32 08:49:37 GMT",
                Some(1_983_343_777),
            ),
            (
                "9110-5.6.7 rfc850, 50 years ahead",
                "Friday, 06-Nov-76 08:49:37 GMT",
                Some(3_371_878_177),
            ),
            (
                "9110-5.6.7 rfc850, over 50 years ahead",
                "Sunday, 06-Nov-77 08:49:37 GMT",
                Some(247_654_177),
            ),
            ("9110-5.6.7 leap second", "Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_800)),
            ("9110-5.6.7 leap day", "Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("9110-5.6.7 no leap day", "Thu, 29 Feb 1900 00:00:00 GMT", None),
            ("9110-5.6.7 before 1970", "Mon, 01 Jan 1900 00:00:00 GMT", Some(-2_208_988_800)),
            ("9111-5.3 zero", "0", None),
            ("9111-5.3 empty", "", None),
            ("9111-5.3 minus one", "-1", None),
            ("9111-4.2 other zone", "Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("9111-4.2 zone as a number", "Sun, 06 Nov 1994 08:49:37 +0000", None),
            ("9111-4.2 no zone", "Sun, 06 Nov 1994 08:49:37", None),
            ("9110-5.6.7 two digits of year", "Sun, 06 Nov 94 08:49:37 GMT", None),
            ("9110-5.6.7 no comma", "Sun 06 Nov 1994 08:49:37 GMT", None),
            ("9110-5.6.7 two spaces", "Sun, 06  Nov  1994 08:49:37 GMT", None),
            ("9110-5.6.7 dashes", "Sun, 06-Nov-1994 08:49:37 GMT", None),
            ("9110-5.6.7 points", "Sun, 06 Nov 1994 08.49.37 GMT", None),
            ("9110-5.6.7 one digit of hour", "Sun, 06 Nov 1994 8:49:37 GMT", None),
            ("9110-5.6.7 one digit of day", "Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("9110-5.6.7 hour 24", "Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("9110-5.6.7 minute 60", "Sun, 06 Nov 1994 08:60:00 GMT", None),
            ("9110-5.6.7 day 0", "Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("9110-5.6.7 day 31 of 30", "Sun, 31 Nov 1994 08:49:37 GMT", None),
            ("9110-5.6.7 no month", "Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("9110-5.6.7 no day", "Foo, 06 Nov 1994 08:49:37 GMT", None),
            ("9110-5.6.7 two dates", "Sun, 06 Nov 1994 08:49:37 GMT, 0", None),
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), expect, "{name}: {text}");
        }
    }

    proptest! {
        #[test]
        fn all_moments_that_can_be_written_are_read(seconds in 0i64..253_402_300_800) {
            let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds as u64));
            prop_assert_eq!(parse(written.as_bytes(), NOW), Some(seconds));
        }

        #[test]
        fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..40), now: u64) {
            parse(&text, now);
        }

        #[test]
        fn near_dates_do_not_panic(
            text in "[A-Za-z]{3,9},? ?[0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{2,4} [0-9:]{8}( GMT)?",
            now: u64,
        ) {
            parse(text.as_bytes(), now);
        }
    }
}
