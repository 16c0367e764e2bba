//! SRV records (RFC 2782): which servers a service names, and how much each of them is to get.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::task::JoinSet;

use super::super::sources::Target;
use super::{Failure, Families, MOST_ADDRESSES, addresses, may_be_a_server, time_left};

/// Targets that are looked up at once.
const AT_ONCE: usize = 16;

/// What was found.
#[derive(Debug)]
pub(super) struct Service {
    /// Sorted, and never empty.
    pub(super) targets: Vec<Target>,
    /// Of the record that lasts shortest.
    pub(super) ttl: Duration,
    /// Why a target has no address now, if one has none.
    pub(super) missing: Option<String>,
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    port: u16,
    host: Arc<str>,
}

/// Looks up a service and the addresses of its targets, which are taken from the same answer where
/// it has them. A target without an address now keeps those in `families`; when no target has any,
/// that is a failure.
pub(super) async fn look_up(
    resolver: &TokioResolver,
    name: &str,
    families: &mut HashMap<Arc<str>, Families>,
) -> Result<Service, String> {
    let found = match resolver.lookup(format!("{name}."), RecordType::SRV).await {
        Ok(found) => found,
        Err(error) => return Err(Failure::from(error).to_string()),
    };
    let record = |data: &RData| match data {
        // A target of "." says that the service is decidedly not there.
        RData::SRV(srv) if !srv.target.is_root() && srv.port != 0 => Some(Record {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            host: srv.target.to_string().to_ascii_lowercase().into(),
        }),
        _ => None,
    };
    let mut records: Vec<Record> =
        found.answers().iter().filter_map(|answer| record(&answer.data)).collect();
    if records.is_empty() {
        return Err("there is no service record with a target".to_owned());
    }
    if records.len() > MOST_ADDRESSES {
        tracing::warn!(%name, records = records.len(), "too many records; the first {MOST_ADDRESSES} are used");
        records.truncate(MOST_ADDRESSES);
    }
    let mut ttl = time_left(found.valid_until());
    let mut hosts: HashMap<Arc<str>, Families> = HashMap::new();
    for record in &records {
        hosts.entry(record.host.clone()).or_default();
    }
    for additional in found.additionals() {
        let host = additional.name.to_string().to_ascii_lowercase();
        if let (Some(address), Some(families)) =
            (additional.data.ip_addr().filter(may_be_a_server), hosts.get_mut(host.as_str()))
        {
            ttl = ttl.min(Duration::from_secs(additional.ttl.into()));
            match address {
                IpAddr::V4(_) => families.v4.push(address),
                IpAddr::V6(_) => families.v6.push(address),
            }
        }
    }
    let mut missing = None;
    let mut rest: Vec<Arc<str>> = hosts
        .iter()
        .filter(|(_, families)| families.v4.is_empty() && families.v6.is_empty())
        .map(|(host, _)| host.clone())
        .collect();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some(host) = rest.pop()
        {
            let (resolver, before) = (resolver.clone(), families.remove(&host).unwrap_or_default());
            asked.spawn(async move {
                let (families, result) = addresses(&resolver, &host, before).await;
                (host, families, result)
            });
        }
        let Some(answered) = asked.join_next().await else { break };
        let Ok((host, found, result)) = answered else { continue };
        match result {
            Ok(lasts) => ttl = ttl.min(lasts),
            Err(error) => missing = Some(format!("{}: {error}", host.trim_end_matches('.'))),
        }
        hosts.insert(host, found);
    }
    // What is not named any more is forgotten.
    *families = hosts;
    let targets = targets(&records, families);
    if targets.is_empty() {
        return Err(missing.unwrap_or_else(|| "no target has an address".to_owned()));
    }
    Ok(Service { targets, ttl, missing })
}

