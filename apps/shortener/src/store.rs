//! What is kept: links, keys, changes and settings, in a file (SQLite) or on PostgreSQL servers.
//!
//! Both keep one contract, which `tests/snip/store/` asks of each. Nothing here caches, validates
//! what people send, or knows of HTTP. Called by the look-up (`resolve.rs`), the API, the clicks
//! and the commands.
//!
//! A call whose future is dropped may still do what it was asked to.

mod error;
mod order;
mod patch;
mod postgres;
mod record;
mod sqlite;
mod types;
mod upkeep;

pub use error::StoreError;
pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub use types::{
    Change, Changes, DatabaseConfig, Deletion, Health, Key, LinkPage, NewKey, Once, Read, Size,
    Standing, Taken, Update, system_clock,
};

pub use upkeep::Upkeep;

use upkeep::{ahead, day_of, merged};

use std::sync::Arc;

use crate::clicks::stats::{Stats, StatsQuery};
use crate::clicks::tally::Part;
use crate::clicks::unit::Keep;
use crate::link::{Code, Link, LinkPatch, LinkQuery, Millis, NewLink};

/// What came of each link that was to be made, in their order.
pub type Created = Vec<Result<Link, Taken>>;

/// Links that one call may create.
pub const MOST_AT_ONCE: usize = 10_000;

/// How long the answer to an idempotent creation is kept, in milliseconds: 24 hours.
pub const REMEMBERED: Millis = 24 * 60 * 60 * 1000;

/// Links of a page at most.
pub const MOST_IN_A_PAGE: u32 = 1000;

/// Keys that are listed.
const MOST_KEYS: u32 = 10_000;

/// Rows that a search looks through for one page.
pub const SEARCHED: u32 = 50_000;

/// A database. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub enum Store {
    /// A file, for one machine.
    Sqlite(Sqlite),
    /// Servers: a primary, and replicas of it.
    Postgres(Postgres),
}

/// The same call of whichever it is.
macro_rules! either {
    ($store:expr, $it:ident => $call:expr) => {
        match $store {
            Store::Sqlite($it) => $call,
            Store::Postgres($it) => $call,
        }
    };
}

impl Store {
    /// Opens a database and brings its tables up to date. Several instances may do so at once.
    ///
    /// # Errors
    /// `Unusable` when the URL is none of `sqlite:PATH` and `postgres://…`, or the database was
    /// made by a newer version; else as any call.
    pub async fn open(config: &DatabaseConfig) -> Result<Store, StoreError> {
        if let Some(path) = config.url.strip_prefix("sqlite:") {
            if !config.replicas.is_empty() {
                return Err(StoreError::unusable("a database in a file has no replicas"));
            }
            let path = path.strip_prefix("//").unwrap_or(path);
            Sqlite::open(path.as_ref(), config.clock).await.map(Store::Sqlite)
        } else if ["postgres://", "postgresql://"].iter().any(|it| config.url.starts_with(it)) {
            Postgres::open(config).await.map(Store::Postgres)
        } else {
            Err(StoreError::unusable(
                "the URL of a database begins with `sqlite:` or `postgres://`",
            ))
        }
    }

