//! Clicks in a file: a table for each day of minutes, month of hours and year of days.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::{Sqlite, StoreError};
use crate::clicks::detail::Detail;
use crate::clicks::stats::{Point, Stats, StatsQuery};
use crate::clicks::tally::{Count, Part, Rows, signed};
use crate::clicks::unit::{Keep, Partition, Unit};
use crate::link::{Code, Millis};
use crate::store::{Upkeep, ahead, day_of};

impl Sqlite {
    pub(in crate::store) async fn count(
        &self,
        parts: Arc<[Part]>,
        keep: Keep,
    ) -> Result<Vec<bool>, StoreError> {
        let now = self.now();
        // The writer is for all; one part is nearly always new, so that its rows can be made
        // before.
        let rows = {
            let parts = parts.clone();
            let rows = move || match &*parts {
                [part] => Some(rows_of([part], keep, now)),
                _ => None,
            };
            tokio::task::spawn_blocking(rows).await.map_err(StoreError::unavailable)?
        };
        self.write(move |connection| {
            let new = remember(connection, &parts)?;
            if !new.contains(&true) {
                return Ok(new);
            }
            let rows = rows.unwrap_or_else(|| {
                let of = parts.iter().zip(&new).filter(|(_, new)| **new).map(|(part, _)| part);
                rows_of(of, keep, now)
            });
            write(connection, &rows)?;
            Ok(new)
        })
        .await
    }

    pub(in crate::store) async fn stats(&self, query: &StatsQuery) -> Result<Stats, StoreError> {
        let query = query.clone();
        self.query(move |connection| stats(connection, &query)).await
    }

    pub(in crate::store) async fn clicks_since(
        &self,
        since: &[(Code, Millis)],
        to: Millis,
    ) -> Result<Vec<u64>, StoreError> {
        let since = since.to_vec();
        self.query(move |connection| {
            let mut sums = Vec::with_capacity(since.len());
            for (code, from) in &since {
                let mut sum = 0;
                each(
                    connection,
                    Unit::Day,
                    Unit::Day.steps(*from, to),
                    "clicks",
                    code.as_str(),
                    |_, row| {
                        sum += row.get::<_, i64>(0)?.unsigned_abs();
                        Ok(())
                    },
                )?;
                sums.push(sum);
            }
            Ok(sums)
        })
        .await
    }

    pub(in crate::store) async fn salt(&self, day: Millis) -> Result<[u8; 32], StoreError> {
        self.write(move |connection| {
            let mut fresh = [0; 32];
            getrandom::fill(&mut fresh).map_err(StoreError::unavailable)?;
            connection
                .prepare_cached(
                    "INSERT INTO salts (day, salt) VALUES (?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute((day, fresh))?;
            let sql = "SELECT salt FROM salts WHERE day = ?";
            Ok(connection.prepare_cached(sql)?.query_row([day], |row| row.get(0))?)
        })
        .await
    }

    pub(in crate::store) async fn keep_up(&self, keep: Keep) -> Result<Upkeep, StoreError> {
        let now = self.now();
        self.write(move |connection| {
            // What is deleted is overwritten: salts are to be gone.
            connection.pragma_update(None, "secure_delete", "fast")?;
            let mut upkeep = Upkeep::default();
            for unit in Unit::ALL {
                let there = tables(connection, unit)?;
                for partition in ahead(unit, now) {
                    if !there.contains(&partition.name) {
                        make(connection, unit, &partition)?;
                        upkeep.made += 1;
                    }
                }
                let cutoff = keep.cutoff(unit, now);
                let named = |name: &String| unit.partition_named(name);
                for partition in there.iter().filter_map(named).filter(|it| it.to <= cutoff) {
                    connection.execute_batch(&format!("DROP TABLE {}", partition.name))?;
                    upkeep.dropped += 1;
                }
            }
            let sql = "DELETE FROM salts WHERE day < ?";
            upkeep.salts = connection.prepare_cached(sql)?.execute([day_of(now, -1)])? as u64;
            let sql = "DELETE FROM batches WHERE until < ?";
            upkeep.batches = connection.prepare_cached(sql)?.execute([now])? as u64;
            Ok(upkeep)
        })
        .await
    }
}

fn rows_of<'a>(parts: impl IntoIterator<Item = &'a Part>, keep: Keep, now: Millis) -> Rows {
    Rows::of(parts.into_iter().map(|part| &part.tally), |unit| keep.cutoff(unit, now))
}

/// Notes parts, and says which of them were not there before.
fn remember(connection: &Connection, parts: &[Part]) -> Result<Vec<bool>, StoreError> {
    let sql = "INSERT INTO batches (id, until) VALUES (?, ?) ON CONFLICT DO NOTHING";
    let mut insert = connection.prepare_cached(sql)?;
    let mut forget = connection.prepare_cached("DELETE FROM batches WHERE id = ?")?;
    let mut new = Vec::with_capacity(parts.len());
    for part in parts {
        new.push(insert.execute((&part.id, part.until))? > 0);
        if let Some(settled) = &part.settled {
            forget.execute([settled])?;
        }
    }
    Ok(new)
}

