//! Times as people write them on a command line: a moment, a day, or a span from now on.

use crate::instant;
use crate::link::Millis;
use crate::store::system_clock;

const DAY: Millis = 86_400_000;

/// When something ends: a moment, a day (at its end, UTC), or a span from now on.
///
/// # Errors
/// A sentence for people.
pub(super) fn end(text: &str) -> Result<Millis, String> {
    end_after(text, system_clock())
}

/// From when on: a moment, or a day (at its beginning, UTC).
///
/// # Errors
/// A sentence for people.
pub(super) fn from(text: &str) -> Result<Millis, String> {
    let at = instant::parse(text).or_else(|| midnight(text));
    at.ok_or_else(|| "a time is like `2030-01-31T12:00:00Z` or `2030-01-31`".to_owned())
}

/// Until when: a moment, or a day (at its end, UTC).
///
/// # Errors
/// A sentence for people.
pub(super) fn to(text: &str) -> Result<Millis, String> {
    let is_day = midnight(text).is_some();
    from(text).map(|at| if is_day { at + DAY } else { at })
}

/// The beginning of a day.
fn midnight(text: &str) -> Option<Millis> {
    instant::parse(&format!("{text}T00:00:00Z"))
}

fn end_after(text: &str, now: Millis) -> Result<Millis, String> {
    if let Ok(at) = to(text) {
        return Ok(at);
    }
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY,
        "w" => 7 * DAY,
        "y" => 365 * DAY,
        _ => return Err("a time is like `2030-01-31T12:00:00Z`, `2030-01-31` or `30d`".into()),
    };
    let span = number.parse::<Millis>().ok().and_then(|number| number.checked_mul(unit));
    let at = span.and_then(|span| now.checked_add(span));
    at.ok_or_else(|| "that is too far away".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_times_days_or_spans() {
        let now = 1_795_439_951_123;
        for (text, expect) in [
            ("2030-01-31T12:00:00Z", Some("2030-01-31T12:00:00.000Z")),
            ("2030-01-31", Some("2030-02-01T00:00:00.000Z")),
            ("90m", Some("2026-11-23T14:49:11.123Z")),
            ("30d", Some("2026-12-23T13:19:11.123Z")),
            ("30", None),
            ("d", None),
            ("2030-02-31", None),
            ("99999999999999999999y", None),
            ("9999999999999y", None),
        ] {
            let at = end_after(text, now).ok().map(instant::shown);
            assert_eq!(at.as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn ranges_have_their_first_and_last_day_in_them() {
        let shown = |at: Result<Millis, String>| at.ok().map(instant::shown);
        let day = "2026-11-23";
        assert_eq!(shown(from(day)).as_deref(), Some("2026-11-23T00:00:00.000Z"));
        assert_eq!(shown(to(day)).as_deref(), Some("2026-11-24T00:00:00.000Z"));
        let moment = "2026-11-23T12:00:00+01:00";
        assert_eq!(shown(from(moment)).as_deref(), Some("2026-11-23T11:00:00.000Z"));
        assert_eq!(from(moment), to(moment));
        assert!(from("30d").is_err() && to("yesterday").is_err());
    }
}
