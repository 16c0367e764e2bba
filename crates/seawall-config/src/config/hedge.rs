//! When a second attempt is begun beside the first: `hedge` of `[[route]]`.

use std::time::Duration;

use super::{LONGEST, SHORTEST};
use crate::read::Show;
use crate::rules::{Fault, Parsed, Time};
use crate::section::section;
use crate::text::Text;
use crate::units::{duration, show_duration};

/// When a hedge begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HedgeAfter {
    /// At the 95th percentile of the route's own latency.
    P95,
    /// After this time.
    Time(Duration),
}

section! {
    /// When a request without an answer is sent to a second server as well: the first answer wins,
    /// and the other attempt is given up. Only for `GET`, `HEAD` and `OPTIONS` without a body, and
    /// within `retry.budget`, which holds without `retry` too. Off by itself while more than 70 % of
    /// `max-in-flight` is used, and while the breaker is not closed.
    HedgeEntry {
        /// After this time: `"p95"`, which only one request in twenty takes, as the route itself
        /// has measured of late, or a [duration](#durations). Shorter than the route's `timeout`.
        default "after" after: HedgeAfter = HedgeAfter::P95, AFTER;
        /// But not earlier than this, however quick most answers are. The default is `after` where
        /// that is a duration and shorter.
        default "least" least: Duration = Duration::from_millis(5), Time(Duration::ZERO, LONGEST);
    }
}

const AFTER: Parsed<HedgeAfter> =
    Parsed { kind: "\"p95\" or a duration", example: "p95", limits: "at least 1ms", parse: after };

impl Show for Parsed<HedgeAfter> {
    fn show(&self, value: &HedgeAfter) -> String {
        match value {
            HedgeAfter::P95 => "\"p95\"".to_owned(),
            HedgeAfter::Time(time) => format!("\"{}\"", show_duration(*time)),
        }
    }
}

fn after(text: &Text) -> Result<HedgeAfter, Fault> {
    let value = text.value.as_str();
    match duration(value) {
        _ if value == "p95" => Ok(HedgeAfter::P95),
        Ok(time) if (SHORTEST..=LONGEST).contains(&time) => Ok(HedgeAfter::Time(time)),
        Ok(_) => {
            let (min, max) = (show_duration(SHORTEST), show_duration(LONGEST));
            let message = format!("{} is not from {min} to {max}", text.shown());
            Err(Fault::whole(text, message, "write \"p95\" or for example \"30ms\""))
        }
        Err(_) if value.starts_with(['p', 'P']) => {
            let message = format!("{} is not \"p95\" or a duration", text.shown());
            let help = "only \"p95\" is measured; it sends about one request in twenty twice";
            Err(Fault::whole(text, message, help))
        }
        Err(error) => {
            let message = format!("{} {}", text.shown(), error.reason);
            let help = match text.is_from_environment() {
                true => "write \"p95\" or for example \"30ms\"".to_owned(),
                false => format!("{}; or \"p95\"", error.help),
            };
            Err(Fault::whole(text, message, help))
        }
    }
}
