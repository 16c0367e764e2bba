//! What of an answer is stored, and under which key. Called by fills, and for answers that are
//! pushed.

use std::sync::Arc;

use seawall_cache::freshness::Terms;
use seawall_cache::key::Url;
use seawall_cache::object::{Content, Meta, Object};
use seawall_cache::store::{Refused, Variants};
use seawall_cache::tags::Tags;
use seawall_cache::vary::{self, Varies};
use seawall_config::plan::Cache;
use seawall_h1::{Headers, RequestHead};

use super::node::{LABELS, Node};

/// Where answers to a request are stored.
pub(crate) struct Shelf<'a> {
    pub(crate) node: &'a Node,
    pub(crate) rules: &'a Cache,
    /// A request that they answer, and its URL.
    pub(crate) request: &'a RequestHead,
    pub(crate) url: Url<'a>,
    /// The part of its key that all variants have.
    pub(crate) primary: &'a [u8],
    /// The purge sequence when their fetch began.
    pub(crate) sequence: u64,
}

/// What of an answer is stored beside its content.
pub(crate) struct Card {
    pub(crate) meta: Meta,
    pub(crate) key: Vec<u8>,
    pub(crate) variants: Option<Arc<Variants>>,
    fields: Vec<u8>,
    labels: Vec<u32>,
}

impl Card {
    pub(crate) fn object(&self, kind: Content, content: &[&[u8]]) -> Arc<Object> {
        let Card { meta, key, fields, labels, .. } = self;
        Arc::new(Object::new(meta.clone(), key, fields, labels, kind, content))
    }
}

/// By which fields of requests an answer varies that may be stored.
pub(crate) fn names(answer: &Headers, rules: &Cache) -> Vec<Box<[u8]>> {
    match vary::fields(answer, rules) {
        Varies::By(names) => names,
        Varies::Any => Vec::new(),
    }
}

impl Shelf<'_> {
    /// What is stored of an answer that varies by `names`.
    pub(crate) fn card(&self, names: &[Box<[u8]>], answer: &Headers, terms: &Terms<'_>) -> Card {
        let Shelf { node, rules, request, url, primary, sequence } = *self;
        let mut key = primary.to_vec();
        let mut variants = None;
        if !names.is_empty() {
            let known = node.store.vary(node.store.hash(&key), &key, names);
            vary::secondary(known.names(), request, &mut key);
            variants = Some(known);
        }
        let mut fields = Vec::with_capacity(256);
        terms.fields.write(answer, &mut fields);
        let tags = Tags::of(answer, rules.tags.as_deref());
        let mut labels = Vec::with_capacity(8);
        LABELS.write(&url, &rules.key, tags.tags.into_iter(), &mut labels);
        let meta = Meta { sequence, ..terms.meta.clone() };
        Card { meta, key, variants, fields, labels }
    }
}

/// Stores an object under the key of its card.
///
/// # Errors
/// If it may not take the place of what is there, or is too large.
pub(crate) fn put(node: &Node, card: &Card, object: Arc<Object>) -> Result<(), Refused> {
    match &card.variants {
        None => node.store.insert(object),
        Some(variants) => node.store.insert_variant(variants, object),
    }
}
