//! `cargo xtask tiers`: two edges, a regional node and a shield, each with its file of
//! `examples/tiers`, before one small application, and which of them answers how many requests.
//!
//! Everything it starts ends with it, whatever ends it. It measures nothing: the load takes its time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use seawall_testkit::{Process, RawClient, Seawall};

use crate::build;
use crate::scene::{self, Stop, Stopped, grouped};
use crate::stage::load::zipf;

/// Options of `cargo xtask tiers`.
#[derive(Debug, Args)]
pub(crate) struct Tiers {
    /// How long each of the three scenes lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 4,
          value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Show this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    seawall: Option<PathBuf>,
    /// Put it before this instance of `hello` instead of building one.
    #[arg(long, value_name = "FILE")]
    hello: Option<PathBuf>,
}

/// Pages that are asked for, of 16 KiB each: 32 MiB in all.
const PAGES: usize = 2_000;

/// What an edge has room for, so that not everything fits.
const EDGE: &str = "4MiB";

/// The same of the regional node.
const REGIONAL: &str = "16MiB";

/// Connections of the load to each edge.
const CONNECTIONS: usize = 4;

/// The rest of a connection after each answer, so that the machine has some air.
const REST: Duration = Duration::from_micros(500);

impl Tiers {
    /// Runs the show.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let built = |given: &Option<PathBuf>, name| match given {
            Some(file) => Ok(file.clone()),
            None => build::release(name),
        };
        let (seawall, hello) = (built(&self.seawall, "seawall")?, built(&self.hello, "hello")?);
        let stop = Stop::watch()?;
        let mut stage = Stage::set(&seawall, &hello)?;
        match stage.show(&stop, Duration::from_secs(self.seconds)) {
            Err(error) if error.is::<Stopped>() => {
                println!("\nstopped");
                Ok(())
            }
            outcome => outcome.with_context(|| format!("the show failed; {}", stage.logs())),
        }
    }
}

/// Everything that runs.
struct Stage {
    edges: Vec<Seawall>,
    /// `None` once it was killed.
    regional: Option<Seawall>,
    shield: Seawall,
    _origin: Process,
}

/// How many requests each tier has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Asked {
    edges: u64,
    regional: u64,
    shield: u64,
    origin: u64,
}

