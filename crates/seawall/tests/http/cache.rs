//! The cache, as clients and origins see it.

mod applications;
mod attacks;
mod browsers;
mod fill;
mod invalidation;
mod keys;
mod large;
mod life;
mod log;
mod model;
mod ranges;
mod stale;
mod stampede;

use std::io;

use seawall_testkit::{Origin, Request, Response, Seawall};

use crate::setup::{Setup, get};

/// A route before this origin that keeps answers as they say themselves, at the whole length of
/// their lifetime, and never fetches early.
fn caching(origin: &Origin) -> Setup {
    caching_with(origin, "")
}

/// The same with these further keys of `cache`.
fn caching_with(origin: &Origin, keys: &str) -> Setup {
    let keys = if keys.is_empty() { String::new() } else { format!(", {keys}") };
    Setup::before(origin)
        .server("trust = [\"127.0.0.1\"]")
        .route(&format!("cache = {{ jitter = \"0%\", early = false{keys} }}"))
}

/// An answer that is fresh for a minute.
fn fresh(body: impl Into<Vec<u8>>) -> Response {
    Response::new(200, body).with("cache-control", "max-age=60")
}

/// One request over a connection of its own.
fn ask(seawall: &Seawall, target: &str, fields: &str) -> io::Result<Response> {
    seawall.connect()?.exchange(get(target, fields))
}

/// What the cache says it did.
fn status_of(response: &Response) -> &str {
    response.headers.all("cache-status").last().unwrap_or_default()
}

fn is_hit(response: &Response) -> bool {
    status_of(response).starts_with("seawall; hit")
}

/// Content of this length in which each position can be told from others near and far.
fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The first part of content that `Range` asks for, if it does, as positions from and to.
fn range_of(request: &Request, length: usize) -> Option<(usize, usize)> {
    let (from, to) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    let to: usize = if to.is_empty() { length } else { to.parse::<usize>().ok()? + 1 };
    (from < to && from < length).then_some((from, to.min(length)))
}
