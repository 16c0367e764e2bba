//! Slow start: a server that is new, or back after it was down, takes a growing part of its share,
//! so that cold caches and connections do not meet full load. For whoever keeps the weights that
//! balancers see.

/// What configured weights are multiplied by, so that a part of weight 1 can be told.
pub const SCALE: u32 = 100;

/// The least part of its weight that a server has, in percent.
const LEAST_PERCENT: u64 = 10;

/// The effective weight, at least 1, of a server of configured `weight` (1 to 1000) that has been
/// there for `since_ms` milliseconds, when it is to reach its full weight after `window_ms`.
///
/// It is `weight * SCALE * max(10 %, since / window)`: linear, as HAProxy's `slowstart` and Envoy
/// with aggression 1. A window of 0 means at once. When all servers of a group start together,
/// all weights shrink alike and nothing changes.
pub fn effective_weight(weight: u32, since_ms: u64, window_ms: u64) -> u32 {
    let full = weight.saturating_mul(SCALE);
    if since_ms >= window_ms {
        return full.max(1);
    }
    let (since, window) = (u128::from(since_ms), u128::from(window_ms));
    let ramped = u128::from(full) * since / window;
    let least = u128::from(full) * u128::from(LEAST_PERCENT) / 100;
    u32::try_from(ramped.max(least)).map_or(full, |weight| weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_grows_from_a_tenth_to_all() {
        for (weight, since, window, expect) in [
            (1, 0, 0, 100),
            (1, 0, 30_000, 10),
            (1, 2_999, 30_000, 10),
            (1, 6_000, 30_000, 20),
            (1, 15_000, 30_000, 50),
            (1, 29_999, 30_000, 99),
            (1, 30_000, 30_000, 100),
            (1000, 15_000, 30_000, 50_000),
            (1000, u64::MAX, 30_000, 100_000),
            (1000, u64::MAX - 1, u64::MAX, 99_999),
            (0, 0, 0, 1),
            (0, 0, 30_000, 1),
            (u32::MAX, 0, 1, u32::MAX / 10),
        ] {
            let is = effective_weight(weight, since, window);
            assert_eq!(is, expect, "weight {weight} after {since} of {window} ms");
        }
    }
}
