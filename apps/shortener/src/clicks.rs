//! Clicks: how they are counted, and how they come to rest.
//!
//! A redirect calls [`Clicks::record`], which never waits: it tells what is told apart
//! (`event.rs`, `agent.rs`), and adds it to what is held in memory (`buffer.rs`). A task writes that
//! down (`writer.rs`) once in [`every`](crate::config::ClicksConfig::every), in transactions that
//! count each piece once. What Seawall answered from its cache comes as a report (`report.rs`).
//! With NATS, clicks go to a stream first (`jetstream.rs`), and whoever reads it counts them
//! (`publisher.rs`). Who wants to sees them pass (`live.rs`).
//!
//! What can be lost: what came in since the last flush when the process is killed; what is beyond
//! [`most`](crate::config::ClicksConfig::most) while the database is away. The latter is counted.

pub mod agent;
pub mod buffer;
pub mod detail;
pub mod event;
pub mod jetstream;
pub mod leaders;
pub mod live;
mod publisher;
pub mod report;
pub mod sketch;
pub mod stats;
pub mod tally;
pub mod unit;
pub mod writer;

use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use foldhash::fast::RandomState;
use maxminddb::PathElement::Key;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use self::agent::{Agent, Device, LONGEST_AGENT};
use self::buffer::Buffer;
use self::event::{Click, Country, Origin, Traits, host_of, visitor};
use self::jetstream::Stream;
use self::live::Live;
use self::unit::{Keep, Unit};
use crate::config::Config;
use crate::link::{Code, Millis};
use crate::store::{Store, StoreError, system_clock};

/// Agents whose classification is remembered.
const AGENTS: usize = 4_096;

/// How long parts that others bring are remembered, in milliseconds: two days.
const REMEMBERED: Millis = 2 * 86_400_000;

/// All that counts clicks in this process.
pub struct Clicks {
    store: Store,
    keep: Keep,
    every: Duration,
    buffer: Buffer,
    stream: Option<Stream>,
    live: Live,
    agents: Cache<u64, Agent>,
    hasher: RandomState,
    countries: Option<maxminddb::Reader<Vec<u8>>>,
    /// Of yesterday, today and tomorrow, by the beginning of the day.
    salts: RwLock<Vec<(Millis, [u8; 32])>>,
    counts: Counts,
}

/// What was counted, in clicks unless it says otherwise.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken in, of redirects that were answered here.
    pub redirects: AtomicU64,
    /// Taken in, of reports.
    pub reported: AtomicU64,
    /// Written down.
    pub stored: AtomicU64,
    /// Lost: there was no room for them, or no time at the end.
    pub lost: AtomicU64,
    /// Attempts to write that failed.
    pub failures: AtomicU64,
    /// Reports that had been brought before.
    pub repeated: AtomicU64,
    /// Lines of reports that were none of an event.
    pub unreadable: AtomicU64,
}

