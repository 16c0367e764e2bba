//! Files whose content becomes part of the plan: each is read once, and they have a limit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use crate::surroundings::Surroundings;
use crate::text::Text;

/// The files of a configuration.
pub(super) struct Pages<'a> {
    around: &'a Surroundings<'a>,
    read: HashMap<PathBuf, Result<Arc<[u8]>, Unreadable>>,
    bytes: usize,
}

/// What is wrong with a file, and how to mend it.
type Unreadable = (String, String);

impl<'a> Pages<'a> {
    pub(super) fn new(around: &'a Surroundings<'a>) -> Self {
        Pages { around, read: HashMap::new(), bytes: 0 }
    }

    /// The content of the file that `path` names.
    pub(super) fn content(&mut self, path: &Text) -> Result<Arc<[u8]>, Unreadable> {
        let whole = self.around.folder.join(&path.value);
        match self.read.entry(whole) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let content = read(self.around, place.key(), path).and_then(|content| {
                    self.bytes += content.len();
                    match self.bytes > MOST_TOGETHER {
                        false => Ok(content),
                        true => Err((
                            "this file is one too many".to_owned(),
                            "all files named here have at most 64MiB together".to_owned(),
                        )),
                    }
                });
                place.insert(content).clone()
            }
        }
    }
}

fn read(
    around: &Surroundings<'_>,
    whole: &std::path::Path,
    path: &Text,
) -> Result<Arc<[u8]>, Unreadable> {
    let Some(read) = around.read else {
        let message = "there are no files here: this configuration is not one itself".to_owned();
        return Err((message, "write the page into `respond`".to_owned()));
    };
    let file = match path.is_from_environment() {
        true => "this file".to_owned(),
        false => format!("the file {}", path.shown()),
    };
    match read(whole, LARGEST + 1) {
        Ok(content) if content.is_empty() => {
            let help = "write what is to be shown into it".to_owned();
            Err((format!("{file} is empty"), help))
        }
        Ok(content) if content.len() > LARGEST => {
            let help = "at most 1MiB is allowed; serve large files from an upstream".to_owned();
            Err((format!("{file} is too large"), help))
        }
        Ok(content) => Ok(content.into()),
        Err(error) => {
            let help = match path.is_from_environment() {
                true => "a relative path begins in the folder of this file".to_owned(),
                false => format!("it is looked for as {}", whole.display()),
            };
            Err((format!("{file} cannot be read: {error}"), help))
        }
    }
}

/// Bytes of one file.
const LARGEST: usize = 1 << 20;
/// Bytes of all of them.
const MOST_TOGETHER: usize = 64 << 20;
