//! Brings the tables of a file up to date.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;
use crate::link::Millis;

/// What was added to the tables, in order. What is here once never changes.
const MIGRATIONS: &[(&str, &str)] = &[
    ("links", include_str!("../migrations/sqlite/0001-links.sql")),
    ("clicks", include_str!("../migrations/sqlite/0002-clicks.sql")),
];

/// Applies what is missing. Processes that do so at once wait for each other.
pub(super) fn bring_up_to_date(connection: &mut Connection, now: Millis) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (
             number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied INTEGER NOT NULL
         ) STRICT",
    )?;
    let applied: i64 =
        transaction
            .query_row("SELECT COALESCE(MAX(number), 0) FROM migrations", [], |row| row.get(0))?;
    let applied = usize::try_from(applied).map_err(StoreError::corrupt)?;
    if applied > MIGRATIONS.len() {
        return Err(StoreError::unusable(
            "the database was made by a newer version of this program",
        ));
    }
    for (index, (name, sql)) in MIGRATIONS.iter().enumerate().skip(applied) {
        transaction.execute_batch(sql)?;
        let row = (index as i64 + 1, name, now);
        transaction
            .execute("INSERT INTO migrations (number, name, applied) VALUES (?, ?, ?)", row)?;
    }
    transaction.commit()?;
    Ok(())
}
