//! How the disk tier's files look: headers of the store, of segments, of records, and of tables.
//!
//! Pure: bytes in, values out, and back. Whatever the bytes are, decoding returns `None` rather
//! than something that was not written. All numbers are little-endian.
//!
//! Every block carries the store's *mark*, a random number that is known to nobody else, so that
//! stored content that imitates a header (it may come from anybody) is never taken for one, and so
//! that all that was stored is forgotten at once by choosing another mark.

/// Records begin at multiples of this many bytes.
pub(super) const UNIT: u64 = 64;
/// Bytes of each header and of each trailer.
pub(super) const HEADER: usize = 64;
/// The most bytes of a record, its header included.
pub(super) const MOST: usize = 2 << 20;
/// Bytes of a row of a segment's table.
pub(super) const ROW: usize = 16;

const VERSION: u32 = 1;
const STORE: u32 = u32::from_le_bytes(*b"SWst");
const SEGMENT: u32 = u32::from_le_bytes(*b"SWsg");
const RECORD: u32 = u32::from_le_bytes(*b"SWrc");
const REMOVAL: u32 = u32::from_le_bytes(*b"SWrm");
const TRAILER: u32 = u32::from_le_bytes(*b"SWtr");
const STAMPS: u32 = u32::from_le_bytes(*b"SWps");

/// What identifies a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Store {
    /// Proves that a block belongs to it.
    pub(super) mark: u64,
    /// Seeds of the hash of keys.
    pub(super) seeds: [u64; 2],
    /// Bytes of a segment.
    pub(super) segment: u64,
    /// How often it was opened. Wraps after four billion times.
    pub(super) run: u32,
}

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Higher than that of all segments begun before.
    pub(super) generation: u64,
    /// Its number.
    pub(super) number: u32,
}

/// What a record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// That of its segment.
    pub(super) generation: u64,
    /// The hash of its key.
    pub(super) hash: u64,
    /// Where it is, in bytes from the beginning of the file, so that a block which the disk put
    /// elsewhere is not believed.
    pub(super) at: u64,
    /// The store's run that wrote it.
    pub(super) run: u32,
    /// Bytes of the key.
    pub(super) key: u32,
    /// Bytes of the head.
    pub(super) head: u32,
    /// Bytes of the content.
    pub(super) content: u32,
    /// CRC-32 of key, head and content.
    pub(super) crc: u32,
    /// It says that what was stored under the key is gone. It has no key, head and content.
    pub(super) removal: bool,
}

/// What a segment ends with when its table was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    /// That of its segment.
    pub(super) generation: u64,
    /// Where the next record would go, in bytes from the beginning of the segment.
    pub(super) end: u64,
    /// Rows of the table before it.
    pub(super) rows: u32,
    /// CRC-32 of the table.
    pub(super) crc: u32,
}

impl Store {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        Block::new(STORE, self.mark)
            .put(VERSION)
            .put(self.run)
            .put64(self.seeds[0])
            .put64(self.seeds[1])
            .put64(self.segment)
            .seal()
    }

    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Store> {
        // The mark is what this block tells; it proves nothing here.
        let mark = u64::from_le_bytes(bytes[4..12].try_into().ok()?);
        let mut block = Block::open(STORE, mark, bytes)?;
        (block.take() == VERSION).then_some(())?;
        let run = block.take();
        let seeds = [block.take64(), block.take64()];
        Some(Store { mark, seeds, segment: block.take64(), run })
    }
}

impl Segment {
    pub(super) fn encode(&self, mark: u64) -> [u8; HEADER] {
        Block::new(SEGMENT, mark).put(self.number).put64(self.generation).seal()
    }

    pub(super) fn decode(mark: u64, bytes: &[u8; HEADER]) -> Option<Segment> {
        let mut block = Block::open(SEGMENT, mark, bytes)?;
        Some(Segment { number: block.take(), generation: block.take64() })
    }
}

impl Record {
    pub(super) fn encode(&self, mark: u64) -> [u8; HEADER] {
        Block::new(if self.removal { REMOVAL } else { RECORD }, mark)
            .put64(self.generation)
            .put64(self.hash)
            .put64(self.at)
            .put(self.run)
            .put(self.key)
            .put(self.head)
            .put(self.content)
            .put(self.crc)
            .seal()
    }

    pub(super) fn decode(mark: u64, bytes: &[u8; HEADER]) -> Option<Record> {
        let (removal, mut block) = match Block::open(RECORD, mark, bytes) {
            Some(block) => (false, block),
            None => (true, Block::open(REMOVAL, mark, bytes)?),
        };
        let record = Record {
            generation: block.take64(),
            hash: block.take64(),
            at: block.take64(),
            run: block.take(),
            key: block.take(),
            head: block.take(),
            content: block.take(),
            crc: block.take(),
            removal,
        };
        (record.bytes() <= MOST as u64).then_some(record)
    }

    /// Bytes that it takes on disk, a multiple of [`UNIT`].
    pub(super) fn bytes(&self) -> u64 {
        size(self.key as usize, self.head as usize, self.content as usize)
    }
}

/// Bytes on disk, a multiple of [`UNIT`], of a record with a key, head and content of so many.
pub(super) fn size(key: usize, head: usize, content: usize) -> u64 {
    (HEADER as u64 + key as u64 + head as u64 + content as u64).next_multiple_of(UNIT)
}

impl Trailer {
    pub(super) fn encode(&self, mark: u64) -> [u8; HEADER] {
        Block::new(TRAILER, mark)
            .put64(self.generation)
            .put64(self.end)
            .put(self.rows)
            .put(self.crc)
            .seal()
    }

