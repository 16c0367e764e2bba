//! What a 304 changes of what is stored (RFC 9111 §4.3.4), what an answer to HEAD does (§4.3.5), and
//! whether two parts are of one content (§3.4).

use seawall_h1::headers::Field;
use seawall_h1::{Headers, Known, fields};

use crate::conditional::{self, Validators};
use crate::stored;

/// Whether an answer to our own conditional request is about the stored answer that it was made
/// for (RFC 9111 §4.3.4). A strong tag must be equal; failing that, any tag must be equal but for
/// its weakness; failing that, the date must be the same. An answer without any validator is about
/// what was asked for, as nothing else was.
pub fn is_about(stored: &Validators<'_>, answer: &Headers) -> bool {
    let told = Validators::of(answer, stored.received);
    match (told.etag, told.last_modified) {
        (Some(told), _) if conditional::is_strong(told) => {
            stored.etag.is_some_and(|had| conditional::strong_match(told, had))
        }
        (Some(told), _) => stored.etag.is_some_and(|had| conditional::weak_match(told, had)),
        (None, Some(told)) => stored.last_modified == Some(told),
        (None, None) => true,
    }
}

/// The fields of a stored answer once `answer`, a 304 or an answer to HEAD that is about it, has
/// updated them (RFC 9111 §3.2): each field of it takes the place of all stored ones with its name,
/// but for those that describe the stored content and those of the connection. `Warning` of an
/// earlier validation is dropped (RFC 7234 §4.3.4), and so is a `Date` that `answer` does not renew,
/// since it would make what has just been validated look old. What of them is stored is for
/// [`crate::freshness::judge`] to say.
pub fn updated(stored: &[u8], answer: &Headers) -> Headers {
    let mut merged = Headers::new();
    let updates = |field: &Field<'_>| may_update(field.known) && !is_named(answer, field.name);
    for field in stored::lines(stored) {
        let is_replaced = updates(&field) && has(answer, &field);
        let is_outdated = field.known == Known::Date
            || field.name.eq_ignore_ascii_case(b"warning") && field.value.starts_with(b"1");
        if !is_replaced && !is_outdated {
            stored::push(&field, &mut merged);
        }
    }
    for field in answer.iter().filter(updates) {
        merged.push(field.name, field.value);
    }
    merged
}

fn has(answer: &Headers, field: &Field<'_>) -> bool {
    match field.known {
        Known::Other => answer.first(field.name).is_some(),
        known => answer.known(known).is_some(),
    }
}

fn is_named(answer: &Headers, name: &[u8]) -> bool {
    let mut named = answer.all_known(Known::Connection).flat_map(fields::list);
    named.any(|one| one.eq_ignore_ascii_case(name))
}

/// §3.2, and §7.6.1 of RFC 9110.
fn may_update(known: Known) -> bool {
    use Known::*;
    !known.is_hop_by_hop()
        && !matches!(known, ContentEncoding | ContentType | ContentRange | ContentLength)
}

/// What an answer to HEAD means for the stored answer to GET (RFC 9111 §4.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadSays {
    /// It is still good: see [`updated`].
    Same,
    /// It has changed: it is not fresh any more.
    Changed,
}

/// What an answer to HEAD means for a stored answer to GET of `length` bytes: whether its
/// validators and, if it has one, its length are the same.
pub fn head_says(
    stored: &Validators<'_>,
    length: Option<u64>,
    answer: &Headers,
    content_length: Option<u64>,
) -> HeadSays {
    let told = Validators::of(answer, stored.received);
    // What it does not tell is not taken for a change.
    let differs = |told: Option<&[u8]>, had: Option<&[u8]>| told.is_some() && told != had;
    let has_other_length =
        content_length.is_some_and(|told| length.is_some_and(|length| told != length));
    if differs(told.etag, stored.etag)
        || differs(told.last_modified, stored.last_modified)
        || has_other_length
    {
        HeadSays::Changed
    } else {
        HeadSays::Same
    }
}

/// Whether two partial answers are of one content, so that they can be combined (RFC 9110
/// §15.3.7.3): they have the same strong validator.
pub fn can_combine(one: &Validators<'_>, other: &Validators<'_>) -> bool {
    match (one.etag, other.etag) {
        (Some(one), Some(other)) => conditional::strong_match(one, other),
        (None, None) => {
            one.is_strong() && other.is_strong() && one.last_modified == other.last_modified
        }
        _ => false,
    }
}
