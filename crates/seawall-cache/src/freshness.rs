//! Whether an answer may be stored, for how long it is fresh, and whether it may be served.
//!
//! Three questions, asked at three moments: [`judge()`] when an answer arrives (RFC 9111 §3 and §4.2),
//! [`standing()`] when a request meets a stored answer (§4), and [`early`] on each hit, for answers
//! that are fetched anew before they end. [`age`] is what `Age` says of a stored answer (§4.2.3).

pub mod date;
mod judge;
mod standing;
mod verdict;

pub use judge::{Arrival, is_of_request, judge};
pub use standing::{Reason, Standing, early, standing};
pub use verdict::{Lifetime, StoredFields, Terms, Unstorable};

use crate::Millis;
use crate::directives::MAX_SECONDS;
use crate::object::Meta;

/// The age of a stored answer in whole seconds (`current_age`, RFC 9111 §4.2.3), for `Age`.
#[inline]
pub fn age(meta: &Meta, now: Millis) -> u32 {
    (age_ms(meta, now) / 1000).min(u64::from(MAX_SECONDS)) as u32
}

#[inline]
fn age_ms(meta: &Meta, now: Millis) -> u64 {
    u64::from(meta.initial_age) * 1000 + now.saturating_sub(meta.received)
}

/// When the lifetime of a stored answer ends, or ended: before it was received, if it was too old
/// already.
#[inline]
pub fn expiry(meta: &Meta) -> Millis {
    let ends = meta.received.saturating_add(meta.lifetime);
    ends.saturating_sub(u64::from(meta.initial_age) * 1000)
}
