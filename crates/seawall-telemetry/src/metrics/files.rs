//! Whether the files with servers that upstreams name can be used.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::exposition::Exposition;

/// What is known of the file of each upstream.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<BTreeMap<Arc<str>, File>>);

#[derive(Debug, Default)]
struct File {
    bad: bool,
    failures: u64,
}

impl Files {
    /// The file of `upstream` was looked at, since it has changed.
    pub(super) fn note(&self, upstream: &Arc<str>, good: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = all.entry(upstream.clone()).or_default();
        file.bad = !good;
        file.failures += u64::from(!good);
    }

    /// Forgets the upstreams that `keep` does not name.
    pub(super) fn forget(&self, keep: impl Fn(&str) -> bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|upstream, _| keep(upstream));
    }

    pub(super) fn expose(&self, page: &mut Exposition) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "seawall_upstream_file_good";
        let help = "1 while the file with servers of an upstream can be used, 0 while those of the \
                    last good one are in use.";
        page.metric(name, "gauge", help);
        for (upstream, file) in all.iter() {
            page.sample(name, &[("upstream", upstream)], u64::from(!file.bad));
        }
        let name = "seawall_upstream_file_failures_total";
        page.metric(name, "counter", "Changes of that file that could not be used.");
        for (upstream, file) in all.iter() {
            page.sample(name, &[("upstream", upstream)], file.failures);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_exposed_while_there_are_any() {
        let files = Files::default();
        let samples = |files: &Files| {
            let mut page = Exposition::default();
            files.expose(&mut page);
            let page = page.finish();
            page.lines()
                .filter(|line| !line.starts_with('#'))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        files.note(&"a".into(), true);
        files.note(&"b".into(), true);
        files.note(&"b".into(), false);
        let good = [
            "seawall_upstream_file_good{upstream=\"a\"} 1",
            "seawall_upstream_file_good{upstream=\"b\"} 0",
        ];
        let failures = [
            "seawall_upstream_file_failures_total{upstream=\"a\"} 0",
            "seawall_upstream_file_failures_total{upstream=\"b\"} 1",
        ];
        assert_eq!(samples(&files), [good, failures].concat());
        files.forget(|upstream| upstream == "a");
        assert_eq!(samples(&files), [good[0], failures[0]]);
    }
}
