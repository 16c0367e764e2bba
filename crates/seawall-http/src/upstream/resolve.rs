//! Names of servers, resolved in the background as long as a plan needs them. The request path
//! only ever sees the last good addresses.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use seawall_config::plan::{Plan, ServerAddress};
use seawall_telemetry::Metrics;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::Upstream;

/// The first answers are waited for this long before the plan is put in place, so that the first
/// requests find servers.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// A record is asked for again after its TTL, within these bounds.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// After a failure: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The look-ups of one plan; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Names {
    task: JoinHandle<()>,
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to resolve the names of `plan`, and waits for the first answers, though not for long.
pub(crate) async fn start(
    plan: &Plan,
    upstreams: &[Arc<Upstream>],
    metrics: &Arc<Metrics>,
) -> Result<Option<Names>, String> {
    let mut names: HashMap<Arc<str>, Vec<Arc<Upstream>>> = HashMap::new();
    for (config, upstream) in plan.upstreams.iter().zip(upstreams) {
        for server in &config.servers {
            if let ServerAddress::Name { host, .. } = &server.address {
                let users = names.entry(host.clone()).or_default();
                if !users.iter().any(|user| Arc::ptr_eq(user, upstream)) {
                    users.push(upstream.clone());
                }
            }
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    let resolver = resolver(plan.server.resolver)?;
    let (answered, mut first_answers) = tokio::sync::mpsc::channel(names.len());
    let waiting_for = names.len();
    let mut look_ups = JoinSet::new();
    for (name, users) in names {
        let answered = answered.clone();
        let name = Name { name, users, resolver: resolver.clone(), metrics: metrics.clone() };
        look_ups.spawn(name.keep_resolved(answered));
    }
    // Owns the look-ups: aborting it drops the set, which aborts them.
    let task = tokio::spawn(async move { while look_ups.join_next().await.is_some() {} });
    let all = async {
        for _ in 0..waiting_for {
            first_answers.recv().await;
        }
    };
    let _ = timeout(FIRST_ANSWERS, all).await;
    Ok(Some(Names { task }))
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let builder = match server {
        Some(address) => {
            let mut name_server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut name_server.connections {
                connection.port = address.port();
            }
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
            Resolver::builder_with_config(config, provider)
        }
        None => Resolver::builder(provider)
            .map_err(|error| format!("the system's DNS settings cannot be read: {error}"))?,
    };
    builder.build().map_err(|error| format!("the DNS resolver cannot be set up: {error}"))
}

/// One name and who needs it.
struct Name {
    name: Arc<str>,
    users: Vec<Arc<Upstream>>,
    resolver: TokioResolver,
    metrics: Arc<Metrics>,
}

impl Name {
    async fn keep_resolved(self, answered: tokio::sync::mpsc::Sender<()>) {
        let mut retry = FIRST_RETRY;
        let mut failing = false;
        loop {
            let wait = match self.look_up().await {
                Ok((addresses, ttl)) => {
                    for upstream in &self.users {
                        if upstream.set_addresses(&self.name, addresses.clone(), &self.metrics) {
                            tracing::info!(name = %self.name, upstream = %upstream.name, ?addresses, "resolved");
                        }
                    }
                    if std::mem::take(&mut failing) {
                        tracing::info!(name = %self.name, "resolves again");
                    }
                    retry = FIRST_RETRY;
                    ttl.clamp(SHORTEST, LONGEST)
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(name = %self.name, error, "does not resolve; the last good addresses stay in use, and without any the upstream answers 503");
                    }
                    let wait = retry;
                    retry = (2 * retry).min(LAST_RETRY);
                    wait
                }
            };
            let _ = answered.try_send(());
            sleep(wait).await;
        }
    }

    async fn look_up(&self) -> Result<(Vec<IpAddr>, Duration), String> {
        // Fully qualified when it has a dot, so that search domains are not tried.
        let name =
            if self.name.contains('.') { format!("{}.", self.name) } else { self.name.to_string() };
        let found = self.resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err("there is no address record".to_owned());
        }
        let now = Instant::now().into_std();
        Ok((addresses, found.valid_until().saturating_duration_since(now)))
    }
}
