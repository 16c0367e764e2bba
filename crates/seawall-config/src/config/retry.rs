//! What is tried again: `retry` of `[[route]]`.

use std::time::Duration;

use super::{KIB, MIB};
use crate::read::At;
use crate::rules::{Fault, Integer, List, Parsed, Percent, Rate, Size, Time};
use crate::section::section;
use crate::text::Text;

/// What a request is tried again after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryOn {
    /// No answer.
    Unanswered,
    /// An answer with this status.
    Status(u16),
}

section! {
    /// What is tried again, at another server as long as there is one that was not tried. Requests
    /// that never left — no connection came about — are always tried again, without the key in
    /// three attempts altogether. Requests that left are tried again only when they are safe to
    /// repeat: with an idempotent method, or with an `Idempotency-Key`.
    RetryEntry {
        /// Attempts altogether, the first included; 1 means that nothing is tried again.
        default "attempts" attempts: u64 = 2, Integer(1, 10);
        /// After what safe requests are sent again: `"unanswered"` when the connection broke before
        /// the answer or `attempt-timeout` passed, and statuses from 400 to 599. Without it,
        /// `["unanswered", "502", "503", "504"]`.
        optional "on" on: Vec<At<RetryOn>>, ON;
        /// Retries and hedges together, of whatever kind, relative to the requests of the route.
        /// Those beyond it are not made.
        default "budget" budget: u32 = 100, Percent(0, 1_000);
        /// And besides these, however few requests there are.
        default "floor" floor: u32 = 1_000, Rate(0, 1_000_000_000);
        /// The pause before the first retry is random up to this, before each further one up to
        /// twice as much, never more than a second. A `Retry-After` of up to 5 seconds is obeyed
        /// instead; after a longer one nothing is tried again. Requests that never left go to
        /// another server without a pause.
        default "backoff" backoff: Duration = Duration::from_millis(25), Time(Duration::ZERO, Duration::from_secs(1));
        /// The longest body of a request that can be sent again; it is kept in memory until there is
        /// an answer.
        default "body" body: u64 = 64 * KIB, Size(0, 16 * MIB);
        /// Patience with one attempt up to the head of its answer. Shorter than the route's
        /// `timeout`, which holds for all attempts together. Without it an attempt has what is left
        /// of that.
        optional "attempt-timeout" attempt_timeout: Duration, Time(super::SHORTEST, super::LONGEST);
    }
}

const ON: List<Parsed<RetryOn>> = List(
    Parsed {
        kind: "\"unanswered\" or a status",
        example: "503",
        limits: "from 400 to 599",
        parse: on,
    },
    0,
    64,
);

fn on(text: &Text) -> Result<RetryOn, Fault> {
    let value = text.value.as_str();
    if value == "unanswered" {
        return Ok(RetryOn::Unanswered);
    }
    let fault =
        |what: &str, help: &str| Err(Fault::whole(text, format!("{} {what}", text.shown()), help));
    let number = value.len() == 3 && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse::<u16>().ok().filter(|_| number) {
        Some(status @ 400..=599) => Ok(RetryOn::Status(status)),
        Some(200..=399) => fault(
            "is a success",
            "take it out: only what failed is tried again, with statuses from 400 to 599",
        ),
        _ if matches!(value, "4xx" | "5xx") => fault(
            "is a whole class",
            "name the statuses that pass by themselves, such as \"502\", \"503\" and \"504\"",
        ),
        _ => fault(
            "is nothing to try again after",
            "write \"unanswered\", or a status from 400 to 599 such as \"503\"",
        ),
    }
}
