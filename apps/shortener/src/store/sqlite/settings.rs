//! Values under a name.

use rusqlite::Connection;

use super::{Sqlite, StoreError};

impl Sqlite {
    pub(in crate::store) async fn secret(&self, name: &str) -> Result<[u8; 32], StoreError> {
        let name = name.to_owned();
        self.write(move |connection| secret(connection, &name)).await
    }
}

/// The secret, made if it is missing.
pub(super) fn secret(connection: &Connection, name: &str) -> Result<[u8; 32], StoreError> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(StoreError::unavailable)?;
    connection
        .prepare_cached("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING")?
        .execute((name, fresh))?;
    let secret = connection
        .prepare_cached("SELECT value FROM settings WHERE name = ?")?
        .query_row([name], |row| row.get(0))?;
    Ok(secret)
}
