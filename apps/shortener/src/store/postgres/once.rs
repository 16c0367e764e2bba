//! Creations that are made once, however often they are asked for.

use super::error::Failure;
use super::links::{self, Wanted};
use super::server::{Client, with_client};
use super::{Postgres, StoreError, changes, locks};
use crate::link::NewLink;
use crate::store::{Once, REMEMBERED, record};

/// Who asks for what, under which key.
struct Ask<'a> {
    owner: i64,
    key: &'a str,
    fingerprint: [u8; 32],
}

impl Postgres {
    pub(in crate::store) async fn create_once(
        &self,
        owner: i64,
        key: &str,
        fingerprint: [u8; 32],
        links: Vec<NewLink>,
    ) -> Result<Once, StoreError> {
        let ask = Ask { owner, key, fingerprint };
        let wanted = self.wanted(links).await?;
        with_client!(self.primary(), client => create_once(self, &mut client, &ask, &wanted))
    }

    pub(in crate::store) async fn forget_once(&self) -> Result<u64, StoreError> {
        let sql = "WITH gone AS (DELETE FROM idempotency WHERE created <= $1 RETURNING 1)
                   SELECT COUNT(*) FROM gone";
        let before = self.now() - REMEMBERED;
        let count: i64 = self.primary().query_one(sql, &[&before]).await?.try_get(0)?;
        Ok(count.unsigned_abs())
    }
}

async fn create_once(
    store: &Postgres,
    client: &mut Client,
    ask: &Ask<'_>,
    wanted: &Wanted,
) -> Result<Once, Failure> {
    let now = wanted.now;
    let &Ask { owner, key, fingerprint } = ask;
    let transaction = client.transaction().await?;
    let lock = transaction.prepare_cached("SELECT pg_try_advisory_xact_lock($1)").await?;
    let row = transaction.query_one(&lock, &[&locks::creation(owner, key)]).await?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(Once::InProgress);
    }
    let find = "SELECT fingerprint, answer FROM idempotency
                WHERE owner = $1 AND key = $2 AND created > $3";
    let find = transaction.prepare_cached(find).await?;
    let since = now - REMEMBERED;
    if let Some(row) = transaction.query_opt(&find, &[&owner, &key, &since]).await? {
        let once = match row.try_get::<_, &[u8]>(0)? == fingerprint {
            true => Once::Replayed(record::read(row.try_get(1)?)?),
            false => Once::Mismatch,
        };
        // Waited for, so that whoever asks again after the answer does not find it locked.
        transaction.rollback().await?;
        return Ok(once);
    }
    let created = links::create(store, &transaction, wanted).await?;
    let insert = "INSERT INTO idempotency (owner, key, fingerprint, answer, created)
                  VALUES ($1, $2, $3, $4, $5)
                  ON CONFLICT (owner, key) DO UPDATE SET fingerprint = excluded.fingerprint,
                      answer = excluded.answer, created = excluded.created";
    let insert = transaction.prepare_cached(insert).await?;
    let answer = record::write(&created.links);
    transaction.execute(&insert, &[&owner, &key, &fingerprint.as_slice(), &answer, &now]).await?;
    changes::insert(&transaction, &created.aliases(), now).await?;
    transaction.commit().await?;
    Ok(Once::Created(created.links))
}
