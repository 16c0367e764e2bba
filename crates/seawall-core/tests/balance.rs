//! Balancers at work: requests arrive on their own, wait in line at the server they were given to,
//! and are answered. What users feel of it, over 256 seeds, and what happens around servers that
//! are slow, cold, broken or back again.

#[path = "balance/simulation.rs"]
mod simulation;

use seawall_core::balance::weights::Weights;
use seawall_core::balance::{Servers, least_connections, least_latency, two_choices};
use seawall_core::random::Random;
use simulation::{Balancer, Run, Server, simulate};

const SEEDS: u64 = 256;

/// Eight servers, the first ten times slower than the others.
fn one_slow() -> Vec<Server> {
    let mut servers = vec![Server::answering_in(10.0); 8];
    servers[0] = Server::answering_in(100.0);
    servers
}

/// The one of a list that stands in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn with_one_server_ten_times_slower_the_99th_percentile_stays_low() {
    // Parts of the 710 requests a second that the servers can do together. With little to do even
    // the slow one keeps up with its turns, and what one run measures is a matter of luck.
    for (percent, typically, always) in [(10, 3.0, 1.2), (60, 20.0, 10.0)] {
        println!("\n{percent} % of capacity; milliseconds, median of {SEEDS} runs");
        println!("| balance | p50 | p99 | round-robin's p99 is so many times | to the slow one |");
        println!("|---|--:|--:|--:|--:|");
        let runs = |balancer| -> Vec<Run> {
            let rate = 7.1 * f64::from(percent);
            let run = |seed| simulate(seed, balancer, one_slow(), rate, 3.0e6 / rate);
            (0..SEEDS).map(run).collect()
        };
        let turns = runs(Balancer::RoundRobin);
        for balancer in Balancer::ALL {
            let runs = runs(balancer);
            let better = |(run, turns): (&Run, &Run)| turns.percentile(0.99) / run.percentile(0.99);
            let times: Vec<f64> = runs.iter().zip(&turns).map(better).collect();
            let of_runs = |of: fn(&Run) -> f64| median(runs.iter().map(of).collect());
            let (p50, p99) =
                (of_runs(|run| run.percentile(0.5)), of_runs(|run| run.percentile(0.99)));
            let slow = of_runs(|run| 100.0 * run.share(0, 0.0..f64::MAX));
            let typical = median(times.clone());
            println!("| {balancer:?} | {p50:.0} | {p99:.0} | {typical:.1} | {slow:.1} % |");
            if matches!(balancer, Balancer::TwoChoices | Balancer::LeastLatency) {
                assert!(typical >= typically, "{balancer:?}: {typical:.1} times");
                for (seed, times) in times.iter().enumerate() {
                    assert!(*times >= always, "seed {seed}: {balancer:?} {times:.1} times");
                }
            }
        }
    }
}

/// Eight good servers, of which the first is changed.
fn one_other(change: impl Fn(&mut Server)) -> Vec<Server> {
    let mut servers = vec![Server::answering_in(20.0); 8];
    change(&mut servers[0]);
    servers
}

/// Sums over all seeds of what went where, in parts of a fair share.
fn of_a_fair_share(
    balancer: Balancer,
    servers: &[Server],
    rate: f64,
    times: &[std::ops::Range<f64>],
) -> Vec<f64> {
    let millis = times.last().map_or(0.0, |time| time.end);
    let mut sums = vec![0.0; times.len()];
    for seed in 0..SEEDS {
        let run = simulate(seed, balancer, servers.to_vec(), rate, millis);
        for (sum, time) in sums.iter_mut().zip(times) {
            *sum += run.share(0, time.clone()) * servers.len() as f64 / SEEDS as f64;
        }
    }
    sums
}

#[test]
fn a_server_that_fails_fast_attracts_nothing_and_is_forgiven_within_seconds() {
    println!(
        "of a fair share, while one of eight fails in a millisecond and after it is well again"
    );
    println!("| requests a second | balance | failing | 5 s after | 5 s to 15 s after |");
    println!("|--:|---|--:|--:|--:|");
    let servers = one_other(|server| server.failing = 0.0..20_000.0);
    // The first seconds are those of learning.
    let times = [2_000.0..20_000.0, 20_000.0..25_000.0, 25_000.0..35_000.0];
    for rate in [5.0, 50.0, 200.0] {
        for balancer in [Balancer::TwoChoices, Balancer::LeastLatency] {
            let shares = of_a_fair_share(balancer, &servers, rate, &times);
            let [failing, after, later] = shares[..] else { unreachable!("three times") };
            println!("| {rate} | {balancer:?} | {failing:.2} | {after:.2} | {later:.2} |");
            if balancer == Balancer::LeastLatency {
                let most = if rate < 50.0 { 0.3 } else { 0.05 };
                assert!(failing < most, "{rate}/s: {failing} of a fair share");
                assert!(after > 0.4, "{rate}/s: {after} of a fair share in five seconds");
                assert!(later > 0.9, "{rate}/s: {later} of a fair share in the end");
            }
        }
    }
}

/// It would be no gain if a few failures, as there always are, threw all out of step.
#[test]
fn failures_that_all_servers_have_cost_little() {
    let slowest = |faulty: f64| {
        let mut servers = vec![Server::answering_in(20.0); 8];
        servers.iter_mut().for_each(|server| server.faulty = faulty);
        let run = |seed| simulate(seed, Balancer::LeastLatency, servers.clone(), 250.0, 10_000.0);
        median((0..SEEDS).map(|seed| run(seed).percentile(0.99)).collect())
    };
    let without = slowest(0.0);
    for (faulty, most) in [(0.001, 1.1), (0.01, 1.3), (0.1, 1.7)] {
        let with = slowest(faulty);
        println!("p99 {without:.0} ms without failures, {with:.0} ms when {faulty} of answers are");
        assert!(with < most * without, "{faulty}: {with} ms beside {without} ms");
    }
}

