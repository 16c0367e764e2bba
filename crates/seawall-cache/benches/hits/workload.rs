//! What is asked for, in which order, and how large it is. All of it from seeds or files: two runs
//! see the same.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Objects of a generated workload, without those of a scan.
pub(crate) const OBJECTS: u32 = 100_000;

/// Requests of a generated workload.
const REQUESTS: usize = 2_000_000;

/// After so many requests of [`Order::Scan`] …
const BETWEEN_SCANS: usize = 30_000;

/// … come so many for objects that nobody asks for again.
const SCAN: usize = 10_000;

/// Bytes of each object where all are equal: that they are does matter, how large does not.
const EQUAL: u32 = 1 << 10;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: u32,
    /// Bytes of what is answered.
    pub(crate) size: u32,
}

/// A list of requests.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) sizes: Sizes,
    pub(crate) requests: Vec<Request>,
    /// How many objects its cache would have to hold to hold all, and their bytes.
    pub(crate) objects: usize,
    pub(crate) bytes: u64,
}

/// In which order a workload asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Order {
    /// The object of rank `n` with a probability in proportion to `n` to the power of `-α`.
    Zipf(f64),
    /// The same, and a crawler that comes by now and then.
    Scan(f64),
    /// As a site with objects of many sizes was asked.
    TraceRequest,
    /// As a site was asked; sizes are not known.
    TraceWeb07,
}

impl Order {
    /// Whether it is always the same, whatever the seed.
    pub(crate) fn is_recorded(self) -> bool {
        matches!(self, Self::TraceRequest | Self::TraceWeb07)
    }
}

/// How large the objects of a workload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// All the same.
    Equal,
    /// Log-normal with µ = 9.357 and σ = 1.318 in bytes, as the bodies of web pages are (Barford,
    /// Crovella, SIGMETRICS 1998), independent of how often they are asked for.
    Web,
    /// As they were.
    Real,
}

/// Every workload there is.
pub(crate) const ALL: [(Order, Sizes); 12] = [
    (Order::Zipf(0.8), Sizes::Equal),
    (Order::Zipf(0.9), Sizes::Equal),
    (Order::Zipf(1.0), Sizes::Equal),
    (Order::Zipf(1.1), Sizes::Equal),
    (Order::Scan(0.9), Sizes::Equal),
    (Order::Zipf(0.8), Sizes::Web),
    (Order::Zipf(0.9), Sizes::Web),
    (Order::Zipf(1.0), Sizes::Web),
    (Order::Zipf(1.1), Sizes::Web),
    (Order::Scan(0.9), Sizes::Web),
    (Order::TraceRequest, Sizes::Real),
    (Order::TraceWeb07, Sizes::Equal),
];

/// Its name on the command line and in the results.
pub(crate) fn name(order: Order, sizes: Sizes) -> String {
    let order = match order {
        Order::Zipf(alpha) => format!("zipf-{alpha:.1}"),
        Order::Scan(alpha) => format!("scan-{alpha:.1}"),
        Order::TraceRequest => "request".to_owned(),
        Order::TraceWeb07 => "web07".to_owned(),
    };
    match sizes {
        Sizes::Equal => format!("{order}-equal"),
        Sizes::Web => format!("{order}-web"),
        Sizes::Real => order,
    }
}

impl Workload {
    /// Makes it from a seed, or reads it from a folder.
    pub(crate) fn new(
        order: Order,
        sizes: Sizes,
        requests: Option<usize>,
        seed: u64,
        traces: &Path,
    ) -> Workload {
        let length = requests.unwrap_or(REQUESTS);
        match order {
            Order::Zipf(alpha) => {
                Self::sized(&Zipf::new(OBJECTS, alpha).ids(length, seed), sizes, seed)
            }
            Order::Scan(alpha) => Self::sized(&with_scans(alpha, length, seed), sizes, seed),
            Order::TraceRequest => {
                let text = String::from_utf8(unpacked(&traces.join("request.trace.xz")))
                    .expect("it is ASCII");
                Self::sum_up(sizes, text.lines().map(traced).collect(), |_| true)
            }
            Order::TraceWeb07 => {
                let bytes = unpacked(&traces.join("web07.trace.xz"));
                let ids: Vec<u32> =
                    bytes.as_chunks().0.iter().map(|id| u32::from_be_bytes(*id)).collect();
                let request = |&id| Request { id, size: EQUAL };
                Self::sum_up(sizes, ids.iter().map(request).collect(), |_| true)
            }
        }
    }

    fn sized(ids: &[u32], sizes: Sizes, seed: u64) -> Workload {
        let most = ids.iter().max().map_or(0, |id| *id as usize + 1);
        let mut random = fastrand::Rng::with_seed(!seed);
        let size: Vec<u32> = (0..most)
            .map(|_| match sizes {
                Sizes::Web => log_normal(&mut random, 9.357, 1.318).max(1.0) as u32,
                Sizes::Equal | Sizes::Real => EQUAL,
            })
            .collect();
        let request = |&id| Request { id, size: size[id as usize] };
        // What a scan asks for is no part of what a cache is made for.
        Self::sum_up(sizes, ids.iter().map(request).collect(), |id| id < OBJECTS)
    }

    fn sum_up(sizes: Sizes, requests: Vec<Request>, counts: impl Fn(u32) -> bool) -> Workload {
        let mut last = std::collections::HashMap::new();
        last.extend(requests.iter().map(|request| (request.id, u64::from(request.size))));
        last.retain(|&id, _| counts(id));
        Workload { sizes, objects: last.len(), bytes: last.values().sum(), requests }
    }
}

/// Ids by rank, the most popular first.
pub(crate) struct Zipf {
    /// The probability of this rank and all before it.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(objects: u32, alpha: f64) -> Zipf {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=objects)
            .map(|rank| {
                sum += f64::from(rank).powf(-alpha);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|part| *part /= sum);
        Zipf { cumulative }
    }

    pub(crate) fn ids(&self, length: usize, seed: u64) -> Vec<u32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let last = self.cumulative.len() - 1;
        let draw = |_| {
            let at = random.f64();
            self.cumulative.partition_point(|part| *part <= at).min(last) as u32
        };
        (0..length).map(draw).collect()
    }
}

/// A crawler comes by after every [`BETWEEN_SCANS`] requests.
fn with_scans(alpha: f64, length: usize, seed: u64) -> Vec<u32> {
    let wanted = Zipf::new(OBJECTS, alpha).ids(length, seed);
    let mut next = OBJECTS;
    let mut ids = Vec::with_capacity(length);
    for part in wanted.chunks(BETWEEN_SCANS) {
        ids.extend_from_slice(part);
        ids.extend(next..next + SCAN as u32);
        next += SCAN as u32;
        if ids.len() >= length {
            break;
        }
    }
    ids.truncate(length);
    ids
}

/// By Box and Muller.
fn log_normal(random: &mut fastrand::Rng, mean: f64, deviation: f64) -> f64 {
    let (radius, angle) = (1.0 - random.f64(), random.f64());
    let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    (mean + deviation * normal).exp()
}

fn traced(line: &str) -> Request {
    let mut words = line.split_ascii_whitespace().skip(1);
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let (id, size) = (number().expect("an id"), number().expect("a size"));
    Request { id, size }
}

/// Where the traces are that come with the repository.
pub(crate) fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/data")
}

fn unpacked(file: &Path) -> Vec<u8> {
    let output = Command::new("xz").arg("-dc").arg(file).output().expect("to run xz (xz-utils)");
    assert!(output.status.success(), "xz cannot read {}", file.display());
    output.stdout
}
