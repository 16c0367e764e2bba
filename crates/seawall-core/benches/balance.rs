//! How long a choice takes, and how long it takes to make what choices are made from:
//! `cargo bench -p seawall-core`.
//!
//! Loads and latencies are atomics, each server's beside its others, as in the doors; every choice
//! adds to the load of its server and takes away one that was added before, so that loads change as
//! they do at work.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use criterion::Criterion;
use seawall_core::balance::hash::{Bound, Ring};
use seawall_core::balance::key::hash_key;
use seawall_core::balance::latency::{self, Latency};
use seawall_core::balance::levels::{Levels, Member, Rules, State};
use seawall_core::balance::maglev::Table;
use seawall_core::balance::round_robin::RoundRobin;
use seawall_core::balance::weights::Weights;
use seawall_core::balance::{Servers, least_connections, least_latency, random, two_choices};
use seawall_core::random::Random;

const SERVERS: usize = 100;

/// Requests in flight.
const IN_FLIGHT: usize = 300;

/// One server as the doors keep it: on the heap, with what all workers share.
struct Server {
    weight: u32,
    load: AtomicU32,
    latency: AtomicU64,
}

/// Some of the servers, as a group of levels is.
struct Group {
    servers: Vec<Arc<Server>>,
    members: Vec<usize>,
    total: AtomicU64,
    weight: u64,
    typical: f32,
    now: u64,
}

impl Group {
    fn new(weight: impl Fn(usize) -> u32) -> Group {
        let mut random = Random::seeded(1);
        let server = |at| {
            let micros = 1000.0 + random.below(20_000) as f32;
            let latency = Latency::default().observe(at as u64, micros);
            let latency = AtomicU64::new(latency.to_bits());
            Arc::new(Server { weight: weight(at), load: AtomicU32::new(0), latency })
        };
        let servers: Vec<Arc<Server>> = (0..SERVERS).map(server).collect();
        Group {
            weight: servers.iter().map(|server| u64::from(server.weight)).sum(),
            servers,
            members: (0..SERVERS).collect(),
            total: AtomicU64::new(0),
            typical: 9000.0,
            now: 2000,
        }
    }

    fn server(&self, at: usize) -> &Server {
        &self.servers[self.members[at]]
    }
}

impl Servers for Group {
    fn len(&self) -> usize {
        self.members.len()
    }
    fn weight(&self, server: usize) -> u32 {
        self.server(server).weight
    }
    fn load(&self, server: usize) -> u32 {
        self.server(server).load.load(Relaxed)
    }
    fn latency(&self, server: usize) -> f32 {
        let latency = Latency::from_bits(self.server(server).latency.load(Relaxed));
        latency.read(self.now, self.typical)
    }
    fn typical_latency(&self) -> f32 {
        self.typical
    }
    fn is_usable(&self, server: usize) -> bool {
        self.server(server).load.load(Relaxed) < 1000
    }
    fn total_load(&self) -> u64 {
        self.total.load(Relaxed)
    }
    fn total_weight(&self) -> u64 {
        self.weight
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    choices(&mut criterion);
    parts(&mut criterion);
    making(&mut criterion);
    criterion.final_summary();
}

fn choices(c: &mut Criterion) {
    let mut group = c.benchmark_group("choice of 100");
    for (name, weight) in
        [("equal", (|_| 100) as fn(usize) -> u32), ("weighted", |at| 100 * (1 + at as u32 % 5))]
    {
        let servers = Group::new(weight);
        let table = Weights::of(&servers);
        let named: Vec<(u64, u32)> =
            (0..SERVERS).map(|at| (hash_key(&[at as u8]), servers.weight(at) / 100)).collect();
        let (ring, maglev) = (Ring::new(&named), Table::new(&named));
        let mut rotation = RoundRobin::default();
        let mut draws = Random::seeded(2);
        let mut keys = Random::seeded(3);
        let mut measure = |balance: &str, choose: &mut dyn FnMut(&Group) -> Option<usize>| {
            servers.servers.iter().for_each(|server| server.load.store(0, Relaxed));
            servers.total.store(0, Relaxed);
            let mut flying = [None; IN_FLIGHT];
            let mut at = 0;
            group.bench_function(format!("{balance}, {name}"), |bencher| {
                bencher.iter(|| {
                    if let Some(done) = flying[at] {
                        servers.server(done).load.fetch_sub(1, Relaxed);
                        servers.total.fetch_sub(1, Relaxed);
                    }
                    flying[at] = choose(black_box(&servers));
                    if let Some(chosen) = flying[at] {
                        servers.server(chosen).load.fetch_add(1, Relaxed);
                        servers.total.fetch_add(1, Relaxed);
                    }
                    at = (at + 1) % IN_FLIGHT;
                });
            });
        };
        measure("round-robin", &mut |servers| rotation.choose(servers));
        measure("random", &mut |servers| random::choose(servers, &table, &mut draws));
        measure("least-connections", &mut |servers| {
            least_connections::choose(servers, &table, &mut draws)
        });
        measure("two-choices", &mut |servers| two_choices::choose(servers, &table, &mut draws));
        measure("least-latency", &mut |servers| least_latency::choose(servers, &table, &mut draws));
        for (of, bound) in [("", Bound::NONE), (" within a bound", Bound::default())] {
            measure(&format!("hash{of}"), &mut |servers| {
                ring.choose(servers, keys.number(), bound)
            });
            measure(&format!("maglev{of}"), &mut |servers| {
                maglev.choose(servers, keys.number(), bound)
            });
        }
    }
    group.finish();
}

fn parts(c: &mut Criterion) {
    let mut group = c.benchmark_group("beside a choice");
    for length in [4, 16, 64, 256] {
        let key: Vec<u8> = (0..length).map(|at: u16| at as u8).collect();
        group.bench_function(format!("hash a key of {length} bytes"), |bencher| {
            bencher.iter(|| hash_key(black_box(&key)));
        });
    }
    let latency = Latency::default().observe(1, 5000.0);
    group.bench_function("observe a latency", |bencher| {
        bencher.iter(|| black_box(latency).observe(black_box(900), black_box(4000.0)));
    });
    group.bench_function("read a latency that sinks", |bencher| {
        bencher.iter(|| black_box(latency).read(black_box(900), black_box(1000.0)));
    });
    let member = |at: usize| Member {
        priority: (at / 40) as u8,
        local: at.is_multiple_of(2),
        weight: 1,
        state: if at.is_multiple_of(3) { State::Usable } else { State::Failing },
    };
    let members: Vec<Member> = (0..SERVERS).map(member).collect();
    let levels = Levels::new(&members, Rules::default());
    let mut random = Random::seeded(4);
    group.bench_function("pick a group", |bencher| bencher.iter(|| levels.pick(&mut random)));
    group.finish();
}

/// None of this happens for a request.
fn making(c: &mut Criterion) {
    let mut group = c.benchmark_group("made for 100 servers");
    let servers = Group::new(|at| 100 * (1 + at as u32 % 5));
    let named: Vec<(u64, u32)> = (0..SERVERS).map(|at| (hash_key(&[at as u8]), 1)).collect();
    group.bench_function("weights", |bencher| bencher.iter(|| Weights::of(&servers)));
    group.bench_function("ring", |bencher| bencher.iter(|| Ring::new(&named)));
    group.bench_function("maglev", |bencher| bencher.iter(|| Table::new(&named)));
    group.bench_function("typical latency", |bencher| {
        let all = || servers.servers.iter().map(|s| Latency::from_bits(s.latency.load(Relaxed)));
        bencher.iter(|| latency::typical(all()));
    });
    group.finish();
}
