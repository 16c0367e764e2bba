//! Programs that are not ours: finding them, and installing Debian packages for those that are
//! missing.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, iter};

use anyhow::{Context, bail};

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

impl Tool {
    /// A program whose package has the same name.
    pub(crate) const fn named(program: &'static str) -> Self {
        Self { program, package: program }
    }
}

/// Where `program` is, if anywhere: on `PATH`, or where Debian puts servers.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// `PATH` with the directories of servers, which are not on everybody's.
pub(crate) fn search_path() -> String {
    let mut path = env::var("PATH").unwrap_or_default();
    path.push_str(":/usr/local/sbin:/usr/sbin:/sbin");
    // Each version of PostgreSQL has a directory of its own.
    for version in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        path.push_str(&format!(":{}/bin", version.path().display()));
    }
    path
}

/// Installs the packages of the tools that are missing.
///
/// # Errors
/// When this is neither root nor allowed `sudo`, or the installation fails; the error says what
/// to install by hand.
pub(crate) fn install_missing(tools: &[Tool]) -> anyhow::Result<()> {
    let mut packages: Vec<&str> =
        tools.iter().filter(|tool| find(tool.program).is_none()).map(|tool| tool.package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    install_packages(&packages)?;
    match tools.iter().find(|tool| find(tool.program).is_none()) {
        None => Ok(()),
        Some(tool) => bail!("{} is installed and still there is no {}", tool.package, tool.program),
    }
}

/// Installs Debian packages.
///
/// # Errors
/// As [`install_missing`].
pub(crate) fn install_packages(packages: &[&str]) -> anyhow::Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("missing packages; please install: {list}");
    if find("apt-get").is_none() {
        bail!("{by_hand} (there is no apt-get here to do it)");
    }
    let prefix: &[&str] = if rustix::process::geteuid().is_root() {
        &[]
    } else if succeeds("sudo", &["-n", "true"]) {
        &["sudo", "-n"]
    } else {
        bail!("{by_hand} (this needs root, or sudo without a password)");
    };
    eprintln!("installing {list}");
    apt(prefix, &["update", "-q"]).with_context(|| by_hand.clone())?;
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    let arguments: Vec<&str> = install.iter().chain(packages).copied().collect();
    apt(prefix, &arguments).with_context(|| by_hand)
}

fn apt(prefix: &[&str], arguments: &[&str]) -> anyhow::Result<()> {
    let words: Vec<&str> = prefix
        .iter()
        .copied()
        .chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .chain(arguments.iter().copied())
        .collect();
    run(Command::new(words[0]).args(&words[1..]))
}

/// Runs a command to its end with the output of this process.
///
/// # Errors
/// When it cannot be started, or fails; the error is the command line.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .env("PATH", search_path())
        .status()
        .with_context(|| format!("cannot run {}", line(command)))?;
    if !status.success() {
        bail!("failed ({status}): {}", line(command));
    }
    Ok(())
}

/// What a command prints on both streams, trimmed; empty when it cannot be run.
pub(crate) fn output_of(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", search_path());
    command.output().map_or_else(
        |_| String::new(),
        |output| {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            text.trim().to_owned()
        },
    )
}

/// Whether a command can be run and succeeds; what it prints is dropped.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command line for messages.
fn line(command: &Command) -> String {
    let words: Vec<_> = iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_or_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
        install_missing(&[Tool::named("sh")]).expect("nothing to install");
    }

    #[test]
    fn failures_name_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).expect_err("it fails");
        assert!(error.to_string().contains("sh -c exit 3"), "{error}");
        assert!(!succeeds("sh", &["-c", "exit 1"]));
        assert_eq!(output_of("sh", &["-c", "echo a; echo b >&2"]), "a\nb");
    }
}
