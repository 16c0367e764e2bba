//! `schemathesis`, which asks the API of `snip` whether it does what its description says: a
//! Python program in an environment of its own, `target/tools/schemathesis`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::tools;

/// Every package with its version, from the root of the repository.
const REQUIREMENTS: &str = "apps/shortener/tests/requirements.txt";

/// Where the tests look for it, from the root of the repository.
const PLACE: &str = "target/tools/schemathesis";

/// Installs it when it is missing or of other versions.
///
/// # Errors
/// When Python is missing or cannot be had, or the packages cannot.
pub(crate) fn install() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place = root.join(PLACE);
    // Written last, so that what was broken off is begun again.
    let done = place.join("installed.txt");
    let requirements = fs::read_to_string(root.join(REQUIREMENTS)).context(REQUIREMENTS)?;
    // Its programs name the place: a copy of it elsewhere is none.
    let wanted = format!("# {}\n{requirements}", place.display());
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    // Debian keeps what makes environments apart from Python itself.
    if !tools::succeeds("python3", &["-c", "import ensurepip, venv"]) {
        tools::install_packages(&["python3-venv"])?;
    }
    eprintln!("installing schemathesis");
    tools::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place))?;
    tools::run(
        Command::new(place.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--requirement"])
            .arg(root.join(REQUIREMENTS)),
    )?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))
}
