//! `snip check`: says what is wrong with a configuration. It opens no port and asks no server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::clicks::countries;
use crate::target::Rules;

/// Say what is wrong with a configuration, without starting anything.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Configuration file [default: snip.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    /// Reads the file and those that it names.
    ///
    /// # Errors
    /// With all that is wrong.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = super::config(self.config.as_deref())?;
        Rules::load(&config, config.url.as_deref().unwrap_or_default())?;
        config.country.as_deref().map(countries).transpose()?;
        let words = match self.config.is_some() || Path::new(super::USUAL).exists() {
            true => "nothing is wrong",
            false => "there is no snip.toml here; every key has its default",
        };
        writeln!(io::stdout(), "{words}")?;
        Ok(ExitCode::SUCCESS)
    }
}
