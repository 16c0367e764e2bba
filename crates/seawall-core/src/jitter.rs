//! Random times, so that what began together does not go on together.
//!
//! Called by the other policies; it knows none of them.

use std::time::Duration;

use crate::random::Random;

/// A time between `least` and `most`, both possible, uniform to the nanosecond; `least` when `most`
/// is less. Spans beyond 584 years are cut there.
pub fn between(random: &mut Random, least: Duration, most: Duration) -> Duration {
    let span = nanos(most.saturating_sub(least));
    least.saturating_add(Duration::from_nanos(random.below(span.saturating_add(1))))
}

/// `time` and up to `permille` thousandths of it.
pub fn longer(random: &mut Random, time: Duration, permille: u32) -> Duration {
    between(random, time, time.saturating_add(share(time, permille)))
}

/// `time`, give or take up to `permille` thousandths of it (at most all of it).
pub fn around(random: &mut Random, time: Duration, permille: u32) -> Duration {
    let span = share(time, permille.min(1000));
    between(random, time.saturating_sub(span), time.saturating_add(span))
}

/// So many thousandths of a time.
fn share(time: Duration, permille: u32) -> Duration {
    Duration::from_nanos(nanos(time) / 1000).saturating_mul(permille)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_in_their_bounds_and_use_them() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let second = Duration::from_secs(1);
            let draws: Vec<Duration> = (0..200).map(|_| around(&mut random, second, 100)).collect();
            let (least, most) = (draws.iter().min(), draws.iter().max());
            let within = |time: Option<&Duration>, from: u64, to: u64| {
                time.is_some_and(|time| (from..=to).contains(&(time.as_millis() as u64)))
            };
            assert!(within(least, 900, 920), "seed {seed}: {least:?}");
            assert!(within(most, 1080, 1100), "seed {seed}: {most:?}");
            let longer = longer(&mut random, second, 100);
            assert!((second..=second.mul_f64(1.1)).contains(&longer), "seed {seed}: {longer:?}");
        }
    }

    #[test]
    fn any_time_will_do() {
        let mut random = Random::seeded(1);
        assert_eq!(between(&mut random, Duration::MAX, Duration::ZERO), Duration::MAX);
        assert_eq!(around(&mut random, Duration::ZERO, 500), Duration::ZERO);
        assert!(longer(&mut random, Duration::MAX, u32::MAX) == Duration::MAX);
        let all = between(&mut random, Duration::ZERO, Duration::MAX);
        assert!(all <= Duration::from_nanos(u64::MAX));
    }
}
