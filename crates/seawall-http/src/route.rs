//! Which route takes a request: the first in the file whose conditions hold.
//!
//! Routes are indexed by host, then by path, so that ten thousand of them cost a handful of
//! look-ups: one for the whole path and one for each of its leading parts that some prefix is as
//! deep as. Methods, header fields and query parameters are tried one by one on what is left.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use seawall_config::plan::{HostPattern, PathPattern, Route, ValuePattern, When};
use seawall_h1::RequestHead;

/// The index over the routes of a plan.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<[u8]>, Paths, RandomState>,
    below: HashMap<Box<[u8]>, Paths, RandomState>,
    any: Paths,
}

/// The routes for one host pattern, by path. Every list is in the order of the file.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, Vec<u32>, RandomState>,
    prefix: HashMap<Box<[u8]>, Vec<u32>, RandomState>,
    /// Slashes in the deepest prefix; deeper parts of a path need no look-up.
    depth: usize,
    any: Vec<u32>,
}

/// What a request found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// This route, by its position in the plan.
    Route(usize),
    /// None.
    Nothing,
    /// The readings of its path lead to different routes; see [`seawall_h1::target`].
    Ambiguous,
}

impl RouteTable {
    /// Builds the index.
    pub fn new(routes: &[Route]) -> RouteTable {
        let mut table = RouteTable::default();
        for (at, route) in routes.iter().enumerate() {
            let paths = match &route.when.host {
                HostPattern::Any => &mut table.any,
                HostPattern::Exact(host) => table.exact.entry(host.as_bytes().into()).or_default(),
                HostPattern::Below(host) => table.below.entry(host.as_bytes().into()).or_default(),
            };
            let list = match &route.when.path {
                PathPattern::Any => &mut paths.any,
                PathPattern::Exact(path) => paths.exact.entry(path.as_bytes().into()).or_default(),
                PathPattern::Prefix(prefix) => {
                    let slashes = prefix.bytes().filter(|&b| b == b'/').count();
                    paths.depth = paths.depth.max(slashes);
                    paths.prefix.entry(prefix.as_bytes().into()).or_default()
                }
            };
            list.push(at as u32);
        }
        table
    }

    /// Finds the route of a request among `routes`, for which the table was built.
    pub fn find(&self, routes: &[Route], request: &RequestHead) -> Found {
        let found = self.find_path(routes, request, request.path());
        let mut others = request.other_readings();
        if others.any(|other| self.find_path(routes, request, other) != found) {
            return Found::Ambiguous;
        }
        found.map_or(Found::Nothing, Found::Route)
    }

    fn find_path(&self, routes: &[Route], request: &RequestHead, path: &[u8]) -> Option<usize> {
        let mut search = Search { routes, request, path, best: u32::MAX };
        search.among(&self.any);
        if !self.exact.is_empty() || !self.below.is_empty() {
            let mut lower = [0u8; 255];
            let host = request.host();
            let host = host.strip_suffix(b".").unwrap_or(host);
            if let Some(lower) = lower.get_mut(..host.len()) {
                lower.copy_from_slice(host);
                lower.make_ascii_lowercase();
                if let Some(paths) = self.exact.get(&*lower) {
                    search.among(paths);
                }
                if !self.below.is_empty() {
                    for (dot, _) in lower.iter().enumerate().filter(|(_, b)| **b == b'.') {
                        if let Some(paths) = self.below.get(&lower[dot + 1..]) {
                            search.among(paths);
                        }
                    }
                }
            }
        }
        (search.best != u32::MAX).then_some(search.best as usize)
    }
}

struct Search<'a> {
    routes: &'a [Route],
    request: &'a RequestHead,
    path: &'a [u8],
    best: u32,
}

impl Search<'_> {
    fn among(&mut self, paths: &Paths) {
        self.first_of(&paths.any);
        // `*` of `OPTIONS *` is no path.
        if self.path.first() != Some(&b'/') {
            return;
        }
        if !paths.exact.is_empty()
            && let Some(list) = paths.exact.get(self.path)
        {
            self.first_of(list);
        }
        if paths.prefix.is_empty() {
            return;
        }
        // `/a/b` is below the prefixes "", "/a" and "/a/b".
        let slashes = self.path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in slashes.chain([self.path.len()]).take(paths.depth + 1) {
            if let Some(list) = paths.prefix.get(&self.path[..end]) {
                self.first_of(list);
            }
        }
    }

    fn first_of(&mut self, list: &[u32]) {
        for &at in list.iter().take_while(|&&at| at < self.best) {
            if holds(&self.routes[at as usize].when, self.request) {
                self.best = at;
                return;
            }
        }
    }
}

/// Whether the conditions besides host and path hold.
fn holds(when: &When, request: &RequestHead) -> bool {
    let method = request.method_text();
    (when.methods.is_empty() || when.methods.iter().any(|one| one.as_bytes() == method))
        && when.headers.iter().all(|(name, pattern)| {
            request.headers.all(name.as_bytes()).any(|value| match pattern {
                ValuePattern::Present => true,
                ValuePattern::Exact(expect) => value == expect.as_bytes(),
            })
        })
        && when.query.iter().all(|(name, pattern)| has_parameter(request.query(), name, pattern))
}

fn has_parameter(query: &[u8], name: &str, pattern: &ValuePattern) -> bool {
    parameters(query).any(|(found, value)| {
        decoded(found).eq(name.bytes())
            && match pattern {
                ValuePattern::Present => true,
                ValuePattern::Exact(expect) => decoded(value).eq(expect.bytes()),
            }
    })
}

/// The names and values in a query as they stand there; see [`decoded`].
pub(crate) fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let query = query.strip_prefix(b"?").unwrap_or(query);
    let pairs = query.split(|&b| b == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| match pair.iter().position(|&b| b == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    })
}

/// `text`, percent-decoded and with `+` as a space. A `%` without two digits behind it stands for
/// itself.
pub(crate) fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = *text.get(at)?;
        let digit = |at: usize| text.get(at).and_then(|&b| (b as char).to_digit(16));
        let (byte, width) = match (first, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => ((high << 4 | low) as u8, 3),
            (b'+', _, _) => (b' ', 1),
            (byte, _, _) => (byte, 1),
        };
        at += width;
        Some(byte)
    })
}
