//! Creations that are made once, however often they are asked for.

use rusqlite::OptionalExtension;

use super::{Sqlite, StoreError, links};
use crate::link::NewLink;
use crate::store::{Once, REMEMBERED, record};

impl Sqlite {
    /// Never `InProgress`: the writer does one thing after another.
    pub(in crate::store) async fn create_once(
        &self,
        owner: i64,
        key: &str,
        fingerprint: [u8; 32],
        links: Vec<NewLink>,
    ) -> Result<Once, StoreError> {
        let (codes, key, now) = (self.codes().clone(), key.to_owned(), self.now());
        self.write(move |connection| {
            let sql = "SELECT fingerprint, answer FROM idempotency
                       WHERE owner = ? AND key = ? AND created > ?";
            let found: Option<([u8; 32], String)> = connection
                .prepare_cached(sql)?
                .query_row((owner, &key, now - REMEMBERED), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match found {
                Some((before, _)) if before != fingerprint => return Ok(Once::Mismatch),
                Some((_, answer)) => return record::read(&answer).map(Once::Replayed),
                None => {}
            }
            let created = links::create(connection, &codes, links, now)?;
            let sql = "INSERT INTO idempotency (owner, key, fingerprint, answer, created)
                       VALUES (?, ?, ?, ?, ?)
                       ON CONFLICT (owner, key) DO UPDATE SET fingerprint = excluded.fingerprint,
                           answer = excluded.answer, created = excluded.created";
            let row = (owner, &key, fingerprint, record::write(&created), now);
            connection.prepare_cached(sql)?.execute(row)?;
            Ok(Once::Created(created))
        })
        .await
    }

    pub(in crate::store) async fn forget_once(&self) -> Result<u64, StoreError> {
        let before = self.now() - REMEMBERED;
        self.write(move |connection| {
            let sql = "DELETE FROM idempotency WHERE created <= ?";
            Ok(connection.prepare_cached(sql)?.execute([before])? as u64)
        })
        .await
    }
}
