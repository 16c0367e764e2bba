//! Who asks: API keys, what they may do, and the extractor that says so to handlers. Browsers send
//! a session in place of a key; see `session.rs`.
//!
//! A key is shown once, when it is made; what is stored is its SHA-256, which suffices for 256
//! random bits. A key that was found is remembered for a second, so that a key that is revoked at
//! one instance may work for that long at others; at the instance that revoked it, it ends at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use data_encoding::BASE64URL_NOPAD;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::api::Api;
use crate::problem::Problem;
use crate::store::{Key, NewKey, Store, StoreError, system_clock};

/// What every key begins with, so that it is known for one where it does not belong.
const PREFIX: &str = "snip_";

/// How long a key that was found is believed without asking the store.
const BELIEVED: Duration = Duration::from_secs(1);

/// Keys that are remembered at most.
const REMEMBERED: usize = 10_000;

/// Something that a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Reading links.
    LinksRead,
    /// Making, changing and deleting links.
    LinksWrite,
    /// Reading how links are clicked.
    StatsRead,
    /// Making and revoking keys.
    KeysAdmin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 4] =
        [Scope::LinksRead, Scope::LinksWrite, Scope::StatsRead, Scope::KeysAdmin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Scope::LinksRead => "links:read",
            Scope::LinksWrite => "links:write",
            Scope::StatsRead => "stats:read",
            Scope::KeysAdmin => "keys:admin",
        }
    }

    /// The scope with this name.
    pub fn of(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A set of scopes. Stored as their names with spaces between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub fn all() -> Scopes {
        Scope::ALL.into_iter().collect()
    }

    /// The scopes of a stored key. Names that are not known here (of a newer version) give nothing.
    pub fn parse(text: &str) -> Scopes {
        text.split_ascii_whitespace().filter_map(Scope::of).collect()
    }

    /// Whether it has this one.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Those of these that `other` has not.
    pub fn beyond(self, other: Scopes) -> Scopes {
        Scopes(self.0 & !other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names, in a fixed order.
    pub fn names(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::name).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

/// An API key itself. `Debug` does not show it; `Display` does.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one: `snip_` and 32 random bytes in Base64 for URLs.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Secret, StoreError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| StoreError::Unavailable(format!("no randomness: {error}").into()))?;
        Ok(Secret(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))))
    }

    /// What is stored of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// A text that could be a key.
    fn parse(text: &str) -> Option<Secret> {
        let bytes = BASE64URL_NOPAD.decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?;
        (bytes.len() == 32).then(|| Secret(text.to_owned()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whoever made a request, once it is known that they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The number of the key.
    pub key: i64,
    /// What the key is called.
    pub name: Box<str>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// Whether a session stood for the key.
    pub by_session: bool,
}

impl Actor {
    /// Goes on only with this scope.
    ///
    /// # Errors
    /// `Forbidden` without it.
    pub fn may(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.has(scope) { Ok(()) } else { Err(Problem::Forbidden(scope.name())) }
    }
}

/// The API keys of a store.
#[derive(Debug)]
pub struct Keys {
    store: Store,
    seen: Cache<[u8; 32], (Actor, Instant)>,
    /// How many were revoked here.
    revoked: AtomicU64,
}

impl Keys {
    /// Those of this store.
    pub fn new(store: Store) -> Keys {
        Keys { store, seen: Cache::new(REMEMBERED), revoked: AtomicU64::new(0) }
    }

    /// Makes a key. It is known nowhere but in what is returned.
    ///
    /// # Errors
    /// As the store.
    pub async fn create(&self, name: &str, scopes: Scopes) -> Result<(Key, Secret), StoreError> {
        let secret = Secret::random()?;
        Ok((self.store.create_key(new_key(&secret, name, scopes)).await?, secret))
    }

    /// Makes a key for everything if there was never one: the first start. Of several instances,
    /// one gets it.
    ///
    /// # Errors
    /// As the store.
    pub async fn create_first(&self) -> Result<Option<Secret>, StoreError> {
        let secret = Secret::random()?;
        let key = new_key(&secret, "first", Scopes::all());
        Ok(self.store.create_first_key(key).await?.map(|_| secret))
    }

    /// All keys, revoked ones too.
    ///
    /// # Errors
    /// As the store.
    pub async fn all(&self) -> Result<Vec<Key>, StoreError> {
        self.store.keys().await
    }

    /// Revokes a key. False when there is none, or it was revoked before.
    ///
    /// # Errors
    /// As the store.
    pub async fn revoke(&self, id: i64) -> Result<bool, StoreError> {
        let revoked = self.store.revoke_key(id).await;
        // Whatever came of it: what is asked again is never wrong.
        self.revoked.fetch_add(1, Ordering::SeqCst);
        self.seen.retain(|_, (actor, _)| actor.key != id);
        revoked
    }

    /// Whose key this text is; nobody's when it is not one or was revoked.
    ///
    /// # Errors
    /// As the store.
    pub async fn actor(&self, text: &str) -> Result<Option<Actor>, StoreError> {
        Ok(self.actor_and_hash(text).await?.map(|(actor, _)| actor))
    }

    /// The same, with what is stored of the key, which [`Keys::actor_of`] takes.
    ///
    /// # Errors
    /// As the store.
    pub async fn actor_and_hash(
        &self,
        text: &str,
    ) -> Result<Option<(Actor, [u8; 32])>, StoreError> {
        let Some(secret) = Secret::parse(text) else { return Ok(None) };
        let hash = secret.hash();
        Ok(self.actor_of(hash).await?.map(|actor| (actor, hash)))
    }

    /// Whose key has this hash; nobody's when there is none or it was revoked. A hash is not a key:
    /// whoever has one must have it from here.
    ///
    /// # Errors
    /// As the store.
    pub async fn actor_of(&self, hash: [u8; 32]) -> Result<Option<Actor>, StoreError> {
        if let Some((actor, at)) = self.seen.get(&hash)
            && at.elapsed() < BELIEVED
        {
            return Ok(Some(actor));
        }
        let (asked, revoked) = (Instant::now(), self.revoked.load(Ordering::SeqCst));
        let key = self.store.key_by_hash(&hash).await?;
        let Some(key) = key.filter(|key| key.revoked.is_none()) else {
            self.seen.remove(&hash);
            return Ok(None);
        };
        let scopes = Scopes::parse(&key.scopes);
        let actor = Actor { key: key.id, name: key.name, scopes, by_session: false };
        self.seen.insert(hash, (actor.clone(), asked));
        // It may have been revoked between being read and being remembered.
        if self.revoked.load(Ordering::SeqCst) != revoked {
            self.seen.remove(&hash);
        }
        Ok(Some(actor))
    }
}

fn new_key(secret: &Secret, name: &str, scopes: Scopes) -> NewKey {
    NewKey { name: name.into(), hash: secret.hash(), scopes: scopes.to_string().into() }
}

/// The token of `Authorization: Bearer …`, if there is such a field; `Err` when there is one of
/// another kind.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    const WANTED: Problem =
        Problem::Unauthenticated("Authorization must be `Bearer` and an API key, once");
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    let text = field.to_str().map_err(|_| WANTED)?;
    match text.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && fields.next().is_none() =>
        {
            Ok(Some(token.trim()))
        }
        _ => Err(WANTED),
    }
}

