//! The disk tier below the memory: what goes there, and when, and how it comes back.
//!
//! An answer goes to disk when it is found in memory for the first time, or fetched for the second,
//! so that what is asked for once is never written; large ones go there at once, their chunks as
//! they arrive. What is on disk and is stored anew is written anew. What is found on disk comes back to memory, and what was purged
//! meanwhile is not found.
//!
//! Look-ups in memory and on disk are separate: the first takes no time and is for every request,
//! the second is a future and for those that missed.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{self, Stored};
use super::seen::Seen;
use super::{Found, Piece, Refused, Store, Variants};
use crate::disk::{Blob, Disk, Landed, Stamping};
use crate::memory::Place;
use crate::object::{Content, Object};
use crate::purge::{Purged, Stamp};

impl Store {
    /// Puts a disk tier below the memory, and takes over what was purged as that has kept it. To be
    /// called before the first look-up: nothing on disk may be found before.
    ///
    /// # Errors
    /// If there is one already; it stays.
    pub fn attach(&self, disk: Disk) -> Result<(), Disk> {
        let (slots, stamps) = disk.stamps();
        self.purges.restore(slots, stamps.into_iter());
        self.below.set(Below { disk, seen: Seen::new() }).map_err(|below| below.disk)
    }

    /// The disk tier.
    pub fn disk(&self) -> Option<&Disk> {
        self.below.get().map(|below| &below.disk)
    }

    /// Whether there is something on disk under the key of a URL, as far as is known without
    /// reading it. Then [`Store::load`] is worth its while.
    #[inline]
    pub fn is_on_disk(&self, key: &[u8]) -> bool {
        self.disk().is_some_and(|disk| disk.contains(&primary(key)))
    }

    /// What is on disk under the key of a URL. It is in memory afterwards. What was purged hard is
    /// not found.
    ///
    /// When dropped, nothing has changed.
    pub async fn load(&self, hash: u64, key: &[u8]) -> Option<Found> {
        let name = primary(key);
        let stored = self.read(&name).await?;
        // It may have been fetched meanwhile, or loaded by another.
        let there = self.shard(hash).holds(hash, Place::Primary(key));
        if there && let Some(found) = self.get(hash, key) {
            return Some(found);
        }
        match stored {
            Stored::Names(names) => Some(Found::Varies(Arc::new(Variants::new(hash, key, names)))),
            Stored::Object(object) => self.settle(&name, key, object, |object| {
                let mut gone = Vec::new();
                self.shard(hash).put_object(hash, object, &self.purges, &mut gone)
            }),
        }
    }

    /// Whether there is a variant on disk, as [`Store::is_on_disk`] says it of a URL.
    #[inline]
    pub fn is_variant_on_disk(&self, variants: &Arc<Variants>, key: &[u8]) -> bool {
        let contains =
            |disk: &Disk| variant(variants, key).is_some_and(|name| disk.contains(&name));
        self.disk().is_some_and(contains)
    }

    /// A variant that is on disk, as [`Store::load`] does it.
    pub async fn load_variant(
        &self,
        variants: &Arc<Variants>,
        hash: u64,
        key: &[u8],
    ) -> Option<Found> {
        let name = variant(variants, key)?;
        let stored = self.read(&name).await?;
        let there = self.shard(variants.hash()).holds(hash, Place::Variant(variants, key));
        if there && let Some(found) = self.get_variant(variants, hash, key) {
            return Some(found);
        }
        match stored {
            Stored::Names(_) => None,
            Stored::Object(object) => self.settle(&name, key, object, |object| {
                self.put_variant(variants, hash, super::Value::object(object))
            }),
        }
    }

    /// Whether a piece of content is on disk.
    pub(super) fn is_chunk_on_disk(&self, id: u64, number: u32) -> bool {
        self.disk().is_some_and(|disk| disk.contains(&chunk(id, number)))
    }

