//! A connection to a server for a client's TCP connection. As nothing has been sent when one
//! cannot be opened, another server is always tried, up to as many as a request would try.

use std::net::IpAddr;
use std::rc::Rc;

use crate::refuse::Refusal;
use crate::upstream::pool::Dialled;
use crate::worker::{Running, Worker};

/// Connects to a server of an upstream, by its position in the plan, for `_client`.
pub(super) async fn dial(
    worker: &Rc<Worker>,
    running: &Running,
    upstream: usize,
    _client: IpAddr,
) -> Result<Dialled, Refusal> {
    let config = &running.compiled.plan.upstreams[upstream];
    running.pools[upstream].dial(worker, config).await
}
