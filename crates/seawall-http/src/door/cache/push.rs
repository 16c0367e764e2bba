//! Answers that were made beforehand, put into the cache as if the origin had given them.

use seawall_cache::freshness::{self, Arrival};
use seawall_cache::key::{self, Url};
use seawall_cache::object::{CHUNK, Content};
use seawall_h1::Headers;
use tokio::time::Instant;

use super::{CacheError, CacheHandle, node, request, route, rules};
use crate::policy::cache::{past, shelf, write_key};
use bytes::Bytes;
use seawall_cache::directives::Demand;

/// An answer that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// What it answers.
    pub url: String,
    /// The fields of the request that it answers besides `Host`, for answers that vary.
    pub request: Vec<(String, String)>,
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub body: Bytes,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// The key that it is, or would be, stored under.
    pub key: String,
    /// Seconds for which it is fresh; if it is not stored why not, by the word that metrics have
    /// for it.
    pub stored: Result<f64, &'static str>,
}

impl CacheHandle {
    /// Stores an answer under the rules of the route that its URL leads to, if it may be.
    ///
    /// # Errors
    ///
    /// When requests for its URL never meet the cache.
    pub fn push(&self, push: &Push) -> Result<Pushed, CacheError> {
        let compiled = self.compiled()?;
        let (head, scheme) = request(false, &push.url, &push.request)?;
        let Some(at) = route(&compiled, &head) else {
            return Err(CacheError::NoRoute(push.url.clone()));
        };
        let route = &compiled.plan.routes[at];
        let Some((_, rules)) = rules(route) else {
            return Err(CacheError::NotCached { route: route.name.clone(), url: push.url.clone() });
        };
        if past(&head, rules, &Demand::default()).is_some() {
            return Err(CacheError::Bypassed(push.url.clone()));
        }
        let node = node(&compiled)?;
        let mut primary = Vec::new();
        write_key(&head, scheme, true, rules, node, &mut primary);
        let mut answer = Headers::default();
        for (name, value) in &push.fields {
            answer.push(name.as_bytes(), value);
        }
        let (now, length) = (node.millis(Instant::now()), push.body.len() as u64);
        let terms = freshness::judge(&Arrival {
            request: &head,
            status: push.status,
            answer: &answer,
            length: Some(length),
            requested: now,
            received: now,
            rules,
            parts: false,
            random: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), now),
        });
        let terms = match terms {
            Ok(terms) => terms,
            Err(why) => {
                let key = key::shown(&primary, primary.len(), &[]);
                return Ok(Pushed { key, stored: Err(why.code()) });
            }
        };
        let shelf = shelf::Shelf {
            node,
            rules,
            request: &head,
            url: Url {
                scheme,
                authority: head.authority(),
                path: head.path(),
                query: head.query(),
            },
            primary: &primary,
            sequence: node.store.sequence(),
        };
        let card = shelf.card(&shelf::names(&answer, rules), &answer, &terms);
        let names = card.variants.as_ref().map_or(&[][..], |variants| variants.names());
        let key = key::shown(&card.key, primary.len(), names);
        let object = if length < CHUNK {
            card.object(Content::Whole, &[&push.body])
        } else {
            let id = node.fills.any_id();
            for (number, chunk) in (0..).zip(push.body.chunks(CHUNK as usize)) {
                let chunk = Bytes::copy_from_slice(chunk);
                if node.store.insert_chunk(id, number, chunk).is_err() {
                    return Ok(Pushed { key, stored: Err("too-large") });
                }
            }
            card.object(Content::Chunks { id, length }, &[])
        };
        let fresh = freshness::expiry(&object.meta).saturating_sub(now);
        let stored = match shelf::put(node, &card, object) {
            Ok(()) => Ok(fresh as f64 / 1e3),
            Err(_) => Err("too-large"),
        };
        Ok(Pushed { key, stored })
    }
}
