//! Durations, sizes, shares and rates: text with units, both ways.
//!
//! Strict when it reads (`"10s"`, never `10` or `"10 sec"`), generous when it explains: most of
//! what people write instead is understood well enough to say how it is written here.

use std::time::Duration;

/// Why text is no value with a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitError {
    /// What is wrong, to follow the value.
    pub(crate) reason: &'static str,
    /// How to write it.
    pub(crate) help: String,
}

/// Reads `250ms`, `10s`, `1m30s`: integers with a unit, from the largest unit to the smallest.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    strict(text, &DURATION).map(Duration::from_millis)
}

/// Reads `512B`, `32KiB`, `10MB`: one integer with a unit.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    strict(text, &SIZE)
}

/// Writes a duration as [`duration`] reads it. Parts of a millisecond are lost.
pub(crate) fn show_duration(value: Duration) -> String {
    let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    let whole = |unit: u64| (millis % unit == 0).then_some(millis / unit);
    match (whole(1_000), whole(MINUTE), whole(HOUR), whole(DAY)) {
        (_, _, _, Some(days)) if days > 0 => format!("{days}d"),
        (_, _, Some(hours), _) if hours > 0 => format!("{hours}h"),
        // 60s and 90s are how people think of them; 5m is shorter than 300s.
        (_, Some(minutes), _, _) if minutes > 1 => format!("{minutes}m"),
        (Some(seconds), ..) => format!("{seconds}s"),
        _ => format!("{millis}ms"),
    }
}

/// Writes a size as [`size`] reads it, in the largest binary unit without a remainder.
pub(crate) fn show_size(bytes: u64) -> String {
    let binary = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |&(_, bits): &(&str, u32)| bytes != 0 && bytes.is_multiple_of(1 << bits);
    match binary.into_iter().find(fits) {
        Some((unit, bits)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    }
}

/// Reads `50%` and `12.5%`, in thousandths.
pub(crate) fn percent(text: &str) -> Result<u32, UnitError> {
    let fail = |reason, help: String| Err(UnitError { reason, help });
    let example = || "write for example \"50%\"".to_owned();
    let Some(number) = text.strip_suffix('%') else {
        let plain = text.trim().replace(',', ".");
        // A share without its sign may be meant either way: 0.5 of all, or 50 of 100.
        let help = match plain.parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 1.0 && plain.contains('.') => {
                format!("write \"{}\"", show_percent((share * 1000.0).round() as u32))
            }
            Ok(share) if (0.0..=10_000.0).contains(&share) && share.fract() == 0.0 => {
                format!("write \"{share}%\"")
            }
            _ => example(),
        };
        return fail("has no `%`", help);
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if number.starts_with('-') {
        return fail("is negative", example());
    }
    if !digits(whole) || !digits(part) {
        let near = number.trim().replace(',', ".");
        let help = match near != number && percent(&format!("{near}%")).is_ok() {
            true => format!("write \"{near}%\""),
            false => example(),
        };
        return fail("is not a number before its `%`", help);
    }
    if part.len() > 1 {
        return fail("is too exact", "one digit after the point is taken".to_owned());
    }
    let thousandths = match (whole.parse::<u32>(), part.parse::<u32>()) {
        (Ok(whole), Ok(part)) => whole.checked_mul(10).and_then(|whole| whole.checked_add(part)),
        _ => None,
    };
    thousandths.ok_or_else(|| UnitError { reason: "is too large", help: example() })
}

/// Reads `10/s` and `30/m`, in thousandths per second, rounded.
pub(crate) fn rate(text: &str) -> Result<u32, UnitError> {
    let fail = |reason| Err(UnitError { reason, help: rate_advice(text) });
    let Some((number, unit)) = text.split_once('/') else {
        return fail("has no unit");
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => return fail("has an unknown unit"),
    };
    if number.starts_with('-') {
        return fail("is negative");
    }
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return fail("is not a whole number before its unit");
    }
    let thousandths = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1_000));
    let rounded = thousandths.and_then(|n| n.checked_add(seconds / 2)).map(|n| n / seconds);
    let rounded = rounded.and_then(|n| u32::try_from(n).ok());
    rounded.ok_or_else(|| UnitError { reason: "is too large", help: rate_advice("") })
}

