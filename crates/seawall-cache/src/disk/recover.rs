//! What a start finds on disk: the directory of entries is made anew from the tables of the
//! segments, and from the records of those that have none.
//!
//! Runs on the writer thread before it writes anything; meanwhile look-ups find what is known
//! already. The newest segment comes first, so that what is found never gives way to anything
//! older.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::format::{HEADER, Segment};
use super::index::Index;
use super::log::{Current, Log, read_table, scan, start_of};
use super::volume::Volume;

/// Fills the index, with at most so many entries, and calls `between` before each segment. Ends
/// early when `stop` is set; what was not looked at then is forgotten by this process, and found by
/// the next.
pub(super) fn recover(
    volume: Arc<Volume>,
    index: &Index,
    most: usize,
    stop: &AtomicBool,
    mut between: impl FnMut(),
) -> Log {
    let mut found = Vec::new();
    let mut free = VecDeque::new();
    for number in 0..volume.segments() {
        let mut block = [0; HEADER];
        let read = volume.read(&mut block, start_of(&volume, number));
        match read.ok().and_then(|()| Segment::decode(volume.mark(), &block)) {
            Some(segment) if segment.number == number && segment.generation > 0 => {
                volume.set_generation(number, segment.generation);
                found.push((segment.generation, number));
            }
            _ => free.push_back(number),
        }
    }
    found.sort_unstable();
    let next_generation = found.last().map_or(1, |(generation, _)| generation + 1);

    let mut removed = HashSet::new();
    let mut current = None;
    for &(generation, number) in found.iter().rev() {
        if stop.load(Relaxed) {
            break;
        }
        between();
        let table = read_table(&volume, number);
        let tabled = table.is_some();
        let table = table.unwrap_or_else(|| scan(&volume, number));
        for &(hash, place) in table.rows.iter().rev() {
            if place.bytes() == 0 {
                removed.insert(hash);
            } else if index.entries() < most && !removed.contains(&hash) {
                index.recover(hash, place);
            }
        }
        if current.is_none() {
            let (end, rows) = (table.end, table.rows);
            current = Some(Current { number, generation, end, rows, tabled });
        }
    }
    let full = match &current {
        Some(current) => {
            let others = found.iter().filter(|(_, number)| *number != current.number);
            others.map(|(_, number)| *number).collect()
        }
        None => found.iter().map(|(_, number)| *number).collect(),
    };
    Log { volume, current, full, free, evacuation: None, next_generation }
}
