//! A file of domains that no link may lead to.
//!
//! One domain a line, `#` begins a comment; lines of a hosts file (`0.0.0.0 domain`) are understood
//! too. A domain stands for all below it. It is read once, at the start.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use url::Host;

/// Domains that a list has at most.
const MOST: usize = 5_000_000;

/// Domains and addresses that are refused.
#[derive(Debug, Default)]
pub struct BlockList {
    names: HashSet<Box<str>, foldhash::fast::RandomState>,
}

/// Why there is no block list.
#[derive(Debug, thiserror::Error)]
pub enum BlockListError {
    /// The file cannot be read.
    #[error("cannot read the block list {0}: {1}")]
    Unreadable(String, io::Error),
    /// A line is not a domain.
    #[error("{0}:{1}: not a domain: {2}")]
    NotADomain(String, usize, String),
    /// There are too many.
    #[error("{0}: more than {MOST} domains")]
    TooMany(String),
}

impl BlockList {
    /// Reads a list.
    ///
    /// # Errors
    /// When the file cannot be read, or a line of it is not a domain.
    pub fn load(path: &Path) -> Result<BlockList, BlockListError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| BlockListError::Unreadable(name.clone(), error))?;
        BlockList::parse(&text, &name)
    }

    /// Understands the text of a list; `file` is for messages.
    ///
    /// # Errors
    /// When a line is not a domain, or there are too many.
    pub fn parse(text: &str, file: &str) -> Result<BlockList, BlockListError> {
        let mut list = BlockList::default();
        for (index, line) in text.lines().enumerate() {
            let words = line.split('#').next().unwrap_or_default();
            // The last word: the one before it is the address of a hosts file.
            let Some(word) = words.split_whitespace().next_back() else { continue };
            let word = word.trim_start_matches("*.").trim_end_matches('.');
            let host = Host::parse(word).map_err(|_| {
                BlockListError::NotADomain(file.to_owned(), index + 1, word.to_owned())
            })?;
            list.names.insert(super::name_of(&host).into());
            if list.names.len() > MOST {
                return Err(BlockListError::TooMany(file.to_owned()));
            }
        }
        Ok(list)
    }

    /// The entry that covers a host: itself, or a domain above it.
    pub(super) fn covers<'host>(&self, host: &'host str) -> Option<&'host str> {
        if self.names.is_empty() {
            return None;
        }
        let parents = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
        std::iter::once(host).chain(parents).find(|name| self.names.contains(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_hosts_files_are_understood() {
        let text =
            "# bad\nEvil.example # worse\n0.0.0.0 ads.example.\n*.bücher.example\n10.0.0.1\n\n";
        let list = BlockList::parse(text, "list").expect("all are domains");
        for (host, expect) in [
            ("evil.example", Some("evil.example")),
            ("a.b.evil.example", Some("evil.example")),
            ("devil.example", None),
            ("ads.example", Some("ads.example")),
            ("example", None),
            ("www.xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("10.0.0.1", Some("10.0.0.1")),
        ] {
            assert_eq!(list.covers(host), expect, "{host}");
        }
    }

    #[test]
    fn problems_name_their_line() {
        let error = BlockList::parse("good.example\nno/domain", "list").expect_err("a slash");
        assert_eq!(error.to_string(), "list:2: not a domain: no/domain");
    }
}
