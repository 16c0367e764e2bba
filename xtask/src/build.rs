//! Builds binaries of the workspace and says where they are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The cargo that runs this, or the one on `PATH`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the binaries in the release profile, and returns where the one of this name is.
///
/// # Errors
/// When there is no such binary, or it does not compile.
pub(crate) fn release(name: &str) -> anyhow::Result<PathBuf> {
    eprintln!("building {name} (release)");
    // All at once: built apart, what they share would be compiled for each of them.
    let output = cargo()
        .args(["build", "--release", "--package", "seawall", "--package", "hello"])
        .args(["--package", "snip", "--bins"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{name} does not build");
    }
    // Cargo knows best where it put the file: the target directory may be anywhere.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built {name} and did not say where"))
}
