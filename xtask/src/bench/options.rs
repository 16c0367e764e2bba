//! What the benchmarks of proxies under load let one choose, and what follows from it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::peers;
use crate::build;
use crate::tools::{self, Tool};

/// Options that these benchmarks share.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds of each case and proxy; the median of them counts.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Seconds of one round.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// Two rounds of two seconds: to see that it works, not to be believed.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    place: Place,
}

/// Which binary is measured where, and where the results go.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    seawall: Option<PathBuf>,
    /// The core of the proxy.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    pub(crate) proxy_core: usize,
    /// The core of the servers behind it and of the load.
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    pub(crate) load_core: usize,
    /// Where the results go. Default: `bench/results` for a complete run, `target/bench` for one
    /// that leaves something out.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

/// What every part of a run needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) proxy_cores: String,
    pub(crate) load_cores: String,
    pub(crate) seawall: Option<PathBuf>,
}

impl Setting {
    /// The binary that is measured.
    pub(crate) fn binary(&self) -> anyhow::Result<&Path> {
        self.seawall.as_deref().context("no seawall to measure")
    }

    /// One worker beside two: everything may run on both cores either way, so that the place of the
    /// load makes no difference between them.
    pub(crate) fn on_both_cores(&self) -> Setting {
        let both = format!("{},{}", self.proxy_cores, self.load_cores);
        Setting { proxy_cores: both.clone(), load_cores: both, ..self.clone() }
    }
}

impl Options {
    /// Installs what is missing, builds Seawall if it is to be measured, and looks whether this
    /// machine will do. `rounds` and `seconds` are what holds unless they were chosen.
    pub(crate) fn setting(
        &self,
        programs: &[Tool],
        with_seawall: bool,
        (rounds, seconds): (u32, u32),
    ) -> anyhow::Result<Setting> {
        let seawall = self.place.prepare(programs, with_seawall)?;
        let (rounds, seconds) = if self.quick { (2, 2) } else { (rounds, seconds) };
        Ok(Setting {
            rounds: self.rounds.unwrap_or(rounds),
            seconds: self.seconds.unwrap_or(seconds),
            proxy_cores: self.place.proxy_core.to_string(),
            load_cores: self.place.load_core.to_string(),
            seawall,
        })
    }

    /// Where the results go; `all` says that neither a case nor a proxy was left out.
    pub(crate) fn directory(&self, all: bool) -> PathBuf {
        self.place.directory(all && !self.quick)
    }
}

impl Place {
    /// Installs what is missing, looks whether this machine will do, and returns where Seawall is,
    /// if it is to be measured.
    pub(crate) fn prepare(
        &self,
        programs: &[Tool],
        with_seawall: bool,
    ) -> anyhow::Result<Option<PathBuf>> {
        tools::install_missing(programs)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if cores < 2 || self.proxy_core == self.load_core {
            bail!("the proxy and the load need a core each; this machine has {cores}");
        }
        let open_files = seawall_testkit::raise_open_files(peers::OPEN_FILES)
            .context("cannot raise the limit on open files")?;
        if open_files < peers::FEWEST_OPEN_FILES {
            bail!(
                "the limit on open files is {open_files}; {} are needed (ulimit -Hn)",
                peers::FEWEST_OPEN_FILES
            );
        }
        match (&self.seawall, with_seawall) {
            (_, false) => Ok(None),
            (Some(file), true) => Ok(Some(file.clone())),
            (None, true) => build::release("seawall").map(Some),
        }
    }

    /// Where the results go.
    pub(crate) fn directory(&self, complete: bool) -> PathBuf {
        match &self.out {
            Some(directory) => directory.clone(),
            None if complete => build::root().join("bench/results"),
            None => build::root().join("target/bench"),
        }
    }
}

/// The name of a case or a proxy on the command line and in the results.
pub(crate) fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
