//! What a node shares with the others of its fleet: purges, and who fetches what.
//!
//! Nothing here is waited for longer than the rules of a route allow, and without the shared state
//! each node goes on by itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use seawall_cache::directives::Demand;
use seawall_cache::disk::{read_place, write_place};
use seawall_cache::freshness::{self, Standing as Fresh};
use seawall_cache::object::{Content, Meta, Object};
use seawall_cache::purge::Kind;
use seawall_cache::shared::{Shared, Travelled};
use seawall_cache::store::Variants;
use seawall_cache::{Millis, vary};
use seawall_config::plan::{self, Cache, WithoutState};
use seawall_h1::RequestHead;
use seawall_state::{
    Answer, Delivery, Heard, Held, Lease, MESSAGE_LIMIT, Position, Standing, State, StateError,
    Token, Turn,
};
use seawall_telemetry::metrics::SharedState;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::node::{LABELS, Node};

/// How long a request waits for the node to hear of the purges that it missed.
const CATCHING_UP: Duration = Duration::from_millis(250);

/// How often it is asked again whose turn it is, after an answer that was of no use.
const ROUNDS: usize = 4;

/// How much younger an answer must be than the one that is to be fetched anew: 1 s, which is more
/// than the ages of one answer differ by that were worked out on different ways.
const YOUNGER: Millis = 1_000;

/// How long the others hear that an answer is for one request only. Those that wait for it hear it
/// at once; whoever comes later has a request of its own.
const ALONE: Duration = Duration::from_millis(200);

/// How long they hear that an answer is too large to travel, or that answers are not to be stored.
pub(super) const REMEMBERED: Duration = Duration::from_secs(10);

/// The hold of a node on what is shared.
#[derive(Debug)]
pub(crate) struct Fleet {
    state: State,
    plan: plan::State,
    /// Keeps the place of the node among purges, if what it stores outlives it.
    keeper: Option<AbortHandle>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

impl Fleet {
    /// Joins the fleet that `plan` names, for the cache of `node`. `disk` is the directory of what
    /// outlives the process.
    pub(crate) fn join(
        plan: &plan::State,
        node: &Arc<Node>,
        disk: Option<&Path>,
    ) -> Result<Fleet, StateError> {
        let applied = Arc::downgrade(node);
        let from = disk.and_then(read_place).map(Position::from_bytes);
        let state = State::open(plan, from, move |heard| apply(&applied, heard))?;
        let keeping = |disk: &Path| {
            tokio::spawn(keep(Arc::downgrade(node), state.clone(), disk.to_owned())).abort_handle()
        };
        let keeper = disk.map(keeping);
        Ok(Fleet { state, plan: plan.clone(), keeper })
    }

