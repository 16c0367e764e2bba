//! `cargo xtask`: the tasks of this repository as one program, so that nothing but cargo is
//! needed to run them.
//!
//! Never part of the product. It sees Seawall only from outside, through the testkit.

use clap::{Args, Parser, Subcommand};

mod bench;
mod build;
mod demo;
mod fuzz;
mod scene;
mod schemathesis;
mod stage;
mod test;
mod tiers;
mod tools;

/// The tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show Seawall at work: three instances of a small application behind it, with traffic.
    Demo(demo::Demo),
    /// Show tiers of caches: two edges, a regional node and a shield before one server.
    Tiers(tiers::Tiers),
    /// Run, or measure, a stage of the link shortener's growth: from one process to an edge.
    Stage(stage::Stage),
    /// Install what the tests need, and run all of them.
    Test(test::Test),
    /// Measure Seawall beside its peers on this machine.
    Bench(Bench),
    /// Run every fuzz target for some time.
    Fuzz(fuzz::Fuzz),
}

#[derive(Debug, Args)]
struct Bench {
    #[command(subcommand)]
    what: BenchWhat,
}

#[derive(Debug, Subcommand)]
enum BenchWhat {
    /// Proxying HTTP/1.1, beside NGINX and HAProxy: CPU time per request, latency, memory.
    Http(bench::Http),
    /// Eight servers of uneven speed behind Seawall, NGINX and HAProxy: the latency of answers.
    Balance(bench::balance::Balance),
    /// Choosing one of a hundred servers, by each balancer.
    Choice,
    /// Finding a route among ten thousand.
    Routes,
    /// Hits of the cache beside NGINX, HAProxy and Varnish: CPU time, latency, memory, disk, purges.
    Cache(bench::cache::Cache),
    /// The link shortener beside others: redirects, making links, what links and clicks take.
    Shortener(bench::shortener::Shortener),
    /// Hit ratios of the cache beside moka, quick_cache and LRU, and the time of a look-up.
    Hits(bench::hits::Hits),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Demo(demo) => demo.run(),
        Task::Tiers(tiers) => tiers.run(),
        Task::Stage(stage) => stage.run(),
        Task::Test(test) => test.run(),
        Task::Bench(bench) => match bench.what {
            BenchWhat::Http(http) => http.run(),
            BenchWhat::Balance(balance) => balance.run(),
            BenchWhat::Choice => bench::choice::run(),
            BenchWhat::Routes => bench::routes::run(),
            BenchWhat::Cache(cache) => cache.run(),
            BenchWhat::Shortener(shortener) => shortener.run(),
            BenchWhat::Hits(hits) => hits.run(),
        },
        Task::Fuzz(fuzz) => fuzz.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
