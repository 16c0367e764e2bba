//! What is exposed of the state that the nodes of a fleet share. It is asked for whenever the page
//! is made; there is nothing of it in a process that shares nothing.

use std::sync::{Mutex, PoisonError};

use crate::exposition::Exposition;

/// How things stand with the shared state, and what happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedState {
    /// This node has applied all purges.
    pub current: bool,
    /// Leases can be had.
    pub leasing: bool,
    /// Leases that this node was given.
    pub leases: u64,
    /// Answers of other nodes that it took.
    pub answers: u64,
    /// Times that it found another node fetching.
    pub held: u64,
    /// Times that nobody told it whose turn it was.
    pub away: u64,
    /// Answers that it published.
    pub published: u64,
    /// Answers that it did not get to publish.
    pub unpublished: u64,
    /// Messages about purges that it applied.
    pub purges: u64,
    /// Times that it could not know which purges it missed.
    pub lost: u64,
    /// Connections that were lost or could not be opened.
    pub failures: u64,
    /// Milliseconds that the latest purge of this node took to come back.
    pub purge_latency: u64,
}

type Ask = dyn Fn() -> Option<SharedState> + Send + Sync;

/// Who is asked.
#[derive(Default)]
pub(super) struct Asked(Mutex<Option<Box<Ask>>>);

impl Asked {
    pub(super) fn ask(&self, ask: impl Fn() -> Option<SharedState> + Send + Sync + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(ask));
    }

    pub(super) fn expose(&self, page: &mut Exposition) {
        let ask = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = ask.as_ref().and_then(|ask| ask()) {
            state.expose(page);
        }
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked(..)")
    }
}

impl SharedState {
    fn expose(&self, page: &mut Exposition) {
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            page.metric(name, kind, help);
            page.sample(name, &[], value);
        };
        let help = "1 while this node has applied all purges of its fleet, 0 while it is catching \
                    up or the shared state is away.";
        one("seawall_state_current", "gauge", help, self.current.into());
        let help = "1 while nodes can agree on who fetches, 0 while each fetches for itself.";
        one("seawall_state_leasing", "gauge", help, self.leasing.into());
        let help = "Purges that this node heard of, its own included.";
        one("seawall_state_purges_total", "counter", help, self.purges);
        let help = "Times that purges were missed for good, so that all that is stored was purged \
                    softly.";
        one("seawall_state_lost_total", "counter", help, self.lost);
        let help = "Connections to the shared state that were lost or could not be opened.";
        one("seawall_state_failures_total", "counter", help, self.failures);
        let name = "seawall_state_purge_latency_seconds";
        page.metric(name, "gauge", "What the latest purge of this node took to come back to it.");
        page.sample_f64(name, &[], self.purge_latency as f64 / 1000.0);
        let name = "seawall_state_turns_total";
        page.metric(
            name,
            "counter",
            "Fetches that asked whose turn it is, by what they were told.",
        );
        let turns = [
            ("lease", self.leases),
            ("answer", self.answers),
            ("held", self.held),
            ("away", self.away),
        ];
        for (turn, count) in turns {
            page.sample(name, &[("turn", turn)], count);
        }
        let name = "seawall_state_published_total";
        page.metric(name, "counter", "Answers for other nodes, by whether they can have them.");
        for (taken, count) in [("yes", self.published), ("no", self.unpublished)] {
            page.sample(name, &[("taken", taken)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_exposed_while_there_is_one() {
        let asked = Asked::default();
        let page = |asked: &Asked| {
            let mut page = Exposition::default();
            asked.expose(&mut page);
            page.finish()
        };
        assert_eq!(page(&asked), "");
        asked.ask(|| None);
        assert_eq!(page(&asked), "");
        let state = SharedState { current: true, held: 3, purge_latency: 12, ..Default::default() };
        asked.ask(move || Some(state));
        for line in [
            "seawall_state_current 1\n",
            "seawall_state_leasing 0\n",
            "seawall_state_turns_total{turn=\"held\"} 3\n",
            "seawall_state_purge_latency_seconds 0.012\n",
        ] {
            assert!(page(&asked).contains(line), "{line} in\n{}", page(&asked));
        }
    }
}