    /// Whether it is the one that this plan names.
    pub(crate) fn is_of(&self, plan: &plan::State) -> bool {
        self.plan == *plan
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// How things stand, for the metrics.
    pub(crate) fn status(&self) -> SharedState {
        let counts = self.state.counts();
        SharedState {
            current: self.state.standing(std::time::Instant::now()) == Standing::Current,
            leasing: self.state.is_leasing(),
            leases: counts.leases,
            answers: counts.answers,
            held: counts.held,
            away: counts.away,
            published: counts.published,
            unpublished: counts.unpublished,
            purges: counts.purges,
            lost: counts.lost,
            failures: counts.failures,
            purge_latency: counts.purge_latency,
        }
    }

    /// Tells the others of a purge.
    pub(super) fn tell(&self, label: u32, kind: Kind) {
        self.state.send_purge(message(&[(label, kind)]));
    }

    /// The same, and waits until they have heard it.
    pub(super) async fn publish(&self, label: u32, kind: Kind) {
        self.state.publish_purge(message(&[(label, kind)])).await;
    }

    /// Tells the others of many, and whether they know of them now; if not, they will.
    pub(super) async fn tell_all(&self, labels: &[u32], kind: Kind) -> bool {
        let mut told = true;
        for some in labels.chunks(MESSAGE_LIMIT / 5) {
            let purges: Vec<(u32, Kind)> = some.iter().map(|label| (*label, kind)).collect();
            let delivery = self.state.publish_purge(message(&purges)).await;
            told &= delivery == Delivery::Published;
        }
        told
    }

    /// Whether the node knows of all purges of the fleet.
    #[inline]
    pub(super) fn is_current(&self, now: Instant) -> bool {
        self.state.standing(now.into_std()) == Standing::Current
    }

    /// Waits for the node to know of them, but not for long. Says whether what is stored may be
    /// served then.
    pub(super) async fn may_serve(&self, without: WithoutState) -> bool {
        match self.state.settled(CATCHING_UP).await {
            Standing::Current => true,
            Standing::CatchingUp | Standing::Away(_) => without == WithoutState::Serve,
        }
    }
}

/// Keeps the place of a node among purges, so that the next process knows what it missed.
async fn keep(node: Weak<Node>, state: State, disk: PathBuf) {
    let mut kept = None;
    loop {
        tokio::time::sleep(KEEPING).await;
        let Some(node) = node.upgrade() else { return };
        let position = state.position();
        let Some(place) = position.filter(|_| position != kept) else { continue };
        // The place must not be ahead of the purges.
        if !node.store.purges_kept().await {
            continue;
        }
        let disk = disk.clone();
        let write = move || write_place(&disk, &place.to_bytes());
        // Without it the next process counts all that is stored as purged softly.
        if let Ok(Ok(())) = tokio::task::spawn_blocking(write).await {
            kept = position;
        }
    }
}

/// How often the place among purges is kept. What was purged since is heard again.
const KEEPING: Duration = Duration::from_millis(500);

/// A purge as it travels: for each label its kind and itself.
fn message(purges: &[(u32, Kind)]) -> Bytes {
    let mut message = BytesMut::with_capacity(5 * purges.len());
    for (label, kind) in purges {
        message.put_u8(match kind {
            Kind::Soft => b's',
            Kind::Hard => b'h',
        });
        message.put_u32(*label);
    }
    message.freeze()
}

/// What a message says; `None` if it is none of this version.
fn purges(message: &[u8]) -> Option<Vec<(u32, Kind)>> {
    let (purges, rest) = message.as_chunks::<5>();
    let one = |[kind, label @ ..]: &[u8; 5]| {
        let kind = match kind {
            b's' => Kind::Soft,
            b'h' => Kind::Hard,
            _ => return None,
        };
        Some((u32::from_be_bytes(*label), kind))
    };
    rest.is_empty().then(|| purges.iter().map(one).collect())?
}

/// Applies what is heard. Gives the number of the node's newest purge.
fn apply(node: &Weak<Node>, heard: Heard<'_>) -> u64 {
    let Some(node) = node.upgrade() else { return 0 };
    let everything = || vec![(LABELS.everything(), Kind::Soft)];
    let all = match heard {
        // What is not understood may be anything.
        Heard::Purge(message) => purges(message).unwrap_or_else(everything),
        Heard::Lost => everything(),
        Heard::Nothing => Vec::new(),
    };
    for (label, kind) in all {
        node.apply_purge(label, kind);
    }
    node.store.sequence()
}

/// A fetch that other nodes may be at too.
pub(super) struct Joint<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) node: &'a Node,
    pub(super) rules: &'a Cache,
    pub(super) request: &'a RequestHead,
    /// The key that is fetched for, and where the part of it ends that all variants have.
    pub(super) key: &'a [u8],
    pub(super) primary: usize,
    /// What is stored and to be fetched anew.
    pub(super) old: Option<&'a Object>,
    /// By what the URL can be purged.
    pub(super) labels: &'a [u32],
    /// The most that is waited for another node.
    pub(super) patience: Duration,
}

/// Whose turn it is to ask the origin.
pub(super) enum Ours {
    /// This node's, for all.
    Lease(Lease),
    /// This node's, for itself.
    Alone,
    /// Nobody's: another node did.
    Answer(Arc<Object>, Option<Arc<Variants>>),
    /// Nobody's: another node learned that answers are not to be stored, for this reason.
    Pass(u8),
}