/// The first answer takes three seconds. Until it is there, nothing is known but what is in flight.
#[test]
fn a_cold_server_takes_no_more_than_its_share_until_it_has_answered() {
    let cold = |server: &mut Server| (server.joins, server.first) = (2_000.0, 3_000.0);
    let servers = one_other(cold);
    for rate in [5.0, 50.0, 200.0] {
        let times = [0.0..2_000.0, 2_000.0..5_000.0];
        let shares = of_a_fair_share(Balancer::LeastLatency, &servers, rate, &times);
        println!("{rate}/s: {:.2} of a fair share until the first answer", shares[1]);
        assert_eq!(shares[0], 0.0, "it was not there");
        assert!(shares[1] > 0.0 && shares[1] < 0.6, "{rate}/s: {} of a fair share", shares[1]);
    }
}

/// One that is as good as the others takes its place among them at once.
#[test]
fn a_new_server_soon_has_its_share() {
    let servers = one_other(|server| server.joins = 2_000.0);
    for rate in [50.0, 200.0] {
        let times = [2_000.0..4_000.0, 4_000.0..10_000.0];
        let shares = of_a_fair_share(Balancer::LeastLatency, &servers, rate, &times);
        println!("{rate}/s: {:.2}, then {:.2} of a fair share", shares[0], shares[1]);
        assert!(shares.iter().all(|share| (0.8..1.5).contains(share)), "{rate}/s: {shares:?}");
    }
}

/// One that was slow once is tried again: with one request, not with a burst.
#[test]
fn a_slow_server_is_tried_now_and_then() {
    for rate in [50.0, 200.0] {
        let mut servers = vec![Server::answering_in(10.0); 8];
        servers[0] = Server::answering_in(500.0);
        let (mut tries, mut bursts) = (0, 0);
        for seed in 0..SEEDS {
            let run = simulate(seed, Balancer::LeastLatency, servers.clone(), rate, 120_000.0);
            let there: Vec<f64> = run
                .served
                .iter()
                .filter(|s| s.server == 0 && s.at > 5_000.0)
                .map(|s| s.at)
                .collect();
            tries += there.len();
            // Four within a second.
            bursts += there.windows(4).filter(|four| four[3] - four[0] < 1_000.0).count();
        }
        println!("{rate}/s: tried {tries} times in {SEEDS} runs of two minutes, {bursts} bursts");
        assert!(tries as u64 > SEEDS, "{tries}");
        assert!(bursts * 20 < tries, "{bursts} bursts among {tries}");
    }
}

/// Requests in flight by server, and weights.
struct Loads(Vec<u32>, Vec<u32>);

impl Servers for Loads {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn weight(&self, server: usize) -> u32 {
        self.1[server]
    }
    fn load(&self, server: usize) -> u32 {
        self.0[server]
    }
    fn latency(&self, _server: usize) -> f32 {
        1000.0
    }
    fn is_usable(&self, _server: usize) -> bool {
        true
    }
}

/// What part of the requests each server gets, while always so many are in flight and each of
/// them is as likely to be answered next.
fn shares(
    seed: u64,
    weights: &[u32],
    in_flight: u64,
    choose: impl Fn(&Loads, &Weights, &mut Random) -> Option<usize>,
) -> Vec<f64> {
    const REQUESTS: u32 = 10_000;
    let mut random = Random::seeded(seed);
    let mut servers = Loads(vec![0; weights.len()], weights.to_vec());
    let table = Weights::new(weights);
    let mut flying: Vec<usize> = Vec::new();
    let mut counts = vec![0u32; weights.len()];
    for request in 0..REQUESTS + in_flight as u32 {
        if flying.len() as u64 == in_flight {
            let done = flying.swap_remove(random.below(in_flight) as usize);
            servers.0[done] -= 1;
        }
        let server = choose(&servers, &table, &mut random).expect("all are usable");
        servers.0[server] += 1;
        flying.push(server);
        // The first ones only fill the servers.
        counts[server] += u32::from(u64::from(request) >= in_flight);
    }
    counts.iter().map(|&count| f64::from(count) / f64::from(REQUESTS)).collect()
}

/// When idle and when busy, weights are honoured within two percent. In between requests do not
/// divide: two in flight cannot be shared out as 1 to 3. Nobody has a request too many then.
#[test]
fn weights_are_honoured_by_those_that_look_at_loads() {
    type Choose = fn(&Loads, &Weights, &mut Random) -> Option<usize>;
    let balancers: [(&str, Choose); 3] = [
        ("least-connections", least_connections::choose),
        ("two-choices", two_choices::choose),
        ("least-latency", least_latency::choose),
    ];
    for weights in [&[100, 300][..], &[100, 200, 500], &[10, 100, 100, 100], &[100, 1000]] {
        let whole = f64::from(weights.iter().sum::<u32>());
        for (name, choose) in balancers {
            for in_flight in [1, 2, 3, 5, 8, 16, 64, 256] {
                let runs = if matches!(in_flight, 1 | 256) { SEEDS } else { 4 };
                for seed in 0..runs {
                    let shares = shares(seed, weights, in_flight, choose);
                    for (share, weight) in shares.iter().zip(weights) {
                        let off = (share - f64::from(*weight) / whole).abs();
                        let most = if runs == SEEDS { 0.02 } else { 1.0 / in_flight as f64 };
                        let case = format!("seed {seed}, {name}, {weights:?}, {in_flight}");
                        assert!(off < most, "{case}: {shares:?}");
                    }
                }
            }
        }
    }
}
