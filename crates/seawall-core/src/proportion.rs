//! What a share of failures says of the rate behind it.
//!
//! Called by [`crate::breaker`] and [`crate::eject`], which must not conclude from three requests
//! what only a hundred can show.

/// Bounds of the rate behind `hits` of `total`: the score interval of Wilson (*Probable Inference,
/// the Law of Succession, and Statistical Inference*, JASA 1927), which unlike the textbook
/// interval holds for few trials and for rates near 0 and 1. `z` is the width in standard
/// deviations: 1.645 leaves 5 % beyond each bound, 2.326 leaves 1 %. Without trials the rate may
/// be anything: (0, 1).
pub fn bounds(hits: u64, total: u64, z: f64) -> (f64, f64) {
    if total == 0 {
        return (0.0, 1.0);
    }
    let n = total as f64;
    let share = hits.min(total) as f64 / n;
    let z2 = z * z;
    let middle = share + z2 / (2.0 * n);
    let reach = z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((middle - reach) / scale).max(0.0), ((middle + reach) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn known_intervals() {
        // Worked out by hand from the formula, 95 % two-sided.
        for ((hits, total), (low, high)) in [
            ((0, 10), (0.0, 0.2775)),
            ((10, 10), (0.7225, 1.0)),
            ((1, 2), (0.0945, 0.9055)),
            ((50, 100), (0.4038, 0.5962)),
            ((3, 5), (0.2307, 0.8824)),
            ((0, 0), (0.0, 1.0)),
        ] {
            let (is_low, is_high) = bounds(hits, total, 1.96);
            assert!((is_low - low).abs() < 1e-3, "{hits} of {total}: {is_low}");
            assert!((is_high - high).abs() < 1e-3, "{hits} of {total}: {is_high}");
        }
        assert_eq!(bounds(7, 5, 2.0), bounds(5, 5, 2.0), "more hits than trials is a slip of ours");
    }

    #[test]
    fn the_true_rate_is_mostly_inside() {
        for rate in [10, 100, 500, 900] {
            let mut missed = 0;
            for seed in 0..2560 {
                let mut random = Random::seeded(seed);
                let hits = (0..50).filter(|_| random.below(1000) < rate).count() as u64;
                let (low, high) = bounds(hits, 50, 2.576);
                let rate = rate as f64 / 1000.0;
                missed += u32::from(rate < low || rate > high);
            }
            assert!(missed < 2560 * 2 / 100, "{rate} was outside {missed} times of 2560");
        }
    }
}