/// Every address of every record, with priorities as levels from 0 and weights from 1 to 1,000.
fn targets(records: &[Record], hosts: &HashMap<Arc<str>, Families>) -> Vec<Target> {
    let addresses = |record: &Record| {
        let families = hosts.get(&record.host);
        families.into_iter().flat_map(|families| families.v4.iter().chain(&families.v6).copied())
    };
    // A level without a server would be one that is always down.
    let there: Vec<&Record> = records.iter().filter(|r| addresses(r).next().is_some()).collect();
    let mut priorities: Vec<u16> = there.iter().map(|record| record.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let mut targets = Vec::new();
    for (level, priority) in priorities.into_iter().enumerate() {
        let same: Vec<&Record> =
            there.iter().copied().filter(|record| record.priority == priority).collect();
        let given: Vec<u16> = same.iter().map(|record| record.weight).collect();
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        for (record, weight) in same.into_iter().zip(weights(&given)) {
            for address in addresses(record) {
                let address = SocketAddr::new(address, record.port);
                targets.push(Target { level, address, weight });
            }
        }
    }
    targets.sort_unstable();
    // One address is one server: of several records the one that is used first, with most weight.
    targets.sort_by_key(|target| (target.address, target.level, u32::MAX - target.weight));
    targets.dedup_by_key(|target| target.address);
    targets.sort_unstable();
    targets.truncate(MOST_ADDRESSES);
    targets
}

/// Weights from 1 to 1,000 in the ratios of those of SRV records, as small as can be. Beside others
/// 0 means "a very small chance" (RFC 2782): at most a hundredth of the largest share; of zeros
/// alone each gets the same.
fn weights(given: &[u16]) -> Vec<u32> {
    let most = u64::from(given.iter().copied().max().unwrap_or(0));
    if most == 0 {
        return vec![1; given.len()];
    }
    let divisor = given.iter().filter(|weight| **weight > 0).fold(0, |a, b| gcd(a, u64::from(*b)));
    let most = most / divisor;
    let times = match given.contains(&0) {
        true => SMALL_CHANCE.div_ceil(most),
        false => 1,
    };
    let scale = |weight: &u16| {
        let weight = u64::from(*weight) / divisor * times;
        let largest = most * times;
        let fitted = match largest > LARGEST {
            true => (weight * LARGEST + largest / 2) / largest,
            false => weight,
        };
        u32::try_from(fitted.clamp(1, LARGEST)).unwrap_or(1)
    };
    given.iter().map(scale).collect()
}

/// What the largest weight is at least beside one of 0, which becomes 1.
const SMALL_CHANCE: u64 = 100;
/// The largest weight of a server.
const LARGEST: u64 = 1_000;

fn gcd(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        b => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_ratios() {
        for (given, expect) in [
            (&[][..], &[][..]),
            (&[0], &[1]),
            (&[0, 0, 0], &[1, 1, 1]),
            (&[7], &[1]),
            (&[10, 20, 30], &[1, 2, 3]),
            (&[100, 100], &[1, 1]),
            (&[1, 999], &[1, 999]),
            (&[1, 1000], &[1, 1000]),
            (&[1, 2000], &[1, 1000]),
            (&[1, 65535], &[1, 1000]),
            (&[60000, 40001], &[1000, 667]),
            (&[0, 1], &[1, 100]),
            (&[0, 1, 2], &[1, 50, 100]),
            (&[0, 10, 300], &[1, 4, 120]),
            (&[0, 65535, 1], &[1, 1000, 1]),
        ] {
            assert_eq!(weights(given), expect, "{given:?}");
        }
    }

    #[test]
    fn any_weights_stay_within_their_bounds() {
        for seed in 0..256 {
            let mut random = seawall_core::random::Random::seeded(seed);
            let count = 1 + random.below(8);
            let given: Vec<u16> = (0..count)
                .map(|_| match random.below(4) {
                    0 => 0,
                    1 => random.below(10) as u16,
                    _ => random.below(1 << 16) as u16,
                })
                .collect();
            let made = weights(&given);
            for (i, a) in given.iter().enumerate() {
                assert!((1..=1000).contains(&made[i]), "seed {seed}: {given:?} → {made:?}");
                for (j, b) in given.iter().enumerate() {
                    assert!(a < b || made[i] >= made[j], "seed {seed}: {given:?} → {made:?}");
                    // Rounded to a thousandth of the largest.
                    let largest = f64::from(*given.iter().max().expect("there is one")).max(1.0);
                    let share = |given: u16| f64::from(given) / largest;
                    let most = f64::from(*made.iter().max().expect("there is one"));
                    let made = |i: usize| f64::from(made[i]) / most;
                    let slip = ((made(i) - made(j)) - (share(*a) - share(*b))).abs();
                    let zeros = most == 1.0;
                    assert!(zeros || slip <= 0.0111, "seed {seed}: {given:?} slips {slip}");
                }
            }
        }
    }

    #[test]
    fn priorities_become_levels() {
        let record = |priority, weight, port, host: &str| Record {
            priority,
            weight,
            port,
            host: host.into(),
        };
        let records = [
            record(20, 0, 80, "b."),
            record(10, 10, 80, "a."),
            record(10, 20, 81, "a."),
            record(5, 0, 80, "none."),
            // The same server again, for later.
            record(30, 1, 80, "b."),
        ];
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let hosts = HashMap::from([
            ("a.".into(), Families { v4: vec![address("10.0.0.1")], v6: vec![address("::1")] }),
            ("b.".into(), Families { v4: vec![address("10.0.0.2")], v6: vec![] }),
            ("none.".into(), Families::default()),
        ]);
        let found: Vec<String> = targets(&records, &hosts)
            .iter()
            .map(|target| format!("{} {} {}", target.level, target.address, target.weight))
            .collect();
        let expect = [
            "0 10.0.0.1:80 1",
            "0 10.0.0.1:81 2",
            "0 [::1]:80 1",
            "0 [::1]:81 2",
            "1 10.0.0.2:80 1",
        ];
        assert_eq!(found, expect);
    }
}
