//! The log: where records are appended, and how old ones make room.
//!
//! Segments are filled one after the other. When the last free one is begun, the oldest is
//! reclaimed: what was read there since it was written is carried over to the new one, half a
//! segment at most, and the rest is forgotten. A full segment ends with a table of its records, so
//! that a start reads tables rather than records. Belongs to the writer thread; never holds a lock
//! over I/O.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Counts;
use super::format::{HEADER, ROW, Record, Segment, Trailer, UNIT, size};
use super::index::{Index, Item, Place, What};
use super::reader::check;
use super::volume::Volume;

/// A row of the table of a segment.
pub(super) type Row = (u64, Place);

/// Where records go.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) volume: Arc<Volume>,
    /// The segment that is being filled.
    pub(super) current: Option<Current>,
    /// Full ones, the oldest first.
    pub(super) full: VecDeque<u32>,
    /// Those whose content is forgotten, in the order in which they are used.
    pub(super) free: VecDeque<u32>,
    pub(super) evacuation: Option<Evacuation>,
    /// Higher than that of any segment.
    pub(super) next_generation: u64,
}

#[derive(Debug)]
pub(super) struct Current {
    pub(super) number: u32,
    pub(super) generation: u64,
    /// Where the next record goes, from the beginning of the segment.
    pub(super) end: u64,
    pub(super) rows: Vec<Row>,
    /// Its table is on disk, and becomes wrong with the next record.
    pub(super) tabled: bool,
}

/// A segment on its way to being free.
#[derive(Debug)]
pub(super) struct Evacuation {
    number: u32,
    /// What is still to be looked at, the last first; `None` if the table cannot be read.
    rows: Option<Vec<Row>>,
    /// All of them.
    all: Vec<Row>,
    /// Bytes that may still be carried over.
    budget: u64,
}

impl Log {
    /// Appends items that fit one batch. What was written is in the index when this returns; after
    /// an error nothing of this batch is, and the same place is written again the next time.
    pub(super) fn append(
        &mut self,
        items: &[Arc<Item>],
        index: &Index,
        counts: &Counts,
    ) -> io::Result<()> {
        let mut from = 0;
        while from < items.len() {
            let room = self.room(index, counts)?;
            let mut need = 0;
            let mut to = from;
            while let Some(item) = items.get(to) {
                need += bytes(item) + ROW as u64;
                if need > room {
                    break;
                }
                to += 1;
            }
            if to == from {
                self.rotate(index, counts)?;
                continue;
            }
            self.write(&items[from..to], index, counts)?;
            from = to;
        }
        Ok(())
    }

    /// Bytes for records and their rows in the current segment.
    fn room(&mut self, index: &Index, counts: &Counts) -> io::Result<u64> {
        if self.current.is_none() {
            self.rotate(index, counts)?;
        }
        let segment = self.volume.segment();
        Ok(self.current.as_ref().map_or(0, |current| {
            let used = current.end + (ROW * current.rows.len() + HEADER) as u64;
            segment.saturating_sub(used)
        }))
    }

