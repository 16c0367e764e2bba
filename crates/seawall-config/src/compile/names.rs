//! Names of upstreams, and where those lead that refer to one.

use std::collections::HashMap;

use crate::config::Upstream;
use crate::nearest::hint;
use crate::read::At;
use crate::report::Report;
use crate::section::{Named, Tables};
use crate::text::Text;

/// The upstreams by name.
pub(super) struct Upstreams<'c> {
    by_name: HashMap<&'c str, usize>,
    /// Whether these are all, so that others do not exist.
    complete: bool,
}

impl<'c> Upstreams<'c> {
    pub(super) fn new(upstreams: &'c Tables<Named<Upstream>>) -> Self {
        let numbered = upstreams.iter().enumerate();
        let by_name = numbered.map(|(index, named)| (named.name.value.as_str(), index)).collect();
        Upstreams { by_name, complete: upstreams.complete }
    }

    /// The position of an upstream, if there is one of that name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The position of the upstream that `to`, the value of `key`, names; reports it when there is
    /// none.
    pub(super) fn find(&self, key: &str, to: &At<Text>, report: &mut Report) -> Option<usize> {
        let name = to.value.value.as_str();
        if let Some(index) = self.position(name) {
            return Some(index);
        }
        if !self.complete {
            return None;
        }
        let message = format!("{} is not an upstream", to.value.shown());
        let help = if to.value.is_from_environment() {
            None
        } else if name.contains([':', '/']) {
            Some(format!(
                "give the servers a name: [upstream.app] servers = [\"HOST:PORT\"], and write `{key} = \"app\"`"
            ))
        } else {
            let mut known: Vec<&str> = self.by_name.keys().copied().collect();
            known.sort_unstable();
            match crate::name::fault(name, "upstream name") {
                Ok(()) if known.is_empty() => {
                    Some(format!("add [upstream.{name}] with `servers = [\"HOST:PORT\"]`"))
                }
                _ => hint(name, &known, "there are"),
            }
        };
        report.error(to.span, message, help);
        None
    }
}