    /// A piece of the content of an object that is on disk. It stays there if it can be lent: the
    /// page cache has it, and memory is left to what is smaller. What cannot is in memory
    /// afterwards, if that lets it in.
    pub async fn load_chunk(&self, id: u64, number: u32) -> Option<Piece> {
        let disk = self.disk()?;
        let borrowing = disk.lend(&chunk(id, number));
        // Who wants one piece is likely to want the next, and then need not wait for the disk.
        if let Some(next) = number.checked_add(1) {
            disk.bring_near(&chunk(id, next));
        }
        let content = match borrowing.await? {
            Landed::Lent(lent) => return Some(Piece::Disk(lent)),
            Landed::Blob(Blob { content, .. }) => content,
        };
        let hash = self.chunk_hash(id, number);
        let mut gone = Vec::new();
        let bytes = content.clone();
        let put = self.shard(hash).put_chunk(hash, (id, number), bytes, &self.purges, &mut gone);
        // One that is too large for the memory is read each time.
        let _ = put;
        Some(Piece::Memory(content))
    }

    /// Ends when all purges up to now outlast this process, with whether they do. Without a disk
    /// tier nothing that is purged does, and so neither need they.
    pub async fn purges_kept(&self) -> bool {
        match self.disk() {
            Some(disk) => disk.stamped().await,
            None => true,
        }
    }

    /// Keeps a purge. It is on disk before anything that is written later.
    pub(super) fn keep_stamp(&self, stamp: Stamp) -> Option<Stamping> {
        self.disk().map(|disk| disk.stamp(stamp))
    }

    async fn read(&self, name: &[u8]) -> Option<Stored> {
        let disk = self.disk()?;
        let blob = disk.read(name).await?;
        let stored = codec::read(&blob);
        if stored.is_none() {
            // Of another version: of no use any more.
            disk.remove(name);
        }
        stored
    }

    /// Takes an object that was read into memory, unless it was purged.
    fn settle(
        &self,
        name: &[u8],
        key: &[u8],
        object: Object,
        put: impl FnOnce(Arc<Object>) -> Result<(), Refused>,
    ) -> Option<Found> {
        if object.key() != key {
            return None;
        }
        let object = Arc::new(object);
        let soft = match self.purged(&object) {
            Some(Purged::Hard) => {
                self.disk()?.remove(name);
                return None;
            }
            Some(Purged::Soft(when)) => Some(when),
            None => None,
        };
        match put(Arc::clone(&object)) {
            // It can be served all the same.
            Ok(()) | Err(Refused::TooLarge) => Some(Found::Object { object, soft }),
            Err(Refused::Purged | Refused::Older) => None,
        }
    }

    /// An answer was found in memory, so many times by now.
    #[inline]
    pub(super) fn found(&self, found: &Found, uses: u32) {
        // The first time; and if that was in vain, now and then.
        if let Found::Object { object, .. } = found
            && uses.is_power_of_two()
            && let Some(disk) = self.disk()
        {
            let name = primary(object.key());
            if !disk.contains(&name) {
                write(disk, &name, object);
            }
        }
    }

    /// The same for a variant. What its URL varies by goes to disk with it.
    #[inline]
    pub(super) fn found_variant(&self, variants: &Arc<Variants>, found: &Found, uses: u32) {
        if let Found::Object { object, .. } = found
            && uses.is_power_of_two()
            && let Some(disk) = self.disk()
            && let Some(name) = variant(variants, object.key())
            && !disk.contains(&name)
        {
            write(disk, &name, object);
            let name = primary(variants.key());
            if !disk.contains(&name) {
                write_names(disk, &name, variants);
            }
        }
    }

    /// An answer came into memory, or was refused there. Returns what that comes to with the disk.
    pub(super) fn stored(
        &self,
        hash: u64,
        object: &Arc<Object>,
        refused: Result<(), Refused>,
    ) -> Result<(), Refused> {
        let Some(below) = self.below.get().filter(|_| is_kept(refused)) else {
            return refused;
        };
        let Below { disk, .. } = below;
        let name = primary(object.key());
        let due = below.is_due(hash, object, refused) || disk.contains(&name);
        if due && write(disk, &name, object) { Ok(()) } else { refused }
    }

