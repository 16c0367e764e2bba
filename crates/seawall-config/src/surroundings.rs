//! What a configuration may take from outside of its text, as arguments of the loader.

use std::fmt;
use std::io;
use std::path::Path;

/// What a configuration may take from outside of its text; nothing else reaches it.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Looks up an environment variable that `${NAME}` names.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The folder of the configuration file, where the relative paths of `fallback` and
    /// `servers-file` begin. Empty for the working directory.
    pub folder: &'a Path,
    /// Reads a file from its beginning, at most so many bytes of it; `None` where there are no
    /// files to read, and what names one is an error.
    pub read: Option<ReadFile<'a>>,
    /// The codes of refusals with their statuses. Empty when they are not known; then names of
    /// codes are not checked.
    pub codes: &'a [(&'a str, u16)],
}

/// Reads a file, at most so many bytes of it.
pub type ReadFile<'a> = &'a dyn Fn(&Path, usize) -> io::Result<Vec<u8>>;

impl<'a> Surroundings<'a> {
    /// Nothing but environment variables.
    pub fn variables(variable: &'a dyn Fn(&str) -> Option<String>) -> Surroundings<'a> {
        Surroundings { variable, folder: Path::new(""), read: None, codes: &[] }
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Surroundings");
        out.field("folder", &self.folder).field("codes", &self.codes).finish_non_exhaustive()
    }
}
