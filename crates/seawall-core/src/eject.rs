//! Which servers are taken out because of what they answer: passive ejection.
//!
//! Three reasons, the last two only in comparison with the other servers: gateway errors in a row,
//! failures far more frequent than theirs, answers far slower. After Envoy's outlier detection,
//! with other rules where its users were hurt: a sequential test instead of thresholds that need
//! five servers and a hundred requests, so that it works for three servers and little traffic; a
//! limit that holds *after* the ejection; and the last server in use is never taken out, nor is
//! one while all fail alike, because that would only make an outage worse.
//!
//! The control task calls [`Ejector::tick`] for each upstream with what the workers counted, and
//! publishes the verdicts. The ejector neither counts nor chooses.

mod failures;
mod pace;

use std::collections::BTreeMap;
use std::time::Duration;

use failures::{Failures, Tried};
pub use pace::log_latency;
use pace::{Pace, Period};

use crate::jitter;
use crate::random::Random;

/// How an upstream ejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Gateway errors in a row after which a server is out; default 5, 0 for never.
    pub errors: u32,
    /// Whether servers are compared with each other; default yes.
    pub outliers: bool,
    /// How long a server is out at first; default 10 s. Twice, three times as long when it is the
    /// second, third time in a row, and always up to a tenth longer at random. Each time of this
    /// length in which it stays in use takes back one of those.
    pub base: Duration,
    /// The longest, before the random part; default 300 s.
    pub longest: Duration,
    /// The most servers that are out by ejection at a time, in thousandths of all, rounded down;
    /// default 500: one of two and of three, two of four, and none of one.
    pub at_most: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            errors: 5,
            outliers: true,
            base: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            at_most: 500,
        }
    }
}

/// What was seen of a server since the last tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation<S> {
    /// Which server.
    pub server: S,
    /// Requests that ended.
    pub requests: u64,
    /// Of these: no connection, no answer, a broken one, or 502, 503, 504.
    pub gateway_errors: u64,
    /// Of these: other errors of the server (500, 501 and the like), not counted above.
    pub server_errors: u64,
    /// How many answers `log_latency` is the sum of. Those that tell nothing of the server's
    /// pace, such as errors, are best left out.
    pub answers: u64,
    /// What [`log_latency`] says of each of them, added up.
    pub log_latency: u64,
    /// Gateway errors in a row up to now.
    pub consecutive: u32,
    /// Whether it could be used if it were not ejected: not down by its checks, not taken out by
    /// hand.
    pub usable: bool,
}

/// What is to be done, or was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<S> {
    /// The server is out.
    Eject {
        /// Which.
        server: S,
        /// Until then, unless it is told otherwise before.
        until: Duration,
        /// Why, for the log.
        reason: String,
    },
    /// The server may be used again.
    Return {
        /// Which.
        server: S,
        /// Why.
        why: Returned,
    },
    /// The server would be out, but stays. Said once, until there is no reason any more.
    Prevented {
        /// Which.
        server: S,
        /// Why it would be out, for the log.
        reason: String,
        /// Why it stays.
        why: Prevented,
    },
}

/// Why an ejection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// Its time is over.
    TimeOver,
    /// An active check brought it back.
    Healthy,
    /// Other servers are gone, so that too many would be out.
    Needed,
}

/// Why a server is not ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prevented {
    /// No other server is in use.
    LastInUse,
    /// `at_most` servers are out already.
    AtMost,
    /// Every other server in use has as many errors in a row.
    OthersToo,
}

/// What is remembered of the servers of one upstream; `S` names a server.
#[derive(Debug)]
pub struct Ejector<S> {
    settings: Settings,
    servers: BTreeMap<S, Server>,
    now: Duration,
}

#[derive(Debug)]
struct Server {
    /// Until when it is out.
    out: Option<Duration>,
    /// Ejections in a row.
    times: u32,
    /// In use since then, or since the last time `times` went down.
    healthy: Duration,
    seen: Duration,
    /// Errors in a row that were judged already when it came back.
    forgiven: u32,
    failures: Failures,
    pace: Pace,
    prevented: bool,
}

/// How far an ejection is lengthened at random, in thousandths.
const JITTER: u32 = 100;

/// A server against which there is a reason, the worst first.
struct Suspect<S> {
    server: S,
    /// 0 for errors in a row, 1 for failures, 2 for latency.
    kind: u8,
    weight: f64,
    reason: String,
    consecutive: u32,
}

impl<S: Copy + Ord> Ejector<S> {
    /// Nobody is out.
    pub fn new(settings: Settings) -> Ejector<S> {
        Ejector { settings, servers: BTreeMap::new(), now: Duration::ZERO }
    }

    /// Takes over other settings. Who is out stays out until its time.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Until when a server is out.
    pub fn out_until(&self, server: S) -> Option<Duration> {
        self.servers.get(&server)?.out
    }

