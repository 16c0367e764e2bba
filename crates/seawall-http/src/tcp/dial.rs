//! A connection to a server for a client's TCP connection. As nothing has been sent when one
//! cannot be opened, another server is always tried, up to as many as a request would try.

use std::net::IpAddr;
use std::rc::Rc;

use seawall_config::plan::{Balance, HashKey};
use seawall_core::balance::key::hash_key;
use tokio::time::Instant;

use crate::refuse::Refusal;
use crate::upstream::pool::{Dialled, Search};
use crate::worker::{Running, Worker};

/// Connects to a server of an upstream, by its position in the plan, for `client`.
pub(super) async fn dial(
    worker: &Rc<Worker>,
    running: &Running,
    upstream: usize,
    client: IpAddr,
) -> Result<Dialled, Refusal> {
    let config = &running.compiled.plan.upstreams[upstream];
    let pool = &running.pools[upstream];
    let permission = pool.permission(worker)?;
    let now = Instant::now();
    let mut search = Search::new(worker, pool, config, now, now + config.queue.wait);
    search.key = match &config.balance {
        Balance::IpHash => Some(hash_key(client.to_string().as_bytes())),
        Balance::Hash(by) | Balance::Maglev(by) if by.key == HashKey::ClientIp => {
            Some(hash_key(client.to_string().as_bytes()))
        }
        _ => None,
    };
    let dialled = pool.dial(&search).await;
    match &dialled {
        Ok(_) => permission.settle(false, false),
        Err(Refusal::ConnectFailed | Refusal::ConnectTimeout) => permission.settle(true, false),
        Err(_) => {}
    }
    dialled
}
