//! What is said to a store and what it answers. Plain data.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Created, StoreError};
use crate::link::{Code, Link, Millis};

/// Where what is kept is.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub url: String,
    /// URLs of replicas of a PostgreSQL server.
    pub replicas: Vec<String>,
    /// Connections to each PostgreSQL server, at least 1.
    pub pool: usize,
    /// What time it is; tests set another.
    pub clock: fn() -> Millis,
}

impl DatabaseConfig {
    /// A database without replicas, with 8 connections, and the clock of the system.
    pub fn new(url: impl Into<String>) -> DatabaseConfig {
        DatabaseConfig { url: url.into(), replicas: Vec::new(), pool: 8, clock: system_clock }
    }
}

/// The time by the clock of the system; 0 when it stands before 1970.
pub fn system_clock() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// How new what is read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// A replica may answer, as of a moment ago. What it does not have is asked of the primary.
    Any,
    /// With every change whose call has returned, wherever it was made.
    Latest,
}

/// An alias that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken(pub Code);

/// What came of an idempotent creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// The links were made now.
    Created(Created),
    /// They were made before: what came of it then.
    Replayed(Created),
    /// Something else was asked for under this key before (422).
    Mismatch,
    /// It is being done at this moment (409).
    InProgress,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// It was made; the link as it is now.
    Done(Link),
    /// There is no such link.
    Missing,
    /// The link has this version, not the expected one.
    Conflict(i64),
}

/// What came of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Done,
    /// There is no such link.
    Missing,
    /// The link has this version, not the expected one, and stays.
    Conflict(i64),
}

/// A page of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPage {
    /// The links, in the order that was asked for.
    pub links: Vec<Link>,
    /// [`LinkQuery::after`](crate::link::LinkQuery::after) for the next page, if there may be one.
    /// A search looks through [`SEARCHED`](super::SEARCHED) links for a page, so that a page that
    /// is not full, or even empty, may have a next one.
    pub next: Option<(Millis, Code)>,
}

/// A change of a link: it was made under an alias, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub seq: i64,
    /// The link.
    pub code: Code,
    /// When.
    pub at: Millis,
}

/// Changes after a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// In the order of their numbers.
    pub changes: Vec<Change>,
    /// Some that came after the number were forgotten: whoever follows changes must drop all that
    /// it knows.
    pub incomplete: bool,
}

/// An API key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What people call it.
    pub name: Box<str>,
    /// SHA-256 of the key; the key itself is not stored.
    pub hash: [u8; 32],
    /// What it may be used for, as `auth.rs` writes it.
    pub scopes: Box<str>,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its number, from 1.
    pub id: i64,
    /// What people call it.
    pub name: Box<str>,
    /// What it may be used for.
    pub scopes: Box<str>,
    /// When it was made.
    pub created: Millis,
    /// When it was revoked.
    pub revoked: Option<Millis>,
}

/// How a database is.
#[derive(Debug, Clone)]
pub struct Health {
    /// The file, or the primary.
    pub primary: Standing,
    /// The replicas, in the order of the configuration.
    pub replicas: Vec<Standing>,
}

/// How one server, or the file, is.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The path, or `HOST:PORT`; without credentials.
    pub name: String,
    /// Why it does not do its work, if it does not.
    pub error: Option<StoreError>,
    /// How long it took to answer.
    pub took: Duration,
    /// By how much a replica is behind, if it says so.
    pub lag: Option<Duration>,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Links; with PostgreSQL an estimate of the server's.
    pub links: i64,
    /// Bytes on disk with all indexes, without logs.
    pub bytes: i64,
}
