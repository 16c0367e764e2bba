//! Preconditions (RFC 9110 §13), of clients and of our own.
//!
//! [`evaluate`] says whether a client that asks for a stored answer has it already, [`if_range`]
//! whether it may get a part of it, [`write_validators`] what the origin is asked when a stored
//! answer is validated. Preconditions of other requests are the origin's business: they are
//! forwarded.

mod etag;

pub use etag::{is_strong, strong_match, weak_match};

use seawall_h1::headers::Field;
use seawall_h1::{Headers, Known, Method, RequestHead, encode};

use crate::Millis;
use crate::freshness::date;
use crate::stored;

/// By what two answers are compared (RFC 9110 §8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validators<'a> {
    /// `ETag`, as it was written.
    pub etag: Option<&'a [u8]>,
    /// `Last-Modified`.
    pub last_modified: Option<&'a [u8]>,
    /// `Date`.
    pub date: Option<&'a [u8]>,
    /// When the answer was received.
    pub received: Millis,
}

impl<'a> Validators<'a> {
    /// Those of an answer.
    pub fn of(answer: &'a Headers, received: Millis) -> Validators<'a> {
        Validators {
            etag: answer.known(Known::Etag),
            last_modified: answer.known(Known::LastModified),
            date: answer.known(Known::Date),
            received,
        }
    }

    /// Those of a stored answer, out of its fields as they go over the wire.
    pub fn stored(fields: &'a [u8], received: Millis) -> Validators<'a> {
        let mut validators = Validators { received, ..Validators::default() };
        for field in stored::lines(fields) {
            let place = match field.known {
                Known::Etag => &mut validators.etag,
                Known::LastModified => &mut validators.last_modified,
                Known::Date => &mut validators.date,
                _ => continue,
            };
            place.get_or_insert(field.value);
        }
        validators
    }

    /// Whether the answer can be validated.
    pub fn can_validate(&self) -> bool {
        self.etag.is_some() || self.modified().is_some()
    }

    /// Whether one of them is strong (§8.8.1, §8.8.2.2), so that parts can be combined by it.
    pub fn is_strong(&self) -> bool {
        match self.etag {
            Some(tag) => is_strong(tag),
            None => self.is_date_strong(),
        }
    }

    fn modified(&self) -> Option<i64> {
        date::parse(self.last_modified?, self.received)
    }

    /// A date is strong when it was a second old at least as the answer was made, so that it
    /// cannot have changed again within it (§8.8.2.2).
    fn is_date_strong(&self) -> bool {
        let made = self.date.and_then(|made| date::parse(made, self.received));
        matches!((self.modified(), made), (Some(modified), Some(made)) if made > modified)
    }

    /// What `If-Modified-Since` is compared with: in want of `Last-Modified` it is `Date`, and in
    /// want of that when the answer was received (RFC 9111 §4.3.2).
    fn known_since(&self) -> i64 {
        let made = || self.date.and_then(|made| date::parse(made, self.received));
        self.modified().or_else(made).unwrap_or((self.received / 1000) as i64)
    }
}

/// What the preconditions of a request make of a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditional {
    /// It is sent.
    Send,
    /// The client has it: 304.
    NotModified,
    /// Only the origin can say (`If-Match`, `If-Unmodified-Since`; RFC 9111 §4.3.2).
    Forward,
}

/// Whether a request has preconditions that [`evaluate`] looks at. If not, the answer is sent, and
/// its validators need not be looked for.
#[inline]
pub fn has_preconditions(request: &RequestHead) -> bool {
    const FIELDS: [Known; 4] =
        [Known::IfNoneMatch, Known::IfModifiedSince, Known::IfMatch, Known::IfUnmodifiedSince];
    FIELDS.iter().any(|field| request.headers.known(*field).is_some())
}

/// What the preconditions of `request` make of a stored answer with `status`, in the order of
/// RFC 9110 §13.2.2 as far as they are for caches (RFC 9111 §4.3.2).
pub fn evaluate(request: &RequestHead, status: u16, stored: &Validators<'_>) -> Conditional {
    let headers = &request.headers;
    if headers.known(Known::IfMatch).is_some() || headers.known(Known::IfUnmodifiedSince).is_some()
    {
        return Conditional::Forward;
    }
    // §13.2.1: only where the answer would be a successful one.
    if !matches!(request.method, Method::Get | Method::Head) || !(200..300).contains(&status) {
        return Conditional::Send;
    }
    let is_had = if headers.known(Known::IfNoneMatch).is_some() {
        let mut tags = headers.all_known(Known::IfNoneMatch).flat_map(etag::list);
        tags.any(|tag| tag == b"*" || stored.etag.is_some_and(|had| weak_match(tag, had)))
    } else {
        let mut dates = headers.all_known(Known::IfModifiedSince);
        // More than one is invalid (§13.1.3).
        match (dates.next(), dates.next()) {
            (Some(since), None) => date::parse(since, stored.received)
                .is_some_and(|since| stored.known_since() <= since),
            _ => false,
        }
    };
    if is_had { Conditional::NotModified } else { Conditional::Send }
}

/// Whether `Range` is to be listened to: there is no `If-Range`, or the client has parts of just
/// this answer (RFC 9110 §13.1.5, compared strongly).
pub fn if_range(request: &RequestHead, stored: &Validators<'_>) -> bool {
    let mut values = request.headers.all_known(Known::IfRange);
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    if value.contains(&b'"') {
        return stored.etag.is_some_and(|tag| strong_match(value, tag));
    }
    let since = date::parse(value, stored.received);
    since.is_some() && since == stored.modified() && stored.is_date_strong()
}

/// Appends the preconditions that ask the origin whether stored answers are still good (RFC 9111
/// §4.3.1): one for the tags of all of them, one for the date of the first. False if none has a
/// validator; then nothing is appended.
pub fn write_validators<'a>(
    stored: impl Iterator<Item = Validators<'a>> + Clone,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    for tag in stored.clone().filter_map(|one| one.etag) {
        out.extend_from_slice(if out.len() == start { b"If-None-Match: " } else { b", " });
        out.extend_from_slice(tag);
    }
    if out.len() > start {
        out.extend_from_slice(b"\r\n");
    }
    let first = { stored }.next();
    if let Some(value) =
        first.and_then(|one| one.last_modified.filter(|_| one.modified().is_some()))
    {
        encode::field(b"If-Modified-Since", value, out);
    }
    out.len() > start
}

/// Whether a field of a stored answer goes with a 304 (RFC 9110 §15.4.5). What describes the
/// content does not, since the client has it; `Last-Modified` only in want of `ETag`.
pub fn is_carried_by_304(field: &Field<'_>, has_etag: bool) -> bool {
    use Known::*;
    const OF_CONTENT: [&[u8]; 4] =
        [b"content-language", b"content-md5", b"content-digest", b"repr-digest"];
    match field.known {
        ContentLength | ContentType | ContentEncoding | ContentRange | TransferEncoding => false,
        LastModified => !has_etag,
        Other => !OF_CONTENT.iter().any(|name| field.name.eq_ignore_ascii_case(name)),
        _ => true,
    }
}

/// Whether a field of a request is a precondition or asks for a part, which is taken out where the
/// whole answer is fetched to be stored.
pub fn is_about_a_part(field: Known) -> bool {
    use Known::*;
    matches!(field, IfMatch | IfNoneMatch | IfModifiedSince | IfUnmodifiedSince | IfRange | Range)
}