/// How to write the rate that was probably meant.
fn rate_advice(text: &str) -> String {
    let plain = text.trim();
    let (number, unit) = split(plain, |c| c.is_ascii_digit());
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.trim_start_matches(['/', ' ']).trim_start_matches("per ").trim();
    let unit = match unit {
        "" | "s" | "sec" | "second" | "rps" | "r/s" | "hz" => "s",
        "m" | "min" | "minute" | "rpm" | "r/m" => "m",
        _ => "",
    };
    match number.is_empty() || number.len() > 9 || unit.is_empty() {
        true => "write for example \"10/s\"; units are s and m".to_owned(),
        false => format!("write \"{number}/{unit}\""),
    }
}

/// Writes a share as [`percent`] reads it.
pub(crate) fn show_percent(thousandths: u32) -> String {
    match thousandths % 10 {
        0 => format!("{}%", thousandths / 10),
        part => format!("{}.{part}%", thousandths / 10),
    }
}

/// Writes a rate as [`rate`] reads it, by the minute when it is not whole by the second.
pub(crate) fn show_rate(thousandths: u32) -> String {
    match thousandths % 1_000 {
        0 => format!("{}/s", thousandths / 1_000),
        _ => format!("{}/m", (u64::from(thousandths) * 60 + 500) / 1_000),
    }
}

struct Kind {
    /// Units as they must be written with their worth, largest first.
    units: &'static [(&'static str, u64)],
    /// What else people write, in lower case.
    slang: &'static [(&'static str, u64)],
    /// Whether several parts may follow each other.
    compound: bool,
    show: fn(u64) -> String,
    example: &'static str,
    all: &'static str,
}