    fn write(&mut self, items: &[Arc<Item>], index: &Index, counts: &Counts) -> io::Result<()> {
        static PADDING: [u8; UNIT as usize] = [0; UNIT as usize];
        let volume = &self.volume;
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if current.tabled {
            let trailer = start_of(volume, current.number) + volume.segment() - HEADER as u64;
            volume.write(&[0; HEADER], trailer)?;
            current.tabled = false;
        }
        let start = start_of(volume, current.number) + current.end;
        let mut at = start;
        let mut headers = Vec::with_capacity(items.len());
        let mut places = Vec::with_capacity(items.len());
        for item in items {
            let header = header(item, current.generation, at, volume.run());
            places.push(Place::new(at, if header.removal { 0 } else { header.bytes() }));
            headers.push(header.encode(volume.mark()));
            at += header.bytes();
        }
        let mut parts = Vec::with_capacity(5 * items.len());
        for (item, header) in items.iter().zip(&headers) {
            parts.push(IoSlice::new(header));
            if let What::Blob { key, blob } = &item.what {
                let of = [&**key, &blob.head, &blob.content];
                let length: usize = of.iter().map(|part| part.len()).sum();
                let padding = length.next_multiple_of(UNIT as usize) - length;
                let of = of.into_iter().chain([&PADDING[..padding]]);
                parts.extend(of.filter(|part| !part.is_empty()).map(IoSlice::new));
            }
        }
        volume.write_parts(&mut parts, start)?;

        current.end += at - start;
        for (item, place) in items.iter().zip(places) {
            current.rows.push((item.hash, place));
            match &item.what {
                What::Blob { blob, .. } => {
                    index.settle(item, Some(place));
                    counts.writes.fetch_add(1, Relaxed);
                    let length = blob.head.len() + blob.content.len();
                    counts.written_bytes.fetch_add(length as u64, Relaxed);
                }
                What::Removal => {
                    index.settle(item, None);
                }
            }
        }
        Ok(())
    }

    /// Ends the current segment and begins the next.
    fn rotate(&mut self, index: &Index, counts: &Counts) -> io::Result<()> {
        if self.free.is_empty() {
            if self.evacuation.is_none() {
                self.reclaim(0);
            }
            self.finish_evacuation(index, counts);
        }
        let Some(&number) = self.free.front() else {
            debug_assert!(false, "of four segments one can always be reclaimed");
            return Err(io::ErrorKind::StorageFull.into());
        };
        let _ = self.write_table();
        let generation = self.next_generation;
        let volume = &self.volume;
        // From here on nothing that was read there before is served.
        volume.renew(number, generation)?;
        let header = Segment { generation, number }.encode(volume.mark());
        volume.write(&header, start_of(volume, number))?;
        // A table of before, of another generation, says nothing; neither does half of one.
        self.free.pop_front();
        self.next_generation += 1;
        let end = HEADER as u64;
        let next = Current { number, generation, end, rows: Vec::new(), tabled: false };
        if let Some(old) = self.current.replace(next) {
            self.full.push_back(old.number);
        }
        if self.free.is_empty() && self.evacuation.is_none() {
            self.reclaim(volume_share(&self.volume));
        }
        Ok(())
    }

    /// Writes the table of the current segment. If that fails a start reads its records instead.
    pub(super) fn write_table(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if current.tabled {
            return Ok(());
        }
        let volume = &self.volume;
        let mut table = Vec::with_capacity(ROW * current.rows.len() + HEADER);
        for (hash, place) in &current.rows {
            table.extend_from_slice(&hash.to_le_bytes());
            table.extend_from_slice(&place.bits().to_le_bytes());
        }
        let trailer = Trailer {
            generation: current.generation,
            end: current.end,
            rows: current.rows.len() as u32,
            crc: crc32fast::hash(&table),
        };
        table.extend_from_slice(&trailer.encode(volume.mark()));
        let end = start_of(volume, current.number) + volume.segment();
        volume.write(&table, end - table.len() as u64)?;
        current.tabled = true;
        Ok(())
    }

    /// There is no room on the disk for what is free here: gives up the current segment and makes
    /// the oldest one the next, whose place on the disk is taken already.
    pub(super) fn retreat(&mut self, index: &Index, counts: &Counts) {
        let _ = self.write_table();
        if let Some(current) = self.current.take() {
            self.full.push_back(current.number);
        }
        self.finish_evacuation(index, counts);
        self.reclaim(0);
        self.finish_evacuation(index, counts);
        // The last that became free.
        self.free.rotate_right(1);
    }

