//! The list of changes that caches catch up from. The writer is alone, so that numbers are in the
//! order of transactions.

use rusqlite::Connection;

use super::{Sqlite, StoreError};
use crate::link::{Code, Millis};
use crate::store::{Change, Changes, patch};

impl Sqlite {
    pub(in crate::store) async fn last_change(&self) -> Result<i64, StoreError> {
        self.look_up(|connection| {
            let sql = "SELECT COALESCE(MAX(seq), 0) FROM changes";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
    }

    pub(in crate::store) async fn changes_after(
        &self,
        seq: i64,
        limit: u32,
    ) -> Result<Changes, StoreError> {
        // Nearly always; and whoever follows changes does not wait behind lists and reports.
        if self.last_change().await? <= seq {
            return Ok(Changes { changes: Vec::new(), incomplete: false });
        }
        self.query(move |connection| {
            let first: Option<i64> = connection
                .prepare_cached("SELECT MIN(seq) FROM changes")?
                .query_row([], |row| row.get(0))?;
            let incomplete = first.is_some_and(|first| first > seq.saturating_add(1));
            let sql = "SELECT seq, code, at FROM changes WHERE seq > ? ORDER BY seq LIMIT ?";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query((seq, limit))?;
            let mut changes = Vec::new();
            while let Some(row) = rows.next()? {
                let code =
                    patch::code_of(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
                changes.push(Change { seq: row.get(0)?, code, at: row.get(2)? });
            }
            Ok(Changes { changes, incomplete })
        })
        .await
    }

    pub(in crate::store) async fn forget_changes(&self, before: Millis) -> Result<u64, StoreError> {
        self.write(move |connection| {
            // Up to the first that is to be kept; the last one stays in any case.
            let sql = "DELETE FROM changes WHERE seq < COALESCE(
                           (SELECT seq FROM changes WHERE at >= ? ORDER BY seq LIMIT 1),
                           (SELECT MAX(seq) FROM changes))";
            Ok(connection.prepare_cached(sql)?.execute([before])? as u64)
        })
        .await
    }
}

/// Notes a change in the transaction that makes it.
pub(super) fn insert(connection: &Connection, code: &Code, now: Millis) -> Result<(), StoreError> {
    let sql = "INSERT INTO changes (code, at) VALUES (?, ?)";
    connection.prepare_cached(sql)?.execute((code.as_str(), now))?;
    Ok(())
}
