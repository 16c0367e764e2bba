//! Purges by those who may tell the node, on all nodes of its fleet.

use std::time::Instant;

use seawall_cache::key::{Scheme, Url};
use seawall_cache::purge::Kind;
use seawall_config::plan::CacheKey;
use seawall_telemetry::metrics::PurgeKind;

use super::{CacheError, CacheHandle, node, rules, typed};
use crate::policy::cache::node::LABELS;

/// What is to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A URL, in all its variants, whichever route it was stored by.
    Url(String),
    /// What has this tag. There is nothing under an empty one.
    Tag(String),
    /// Everything below a directory: a URL that ends in `/`.
    Prefix(String),
    /// A host, with its port unless that is the usual one.
    Host(String),
    /// Everything.
    Everything,
}

/// Whether the other nodes of the fleet know of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// There are none.
    None,
    /// They do.
    Told,
    /// They will, when the shared state is back.
    Later,
}

impl Target {
    fn kind(&self) -> PurgeKind {
        match self {
            Target::Url(_) => PurgeKind::Url,
            Target::Tag(_) => PurgeKind::Tag,
            Target::Prefix(_) => PurgeKind::Prefix,
            Target::Host(_) => PurgeKind::Host,
            Target::Everything => PurgeKind::Everything,
        }
    }

    /// Appends the labels of all that it stands for.
    fn label(&self, keys: &[&CacheKey], labels: &mut Vec<u32>) -> Result<(), CacheError> {
        match self {
            Target::Url(text) => {
                let url = typed(text)?;
                labels.extend(keys.iter().map(|key| LABELS.url(&url.as_url(), key)));
            }
            Target::Tag(tag) => labels.extend(LABELS.tag(tag.as_bytes())),
            Target::Prefix(text) => {
                let label = LABELS.prefix(&typed(text)?.as_url());
                labels.push(label.ok_or_else(|| CacheError::Prefix(text.clone()))?);
            }
            Target::Host(host) => labels.push(LABELS.host(&Url {
                scheme: Scheme::Http,
                authority: host.as_bytes(),
                path: b"/",
                query: b"",
            })),
            Target::Everything => labels.push(LABELS.everything()),
        }
        Ok(())
    }
}

impl CacheHandle {
    /// Purges all of it, softly or for good, at once here, and on the other nodes of the fleet.
    /// When dropped, it holds here, and the others may not have been told.
    ///
    /// # Errors
    ///
    /// When any of the targets is none. Nothing is purged then.
    pub async fn purge(&self, targets: &[Target], hard: bool) -> Result<Others, CacheError> {
        let began = Instant::now();
        let compiled = self.compiled()?;
        let node = node(&compiled)?;
        let mut keys: Vec<&CacheKey> = Vec::new();
        for (_, rules) in compiled.plan.routes.iter().filter_map(rules) {
            if !keys.contains(&&rules.key) {
                keys.push(&rules.key);
            }
        }
        let mut labels = Vec::with_capacity(targets.len());
        for target in targets {
            target.label(&keys, &mut labels)?;
        }
        labels.sort_unstable();
        labels.dedup();
        let kind = if hard { Kind::Hard } else { Kind::Soft };
        labels.iter().for_each(|label| node.apply_purge(*label, kind));
        let metrics = &compiled.metrics;
        for target in targets {
            metrics.purge(metrics.workers(), target.kind(), hard);
        }
        metrics.purge_took(metrics.workers(), began.elapsed());
        // On disk, too, before anybody is told that it has been done.
        node.store.purges_kept().await;
        Ok(match node.tell_all(&labels, kind).await {
            None => Others::None,
            Some(true) => Others::Told,
            Some(false) => Others::Later,
        })
    }
}