fn write(connection: &Connection, rows: &Rows) -> Result<(), StoreError> {
    write_counts(connection, Unit::Minute, &rows.minutes)?;
    write_counts(connection, Unit::Hour, &rows.hours)?;
    for (partition, days) in in_partitions(Unit::Day, &rows.days, |(at, ..)| *at) {
        make(connection, Unit::Day, &partition)?;
        let name = &partition.name;
        let find = format!("SELECT detail FROM {name} WHERE at = ? AND code = ?");
        let mut find = connection.prepare_cached(&find)?;
        let put = format!(
            "INSERT INTO {name} (at, code, clicks, bots, detail) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (at, code) DO UPDATE SET clicks = excluded.clicks,
                 bots = excluded.bots, detail = excluded.detail"
        );
        let mut put = connection.prepare_cached(&put)?;
        for (at, code, detail) in days {
            let known: Option<Vec<u8>> = find.query_row((at, code), |row| row.get(0)).optional()?;
            let merged = match known {
                Some(known) => &crate::store::merged(&known, detail, code),
                None => detail,
            };
            let (clicks, bots) = (signed(merged.clicks()), signed(merged.bots()));
            put.execute((at, code, clicks, bots, merged.write()))?;
        }
    }
    Ok(())
}

fn write_counts(connection: &Connection, unit: Unit, counts: &[Count]) -> Result<(), StoreError> {
    for (partition, counts) in in_partitions(unit, counts, |count| count.at) {
        make(connection, unit, &partition)?;
        let sql = format!(
            "INSERT INTO {} (at, code, clicks, bots) VALUES (?, ?, ?, ?)
             ON CONFLICT (at, code) DO UPDATE SET clicks = clicks + excluded.clicks,
                 bots = bots + excluded.bots",
            partition.name
        );
        let mut put = connection.prepare_cached(&sql)?;
        for Count { at, code, clicks, bots } in counts {
            put.execute((at, code, clicks, bots))?;
        }
    }
    Ok(())
}

/// Rows, which are in the order of time, by the tables that they are for.
fn in_partitions<T>(
    unit: Unit,
    mut rows: &[T],
    at: impl Fn(&T) -> Millis,
) -> Vec<(Partition, &[T])> {
    let mut parts = Vec::new();
    while let Some(first) = rows.first() {
        // Moments without a table are not let in.
        let Some(partition) = unit.partition(at(first)) else { break };
        let (these, rest) = rows.split_at(rows.partition_point(|row| at(row) < partition.to));
        parts.push((partition, these));
        rows = rest;
    }
    parts
}

/// Makes a table if it is missing. The time comes first in its key: what is written is together.
fn make(connection: &Connection, unit: Unit, partition: &Partition) -> Result<(), StoreError> {
    let detail = if unit == Unit::Day { "detail BLOB NOT NULL," } else { "" };
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {} (
             at INTEGER NOT NULL,
             code TEXT NOT NULL,
             clicks INTEGER NOT NULL,
             bots INTEGER NOT NULL,
             {detail}
             PRIMARY KEY (at, code)
         ) STRICT, WITHOUT ROWID",
        partition.name
    ))?;
    Ok(())
}

/// The tables of a unit that are there.
fn tables(connection: &Connection, unit: Unit) -> Result<HashSet<String>, StoreError> {
    let sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name GLOB ?";
    let mut statement = connection.prepare_cached(sql)?;
    let pattern = format!("{}_[0-9]*", unit.table());
    let names = statement.query_map([pattern], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn stats(connection: &Connection, query: &StatsQuery) -> Result<Stats, StoreError> {
    let (code, mut stats) = (query.stored_code(), Stats::default());
    each(connection, query.unit, query.units(), "clicks, bots", code, |at, row| {
        stats.series.push(Point { at, clicks: row.get(0)?, bots: row.get(1)? });
        Ok(())
    })?;
    each(connection, Unit::Day, query.days(), "detail", code, |at, row| {
        let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let detail = Detail::read(bytes);
        let detail = detail.ok_or_else(|| StoreError::corrupt("a day of clicks"))?;
        stats.add_day(at, &detail);
        Ok(())
    })?;
    Ok(stats)
}

/// Calls `found` with each row of a link that is there. One look-up for each: they are far apart.
fn each(
    connection: &Connection,
    unit: Unit,
    units: impl Iterator<Item = Millis>,
    columns: &str,
    code: &str,
    mut found: impl FnMut(Millis, &rusqlite::Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let there = tables(connection, unit)?;
    let mut units = units.peekable();
    while let Some(first) = units.peek() {
        let Some(partition) = unit.partition(*first) else { break };
        let in_this = std::iter::from_fn(|| units.next_if(|at| *at < partition.to));
        if !there.contains(&partition.name) {
            in_this.for_each(drop);
            continue;
        }
        let name = &partition.name;
        let sql = format!("SELECT {columns} FROM {name} WHERE at = ? AND code = ?");
        let mut statement = connection.prepare_cached(&sql)?;
        for at in in_this {
            let mut rows = statement.query((at, code))?;
            if let Some(row) = rows.next()? {
                found(at, row)?;
            }
        }
    }
    Ok(())
}
