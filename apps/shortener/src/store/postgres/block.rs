//! The numbers of codes that this instance was given. Instances ask the database for a block at a
//! time, so that they do not wait for each other at every link. What a process did not use of its
//! block when it ended is lost: there are 3.5 million million.

use std::ops::Range;

use deadpool_postgres::GenericClient;
use tokio::sync::Mutex;

use super::StoreError;
use super::error::Failure;
use super::server::Server;

/// Numbers of a block.
const BLOCK: u64 = 1_000;

const TAKE: &str = "UPDATE blocks SET next = next + $1 WHERE name = 'codes' RETURNING next";

/// What is left of the blocks.
#[derive(Debug, Default)]
pub(super) struct Block {
    left: Mutex<Range<u64>>,
}

impl Block {
    /// `count` numbers that nobody else is given. Who comes while a block is asked for waits, so
    /// that it must not hold a connection meanwhile.
    pub(super) async fn take(&self, server: &Server, count: usize) -> Result<Vec<u64>, StoreError> {
        let mut left = self.left.lock().await;
        let mut numbers: Vec<u64> = left.by_ref().take(count).collect();
        let missing = (count - numbers.len()) as u64;
        if missing > 0 {
            let size = missing.max(BLOCK);
            // Done twice, it only skips a block.
            let next = server.query_one(TAKE, &[&signed(size)?]).await?.try_get(0)?;
            *left = block(next, size)?;
            numbers.extend(left.by_ref().take(missing as usize));
        }
        Ok(numbers)
    }

    /// `count` numbers for links whose codes were in use, by way of `client`. An alias in the way
    /// is passed over by one number. If that does not do (`again`), the sequence is behind what is
    /// stored, as after a failover to a replica that had not heard of the last blocks: the block
    /// is given up, and others are skipped.
    pub(super) async fn replace(
        &self,
        client: &impl GenericClient,
        count: usize,
        again: bool,
    ) -> Result<Vec<u64>, Failure> {
        let mut size = count as u64;
        if again {
            *self.left.lock().await = 0..0;
            size = size.max(BLOCK);
        }
        let take = client.prepare_cached(TAKE).await?;
        let next = client.query_one(&take, &[&signed(size)?]).await?.try_get(0)?;
        Ok(block(next, size)?.skip(size as usize - count).collect())
    }
}

/// The block that ends before `next`.
fn block(next: i64, size: u64) -> Result<Range<u64>, StoreError> {
    let next = u64::try_from(next).map_err(StoreError::corrupt)?;
    let first = next.checked_sub(size);
    Ok(first.ok_or_else(|| StoreError::corrupt("a sequence of codes below 0"))?..next)
}

fn signed(size: u64) -> Result<i64, StoreError> {
    i64::try_from(size).map_err(StoreError::corrupt)
}
