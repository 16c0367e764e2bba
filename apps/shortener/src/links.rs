//! The one way by which links change: the store first, then what was remembered of them, here and
//! in front.
//!
//! Whoever makes, changes or deletes links does it here and never at the store itself, so that no
//! cache is forgotten. Called by the API; redirects read through `resolve.rs` and not from here.

use std::collections::HashSet;

use crate::caches::Caches;
use crate::link::{Code, Link, LinkPatch, LinkQuery, NewLink};
use crate::store::{Created, Deletion, LinkPage, Once, Read, Store, StoreError, Update};

/// The links of a store, with what must happen when they change.
#[derive(Debug, Clone)]
pub struct Links {
    store: Store,
    caches: Caches,
}

impl Links {
    /// Those of a store, and what is kept of them outside of it.
    pub fn new(store: Store, caches: Caches) -> Links {
        Links { store, caches }
    }

    /// Makes links; see [`Store::create`].
    ///
    /// # Errors
    /// As the store.
    pub async fn create(&self, links: Vec<NewLink>) -> Result<Created, StoreError> {
        let this = self.clone();
        to_the_end(async move {
            let aliases = aliases(&links);
            let created = this.store.create(links).await;
            match &created {
                Ok(created) => this.made(&aliases, created).await,
                Err(_) => this.changed(&Vec::from_iter(aliases)).await,
            }
            created
        })
        .await
    }

    /// Makes links once; see [`Store::create_once`].
    ///
    /// # Errors
    /// As the store.
    pub async fn create_once(
        &self,
        owner: i64,
        key: &str,
        fingerprint: [u8; 32],
        links: Vec<NewLink>,
    ) -> Result<Once, StoreError> {
        let (this, key) = (self.clone(), key.to_owned());
        to_the_end(async move {
            let aliases = aliases(&links);
            let once = this.store.create_once(owner, &key, fingerprint, links).await;
            match &once {
                Ok(Once::Created(created)) => this.made(&aliases, created).await,
                Ok(Once::Replayed(_) | Once::Mismatch | Once::InProgress) => {}
                Err(_) => this.changed(&Vec::from_iter(aliases)).await,
            }
            once
        })
        .await
    }

    /// A link as it is now, whoever changed it last.
    ///
    /// # Errors
    /// As the store.
    pub async fn link(&self, code: &Code) -> Result<Option<Link>, StoreError> {
        self.store.link(code, Read::Latest).await
    }

    /// A page of links; see [`Store::links`].
    ///
    /// # Errors
    /// As the store.
    pub async fn page(&self, query: &LinkQuery) -> Result<LinkPage, StoreError> {
        self.store.links(query).await
    }

    /// Changes a link; see [`Store::update`].
    ///
    /// # Errors
    /// As the store.
    pub async fn update(
        &self,
        code: &Code,
        patch: &LinkPatch,
        expected: Option<i64>,
    ) -> Result<Update, StoreError> {
        let (this, code, patch) = (self.clone(), code.clone(), patch.clone());
        to_the_end(async move {
            let update = this.store.update(&code, &patch, expected).await;
            // After an error it may have been made all the same.
            if !matches!(update, Ok(Update::Missing | Update::Conflict(_))) {
                this.changed(&[code]).await;
            }
            update
        })
        .await
    }

    /// Deletes a link; see [`Store::delete`].
    ///
    /// # Errors
    /// As the store.
    pub async fn delete(&self, code: &Code, expected: Option<i64>) -> Result<Deletion, StoreError> {
        let (this, code) = (self.clone(), code.clone());
        to_the_end(async move {
            let deleted = this.store.delete(&code, expected).await;
            // After an error it may be gone all the same.
            if !matches!(deleted, Ok(Deletion::Missing | Deletion::Conflict(_))) {
                this.changed(&[code]).await;
            }
            deleted
        })
        .await
    }

    /// Nobody can have asked for a code that was made here before it was there; for an alias they
    /// can, and then it is remembered that there is no such link.
    async fn made(&self, aliases: &HashSet<Code>, created: &Created) {
        // Of aliases that were taken nothing has changed.
        let codes = created.iter().flatten().map(|link| &link.code);
        let codes: Vec<Code> = codes.filter(|code| aliases.contains(code)).cloned().collect();
        self.changed(&codes).await;
    }

    /// What was remembered of these is not so any more.
    async fn changed(&self, codes: &[Code]) {
        if !codes.is_empty() {
            self.caches.changed(codes).await;
        }
    }
}

fn aliases(links: &[NewLink]) -> HashSet<Code> {
    links.iter().filter_map(|link| link.alias.clone()).collect()
}

/// Does it in a task of its own: whoever asked may hang up between a change and the caches being
/// told of it. The store and the caches both end by themselves, and so does the task.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StoreError::Unavailable("the process ends".into())),
    }
}
