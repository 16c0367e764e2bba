//! Fetching much once, as fast as the proxy goes.

use std::net::SocketAddr;
use std::sync::Mutex;

use anyhow::{Context, ensure};
use seawall_testkit::RawClient;

use crate::bench::balance::stay_on;
use crate::bench::options::Setting;

/// Connections, and requests that are sent on one at once.
const CONNECTIONS: usize = 4;
const AT_ONCE: usize = 64;

/// Fetches each of these paths once from a server, from the core of the load.
pub(super) fn fetch(
    setting: &Setting,
    server: SocketAddr,
    paths: impl Iterator<Item = String> + Send,
) -> anyhow::Result<()> {
    let core = setting.load_cores.parse().context("the load has one core")?;
    let paths = Mutex::new(paths);
    let connection = || -> anyhow::Result<()> {
        stay_on(core)?;
        let mut client = RawClient::connect(server)?;
        loop {
            let mut requests = String::new();
            let mut count = 0;
            for path in paths.lock().map_err(|_| lost())?.by_ref().take(AT_ONCE) {
                requests.push_str(&format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n"));
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            client.send(requests)?;
            for _ in 0..count {
                let status = client.read_response()?.status;
                ensure!(status == 200, "an answer with status {status}");
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(connection)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| lost())?)
    })
}

fn lost() -> anyhow::Error {
    anyhow::anyhow!("a thread of the load panicked")
}