impl Clicks {
    /// Gets ready to count: the tables of now and the salts of the day. Whoever looks on is let go
    /// when `drain` becomes true.
    ///
    /// # Errors
    /// When the database cannot be asked, the database of countries cannot be read, or the URL of
    /// NATS is none.
    pub async fn open(
        config: &Config,
        store: Store,
        drain: watch::Receiver<bool>,
    ) -> anyhow::Result<Arc<Clicks>> {
        let countries = config.country.as_deref().map(countries).transpose()?;
        let limit = &config.clicks;
        let stream = match &config.nats {
            Some(url) => {
                let stream = Stream::open(url, &config.name, limit.most).await;
                Some(stream.context("NATS cannot be used")?)
            }
            None => None,
        };
        let millis = |span: Duration| Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX);
        let clicks = Clicks {
            store,
            keep: Keep {
                minutes: millis(limit.minutes),
                hours: millis(limit.hours),
                days: millis(limit.days),
            },
            every: limit.every,
            buffer: Buffer::new(limit.most),
            stream,
            live: Live::new(drain),
            agents: Cache::new(AGENTS),
            hasher: RandomState::default(),
            countries,
            salts: RwLock::new(Vec::new()),
            counts: Counts::default(),
        };
        clicks.keep_up().await.context("the tables of clicks cannot be made")?;
        Ok(Arc::new(clicks))
    }

    /// Counts a click on a link. Never waits for anything but a lock that is held for less than a
    /// microsecond.
    pub fn record(&self, code: &str, client: IpAddr, origin: Origin<'_>) {
        let Ok(code) = Code::new(code) else { return };
        self.counts.redirects.fetch_add(1, Relaxed);
        self.take_in(self.click(code, system_clock(), client, origin));
    }

    /// What has been counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is held in memory.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The stream, if clicks go through NATS.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    fn take_in(&self, click: Click) {
        let has_room = match &self.stream {
            Some(stream) => stream.push(click),
            None => {
                self.live.tell(&click);
                self.buffer.add(click)
            }
        };
        if !has_room {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// What is told apart of a click.
    fn click(&self, code: Code, at: Millis, client: IpAddr, origin: Origin<'_>) -> Click {
        let agent = self.classify(origin.agent);
        let mut click = Click {
            code,
            at,
            traits: Traits { referrer: None, country: None, agent },
            visitor: None,
        };
        if !origin.is_private && agent.device != Device::Bot {
            click.traits.referrer = host_of(origin.referrer);
            click.traits.country = self.country(client);
            click.visitor = self.salt_of(at).map(|salt| visitor(&salt, client, origin.agent));
        }
        click
    }

    /// Most clicks come with one of a few texts, and to understand one takes microseconds.
    fn classify(&self, agent: &[u8]) -> Agent {
        let agent = &agent[..agent.len().min(LONGEST_AGENT)];
        // With a random seed: nobody can choose two texts that are taken for one.
        let hash = self.hasher.hash_one(agent);
        if let Some(known) = self.agents.get(&hash) {
            return known;
        }
        let classified = agent::classify(agent);
        self.agents.insert(hash, classified);
        classified
    }

    fn country(&self, client: IpAddr) -> Option<Country> {
        let found = self.countries.as_ref()?.lookup(client.to_canonical()).ok()?;
        let code: Option<&str> = found.decode_path(&[Key("country"), Key("iso_code")]).ok()?;
        Country::new(code?)
    }

    fn salt_of(&self, at: Millis) -> Option<[u8; 32]> {
        let day = Unit::Day.floor(at);
        let salts = self.salts.read().unwrap_or_else(PoisonError::into_inner);
        salts.iter().find(|(known, _)| *known == day).map(|(_, salt)| *salt)
    }

    /// Tidies up in the database, and has the salts of yesterday, which late reports need, of today
    /// and of tomorrow.
    async fn keep_up(&self) -> Result<(), StoreError> {
        let upkeep = self.store.keep_up(self.keep).await?;
        if upkeep.dropped > 0 {
            tracing::info!(tables = upkeep.dropped, "clicks that are no longer kept are gone");
        }
        let today = Unit::Day.floor(system_clock());
        let mut salts = Vec::new();
        for day in [-1, 0, 1].map(|days| today + days * Unit::Day.millis()) {
            salts.push((day, self.store.salt(day).await?));
        }
        *self.salts.write().unwrap_or_else(PoisonError::into_inner) = salts;
        Ok(())
    }
}

/// Reads a database of countries into memory.
pub(crate) fn countries(file: &Path) -> anyhow::Result<maxminddb::Reader<Vec<u8>>> {
    // What it says has its cause in it.
    maxminddb::Reader::open_readfile(file)
        .map_err(|error| anyhow!("cannot read the countries of {}: {error}", file.display()))
}

impl fmt::Debug for Clicks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clicks").finish_non_exhaustive()
    }
}
