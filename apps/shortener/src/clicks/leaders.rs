//! The most clicked links of a day, in a bounded place: counters of Misra and Gries, joined as by
//! Agarwal and others, "Mergeable summaries" (2012), section 3. Pure.
//!
//! Each count is at most too low, by no more than all clicks of the day divided by [`MOST`]` + 1`,
//! so that a link with more than that share of them is always there; with no more links than
//! [`MOST`] in a day, counts are exact. So whoever wants to know which links were clicked most reads
//! a row a day, and then the true counts of these few.

/// Links that are kept of a day.
pub const MOST: usize = 256;

/// Counts by code, sorted by code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaders(Vec<(Box<str>, u64)>);

impl Leaders {
    /// Of counts by code, each code once.
    pub fn of<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Leaders {
        let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        cut(&mut counts);
        counts.sort_unstable();
        Leaders(counts.into_iter().map(|(code, count)| (code.into(), count)).collect())
    }

    /// Joins another to it.
    pub fn merge(&mut self, other: &Leaders) {
        for (code, count) in &other.0 {
            match self.0.binary_search_by(|(known, _)| known.cmp(code)) {
                Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(*count),
                Err(at) => self.0.insert(at, (code.clone(), *count)),
            }
        }
        cut(&mut self.0);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts by code, sorted by code.
    pub fn counts(&self) -> &[(Box<str>, u64)] {
        &self.0
    }

    /// The codes with the highest counts, the highest first, those that are equal by code.
    pub fn first(&self, most: usize) -> Vec<&str> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
        sorted.into_iter().take(most).map(|(code, _)| &**code).collect()
    }

    /// What was stored, which is sorted and not too long.
    pub(super) fn stored(counts: Vec<(Box<str>, u64)>) -> Option<Leaders> {
        let is_sorted = counts.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (is_sorted && counts.len() <= MOST).then_some(Leaders(counts))
    }
}

/// Takes the count of the first that is too many from all, and lets go of those that have nothing
/// left. Keeps the order of the rest.
fn cut<K>(counts: &mut Vec<(K, u64)>) {
    if counts.len() <= MOST {
        return;
    }
    let mut sorted: Vec<u64> = counts.iter().map(|(_, count)| *count).collect();
    let (_, least, _) = sorted.select_nth_unstable_by(MOST, |one, other| other.cmp(one));
    counts.retain_mut(|(_, count)| {
        *count = count.saturating_sub(*least);
        *count > 0
    });
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn name(number: usize) -> Box<str> {
        format!("{number:05}").into()
    }

    #[test]
    fn few_links_are_counted_exactly() {
        let names: Vec<_> = (0..MOST).map(name).collect();
        let mut leaders = Leaders::of(names.iter().zip(0..).map(|(name, count)| (&**name, count)));
        let again = leaders.clone();
        leaders.merge(&again);
        assert_eq!(leaders.counts().len(), MOST - 1, "nothing is nothing");
        assert_eq!(leaders.counts()[9], (name(10), 20));
        assert_eq!(leaders.first(2), ["00255", "00254"]);
    }

    #[test]
    fn of_any_clicks_the_leaders_are_there_and_their_counts_nearly_right() {
        for seed in 0..64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut leaders, mut truth, mut all) = (Leaders::default(), HashMap::new(), 0);
            for _ in 0..random.usize(1..40) {
                let mut flush: HashMap<Box<str>, u64> = HashMap::new();
                for _ in 0..random.usize(1..3_000) {
                    // Zipf, about: links of rank r have a share of 1/r.
                    let rank = 5_000_f64.powf(random.f64()) as usize;
                    *flush.entry(name(rank)).or_default() += 1;
                    all += 1;
                }
                for (code, count) in &flush {
                    *truth.entry(code.clone()).or_insert(0) += count;
                }
                let flush = flush.iter().map(|(code, count)| (&**code, *count));
                leaders.merge(&Leaders::of(flush));
                assert!(leaders.counts().len() <= MOST, "seed {seed}");
            }
            let found: HashMap<_, _> = leaders.counts().iter().cloned().collect();
            let error = all / (MOST as u64 + 1);
            for (code, count) in truth {
                let found = found.get(&code).copied().unwrap_or(0);
                assert!(found <= count && count <= found + error, "seed {seed}, {code}: {count}");
            }
        }
    }
}
