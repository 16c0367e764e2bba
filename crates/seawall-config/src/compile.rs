//! From the typed file to the plan: names resolved, contradictions refused.
//!
//! Reports everything that holds between sections and goes on, so that one load tells all. Yields
//! a plan only when nothing was reported as an error.

mod listen;
mod route;
mod server;
mod shadow;
mod upstream;

pub(crate) use upstream::{LOOP_HELP, loops};

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::config::Config;
use crate::plan::Plan;
use crate::read::Given;
use crate::report::Report;
use crate::source::Span;

/// The plan that `config` describes; `None` when an error was reported, now or before.
pub(crate) fn compile(config: &Config, report: &mut Report) -> Option<Plan> {
    let server = server::compile(&config.server, report);
    let listeners = listen::compile(&config.listen, &config.server, report);
    let upstreams = upstream::compile(&config.upstream, &config.listen, report);
    let routes = route::compile(&config.route, &config.upstream, report);
    shadow::report(&config.route, &routes, report);
    warn_of_unused(config, report);
    if report.has_errors() {
        return None;
    }
    Some(Plan {
        server,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        routes: routes.into_iter().collect::<Option<_>>()?,
    })
}

fn warn_of_unused(config: &Config, report: &mut Report) {
    let known: HashSet<&str> = config.upstream.iter().map(|u| u.name.value.as_str()).collect();
    let mut used = HashSet::new();
    for route in config.route.iter() {
        let to = route.as_ref().map(|route| &route.to);
        match to {
            Some(Given::Value(to)) if known.contains(to.value.value.as_str()) => {
                used.insert(to.value.value.as_str());
            }
            Some(Given::Absent) => {}
            // What cannot be read or resolved may well be meant for any of them.
            Some(Given::Value(_) | Given::Unreadable) | None => return,
        }
    }
    for upstream in config.upstream.iter() {
        let name = upstream.name.value.as_str();
        if !used.contains(name) {
            let message = format!("no route uses the upstream `{name}`");
            let help = format!("add `to = \"{name}\"` to a route, or take the upstream away");
            report.warning(upstream.name.span, message, Some(help));
        }
    }
}

/// Remembers by key where something was seen first.
struct Seen<K>(HashMap<K, Span>);

impl<K: std::hash::Hash + Eq> Seen<K> {
    fn new() -> Self {
        Seen(HashMap::new())
    }

    /// Where `key` was seen before, or `None` and it is remembered.
    fn before(&mut self, key: K, span: Span) -> Option<Span> {
        match self.0.entry(key) {
            Entry::Occupied(seen) => Some(*seen.get()),
            Entry::Vacant(place) => {
                place.insert(span);
                None
            }
        }
    }
}

/// A number that its rule has bounded far below the limits of the type.
fn number(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
