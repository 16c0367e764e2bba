//! The one way by which links change: the store first, then what was remembered of them, here and
//! in front.
//!
//! Whoever makes, changes or deletes links does it here and never at the store itself, so that no
//! cache is forgotten. Called by the API; redirects read through `resolve.rs` and not from here.

use crate::caches::Caches;
use crate::link::{Code, Link, LinkPatch, LinkQuery, NewLink};
use crate::store::{Created, LinkPage, Once, Read, Store, StoreError, Update};

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
        let named = has_aliases(&links);
        let created = self.store.create(links).await?;
        self.made(named, &created).await;
        Ok(created)
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
        let named = has_aliases(&links);
        let once = self.store.create_once(owner, key, fingerprint, links).await?;
        if let Once::Created(created) = &once {
            self.made(named, created).await;
        }
        Ok(once)
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
        let update = self.store.update(code, patch, expected).await;
        // After an error it may have been made all the same.
        if !matches!(update, Ok(Update::Missing | Update::Conflict(_))) {
            self.changed(std::slice::from_ref(code)).await;
        }
        update
    }

    /// Deletes a link. False when there was none.
    ///
    /// # Errors
    /// As the store.
    pub async fn delete(&self, code: &Code) -> Result<bool, StoreError> {
        let deleted = self.store.delete(code).await;
        if !matches!(deleted, Ok(false)) {
            self.changed(std::slice::from_ref(code)).await;
        }
        deleted
    }

    /// Nobody can have asked for a code that was made here before it was there; for an alias they
    /// can, and then it is remembered that there is no such link.
    async fn made(&self, named: Vec<bool>, created: &Created) {
        let codes: Vec<Code> = named
            .into_iter()
            .zip(created)
            .filter_map(|(named, link)| Some(link.as_ref().ok()?.code.clone()).filter(|_| named))
            .collect();
        if !codes.is_empty() {
            self.changed(&codes).await;
        }
    }

    /// What was remembered of these is not so any more.
    async fn changed(&self, codes: &[Code]) {
        self.caches.changed(codes).await;
    }
}

fn has_aliases(links: &[NewLink]) -> Vec<bool> {
    links.iter().map(|link| link.alias.is_some()).collect()
}
