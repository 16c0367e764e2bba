//! A stored answer made ready for one request: conditional, partial, with its age and where it
//! came from.

use std::collections::VecDeque;
use std::sync::Arc;

use seawall_cache::conditional::{self, Conditional, Validators};
use seawall_cache::fill::Follow;
use seawall_cache::freshness;
use seawall_cache::object::{CHUNK, Content, Object};
use seawall_cache::range::{self, Multipart, Parts, Ranges, Resolved};
use seawall_cache::status::{CacheStatus, Forward, Outcome};
use seawall_h1::{BodyLength, Known, Method, ResponseHead, encode};

use super::Errand;
use super::chunks;
use super::reading::{Part, Reading, Source};
use crate::message::{Body, Response};
use crate::refuse::Refusal;

/// Bytes of content that a fill always has for its readers.
const IN_REACH: u64 = 8 * CHUNK;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The store, where it is fresh for so many milliseconds more.
    Fresh(u64),
    /// The store, where it has been stale for so many milliseconds, and why it is served all the
    /// same.
    Stale(u64, &'static str),
    /// The origin, for this reason; for another request that this one has waited with, if
    /// `collapsed`.
    Fetched { why: Forward, collapsed: bool, stored: bool },
}

impl Errand<'_> {
    /// The answer to the request out of what is stored, or being fetched by the fill that it
    /// follows.
    pub(super) fn serve(
        &self,
        object: &Arc<Object>,
        told: Told,
        follow: Option<Follow<Refusal>>,
    ) -> Response {
        let Errand { request, rules, node, cells, .. } = self;
        if let Told::Stale(by, _) = told {
            cells.staleness.raise(self.now, by / 1000);
        }
        let is_arriving = matches!(object.content, Content::Arriving { .. });
        request.facts.stored.set(!is_arriving);
        let mut head = request.worker.take_head();
        head.restore(object.meta.status, object.fields());
        let now = match told {
            Told::Fetched { .. } => node.millis(request.worker.turn.now()),
            _ => self.now,
        };
        let age = freshness::age(&object.meta, now);
        request.facts.age.set(Some(age));
        let age = u64::from(age);
        head.headers.append(|out| {
            out.extend_from_slice(b"Age: ");
            encode::decimal(age, out);
            out.extend_from_slice(b"\r\n");
            told.write(object, now, out);
        });
        // What is not kept here, such as a failure, is not to be kept there either.
        let is_kept = !matches!(told, Told::Fetched { stored: false, .. });
        if let Some(ttl) = rules.browser_ttl.filter(|_| is_kept) {
            // What clients make of it is what is left when the age has been taken off.
            let left = format!("max-age={}", age + ttl.as_secs());
            head.headers.remove(b"expires");
            head.headers.set(b"Cache-Control", left.as_bytes());
        }
        let body = self.content(object, &mut head, follow);
        Response { head, body }
    }

    /// What of the content the request gets, with the status and the fields that say so.
    fn content(
        &self,
        object: &Arc<Object>,
        head: &mut ResponseHead,
        follow: Option<Follow<Refusal>>,
    ) -> Body {
        let ask = self.request.head;
        let length = object.length();
        if conditional::has_preconditions(ask) {
            let had = Validators::of(&head.headers, object.meta.received);
            if conditional::evaluate(ask, head.status, &had) == Conditional::NotModified {
                let has_etag = had.etag.is_some();
                head.headers.remove_where(|field| !conditional::is_carried_by_304(field, has_etag));
                head.status = 304;
                return Body::Empty;
            }
        }
        if ask.method == Method::Head {
            head.content_length = length;
            return Body::Empty;
        }
        if ask.headers.known(Known::Range).is_some()
            && head.status == 200
            && let Some(length) = length
            && let Some(ranges) = Ranges::of(ask)
            && conditional::if_range(ask, &Validators::of(&head.headers, object.meta.received))
        {
            match ranges.resolve(length) {
                Resolved::Whole => {}
                Resolved::Parts(parts) => return self.parts(object, head, follow, &parts, length),
                Resolved::Unsatisfiable => {
                    head.status = 416;
                    head.headers.remove_where(|field| {
                        !matches!(field.known, Known::Age | Known::Date)
                            && !field.name.eq_ignore_ascii_case(b"cache-status")
                    });
                    head.headers.append(|out| range::write_unsatisfied(length, out));
                    return Body::Empty;
                }
            }
        }
        match (&object.content, length) {
            (Content::Whole, Some(length)) => Body::Stored(object.clone(), 0, length as usize),
            _ => {
                head.body = length.map_or(BodyLength::Chunked, BodyLength::Length);
                let all = [Part::Content(0, length)];
                Body::Reading(Box::new(Reading::new(self.source(object, follow), all)))
            }
        }
    }

    /// Parts of the content (RFC 9110 §15.3.7).
    fn parts(
        &self,
        object: &Arc<Object>,
        head: &mut ResponseHead,
        follow: Option<Follow<Refusal>>,
        wanted: &Parts,
        length: u64,
    ) -> Body {
        head.status = 206;
        if let [part] = *wanted.as_slice() {
            head.headers.append(|out| range::write_content_range(part, Some(length), out));
            let (from, to) = (part.first, part.last + 1);
            if object.content == Content::Whole {
                return Body::Stored(object.clone(), from as usize, to as usize);
            }
            head.body = BodyLength::Length(to - from);
            let part = [Part::Content(from, Some(to))];
            return Body::Reading(Box::new(Reading::new(self.source(object, follow), part)));
        }
        let content_type = head.headers.known(Known::ContentType).map(<[u8]>::to_vec);
        let multipart = Multipart {
            boundary: self.request.worker.any_number(),
            content_type: content_type.as_deref(),
            complete: length,
        };
        let mut parts = VecDeque::new();
        for (at, part) in wanted.as_slice().iter().enumerate() {
            let mut text = Vec::new();
            multipart.write_head(*part, at == 0, &mut text);
            parts.push_back(Part::Text(text.into()));
            parts.push_back(Part::Content(part.first, Some(part.last + 1)));
        }
        let mut end = Vec::new();
        multipart.write_end(&mut end);
        parts.push_back(Part::Text(end.into()));
        head.headers.remove(b"content-type");
        head.headers.append(|out| multipart.write_content_type(out));
        head.body = BodyLength::Length(multipart.length(wanted));
        Body::Reading(Box::new(Reading::new(self.source(object, follow), parts)))
    }

    fn source(&self, object: &Arc<Object>, follow: Option<Follow<Refusal>>) -> Source {
        match (&object.content, follow) {
            (Content::Whole, _) => Source::Whole(object.clone()),
            (Content::Chunks { id, .. }, _) => Source::Chunks(chunks::of_object(self, object, *id)),
            (Content::Arriving { .. }, Some(follow)) => {
                // Who falls behind may find that it is stored no longer.
                let chunks = match object.can_be_fetched() {
                    true if object.length() > Some(IN_REACH) => {
                        chunks::of_object(self, object, follow.id())
                    }
                    _ => chunks::of_fill(self.node, follow.id()),
                };
                Source::Fill(follow, chunks)
            }
            // Only those who follow a fill get to see what it is about.
            (Content::Arriving { .. }, None) => Source::Chunks(chunks::of_fill(self.node, 0)),
        }
    }
}

impl Told {
    /// Appends the field `Cache-Status`.
    fn write(self, object: &Object, now: u64, out: &mut Vec<u8>) {
        let seconds = |millis: u64| (millis / 1000) as i64;
        let (outcome, ttl, detail) = match self {
            Told::Fresh(left) => (Outcome::Hit, seconds(left), None),
            Told::Stale(by, why) => (Outcome::Hit, -seconds(by), Some(why)),
            Told::Fetched { why, collapsed, stored } => {
                let expiry = freshness::expiry(&object.meta);
                let ttl = seconds(expiry.saturating_sub(now)) - seconds(now.saturating_sub(expiry));
                (Outcome::Forward { why, status: None, stored, collapsed }, ttl, None)
            }
        };
        CacheStatus { outcome, ttl: Some(ttl), key: None, detail }.write(out);
    }
}

/// Says of an answer that came past the store why it did.
pub(super) fn tell_past(
    head: &mut ResponseHead,
    why: Forward,
    detail: Option<&str>,
    collapsed: bool,
) {
    let outcome = Outcome::Forward { why, status: None, stored: false, collapsed };
    head.headers.append(|out| CacheStatus { outcome, ttl: None, key: None, detail }.write(out));
}
