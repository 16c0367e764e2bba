//! Open-loop arrivals at servers that serve one request at a time, each in exponential time; the
//! clock is that of the events. What is measured is kept as a door keeps it: loads and latencies
//! are what the balancers see, the typical latency is worked out twice a second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use seawall_core::balance::hash::{Bound, Ring};
use seawall_core::balance::key::hash_key;
use seawall_core::balance::latency::{self, Latency};
use seawall_core::balance::round_robin::RoundRobin;
use seawall_core::balance::weights::Weights;
use seawall_core::balance::{Servers, least_connections, least_latency, random, two_choices};
use seawall_core::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balancer {
    RoundRobin,
    Random,
    LeastConnections,
    TwoChoices,
    LeastLatency,
    Hash,
}

impl Balancer {
    pub(crate) const ALL: [Balancer; 6] = [
        Balancer::RoundRobin,
        Balancer::Random,
        Balancer::LeastConnections,
        Balancer::TwoChoices,
        Balancer::LeastLatency,
        Balancer::Hash,
    ];
}

/// What a server is like. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) mean: f64,
    pub(crate) weight: u32,
    /// While it fails, it does so in a millisecond.
    pub(crate) failing: Range<f64>,
    /// The part of answers that fail at all times.
    pub(crate) faulty: f64,
    /// It cannot be chosen before.
    pub(crate) joins: f64,
    /// How long its first answer takes.
    pub(crate) first: f64,
}

impl Server {
    pub(crate) fn answering_in(mean: f64) -> Server {
        Server { mean, weight: 100, failing: 0.0..0.0, faulty: 0.0, joins: 0.0, first: 0.0 }
    }
}

/// One request: when it came, where it went, how long it took until its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) at: f64,
    pub(crate) server: usize,
    pub(crate) took: f64,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) served: Vec<Served>,
    sorted: Vec<f64>,
}

impl Run {
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        self.sorted[(self.sorted.len() as f64 * part) as usize]
    }

    /// The part of the requests of some time that went to a server.
    pub(crate) fn share(&self, server: usize, time: Range<f64>) -> f64 {
        let within = || self.served.iter().filter(|served| time.contains(&served.at));
        let there = within().filter(|served| served.server == server).count();
        there as f64 / within().count().max(1) as f64
    }
}

/// Servers as a balancer sees them.
struct Group {
    servers: Vec<Server>,
    loads: Vec<u32>,
    latencies: Vec<Latency>,
    typical: f32,
    now: f64,
}

impl Servers for Group {
    fn len(&self) -> usize {
        self.servers.len()
    }
    fn weight(&self, server: usize) -> u32 {
        self.servers[server].weight
    }
    fn load(&self, server: usize) -> u32 {
        self.loads[server]
    }
    fn latency(&self, server: usize) -> f32 {
        self.latencies[server].read(self.now as u64, self.typical)
    }
    fn is_usable(&self, server: usize) -> bool {
        self.servers[server].joins <= self.now
    }
}

/// An answer that is due.
#[derive(Debug)]
struct Answer {
    at: f64,
    server: usize,
    came: f64,
    failed: bool,
}

impl PartialEq for Answer {
    fn eq(&self, other: &Answer) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Answer {}

impl PartialOrd for Answer {
    fn partial_cmp(&self, other: &Answer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Answer {
    fn cmp(&self, other: &Answer) -> std::cmp::Ordering {
        self.at.total_cmp(&other.at)
    }
}

/// Requests at a `rate` a second for so many milliseconds.
pub(crate) fn simulate(
    seed: u64,
    balancer: Balancer,
    servers: Vec<Server>,
    rate: f64,
    millis: f64,
) -> Run {
    let mut random = Random::seeded(seed);
    let n = servers.len();
    let named = |(at, server): (usize, &Server)| (hash_key(&[at as u8]), server.weight);
    let named: Vec<(u64, u32)> = servers.iter().enumerate().map(named).collect();
    let ring = Ring::new(if balancer == Balancer::Hash { &named } else { &[] });
    let mut rotation = RoundRobin::anywhere(&mut random);
    let mut free = vec![0.0; n];
    let mut group = Group {
        servers,
        loads: vec![0; n],
        latencies: vec![Latency::default(); n],
        typical: latency::COLD_START,
        now: 0.0,
    };
    let weights = Weights::of(&group);
    let mut due: BinaryHeap<Reverse<Answer>> = BinaryHeap::new();
    let mut sweep = 0.0;
    let mut served = Vec::new();
    let mut arrival = 0.0;
    while arrival < millis {
        while let Some(Reverse(answer)) = due.peek()
            && answer.at <= arrival
        {
            let (now, took) = (answer.at as u64, ((answer.at - answer.came) * 1000.0) as f32);
            let latency = &mut group.latencies[answer.server];
            *latency = match answer.failed {
                true => latency.failed(now, took),
                false => latency.observe(now, took),
            };
            group.loads[answer.server] -= 1;
            due.pop();
        }
        group.now = arrival;
        if arrival >= sweep {
            group.typical = latency::typical(group.latencies.iter().copied());
            sweep = arrival + 500.0;
        }
        let key = random.number();
        let chosen = match balancer {
            Balancer::RoundRobin => rotation.choose(&group),
            Balancer::Random => random::choose(&group, &weights, &mut random),
            Balancer::LeastConnections => least_connections::choose(&group, &weights, &mut random),
            Balancer::TwoChoices => two_choices::choose(&group, &weights, &mut random),
            Balancer::LeastLatency => least_latency::choose(&group, &weights, &mut random),
            Balancer::Hash => ring.choose(&group, key, Bound::default()),
        };
        let server = chosen.expect("some server is usable");
        let like = &group.servers[server];
        let failing = like.failing.contains(&arrival);
        let time = match free[server] {
            _ if failing => 1.0,
            0.0 if like.first > 0.0 => like.first,
            _ => exponential(&mut random) * like.mean,
        };
        let failed = failing || unit(&mut random) < like.faulty;
        let at = arrival.max(free[server]) + time;
        free[server] = at;
        group.loads[server] += 1;
        due.push(Reverse(Answer { at, server, came: arrival, failed }));
        served.push(Served { at: arrival, server, took: at - arrival });
        arrival += exponential(&mut random) * 1000.0 / rate;
    }
    let mut sorted: Vec<f64> = served.iter().map(|served| served.took).collect();
    sorted.sort_by(f64::total_cmp);
    Run { served, sorted }
}

/// From 0 to 1.
fn unit(random: &mut Random) -> f64 {
    (random.number() >> 11) as f64 / (1u64 << 53) as f64
}

/// With a mean of 1.
fn exponential(random: &mut Random) -> f64 {
    -(1.0 - unit(random)).ln()
}
