//! Whether an answer may be stored, and for how long it is fresh.

use std::time::Duration;

use seawall_config::plan;
use seawall_h1::{BodyLength, Headers, Known, Method, RequestHead, fields};

use super::date;
use super::verdict::{Lifetime, StoredFields, Terms, Unstorable, named_by_connection};
use crate::directives::{self, Control, MAX_SECONDS, delta_seconds};
use crate::object::{Flags, Meta};
use crate::{Millis, conditional, vary};

/// An answer that has arrived, with all that its terms depend on.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// What it answers. Its method must be GET.
    pub request: &'a RequestHead,
    /// Its status; after a validation that of the stored answer.
    pub status: u16,
    /// Its fields; after a validation the merged ones (see [`crate::merge`]).
    pub answer: &'a Headers,
    /// The length of the whole content, as far as it is known.
    pub length: Option<u64>,
    /// When the request was sent (`request_time`, RFC 9111 §4.2.3).
    pub requested: Millis,
    /// When the head of the answer was there (`response_time`).
    pub received: Millis,
    /// The route's rules.
    pub rules: &'a plan::Cache,
    /// Whether whoever asks can store parts and combine them (RFC 9111 §3.3).
    pub parts: bool,
    /// Evenly distributed, for the jitter.
    pub random: u64,
}

/// Clocks differ, and dates are whole seconds: a `Date` that is this old, in seconds, is taken for
/// now. It matters where lifetimes are as short. The age that caches before us tell is never
/// forgiven, so this is within RFC 9111 §4.2.3, which leaves `apparent_age` to the reader.
const SKEW: i64 = 10;

/// The share of the time since the last change that a guess is (RFC 9111 §4.2.2).
const HEURISTIC: i64 = 10;

/// The longest lifetime that is guessed, in seconds. Longer ones would need a warning in RFC 7234
/// §4.2.2, and nobody expects them.
const HEURISTIC_MOST: i64 = 24 * 60 * 60;

/// Whether an answer may be stored by a shared cache, and under which terms (RFC 9111 §3, §4.2).
///
/// # Errors
///
/// Why it may not; of several reasons the first in the order of [`Unstorable`].
pub fn judge<'a>(arrival: &Arrival<'a>) -> Result<Terms<'a>, Unstorable> {
    let Arrival { request, status, answer, rules, .. } = *arrival;
    if request.method != Method::Get || !has_no_body(request.body) {
        return Err(Unstorable::Method);
    }
    if rules.client_control && directives::demand(&request.headers).no_store {
        return Err(Unstorable::RequestNoStore);
    }
    if !may_ever_be_stored(status) {
        return Err(Unstorable::Status);
    }
    if status == 206 && !(arrival.parts && crate::range::ContentRange::of(answer).is_some()) {
        return Err(Unstorable::Partial);
    }
    let control =
        if rules.ignore_origin.cache_control { Control::default() } else { Control::of(answer) };
    may_be_shared(arrival, &control)?;
    if rules.max_object < arrival.length.unwrap_or(0) {
        return Err(Unstorable::TooLarge);
    }

    let dates = Dates::of(arrival);
    let (lifetime, from) = lifetime(arrival, &control, &dates).ok_or(Unstorable::NoFreshness)?;
    let initial_age = dates.initial_age(arrival);
    let validators = conditional::Validators::of(answer, arrival.received);

    let forbidden = control.must_revalidate || control.proxy_revalidate;
    let no_cache = control.no_cache.is_whole();
    // Stale answers need leave, and these directives take it away (RFC 9111 §4.2.4).
    let window = |said: Option<u32>, rule: Duration| {
        if forbidden || no_cache { 0 } else { said.unwrap_or(seconds_of(rule)) }
    };
    let stale_while_revalidate =
        window(control.stale_while_revalidate, rules.stale_while_revalidate);
    let stale_if_error = window(control.stale_if_error, rules.stale_if_error);
    // `s-maxage` forbids it too (§5.2.2.10), unless whoever says that or the operator gives leave
    // beside it: frameworks send `s-maxage=60, stale-while-revalidate=300`, and mean both.
    let has_leave = stale_while_revalidate > 0 || stale_if_error > 0;
    let must_revalidate = forbidden || control.s_maxage.is_some() && !has_leave;
    let is_stale = lifetime <= initial_age;
    if (no_cache || is_stale && stale_while_revalidate == 0 && stale_if_error == 0)
        && !validators.can_validate()
    {
        return Err(Unstorable::Useless);
    }

    let date = (!dates.has_date).then_some(arrival.received);
    let mut fields = StoredFields { named: Vec::new(), date };
    fields.named.extend_from_slice(control.no_cache.fields());
    fields.named.extend_from_slice(control.private.fields());
    fields.named.extend(named_by_connection(answer));
    Ok(Terms {
        meta: Meta {
            received: arrival.received,
            lifetime: jittered(lifetime, initial_age, rules.jitter, arrival.random),
            sequence: 0,
            initial_age,
            stale_while_revalidate,
            stale_if_error,
            cost: arrival.received.saturating_sub(arrival.requested).min(u64::from(u32::MAX))
                as u32,
            status,
            flags: Flags {
                must_revalidate,
                no_cache,
                immutable: control.immutable,
                heuristic: from == Lifetime::Heuristic,
                strong: validators.is_strong(),
                ranges: answer
                    .all(b"accept-ranges")
                    .flat_map(fields::list)
                    .any(|unit| unit.eq_ignore_ascii_case(b"bytes")),
            },
        },
        lifetime: from,
        fields,
    })
}

