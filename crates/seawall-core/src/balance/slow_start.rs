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
