//! Names of servers, looked up in the background as long as an upstream needs them. The request
//! path only ever sees the last good answers.
//!
//! Never takes a server away because the DNS fails: no answer, an answer without addresses and
//! "there is no such name" all leave in use what was answered last.

mod service;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use seawall_core::random::Random;
use seawall_telemetry::Metrics;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::Upstream;
use super::sources::{Answer, Question};

/// The first answers are waited for this long before servers are put in place, so that the first
/// requests find them.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// When one of a name's two families of addresses has been answered, the other is waited for so
/// long: some networks never answer for IPv6.
const OTHER_FAMILY: Duration = Duration::from_secs(1);

/// A record is asked for again after its TTL, within these bounds…
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// …give or take so much of it, so that many names and many processes do not ask in step.
const JITTER_PERCENT: u64 = 10;

/// After a failure: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Questions that are asked at once, of all upstreams together; the others wait.
const AT_ONCE: usize = 128;

/// Most addresses taken from one answer.
const MOST_ADDRESSES: usize = 1_000;

/// The look-ups of all upstreams; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Names {
    resolver: Option<Arc<ArcSwap<TokioResolver>>>,
    look_ups: HashMap<Question, LookUp>,
    /// See [`AT_ONCE`].
    gate: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// When the door's clock began.
    epoch: Instant,
}

/// One question that is asked again and again.
#[derive(Debug)]
struct LookUp {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for LookUp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a look-up and its keeper share.
#[derive(Debug, Default)]
struct Shared {
    users: Mutex<Users>,
    /// Told when it should ask at once.
    again: Notify,
}

#[derive(Debug, Default)]
struct Users {
    upstreams: Vec<Arc<Upstream>>,
    last: Option<Answer>,
    trouble: Option<Arc<str>>,
}

impl Shared {
    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// No look-ups yet. `epoch` is when the clock of the door began.
    pub(crate) fn new(metrics: Arc<Metrics>, epoch: Instant) -> Names {
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        Names { resolver: None, look_ups: HashMap::new(), gate, metrics, epoch }
    }

    /// Asks `server` from now on, or without one those of the system, whose settings are read
    /// again. Answers that are known stay.
    pub(crate) fn ask(&mut self, server: Option<SocketAddr>) -> Result<(), String> {
        let resolver = Arc::new(resolver(server)?);
        match &self.resolver {
            Some(before) => before.store(resolver),
            None => self.resolver = Some(Arc::new(ArcSwap::new(resolver))),
        }
        Ok(())
    }

    /// Whether there is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        self.resolver.is_some()
    }

    /// Looks up for each upstream what it needs, and nothing else any more. Waits for the first
    /// answers to what is new, though not for long. With `again` everything is asked anew, in the
    /// background.
    ///
    /// When dropped meanwhile, the look-ups go on.
    pub(crate) async fn follow(
        &mut self,
        needs: impl IntoIterator<Item = (Arc<Upstream>, Vec<Question>)>,
        again: bool,
    ) {
        let mut wanted: HashMap<Question, Vec<Arc<Upstream>>> = HashMap::new();
        for (upstream, questions) in needs {
            for question in questions {
                let users = wanted.entry(question).or_default();
                if !users.iter().any(|user| Arc::ptr_eq(user, &upstream)) {
                    users.push(upstream.clone());
                }
            }
        }
        let Some(resolver) = &self.resolver else {
            debug_assert!(wanted.is_empty(), "`ask` comes first");
            return;
        };
        self.look_ups.retain(|question, _| wanted.contains_key(question));
        let mut new = Vec::new();
        for (question, upstreams) in wanted {
            match self.look_ups.get(&question) {
                Some(look_up) => {
                    self.pass_on(&question, &look_up.shared, upstreams);
                    if again {
                        look_up.shared.again.notify_one();
                    }
                }
                None => {
                    let shared = Arc::new(Shared::default());
                    shared.users().upstreams = upstreams;
                    let (answered, is_answered) = watch::channel(false);
                    let asking = Asking {
                        question: question.clone(),
                        shared: shared.clone(),
                        resolver: resolver.clone(),
                        gate: self.gate.clone(),
                        metrics: self.metrics.clone(),
                        epoch: self.epoch,
                        families: HashMap::new(),
                    };
                    let task = tokio::spawn(asking.keep(answered));
                    new.push(is_answered);
                    self.look_ups.insert(question, LookUp { shared, task });
                }
            }
        }
        let all = async {
            for mut answered in new {
                let _ = answered.wait_for(|answered| *answered).await;
            }
        };
        let _ = timeout(FIRST_ANSWERS, all).await;
    }

