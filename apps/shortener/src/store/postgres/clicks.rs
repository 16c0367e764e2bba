//! Clicks on a server: range partitions by time.
//!
//! Instances take turns by a lock that is held until the end of the transaction, so that a day of a
//! link can be read, joined with what is new, and written back, and no two transactions meet in the
//! middle. What cannot be written for it waits in the buffer of its instance, where it grows slower
//! than clicks come.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use deadpool_postgres::{GenericClient, Transaction};

use super::error::Failure;
use super::server::{Client, with_client};
use super::{Postgres, StoreError, Values, locks};
use crate::clicks::detail::Detail;
use crate::clicks::stats::{Point, Stats, StatsQuery};
use crate::clicks::tally::{Count, Part, Rows, signed};
use crate::clicks::unit::{Keep, Partition, Unit};
use crate::link::{Code, Millis};
use crate::store::{Upkeep, ahead, day_of, merged};

/// Hundredths of a page that new rows fill. Rows are updated as long as their time goes on, those of
/// popular links each second; with room beside them that touches no index.
const FILL: u8 = 70;

impl Postgres {
    pub(in crate::store) async fn count(
        &self,
        parts: Arc<[Part]>,
        keep: Keep,
    ) -> Result<Vec<bool>, StoreError> {
        let now = self.now();
        with_client!(self.primary(), client => count(&mut client, &parts, keep, now))
    }

    /// May be a moment old.
    pub(in crate::store) async fn stats(&self, query: &StatsQuery) -> Result<Stats, StoreError> {
        let (code, mut stats) = (query.stored_code(), Stats::default());
        // The units one by one, since all links are between two of them; their range too, so that
        // partitions are passed over.
        let sql = |unit: Unit, columns: &str| {
            let table = unit.table();
            format!(
                "SELECT at, {columns} FROM {table}
                 WHERE at = ANY($1) AND at >= $2 AND at < $3 AND code = $4 ORDER BY at"
            )
        };
        let units: Vec<Millis> = query.units().collect();
        let values: Values<'_> = &[&units, &query.from, &query.to, &code];
        for row in self.query_any(&sql(query.unit, "clicks, bots"), values).await? {
            let point =
                Point { at: row.try_get(0)?, clicks: row.try_get(1)?, bots: row.try_get(2)? };
            stats.series.push(point);
        }
        let days: Vec<Millis> = query.days().collect();
        let from = Unit::Day.floor(query.from);
        let values: Values<'_> = &[&days, &from, &query.to, &code];
        for row in self.query_any(&sql(Unit::Day, "detail"), values).await? {
            let detail = Detail::read(row.try_get(1)?);
            let detail = detail.ok_or_else(|| StoreError::corrupt("a day of clicks"))?;
            stats.add_day(row.try_get(0)?, &detail);
        }
        Ok(stats)
    }

    /// May be a moment old.
    pub(in crate::store) async fn clicks_since(
        &self,
        since: &[(Code, Millis)],
        to: Millis,
    ) -> Result<Vec<u64>, StoreError> {
        let first = since.iter().map(|(_, from)| Unit::Day.floor(*from)).min().unwrap_or(to);
        let days: Vec<Millis> = Unit::Day.steps(first, to).collect();
        let codes: Vec<&str> = since.iter().map(|(code, _)| code.as_str()).collect();
        let sql = "SELECT at, code, clicks FROM clicks_day
                   WHERE at = ANY($1) AND at >= $2 AND at < $3 AND code = ANY($4)";
        let values: Values<'_> = &[&days, &first, &to, &codes];
        let mut found: HashMap<String, Vec<(Millis, i64)>> = HashMap::new();
        for row in self.query_any(sql, values).await? {
            found.entry(row.try_get(1)?).or_default().push((row.try_get(0)?, row.try_get(2)?));
        }
        let sum = |(code, from): &(Code, Millis)| {
            let days = found.get(code.as_str()).into_iter().flatten();
            let days = days.filter(|(at, _)| *at >= Unit::Day.floor(*from));
            days.map(|(_, clicks)| clicks.unsigned_abs()).sum()
        };
        Ok(since.iter().map(sum).collect())
    }

    pub(in crate::store) async fn salt(&self, day: Millis) -> Result<[u8; 32], StoreError> {
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(StoreError::unavailable)?;
        let sql = "INSERT INTO salts (day, salt) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.primary().query(sql, &[&day, &fresh.as_slice()]).await?;
        let sql = "SELECT salt FROM salts WHERE day = $1";
        let row = self.primary().query_one(sql, &[&day]).await?;
        let salt: &[u8] = row.try_get(0)?;
        salt.try_into().map_err(|_| StoreError::corrupt("a salt that is not 32 bytes long"))
    }

