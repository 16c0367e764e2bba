//! The list of changes that caches catch up from.
//!
//! Numbers of a sequence are given before a transaction ends, so that a later number could become
//! visible first, and whoever follows would miss the earlier one. Therefore whoever adds to the
//! list holds a lock to the end of its transaction, and takes it last.

use deadpool_postgres::Transaction;

use super::error::Failure;
use super::{Postgres, StoreError, locks};
use crate::link::{Code, Millis};
use crate::store::{Change, Changes, patch};

impl Postgres {
    pub(in crate::store) async fn last_change(&self) -> Result<i64, StoreError> {
        let sql = "SELECT COALESCE(MAX(seq), 0) FROM changes";
        Ok(self.primary().query_one(sql, &[]).await?.try_get(0)?)
    }

    pub(in crate::store) async fn changes_after(
        &self,
        seq: i64,
        limit: u32,
    ) -> Result<Changes, StoreError> {
        let sql = "SELECT MIN(seq) FROM changes";
        let first: Option<i64> = self.primary().query_one(sql, &[]).await?.try_get(0)?;
        let sql = "SELECT seq, code, at FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = self.primary().query(sql, &[&seq, &i64::from(limit)]).await?;
        let change = |row: tokio_postgres::Row| -> Result<Change, StoreError> {
            Ok(Change {
                seq: row.try_get(0)?,
                code: patch::code_of(row.try_get(1)?)?,
                at: row.try_get(2)?,
            })
        };
        let changes = rows.into_iter().map(change).collect::<Result<_, _>>()?;
        let incomplete = first.is_some_and(|first| first > seq.saturating_add(1));
        Ok(Changes { changes, incomplete })
    }

    pub(in crate::store) async fn forget_changes(&self, before: Millis) -> Result<u64, StoreError> {
        // Up to the first that is to be kept; the last one stays in any case.
        let sql = "WITH gone AS (
                       DELETE FROM changes WHERE seq < COALESCE(
                           (SELECT seq FROM changes WHERE at >= $1 ORDER BY seq LIMIT 1),
                           (SELECT MAX(seq) FROM changes))
                       RETURNING 1)
                   SELECT COUNT(*) FROM gone";
        let count: i64 = self.primary().query_one(sql, &[&before]).await?.try_get(0)?;
        Ok(count.unsigned_abs())
    }
}

/// Notes changes as the last thing before the transaction ends.
pub(super) async fn insert(
    transaction: &Transaction<'_>,
    codes: &[&str],
    now: Millis,
) -> Result<(), Failure> {
    if codes.is_empty() {
        return Ok(());
    }
    let lock = transaction.prepare_cached("SELECT pg_advisory_xact_lock($1)").await?;
    transaction.execute(&lock, &[&locks::CHANGES]).await?;
    let sql =
        "INSERT INTO changes (code, at) SELECT code, $2 FROM UNNEST($1::text[]) AS new (code)";
    let insert = transaction.prepare_cached(sql).await?;
    transaction.execute(&insert, &[&codes, &now]).await?;
    Ok(())
}

/// The same of one link.
pub(super) async fn insert_one(
    transaction: &Transaction<'_>,
    code: &Code,
    now: Millis,
) -> Result<(), Failure> {
    insert(transaction, &[code.as_str()], now).await
}