    /// How often a server was ejected in a row, as far as that was not made up for.
    pub fn times(&self, server: S) -> u32 {
        self.servers.get(&server).map_or(0, |server| server.times)
    }

    /// An active check says that a server is well. Meant for a server that was down by its checks
    /// and is up again ([`health::Verdict::Up`](crate::health::Verdict::Up)), not for every good
    /// check: there are servers whose health page works while nothing else does.
    pub fn healthy_again(&mut self, server: S) -> Option<Verdict<S>> {
        let state = self.servers.get_mut(&server)?;
        state.out.take()?;
        state.begin(self.now);
        Some(Verdict::Return { server, why: Returned::Healthy })
    }

    /// Looks at all servers that the upstream has now. To be called every 100 ms or so, and at
    /// once when a server reaches `errors`. What is known of a server that is not among them
    /// is kept for a while, should it come back.
    pub fn tick(
        &mut self,
        now: Duration,
        observed: &[Observation<S>],
        random: &mut Random,
    ) -> Vec<Verdict<S>> {
        self.now = self.now.max(now);
        let mut verdicts = Vec::new();
        self.meet(observed);
        self.time_over(observed, &mut verdicts);
        self.learn(observed);
        self.judge(observed, random, &mut verdicts);
        self.keep_limits(observed, &mut verdicts);
        verdicts
    }

    fn meet(&mut self, observed: &[Observation<S>]) {
        let now = self.now;
        for seen in observed {
            self.servers.entry(seen.server).or_insert_with(|| Server::new(now)).seen = now;
        }
        let longest = self.settings.longest;
        self.servers.retain(|_, server| {
            server.seen == now || server.times > 0 && now - server.seen <= longest
        });
    }

    fn time_over(&mut self, observed: &[Observation<S>], verdicts: &mut Vec<Verdict<S>>) {
        for seen in observed {
            let Some(server) = self.servers.get_mut(&seen.server) else { continue };
            if server.out.is_some_and(|until| until <= self.now) {
                server.out = None;
                server.begin(self.now);
                verdicts.push(Verdict::Return { server: seen.server, why: Returned::TimeOver });
            }
        }
    }

    fn learn(&mut self, observed: &[Observation<S>]) {
        let mut all = Tried::default();
        for seen in observed.iter().filter(|seen| self.is_in_use(seen)) {
            all.add(seen.tried());
        }
        let mut ended = Vec::new();
        for seen in observed {
            let in_use = self.is_in_use(seen);
            let Some(server) = self.servers.get_mut(&seen.server) else { continue };
            if !in_use {
                server.begin(self.now);
                // Requests that were under way when it went out are not held against it later.
                server.forgiven = seen.consecutive;
                continue;
            }
            server.recover(self.now, self.settings.base);
            if seen.consecutive < server.forgiven {
                server.forgiven = 0;
            }
            server.failures.add(self.now, seen.tried(), all.without(seen.tried()));
            let period = server.pace.add(self.now, seen.answers, seen.log_latency);
            ended.extend(period.map(|period| (seen.server, period)));
        }
        if ended.is_empty() {
            return;
        }
        // Only now, when the periods that end with this tick are known of all.
        let periods = self.periods(observed);
        for (name, period) in ended {
            if let Some(server) = self.servers.get_mut(&name) {
                server.pace.compare(period, others(&periods, name, period));
            }
        }
    }

    /// The last period of each server in use.
    fn periods(&self, observed: &[Observation<S>]) -> Vec<(S, Period)> {
        let in_use = observed.iter().filter(|seen| self.is_in_use(seen));
        let last = |seen: &Observation<S>| {
            Some((seen.server, self.servers.get(&seen.server)?.pace.last()?))
        };
        in_use.filter_map(last).collect()
    }

    fn judge(
        &mut self,
        observed: &[Observation<S>],
        random: &mut Random,
        verdicts: &mut Vec<Verdict<S>>,
    ) {
        let mut suspects = Vec::new();
        for seen in observed {
            let suspect = self.is_in_use(seen).then(|| self.suspect(seen)).flatten();
            if suspect.is_none()
                && let Some(server) = self.servers.get_mut(&seen.server)
            {
                server.prevented = false;
            }
            suspects.extend(suspect);
        }
        suspects.sort_by(|a, b| a.kind.cmp(&b.kind).then(b.weight.total_cmp(&a.weight)));
        for suspect in suspects {
            let prevented = self.prevented(observed, &suspect);
            let Some(server) = self.servers.get_mut(&suspect.server) else { continue };
            let (name, reason) = (suspect.server, suspect.reason);
            if let Some(why) = prevented {
                if !std::mem::replace(&mut server.prevented, true) {
                    verdicts.push(Verdict::Prevented { server: name, reason, why });
                }
                continue;
            }
            server.times = server.times.saturating_add(1);
            let time = self.settings.base.saturating_mul(server.times).min(self.settings.longest);
            let time = jitter::longer(random, time.max(self.settings.base), JITTER);
            let until = self.now.saturating_add(time);
            server.out = Some(until);
            server.forgiven = suspect.consecutive;
            verdicts.push(Verdict::Eject { server: name, until, reason });
        }
    }

