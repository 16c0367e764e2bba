//! `cargo xtask stage N`: the link shortener in a stage of its growth (`examples/stages`), all of
//! it on this machine, for whoever wants to look at it; with `--load`, how much it bears.
//!
//! Everything it starts ends with it, whatever ends it.

pub(crate) mod api;
pub(crate) mod load;
mod measure;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod seed;
pub(crate) mod site;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

pub(crate) use self::site::Programs;

use self::load::Workload;
use self::measure::{Bench, Measured, Setting};
use self::plan::{PLANS, Plan};
use self::report::Report;
use self::seed::Seed;
use self::site::Site;
use crate::scene::{Stop, Stopped};
use crate::{build, tools};

/// Options of `cargo xtask stage`.
#[derive(Debug, Args)]
pub(crate) struct Stage {
    /// 0: one process; 1: PostgreSQL; 2: three instances behind Seawall; 3: read replicas;
    /// 4: Redis; 5: an edge. With `--load`, `all` is all of them, one after the other.
    #[arg(value_name = "STAGE", value_parser = plans_of)]
    plans: Plans,
    /// Measure what it bears, and end.
    #[arg(long)]
    load: bool,
    /// With `--load`: links that there are.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    links: u32,
    /// With `--load`: how long the most popular links are asked for once, before.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    warm: u64,
    /// With `--load`: how long the run lasts that confirms the rate that was found.
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    confirm: u64,
    /// With `--load`: only this rate, in redirects a second.
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// With `--load`: wait for a line on the standard input before measuring, so that the machine
    /// can be made quiet first.
    #[arg(long)]
    pause: bool,
    /// With `--load`: write `stages.md` and `stages.json` here, beside what they have of other
    /// stages [default: bench/results, and the tables in README.md and
    /// docs/guide/growing.md, if it is a million links and the rate is looked for]
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
    /// Stop by itself after so many seconds, instead of at Ctrl-C.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Where clients ask; port 0 takes a free port.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Run this binary of `seawall` instead of building one.
    #[arg(long, value_name = "FILE")]
    seawall: Option<PathBuf>,
    /// Run this binary of `snip` instead of building one.
    #[arg(long, value_name = "FILE")]
    snip: Option<PathBuf>,
    /// Install nothing; it fails when a program is missing.
    #[arg(long)]
    no_install: bool,
}

/// Stages, in their order.
#[derive(Debug, Clone)]
struct Plans(Vec<Plan>);

/// The stage of a number, or of a folder, or all.
fn plans_of(text: &str) -> Result<Plans, String> {
    if text == "all" {
        return Ok(Plans(PLANS.to_vec()));
    }
    let found = PLANS.iter().find(|plan| plan.folder == text || plan.number().to_string() == text);
    let one = found.map(|plan| Plans(vec![*plan]));
    one.ok_or_else(|| format!("a stage is between 0 and {}, or `all`", PLANS.len() - 1))
}

/// Links that are there to be tried.
const SAMPLES: [(&str, &str); 3] = [
    ("rust", "https://www.rust-lang.org/"),
    ("postgres", "https://www.postgresql.org/docs/current/"),
    ("rfc9111", "https://www.rfc-editor.org/rfc/rfc9111"),
];

