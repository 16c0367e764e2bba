//! Routes that can never match because one earlier route takes all that they could take.
//!
//! Sound, not complete: a route is named only when every condition of one earlier route follows
//! from its own; what several earlier routes take together is not seen. Earlier routes are kept by
//! host, path and one telling condition, so that each route is compared with few.

use std::collections::HashMap;

use crate::config::Route;
use crate::plan::{self, HostPattern, PathPattern, ValuePattern, When};
use crate::read::At;
use crate::report::Report;

/// Warns of every route of the plan that an earlier one shadows. `routes` are the compiled
/// `sections`; those that could not be compiled neither shadow nor are shadowed.
pub(super) fn report(
    sections: &[Option<At<Route>>],
    routes: &[Option<plan::Route>],
    report: &mut Report,
) {
    let whens: Vec<Option<&When>> =
        routes.iter().map(|route| Some(&route.as_ref()?.when)).collect();
    for (index, winner) in shadowed(&whens) {
        let (Some(Some(section)), Some(Some(route)), Some(Some(earlier)), Some(Some(winning))) =
            (sections.get(index), routes.get(index), routes.get(winner), sections.get(winner))
        else {
            continue;
        };
        let line = report.line(winning.span);
        let message = format!(
            "the route `{}` can never match: `{}` on line {line} comes first and takes all its requests",
            route.name, earlier.name
        );
        let help = format!("move it above `{}`, or take it away", earlier.name);
        report.warning(section.span, message, Some(help));
    }
}

/// Positions of routes that can never match, each with the first route that shadows it.
fn shadowed(routes: &[Option<&When>]) -> Vec<(usize, usize)> {
    let mut index = Index::new(routes);
    let mut all = Vec::new();
    for (position, when) in routes.iter().enumerate() {
        let Some(when) = when else {
            continue;
        };
        match index.find(when, routes) {
            // What it could shadow is shadowed by the same route already.
            Some(winner) => all.push((position, winner)),
            None => index.add(position, when),
        }
    }
    all
}

/// Earlier routes by host, path and key.
struct Index<'r> {
    hosts: HashMap<HostPattern, HashMap<PathPattern, HashMap<Key<'r>, Vec<usize>>>>,
    /// How many routes have a condition: the rarest tells most.
    frequency: HashMap<Key<'r>, usize>,
}

/// What a route must have so that an earlier one with this key can shadow it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'r> {
    /// Nothing.
    Always,
    /// This method.
    Method(&'r str),
    /// A condition on this header field, with this value unless `None`.
    Header(&'r str, Option<&'r str>),
    /// A condition on this query parameter, with this value unless `None`.
    Query(&'r str, Option<&'r str>),
}

impl<'r> Index<'r> {
    fn new(routes: &[Option<&'r When>]) -> Self {
        let mut frequency = HashMap::new();
        for key in routes.iter().copied().flatten().flat_map(conditions) {
            *frequency.entry(key).or_insert(0) += 1;
        }
        let hosts = HashMap::new();
        Index { hosts, frequency }
    }

    fn add(&mut self, position: usize, when: &'r When) {
        let paths = self.hosts.entry(when.host.clone()).or_default();
        let keys = paths.entry(when.path.clone()).or_default();
        let rarest = conditions(when).min_by_key(|key| self.frequency.get(key).copied());
        match rarest {
            Some(key) => keys.entry(key).or_default().push(position),
            None if when.methods.is_empty() => keys.entry(Key::Always).or_default().push(position),
            None => {
                for method in &when.methods {
                    keys.entry(Key::Method(method)).or_default().push(position);
                }
            }
        }
    }

    /// The first earlier route whose conditions all follow from `when`.
    fn find(&self, when: &'r When, routes: &[Option<&When>]) -> Option<usize> {
        let mut keys: Vec<Key<'_>> = vec![Key::Always];
        keys.extend(when.methods.first().map(|method| Key::Method(method)));
        for key in conditions(when) {
            keys.push(key);
            match key {
                Key::Header(name, Some(_)) => keys.push(Key::Header(name, None)),
                Key::Query(name, Some(_)) => keys.push(Key::Query(name, None)),
                _ => {}
            }
        }
        let hosts = hosts_above(&when.host);
        let paths = hosts.iter().filter_map(|host| self.hosts.get(host));
        let above = paths_above(when);
        let mut first: Option<usize> = None;
        for known in paths.flat_map(|paths| above.iter().filter_map(|path| paths.get(path))) {
            for list in keys.iter().filter_map(|key| known.get(key)) {
                let takes = |&&position: &&usize| {
                    let earlier = routes.get(position).copied().flatten();
                    earlier.is_some_and(|earlier| conditions_follow(earlier, when))
                };
                let found = list.iter().find(takes).copied();
                first = [first, found].into_iter().flatten().min();
            }
        }
        first
    }
}

fn conditions(when: &When) -> impl Iterator<Item = Key<'_>> {
    let headers = when.headers.iter().map(|(name, value)| Key::Header(name, exact(value)));
    let query = when.query.iter().map(|(name, value)| Key::Query(name, exact(value)));
    headers.chain(query)
}

fn exact(value: &ValuePattern) -> Option<&str> {
    match value {
        ValuePattern::Present => None,
        ValuePattern::Exact(value) => Some(value),
    }
}

/// Every host pattern that takes all hosts of this one.
fn hosts_above(host: &HostPattern) -> Vec<HostPattern> {
    let mut all = vec![HostPattern::Any];
    let (name, itself) = match host {
        HostPattern::Any => return all,
        HostPattern::Exact(name) => (name, false),
        HostPattern::Below(name) => (name, true),
    };
    if !itself {
        all.push(host.clone());
    }
    let mut above = if itself { Some(&**name) } else { parent(name) };
    while let Some(name) = above {
        all.push(HostPattern::Below(name.into()));
        above = parent(name);
    }
    all
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// Every path pattern that takes all paths of this one.
fn paths_above(when: &When) -> Vec<PathPattern> {
    let mut all = vec![PathPattern::Any];
    let path = match &when.path {
        PathPattern::Any => {
            // Only OPTIONS has a target without a path.
            let options = when.methods.is_empty() || when.methods.iter().any(|m| &**m == "OPTIONS");
            if !options {
                all.push(PathPattern::Prefix("".into()));
            }
            return all;
        }
        PathPattern::Exact(path) => {
            all.push(when.path.clone());
            path
        }
        PathPattern::Prefix(path) => path,
    };
    let mut above: &str = path;
    loop {
        all.push(PathPattern::Prefix(above.into()));
        match above.rfind('/') {
            Some(slash) => above = &above[..slash],
            None => return all,
        }
    }
}

/// Whether whatever meets the conditions of `later` on method, header fields and query meets
/// those of `earlier`.
fn conditions_follow(earlier: &When, later: &When) -> bool {
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty()
            && later.methods.iter().all(|method| earlier.methods.contains(method)));
    methods && follow(&earlier.headers, &later.headers) && follow(&earlier.query, &later.query)
}

fn follow(earlier: &[(Box<str>, ValuePattern)], later: &[(Box<str>, ValuePattern)]) -> bool {
    earlier.iter().all(|(name, value)| {
        let same = later.iter().filter(|(known, _)| known == name);
        let mut values = same.map(|(_, known)| known);
        values.any(|known| *value == ValuePattern::Present || known == value)
    })
}

#[cfg(test)]
mod tests;
