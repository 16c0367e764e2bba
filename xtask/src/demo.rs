//! `cargo xtask demo`: Seawall in front of three instances of the link shortener, under load, while
//! one of them is killed, a cache is switched on, and a link is led somewhere else. Seawall reports
//! every click, so that each counts once whatever happens.
//!
//! It needs nothing but what this repository builds: the instances share one SQLite file.
//! Everything it starts ends with it, whatever ends it. It measures nothing: the load takes its
//! time.

mod visitors;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, ensure};
use clap::Args;
use seawall_testkit::{PATIENCE, Process, ReservedPort, Seawall, sum_of_samples};
use tempfile::TempDir;

use self::visitors::{Seen, Visitors};
use crate::build;
use crate::scene::{Stop, Stopped, grouped};
use crate::stage::api::{self, Api};
use crate::stage::{self, Programs, report};

/// Options of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Stop by itself so many seconds after the show, instead of at Ctrl-C.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Where the site listens; port 0 takes a free port.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Show this binary of `seawall` instead of building one.
    #[arg(long, value_name = "FILE")]
    seawall: Option<PathBuf>,
    /// Show this binary of `snip` instead of building one.
    #[arg(long, value_name = "FILE")]
    snip: Option<PathBuf>,
}

/// The instances.
const NAMES: [&str; 3] = ["anna", "ben", "carl"];

/// Links that are followed.
const LINKS: usize = 2_000;

/// How long each scene lasts.
const SCENE: Duration = Duration::from_secs(3);

/// How soon after a change everybody must be led to the new target of a link.
const SOON: Duration = Duration::from_secs(1);

/// What carries the reports of Seawall.
const TOKEN: &str = "of-the-demo";

