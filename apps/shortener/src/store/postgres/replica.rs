//! A replica, and whether it is fit to answer: it is up, and not too far behind.
//!
//! How far behind is measured without clocks of others: once in [`EVERY`] the primary is asked how
//! long its log is, and each replica how much of it it has applied. A replica that has applied what
//! the log was some time ago lacks nothing that is older than that. So it is known of idle servers
//! and of replicas that lost their primary too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Row;

use super::server::Server;
use super::{StoreError, Values};
use crate::store::Standing;

/// How far behind a replica may be and still be read. The look-up asks the primary for links that
/// changed within 10 s, so that this, the time until it is noticed, and that of a look-up must be
/// shorter together.
pub(super) const MOST_LAG: Duration = Duration::from_secs(5);

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// How long a server may take to say where it is.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Lengths of the log that are remembered: those of ten minutes.
const MOST_POSITIONS: usize = 600;

/// A lag that is not known.
const UNKNOWN: u64 = u64::MAX;

/// A replica.
#[derive(Debug)]
pub(super) struct Replica {
    server: Server,
    is_fit: AtomicBool,
    /// Milliseconds, or [`UNKNOWN`].
    lag: AtomicU64,
}

impl Replica {
    /// The one at this URL, which is not asked before it was looked at.
    pub(super) fn new(url: &str, pool: usize) -> Result<Replica, StoreError> {
        let server = Server::replica(url, pool)?;
        Ok(Replica { server, is_fit: AtomicBool::new(false), lag: AtomicU64::new(UNKNOWN) })
    }

    /// `HOST:PORT`.
    pub(super) fn name(&self) -> &str {
        self.server.name()
    }

    /// Whether it may be asked.
    pub(super) fn is_fit(&self) -> bool {
        self.is_fit.load(Relaxed)
    }

    /// Rows; one that fails is not asked again until it was looked at.
    pub(super) async fn query(
        &self,
        sql: &str,
        values: Values<'_>,
        limit: Duration,
    ) -> Result<Vec<Row>, StoreError> {
        let result = self.server.query_within(sql, values, limit).await;
        if result.is_err() {
            self.is_fit.store(false, Relaxed);
        }
        result
    }

    /// How it is.
    pub(super) async fn standing(&self) -> Standing {
        let mut standing = self.server.standing().await;
        let lag = self.lag.load(Relaxed);
        standing.lag = (lag != UNKNOWN).then(|| Duration::from_millis(lag));
        if standing.error.is_none() && !self.is_fit() {
            let text = format!("it is more than {MOST_LAG:?} behind, and not read");
            standing.error = Some(StoreError::unavailable(text));
        }
        standing
    }

    async fn look(&self, positions: &Positions, now: Instant) {
        let sql = "SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint
                   WHERE pg_is_in_recovery()";
        let applied = self.server.query_within(sql, &[], PATIENCE).await;
        let applied = applied.and_then(|rows| match rows.first() {
            Some(row) => Ok(row.try_get::<_, Option<i64>>(0)?),
            None => Err(StoreError::unavailable("it is no replica")),
        });
        let lag = match applied {
            Ok(applied) => applied.and_then(|applied| positions.lag(applied, now)),
            Err(error) => {
                tracing::debug!(replica = self.name(), %error, "does not say where it is");
                None
            }
        };
        let is_fit = lag.is_some_and(|lag| lag <= MOST_LAG);
        let millis = lag.and_then(|lag| u64::try_from(lag.as_millis()).ok());
        self.lag.store(millis.unwrap_or(UNKNOWN), Relaxed);
        if self.is_fit.swap(is_fit, Relaxed) != is_fit {
            let millis = millis.unwrap_or_default();
            match is_fit {
                true => tracing::info!(replica = self.name(), "is read"),
                false => tracing::warn!(replica = self.name(), millis, "is away or behind"),
            }
        }
    }
}

/// Looks at replicas until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(AbortHandle);

impl Watch {
    /// Looks once, and then in the background.
    pub(super) async fn start(primary: Arc<Server>, replicas: Arc<[Replica]>) -> Watch {
        let mut positions = Positions::default();
        look(&primary, &replicas, &mut positions).await;
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                look(&primary, &replicas, &mut positions).await;
            }
        });
        Watch(task.abort_handle())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look(primary: &Server, replicas: &[Replica], positions: &mut Positions) {
    let begun = Instant::now();
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint";
    let rows = primary.query_within(sql, &[], PATIENCE).await;
    // While the primary is away nothing is added to its log.
    if let Some(length) = rows.ok().and_then(|rows| rows.first()?.try_get(0).ok()) {
        positions.note(begun, length);
    }
    let positions = &*positions;
    // At the same time, so that one that hangs makes nobody wait for the others.
    let looks = replicas.iter().map(|replica| replica.look(positions, begun));
    join_all(looks).await;
}

/// How long the log of the primary was, and when it was asked.
#[derive(Debug, Default)]
struct Positions(VecDeque<(Instant, i64)>);

impl Positions {
    fn note(&mut self, at: Instant, length: i64) {
        // Another primary, which has not all that the last one had.
        if self.0.back().is_some_and(|(_, last)| *last > length) {
            self.0.clear();
        }
        if self.0.len() == MOST_POSITIONS {
            self.0.pop_front();
        }
        self.0.push_back((at, length));
    }

    /// How old the oldest change may be that somebody lacks who has applied so much of the log.
    /// `None`: older than anything that is known here.
    fn lag(&self, applied: i64, now: Instant) -> Option<Duration> {
        let behind = self.0.partition_point(|(_, length)| *length <= applied);
        let (at, _) = self.0.get(behind.checked_sub(1)?)?;
        match behind == self.0.len() {
            true => Some(Duration::ZERO),
            false => Some(now.duration_since(*at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lacks_nothing_that_is_known_is_not_behind() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let seconds = |second: u64| Some(Duration::from_secs(second));
        let mut positions = Positions::default();
        assert_eq!(positions.lag(i64::MAX, start), None, "nothing is known yet");
        for (second, length) in [(0, 100), (1, 100), (2, 150), (3, 200), (4, 200)] {
            positions.note(at(second), length);
        }
        for (applied, lag) in [
            (99, None),
            (100, seconds(4)),
            (149, seconds(4)),
            (150, seconds(3)),
            (199, seconds(3)),
            (200, seconds(0)),
            (1000, seconds(0)),
        ] {
            assert_eq!(positions.lag(applied, at(5)), lag, "{applied}");
        }
        // Another primary begins with less.
        positions.note(at(6), 120);
        assert_eq!(positions.lag(119, at(6)), None);
        assert_eq!(positions.lag(120, at(6)), seconds(0));
        for second in 7..2_000 {
            positions.note(at(second), 200 + second as i64);
        }
        assert_eq!(positions.0.len(), MOST_POSITIONS);
    }
}
