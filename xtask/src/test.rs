//! `cargo xtask test`: installs what the tests need and runs all of them.

use std::process::Command;

use anyhow::Context;
use clap::Args;

use crate::tools::{self, Tool};
use crate::{build, schemathesis};

/// Real origins and clients of the tests.
const TOOLS: &[Tool] = &[
    Tool::named("nginx"),
    Tool::named("haproxy"),
    Tool { program: "node", package: "nodejs" },
    Tool::named("python3"),
    Tool::named("curl"),
    Tool::named("redis-server"),
    Tool::named("wrk"),
    Tool::named("nats-server"),
    Tool::named("openssl"),
    Tool { program: "postgres", package: "postgresql" },
    Tool::named("chromium"),
];

/// As many connections as the largest test opens, at both ends, if that is allowed.
const OPEN_FILES: u64 = 262_144;

/// Options of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Install nothing; tests of missing programs fail.
    #[arg(long)]
    no_install: bool,
    /// Further arguments for `cargo nextest run`, such as names of tests.
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Test {
    /// Runs the examples in the documentation, then everything else.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if !self.no_install {
            tools::install_missing(TOOLS)?;
            schemathesis::install()?;
        }
        seawall_testkit::raise_open_files(OPEN_FILES)
            .context("cannot raise the limit on open files")?;
        // Whoever asks for certain tests does not mean the examples.
        if self.arguments.is_empty() {
            tools::run(build::cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
        }
        tools::run(self.runner().args(&self.arguments))
    }

    fn runner(&self) -> Command {
        let mut command = build::cargo();
        let nextest = build::cargo().args(["nextest", "--version"]).output();
        if nextest.is_ok_and(|output| output.status.success()) {
            command.args(["nextest", "run", "--workspace"]);
        } else {
            eprintln!(
                "note: cargo-nextest is missing, so hung tests are not ended and heavy ones do not \
                 run alone; `cargo install cargo-nextest --locked` brings it"
            );
            command.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
        }
        command
    }
}