    /// Begins to reclaim the oldest segment, of which so many bytes may be carried over.
    pub(super) fn reclaim(&mut self, budget: u64) {
        let Some(number) = self.full.pop_front() else {
            return;
        };
        let all = read_table(&self.volume, number).map(|table| table.rows);
        let rows = all.as_ref().map(|rows| {
            let live = rows.iter().rev().filter(|(_, place)| budget > 0 && place.bytes() > 0);
            live.copied().collect()
        });
        self.evacuation = Some(Evacuation { number, rows, all: all.unwrap_or_default(), budget });
    }

    /// Carries over about a mebibyte of the segment that is being reclaimed. Returns whether there
    /// is more to do.
    pub(super) fn evacuate(&mut self, index: &Index, counts: &Counts) -> io::Result<bool> {
        const SLICE: u64 = 1 << 20;
        let Some(evacuation) = &mut self.evacuation else {
            return Ok(false);
        };
        let mut done = 0;
        let mut looked = 0;
        while done < SLICE && looked < 4096 {
            looked += 1;
            let row = evacuation.rows.as_mut().and_then(Vec::pop);
            let Some((hash, place)) = row else {
                self.finish_evacuation(index, counts);
                return Ok(false);
            };
            if place.bytes() > evacuation.budget || !index.is_hot(hash, place) {
                continue;
            }
            let Some(current) = &mut self.current else {
                break;
            };
            let volume = &self.volume;
            let used = current.end + (ROW * (current.rows.len() + 1) + HEADER) as u64;
            if used + place.bytes() > volume.segment() {
                self.finish_evacuation(index, counts);
                return Ok(false);
            }
            evacuation.budget -= place.bytes();
            done += place.bytes();
            if carry(volume, current, index, hash, place)? {
                counts.carried.fetch_add(1, Relaxed);
            }
        }
        Ok(true)
    }

    /// Forgets what is left of the segment that is being reclaimed; then it is free.
    pub(super) fn finish_evacuation(&mut self, index: &Index, counts: &Counts) {
        let Some(evacuation) = self.evacuation.take() else {
            return;
        };
        let gone = if evacuation.rows.is_some() {
            let all = evacuation.all.iter();
            all.filter(|(hash, place)| index.forget_place(*hash, *place)).count()
        } else {
            let start = start_of(&self.volume, evacuation.number);
            index.forget_between(start, start + self.volume.segment())
        };
        counts.reclaimed.fetch_add(gone as u64, Relaxed);
        self.free.push_back(evacuation.number);
    }
}

/// Copies a record to the end of the current segment.
fn carry(
    volume: &Volume,
    current: &mut Current,
    index: &Index,
    hash: u64,
    from: Place,
) -> io::Result<bool> {
    let mut bytes = vec![0; from.bytes() as usize];
    volume.read(&mut bytes, from.at())?;
    let generation = volume.generation(from.at());
    let Some((old, mut bytes)) = check(volume, from, generation, bytes) else {
        index.forget_place(hash, from);
        return Ok(false);
    };
    if current.tabled {
        let trailer = start_of(volume, current.number) + volume.segment() - HEADER as u64;
        volume.write(&[0; HEADER], trailer)?;
        current.tabled = false;
    }
    let at = start_of(volume, current.number) + current.end;
    let header = Record { generation: current.generation, at, run: volume.run(), ..old };
    bytes[..HEADER].copy_from_slice(&header.encode(volume.mark()));
    volume.write(&bytes, at)?;
    let to = Place::new(at, from.bytes());
    current.end += from.bytes();
    current.rows.push((hash, to));
    // If it was replaced or removed meanwhile, that comes behind this copy in the log.
    Ok(index.follow(hash, from, to))
}

/// Where a segment begins in the file.
pub(super) fn start_of(volume: &Volume, number: u32) -> u64 {
    u64::from(number) * volume.segment()
}

/// Bytes that may be carried over from a segment.
pub(super) fn volume_share(volume: &Volume) -> u64 {
    volume.segment() / 2
}