    pub(in crate::store) async fn keep_up(&self, keep: Keep) -> Result<Upkeep, StoreError> {
        let now = self.now();
        with_client!(self.primary(), client => keep_up(&mut client, keep, now))
    }
}

async fn count(
    client: &mut Client,
    parts: &Arc<[Part]>,
    keep: Keep,
    now: Millis,
) -> Result<Vec<bool>, Failure> {
    let transaction = client.transaction().await?;
    take_turn(&transaction).await?;
    let new = remember(&transaction, parts).await?;
    if new.contains(&true) {
        let tallies = { (parts.clone(), new.clone()) };
        let rows = aside(move || {
            let (parts, new) = tallies;
            let of = parts.iter().zip(&new).filter(|(_, new)| **new).map(|(part, _)| &part.tally);
            Rows::of(of, |unit| keep.cutoff(unit, now))
        })
        .await?;
        write(&transaction, rows).await?;
    }
    transaction.commit().await?;
    Ok(new)
}

async fn take_turn(transaction: &Transaction<'_>) -> Result<(), Failure> {
    let lock = transaction.prepare_cached("SELECT pg_advisory_xact_lock($1)").await?;
    transaction.execute(&lock, &[&locks::CLICKS]).await?;
    Ok(())
}

/// Does what takes a while on another thread than that of requests.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(StoreError::unavailable)
}

/// Notes parts, and says which of them were not there before.
async fn remember(transaction: &Transaction<'_>, parts: &[Part]) -> Result<Vec<bool>, Failure> {
    let insert = transaction
        .prepare_cached(
            "INSERT INTO batches (id, until) SELECT * FROM UNNEST($1::text[], $2::bigint[])
             ON CONFLICT DO NOTHING RETURNING id",
        )
        .await?;
    let ids: Vec<&str> = parts.iter().map(|part| &*part.id).collect();
    let until: Vec<Millis> = parts.iter().map(|part| part.until).collect();
    let rows = transaction.query(&insert, &[&ids, &until]).await?;
    let mut inserted = HashSet::new();
    for row in &rows {
        inserted.insert(row.try_get::<_, &str>(0)?);
    }
    let settled: Vec<&str> = parts.iter().filter_map(|part| part.settled.as_deref()).collect();
    if !settled.is_empty() {
        let sql = "DELETE FROM batches WHERE id = ANY($1)";
        let forget = transaction.prepare_cached(sql).await?;
        transaction.execute(&forget, &[&settled]).await?;
    }
    // A part that is there twice is new once.
    Ok(parts.iter().map(|part| inserted.remove(&*part.id)).collect())
}

async fn write(transaction: &Transaction<'_>, rows: Rows) -> Result<(), Failure> {
    let Rows { minutes, hours, days } = rows;
    for (unit, counts) in [(Unit::Minute, minutes), (Unit::Hour, hours)] {
        make_missing(transaction, unit, counts.iter().map(|count| count.at)).await?;
        write_counts(transaction, unit, &counts).await?;
    }
    make_missing(transaction, Unit::Day, days.iter().map(|(at, ..)| *at)).await?;
    let mut by_day: BTreeMap<Millis, Vec<(Box<str>, Detail)>> = BTreeMap::new();
    for (at, code, detail) in days {
        by_day.entry(at).or_default().push((code, detail));
    }
    for (at, days) in by_day {
        write_days(transaction, at, days).await?;
    }
    Ok(())
}

async fn write_counts(
    transaction: &Transaction<'_>,
    unit: Unit,
    counts: &[Count],
) -> Result<(), Failure> {
    let table = unit.table();
    let sql = format!(
        "INSERT INTO {table} (at, code, clicks, bots)
         SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])
         ON CONFLICT (at, code) DO UPDATE SET clicks = {table}.clicks + excluded.clicks,
             bots = {table}.bots + excluded.bots"
    );
    let put = transaction.prepare_cached(&sql).await?;
    let at: Vec<Millis> = counts.iter().map(|count| count.at).collect();
    let codes: Vec<&str> = counts.iter().map(|count| &*count.code).collect();
    let clicks: Vec<i64> = counts.iter().map(|count| count.clicks).collect();
    let bots: Vec<i64> = counts.iter().map(|count| count.bots).collect();
    transaction.execute(&put, &[&at, &codes, &clicks, &bots]).await?;
    Ok(())
}

