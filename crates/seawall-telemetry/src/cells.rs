//! Counters and histograms with one writer each.
//!
//! A worker is the only writer of its cells, so adding is a load and a store instead of a locked
//! instruction; a reader sees each number whole, though not all of them at one instant.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only the owning thread may call this: an addition of another would be lost.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away; see [`Cell::add`].
    #[inline]
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The greatest number of late, which one thread writes and any may read.
///
/// Of late: since the beginning of the last window of five minutes, or of this one.
#[derive(Debug, Default)]
pub struct Peak {
    /// The window that `current` is of, counted from 1970; `previous` is of the one before.
    window: AtomicU64,
    current: AtomicU64,
    previous: AtomicU64,
}

/// Milliseconds in a window of a [`Peak`].
const WINDOW: u64 = 5 * 60 * 1000;

impl Peak {
    /// There is `n` at `now`, in milliseconds since 1970. Only the owning thread may call this.
    #[inline]
    pub fn raise(&self, now: u64, n: u64) {
        let (at, window) = (now / WINDOW, self.window.load(Relaxed));
        let current = self.current.load(Relaxed);
        if at > window {
            let before = if at == window + 1 { current } else { 0 };
            self.previous.store(before, Relaxed);
            self.current.store(n, Relaxed);
            self.window.store(at, Relaxed);
        } else if n > current {
            self.current.store(n, Relaxed);
        }
    }

    /// The greatest number of late, at `now`.
    pub fn value(&self, now: u64) -> u64 {
        let current = self.current.load(Relaxed);
        match (now / WINDOW).saturating_sub(self.window.load(Relaxed)) {
            0 => current.max(self.previous.load(Relaxed)),
            1 => current,
            _ => 0,
        }
    }
}

/// Upper bounds of the histogram's buckets in seconds, with room for one more without a bound.
pub const BOUNDS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

const BOUNDS_MICROS: [u64; 16] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Durations by [`BOUNDS`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Cell; BOUNDS.len() + 1],
    sum_micros: Cell,
}

/// What a histogram held when it was read.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// Counts by bucket, not cumulated; the last has no bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Sum of all durations in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one duration; see [`Cell::add`].
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let micros = duration.as_micros() as u64;
        let bucket = BOUNDS_MICROS.iter().take_while(|bound| micros > **bound).count();
        self.buckets[bucket].add(1);
        self.sum_micros.add(micros);
    }

    /// Adds what it holds to `to`.
    pub fn add_to(&self, to: &mut HistogramSnapshot) {
        for (sum, bucket) in to.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.value();
        }
        to.sum += self.sum_micros.value() as f64 / 1e6;
    }
}

/// One `T` for each worker, made when that worker first needs it, on cache lines of its own.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[Slot<T>]>);

#[derive(Debug)]
#[repr(align(128))]
struct Slot<T>(OnceLock<Box<T>>);

impl<T: Default> PerWorker<T> {
    /// Room for `workers` of them.
    pub fn new(workers: usize) -> PerWorker<T> {
        PerWorker((0..workers.max(1)).map(|_| Slot(OnceLock::new())).collect())
    }

    /// That of `worker`; the last one's when there are fewer.
    #[inline]
    pub fn of(&self, worker: usize) -> &T {
        let slot = &self.0[worker.min(self.0.len() - 1)];
        slot.0.get_or_init(Box::default)
    }

    /// All that exist.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|slot| slot.0.get()).map(|boxed| &**boxed)
    }

    /// The sum of `number` over all workers.
    pub fn sum(&self, number: impl Fn(&T) -> &Cell) -> u64 {
        self.iter().map(|each| number(each).value()).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 1_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut snapshot = HistogramSnapshot::default();
        histogram.add_to(&mut snapshot);
        assert_eq!(snapshot.buckets[0], 2);
        assert_eq!(snapshot.buckets[1], 1);
        assert_eq!(snapshot.buckets[10], 1);
        assert_eq!(snapshot.buckets[16], 1);
        assert!((snapshot.sum - 61.001002).abs() < 1e-9);
        for (seconds, micros) in BOUNDS.iter().zip(BOUNDS_MICROS) {
            assert_eq!((seconds * 1e6).round() as u64, micros);
        }
    }

    #[test]
    fn peaks_are_forgotten_after_two_windows() {
        let peak = Peak::default();
        assert_eq!(peak.value(0), 0);
        let at = |window: u64| 1_000_000 * WINDOW + window * WINDOW;
        peak.raise(at(0), 7);
        peak.raise(at(0) + 1, 3);
        assert_eq!((peak.value(at(0)), peak.value(at(1)), peak.value(at(2))), (7, 7, 0));
        peak.raise(at(1), 2);
        assert_eq!((peak.value(at(1)), peak.value(at(2)), peak.value(at(3))), (7, 2, 0));
        // A clock that lags behind raises what is there.
        peak.raise(at(0), 4);
        assert_eq!((peak.value(at(0)), peak.value(at(2))), (7, 4));
        peak.raise(at(9), 1);
        assert_eq!(peak.value(at(9)), 1);
    }

    #[test]
    fn workers_add_up() {
        let cells: PerWorker<Cell> = PerWorker::new(2);
        cells.of(0).add(1);
        cells.of(1).add(2);
        cells.of(1).subtract(1);
        assert_eq!(cells.sum(|cell| cell), 2);
    }
}