impl Stage {
    fn set(seawall: &Path, hello: &Path) -> anyhow::Result<Stage> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (origin, app) = scene::hello(hello, "origin", anywhere)?;
        let start = |tier: &str, memory: &str, next: Option<(&'static str, SocketAddr)>| {
            let mut variables = vec![
                ("LISTEN", anywhere.to_string()),
                ("ADMIN", anywhere.to_string()),
                ("APP", app.to_string()),
                ("MEMORY", memory.to_owned()),
            ];
            variables.extend(next.map(|(name, address)| (name, address.to_string())));
            let file = build::root().join(format!("examples/tiers/{tier}.toml"));
            Seawall::start_file_apart(seawall, &file, &variables)
                .with_context(|| format!("the tier `{tier}` does not start"))
        };
        let shield = start("shield", "256MiB", None)?;
        let regional = start("regional", REGIONAL, Some(("SHIELD", shield.address("web"))))?;
        let next = Some(("REGIONAL", regional.address("web")));
        let edges = vec![start("edge", EDGE, next)?, start("edge", EDGE, next)?];
        Ok(Stage { edges, regional: Some(regional), shield, _origin: origin })
    }

    fn show(&mut self, stop: &Stop, time: Duration) -> anyhow::Result<()> {
        println!(
            "\n{} pages of 16 KiB, asked for by Zipf's law; room for {EDGE} at each of two edges, \
             {REGIONAL} at the regional node, everything at the shield",
            grouped(PAGES as u64)
        );
        self.scene(stop, time, "Nothing is stored yet")?;
        let warm = self.scene(stop, time, "The tiers have filled")?;
        ensure!(warm.origin < warm.shield, "the shield keeps nothing: {warm:?}");
        // Dropped, it is killed.
        self.regional = None;
        self.scene(
            stop,
            time,
            "The regional node was killed: the edges ask the origin themselves",
        )?;
        Ok(())
    }

    /// Sends requests for so long, and prints which tier has answered how many of them.
    fn scene(&self, stop: &Stop, time: Duration, title: &str) -> anyhow::Result<Asked> {
        println!("\n{title}");
        let before = self.asked()?;
        let deadline = Instant::now() + time;
        let edges: Vec<_> = self.edges.iter().map(|edge| edge.address("web")).collect();
        let sent = thread::scope(|scope| {
            let clients: Vec<_> = edges
                .iter()
                .flat_map(|edge| [*edge; CONNECTIONS])
                .map(|edge| scope.spawn(move || ask(edge, deadline, stop)))
                .collect();
            clients.into_iter().try_fold(0, |sent, client| match client.join() {
                Ok(asked) => Ok(sent + asked?),
                Err(_) => bail!("a client of the load panicked"),
            })
        })?;
        let asked = self.asked()?.since(before);
        ensure!(sent > 0 && asked.edges == sent, "{sent} requests were sent, but: {asked:?}");
        asked.print();
        Ok(asked)
    }

    /// What the metrics say. The server says nothing, so those who ask it are asked.
    fn asked(&self) -> anyhow::Result<Asked> {
        let site = |node: &Seawall| node.metric("seawall_requests_total", &["route=\"site\""]);
        let mut asked = Asked { shield: site(&self.shield)? as u64, ..Asked::default() };
        for edge in &self.edges {
            asked.edges += site(edge)? as u64;
        }
        if let Some(regional) = &self.regional {
            asked.regional = site(regional)? as u64;
        }
        for node in self.edges.iter().chain(&self.regional).chain([&self.shield]) {
            asked.origin +=
                node.metric("seawall_upstream_requests_total", &["upstream=\"app\""])? as u64;
        }
        Ok(asked)
    }

    fn logs(&self) -> String {
        let nodes = self.edges.iter().chain(&self.regional).chain([&self.shield]);
        let logs: Vec<_> = nodes.map(Seawall::log).collect();
        format!("the logs of edges, regional node and shield:\n{}", logs.join("\n"))
    }
}

impl Asked {
    /// What was asked since `before`. A node that is gone has been asked nothing.
    fn since(self, before: Asked) -> Asked {
        Asked {
            edges: self.edges.saturating_sub(before.edges),
            regional: self.regional.saturating_sub(before.regional),
            shield: self.shield.saturating_sub(before.shield),
            origin: self.origin.saturating_sub(before.origin),
        }
    }

    fn print(self) {
        let Asked { edges, regional, shield, origin } = self;
        println!("              asked    of all");
        for (name, asked) in
            [("edges", edges), ("regional", regional), ("shield", shield), ("origin", origin)]
        {
            let share = asked as f64 * 100.0 / edges as f64;
            let bar = "█".repeat((share * 0.4).round() as usize);
            println!("  {name:<9}{:>8}  {share:>5.1} %  {bar}", grouped(asked));
        }
    }
}

/// Asks for pages until the deadline, and gives how many it has asked for.
fn ask(edge: SocketAddr, deadline: Instant, stop: &Stop) -> anyhow::Result<u64> {
    let sums = zipf(PAGES);
    let mut client = RawClient::connect(edge)?;
    let mut sent = 0;
    while Instant::now() < deadline {
        let random = fastrand::f64();
        let page = sums.partition_point(|sum| *sum < random);
        let answer = client.get("site.example.com", &format!("/pages/{page}"))?;
        sent += 1;
        ensure!(answer.status == 200, "page {page}: status {}", answer.status);
        ensure!(
            answer.text().starts_with(&format!("page {page} ")),
            "page {page} is another one: {:?}",
            answer.text().lines().next()
        );
        ensure!(!stop.is_asked(), Stopped);
        thread::sleep(REST);
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_gone_was_asked_nothing() {
        let before = Asked { edges: 9, regional: 4, shield: 2, origin: 1 };
        let now = Asked { edges: 12, regional: 0, shield: 2, origin: 3 };
        let expect = Asked { edges: 3, regional: 0, shield: 0, origin: 2 };
        assert_eq!(now.since(before), expect);
    }
}