    /// Gives a look-up other users, and those who are new what is known.
    fn pass_on(&self, question: &Question, shared: &Shared, upstreams: Vec<Arc<Upstream>>) {
        let mut users = shared.users();
        let before = std::mem::replace(&mut users.upstreams, upstreams);
        for upstream in &users.upstreams {
            if before.iter().any(|known| Arc::ptr_eq(known, upstream)) {
                continue;
            }
            if let Some(answer) = &users.last {
                let now = self.epoch.elapsed().as_millis() as u64;
                upstream.set_answer(question, answer, now, &self.metrics);
            }
            if let Some(trouble) = &users.trouble {
                upstream.set_trouble(question, trouble);
            }
        }
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = match server {
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
    // When to ask again is decided here. A cache would keep "no such name" beyond a retry.
    builder.options_mut().cache_size = 0;
    builder.build().map_err(|error| format!("the DNS resolver cannot be set up: {error}"))
}

/// A question in the making of its answers.
struct Asking {
    question: Question,
    shared: Arc<Shared>,
    resolver: Arc<ArcSwap<TokioResolver>>,
    gate: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    epoch: Instant,
    /// What was found last, by host: a family that cannot be asked for keeps its addresses.
    families: HashMap<Arc<str>, Families>,
}

/// The addresses of a host by family.
#[derive(Debug, Clone, Default)]
struct Families {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Asking {
    async fn keep(mut self, answered: watch::Sender<bool>) {
        let seed = std::hash::BuildHasher::hash_one(
            &std::hash::RandomState::new(),
            self.question.to_string(),
        );
        let mut random = Random::seeded(seed);
        let mut retry = FIRST_RETRY;
        loop {
            // The gate is never closed.
            let place = self.gate.clone().acquire_owned().await;
            let resolver = self.resolver.load_full();
            let outcome = self.look_up(&resolver).await;
            drop(place);
            let wait = match outcome {
                Ok((answer, ttl, missing)) => {
                    self.found(answer, missing.as_deref());
                    retry = FIRST_RETRY;
                    ttl.clamp(SHORTEST, LONGEST)
                }
                Err(trouble) => {
                    self.failed(&trouble);
                    let wait = retry;
                    retry = (2 * retry).min(LAST_RETRY);
                    wait
                }
            };
            let _ = answered.send_replace(true);
            let _ = timeout(jittered(wait, &mut random), self.shared.again.notified()).await;
        }
    }

    /// `missing` is what the answer lacks.
    fn found(&self, answer: Answer, missing: Option<&str>) {
        let mut users = self.shared.users();
        let now = self.epoch.elapsed().as_millis() as u64;
        for upstream in &users.upstreams {
            let change = upstream.set_answer(&self.question, &answer, now, &self.metrics);
            change.log(&upstream.name, &self.question.to_string());
        }
        users.last = Some(answer);
        let Some(missing) = missing else {
            if users.trouble.take().is_some() {
                tracing::info!(name = %self.question, "resolves again");
            }
            return;
        };
        let missing: Arc<str> = missing.into();
        for upstream in &users.upstreams {
            upstream.set_trouble(&self.question, &missing);
        }
        if users.trouble.replace(missing.clone()).is_none() {
            tracing::warn!(name = %self.question, error = %missing, "a target does not resolve; its last good answer stays in use");
        }
    }

    fn failed(&self, trouble: &str) {
        let mut users = self.shared.users();
        let trouble: Arc<str> = trouble.into();
        for upstream in &users.upstreams {
            upstream.set_trouble(&self.question, &trouble);
        }
        if users.trouble.replace(trouble.clone()).is_none() {
            tracing::warn!(name = %self.question, error = %trouble, "does not resolve; the last good answer stays in use, and without any the upstream answers 503");
        }
    }

    /// The answer, how long it lasts, and what it lacks.
    async fn look_up(
        &mut self,
        resolver: &TokioResolver,
    ) -> Result<(Answer, Duration, Option<String>), String> {
        match self.question.clone() {
            Question::Addresses(name) => {
                // Fully qualified when it has a dot, so that search domains are not tried.
                let asked = if name.contains('.') { format!("{name}.") } else { name.to_string() };
                let before = self.families.remove(&name).unwrap_or_default();
                let (families, result) = addresses(resolver, &asked, before).await;
                let answer = match &result {
                    Ok(ttl) => {
                        let mut all = [&families.v4[..], &families.v6].concat();
                        if all.len() > MOST_ADDRESSES {
                            tracing::warn!(%name, addresses = all.len(), "too many addresses; the first {MOST_ADDRESSES} are used");
                        }
                        all.truncate(MOST_ADDRESSES);
                        Ok((Answer::Addresses(all), *ttl, None))
                    }
                    Err(trouble) => Err(trouble.clone()),
                };
                self.families.insert(name, families);
                answer
            }
            Question::Service(name) => {
                let found = service::look_up(resolver, &name, &mut self.families).await?;
                Ok((Answer::Targets(found.targets), found.ttl, found.missing))
            }
        }
    }
}

/// The addresses of a host, of both families at once. A family that fails while the other is
/// answered keeps those of `before`; what is certain not to be there goes.
async fn addresses(
    resolver: &TokioResolver,
    name: &str,
    before: Families,
) -> (Families, Result<Duration, String>) {
    let v4 = records(resolver, name, RecordType::A);
    let v6 = records(resolver, name, RecordType::AAAA);
    tokio::pin!(v4, v6);
    let late = || Err(Failure::Other("it took too long".to_owned()));
    let (v4, v6) = tokio::select! {
        v4 = &mut v4 => {
            let until = Instant::now() + OTHER_FAMILY;
            let v6 = match &v4 {
                Ok(_) => timeout_at(until, v6).await.unwrap_or_else(|_| late()),
                Err(_) => v6.await,
            };
            (v4, v6)
        }
        v6 = &mut v6 => {
            let until = Instant::now() + OTHER_FAMILY;
            let v4 = match &v6 {
                Ok(_) => timeout_at(until, v4).await.unwrap_or_else(|_| late()),
                Err(_) => v4.await,
            };
            (v4, v6)
        }
    };
    let ttl = [&v4, &v6].into_iter().flatten().map(|(_, ttl)| *ttl).min();
    let result = match (ttl, &v4, &v6) {
        (Some(ttl), ..) => Ok(ttl),
        // What went wrong says more than that there is nothing of the other family.
        (None, Err(Failure::Other(error)), _) | (None, _, Err(Failure::Other(error))) => {
            Err(error.clone())
        }
        (None, Err(Failure::NoSuchName), _) | (None, _, Err(Failure::NoSuchName)) => {
            Err("there is no such name".to_owned())
        }
        (None, ..) => Err("there is no address record".to_owned()),
    };
    if result.is_err() {
        return (before, result);
    }
    let family =
        |outcome: Result<(Vec<IpAddr>, Duration), Failure>, before: Vec<IpAddr>| match outcome {
            Ok((addresses, _)) => addresses,
            Err(Failure::Other(_)) => before,
            Err(Failure::NoSuchName | Failure::NoRecord) => Vec::new(),
        };
    (Families { v4: family(v4, before.v4), v6: family(v6, before.v6) }, result)
}

/// Why there is no record.
#[derive(Debug)]
enum Failure {
    /// The server says that the name does not exist.
    NoSuchName,
    /// It exists, without such a record.
    NoRecord,
    /// That is not known.
    Other(String),
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Failure {
        match &error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => Failure::NoSuchName,
                ResponseCode::NoError => Failure::NoRecord,
                code => Failure::Other(format!("the name server says: {code}")),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => {
                Failure::Other(format!("the name server says: {code}"))
            }
            _ => Failure::Other(error.to_string()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Failure::NoSuchName => "there is no such name",
            Failure::NoRecord => "there is no such record",
            Failure::Other(error) => error,
        })
    }
}

/// Addresses of one family, sorted, with their TTL.
async fn records(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
) -> Result<(Vec<IpAddr>, Duration), Failure> {
    let found = resolver.lookup(name, kind).await?;
    let address = |data: &RData| data.ip_addr();
    let mut all: Vec<IpAddr> = found.answers().iter().filter_map(|r| address(&r.data)).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return Err(Failure::NoRecord);
    }
    Ok((all, time_left(found.valid_until())))
}

fn time_left(until: std::time::Instant) -> Duration {
    until.saturating_duration_since(std::time::Instant::now())
}

/// A time, give or take [`JITTER_PERCENT`] of it.
fn jittered(time: Duration, random: &mut Random) -> Duration {
    let span = time.as_millis() as u64 * JITTER_PERCENT / 100;
    let earliest = time.saturating_sub(Duration::from_millis(span));
    earliest + Duration::from_millis(random.below(2 * span + 1))
}