/// Joins days of links with what is known of them. Nobody else does so meanwhile.
async fn write_days(
    transaction: &Transaction<'_>,
    at: Millis,
    days: Vec<(Box<str>, Detail)>,
) -> Result<(), Failure> {
    let sql = "SELECT code, detail FROM clicks_day WHERE at = $1 AND code = ANY($2)";
    let find = transaction.prepare_cached(sql).await?;
    let codes: Vec<&str> = days.iter().map(|(code, _)| &**code).collect();
    let mut known: HashMap<Box<str>, Vec<u8>> = HashMap::new();
    for row in transaction.query(&find, &[&at, &codes]).await? {
        known.insert(row.try_get::<_, &str>(0)?.into(), row.try_get(1)?);
    }
    let (codes, clicks, bots, details) = aside(move || {
        let (mut codes, mut details) = (Vec::new(), Vec::new());
        let (mut clicks, mut bots) = (Vec::new(), Vec::new());
        for (code, detail) in days {
            let detail = match known.get(&code) {
                Some(known) => merged(known, &detail, &code),
                None => detail,
            };
            clicks.push(signed(detail.clicks()));
            bots.push(signed(detail.bots()));
            details.push(detail.write());
            codes.push(String::from(code));
        }
        (codes, clicks, bots, details)
    })
    .await?;
    let put = transaction
        .prepare_cached(
            "INSERT INTO clicks_day (at, code, clicks, bots, detail)
             SELECT $1::bigint, * FROM UNNEST($2::text[], $3::bigint[], $4::bigint[], $5::bytea[])
             ON CONFLICT (at, code) DO UPDATE SET clicks = excluded.clicks,
                 bots = excluded.bots, detail = excluded.detail",
        )
        .await?;
    transaction.execute(&put, &[&at, &codes, &clicks, &bots, &details]).await?;
    Ok(())
}

/// Makes the partitions that these moments are in, if they are missing.
async fn make_missing(
    transaction: &Transaction<'_>,
    unit: Unit,
    moments: impl Iterator<Item = Millis>,
) -> Result<(), Failure> {
    let mut wanted: Vec<Partition> = Vec::new();
    for at in moments {
        if !wanted.last().is_some_and(|last| (last.from..last.to).contains(&at)) {
            wanted.extend(unit.partition(at));
        }
    }
    let names: Vec<&str> = wanted.iter().map(|partition| &*partition.name).collect();
    let sql =
        "SELECT name FROM UNNEST($1::text[]) AS wanted (name) WHERE to_regclass(name) IS NULL";
    let missing = transaction.prepare_cached(sql).await?;
    let missing = transaction.query(&missing, &[&names]).await?;
    for row in missing {
        let name: &str = row.try_get(0)?;
        if let Some(partition) = wanted.iter().find(|partition| partition.name == name) {
            make(transaction, unit, partition).await?;
        }
    }
    Ok(())
}

/// Makes a partition beside the table and then attaches it, which keeps nobody from reading or
/// writing the others.
async fn make(
    transaction: &Transaction<'_>,
    unit: Unit,
    partition: &Partition,
) -> Result<(), Failure> {
    let Partition { name, from, to } = partition;
    let table = unit.table();
    transaction
        .batch_execute(&format!(
            "CREATE TABLE {name} (LIKE {table} INCLUDING ALL) WITH (fillfactor = {FILL});
             ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
        ))
        .await?;
    Ok(())
}

async fn keep_up(client: &mut Client, keep: Keep, now: Millis) -> Result<Upkeep, Failure> {
    let transaction = client.transaction().await?;
    take_turn(&transaction).await?;
    let mut upkeep = Upkeep::default();
    for unit in Unit::ALL {
        let sql = "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                   WHERE inhparent = $1::text::regclass";
        let tables = transaction.prepare_cached(sql).await?;
        let mut there = HashSet::new();
        for row in transaction.query(&tables, &[&unit.table()]).await? {
            there.insert(row.try_get::<_, String>(0)?);
        }
        for partition in ahead(unit, now) {
            if !there.contains(&partition.name) {
                make(&transaction, unit, &partition).await?;
                upkeep.made += 1;
            }
        }
        let cutoff = keep.cutoff(unit, now);
        let named = |name: &String| unit.partition_named(name);
        for partition in there.iter().filter_map(named).filter(|it| it.to <= cutoff) {
            // It waits for who reads the table; who comes then waits behind it, so not for long.
            transaction
                .batch_execute(&format!(
                    "SET LOCAL lock_timeout = '2s'; DROP TABLE {}; SET LOCAL lock_timeout = 0",
                    partition.name
                ))
                .await?;
            upkeep.dropped += 1;
        }
    }
    let sql = "DELETE FROM salts WHERE day < $1";
    upkeep.salts = transaction.execute(sql, &[&day_of(now, -1)]).await?;
    upkeep.batches = transaction.execute("DELETE FROM batches WHERE until < $1", &[&now]).await?;
    transaction.commit().await?;
    Ok(upkeep)
}
