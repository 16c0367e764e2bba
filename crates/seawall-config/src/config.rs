//! The file as its author wrote it, typed: every value is good in itself, names are not resolved.
//!
//! Each section is declared once, with its documentation, in the file of the same name. What holds
//! between sections is for [`crate::compile`].

mod balance;
mod breaker;
mod cache;
mod eject;
mod fallback;
mod health;
mod hedge;
mod listen;
mod queue;
mod report;
mod retry;
mod route;
mod server;
mod state;
mod upstream;

pub(crate) use balance::{BalanceWord, HashEntry, StickyEntry};
pub(crate) use breaker::BreakerEntry;
pub(crate) use cache::{
    BypassEntry, CacheEntry, CacheStoreEntry, KeyEntry, QueryEntry, VersionEntry,
};
pub(crate) use eject::EjectEntry;
pub(crate) use fallback::FallbackEntry;
pub(crate) use health::HealthEntry;
pub(crate) use hedge::{HedgeAfter, HedgeEntry};
pub(crate) use listen::Listen;
pub(crate) use queue::{InFlightEntry, QueueEntry};
pub(crate) use report::ReportEntry;
pub(crate) use retry::{RetryEntry, RetryOn};
pub(crate) use route::{Edits, ErrorBody, RedirectTo, RespondWith, Route};
pub(crate) use server::Server;
pub(crate) use state::State;
pub(crate) use upstream::{SERVERS, ServerEntry, Upstream};

use std::time::Duration;

use crate::name;
use crate::rules::{Fault, Parsed};
use crate::section::{Section, section};
use crate::shape::{Presence, SectionShape, Shape};
use crate::text::Text;

section! {
    /// A configuration is one TOML file of at most 16 MiB. A key that is not described here is an
    /// error. There can be 10,000 listeners, 10,000 upstreams and 100,000 routes.
    Config {
        /// Settings of the whole process.
        nested "server" server: Server;
        /// What the nodes of a fleet share.
        nested "state" state: State;
        /// The store of the HTTP cache.
        nested "cache" cache: CacheStoreEntry;
        /// A listener: an address on which Seawall takes HTTP requests, or TCP connections.
        named "listen" listen: Listen;
        /// An upstream: a group of servers that can all answer the same requests.
        named "upstream" upstream: Upstream;
        /// A route: which requests it takes, and what becomes of them.
        each "route" route: Route;
    }
}

/// The sections that know `key`, as their author knows them; empty when none does.
pub(crate) fn homes_of(key: &str) -> String {
    let mut homes = Vec::new();
    for field in Config::shape().fields {
        let title = match field.presence {
            Presence::Named => format!("[{}.NAME]", field.key),
            Presence::Each => format!("[[{}]]", field.key),
            _ => format!("[{}]", field.key),
        };
        if let Shape::Section(section) = &field.shape {
            collect_homes(key, &title, section, &mut homes);
        }
    }
    homes.join(" or ")
}

fn collect_homes(key: &str, title: &str, section: &SectionShape, homes: &mut Vec<String>) {
    for field in &section.fields {
        if field.key == key {
            homes.push(title.to_owned());
        }
        for inner in sections_of(&field.shape) {
            collect_homes(key, &format!("`{}` of {title}", field.key), inner, homes);
        }
    }
}

/// The tables with keys of ours that a value of this shape can be.
fn sections_of(shape: &Shape) -> Vec<&SectionShape> {
    match shape {
        Shape::Section(inner) | Shape::Short(_, inner) | Shape::Switch(inner, _) => vec![inner],
        Shape::Either(shapes) => shapes.iter().flat_map(sections_of).collect(),
        _ => Vec::new(),
    }
}

/// The name of an upstream, which [`crate::compile`] looks up.
const UPSTREAM: Parsed<Text> = Parsed {
    kind: "the name of an upstream",
    example: "app",
    limits: "",
    parse: |text| Ok(text.clone()),
};

/// Reads a path that can name a file.
fn file(text: &Text) -> Result<Text, Fault> {
    match text.value.is_empty() || text.value.ends_with('/') || text.value.contains('\0') {
        false => Ok(text.clone()),
        true => {
            let message = format!("{} is not the path of a file", text.shown());
            Err(Fault::whole(text, message, "write for example \"./NAME\""))
        }
    }
}

/// The name of a zone.
const ZONE: Parsed<String> = Parsed {
    kind: "the name of a zone",
    example: "a",
    limits: "1 to 64 of `a-z`, `0-9`, `-`, `_`, `.`",
    parse: |text| match name::fault(&text.value, "zone") {
        Ok(()) => Ok(text.value.clone()),
        Err((message, help)) => Err(Fault::whole(text, message, help)),
    },
};

/// The shortest time a timeout can be set to.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
