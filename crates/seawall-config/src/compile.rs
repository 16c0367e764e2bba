//! From the typed file to the plan: names resolved, contradictions refused.
//!
//! Reports everything that holds between sections and goes on, so that one load tells all. Yields
//! a plan only when nothing was reported as an error.

mod balance;
mod breaker;
mod cache;
mod eject;
mod fallback;
mod forward;
mod health;
mod hedge;
mod listen;
mod names;
mod networks;
mod pages;
mod queue;
mod report;
mod retry;
mod route;
mod server;
mod shadow;
mod state;
mod upstream;
mod usage;

pub(crate) use upstream::{LOOP_HELP, loops, spec};

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::config::Config;
use crate::plan::Plan;
use crate::read::At;
use crate::report::Report;
use crate::source::Span;
use crate::surroundings::Surroundings;
use crate::units::show_duration;

use names::Upstreams;

/// The plan that `config` describes; `None` when an error was reported, now or before.
///
/// Since any error ends in `None`, what has been reported may be compiled to anything on the way.
pub(crate) fn compile(
    config: &Config,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Plan> {
    let names = Upstreams::new(&config.upstream);
    let server = server::compile(&config.server, report);
    let (state, store) = (state::state(config, report), state::store(config, report));
    let listeners = listen::compile(&config.listen, &config.server, &names, report);
    let upstreams = upstream::compile(config, around, report);
    let routes = route::compile(config, &names, around, report);
    shadow::report(&config.route, &routes, report);
    usage::check(config, report);
    if report.has_errors() {
        return None;
    }
    Some(Plan {
        server,
        state,
        cache: store,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        routes: routes.into_iter().collect::<Option<_>>()?,
    })
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

/// A number that its rule has bounded below the limits of the type.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The longest of a time that grows from `first`, the value of `key`.
fn longest(
    key: &str,
    first: &At<Duration>,
    longest: &At<Duration>,
    report: &mut Report,
) -> Duration {
    if longest.given && longest.value < first.value {
        let message = format!("the longest time is shorter than the first, which is `{key}`");
        let help = format!("write at least \"{}\"", show_duration(first.value));
        report.error(longest.span, message, Some(help));
    }
    longest.value.max(first.value)
}
