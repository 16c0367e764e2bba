//! `cargo xtask bench hits`: how often what is asked for is in the cache, beside other caches, on
//! generated workloads and on the traces in `bench/data`; and how long a look-up takes.

use std::path::PathBuf;

use clap::Args;

use super::part::Part;
use crate::tools::{self, Tool};

const HITS: Part = Part {
    package: "seawall-cache",
    bench: "hits",
    title: "Hits",
    how: "the part of requests, and of the bytes asked for, that was in the cache, from an empty \
          cache on. All caches weigh objects by their bytes and have room for a part of them all. \
          `zipf-α`: 2,000,000 requests for 100,000 objects, the one of rank n with a probability in \
          proportion to n to the power of −α; `scan`: after each 30,000 of them come 10,000 for \
          objects that nobody asks for again; `equal`: all of one size; `web`: log-normal sizes \
          (µ = 9.357, σ = 1.318, in bytes) independent of rank; \
          all of these from six seeds, of which the table has the mean, and the worst distance to the \
          best of the others; `request` and `web07`: real traces \
          (`bench/data`). Seawall is its policy in one shard; moka without a weigher where all are of \
          one size, and made to decide on what is new whenever that is 1 % of what fits; by itself \
          it holds up to 64 objects more than it may, which is much of the smallest caches here. The time of a look-up is that of a thread, with the insertion of what was not \
          found: 1,000,000 look-ups with α = 1.0 in Seawall\'s whole store of 64 MiB and as much in \
          the others, room for 10 % of the objects, threads free to run on all cores, the best of 3 \
          rounds.",
};

/// Options of `cargo xtask bench hits`.
#[derive(Debug, Args)]
pub(crate) struct Hits {
    /// A tenth of the requests: to see that it works, not to be believed.
    #[arg(long)]
    quick: bool,
    /// What generated requests and sizes are made from. Default: six seeds, with four of which the
    /// policy was made.
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    seeds: Vec<u64>,
    /// The folder of the traces. Default: `bench/data`.
    #[arg(long, env = "SEAWALL_TRACES", value_name = "FOLDER")]
    traces: Option<PathBuf>,
    /// Only workloads whose name has one of these words; `speed` stands for the time of a look-up.
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

impl Hits {
    /// Measures, and keeps the tables of a complete run in `bench/results/hits.md`.
    ///
    /// # Errors
    /// When it does not build or run, or the file cannot be written.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        tools::install_missing(&[Tool { program: "xz", package: "xz-utils" }])?;
        let mut arguments = self.words.clone();
        arguments.extend(self.quick.then(|| "--quick".to_owned()));
        if !self.seeds.is_empty() {
            let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
            arguments.push(format!("--seeds={}", seeds.join(",")));
        }
        let complete = arguments.is_empty();
        if let Some(traces) = &self.traces {
            // The benchmark runs in the folder of its crate.
            let traces = std::path::absolute(traces)?;
            arguments.push(format!("--traces={}", traces.display()));
        }
        let page = HITS.page(&arguments)?;
        print!("{page}");
        if complete { HITS.keep(&page) } else { Ok(()) }
    }
}