    /// The same for a variant; `anew` if the memory did not know the URL as one that varies so.
    pub(super) fn stored_variant(
        &self,
        variants: &Arc<Variants>,
        (hash, object): (u64, &Arc<Object>),
        anew: bool,
        refused: Result<(), Refused>,
    ) -> Result<(), Refused> {
        let Some(below) = self.below.get().filter(|_| is_kept(refused)) else {
            return refused;
        };
        let Below { disk, .. } = below;
        let url = primary(variants.key());
        let known = disk.contains(&url);
        let Some(name) = variant(variants, object.key()) else {
            return refused;
        };
        let due = below.is_due(hash, object, refused) || disk.contains(&name);
        if anew && known || due && !known {
            write_names(disk, &url, variants);
        }
        if due && write(disk, &name, object) { Ok(()) } else { refused }
    }

    /// A chunk came into memory, or was refused there.
    pub(super) fn stored_chunk(
        &self,
        id: u64,
        number: u32,
        content: Bytes,
        refused: Result<(), Refused>,
    ) -> Result<(), Refused> {
        let blob = Blob { head: Bytes::new(), content };
        let written = self.disk().is_some_and(|disk| disk.write(&chunk(id, number), blob));
        if written { Ok(()) } else { refused }
    }

    /// What is under the key of a URL is not to be found any more.
    pub(super) fn removed(&self, key: &[u8]) {
        self.drop_from_disk(Some(primary(key)));
    }

    /// The same for a variant.
    pub(super) fn removed_variant(&self, variants: &Arc<Variants>, key: &[u8]) {
        self.drop_from_disk(variant(variants, key));
    }

    /// The same for a chunk.
    pub(super) fn removed_chunk(&self, id: u64, number: u32) {
        self.drop_from_disk(Some(chunk(id, number)));
    }

    fn drop_from_disk(&self, name: Option<Vec<u8>>) {
        if let (Some(disk), Some(name)) = (self.disk(), name) {
            disk.remove(&name);
        }
    }
}

/// What is below the memory.
#[derive(Debug)]
pub(super) struct Below {
    disk: Disk,
    seen: Seen,
}

impl Below {
    /// Whether an answer goes to disk before it is found in memory: it was fetched before, its
    /// chunks are there, or it is nowhere else.
    fn is_due(&self, hash: u64, object: &Object, refused: Result<(), Refused>) -> bool {
        let large = matches!(object.content, Content::Chunks { .. });
        self.seen.again(hash) || large || refused.is_err()
    }
}

/// Whether what came into memory is something for the disk: it is what holds now, or was only too
/// large.
fn is_kept(refused: Result<(), Refused>) -> bool {
    matches!(refused, Ok(()) | Err(Refused::TooLarge))
}

/// What cannot be written takes what is there with it: it is older.
fn write(disk: &Disk, name: &[u8], object: &Arc<Object>) -> bool {
    match codec::object(object) {
        Some(blob) => disk.write(name, blob),
        None => false,
    }
}

fn write_names(disk: &Disk, name: &[u8], variants: &Variants) {
    if let Some(blob) = codec::names(variants.names()) {
        disk.write(name, blob);
    }
}

/// The name on disk of what is under the key of a URL.
fn primary(key: &[u8]) -> Vec<u8> {
    [&[0], key].concat()
}

/// The name on disk of a variant. By which fields it is one is part of it, since keys of variants
/// by other fields may look the same. `None` if there are too many of those.
fn variant(variants: &Variants, key: &[u8]) -> Option<Vec<u8>> {
    let mut name = vec![1];
    codec::write_names(variants.names(), &mut name)?;
    name.extend_from_slice(key);
    Some(name)
}

/// The name on disk of a chunk.
fn chunk(id: u64, number: u32) -> Vec<u8> {
    [&[2][..], &id.to_le_bytes(), &number.to_le_bytes()].concat()
}