    /// Thirty-two random bytes under a name, made when they are first asked for; the same for all
    /// instances, for ever.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn secret(&self, name: &str) -> Result<[u8; 32], StoreError> {
        either!(self, it => it.secret(name).await)
    }

    /// Makes links, all in one transaction. Those without an alias get a code of their own; an
    /// alias that exists, or that came earlier in `links`, is [`Taken`] and the others are made.
    /// At most [`MOST_AT_ONCE`].
    ///
    /// # Errors
    /// As [`StoreError`] says; then none was made, except after `Unavailable`, where it is not
    /// known.
    pub async fn create(&self, links: Vec<NewLink>) -> Result<Created, StoreError> {
        check_count(&links)?;
        either!(self, it => it.create(links).await)
    }

    /// Makes links unless `owner` did so before under this `key` within [`REMEMBERED`].
    /// `fingerprint` is a hash of what was asked for.
    ///
    /// # Errors
    /// As [`Store::create`]; here, trying again after any of them is safe.
    pub async fn create_once(
        &self,
        owner: i64,
        key: &str,
        fingerprint: [u8; 32],
        links: Vec<NewLink>,
    ) -> Result<Once, StoreError> {
        check_count(&links)?;
        either!(self, it => it.create_once(owner, key, fingerprint, links).await)
    }

    /// A link, for the way of a redirect. With SQLite it answers without waiting for anything but
    /// the file.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn link(&self, code: &Code, read: Read) -> Result<Option<Link>, StoreError> {
        either!(self, it => it.link(code, read).await)
    }

    /// Changes a link, if its version is `expected` or nothing is expected.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn update(
        &self,
        code: &Code,
        patch: &LinkPatch,
        expected: Option<i64>,
    ) -> Result<Update, StoreError> {
        either!(self, it => it.update(code, patch, expected).await)
    }

    /// Deletes a link, if its version is `expected` or nothing is expected.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn delete(&self, code: &Code, expected: Option<i64>) -> Result<Deletion, StoreError> {
        either!(self, it => it.delete(code, expected).await)
    }

    /// Takes one of the clicks that a link has left, and says how many are left then. `None` when
    /// none was left, the link has no such limit, or is not there. Its version stays.
    ///
    /// # Errors
    /// As [`StoreError`] says; after `Unavailable` the click may be taken.
    pub async fn take_click(&self, code: &Code) -> Result<Option<i64>, StoreError> {
        either!(self, it => it.take_click(code).await)
    }

    /// Links in an order. What is made or deleted while pages are turned neither doubles nor
    /// hides others.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn links(&self, query: &LinkQuery) -> Result<LinkPage, StoreError> {
        either!(self, it => it.links(query).await)
    }

    /// Tags and how many links have each, the most frequent first, at most `limit`.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn tags(&self, limit: u32) -> Result<Vec<(Box<str>, i64)>, StoreError> {
        either!(self, it => it.tags(limit).await)
    }

    /// The number of the last change, 0 when there was none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn last_change(&self) -> Result<i64, StoreError> {
        either!(self, it => it.last_change().await)
    }

    /// Changes after the one with the number `seq`, in their order, at most `limit`. Numbers are
    /// in the order in which changes became visible, so that none appears behind the last one
    /// seen; they may have gaps.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn changes_after(&self, seq: i64, limit: u32) -> Result<Changes, StoreError> {
        either!(self, it => it.changes_after(seq, limit).await)
    }

    /// Forgets changes made before a time, though never the last one, and says how many.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn forget_changes(&self, before: Millis) -> Result<u64, StoreError> {
        either!(self, it => it.forget_changes(before).await)
    }

    /// Forgets answers to idempotent creations that are older than [`REMEMBERED`], and says how
    /// many.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn forget_once(&self) -> Result<u64, StoreError> {
        either!(self, it => it.forget_once().await)
    }

    /// Makes an API key.
    ///
    /// # Errors
    /// As [`StoreError`] says; `Refused` when the hash is there already.
    pub async fn create_key(&self, key: NewKey) -> Result<Key, StoreError> {
        either!(self, it => it.create_key(key).await)
    }

    /// Makes an API key if there was never one. `None` when there was: of several instances that
    /// start at once, one makes it.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn create_first_key(&self, key: NewKey) -> Result<Option<Key>, StoreError> {
        either!(self, it => it.create_first_key(key).await)
    }

    /// The API key with this hash, revoked or not.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Key>, StoreError> {
        either!(self, it => it.key_by_hash(hash).await)
    }

    /// All API keys, the oldest first, revoked ones too; at most 10,000.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn keys(&self) -> Result<Vec<Key>, StoreError> {
        either!(self, it => it.keys().await)
    }

    /// Revokes an API key. False when there is none, or it was revoked before.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn revoke_key(&self, id: i64) -> Result<bool, StoreError> {
        either!(self, it => it.revoke_key(id).await)
    }

    /// Whether there was ever an API key.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        either!(self, it => it.has_keys().await)
    }

    /// Counts clicks, all in one transaction: each part once, however often it is brought as long
    /// as it is remembered. Says of each whether it was counted now. What is no longer kept is
    /// passed over.
    ///
    /// # Errors
    /// As [`StoreError`] says; trying again with the same parts is safe after any of them.
    pub async fn count(&self, parts: Arc<[Part]>, keep: Keep) -> Result<Vec<bool>, StoreError> {
        either!(self, it => it.count(parts, keep).await)
    }

    /// Clicks that were counted. A replica may answer, as of a moment ago.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn stats(&self, query: &StatsQuery) -> Result<Stats, StoreError> {
        either!(self, it => it.stats(query).await)
    }

    /// Clicks of people on each of these links, in their order, on the days from its moment up to
    /// but not including `to`: a look-up for each link and day. A replica may answer, as of a
    /// moment ago.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn clicks_since(
        &self,
        since: &[(Code, Millis)],
        to: Millis,
    ) -> Result<Vec<u64>, StoreError> {
        either!(self, it => it.clicks_since(since, to).await)
    }

    /// What hashes of the visitors of a day are made with: random, made when it is first asked
    /// for, the same for all instances, and deleted by [`Store::keep_up`] when the day after is
    /// over. `day` is when it begins.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn salt(&self, day: Millis) -> Result<[u8; 32], StoreError> {
        either!(self, it => it.salt(day).await)
    }

    /// Makes the tables that clicks will need next, drops those that are over, and deletes salts
    /// and parts that need not be known any more.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn keep_up(&self, keep: Keep) -> Result<Upkeep, StoreError> {
        either!(self, it => it.keep_up(keep).await)
    }

    /// Asks the primary, and each replica, whether it does its work: the primary whether it can
    /// be written to. Never longer than 5 seconds.
    pub async fn health(&self) -> Health {
        either!(self, it => it.health().await)
    }

    /// How much is stored.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn size(&self) -> Result<Size, StoreError> {
        either!(self, it => it.size().await)
    }
}

fn check_count(links: &[NewLink]) -> Result<(), StoreError> {
    match links.len() {
        0..=MOST_AT_ONCE => Ok(()),
        _ => Err(StoreError::Refused(format!("more than {MOST_AT_ONCE} links at once").into())),
    }
}
