//! Where the configuration comes from. The only place that reads it from a file, or variables from
//! the environment.

use std::fmt;
use std::path::PathBuf;

use seawall_config::{Loaded, Problems};

/// The file that is looked for when none is named.
pub(crate) const DEFAULT_FILE: &str = "seawall.toml";

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file, which may be watched.
    File {
        /// Its path.
        file: PathBuf,
        /// Whether a change of the file puts it in place.
        watch: bool,
    },
    /// The command line: one server.
    Server {
        /// Where it is.
        to: String,
        /// Where to listen.
        listen: String,
        /// Where the admin API listens, if anywhere.
        admin: Option<String>,
    },
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// It is wrong.
    Wrong(Problems),
}

impl LoadError {
    /// The whole message, with or without colours.
    pub(crate) fn render(&self, colours: bool) -> String {
        match self {
            LoadError::Unreadable(..) => self.to_string(),
            LoadError::Wrong(problems) => problems.render(colours),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Unreadable(file, error) => {
                write!(out, "the configuration file {} cannot be read: {error}", file.display())
            }
            LoadError::Wrong(problems) => problems.fmt(out),
        }
    }
}

impl std::error::Error for LoadError {}

impl Source {
    /// Reads the configuration.
    pub(crate) fn load(&self) -> Result<Loaded, LoadError> {
        match self {
            Source::File { file, .. } => {
                let bytes = std::fs::read(file)
                    .map_err(|error| LoadError::Unreadable(file.clone(), error))?;
                let variable = |name: &str| std::env::var(name).ok();
                seawall_config::load_bytes(&bytes, &file.display().to_string(), &variable)
                    .map_err(LoadError::Wrong)
            }
            Source::Server { to, listen, admin } => {
                seawall_config::single_upstream(to, listen, admin.as_deref())
                    .map_err(LoadError::Wrong)
            }
        }
    }

    /// What the file holds now, if it is to be watched; `None` while it cannot be read.
    pub(crate) fn watched(&self) -> Option<Vec<u8>> {
        match self {
            Source::File { file, watch: true } => std::fs::read(file).ok(),
            _ => None,
        }
    }
}