    pub(super) fn decode(mark: u64, bytes: &[u8; HEADER]) -> Option<Trailer> {
        let mut block = Block::open(TRAILER, mark, bytes)?;
        Some(Trailer {
            generation: block.take64(),
            end: block.take64(),
            rows: block.take(),
            crc: block.take(),
        })
    }
}

/// The header of the file of stamps, of so many slots.
pub(super) fn encode_stamps(mark: u64, slots: u32) -> [u8; HEADER] {
    Block::new(STAMPS, mark).put(slots).seal()
}

/// The slots that a file of stamps says it has.
pub(super) fn decode_stamps(mark: u64, bytes: &[u8; HEADER]) -> Option<u32> {
    Some(Block::open(STAMPS, mark, bytes)?.take())
}

/// Bytes of a slot in the file of stamps.
pub(super) const SLOT: usize = 32;

/// A slot of the file of stamps. 32 divides the size of a page, so that no crash of the process
/// leaves half of one.
pub(super) fn encode_slot(mark: u64, slot: u32, stamp: [u64; 2]) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[0..8].copy_from_slice(&stamp[0].to_le_bytes());
    bytes[8..16].copy_from_slice(&stamp[1].to_le_bytes());
    bytes[16..24].copy_from_slice(&(mark ^ u64::from(slot)).to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What a slot of the file of stamps says.
pub(super) fn decode_slot(mark: u64, slot: u32, bytes: &[u8; SLOT]) -> Option<[u64; 2]> {
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
    };
    let stamp = [word(0)?, word(8)?];
    (encode_slot(mark, slot, stamp) == *bytes).then_some(stamp)
}

/// A block of 64 bytes: a kind, the mark, values, and a CRC-32 of all before it.
struct Block {
    bytes: [u8; HEADER],
    at: usize,
}

impl Block {
    fn new(kind: u32, mark: u64) -> Block {
        Block { bytes: [0; HEADER], at: 0 }.put(kind).put64(mark)
    }

    fn open(kind: u32, mark: u64, bytes: &[u8; HEADER]) -> Option<Block> {
        let mut block = Block { bytes: *bytes, at: 0 };
        (block.take() == kind && block.take64() == mark).then_some(())?;
        let (body, crc) = bytes.split_at(HEADER - 4);
        (crc == crc32fast::hash(body).to_le_bytes()).then_some(block)
    }

    fn put(mut self, value: u32) -> Block {
        self.bytes[self.at..self.at + 4].copy_from_slice(&value.to_le_bytes());
        self.at += 4;
        self
    }

    fn put64(self, value: u64) -> Block {
        self.put(value as u32).put((value >> 32) as u32)
    }

    fn take(&mut self) -> u32 {
        let mut value = [0; 4];
        value.copy_from_slice(&self.bytes[self.at..self.at + 4]);
        self.at += 4;
        u32::from_le_bytes(value)
    }

    fn take64(&mut self) -> u64 {
        u64::from(self.take()) | (u64::from(self.take()) << 32)
    }

    fn seal(mut self) -> [u8; HEADER] {
        let crc = crc32fast::hash(&self.bytes[..HEADER - 4]);
        self.bytes[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record {
            generation: 1 << 40,
            hash: u64::MAX - 1,
            at: 64 * 77,
            run: 3,
            key: 10,
            head: 20,
            content: 1 << 20,
            crc: 0xdead_beef,
            removal: false,
        }
    }

    #[test]
    fn headers_come_back_as_they_were() {
        const MARK: u64 = 0x0123_4567_89ab_cdef;
        let store = Store { mark: MARK, seeds: [1, u64::MAX], segment: 64 << 20, run: 9 };
        assert_eq!(Store::decode(&store.encode()), Some(store));
        let segment = Segment { generation: 1 << 60, number: 77 };
        assert_eq!(Segment::decode(MARK, &segment.encode(MARK)), Some(segment));
        for removal in [false, true] {
            let record = Record { removal, ..record() };
            assert_eq!(Record::decode(MARK, &record.encode(MARK)), Some(record));
        }
        let trailer = Trailer { generation: 5, end: 4096, rows: 12, crc: 99 };
        assert_eq!(Trailer::decode(MARK, &trailer.encode(MARK)), Some(trailer));
        assert_eq!(decode_stamps(MARK, &encode_stamps(MARK, 1 << 20)), Some(1 << 20));
        assert_eq!(decode_slot(MARK, 3, &encode_slot(MARK, 3, [1, 2])), Some([1, 2]));
    }

    #[test]
    fn what_is_of_another_store_place_or_kind_is_nothing() {
        let record = record();
        assert_eq!(Record::decode(1, &record.encode(2)), None);
        assert_eq!(Segment::decode(1, &record.encode(1)), None);
        assert_eq!(Trailer::decode(1, &record.encode(1)), None);
        assert_eq!(decode_slot(1, 3, &encode_slot(1, 4, [1, 2])), None);
        assert_eq!(decode_slot(1, 3, &encode_slot(2, 3, [1, 2])), None);
        // A length that no record has.
        let content = MOST as u32;
        assert_eq!(Record::decode(1, &Record { content, ..record }.encode(1)), None);
        let key = u32::MAX;
        assert_eq!(Record::decode(1, &Record { key, content: key, ..record }.encode(1)), None);
    }

    proptest! {
        #[test]
        fn no_bit_of_a_header_can_be_another(bit in 0..8 * HEADER, mark: u64) {
            let mut bytes = record().encode(mark);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Record::decode(mark, &bytes), None);
        }
    }
}