impl FromRequestParts<Arc<Api>> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Actor, Problem> {
        Actor::of(api, &parts.method, &parts.headers).await
    }
}

impl Actor {
    /// Who asks, by the head of a request.
    ///
    /// # Errors
    /// `Unauthenticated` when nobody may who sends this, or may no more; `CrossSite` when a page of
    /// another server asks; else as the store.
    pub async fn of(api: &Api, method: &Method, headers: &HeaderMap) -> Result<Actor, Problem> {
        if let Some(token) = bearer(headers)? {
            let actor = api.keys.actor(token).await?;
            return actor.ok_or(Problem::Unauthenticated("the API key is unknown or revoked"));
        }
        let session = api.sessions.of(headers, system_clock());
        let session = session.ok_or(Problem::Unauthenticated(
            "send an API key as `Authorization: Bearer snip_…`, or sign in",
        ))?;
        api.sessions.check_origin(method, headers)?;
        let actor = api.keys.actor_of(session.key).await?;
        let actor = actor.ok_or(Problem::Unauthenticated("the key of this session is revoked"))?;
        Ok(Actor { by_session: true, ..actor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_sets_of_names() {
        let some = Scopes::parse("links:write  links:read future:scope");
        assert_eq!(some.to_string(), "links:read links:write");
        assert!(some.has(Scope::LinksRead) && !some.has(Scope::KeysAdmin));
        assert_eq!(Scopes::all().beyond(some).names(), ["stats:read", "keys:admin"]);
        assert!(some.beyond(Scopes::all()).is_empty());
        assert_eq!(Scopes::parse(&Scopes::all().to_string()), Scopes::all());
    }

    #[test]
    fn keys_are_long_random_and_not_shown() {
        let one = Secret::random().expect("there is randomness");
        let other = Secret::random().expect("there is randomness");
        assert_ne!(one, other);
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.to_string().len(), 5 + 43);
        assert_eq!(Secret::parse(&one.to_string()), Some(one.clone()));
        assert_eq!(format!("{one:?}"), "Secret(…)");
        for wrong in ["", "snip_", "snip_AAAA", "other", &one.to_string()[1..]] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn authorization_is_bearer_and_once() {
        let fields = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, header::HeaderValue::from_static(value));
            }
            bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|_| ())
        };
        assert_eq!(fields(&[]), Ok(None));
        assert_eq!(fields(&["Bearer x"]), Ok(Some("x".to_owned())));
        assert_eq!(fields(&["bearer  x"]), Ok(Some("x".to_owned())));
        for wrong in [&["Basic x"][..], &["Bearer"], &["x"], &["Bearer x", "Bearer y"]] {
            assert_eq!(fields(wrong), Err(()), "{wrong:?}");
        }
    }
}
