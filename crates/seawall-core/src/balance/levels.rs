//! Which of the servers of an upstream are asked at all: priorities, zones, panic. Made whenever
//! the state of a server changes; a request only picks a group, and a balancer a server of it.
//!
//! The arithmetic is the one that Envoy documents (*Priority levels*, *Panic threshold*), over
//! weights instead of counts: a level (the servers of one priority) that has lost some servers
//! keeps all of its traffic as long as what is left, times an overprovisioning factor, is enough;
//! below that the next level takes what is missing. When all levels together are not enough, each
//! gets its part, and a level with too few usable servers also uses those that fail, since the few
//! would only fall over, too.
//!
//! A level counts as able to take all traffic while it is whole. A small second level behind a
//! large first one is not; that is for limits of servers to guard.

use crate::random::Random;

/// The whole of the traffic.
const ONE: u64 = 1 << 32;

/// What may be done with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works.
    Usable,
    /// It fails, by its checks or its answers; used only in panic.
    Failing,
    /// Taken out by hand: never used, and counted as if it were not there.
    Out,
}

/// One server, as far as levels care.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// 0 is the first to be used.
    pub priority: u8,
    /// It is in the zone of this door. When nothing is known of zones: false, for all.
    pub local: bool,
    /// Its configured weight.
    pub weight: u32,
    /// What may be done with it.
    pub state: State,
}

/// When to spill and when to panic.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How much more than its part a server can bear, in percent. Default 140.
    pub overprovisioning: u32,
    /// A level panics when less than this part of its weight is usable, in percent. Default 50;
    /// 0 for never.
    pub panic: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { overprovisioning: 140, panic: 50 }
    }
}

/// Which servers of a level a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Those of this door's zone.
    Local,
    /// Those of the other zones.
    Other,
    /// All.
    Any,
}

/// Servers that a balancer chooses among.
#[derive(Debug, Clone)]
pub struct Group {
    /// The priority of all of them.
    pub priority: u8,
    /// Which zones they are of.
    pub zone: Zone,
    /// Their positions in the list that the levels were made of, in its order. Never empty.
    pub members: Vec<usize>,
    /// They are used whether they fail or not.
    pub panic: bool,
    share: u64,
}

impl Group {
    /// The part of all traffic that goes here, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share as f64 / ONE as f64
    }
}

/// The groups of an upstream, those to be preferred first.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    groups: Vec<Group>,
}

impl Levels {
    /// The groups of these servers.
    pub fn new(members: &[Member], rules: Rules) -> Levels {
        let mut priorities: Vec<u8> = members.iter().map(|member| member.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let level =
            |priority: &u8| Capacity::of(members.iter().filter(|m| m.priority == *priority));
        let capacities: Vec<Capacity> = priorities.iter().map(level).collect();
        let healths: Vec<u64> = capacities.iter().map(|level| level.health(rules)).collect();
        let suffices = healths.iter().sum::<u64>() >= ONE;
        let mut groups = Vec::new();
        for ((&priority, capacity), share) in
            priorities.iter().zip(&capacities).zip(spread(&healths))
        {
            let panic = !suffices && capacity.is_below(rules.panic);
            let mut add = |zone: Zone, share: u64| {
                let has = |(_, member): &(usize, &Member)| {
                    member.priority == priority
                        && match member.state {
                            State::Usable => true,
                            State::Failing => panic,
                            State::Out => false,
                        }
                        && match zone {
                            Zone::Local => member.local,
                            Zone::Other => !member.local,
                            Zone::Any => true,
                        }
                };
                let members: Vec<usize> =
                    members.iter().enumerate().filter(has).map(|(at, _)| at).collect();
                if !members.is_empty() {
                    groups.push(Group { priority, zone, members, panic, share });
                }
            };
            let zone = |local| {
                Capacity::of(
                    members.iter().filter(move |m| m.priority == priority && m.local == local),
                )
            };
            let (local, other) = (zone(true), zone(false));
            // In panic nearness is no help any more.
            if panic || local.total == 0 || other.total == 0 {
                add(Zone::Any, share);
            } else {
                let parts = spread(&[local.health(rules), other.health(rules)]);
                let near = (u128::from(share) * u128::from(parts[0]) / u128::from(ONE)) as u64;
                add(Zone::Local, near);
                add(Zone::Other, share - near);
            }
        }
        if let Some(first) =
            groups.first_mut().filter(|_| healths.iter().all(|&health| health == 0))
        {
            first.share = ONE;
        }
        Levels { groups }
    }

    /// The groups, those to be preferred first. None when no server may be used.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group that takes the next request, by share; `None` when there is none.
    #[inline]
    pub fn pick(&self, random: &mut Random) -> Option<usize> {
        if self.groups.len() <= 1 {
            return (!self.groups.is_empty()).then_some(0);
        }
        let mut ticket = random.below(ONE);
        let hit = self.groups.iter().position(|group| {
            let hit = ticket < group.share;
            ticket = ticket.saturating_sub(group.share);
            hit
        });
        // Shares are rounded down, so a ticket may pass all of them.
        hit.or_else(|| self.groups.iter().rposition(|group| group.share > 0))
    }

    /// The groups to try when no server of the `picked` one can take the request, in order.
    pub fn others(&self, picked: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.groups.len()).filter(move |&group| group != picked)
    }
}

/// Weight of some servers.
#[derive(Debug, Clone, Copy, Default)]
struct Capacity {
    usable: u64,
    total: u64,
}

impl Capacity {
    fn of<'a>(members: impl Iterator<Item = &'a Member>) -> Capacity {
        let mut capacity = Capacity::default();
        for member in members.filter(|member| member.state != State::Out) {
            capacity.total += u64::from(member.weight);
            if member.state == State::Usable {
                capacity.usable += u64::from(member.weight);
            }
        }
        capacity
    }

    /// How much of the traffic it can take, of [`ONE`].
    fn health(self, rules: Rules) -> u64 {
        if self.total == 0 {
            return 0;
        }
        let able = u128::from(self.usable) * u128::from(rules.overprovisioning) * u128::from(ONE)
            / (u128::from(self.total) * 100);
        able.min(u128::from(ONE)) as u64
    }

    fn is_below(self, percent: u32) -> bool {
        u128::from(self.usable) * 100 < u128::from(self.total) * u128::from(percent)
    }
}

/// The share of each, when everyone takes what those before it have left; in proportion when all
/// together cannot take all of it.
fn spread(healths: &[u64]) -> Vec<u64> {
    let able = healths.iter().sum::<u64>();
    let mut left = ONE;
    let share = |&health: &u64| {
        let share = match able {
            0 => 0,
            1..ONE => (u128::from(health) * u128::from(ONE) / u128::from(able)) as u64,
            _ => health.min(left),
        };
        left -= share;
        share
    };
    healths.iter().map(share).collect()
}
