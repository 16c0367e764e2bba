//! API keys.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{Sqlite, StoreError};
use crate::link::Millis;
use crate::store::{Key, MOST_KEYS, NewKey};

impl Sqlite {
    pub(in crate::store) async fn create_key(&self, key: NewKey) -> Result<Key, StoreError> {
        let now = self.now();
        self.write(move |connection| create(connection, key, now)).await
    }

    pub(in crate::store) async fn create_first_key(
        &self,
        key: NewKey,
    ) -> Result<Option<Key>, StoreError> {
        let now = self.now();
        self.write(move |connection| match exist(connection)? {
            true => Ok(None),
            false => create(connection, key, now).map(Some),
        })
        .await
    }

    pub(in crate::store) async fn key_by_hash(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<Key>, StoreError> {
        self.look_up(|connection| {
            let sql = "SELECT id, name, scopes, created, revoked FROM keys WHERE hash = ?";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([hash], key_of).optional()?)
        })
    }

    pub(in crate::store) async fn keys(&self) -> Result<Vec<Key>, StoreError> {
        self.query(|connection| {
            let sql = "SELECT id, name, scopes, created, revoked FROM keys ORDER BY id LIMIT ?";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_map([MOST_KEYS], key_of)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    pub(in crate::store) async fn revoke_key(&self, id: i64) -> Result<bool, StoreError> {
        let now = self.now();
        self.write(move |connection| {
            let sql = "UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL";
            Ok(connection.prepare_cached(sql)?.execute((now, id))? > 0)
        })
        .await
    }

    pub(in crate::store) async fn has_keys(&self) -> Result<bool, StoreError> {
        self.look_up(exist)
    }
}

fn exist(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM keys)";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

fn create(connection: &Connection, key: NewKey, now: Millis) -> Result<Key, StoreError> {
    let NewKey { name, hash, scopes } = key;
    connection
        .prepare_cached("INSERT INTO keys (hash, name, scopes, created) VALUES (?, ?, ?, ?)")?
        .execute((hash, &name, &scopes, now))?;
    let id = connection.last_insert_rowid();
    Ok(Key { id, name, scopes, created: now, revoked: None })
}

fn key_of(row: &Row<'_>) -> Result<Key, rusqlite::Error> {
    Ok(Key {
        id: row.get(0)?,
        name: row.get(1)?,
        scopes: row.get(2)?,
        created: row.get(3)?,
        revoked: row.get(4)?,
    })
}
