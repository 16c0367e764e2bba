//! `cargo xtask demo`: Seawall at work in front of three instances of a small application, while
//! its configuration is replaced, one of the instances is killed, and answers are cached.
//!
//! Everything it starts ends with it, whatever ends it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use seawall_testkit::{Load, LoadPlan, Process, Seawall, Tally};

use crate::build;
use crate::scene::{self, Stop, Stopped, grouped};

/// Options of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Stop by itself so many seconds after the show, instead of at Ctrl-C.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Where the site listens; port 0 takes a free port.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Show this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    seawall: Option<PathBuf>,
}

/// The instances.
const NAMES: [&str; 3] = ["anna", "ben", "carl"];

/// Connections of the load.
const CONNECTIONS: usize = 8;

/// How long each scene lasts.
const SCENE: Duration = Duration::from_secs(3);

impl Demo {
    /// Runs the show, then waits to be stopped.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let seawall = match &self.seawall {
            Some(file) => file.clone(),
            None => build::release("seawall")?,
        };
        let hello = build::release("hello")?;
        // From here on Ctrl-C reaches only this process, which then ends the others.
        let stop = Stop::watch()?;
        let mut stage = Stage::set(&seawall, &hello, self.listen)?;
        let outcome = stage.show(&stop).and_then(|()| self.wait(&stop));
        let log = stage.seawall.log();
        stage.clear();
        match outcome {
            Err(error) if error.is::<Stopped>() => {
                println!("\nstopped");
                Ok(())
            }
            outcome => outcome.with_context(|| format!("the show failed; Seawall's log:\n{log}")),
        }
    }

    fn wait(&self, stop: &Stop) -> anyhow::Result<()> {
        match self.seconds {
            Some(seconds) => stop.sleep(Duration::from_secs(seconds)),
            None => {
                println!("\nAll of it keeps running for you to look at. Ctrl-C ends it.");
                stop.sleep(Duration::MAX)
            }
        }
    }
}

/// Everything that runs.
struct Stage {
    seawall: Seawall,
    instances: Vec<Instance>,
    hello: PathBuf,
    listen: SocketAddr,
}

struct Instance {
    name: &'static str,
    address: SocketAddr,
    process: Process,
}

impl Stage {
    fn set(seawall: &Path, hello: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let mut instances = Vec::new();
        for name in NAMES {
            instances.push(Instance::start(hello, name, SocketAddr::from(([127, 0, 0, 1], 0)))?);
        }
        let config = config(listen, &instances, 1, "");
        let seawall = Seawall::start_apart(seawall, &config).context("Seawall does not start")?;
        Ok(Self { seawall, instances, hello: hello.to_owned(), listen })
    }

    fn show(&mut self, stop: &Stop) -> anyhow::Result<()> {
        self.introduce()?;
        let load = LoadPlan::get(self.seawall.address("web"), "/api/time", CONNECTIONS)
            .judging(|answer| match (answer.status, answer.header("x-instance")) {
                (200, Some(instance)) => Ok(instance.to_owned()),
                (status, _) => Err(format!("status {status}")),
            })
            .resting(Duration::from_millis(1))
            .start()?;

        let told = scene(&load, stop, "Balancing: two random instances, the less busy one")?;
        ensure!(told.failed == 0, "requests failed with nothing the matter: {:?}", told.failures);
        ensure!(told.by_name.len() == NAMES.len(), "not every instance was asked");

        self.reload(4, "")?;
        let told =
            scene(&load, stop, "Live reload: anna now has four times the weight of the others")?;
        ensure!(told.failed == 0, "requests failed in a reload: {:?}", told.failures);

        self.carl().process.kill().context("carl cannot be killed")?;
        scene(&load, stop, "carl was killed (SIGKILL): only what was in flight to it may fail")?;

        let address = self.carl().address;
        *self.carl() = Instance::start(&self.hello, "carl", address)?;
        scene(&load, stop, "carl is back at the same address")?;

        // The instances say `no-store`, so that each answer above is one of theirs.
        let cache = "cache = { ttl = \"1s\", ignore-origin = true }";
        self.reload(1, &format!("{cache}\n"))?;
        println!("\nLive reload: `{cache}`");
        let (before, fetched) = (load.tally().ok, self.fetched()?);
        stop.sleep(SCENE)?;
        let (answered, fetched) = (load.tally().ok - before, self.fetched()? - fetched);
        println!("  {:<24}{:>9}", "answered", grouped(answered));
        println!("  {:<24}{:>9}", "asked of the instances", grouped(fetched));
        ensure!(fetched > 0 && fetched * 10 < answered, "the cache answers too little");

        let tally = load.stop();
        println!("\n{} requests answered, {} failed", grouped(tally.ok), grouped(tally.failed));
        Ok(())
    }