const DURATION: Kind = Kind {
    units: &[("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1_000), ("ms", 1)],
    slang: &[
        ("days", DAY),
        ("day", DAY),
        ("hours", HOUR),
        ("hour", HOUR),
        ("hrs", HOUR),
        ("hr", HOUR),
        ("minutes", MINUTE),
        ("minute", MINUTE),
        ("mins", MINUTE),
        ("min", MINUTE),
        ("seconds", 1_000),
        ("second", 1_000),
        ("secs", 1_000),
        ("sec", 1_000),
        ("milliseconds", 1),
        ("millisecond", 1),
        ("millis", 1),
        ("msecs", 1),
        ("msec", 1),
    ],
    compound: true,
    show: |millis| show_duration(Duration::from_millis(millis)),
    example: "10s",
    all: "ms, s, m, h, d",
};

const SIZE: Kind = Kind {
    units: &[
        ("TiB", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("kB", 1_000),
        ("KB", 1_000),
        ("B", 1),
    ],
    // Where these customs disagree about a thousand they are read as binary, as most servers do.
    slang: &[
        ("tib", 1 << 40),
        ("t", 1 << 40),
        ("gib", 1 << 30),
        ("g", 1 << 30),
        ("mib", 1 << 20),
        ("m", 1 << 20),
        ("kib", 1 << 10),
        ("k", 1 << 10),
        ("tb", 1_000_000_000_000),
        ("gb", 1_000_000_000),
        ("mb", 1_000_000),
        ("kb", 1_000),
        ("bytes", 1),
        ("byte", 1),
        ("b", 1),
    ],
    compound: false,
    show: show_size,
    example: "32KiB",
    all: "B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024)",
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn strict(text: &str, kind: &Kind) -> Result<u64, UnitError> {
    let fail = |reason| UnitError { reason, help: advice(text, kind) };
    if text.is_empty() {
        return Err(fail("is empty"));
    }
    let (mut rest, mut total, mut last) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        if number.is_empty() {
            return Err(fail(match rest.starts_with('-') {
                true => "is negative",
                false => "does not begin with a number",
            }));
        }
        if unit.is_empty() {
            return Err(fail(match after.chars().next() {
                None => "has no unit",
                Some(c) if c.is_whitespace() => "has a space in it",
                Some('.' | ',') => "is not a whole number",
                Some(_) => "has a character in it that does not belong there",
            }));
        }
        let Some(&(_, worth)) = kind.units.iter().find(|(name, _)| *name == unit) else {
            return Err(fail("has an unknown unit"));
        };
        if worth >= last || (last != u64::MAX && !kind.compound) {
            return Err(fail(match kind.compound {
                true => "does not go from the largest unit to the smallest",
                false => "has more than one part",
            }));
        }
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(worth));
        total =
            part.and_then(|part| total.checked_add(part)).ok_or_else(|| fail("is too large"))?;
        (rest, last) = (after, worth);
    }
    Ok(total)
}

/// How to write what was probably meant.
fn advice(text: &str, kind: &Kind) -> String {
    let plain = text.trim();
    if !plain.is_empty() && plain.len() < 12 && plain.bytes().all(|b| b.is_ascii_digit()) {
        let unit = kind.example.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("units are {}; write for example \"{plain}{unit}\"", kind.all);
    }
    match generous(plain, kind) {
        Some(value) => format!("write \"{}\"", (kind.show)(value)),
        None => format!("write for example \"{}\"; units are {}", kind.example, kind.all),
    }
}

fn generous(text: &str, kind: &Kind) -> Option<u64> {
    let (number, unit) = split(text, |c| c.is_ascii_digit() || matches!(c, '.' | ',' | '_'));
    let unit = unit.trim();
    let known = kind.units.iter().find(|(name, _)| *name == unit);
    let lower = unit.to_ascii_lowercase();
    let slang = || kind.slang.iter().find(|(name, _)| *name == lower);
    let lower_known = || kind.units.iter().find(|(name, _)| name.to_ascii_lowercase() == lower);
    let &(_, worth) = known.or_else(slang).or_else(lower_known)?;
    let number = number.replace('_', "").replace(',', ".");
    let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
    if whole.len() > 12 || part.len() > 6 {
        return None;
    }
    let scale = 10u64.pow(u32::try_from(part.len()).ok()?);
    let digits: u64 = format!("{whole}{part}").parse().ok()?;
    let value = digits.checked_mul(worth)?;
    (value % scale == 0).then_some(value / scale)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("90s", 90_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("007s", 7_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn wrong_durations_are_explained() {
        let all = "units are ms, s, m, h, d";
        let example = "write for example \"10s\"; units are ms, s, m, h, d";
        for (text, reason, help) in [
            ("", "is empty", example.to_owned()),
            ("10", "has no unit", format!("{all}; write for example \"10s\"")),
            ("10 s", "has a space in it", "write \"10s\"".to_owned()),
            ("10 sec", "has a space in it", "write \"10s\"".to_owned()),
            ("10sec", "has an unknown unit", "write \"10s\"".to_owned()),
            ("2 minutes", "has a space in it", "write \"2m\"".to_owned()),
            ("10S", "has an unknown unit", "write \"10s\"".to_owned()),
            ("1.5s", "is not a whole number", "write \"1500ms\"".to_owned()),
            ("0,5h", "is not a whole number", "write \"30m\"".to_owned()),
            ("1w", "has an unknown unit", example.to_owned()),
            ("5us", "has an unknown unit", example.to_owned()),
            ("-1s", "is negative", example.to_owned()),
            ("s", "does not begin with a number", example.to_owned()),
            ("30s1m", "does not go from the largest unit to the smallest", example.to_owned()),
            ("1s1s", "does not go from the largest unit to the smallest", example.to_owned()),
            ("1m30", "has no unit", example.to_owned()),
            (
                "1_0s",
                "has a character in it that does not belong there",
                "write \"10s\"".to_owned(),
            ),
            ("99999999999999999999s", "is too large", example.to_owned()),
            ("18446744073709551615d", "is too large", example.to_owned()),
            ("١s", "does not begin with a number", example.to_owned()),
        ] {
            let expect = UnitError { reason, help };
            assert_eq!(duration(text), Err(expect), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("1kB", 1_000),
            ("1KB", 1_000),
            ("32KiB", 32_768),
            ("10MB", 10_000_000),
            ("1MiB", 1_048_576),
            ("1GB", 1_000_000_000),
            ("1GiB", 1_073_741_824),
            ("1TB", 1_000_000_000_000),
            ("1TiB", 1_099_511_627_776),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn wrong_sizes_are_explained() {
        for (text, reason, help) in [
            ("1024", "has no unit", "\"1024KiB\""),
            ("32K", "has an unknown unit", "write \"32KiB\""),
            ("32k", "has an unknown unit", "write \"32KiB\""),
            ("1 MB", "has a space in it", "write \"1000000B\""),
            ("10mb", "has an unknown unit", "write \"10000000B\""),
            ("1g", "has an unknown unit", "write \"1GiB\""),
            ("1.5GiB", "is not a whole number", "write \"1536MiB\""),
            ("1MiB512KiB", "has more than one part", "write for example \"32KiB\""),
            ("100 bytes", "has a space in it", "write \"100B\""),
            ("20000000TiB", "is too large", "write for example \"32KiB\""),
            ("1Mbit", "has an unknown unit", "write for example \"32KiB\""),
        ] {
            let error = size(text).expect_err(text);
            assert_eq!(error.reason, reason, "{text}");
            assert!(error.help.contains(help), "{text}: {}", error.help);
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for (millis, shown) in [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (60_000, "60s"),
            (75_000, "75s"),
            (300_000, "5m"),
            (3_600_000, "1h"),
            (5_400_000, "90m"),
            (86_400_000, "1d"),
            (2_592_000_000, "30d"),
        ] {
            let value = Duration::from_millis(millis);
            assert_eq!(show_duration(value), shown);
            assert_eq!(duration(shown), Ok(value));
        }
        for (bytes, shown) in [
            (0, "0B"),
            (1_000, "1000B"),
            (32 << 10, "32KiB"),
            (1 << 20, "1MiB"),
            (1 << 30, "1GiB"),
            (16 << 40, "16TiB"),
            (1_536, "1536B"),
        ] {
            assert_eq!(show_size(bytes), shown);
            assert_eq!(size(shown), Ok(bytes));
        }
    }

    #[test]
    fn shares() {
        for (text, thousandths) in [
            ("0%", 0),
            ("1%", 10),
            ("0.5%", 5),
            ("12.5%", 125),
            ("50%", 500),
            ("125%", 1250),
            ("007%", 70),
        ] {
            assert_eq!(percent(text), Ok(thousandths), "{text}");
        }
        for thousandths in [0, 5, 10, 125, 500, 999, 1_000, 1_250, 10_000] {
            assert_eq!(percent(&show_percent(thousandths)), Ok(thousandths));
        }
        for (text, reason, help) in [
            ("50", "has no `%`", "write \"50%\""),
            ("0.5", "has no `%`", "write \"50%\""),
            ("0,25", "has no `%`", "write \"25%\""),
            ("half", "has no `%`", "write for example \"50%\""),
            ("", "has no `%`", "write for example \"50%\""),
            ("inf", "has no `%`", "write for example \"50%\""),
            ("%", "is not a number before its `%`", "write for example \"50%\""),
            ("50 %", "is not a number before its `%`", "write \"50%\""),
            ("12,5%", "is not a number before its `%`", "write \"12.5%\""),
            ("1e2%", "is not a number before its `%`", "write for example \"50%\""),
            ("5.%", "is not a number before its `%`", "write for example \"50%\""),
            ("-5%", "is negative", "write for example \"50%\""),
            ("12.25%", "is too exact", "one digit after the point is taken"),
            ("99999999999%", "is too large", "write for example \"50%\""),
            ("429496729.6%", "is too large", "write for example \"50%\""),
        ] {
            assert_eq!(percent(text), Err(UnitError { reason, help: help.to_owned() }), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, thousandths) in
            [("0/s", 0), ("1/s", 1_000), ("100/s", 100_000), ("30/m", 500), ("1/m", 17)]
        {
            assert_eq!(rate(text), Ok(thousandths), "{text}");
            assert_eq!(show_rate(thousandths), text);
        }
        assert_eq!(rate("120/m"), Ok(2_000));
        for (text, reason, help) in [
            ("10", "has no unit", "write \"10/s\""),
            ("", "has no unit", "write for example \"10/s\"; units are s and m"),
            ("10 rps", "has no unit", "write \"10/s\""),
            ("10 per minute", "has no unit", "write \"10/m\""),
            ("10/sec", "has an unknown unit", "write \"10/s\""),
            ("10/h", "has an unknown unit", "write for example \"10/s\"; units are s and m"),
            ("10 /s", "is not a whole number before its unit", "write \"10/s\""),
            (
                "1.5/s",
                "is not a whole number before its unit",
                "write for example \"10/s\"; units are s and m",
            ),
            (
                "/s",
                "is not a whole number before its unit",
                "write for example \"10/s\"; units are s and m",
            ),
            ("-1/s", "is negative", "write for example \"10/s\"; units are s and m"),
            ("5000000/s", "is too large", "write for example \"10/s\"; units are s and m"),
            (
                "99999999999999999999/s",
                "is too large",
                "write for example \"10/s\"; units are s and m",
            ),
        ] {
            assert_eq!(rate(text), Err(UnitError { reason, help: help.to_owned() }), "{text}");
        }
    }
}