impl Stage {
    /// Runs it until it is to end.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let Plans(plans) = &self.plans;
        ensure!(self.load || plans.len() == 1, "`all` is for `--load`");
        let programs = programs(self.seawall.as_ref(), self.snip.as_ref())?;
        if !self.no_install {
            let tools: Vec<_> = plans.iter().flat_map(Plan::tools).collect();
            tools::install_missing(&tools)?;
        }
        // From here on Ctrl-C reaches those that have a group of their own through this process.
        let stop = Stop::watch()?;
        for plan in plans {
            let outcome = match self.load {
                true => self.measure(*plan, &programs, &stop),
                false => self.play(*plan, &programs, &stop),
            };
            match outcome {
                Err(error) if error.is::<Stopped>() => {
                    println!("\nstopped");
                    return Ok(());
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn play(&self, plan: Plan, programs: &Programs, stop: &Stop) -> anyhow::Result<()> {
        let mut site = Site::start(plan, programs, self.listen, None)?;
        let outcome = self.show(&site, stop);
        told(outcome, &mut site)
    }

    fn measure(&self, plan: Plan, programs: &Programs, stop: &Stop) -> anyhow::Result<()> {
        seawall_testkit::raise_open_files(4096)?;
        let seed = Seed::of(&plan, self.links as usize, programs, stop)?;
        println!("\nstage {}: {}", plan.number(), plan.title);
        let mut site = Site::start(plan, programs, self.listen, Some(&seed))?;
        let workload = Workload::new(&seed, site.front);
        let setting = Setting {
            warm: Duration::from_secs(self.warm),
            confirm: Duration::from_secs(self.confirm),
            pause: self.pause,
            rate: self.rate.map(f64::from),
        };
        let outcome = Bench::new(&mut site, &workload, stop)
            .and_then(|mut bench| bench.measure(setting, seed.codes.len()));
        let measured = told(outcome, &mut site)?;
        self.write(&measured, programs)
    }

    /// Writes down what was found. Fewer links than usual are for trying it out.
    fn write(&self, measured: &Measured, programs: &Programs) -> anyhow::Result<()> {
        let results = build::root().join("bench/results");
        let mut report = Report::new(programs);
        if self.output.is_none() && (self.links != 1_000_000 || self.rate.is_some()) {
            report.add(measured);
            print!("\n{}", report.markdown());
            return Ok(());
        }
        let directory = self.output.as_deref().unwrap_or(&results);
        report.keep(directory)?;
        report.add(measured);
        report.write(directory)?;
        if self.output.is_none() {
            report.write_into(&build::root().join("README.md"), "")?;
            report.write_into(&build::root().join("docs/guide/growing.md"), "../../")?;
        }
        print!("\n{}", report.table());
        Ok(())
    }

    fn show(&self, site: &Site, stop: &Stop) -> anyhow::Result<()> {
        seed_samples(site)?;
        introduce(site);
        match self.seconds {
            Some(seconds) => stop.sleep(Duration::from_secs(seconds)),
            None => {
                println!("\nCtrl-C ends it, and what was made here goes with it.");
                stop.sleep(Duration::MAX)
            }
        }
    }
}

/// An outcome, with what all processes said if it is a failure.
fn told<T>(outcome: anyhow::Result<T>, site: &mut Site) -> anyhow::Result<T> {
    match outcome {
        Err(error) if !error.is::<Stopped>() => {
            Err(error.context(format!("stage {} failed;{}", site.plan.number(), site.logs())))
        }
        outcome => outcome,
    }
}

/// The programs of these options, built if they are not given.
pub(crate) fn programs(
    seawall: Option<&PathBuf>,
    snip: Option<&PathBuf>,
) -> anyhow::Result<Programs> {
    let built = |given: Option<&PathBuf>, name| match given {
        // They are run elsewhere.
        Some(file) => {
            file.canonicalize().with_context(|| format!("there is no {}", file.display()))
        }
        None => build::release(name),
    };
    Ok(Programs { seawall: built(seawall, "seawall")?, snip: built(snip, "snip")? })
}

/// Makes some links, through whatever is in front, and follows one.
fn seed_samples(site: &Site) -> anyhow::Result<()> {
    let api = site.api();
    for (name, target) in SAMPLES {
        api.create(target, Some(name))?;
    }
    let (name, target) = SAMPLES[0];
    let answer = api::read(site.front, &format!("/{name}"))?;
    let location = answer.header("location").unwrap_or_default();
    ensure!((answer.status, location) == (302, target), "/{name}: {} {location}", answer.status);
    Ok(())
}

/// Says what runs, and what to try.
fn introduce(site: &Site) {
    let Site { plan, front, key, .. } = site;
    println!("\nstage {}: {}\n", plan.number(), plan.title);
    println!("  site       http://{front}/");
    println!("  admin key  {key}");
    for (name, seawall) in &site.seawalls {
        if let Some(admin) = seawall.admin() {
            println!("  {name:<9}  http://{admin}/metrics");
        }
    }
    for instance in &site.instances {
        println!("  snip       http://{}/metrics", instance.address);
    }
    match &site.postgres {
        Some(postgres) => println!("  postgres   {}", postgres.url_of(&site.database)),
        None => println!("  sqlite     {}", site.database),
    }
    for replica in &site.replicas {
        println!("  replica    {}", replica.url_of(&site.database));
    }
    if let Some(redis) = &site.redis {
        println!("  redis      {}", redis.url());
    }
    println!("  files      examples/stages/{}", plan.folder);
    let (name, _) = SAMPLES[0];
    println!(
        "\nTry:\n\n  \
         curl -i http://{front}/{name}\n  \
         curl http://{front}/api/v1/links -H 'Authorization: Bearer {key}' \\\n       \
         -H 'Content-Type: application/json' -d '{{\"target\": \"https://example.com/\"}}'\n  \
         curl http://{front}/api/v1/links/{name}/stats -H 'Authorization: Bearer {key}'\n\n\
         or sign in at http://{front}/ with the key."
    );
}
