//! API keys.

use tokio_postgres::Row;

use super::error::Failure;
use super::server::{Client, with_client};
use super::{Postgres, StoreError, locks};
use crate::link::Millis;
use crate::store::{Key, MOST_KEYS, NewKey};

const INSERT: &str = "INSERT INTO keys (hash, name, scopes, created) VALUES ($1, $2, $3, $4)
     RETURNING id, name, scopes, created, revoked";

const EXIST: &str = "SELECT EXISTS (SELECT 1 FROM keys)";

impl Postgres {
    pub(in crate::store) async fn create_key(&self, key: NewKey) -> Result<Key, StoreError> {
        let now = self.now();
        let rows = self
            .primary()
            .change(INSERT, &[&key.hash.as_slice(), &key.name, &key.scopes, &now])
            .await?;
        key_of(rows.first().ok_or_else(|| StoreError::corrupt("a row is missing"))?)
    }

    pub(in crate::store) async fn create_first_key(
        &self,
        key: NewKey,
    ) -> Result<Option<Key>, StoreError> {
        let now = self.now();
        with_client!(self.primary(), client => create_first(&mut client, &key, now))
    }

    pub(in crate::store) async fn key_by_hash(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<Key>, StoreError> {
        let sql = "SELECT id, name, scopes, created, revoked FROM keys WHERE hash = $1";
        let rows = self.primary().query(sql, &[&hash.as_slice()]).await?;
        rows.first().map(key_of).transpose()
    }

    pub(in crate::store) async fn keys(&self) -> Result<Vec<Key>, StoreError> {
        let sql = "SELECT id, name, scopes, created, revoked FROM keys ORDER BY id LIMIT $1";
        let rows = self.primary().query(sql, &[&i64::from(MOST_KEYS)]).await?;
        rows.iter().map(key_of).collect()
    }

    pub(in crate::store) async fn revoke_key(&self, id: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE keys SET revoked = $1 WHERE id = $2 AND revoked IS NULL RETURNING id";
        Ok(!self.primary().change(sql, &[&self.now(), &id]).await?.is_empty())
    }

    pub(in crate::store) async fn has_keys(&self) -> Result<bool, StoreError> {
        Ok(self.primary().query_one(EXIST, &[]).await?.try_get(0)?)
    }
}

async fn create_first(
    client: &mut Client,
    key: &NewKey,
    now: Millis,
) -> Result<Option<Key>, Failure> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&locks::FIRST_KEY]).await?;
    if transaction.query_one(EXIST, &[]).await?.try_get(0)? {
        return Ok(None);
    }
    let row = transaction
        .query_one(INSERT, &[&key.hash.as_slice(), &key.name, &key.scopes, &now])
        .await?;
    transaction.commit().await?;
    Ok(Some(key_of(&row)?))
}

fn key_of(row: &Row) -> Result<Key, StoreError> {
    Ok(Key {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        scopes: row.try_get(2)?,
        created: row.try_get(3)?,
        revoked: row.try_get(4)?,
    })
}