/// A body with a GET means nothing (RFC 9110 §9.3.1), but servers may listen to it, and it is in no
/// key.
fn has_no_body(body: BodyLength) -> bool {
    matches!(body, BodyLength::Empty | BodyLength::Length(0))
}

/// Statuses that are never stored, whatever the answer says: interim ones; those that are about
/// preconditions, ranges, expectations or the connection of one request, so that they would be
/// wrong for the next; and those for which it is forbidden (RFC 6585 §3-6; RFC 8470 §5.2).
fn may_ever_be_stored(status: u16) -> bool {
    !matches!(
        status,
        0..=199 | 304 | 407 | 408 | 412 | 416 | 417 | 421 | 425 | 426 | 428 | 429 | 431 | 511 | 600..
    )
}

/// Whether an answer with this status says something of the request that was sent, or of who sent
/// it, and nothing of the resource: its fields were too large, it asked for too much.
pub fn is_of_request(status: u16) -> bool {
    matches!(status, 400 | 407 | 408 | 411..=413 | 415..=417 | 421 | 425 | 426 | 428 | 429 | 431)
}

/// Statuses whose rules for caches are followed here (RFC 9111 §3, `must-understand`): those of
/// RFC 9110, as far as they come here.
fn is_understood(status: u16) -> bool {
    matches!(
        status,
        200..=206 | 300..=303 | 307 | 308 | 400..=406 | 409..=411 | 413..=415 | 422 | 451 | 500..=505
    )
}

/// Statuses that are cacheable without explicit freshness (RFC 9110 §15.1).
pub(super) fn is_cacheable_by_default(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses that `negative_ttl` is for.
fn is_negative(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 414 | 500..=599)
}

/// What forbids that an answer is given to others than who asked.
fn may_be_shared(arrival: &Arrival<'_>, control: &Control<'_>) -> Result<(), Unstorable> {
    let Arrival { request, status, answer, rules, .. } = *arrival;
    if control.must_understand {
        // A cache that understands the status ignores `no-store` (§5.2.2.3).
        if !is_understood(status) {
            return Err(Unstorable::NotUnderstood);
        }
    } else if control.no_store {
        return Err(Unstorable::NoStore);
    }
    if control.private.is_whole() {
        return Err(Unstorable::Private);
    }
    // §3.5
    let for_all = control.must_revalidate || control.public || control.s_maxage.is_some();
    if request.headers.known(Known::Authorization).is_some() && !for_all {
        return Err(Unstorable::Authorization);
    }
    // Nothing forbids storing it (§7.3), but cookies are for one user.
    if answer.known(Known::SetCookie).is_some() && !rules.ignore_origin.set_cookie {
        return Err(Unstorable::SetCookie);
    }
    match vary::fields(answer, rules) {
        vary::Varies::Any => Err(Unstorable::VaryAny),
        vary::Varies::By(names) => {
            let is_normalised = names.iter().any(|name| **name == *b"accept-encoding");
            let fits = !is_normalised || vary::Encodings::of(request).allow(answer);
            if fits { Ok(()) } else { Err(Unstorable::Coding) }
        }
    }
}

