//! `cargo xtask fuzz`: builds every target of `fuzz/` with libFuzzer's instrumentation and the
//! address sanitizer, and runs each for some time.
//!
//! It needs a nightly toolchain and a C++ compiler, and nothing else: what `cargo fuzz` would pass
//! to the compiler is passed here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::build;
use crate::tools;

/// Options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    target: Vec<String>,
    /// Run one target once, on this file, as to see a crash again.
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// The toolchain, a nightly one.
    #[arg(long, default_value = "nightly")]
    toolchain: String,
}

/// Coverage for libFuzzer, and checks that turn silent mistakes into crashes.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

impl Fuzz {
    /// Builds and runs the targets; the first that crashes ends it.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let toolchain = format!("+{}", self.toolchain);
        if !tools::succeeds("cargo", &[&toolchain, "--version"]) {
            bail!(
                "fuzzing needs the toolchain {0:?}, which is not there; \
                 `rustup toolchain install {0} --profile minimal` brings it",
                self.toolchain
            );
        }
        if !tools::succeeds("c++", &["--version"]) {
            bail!("fuzzing needs a C++ compiler for libFuzzer; Debian has it in the package g++");
        }
        let targets = self.build(&toolchain)?;
        for name in &self.target {
            if !targets.iter().any(|target| target.name == *name) {
                let known: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
                bail!("there is no target {name:?} among {}", known.join(", "));
            }
        }
        let chosen =
            |target: &&Target| self.target.is_empty() || self.target.contains(&target.name);
        for target in targets.iter().filter(chosen) {
            match &self.input {
                Some(file) => target.reproduce(file)?,
                None => target.fuzz(self.seconds)?,
            }
        }
        Ok(())
    }

    fn build(&self, toolchain: &str) -> anyhow::Result<Vec<Target>> {
        let host = tools::output_of("rustc", &[toolchain, "-vV"]);
        let host = host
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc does not say what it compiles for")?;
        // Not the cargo that runs this, which is not the nightly one.
        let output = Command::new("cargo")
            .args([toolchain, "build", "--release", "--bins", "--target", host])
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(directory())
            .env("RUSTFLAGS", FLAGS.join(" "))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            bail!("the fuzz targets do not build");
        }
        let mut targets = built(&String::from_utf8_lossy(&output.stdout));
        targets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(targets)
    }
}

/// A built target.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    name: String,
    executable: PathBuf,
}

impl Target {
    fn fuzz(&self, seconds: u64) -> anyhow::Result<()> {
        let corpus = directory().join("corpus").join(&self.name);
        let artifacts = directory().join("artifacts").join(&self.name);
        for made in [&corpus, &artifacts] {
            std::fs::create_dir_all(made)
                .with_context(|| format!("cannot make {}", made.display()))?;
        }
        eprintln!("fuzzing {} for {seconds} s", self.name);
        let mut command = Command::new(&self.executable);
        command
            .arg(&corpus)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        // Inputs worth starting from, kept in the repository; new ones go to the corpus.
        let seeds = directory().join("seeds").join(&self.name);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        tools::run(&mut command).with_context(|| {
            format!(
                "{} crashed; the input is in {}, and \
                 `cargo xtask fuzz --target {} --input FILE` runs it again",
                self.name,
                artifacts.display(),
                self.name
            )
        })
    }

    fn reproduce(&self, file: &Path) -> anyhow::Result<()> {
        tools::run(Command::new(&self.executable).arg(file))
            .with_context(|| format!("{} crashed", self.name))
    }
}

fn directory() -> PathBuf {
    build::root().join("fuzz")
}

/// The executables among cargo's messages.
fn built(messages: &str) -> Vec<Target> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            Some(Target {
                name: message["target"]["name"].as_str()?.to_owned(),
                executable: message["executable"].as_str()?.into(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_among_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"one"},"executable":"/x/one"}
{"reason":"build-finished","success":true}
"#;
        let expect = Target { name: "one".to_owned(), executable: "/x/one".into() };
        assert_eq!(built(messages), [expect]);
    }
}