/// Bytes of an item in the log.
pub(super) fn bytes(item: &Item) -> u64 {
    match &item.what {
        What::Blob { key, blob } => size(key.len(), blob.head.len(), blob.content.len()),
        What::Removal => HEADER as u64,
    }
}

fn header(item: &Item, generation: u64, at: u64, run: u32) -> Record {
    let removal = Record {
        generation,
        hash: item.hash,
        at,
        run,
        key: 0,
        head: 0,
        content: 0,
        crc: 0,
        removal: true,
    };
    match &item.what {
        What::Removal => removal,
        What::Blob { key, blob } => {
            let mut crc = crc32fast::Hasher::new();
            crc.update(key);
            crc.update(&blob.head);
            crc.update(&blob.content);
            Record {
                key: key.len() as u32,
                head: blob.head.len() as u32,
                content: blob.content.len() as u32,
                crc: crc.finalize(),
                removal: false,
                ..removal
            }
        }
    }
}

/// The table of a segment.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// Where the next record would go, from the beginning of the segment.
    pub(super) end: u64,
}

/// Reads the table of a segment. `None` if there is none, or none that can be believed.
pub(super) fn read_table(volume: &Volume, number: u32) -> Option<Table> {
    let start = start_of(volume, number);
    let limit = start + volume.segment();
    let mut block = [0; HEADER];
    volume.read(&mut block, limit - HEADER as u64).ok()?;
    let trailer = Trailer::decode(volume.mark(), &block)?;
    let length = u64::from(trailer.rows) * ROW as u64;
    let fits = trailer.end >= HEADER as u64
        && trailer.end.is_multiple_of(UNIT)
        && trailer.end.checked_add(length)? <= volume.segment() - HEADER as u64;
    if trailer.generation != volume.generation(start) || !fits {
        return None;
    }
    let mut bytes = vec![0; length as usize];
    volume.read(&mut bytes, limit - HEADER as u64 - length).ok()?;
    (crc32fast::hash(&bytes) == trailer.crc).then_some(())?;
    let rows = bytes.as_chunks::<ROW>().0.iter().map(|row| {
        let (hash, place) = row.split_at(8);
        let hash = u64::from_le_bytes(hash.try_into().ok()?);
        let place = Place::from_bits(u64::from_le_bytes(place.try_into().ok()?))?;
        let inside = place.at() >= start && place.at() + place.bytes() <= start + trailer.end;
        inside.then_some((hash, place))
    });
    Some(Table { rows: rows.collect::<Option<_>>()?, end: trailer.end })
}

/// Reads the records of a segment one by one, to the first that is not whole or not of this
/// segment's generation.
pub(super) fn scan(volume: &Volume, number: u32) -> Table {
    const WINDOW: usize = 256 << 10;
    let start = start_of(volume, number);
    let generation = volume.generation(start);
    let mut table = Table { rows: Vec::new(), end: HEADER as u64 };
    let mut run = 0;
    let mut window = vec![0; WINDOW];
    // The part of the segment that is in the window.
    let mut seen = 0..0;
    while table.end + HEADER as u64 <= volume.segment() {
        let next = table.end;
        if !(seen.start <= next && next + HEADER as u64 <= seen.end) {
            let length = (volume.segment() - next).min(WINDOW as u64);
            if volume.read(&mut window[..length as usize], start + next).is_err() {
                break;
            }
            seen = next..next + length;
        }
        let from = (next - seen.start) as usize;
        let block = window[from..].first_chunk();
        let Some(record) = block.and_then(|block| Record::decode(volume.mark(), block)) else {
            break;
        };
        let bytes = record.bytes();
        // Behind the end may be what an earlier run wrote there before the machine failed.
        let right = record.generation == generation
            && record.at == start + next
            && record.run >= run
            && next + bytes <= volume.segment();
        if !right {
            break;
        }
        run = record.run;
        let place = Place::new(record.at, if record.removal { 0 } else { bytes });
        table.rows.push((record.hash, place));
        table.end += bytes;
    }
    table
}