    /// Puts another configuration in place, with this weight for the first instance and these keys
    /// for the route.
    fn reload(&mut self, weight: u32, keys: &str) -> anyhow::Result<()> {
        self.seawall.rewrite(&config(self.listen, &self.instances, weight, keys))?;
        let answer = self.seawall.reload().context("the admin API does not reload")?;
        ensure!(answer.status < 300, "the reload was refused: {} {}", answer.status, answer.text());
        Ok(())
    }

    /// Requests that the instances were sent.
    fn fetched(&self) -> anyhow::Result<u64> {
        Ok(self.seawall.metric("seawall_upstream_requests_total", &[])? as u64)
    }

    fn introduce(&self) -> anyhow::Result<()> {
        let mut text = String::from("\n");
        writeln!(text, "  site     http://{}/", self.seawall.address("web"))?;
        if let Some(admin) = self.seawall.admin() {
            writeln!(text, "  metrics  http://{admin}/metrics")?;
        }
        for instance in &self.instances {
            writeln!(text, "  {:<8} http://{}/ (behind it)", instance.name, instance.address)?;
        }
        writeln!(text, "  config   {}", self.seawall.config().display())?;
        print!("{text}");
        Ok(())
    }

    fn carl(&mut self) -> &mut Instance {
        let last = self.instances.len() - 1;
        &mut self.instances[last]
    }

    /// Asks everything to end; whoever does not is killed when this is dropped.
    fn clear(mut self) {
        self.seawall.terminate().ok();
        for instance in &mut self.instances {
            instance.process.terminate().ok();
        }
        let patience = Duration::from_secs(5);
        self.seawall.process().wait_for(patience).ok();
        for instance in &mut self.instances {
            instance.process.wait_for(patience).ok();
        }
    }
}

impl Instance {
    fn start(hello: &Path, name: &'static str, listen: SocketAddr) -> anyhow::Result<Self> {
        let (process, address) = scene::hello(hello, name, listen)?;
        Ok(Self { name, address, process })
    }
}

/// The configuration of the demo, with this weight for the first instance and these keys for the
/// route.
fn config(listen: SocketAddr, instances: &[Instance], weight: u32, keys: &str) -> String {
    let servers: Vec<String> = instances
        .iter()
        .enumerate()
        .map(|(position, instance)| match position {
            0 => format!("{{ address = \"{}\", weight = {weight} }}", instance.address),
            _ => format!("\"{}\"", instance.address),
        })
        .collect();
    format!(
        "[server]\nadmin = \"127.0.0.1:0\"\n\n\
         [listen.web]\naddress = \"{listen}\"\n\n\
         [upstream.hello]\nservers = [{}]\n\n\
         [[route]]\nto = \"hello\"\n{keys}",
        servers.join(", ")
    )
}

/// Lets the load run for a scene and prints who answered.
fn scene(load: &Load, stop: &Stop, title: &str) -> anyhow::Result<Tally> {
    println!("\n{title}");
    let before = load.tally();
    stop.sleep(SCENE)?;
    let tally = since(&load.tally(), &before);
    let most = tally.by_name.values().copied().max().unwrap_or(1).max(1);
    for name in NAMES {
        let count = tally.by_name.get(name).copied().unwrap_or(0);
        let bar = "█".repeat(usize::try_from(count * 40 / most).unwrap_or(0));
        println!("  {name:<6}{:>9}  {bar}", grouped(count));
    }
    println!("  failed{:>9}", grouped(tally.failed));
    for (what, count) in &tally.failures {
        println!("          {count} × {what}");
    }
    Ok(tally)
}

/// What was added since `before`.
fn since(now: &Tally, before: &Tally) -> Tally {
    let mut tally = now.clone();
    tally.ok -= before.ok;
    tally.failed -= before.failed;
    tally.retried -= before.retried;
    for (counts, old) in
        [(&mut tally.by_name, &before.by_name), (&mut tally.failures, &before.failures)]
    {
        for (name, count) in counts.iter_mut() {
            *count -= old.get(name).copied().unwrap_or(0);
        }
        counts.retain(|_, count| *count > 0);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_counts_only_its_own() {
        let mut before = Tally { ok: 3, failed: 1, ..Tally::default() };
        before.by_name.insert("a".to_owned(), 3);
        before.failures.insert("x".to_owned(), 1);
        let mut now = before.clone();
        now.ok = 5;
        now.by_name.insert("b".to_owned(), 2);
        let tally = since(&now, &before);
        assert_eq!((tally.ok, tally.failed, tally.failures.len()), (2, 0, 0));
        assert_eq!(tally.by_name.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 2)]);
    }
}
