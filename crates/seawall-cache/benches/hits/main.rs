//! How often what is asked for is there, beside other caches that weigh objects by their bytes.
//! `cargo xtask bench hits` runs it and keeps what it prints; `cargo bench -p seawall-cache --bench
//! hits -- WORD…` prints the rows of the workloads whose names contain one of the words. With
//! `--seed=N` generated workloads are others than those that the policy was made with.

use std::env;
use std::thread;

mod policy;
mod speed;
mod workload;

use policy::{Contestant, Policy};
use workload::{Order, Sizes, Workload};

/// Parts of all objects, by bytes, that there is room for; in percent.
const ROOM: [u64; 2] = [1, 10];

/// Requests of a generated workload with `--quick`.
const QUICK: usize = 200_000;

fn main() {
    // Cargo says `--bench` itself.
    let options: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let (flags, words): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|word| word.starts_with("--"));
    let quick = flags.iter().any(|flag| flag == "--quick").then_some(QUICK);
    let seed = flags.iter().find_map(|flag| flag.strip_prefix("--seed="));
    let seed = seed.map_or(1, |seed| seed.parse().expect("a seed is a number"));
    let chosen: Vec<(Order, Sizes)> = workload::ALL
        .into_iter()
        .filter(|&(order, sizes)| {
            let name = workload::name(order, sizes);
            words.is_empty() || words.iter().any(|word| name.contains(word))
        })
        .collect();
    if !chosen.is_empty() {
        compare_hits(&chosen, quick, seed);
    }
    if words.is_empty() || words.iter().any(|word| word == SPEED) {
        compare_speed();
    }
}

/// The word for the second table.
const SPEED: &str = "speed";

fn compare_hits(chosen: &[(Order, Sizes)], quick: Option<usize>, seed: u64) {
    let columns: Vec<&str> = policy::ALL.iter().map(|policy| policy.name()).collect();
    println!("| workload | room | hits by | {} | to the best | |", columns.join(" | "));
    println!("|---|--:|---|{}--:|---|", "--:|".repeat(columns.len()));
    for &(order, sizes) in chosen {
        let workload = Workload::new(order, sizes, quick, seed);
        for percent in ROOM {
            let found = compare(&workload, percent);
            let name = workload::name(order, sizes);
            row(&name, percent, "requests", found.iter().map(|found| found.requests));
            if sizes != Sizes::Equal {
                row(&name, percent, "bytes", found.iter().map(|found| found.bytes));
            }
        }
    }
    println!();
}

fn compare_speed() {
    let objects = speed::objects();
    println!("| cache | ns a look-up, 1 thread | 2 threads | found |\n|---|--:|--:|--:|");
    for policy in policy::ALL {
        let [one, two] = [1, 2].map(|threads| speed::measure(policy, threads, &objects));
        println!(
            "| {} | {:.0} | {:.0} | {:.1} % |",
            policy.name(),
            one.nanos,
            two.nanos,
            one.found
        );
    }
}

/// Hundredths of what was asked for that were there.
#[derive(Debug, Clone, Copy)]
struct Found {
    requests: f64,
    bytes: f64,
}

/// Each policy sees the same requests.
fn compare(workload: &Workload, percent: u64) -> Vec<Found> {
    thread::scope(|scope| {
        let runs: Vec<_> = policy::ALL
            .iter()
            .map(|&policy| scope.spawn(move || hits(policy, workload, percent)))
            .collect();
        runs.into_iter().map(|run| run.join().expect("a run ends")).collect()
    })
}

fn hits(policy: Policy, workload: &Workload, percent: u64) -> Found {
    let mut cache = Contestant::new(policy, workload, percent);
    let (mut hits, mut bytes, mut all) = (0_u64, 0_u64, 0_u64);
    for &request in &workload.requests {
        all += u64::from(request.size);
        if cache.request(request) {
            hits += 1;
            bytes += u64::from(request.size);
        }
    }
    Found {
        requests: 100.0 * hits as f64 / workload.requests.len() as f64,
        bytes: 100.0 * bytes as f64 / all as f64,
    }
}

/// `values` are in hundredths, Seawall's first. It should be no worse than the best of the others.
fn row(name: &str, percent: u64, by: &str, values: impl Iterator<Item = f64>) {
    // Judged as they are printed.
    let values: Vec<f64> = values.map(|value| (value * 100.0).round() / 100.0).collect();
    let best = values[1..].iter().copied().fold(0.0, f64::max);
    let ahead = values[0] - best;
    let verdict = if ahead >= 0.0 { "met" } else { "**not met**" };
    let values: Vec<String> = values.iter().map(|value| format!("{value:.2} %")).collect();
    println!("| {name} | {percent} % | {by} | {} | {ahead:+.2} | {verdict} |", values.join(" | "));
}
