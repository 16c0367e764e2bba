//! Where the configuration comes from. The only place that reads it from a file, or variables from
//! the environment.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use seawall_config::{LARGEST_FILE, Loaded, Problems, Surroundings};
use seawall_http::Refusal;

use crate::watch::{self, Watched};

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
                let codes = Refusal::ALL.map(|refusal| {
                    let description = refusal.description();
                    (description.code, description.status)
                });
                let around = Surroundings {
                    variable: &|name| std::env::var(name).ok(),
                    folder: file.parent().unwrap_or(Path::new("")),
                    read: Some(&read),
                    codes: &codes,
                };
                seawall_config::load_bytes_with(&bytes, &file.display().to_string(), &around)
                    .map_err(LoadError::Wrong)
            }
            Source::Server { to, listen, admin } => {
                seawall_config::single_upstream(to, listen, admin.as_deref())
                    .map_err(LoadError::Wrong)
            }
        }
    }

    /// The file that it is read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Source::File { file, .. } => Some(file),
            Source::Server { .. } => None,
        }
    }

    /// The file with what it holds now, if it is to be watched.
    pub(crate) fn watched(&self) -> Option<Watched> {
        match self {
            Source::File { file, watch: true } => {
                let content = watch::content(file, LARGEST_FILE);
                Some(Watched { path: file.clone(), most: LARGEST_FILE, content })
            }
            _ => None,
        }
    }
}

/// At most so many bytes of a file that the configuration names.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    // A pipe without a writer would hold up the process.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(most as u64).read_to_end(&mut content)?;
    Ok(content)
}
