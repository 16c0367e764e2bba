//! A stored answer made ready for one request: conditional, partial, with its age and where it
//! came from.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use seawall_cache::conditional::{self, Conditional};
use seawall_cache::fill::Follow;
use seawall_cache::freshness;
use seawall_cache::object::{Content, Object};
use seawall_cache::range::{self, Ranges};
use seawall_cache::status::{self, Forwarded};
use seawall_h1::{BodyLength, Known, Method, ResponseHead, encode};

use super::chunks;
use super::reading::{Part, Reading, Source};
use super::Errand;
use crate::message::{Body, Response};
use crate::refuse::Refusal;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The store, where it is fresh for so many milliseconds more.
    Fresh { left: u64 },
    /// The store, where it has been stale for so many milliseconds.
    Stale { by: u64 },
    /// The store, since the origin failed.
    StaleOnError { by: u64 },
    /// The origin: for this request, or for another that it has waited with.
    Fetched { collapsed: bool, why: Forwarded },
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
        let Errand { request, rules, node, .. } = self;
        let mut head = request.worker.take_head();
        head.restore(object.meta.status, object.fields());
        let now = match told {
            Told::Fetched { .. } => node.millis(request.worker.turn.now()),
            _ => self.now,
        };
        let age = freshness::age(&object.meta, now);
        let mut value = [0; 10];
        head.headers.push(b"Age", digits(u64::from(age), &mut value));
        if let Some(ttl) = rules.browser_ttl {
            // What clients make of it is what is left when the age has been taken off.
            let left = format!("max-age={}", u64::from(age) + ttl.as_secs());
            head.headers.remove(b"expires");
            head.headers.set(b"Cache-Control", left.as_bytes());
        }
        tell(told, &object.meta, &mut head);
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
        let Errand { request, .. } = self;
        let ask = request.head;
        let etag = head.headers.known(Known::ETag);
        let modified = head.headers.known(Known::LastModified);
        let status = head.status;
        match conditional::evaluate(ask, status, etag, modified) {
            Conditional::Send => {}
            Conditional::NotModified => {
                head.status = 304;
                conditional::keep_for_304(&mut head.headers);
                return Body::Empty;
            }
        }
        let length = object.length();
        if ask.method == Method::Head {
            head.content_length = length;
            return Body::Empty;
        }
        if status == 200
            && let Some(length) = length
            && let Some(wanted) = ask.headers.known(Known::Range)
            && conditional::if_range(ask, etag, modified, head.headers.known(Known::Date))
        {
            match range::resolve(wanted, length) {
                Ranges::All => {}
                Ranges::Unsatisfiable => {
                    head.begin(416);
                    let mut value = b"bytes */".to_vec();
                    encode::decimal(length, &mut value);
                    head.headers.push(b"Content-Range", &value);
                    return Body::Empty;
                }
                Ranges::Some(ranges) => return self.parts(object, head, follow, &ranges, length),
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
        ranges: &[(u64, u64)],
        length: u64,
    ) -> Body {
        head.status = 206;
        if let [(from, to)] = *ranges {
            let mut value = Vec::with_capacity(48);
            range::write_content_range(from, to, length, &mut value);
            head.headers.push(b"Content-Range", &value);
            if object.content == Content::Whole {
                return Body::Stored(object.clone(), from as usize, to as usize);
            }
            head.body = BodyLength::Length(to - from);
            let part = [Part::Content(from, Some(to))];
            return Body::Reading(Box::new(Reading::new(self.source(object, follow), part)));
        }
        let boundary = format!("{:016x}", self.request.worker.any_number());
        let kind = head.headers.known(Known::ContentType).map(<[u8]>::to_vec);
        let mut parts = VecDeque::new();
        let mut total = 0;
        for &(from, to) in ranges {
            let mut text = Vec::new();
            range::write_part(&boundary, kind.as_deref(), from, to, length, &mut text);
            total += text.len() as u64 + to - from;
            parts.push_back(Part::Text(text.into()));
            parts.push_back(Part::Content(from, Some(to)));
        }
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        total += end.len() as u64;
        parts.push_back(Part::Text(end));
        let kind = format!("multipart/byteranges; boundary={boundary}");
        head.headers.set(b"Content-Type", kind.as_bytes());
        head.body = BodyLength::Length(total);
        Body::Reading(Box::new(Reading::new(self.source(object, follow), parts)))
    }

    fn source(&self, object: &Arc<Object>, follow: Option<Follow<Refusal>>) -> Source {
        match (&object.content, follow) {
            (Content::Whole, _) => Source::Whole(object.clone()),
            (Content::Arriving { .. }, Some(follow)) => {
                let chunks = chunks::of_fill(self.node, follow.id());
                Source::Fill(follow, chunks)
            }
            (Content::Chunks { id, .. }, _) => Source::Chunks(chunks::of_object(self, object, *id)),
            // Only those who follow a fill get to see what it is about.
            (Content::Arriving { .. }, None) => Source::Chunks(chunks::of_fill(self.node, 0)),
        }
    }
}
