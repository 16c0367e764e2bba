//! A stored answer: what is known of it, and its bytes in one piece.
//!
//! Never changed once it is made: a validation makes a new one. Shared by all workers, so it can be
//! read without a lock.

use crate::Millis;

/// A stored answer, or the head of one whose content is elsewhere.
#[derive(Debug)]
pub struct Object {
    /// What is known of it.
    pub meta: Meta,
    /// Where its content is.
    pub content: Content,
    /// Key, header fields, labels and content, one behind the other.
    bytes: Box<[u8]>,
    key: u32,
    fields: u32,
    labels: u32,
}

/// Where the content of an [`Object`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// With the object.
    Whole,
    /// In chunks of [`CHUNK`] bytes, the last one shorter, which are stored by themselves under
    /// `(id, number)`. Any of them may be missing.
    Chunks {
        /// Unlike that of any other object, now or before.
        id: u64,
        /// Bytes of content.
        length: u64,
    },
    /// It is still being fetched; only objects of a [`crate::fill`] have this.
    Arriving {
        /// Bytes of content, if they are known.
        length: Option<u64>,
        /// It will be stored.
        kept: bool,
    },
}

/// Bytes of content in a chunk, and the most that is kept in one piece.
pub const CHUNK: u64 = 1 << 20;

/// What is known of a stored answer besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// When its head was received (`response_time`, RFC 9111 §4.2.3).
    pub received: Millis,
    /// Milliseconds for which it is fresh, counted from an age of 0; jitter included.
    pub lifetime: u64,
    /// The purge sequence when its fetch began: a purge after that holds for it.
    pub sequence: u64,
    /// Seconds that it was old when it was received (`corrected_initial_age`).
    pub initial_age: u32,
    /// Seconds behind its lifetime in which it may be served while it is validated.
    pub stale_while_revalidate: u32,
    /// Seconds behind its lifetime in which it may be served when the origin fails.
    pub stale_if_error: u32,
    /// Milliseconds that its fetch took, to its end.
    pub cost: u32,
    /// Its status code.
    pub status: u16,
    /// What else holds for it.
    pub flags: Flags,
}

/// What holds for a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// It is never served stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`).
    pub must_revalidate: bool,
    /// It is validated before each use (`no-cache`).
    pub no_cache: bool,
    /// It does not change while it is fresh (RFC 8246).
    pub immutable: bool,
    /// Its lifetime is a guess (RFC 9111 §4.2.2).
    pub heuristic: bool,
    /// It has a strong validator, so that parts of it can be combined (RFC 9110 §15.3.7.3).
    pub strong: bool,
    /// The origin takes range requests for it.
    pub ranges: bool,
}

impl Object {
    /// Puts an object together. `fields` are header fields as they go over the wire, each line with
    /// its CRLF; `labels` are those of [`crate::purge`]; `content` is empty unless it is
    /// [`Content::Whole`].
    pub fn new(
        meta: Meta,
        key: &[u8],
        fields: &[u8],
        labels: &[u32],
        kind: Content,
        content: &[&[u8]],
    ) -> Object {
        let size: usize = content.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(key.len() + fields.len() + 4 * labels.len() + size);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(fields);
        for label in labels {
            bytes.extend_from_slice(&label.to_le_bytes());
        }
        for part in content {
            bytes.extend_from_slice(part);
        }
        Object {
            meta,
            content: kind,
            bytes: bytes.into_boxed_slice(),
            key: key.len() as u32,
            fields: fields.len() as u32,
            labels: labels.len() as u32,
        }
    }

    /// The key it is stored under.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.bytes[..self.key as usize]
    }

    /// Its header fields as they go over the wire, without those that are made anew for each
    /// answer (`Age`, `Content-Length`, those of the connection).
    #[inline]
    pub fn fields(&self) -> &[u8] {
        let from = self.key as usize;
        &self.bytes[from..from + self.fields as usize]
    }

    /// By what it can be purged.
    #[inline]
    pub fn labels(&self) -> impl Iterator<Item = u32> {
        let from = (self.key + self.fields) as usize;
        let labels = &self.bytes[from..from + 4 * self.labels as usize];
        labels.as_chunks().0.iter().map(|label| u32::from_le_bytes(*label))
    }

    /// Whether the origin can be asked for parts of the content, and would give those of no other.
    pub fn can_be_fetched(&self) -> bool {
        self.meta.flags.strong && self.meta.flags.ranges && self.length().is_some()
    }

    /// The content that is with it.
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.bytes[(self.key + self.fields + 4 * self.labels) as usize..]
    }

    /// Bytes of the whole content, if they are known.
    #[inline]
    pub fn length(&self) -> Option<u64> {
        match self.content {
            Content::Whole => Some(self.body().len() as u64),
            Content::Chunks { length, .. } => Some(length),
            Content::Arriving { length, .. } => length,
        }
    }

    /// Bytes of memory that it takes, by itself.
    pub fn size(&self) -> usize {
        size_of::<Object>() + 2 * size_of::<usize>() + self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_gives_back_its_parts() {
        let meta = Meta {
            received: 1,
            lifetime: 2,
            sequence: 3,
            initial_age: 4,
            stale_while_revalidate: 5,
            stale_if_error: 6,
            cost: 7,
            status: 200,
            flags: Flags::default(),
        };
        let parts: [&[u8]; 2] = [b"con", b"tent"];
        let whole = Object::new(meta.clone(), b"key", b"A: b\r\n", &[7, 9], Content::Whole, &parts);
        assert_eq!(
            (whole.key(), whole.fields(), whole.body()),
            (&b"key"[..], &b"A: b\r\n"[..], &b"content"[..])
        );
        assert_eq!(whole.labels().collect::<Vec<_>>(), [7, 9]);
        assert_eq!(whole.length(), Some(7));
        let kind = Content::Chunks { id: 1, length: 1 << 40 };
        let head = Object::new(meta, b"", b"", &[], kind, &[]);
        assert_eq!((head.length(), head.body()), (Some(1 << 40), &b""[..]));
        println!("{} bytes", size_of::<Object>());
    }
}
