//! What is asked for most.

use std::collections::HashMap;

use seawall_cache::key;
use seawall_cache::store::Top as Used;
use seawall_cache::tags::Tags;
use seawall_h1::Headers;

use super::{CacheError, CacheHandle, node, rules};
use crate::compiled::Compiled;

/// What is asked for most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Top {
    /// Stored answers, the one that is asked for most first.
    pub keys: Vec<TopKey>,
    /// Tags of these and some more, that of most requests first.
    pub tags: Vec<TopTag>,
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopKey {
    /// Its URL, and what else its key is made of.
    pub key: String,
    /// Look-ups that found it since it was first stored.
    pub uses: u64,
    /// Bytes of memory that it takes.
    pub bytes: u64,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopTag {
    /// It.
    pub tag: String,
    /// Look-ups that found answers with it, as far as these were looked at.
    pub uses: u64,
}

/// Answers whose tags are added up, at least.
const TAGGED: usize = 10_000;

impl CacheHandle {
    /// The so many keys and tags that are asked for most. Looks at all that is stored, on the
    /// calling thread.
    ///
    /// # Errors
    ///
    /// Only [`CacheError::None`].
    pub fn top(&self, count: usize) -> Result<Top, CacheError> {
        let compiled = self.compiled()?;
        let used = node(&compiled)?.store.top(count.max(TAGGED));
        let keys = used.iter().take(count).map(|top| {
            let object = &top.object;
            let (primary, names) = match &top.variants {
                Some(variants) => (variants.key().len(), variants.names()),
                None => (object.key().len(), &[][..]),
            };
            TopKey {
                key: key::shown(object.key(), primary, names),
                uses: u64::from(top.uses),
                bytes: u64::from(top.bytes),
            }
        });
        Ok(Top { keys: keys.collect(), tags: tags(&compiled, &used, count) })
    }
}

fn tags(compiled: &Compiled, used: &[Used], count: usize) -> Vec<TopTag> {
    // Which route an answer was stored by is not known any more.
    let mut named = vec![None];
    for (_, rules) in compiled.plan.routes.iter().filter_map(rules) {
        let name = rules.tags.as_deref();
        if !named.contains(&name) {
            named.push(name);
        }
    }
    let mut uses: HashMap<String, u64> = HashMap::new();
    for top in used {
        let mut headers = Headers::default();
        headers.restore(top.object.fields());
        let mut tags: Vec<&[u8]> =
            named.iter().flat_map(|name| Tags::of(&headers, *name).tags).collect();
        tags.sort_unstable();
        tags.dedup();
        for tag in tags {
            *uses.entry(tag.escape_ascii().to_string()).or_default() += u64::from(top.uses);
        }
    }
    let mut tags: Vec<TopTag> = uses.into_iter().map(|(tag, uses)| TopTag { tag, uses }).collect();
    tags.sort_unstable_by(|a, b| b.uses.cmp(&a.uses).then_with(|| a.tag.cmp(&b.tag)));
    tags.truncate(count);
    tags
}
