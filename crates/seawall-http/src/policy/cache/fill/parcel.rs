//! What a fetch takes along: the request as the origin is to be asked, on nobody's behalf. Made by
//! whoever begins a fetch, and sent by [`super::begin`]; asks nobody itself.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use seawall_cache::conditional::{self, Validators};
use seawall_cache::directives::Demand;
use seawall_cache::object::Object;
use seawall_cache::store::Variants;
use seawall_cache::vary::Encodings;
use seawall_config::plan::Cache;
use seawall_h1::{Known, RequestHead};

use crate::message::Peer;
use crate::policy::cache::chunks::{self, Wanted};
use crate::policy::cache::node::Node;
use crate::policy::cache::{Errand, Key, overrides_method, tier};
use crate::policy::report::Reported;
use crate::worker::Running;

/// Everything that a fetch needs, once it is on its own.
pub(in crate::policy::cache) struct Parcel {
    pub(super) head: RequestHead,
    pub(super) running: Rc<Running>,
    pub(super) route: usize,
    pub(super) listener: usize,
    pub(super) peer: Peer,
    pub(super) trusted: bool,
    /// By whom the answers that come of it are reported.
    pub(super) reported: Reported,
    /// Another cache asks.
    pub(super) for_tier: bool,
    /// Where the key of all variants ends.
    pub(super) primary: usize,
    /// Behind it the key goes by this, if what is asked for is one of several variants.
    pub(super) variants: Option<Arc<Variants>>,
    /// What is stored and to be validated.
    pub(super) old: Option<Arc<Object>>,
    /// What whoever asked first wants of the cache.
    pub(super) demand: Demand,
    pub(super) asked: Asked,
    /// Whoever asked first wants all of the answer, whatever they have of it.
    pub(super) wants_all: bool,
    /// Counts it among those that nobody waits for.
    _background: Option<Background>,
}

/// What a fetch is for.
#[derive(Clone)]
pub(in crate::policy::cache) enum Asked {
    /// A whole answer.
    Whole,
    /// A whole answer of which only parts are wanted for now: the chunk of this number first.
    Part(u64),
    /// A chunk of an object.
    Chunk(Wanted),
}

/// A fetch that nobody waits for.
struct Background(Arc<AtomicUsize>);

impl Background {
    fn new(node: &Node) -> Background {
        node.refreshing.fetch_add(1, Relaxed);
        Background(node.refreshing.clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Whether a field means more to some servers than to the cache: it makes another method of the
/// request, or is to them, with `_` for `-`, another field than the one that the cache looks at.
fn is_disguised(name: &[u8], rules: &Cache, key: &Key) -> bool {
    let is_looked_at = || {
        let of_key = rules.key.headers.iter().chain(&rules.vary).map(|one| one.as_bytes());
        let of_variant = key.variants.iter().flat_map(|variants| variants.names());
        of_key.chain(of_variant.map(|one| &**one)).any(|one| name.eq_ignore_ascii_case(one))
    };
    overrides_method(name) || name.contains(&b'_') && !is_looked_at()
}

impl Parcel {
    /// The request as the origin is to be asked, for all and not for one; validating `old`.
    pub(in crate::policy::cache) fn new(
        errand: &Errand<'_>,
        key: &Key,
        old: Option<Arc<Object>>,
        foreground: bool,
    ) -> Parcel {
        let Errand { request, node, .. } = errand;
        let mut head = request.head.clone();
        head.become_get();
        let wants_all = head.headers.iter().all(|it| !conditional::is_about_a_part(it.known));
        // What the next server is told is not the client's to take away.
        head.headers.remove(b"connection");
        head.connection.names_fields = false;
        head.headers.remove_where(|field| {
            conditional::is_about_a_part(field.known)
                || field.known == Known::Other && is_disguised(field.name, errand.rules, key)
        });
        let encodings = Encodings::of(&head);
        head.headers.remove(b"accept-encoding");
        head.headers.append(|out| {
            out.extend_from_slice(b"Accept-Encoding: ");
            encodings.write(out);
            out.extend_from_slice(b"\r\n");
        });
        if !foreground {
            // What a client wanted of its answer is not wanted of this one.
            head.headers.remove(b"cache-control");
            head.headers.remove(b"pragma");
        }
        if let Some(old) = &old {
            let had = Validators::stored(old.fields(), old.meta.received);
            head.headers.append(|out| {
                conditional::write_validators(std::iter::once(had), out);
            });
        }
        let for_tier = tier::asks(&head.headers);
        tier::sign(&mut head.headers, node, errand.rules);
        // Parts can be had of what nothing is stored of.
        let asked = match chunks::first_wanted(request.head) {
            Some(number) if foreground && old.is_none() => {
                head.headers.push(b"Range", chunks::range_of_chunk(number).as_bytes());
                Asked::Part(number)
            }
            _ => Asked::Whole,
        };
        let listeners = &request.running.compiled.plan.listeners;
        let listener = listeners.iter().position(|one| std::ptr::eq(one, request.listener));
        Parcel {
            head,
            running: request.running.clone(),
            route: request.facts.route.get().unwrap_or_default(),
            listener: listener.unwrap_or_default(),
            peer: Peer::new(request.peer.address),
            trusted: request.trusted,
            reported: match request.facts.reported.get() {
                // Nobody has asked for it, so that nobody is to count it.
                Reported::Not if !foreground && errand.route.report.is_some() => {
                    Reported::Elsewhere
                }
                reported => reported,
            },
            for_tier,
            primary: key.primary,
            variants: key.variants.clone(),
            old,
            demand: if foreground { errand.demand } else { Demand::default() },
            asked,
            wants_all,
            _background: (!foreground).then(|| Background::new(node)),
        }
    }
}

impl Parcel {
    /// The same request, for a chunk.
    pub(in crate::policy::cache) fn chunk(&self, wanted: Wanted) -> Parcel {
        let mut head = self.head.clone();
        wanted.write(&mut head);
        Parcel {
            head,
            running: self.running.clone(),
            peer: Peer::new(self.peer.address),
            variants: None,
            old: None,
            asked: Asked::Chunk(wanted),
            _background: None,
            ..*self
        }
    }
}