impl Demo {
    /// Runs the show, then waits to be stopped.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let programs = stage::programs(self.seawall.as_ref(), self.snip.as_ref())?;
        // From here on Ctrl-C reaches only this process, which then ends the others.
        let stop = Stop::watch()?;
        let mut show = Show::set(&programs, self.listen)?;
        let outcome = show.play(&stop).and_then(|()| self.wait(&show, &stop));
        match outcome {
            Err(error) if error.is::<Stopped>() => {
                println!("\nstopped");
                Ok(())
            }
            outcome => {
                outcome.with_context(|| format!("the show failed; Seawall's log:\n{}", show.log()))
            }
        }
    }

    fn wait(&self, show: &Show, stop: &Stop) -> anyhow::Result<()> {
        if let Some(table) = report::kept(&build::root().join("bench/results")) {
            println!(
                "\nWhat stages of growth bear, measured on one machine of two cores:\n\n{table}"
            );
        }
        show.introduce();
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
struct Show {
    seawall: Seawall,
    instances: Vec<Instance>,
    key: String,
    snip: PathBuf,
    _ports: Vec<ReservedPort>,
    home: TempDir,
}

struct Instance {
    name: &'static str,
    address: SocketAddr,
    process: Process,
}

impl Show {
    fn set(programs: &Programs, listen: SocketAddr) -> anyhow::Result<Show> {
        let home = tempfile::tempdir()?;
        let ports = (0..NAMES.len() + 2)
            .map(|_| ReservedPort::new())
            .collect::<io::Result<Vec<_>>>()
            .context("there is no free port")?;
        let address = |port: usize| ports[port].address();
        let front = if listen.port() == 0 { address(0) } else { listen };
        let admin = address(1);
        let file = home.path().join("snip.toml");
        let text = format!(
            "url = \"http://{front}\"\ndatabase = \"sqlite:snip.db\"\ntrust = [\"127.0.0.1\"]\n\n\
             [cache]\nmemory-ttl = \"500ms\"\n\n[edge]\npurge = [\"http://{admin}\"]\n\n[clicks]\nreport-token = \"{TOKEN}\"\n"
        );
        fs::write(&file, text)?;
        let mut instances = Vec::new();
        for (number, name) in NAMES.into_iter().enumerate() {
            let address = address(number + 2);
            let process = serve(&programs.snip, &home, address)?;
            instances.push(Instance { name, address, process });
        }
        let key = instances[0]
            .process
            .wait_for_line(|line| line.text.strip_prefix("admin key: ").map(str::to_owned))?;
        let config = config(front, admin, &instances, "");
        let seawall = Seawall::start_apart(&programs.seawall, &config);
        let seawall = seawall.context("Seawall does not start")?;
        Ok(Show { seawall, instances, key, snip: programs.snip.clone(), _ports: ports, home })
    }

    fn play(&mut self, stop: &Stop) -> anyhow::Result<()> {
        self.introduce();
        let api = self.api();
        let targets: Vec<String> =
            (0..LINKS).map(|link| format!("https://example.com/{link}")).collect();
        let mut codes = Vec::new();
        for targets in targets.chunks(500) {
            codes.extend(api.create_all(targets)?);
        }
        println!("\n{} links were made through the API", grouped(codes.len() as u64));

        let visitors = Visitors::start(self.seawall.address("web"), &codes, &targets)?;
        let seen =
            self.scene(&visitors, stop, "Visitors follow them, some far more often than others")?;
        ensure!(seen.failed == 0, "requests failed with nothing the matter: {:?}", seen.failures);

        let carl = NAMES.len() - 1;
        self.instances[carl].process.kill().context("carl cannot be killed")?;
        self.scene(
            &visitors,
            stop,
            "carl was killed (SIGKILL): what was in flight to it is asked of the others",
        )?;
        self.instances[carl].process = serve(&self.snip, &self.home, self.instances[carl].address)?;
        let seen = self.scene(&visitors, stop, "carl is back at the same address")?;
        ensure!(seen.failed == 0, "requests failed with nothing the matter: {:?}", seen.failures);

        let keys = "cache = { stale-if-error = \"1h\" }\n";
        self.reload(keys)?;
        self.scene(&visitors, stop, &format!("Live reload: `{}`", keys.trim()))?;
        let seen = self.scene(&visitors, stop, "The cache has filled")?;
        ensure!(seen.failed == 0, "requests failed with nothing the matter: {:?}", seen.failures);
        ensure!(seen.origin * 2 < seen.answered, "the cache answers too little: {seen:?}");
        self.change(&visitors, &api, &codes[0], stop)?;
        self.count(visitors, &api, stop)
    }

    /// Lets the load run for a scene and prints who answered.
    fn scene(&self, visitors: &Visitors, stop: &Stop, title: &str) -> anyhow::Result<Seen> {
        println!("\n{title}");
        let (before, asked) = (visitors.seen(), self.asked()?);
        stop.sleep(SCENE)?;
        let (mut seen, now) = (visitors.seen().since(&before), self.asked()?);
        let most = seen.answered.max(1);
        let line = |name: &str, count: u64| {
            let bar = "█".repeat(usize::try_from(count * 40 / most).unwrap_or(0));
            println!("  {name:<8}{:>9}  {bar}", grouped(count));
        };
        line("answered", seen.answered);
        for (name, (now, before)) in NAMES.iter().zip(now.iter().zip(&asked)) {
            // One that was started anew counts from nothing.
            let asked = now.checked_sub(*before).unwrap_or(*now);
            seen.origin += asked;
            line(name, asked);
        }
        line("failed", seen.failed);
        for (what, count) in &seen.failures {
            println!("          {count} × {what}");
        }
        Ok(seen)
    }

    /// Leads the most popular link somewhere else, and looks who is still led to where it led.
    fn change(
        &self,
        visitors: &Visitors,
        api: &Api,
        code: &str,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        println!("\nThe link that most follow is led somewhere else");
        let new = "https://example.com/new";
        visitors.expect(new);
        api.change(code, new)?;
        let changed = Instant::now();
        stop.sleep(SCENE)?;
        let seen = visitors.seen();
        let last = seen.last_old.map_or(0, |it| it.saturating_duration_since(changed).as_millis());
        println!("  led to the new target          {:>9}", grouped(seen.new));
        println!("  led to the old one, at the last {last:>5} ms after the change was answered");
        ensure!(last <= SOON.as_millis(), "the old target was still told after a second");
        ensure!(seen.new > 0, "nobody followed the link");
        Ok(())
    }

    /// Ends the load, and waits until every click is counted.
    fn count(&self, visitors: Visitors, api: &Api, stop: &Stop) -> anyhow::Result<()> {
        println!("\nEvery click counts once, whoever answered it, and though carl was killed");
        let answered = visitors.stop().answered;
        let deadline = Instant::now() + PATIENCE;
        let mut counted = api.clicks(None)?;
        while counted < answered && Instant::now() < deadline {
            stop.sleep(Duration::from_millis(100))?;
            counted = api.clicks(None)?;
        }
        println!("  clicks answered   {:>9}", grouped(answered));
        println!("  clicks counted    {:>9}", grouped(counted));
        ensure!(counted == answered, "{counted} clicks are counted of {answered}");
        Ok(())
    }

    /// Puts other keys of the route in place.
    fn reload(&mut self, keys: &str) -> anyhow::Result<()> {
        let (front, admin) = (self.seawall.address("web"), self.admin());
        self.seawall.rewrite(&config(front, admin, &self.instances, keys))?;
        let answer = self.seawall.reload().context("the admin API does not reload")?;
        ensure!(answer.status < 300, "the reload was refused: {} {}", answer.status, answer.text());
        Ok(())
    }

    /// Redirects that each of the instances has answered.
    fn asked(&self) -> anyhow::Result<Vec<u64>> {
        let of = |instance: &Instance| match api::read(instance.address, "/metrics") {
            Ok(answer) => sum_of_samples(&answer.text(), "snip_redirects_total", &[]) as u64,
            // It was killed.
            Err(_) => 0,
        };
        Ok(self.instances.iter().map(of).collect())
    }

    fn api(&self) -> Api {
        Api { address: self.seawall.address("web"), key: self.key.clone() }
    }

    fn admin(&self) -> SocketAddr {
        // The configuration has one.
        self.seawall.admin().unwrap_or_else(|| self.seawall.address("web"))
    }

    fn introduce(&self) {
        println!("\n  site       http://{}/", self.seawall.address("web"));
        println!("  admin key  {}", self.key);
        println!("  metrics    http://{}/metrics", self.admin());
        for instance in &self.instances {
            println!("  {:<9}  http://{}/ (behind it)", instance.name, instance.address);
        }
        println!("  config     {}", self.seawall.config().display());
    }

    fn log(&self) -> String {
        let logs: Vec<String> = self.instances.iter().map(|it| it.process.text()).collect();
        format!("{}\nof the instances:\n{}", self.seawall.log(), logs.join("\n"))
    }
}

/// `snip serve`, once it listens.
fn serve(snip: &PathBuf, home: &TempDir, address: SocketAddr) -> anyhow::Result<Process> {
    let mut command = Command::new(snip);
    command.args(["serve", "--listen", &address.to_string()]).current_dir(home.path());
    let process = Process::spawn_apart(command)?;
    process.wait_for_text("listening on ").context("snip does not start")?;
    Ok(process)
}

/// The configuration of the demo, with these keys for the route of the links.
fn config(front: SocketAddr, admin: SocketAddr, instances: &[Instance], keys: &str) -> String {
    let servers: Vec<String> =
        instances.iter().map(|instance| format!("\"{}\"", instance.address)).collect();
    format!(
        "[server]\nadmin = \"{admin}\"\n\n\
         [listen.web]\naddress = \"{front}\"\n\n\
         [upstream.snip]\nservers = [{}]\nhealth = \"/healthz\"\n\n\
         [[route]]\nname = \"api\"\npath = \"/api/*\"\nto = \"snip\"\n\n\
         [[route]]\nname = \"links\"\nto = \"snip\"\nretry = 2\n\
         report = {{ path = \"/api/v1/clicks/report\", authorization = \"Bearer {TOKEN}\" }}\n{keys}",
        servers.join(", ")
    )
}
