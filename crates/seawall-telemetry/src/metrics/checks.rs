//! What is counted of the active checks of servers. Written by the control thread alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::cells::{Cell, PerWorker};
use crate::exposition::Exposition;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The server answered as it is to.
    Good,
    /// No connection could be opened.
    Connect,
    /// It took too long.
    Timeout,
    /// The server answered otherwise, or broke off.
    Answer,
    /// This machine could not open a connection for lack of sockets, so nobody was asked.
    Skipped,
}

impl CheckOutcome {
    const ALL: [CheckOutcome; 5] = [
        CheckOutcome::Good,
        CheckOutcome::Connect,
        CheckOutcome::Timeout,
        CheckOutcome::Answer,
        CheckOutcome::Skipped,
    ];

    fn label(self) -> &'static str {
        match self {
            CheckOutcome::Good => "good",
            CheckOutcome::Connect => "connect",
            CheckOutcome::Timeout => "timeout",
            CheckOutcome::Answer => "answer",
            CheckOutcome::Skipped => "skipped",
        }
    }
}

/// What is counted of the checks of a server.
#[derive(Debug, Default)]
pub struct Checks {
    outcomes: [Cell; CheckOutcome::ALL.len()],
    /// 0 for not checked, else 1 more than the gauge.
    verdict: AtomicU8,
}

impl Checks {
    /// Counts a check.
    pub fn count(&self, outcome: CheckOutcome) {
        self.outcomes[outcome as usize].add(1);
    }

    /// The server is checked, and this is the verdict.
    pub fn checked(&self, healthy: bool) {
        self.verdict.store(1 + u8::from(healthy), Relaxed);
    }

    /// The server is not checked any more.
    pub fn unchecked(&self) {
        self.verdict.store(0, Relaxed);
    }
}

/// Upstream and address of a server, and what is counted of its checks.
type Row = ((Arc<str>, String), Arc<PerWorker<Checks>>);

/// Writes those of all servers.
pub(super) fn expose(all: &[Row], page: &mut Exposition) {
    let name = "seawall_upstream_checks_total";
    page.metric(name, "counter", "Active checks of a server, by how they ended.");
    for ((upstream, server), cells) in all {
        for outcome in CheckOutcome::ALL {
            let count = cells.sum(|checks| &checks.outcomes[outcome as usize]);
            if count > 0 {
                let label = ("outcome", outcome.label());
                page.sample(name, &[("upstream", upstream), ("server", server), label], count);
            }
        }
    }
    let name = "seawall_upstream_check_healthy";
    page.metric(name, "gauge", "1 while a server passes its active checks, 0 while it fails them.");
    for ((upstream, server), cells) in all {
        for verdict in cells.iter().map(|checks| checks.verdict.load(Relaxed)) {
            if let Some(healthy) = verdict.checked_sub(1) {
                let labels = [("upstream", &**upstream), ("server", server.as_str())];
                page.sample(name, &labels, u64::from(healthy));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Metrics;

    use super::*;

    #[test]
    fn checks_are_exposed_while_there_are_any() {
        let metrics = Metrics::new(2, vec![]);
        let checks = metrics.checks(&"app".into(), "127.0.0.1:1");
        let samples = |metrics: &Metrics| {
            let page = metrics.expose();
            let samples = page.lines().filter(|line| line.starts_with("seawall_upstream_check"));
            samples.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(&metrics), [""; 0]);
        checks.of(0).count(CheckOutcome::Timeout);
        checks.of(0).count(CheckOutcome::Timeout);
        checks.of(0).checked(false);
        let server = "upstream=\"app\",server=\"127.0.0.1:1\"";
        let counted = format!("seawall_upstream_checks_total{{{server},outcome=\"timeout\"}} 2");
        let healthy = |is| format!("seawall_upstream_check_healthy{{{server}}} {is}");
        assert_eq!(samples(&metrics), [counted.clone(), healthy(0)]);
        checks.of(0).checked(true);
        assert_eq!(samples(&metrics), [counted.clone(), healthy(1)]);
        checks.of(0).unchecked();
        assert_eq!(samples(&metrics), [counted]);
        metrics.forget_servers(|_, _| false);
        assert_eq!(samples(&metrics), [""; 0]);
    }
}
