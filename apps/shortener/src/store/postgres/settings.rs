//! Values under a name.

use super::server::Server;
use super::{Postgres, StoreError};

impl Postgres {
    pub(in crate::store) async fn secret(&self, name: &str) -> Result<[u8; 32], StoreError> {
        secret(self.primary(), name).await
    }
}

/// The secret, made if it is missing.
pub(super) async fn secret(server: &Server, name: &str) -> Result<[u8; 32], StoreError> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(StoreError::unavailable)?;
    let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    server.query(sql, &[&name, &fresh.as_slice()]).await?;
    let row = server.query_one("SELECT value FROM settings WHERE name = $1", &[&name]).await?;
    let secret: &[u8] = row.try_get(0)?;
    secret.try_into().map_err(|_| StoreError::corrupt("a secret that is not 32 bytes long"))
}
