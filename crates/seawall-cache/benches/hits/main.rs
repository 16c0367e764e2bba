//! How often what is asked for is there, beside other caches that weigh objects by their bytes.
//! `cargo xtask bench hits` runs it and keeps what it prints; `cargo bench -p seawall-cache --bench
//! hits -- WORD…` prints the rows of the workloads whose names contain one of the words. Generated
//! workloads are made from several seeds, `--seeds=1,2,3`; traces are read from `--traces=FOLDER`.

use std::env;
use std::path::{Path, PathBuf};
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

/// What generated workloads are made from. The policy was made with 1, 5, 6 and 77; the others are
/// new to it.
const SEEDS: [u64; 6] = [1, 5, 6, 7, 8, 77];

fn main() {
    // Cargo says `--bench` itself.
    let options: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let (flags, words): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|word| word.starts_with("--"));
    let flag = |name| flags.iter().find_map(|flag| flag.strip_prefix(name));
    let number = |seed: &str| seed.parse().expect("seeds are numbers, with commas between them");
    let source = Source {
        quick: flags.iter().any(|flag| flag == "--quick").then_some(QUICK),
        seeds: flag("--seeds=")
            .map_or(SEEDS.to_vec(), |seeds| seeds.split(',').map(number).collect()),
        traces: flag("--traces=").map_or_else(workload::traces, PathBuf::from),
    };
    let chosen: Vec<(Order, Sizes)> = workload::ALL
        .into_iter()
        .filter(|&(order, sizes)| {
            let name = workload::name(order, sizes);
            words.is_empty() || words.iter().any(|word| name.contains(word))
        })
        .collect();
    if !chosen.is_empty() {
        compare_hits(&chosen, &source);
    }
    if words.is_empty() || words.iter().any(|word| word == SPEED) {
        compare_speed();
    }
}

/// Where workloads come from.
struct Source {
    /// Requests of a generated one, if not as many as usual.
    quick: Option<usize>,
    /// Never empty.
    seeds: Vec<u64>,
    traces: PathBuf,
}

impl Source {
    /// One workload for each seed, or one that was recorded.
    fn workloads(&self, order: Order, sizes: Sizes) -> impl Iterator<Item = Workload> {
        let seeds = if order.is_recorded() { &self.seeds[..1] } else { &self.seeds };
        let traces: &Path = &self.traces;
        seeds.iter().map(move |&seed| Workload::new(order, sizes, self.quick, seed, traces))
    }
}

/// The word for the second table.
const SPEED: &str = "speed";

fn compare_hits(chosen: &[(Order, Sizes)], source: &Source) {
    let columns: Vec<&str> = policy::ALL.iter().map(|policy| policy.name()).collect();
    println!("| workload | room | hits by | {} | to the best | worst | |", columns.join(" | "));
    println!("|---|--:|---|{}--:|--:|---|", "--:|".repeat(columns.len()));
    for &(order, sizes) in chosen {
        let mut found = ROOM.map(|_| Vec::new());
        for workload in source.workloads(order, sizes) {
            for (percent, found) in ROOM.into_iter().zip(&mut found) {
                found.push(compare(&workload, percent));
            }
        }
        let name = workload::name(order, sizes);
        for (percent, found) in ROOM.into_iter().zip(&found) {
            row(&name, percent, "requests", found, |found| found.requests);
            if sizes != Sizes::Equal {
                row(&name, percent, "bytes", found, |found| found.bytes);
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

/// `found` is what each policy found, Seawall first, for each seed. It should be no worse than the
/// best of the others, in the mean of all seeds; the worst of them is told.
fn row(name: &str, percent: u64, by: &str, found: &[Vec<Found>], of: impl Fn(&Found) -> f64) {
    let mean = |values: &dyn Fn(&Vec<Found>) -> f64| {
        found.iter().map(values).sum::<f64>() / found.len() as f64
    };
    let best = |found: &Vec<Found>| found[1..].iter().map(&of).fold(0.0, f64::max);
    // Judged as they are printed.
    let hundredths = |value: f64| (value * 100.0).round() / 100.0;
    let means = (0..policy::ALL.len()).map(|policy| mean(&|found| of(&found[policy])));
    let ahead = hundredths(mean(&|found| of(&found[0]) - best(found)));
    let worst = found.iter().map(|found| of(&found[0]) - best(found)).fold(f64::INFINITY, f64::min);
    let worst = hundredths(worst);
    let verdict = if ahead >= 0.0 { "met" } else { "**not met**" };
    let means: Vec<String> = means.map(|value| format!("{value:.2} %")).collect();
    let means = means.join(" | ");
    println!("| {name} | {percent} % | {by} | {means} | {ahead:+.2} | {worst:+.2} | {verdict} |");
}
