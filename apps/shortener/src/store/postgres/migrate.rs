//! Brings the tables of a server up to date.

use super::error::Failure;
use super::server::{Client, Server};
use super::{StoreError, locks};
use crate::link::Millis;

/// What was added to the tables, in order. What is here once never changes.
const MIGRATIONS: &[(&str, &str)] = &[
    ("links", include_str!("../migrations/postgres/0001-links.sql")),
    ("clicks", include_str!("../migrations/postgres/0002-clicks.sql")),
];

/// Applies what is missing, in one transaction. Instances that do so at once wait for each other.
pub(super) async fn bring_up_to_date(server: &Server, now: Millis) -> Result<(), StoreError> {
    let mut client = server.client().await?;
    match apply(&mut client, now).await {
        Ok(()) => Ok(()),
        Err(Failure::Conflict(error) | Failure::Other(error)) => Err(error),
    }
}

async fn apply(client: &mut Client, now: Millis) -> Result<(), Failure> {
    let transaction = client.transaction().await?;
    // Neither the wait for others nor a large change is ended by a limit meant for requests.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&locks::MIGRATION]).await?;
    // Who may use the tables may not always make some.
    let row = transaction.query_one("SELECT to_regclass('migrations') IS NULL", &[]).await?;
    if row.try_get(0)? {
        transaction
            .batch_execute(
                "CREATE TABLE migrations (
                     number bigint PRIMARY KEY, name text NOT NULL, applied bigint NOT NULL
                 )",
            )
            .await?;
    }
    let row = transaction.query_one("SELECT COALESCE(MAX(number), 0) FROM migrations", &[]).await?;
    let applied: i64 = row.try_get(0)?;
    let applied = usize::try_from(applied).map_err(StoreError::corrupt)?;
    if applied > MIGRATIONS.len() {
        let error = "the database was made by a newer version of this program";
        return Err(StoreError::unusable(error).into());
    }
    for (index, (name, sql)) in MIGRATIONS.iter().enumerate().skip(applied) {
        transaction.batch_execute(sql).await?;
        let insert = "INSERT INTO migrations (number, name, applied) VALUES ($1, $2, $3)";
        transaction.execute(insert, &[&(index as i64 + 1), name, &now]).await?;
    }
    Ok(transaction.commit().await?)
}