impl Joint<'_> {
    /// Asks whose turn it is, and waits for another node if it is that one's.
    pub(super) async fn turn(&self) -> Ours {
        let deadline = Instant::now() + self.patience;
        let mut key = self.lease_key(self.key);
        let mut except: Option<Token> = None;
        for _ in 0..ROUNDS {
            let turn = self.fleet.state.take(&key, except).await;
            let turn = match turn {
                Turn::Held(held) if self.is_purged_since(&held) => {
                    except = Some(held.token);
                    continue;
                }
                Turn::Held(held) => {
                    held.wait(deadline.saturating_duration_since(Instant::now())).await
                }
                turn => turn,
            };
            let answer = match turn {
                Turn::Lease(lease) => return Ours::Lease(lease),
                Turn::Held(_) | Turn::Away => return Ours::Alone,
                Turn::Answer(answer) => answer,
            };
            match Shared::read(&answer.payload) {
                Some(Shared::Answer(travelled)) => match self.receive(&answer, &travelled) {
                    Received::Good(object, variants) => return Ours::Answer(object, variants),
                    Received::Useless => except = Some(answer.token),
                    // It is for other requests than this one.
                    Received::Varies(own) => {
                        let own = self.lease_key(&own);
                        except = (own == key).then_some(answer.token);
                        key = own;
                    }
                },
                Some(Shared::Pass(why)) => return Ours::Pass(why),
                Some(Shared::Alone) | None => return Ours::Alone,
            }
        }
        Ours::Alone
    }

    /// Under what it is leased. Tiers that share a state are at different fetches: the one asks the
    /// other.
    fn lease_key(&self, key: &[u8]) -> Vec<u8> {
        [&[self.rules.tier as u8], key].concat()
    }

    /// Whether what the other node is fetching will be of no use, since it began before a purge.
    fn is_purged_since(&self, held: &Held) -> bool {
        let newest = self.node.store.purges().newest_sequence(self.labels.iter().copied());
        newest > 0 && self.fleet.state.sequence_at(held.position).is_none_or(|at| at < newest)
    }

    /// Stores what another node fetched, if it can be used for this request.
    fn receive(&self, answer: &Answer, travelled: &Travelled<'_>) -> Received {
        let Joint { node, .. } = self;
        let Some(sequence) = self.fleet.state.sequence_at(answer.position) else {
            return Received::Useless;
        };
        let now = node.millis(Instant::now());
        let passed = travelled.offered.saturating_sub(answer.left.as_millis() as u64);
        let age = travelled.age.saturating_add(passed);
        let too_old = |old: &Object| age.saturating_add(YOUNGER) > age_of(&old.meta, now);
        if self.old.is_some_and(too_old) {
            return Received::Useless;
        }
        let store = &node.store;
        let primary = &travelled.key[..travelled.primary];
        if *primary != self.key[..self.primary] {
            return Received::Useless;
        }
        let mut key = primary.to_vec();
        let mut variants = None;
        if !travelled.names.is_empty() {
            let names: Vec<Box<[u8]>> = travelled.names.iter().map(|name| (*name).into()).collect();
            let all = store.vary(store.hash(primary), primary, &names);
            vary::secondary(&names, self.request, &mut key);
            if key != travelled.key {
                key.truncate(travelled.primary);
                vary::secondary(all.names(), self.request, &mut key);
                return Received::Varies(key);
            }
            // Here they may be told apart by more than there.
            key.truncate(travelled.primary);
            vary::secondary(all.names(), self.request, &mut key);
            variants = Some(all);
        }
        let here = age.saturating_sub(u64::from(travelled.meta.initial_age) * 1000);
        let received = now.saturating_sub(here);
        let meta = Meta { received, sequence, ..travelled.meta.clone() };
        if !matches!(freshness::standing(&meta, &Demand::default(), None, now), Fresh::Fresh { .. })
        {
            return Received::Useless;
        }
        let Travelled { fields, labels, content, .. } = travelled;
        let object = Object::new(meta, &key, fields, labels, Content::Whole, &[content]);
        if store.purged(&object).is_some() {
            return Received::Useless;
        }
        let object = Arc::new(object);
        // If there is no room for it, whoever waits has it all the same.
        let _ = match &variants {
            None => store.insert(object.clone()),
            Some(variants) => store.insert_variant(variants, object.clone()),
        };
        Received::Good(object, variants)
    }
}

enum Received {
    Good(Arc<Object>, Option<Arc<Variants>>),
    Useless,
    /// This request has this key.
    Varies(Vec<u8>),
}

fn age_of(meta: &Meta, now: Millis) -> Millis {
    u64::from(meta.initial_age) * 1000 + now.saturating_sub(meta.received)
}

/// The lease of a fetch, to be given back with what came of it. Dropped, the next node fetches.
pub(super) struct Debt {
    lease: Lease,
    /// The same under the key of the variant, once that is known to be another.
    fleet: Arc<Fleet>,
    tier: u8,
}

impl Debt {
    pub(super) fn new(lease: Lease, fleet: Arc<Fleet>, rules: &Cache) -> Debt {
        Debt { lease, fleet, tier: rules.tier as u8 }
    }

    /// Hands over what was stored. `leased` is the key that was fetched for.
    pub(super) async fn answer(
        self,
        object: &Object,
        primary: usize,
        variants: Option<&Variants>,
        leased: &[u8],
        now: Millis,
    ) {
        let age = age_of(&object.meta, now);
        let left = object.meta.lifetime.saturating_sub(age);
        let names = variants.map_or(&[][..], |variants| variants.names());
        let shared = Shared::write_answer(object, primary, names, age, left);
        let Some(shared) = shared.filter(|_| left > 0 && !object.meta.flags.no_cache) else {
            return self.alone().await;
        };
        let (shared, lifetime) = (Bytes::from(shared), Duration::from_millis(left));
        let Debt { lease, fleet, tier } = self;
        if object.key() != leased {
            // It varies, which nobody knew. Those who know it ask under this key.
            let key = [&[tier], object.key()].concat();
            if let Turn::Lease(lease) = fleet.state.take(&key, None).await {
                lease.publish(shared.clone(), lifetime).await;
            }
        }
        lease.publish(shared, lifetime).await;
    }

    /// Answers are not to be stored, for this reason.
    pub(super) async fn pass(self, why: u8) {
        self.lease.publish(Shared::write_pass(why).into(), REMEMBERED).await;
    }

    /// The answer is for this node only; whoever waits asks for himself.
    pub(super) async fn alone(self) {
        self.lease.publish(Shared::write_alone().into(), ALONE).await;
    }

    /// It is too large to travel.
    pub(super) async fn too_large(self) {
        self.lease.publish(Shared::write_alone().into(), REMEMBERED).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purges_travel() {
        let all = [(7, Kind::Soft), (u32::MAX, Kind::Hard)];
        assert_eq!(purges(&message(&all)).as_deref(), Some(&all[..]));
        for unknown in [&b"x1234"[..], b"s123", b"s1234s"] {
            assert_eq!(purges(unknown), None);
        }
    }
}