/// The lifetime in seconds and where it is from (§4.2.1, §4.2.2); `None` when the answer may not be
/// stored for want of one.
fn lifetime(
    arrival: &Arrival<'_>,
    control: &Control<'_>,
    dates: &Dates,
) -> Option<(u32, Lifetime)> {
    let Arrival { status, rules, .. } = *arrival;
    let explicit = explicit(control, dates);
    let is_chosen = rules.statuses.contains(&status);
    let by_default = is_cacheable_by_default(status) && rules.statuses.is_empty();
    let negative = || {
        let fits = is_negative(status) && (rules.statuses.is_empty() || is_chosen);
        rules.negative_ttl.filter(|_| fits).map(|ttl| (seconds_of(ttl), Lifetime::Negative))
    };
    if let Some(force) = rules.force {
        if let Some(negative) = negative() {
            return Some(negative);
        }
        if explicit.is_some() || is_chosen || is_cacheable_by_default(status) || control.public {
            return Some((seconds_of(force), Lifetime::Forced));
        }
        return None;
    }
    if explicit.is_some() {
        return explicit;
    }
    if let Some(negative) = negative() {
        return Some(negative);
    }
    if let Some(ttl) = rules.ttl
        && (by_default || is_chosen)
    {
        return Some((seconds_of(ttl), Lifetime::Rule));
    }
    if is_cacheable_by_default(status) || control.public {
        return Some(dates.heuristic().unwrap_or((0, Lifetime::None)));
    }
    None
}

/// What the answer says itself (§4.2.1).
fn explicit(control: &Control<'_>, dates: &Dates) -> Option<(u32, Lifetime)> {
    if let Some(seconds) = control.s_maxage {
        return Some((seconds, Lifetime::SMaxAge));
    }
    if let Some(seconds) = control.max_age {
        return Some((seconds, Lifetime::MaxAge));
    }
    // A targeted field takes the place of `Expires` too (RFC 9213 §2.2).
    if control.source.is_targeted() {
        return None;
    }
    let seconds = dates.expires?.saturating_sub(dates.date).clamp(0, i64::from(MAX_SECONDS));
    Some((seconds as u32, Lifetime::Expires))
}

/// The dates of an answer in seconds since 1970.
struct Dates {
    received: i64,
    /// `Date`, or when it was received (RFC 9110 §6.6.1).
    date: i64,
    /// `Date` is there and can be read.
    has_date: bool,
    /// `None` without the field, `i64::MIN` when one cannot be read: that is a time in the past
    /// (RFC 9111 §5.3). Of several the earliest.
    expires: Option<i64>,
    last_modified: Option<i64>,
}

impl Dates {
    fn of(arrival: &Arrival<'_>) -> Dates {
        let Arrival { answer, rules, .. } = *arrival;
        let received = (arrival.received / 1000) as i64;
        let read = |value: &[u8]| date::parse(value, arrival.received);
        let expires = answer.all_known(Known::Expires);
        let earliest = expires.map(|value| read(value).unwrap_or(i64::MIN)).min();
        let date = answer.known(Known::Date).and_then(read);
        Dates {
            received,
            date: date.unwrap_or(received),
            has_date: date.is_some(),
            expires: earliest.filter(|_| !rules.ignore_origin.expires),
            last_modified: answer.known(Known::LastModified).and_then(read),
        }
    }

    /// `corrected_initial_age` (§4.2.3), in whole seconds.
    fn initial_age(&self, arrival: &Arrival<'_>) -> u32 {
        let apparent = self.received.saturating_sub(self.date);
        let apparent = if apparent <= SKEW { 0 } else { apparent };
        let delay = arrival.received.saturating_sub(arrival.requested) / 1000;
        let told = u64::from(told_age(arrival.answer));
        (apparent as u64).max(told.saturating_add(delay)).min(u64::from(MAX_SECONDS)) as u32
    }

    /// §4.2.2
    fn heuristic(&self) -> Option<(u32, Lifetime)> {
        let unchanged = self.date.checked_sub(self.last_modified?)?;
        let seconds = (unchanged / HEURISTIC).min(HEURISTIC_MOST);
        (seconds > 0).then_some((seconds as u32, Lifetime::Heuristic))
    }
}

/// `age_value`: the first member of `Age`, or 0 when that is no number (§5.1).
fn told_age(answer: &Headers) -> u32 {
    let first = answer.known(Known::Age).unwrap_or_default();
    let first = first.split(|&b| b == b',').next().unwrap_or_default();
    delta_seconds(fields::trim(first)).unwrap_or(0)
}

/// What is left of a lifetime, in milliseconds from an age of 0, once up to `jitter` thousandths of
/// what remains are cut off at random.
fn jittered(lifetime: u32, initial_age: u32, jitter: u32, random: u64) -> u64 {
    let (lifetime, age) = (u64::from(lifetime) * 1000, u64::from(initial_age) * 1000);
    let remains = lifetime.saturating_sub(age);
    // At most 2^31 seconds, thus below 2^41 ms; times 1000 is below 2^51.
    let most = remains * u64::from(jitter.min(1000)) / 1000;
    let cut = ((u128::from(most) * u128::from(random)) >> 64) as u64;
    lifetime - cut
}

fn seconds_of(duration: Duration) -> u32 {
    duration.as_secs().min(u64::from(MAX_SECONDS)) as u32
}
