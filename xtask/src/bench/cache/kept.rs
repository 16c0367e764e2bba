//! Results of an earlier run, for the cases that a run leaves out: all of them together take longer
//! than one may want to have a machine for oneself.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::disk::Disk;
use super::fleet::Fleet;
use super::million::Memory;
use super::proxies::Proxy;
use super::purge::Purge;
use super::report::Report;
use crate::bench::kept;
use crate::bench::rounds::{Row, Sample, Workers};
use crate::bench::wrk::Errors;

impl Report {
    /// Takes over what `cache.json` in a folder says of what is not in this report. Without such a
    /// file there is nothing to take over. Rounds in which something went wrong are not kept.
    ///
    /// # Errors
    /// When the file is not one of these, or is about another machine, commit or kind of rounds.
    pub(super) fn keep(&mut self, directory: &Path) -> anyhow::Result<()> {
        let now = self.json();
        kept::keep(&directory.join("cache.json"), &now, |old| self.take(old))
    }

    fn take(&mut self, old: &Value) -> Option<()> {
        for row in all(&old["cases"], row)?.into_iter().flatten() {
            if !self.rows.iter().any(|new| (&new.case, new.proxy) == (&row.case, row.proxy)) {
                self.rows.push(row);
            }
        }
        let order = |row: &Row| {
            super::Case::value_variants().iter().position(|case| case.name() == row.case)
        };
        self.rows.sort_by_key(|row| (order(row), Proxy::named(row.proxy)));
        if self.workers.is_empty() {
            self.workers = all(&old["workers"], workers)?;
        }
        if self.disk.is_empty() {
            self.disk = all(&old["disk"], disk)?;
        }
        if self.memory.is_empty() {
            self.memory = all(&old["memory"], memory)?;
        }
        if self.purges.is_empty() {
            self.purges = all(&old["purges"], purge)?;
        }
        if self.fleet.is_empty() {
            self.fleet = all(&old["purges_of_a_fleet"], fleet)?;
        }
        Some(())
    }
}

fn all<T>(list: &Value, one: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    list.as_array()?.iter().map(one).collect()
}

/// `Some(None)` for one with errors.
fn row(value: &Value) -> Option<Option<Row>> {
    let case = value["case"].as_str()?.to_owned();
    let proxy = proxy(value)?.name();
    let samples = samples(value)?;
    Some(samples.map(|samples| Row { case, proxy, samples }))
}

fn proxy(value: &Value) -> Option<Proxy> {
    Proxy::named(value["proxy"].as_str()?)
}

/// `Some(None)` if something went wrong in one of the rounds.
fn samples(value: &Value) -> Option<Option<Vec<Sample>>> {
    all(&value["rounds"], |round| {
        let sample = Sample {
            cpu: round["cpu_us_per_request"].as_f64()?,
            user: round["user_us_per_request"].as_f64()?,
            rate: round["requests_per_second"].as_f64()?,
            p99: round["p99_ms"].as_f64()?,
            errors: Errors::default(),
        };
        Some(round["errors"].is_null().then_some(sample))
    })
    .map(|samples| samples.into_iter().collect())
}

fn workers(value: &Value) -> Option<Workers> {
    Some(Workers {
        workers: number(&value["workers"])?,
        samples: samples(value)??,
        busiest: floats(&value["busiest_thread"])?,
    })
}

fn disk(value: &Value) -> Option<Disk> {
    Some(Disk {
        proxy: proxy(value)?,
        per_cpu: floats(&value["bytes_per_cpu_second"])?,
        rate: floats(&value["bytes_per_second"])?,
        peak: value["peak_resident"].as_u64()?,
    })
}

fn memory(value: &Value) -> Option<Memory> {
    Some(Memory {
        proxy: proxy(value)?,
        objects: number(&value["objects"])?,
        before: value["before"].as_u64()?,
        after: value["after"].as_u64()?,
        own: value["own_bytes_of_an_object"].as_u64()?,
    })
}

fn purge(value: &Value) -> Option<Purge> {
    Some(Purge {
        took: value["took_ms"].as_f64()?,
        hits: floats(&value["p99_ms_before_around_after"])?.try_into().ok()?,
    })
}

fn fleet(value: &Value) -> Option<Fleet> {
    let times = floats(&value["times_ms"])?;
    Some(Fleet {
        loaded: value["load"].as_bool()?,
        times: times.into_iter().map(|millis| Duration::from_secs_f64(millis / 1e3)).collect(),
    })
}

fn floats(value: &Value) -> Option<Vec<f64>> {
    all(value, Value::as_f64)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Case;
    use super::*;

    fn row(case: Case, proxy: Proxy, cpu: f64, errors: u64) -> Row {
        let errors = Errors { status: errors, ..Errors::default() };
        let sample = Sample { cpu, user: 1.0, rate: 1000.0, p99: 2.0, errors };
        Row { case: case.name(), proxy: proxy.name(), samples: vec![sample] }
    }

    #[test]
    fn what_a_run_leaves_out_is_kept_and_what_it_measures_is_new() {
        let home = tempfile::tempdir().expect("a directory");
        let mut old = Report::empty();
        old.rows = vec![
            row(Case::Small64, Proxy::Seawall, 5.0, 0),
            row(Case::Small64, Proxy::Nginx, 9.0, 0),
            row(Case::Small1, Proxy::Seawall, 20.0, 1),
        ];
        old.purges = vec![Purge { took: 0.5, hits: [0.1, 0.2, 0.3] }];
        old.fleet = vec![Fleet { loaded: true, times: vec![Duration::from_micros(500)] }];
        old.disk = vec![Disk { proxy: Proxy::Nginx, per_cpu: vec![2.0], rate: vec![1.0], peak: 7 }];
        old.write(home.path()).expect("to write it");
        let mut new = Report::empty();
        new.rows = vec![
            row(Case::Large64, Proxy::Seawall, 20.0, 0),
            row(Case::Small64, Proxy::Nginx, 8.0, 0),
        ];
        new.purges = vec![Purge { took: 0.7, hits: [0.1, 0.2, 0.3] }];
        new.keep(home.path()).expect("to read it");
        let rows: Vec<_> =
            new.rows.iter().map(|row| (&*row.case, row.proxy, row.samples[0].cpu)).collect();
        let expected =
            [("1k-c64", "Seawall", 5.0), ("1k-c64", "NGINX", 8.0), ("100k-c64", "Seawall", 20.0)];
        assert_eq!(rows, expected);
        assert_eq!(new.purges[0].took, 0.7);
        assert_eq!(new.fleet[0].times, old.fleet[0].times);
        assert_eq!(new.disk[0].peak, 7);
        let text = fs::read_to_string(home.path().join("cache.json")).expect("to read it");
        let other = text.replace(r#""seconds": 1"#, r#""seconds": 2"#);
        fs::write(home.path().join("cache.json"), other).expect("to write it");
        assert!(Report::empty().keep(home.path()).is_err(), "of rounds of another length");
        fs::write(home.path().join("cache.json"), "{}").expect("to write it");
        assert!(Report::empty().keep(home.path()).is_err());
        assert!(Report::empty().keep(&home.path().join("elsewhere")).is_ok());
    }
}