    fn suspect(&self, seen: &Observation<S>) -> Option<Suspect<S>> {
        let server = self.servers.get(&seen.server)?;
        let suspect = |kind, (weight, reason)| Suspect {
            server: seen.server,
            kind,
            weight,
            reason,
            consecutive: seen.consecutive,
        };
        let errors = self.errors_in_a_row(seen);
        if self.settings.errors > 0 && errors >= self.settings.errors {
            let reason = format!("{errors} gateway errors in a row");
            return Some(suspect(0, (f64::from(errors), reason)));
        }
        if !self.settings.outliers {
            return None;
        }
        let failing = server.failures.verdict().map(|why| suspect(1, why));
        failing.or_else(|| server.pace.verdict().map(|why| suspect(2, why)))
    }

    fn prevented(&self, observed: &[Observation<S>], suspect: &Suspect<S>) -> Option<Prevented> {
        let is_other =
            |seen: &&Observation<S>| seen.server != suspect.server && self.is_in_use(seen);
        if !observed.iter().any(|seen| is_other(&seen)) {
            return Some(Prevented::LastInUse);
        }
        let out = observed.iter().filter(|seen| self.out_until(seen.server).is_some()).count();
        if out >= self.limit(observed) {
            return Some(Prevented::AtMost);
        }
        let well = |seen: &Observation<S>| self.errors_in_a_row(seen) < self.settings.errors;
        let better = || observed.iter().filter(is_other).any(well);
        (suspect.kind == 0 && !better()).then_some(Prevented::OthersToo)
    }

    /// Brings servers back, the first whose time ends, when others have gone in the meantime and
    /// more are out than may be, or none is in use that could be.
    fn keep_limits(&mut self, observed: &[Observation<S>], verdicts: &mut Vec<Verdict<S>>) {
        loop {
            let out: Vec<_> = observed
                .iter()
                .filter_map(|seen| Some((!seen.usable, self.out_until(seen.server)?, seen)))
                .collect();
            let nobody = !observed.iter().any(|seen| self.is_in_use(seen));
            let candidates = out
                .iter()
                .filter(|(useless, ..)| out.len() > self.limit(observed) || nobody && !useless);
            let Some(&(_, _, first)) =
                candidates.min_by_key(|(useless, until, _)| (*useless, *until))
            else {
                return;
            };
            let Some(server) = self.servers.get_mut(&first.server) else { return };
            server.out = None;
            server.begin(self.now);
            verdicts.push(Verdict::Return { server: first.server, why: Returned::Needed });
        }
    }

    fn limit(&self, observed: &[Observation<S>]) -> usize {
        let at_most = self.settings.at_most.min(1000) as usize;
        observed.len().saturating_mul(at_most) / 1000
    }

    fn is_in_use(&self, seen: &Observation<S>) -> bool {
        seen.usable && self.out_until(seen.server).is_none()
    }

    fn errors_in_a_row(&self, seen: &Observation<S>) -> u32 {
        let forgiven = self.servers.get(&seen.server).map_or(0, |server| server.forgiven);
        seen.consecutive.saturating_sub(forgiven)
    }
}

/// The periods of the servers but one that overlap with its own.
fn others<S: Copy + Ord>(periods: &[(S, Period)], but: S, own: Period) -> Vec<Period> {
    let overlap = |&&(server, period): &&(S, Period)| server != but && period.overlaps(own);
    periods.iter().filter(overlap).map(|&(_, period)| period).collect()
}

impl<S> Observation<S> {
    fn tried(&self) -> Tried {
        let failed = self.gateway_errors.saturating_add(self.server_errors);
        Tried { requests: self.requests, failed: failed.min(self.requests) }
    }
}

impl Server {
    fn new(now: Duration) -> Server {
        Server {
            out: None,
            times: 0,
            healthy: now,
            seen: now,
            forgiven: 0,
            failures: Failures::default(),
            pace: Pace::new(now),
            prevented: false,
        }
    }

    /// Forgets what it was judged by: it is (to be) in use from now on.
    fn begin(&mut self, now: Duration) {
        self.healthy = now;
        self.failures.acquit();
        self.pace = Pace::new(now);
        self.prevented = false;
    }

    /// Takes back one ejection for each `base` in use.
    fn recover(&mut self, now: Duration, base: Duration) {
        let periods = now.saturating_sub(self.healthy).as_nanos() / base.as_nanos().max(1);
        let made_up = self.times.min(u32::try_from(periods).unwrap_or(u32::MAX));
        self.times -= made_up;
        self.healthy += base.saturating_mul(made_up);
    }
}
