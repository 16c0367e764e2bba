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
    /// A level panics when less than this part of its weight is usable, in thousandths. Default
    /// 500; 0 for never.
    pub panic: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { overprovisioning: 140, panic: 500 }
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

    fn is_below(self, permille: u32) -> bool {
        u128::from(self.usable) * 1000 < u128::from(self.total) * u128::from(permille)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers from words like `0ULF/1u`: a digit for the priority, then a letter a server: usable,
    /// failing, out; capital when it is in this door's zone.
    fn members(text: &str) -> Vec<Member> {
        let mut priority = 0;
        let mut members = Vec::new();
        for letter in text.chars() {
            let state = match letter.to_ascii_lowercase() {
                'u' => State::Usable,
                'f' => State::Failing,
                'o' => State::Out,
                _ => {
                    priority = letter.to_digit(10).unwrap_or(priority.into()) as u8;
                    continue;
                }
            };
            members.push(Member { priority, local: letter.is_uppercase(), weight: 10, state });
        }
        members
    }

    /// Groups as text: priority, zone, how many members, `!` in panic, and percent of the traffic.
    fn groups(members: &[Member], rules: Rules) -> String {
        let levels = Levels::new(members, rules);
        let text = |group: &Group| {
            let zone = match group.zone {
                Zone::Local => "L",
                Zone::Other => "O",
                Zone::Any => "",
            };
            let panic = if group.panic { "!" } else { "" };
            let (priority, count) = (group.priority, group.members.len());
            format!("{priority}{zone}x{count}{panic} {:.0}", group.share() * 100.0)
        };
        levels.groups().iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// The rows of Envoy's documents, where a level has 100 servers.
    #[test]
    fn traffic_spills_to_the_next_priority_as_envoy_documents_it() {
        for (usable, expect) in [
            (&[100, 100][..], &[100, 0][..]),
            (&[72, 100], &[100, 0]),
            (&[71, 100], &[99, 1]),
            (&[50, 100], &[70, 30]),
            (&[25, 100], &[35, 65]),
            (&[0, 100], &[0, 100]),
            (&[72, 72], &[100, 0]),
            (&[71, 71], &[99, 1]),
            (&[25, 25], &[50, 50]),
            (&[5, 65], &[7, 93]),
            (&[100, 100, 100], &[100, 0, 0]),
            (&[71, 71, 100], &[99, 1, 0]),
            (&[25, 100, 100], &[35, 65, 0]),
            (&[25, 25, 100], &[35, 35, 30]),
            (&[25, 25, 20], &[36, 36, 29]),
        ] {
            let level = |(priority, &usable): (usize, &u32)| {
                let state = move |at| if at < usable { State::Usable } else { State::Failing };
                let member = move |at| Member {
                    priority: priority as u8,
                    local: false,
                    weight: 1,
                    state: state(at),
                };
                (0..100).map(member).collect::<Vec<_>>()
            };
            let members: Vec<Member> = usable.iter().enumerate().flat_map(level).collect();
            let levels = Levels::new(&members, Rules { panic: 0, ..Rules::default() });
            let mut shares = vec![0; usable.len()];
            for group in levels.groups() {
                shares[usize::from(group.priority)] = (group.share() * 100.0).round() as i32;
            }
            assert_eq!(shares, expect, "{usable:?}");
        }
    }

    #[test]
    fn zones_priorities_and_panic() {
        for (text, expect) in [
            // One level, no zones.
            ("0uuuu", "0x4 100"),
            ("0uuff", "0x2 100"),
            ("0ufff", "0x4! 100"),
            ("0ffff", "0x4! 100"),
            ("", ""),
            ("0oo", ""),
            // Taken out by hand: no capacity is missing, nothing panics, nothing spills.
            ("0uooo", "0x1 100"),
            ("0uooo1u", "0x1 100, 1x1 0"),
            ("0uoof", "0x1 100"),
            ("0uooff", "0x3! 100"),
            ("0fooo", "0x1! 100"),
            // Five of seven is just enough.
            ("0uuuuuff1u", "0x5 100, 1x1 0"),
            ("0uuuufff1u", "0x4 80, 1x1 20"),
            // The next level suffices, so nothing panics; the failing are not even a last resort.
            ("0ffff1uu", "1x2 100"),
            ("0ufff1uu", "0x1 35, 1x2 65"),
            // It does not suffice.
            ("0ufff1uff", "0x4! 43, 1x3! 57"),
            ("0ufffffffff1uuuuuffff", "0x10! 15, 1x5 85"),
            ("0ffff1ff", "0x4! 100, 1x2! 0"),
            ("0oo1ff", "1x2! 100"),
            ("1u5u", "1x1 100, 5x1 0"),
            // The zone of this door first, the others for what it cannot take.
            ("0UUuu", "0Lx2 100, 0Ox2 0"),
            ("0UFuu", "0Lx1 70, 0Ox2 30"),
            ("0FFuu", "0Ox2 100"),
            ("0UUff", "0Lx2 100"),
            ("0UFufff", "0x6! 100"),
            ("0OOuu", "0x2 100"),
            ("0UUoo", "0x2 100"),
            ("0UFuu1u", "0Lx1 70, 0Ox2 30, 1x1 0"),
            ("0UFuf1u", "0Lx1 49, 0Ox1 21, 1x1 30"),
            ("0UF1Uu", "0x1 70, 1Lx1 30, 1Ox1 0"),
        ] {
            assert_eq!(groups(&members(text), Rules::default()), expect, "{text}");
        }
    }

    #[test]
    fn thresholds_are_the_users_own() {
        let rules = |overprovisioning, panic| Rules { overprovisioning, panic };
        for (text, rules, expect) in [
            ("0ufff", rules(140, 0), "0x1 100"),
            ("0ffff", rules(140, 0), ""),
            ("0ufff", rules(140, 25), "0x1 100"),
            ("0ufff", rules(140, 26), "0x4! 100"),
            ("0uuuf1u", rules(100, 50), "0x3 75, 1x1 25"),
            ("0uuuf", rules(100, 100), "0x4! 100"),
            ("0ufff1u", rules(400, 50), "0x1 100, 1x1 0"),
        ] {
            assert_eq!(groups(&members(text), rules), expect, "{text} {rules:?}");
        }
    }

    #[test]
    fn weight_counts_and_not_the_number_of_servers() {
        let mut members = members("0uf1u");
        members[0].weight = 1000;
        assert_eq!(groups(&members, Rules::default()), "0x1 100, 1x1 0");
        members[1].weight = 3000;
        assert_eq!(groups(&members, Rules::default()), "0x1 35, 1x1 65");
        members.iter_mut().for_each(|member| member.weight = 0);
        assert_eq!(groups(&members, Rules::default()), "0x1 100, 1x1 0");
    }

    #[test]
    fn requests_are_picked_by_share_and_fall_through_in_order() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let levels = Levels::new(&members("0UFuf1u2u"), Rules::default());
            let mut counts = [0u32; 4];
            for _ in 0..4000 {
                counts[levels.pick(&mut random).expect("there are groups")] += 1;
            }
            for (count, expect) in counts.iter().zip([1960u32, 840, 1200, 0]) {
                assert!(count.abs_diff(expect) < 160, "seed {seed}: {counts:?}");
            }
            assert_eq!(counts[3], 0, "seed {seed}: it has no share");
            assert_eq!(levels.others(1).collect::<Vec<_>>(), [0, 2, 3]);
        }
        assert_eq!(Levels::default().pick(&mut Random::seeded(1)), None);
    }

    /// Whatever the servers are like: shares add up, no server is in two groups, those that are
    /// out are in none, usable ones are in one.
    #[test]
    fn every_usable_server_is_in_one_group_and_shares_are_whole() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            for _ in 0..40 {
                let n = random.below(12) as usize;
                let states = [State::Usable, State::Failing, State::Out];
                let member = |random: &mut Random| Member {
                    priority: random.below(3) as u8,
                    local: random.below(2) == 0,
                    weight: 1 + random.below(1000) as u32,
                    state: states[random.below(3) as usize],
                };
                let members: Vec<Member> = (0..n).map(|_| member(&mut random)).collect();
                let levels = Levels::new(&members, Rules::default());
                let whole: u64 = levels.groups().iter().map(|group| group.share).sum();
                let some = members.iter().any(|member| member.state != State::Out);
                assert_eq!(some, !levels.groups().is_empty(), "seed {seed}: {members:?}");
                assert!(!some || ONE - whole < 8, "seed {seed}: {levels:?}");
                let mut seen = vec![0; n];
                let all = levels.groups().iter().flat_map(|group| &group.members);
                all.for_each(|&member| seen[member] += 1);
                for (seen, member) in seen.iter().zip(&members) {
                    let right = match member.state {
                        State::Usable => *seen == 1,
                        State::Failing => *seen <= 1,
                        State::Out => *seen == 0,
                    };
                    assert!(right, "seed {seed}: {member:?} in {levels:?}");
                }
            }
        }
    }
}
