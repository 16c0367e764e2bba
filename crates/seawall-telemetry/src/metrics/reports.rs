//! What is counted of the reports of routes. Workers hand events over in batches of their own, so
//! that no request touches what is here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::exposition::Exposition;

/// Why events were not told to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// There was no room for more while they could not be delivered.
    Overflow,
    /// The application has refused them.
    Refused,
    /// The process ended, or the route lost its report, before they could be delivered.
    Ended,
}

impl Lost {
    const ALL: [Lost; 3] = [Lost::Overflow, Lost::Refused, Lost::Ended];

    fn word(self) -> &'static str {
        match self {
            Lost::Overflow => "overflow",
            Lost::Refused => "refused",
            Lost::Ended => "ended",
        }
    }
}

/// What is counted of one route's report.
#[derive(Debug, Default)]
pub struct Report {
    /// Events that were handed over.
    pub events: AtomicU64,
    /// Batches that the application has taken.
    pub batches: AtomicU64,
    /// Times that a batch was posted again.
    pub retries: AtomicU64,
    /// Bytes of events that wait or are on their way.
    pub waiting: AtomicU64,
    /// When the oldest of these happened, in milliseconds since 1970; 0 when there is none.
    pub oldest: AtomicU64,
    lost: [AtomicU64; Lost::ALL.len()],
}

impl Report {
    /// Counts events that nobody will be told.
    pub fn lost(&self, why: Lost, events: u64) {
        self.lost[why as usize].fetch_add(events, Relaxed);
    }
}

#[derive(Debug, Default)]
pub(super) struct Reports(Mutex<BTreeMap<Arc<str>, Arc<Report>>>);

impl Reports {
    pub(super) fn of(&self, route: &Arc<str>) -> Arc<Report> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(route.clone()).or_default().clone()
    }

    pub(super) fn expose(&self, page: &mut Exposition) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        type Pick = fn(&Report) -> &AtomicU64;
        let numbers: [(&str, &str, &str, Pick); 4] = [
            (
                "seawall_report_events_total",
                "counter",
                "Answers of a route that were handed over to be reported.",
                |report| &report.events,
            ),
            (
                "seawall_report_batches_total",
                "counter",
                "Batches of these that the application has taken.",
                |report| &report.batches,
            ),
            (
                "seawall_report_retries_total",
                "counter",
                "Times that a batch was posted again.",
                |report| &report.retries,
            ),
            (
                "seawall_report_waiting_bytes",
                "gauge",
                "Bytes of events that wait or are on their way.",
                |report| &report.waiting,
            ),
        ];
        for (name, kind, help, pick) in numbers {
            page.metric(name, kind, help);
            for (route, report) in all.iter() {
                page.sample(name, &[("route", route)], pick(report).load(Relaxed));
            }
        }
        let name = "seawall_report_oldest_seconds";
        page.metric(name, "gauge", "Age of the oldest event that waits or is on its way.");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        for (route, report) in all.iter() {
            let age = match report.oldest.load(Relaxed) {
                0 => 0,
                oldest => now.saturating_sub(oldest),
            };
            page.sample_f64(name, &[("route", route)], age as f64 / 1000.0);
        }
        let name = "seawall_report_dropped_total";
        page.metric(name, "counter", "Events that nobody was told, by reason.");
        for (route, report) in all.iter() {
            for why in Lost::ALL {
                let count = report.lost[why as usize].load(Relaxed);
                page.sample(name, &[("route", route), ("reason", why.word())], count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_told_by_reason() {
        let reports = Reports::default();
        let report = reports.of(&"links".into());
        report.events.store(5, Relaxed);
        report.lost(Lost::Refused, 2);
        report.lost(Lost::Refused, 1);
        let mut page = Exposition::default();
        reports.expose(&mut page);
        let page = page.finish();
        for line in [
            "seawall_report_events_total{route=\"links\"} 5\n",
            "seawall_report_oldest_seconds{route=\"links\"} 0\n",
            "seawall_report_dropped_total{route=\"links\",reason=\"overflow\"} 0\n",
            "seawall_report_dropped_total{route=\"links\",reason=\"refused\"} 3\n",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
        report.oldest.store(1, Relaxed);
        let mut page = Exposition::default();
        reports.expose(&mut page);
        assert!(!page.finish().contains("oldest_seconds{route=\"links\"} 0\n"));
    }
}
