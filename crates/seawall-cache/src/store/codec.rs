//! How what is stored is put on disk, and how it is read back.
//!
//! Pure. Checksums are the disk tier's matter; here everything is checked all the same, so that
//! bytes of another version, or of anything else, are nothing rather than something wrong.

use std::sync::Arc;

use bytes::Bytes;

use crate::disk::Blob;
use crate::object::{Content, Flags, Meta, Object};

/// Changes with whatever changes below. What has another one is not read.
const VERSION: u8 = 2;
const OBJECT: u8 = 1;
const NAMES: u8 = 2;
const WHOLE: u8 = 0;
const CHUNKS: u8 = 1;

/// What was read.
#[derive(Debug)]
pub(super) enum Stored {
    /// An answer.
    Object(Object),
    /// The fields by which the answers of a URL vary.
    Names(Vec<Box<[u8]>>),
}

/// An answer as it is put on disk, its content without a copy. `None` if it is still arriving.
pub(super) fn object(object: &Arc<Object>) -> Option<Blob> {
    let (kind, id, length) = match object.content {
        Content::Whole => (WHOLE, 0, object.body().len() as u64),
        Content::Chunks { id, length } => (CHUNKS, id, length),
        Content::Arriving { .. } => return None,
    };
    let Meta {
        received,
        lifetime,
        sequence,
        initial_age,
        stale_while_revalidate,
        stale_if_error,
        cost,
        status,
        flags,
    } = &object.meta;
    let labels: Vec<u32> = object.labels().collect();
    let (key, fields) = (object.key(), object.fields());
    let mut head = Vec::with_capacity(96 + key.len() + fields.len() + 4 * labels.len());
    head.extend_from_slice(&[VERSION, OBJECT, kind]);
    for value in [received, lifetime, sequence, &id, &length] {
        head.extend_from_slice(&value.to_le_bytes());
    }
    for value in [initial_age, stale_while_revalidate, stale_if_error, cost] {
        head.extend_from_slice(&value.to_le_bytes());
    }
    head.extend_from_slice(&status.to_le_bytes());
    head.push(bits(*flags));
    for length in [key.len(), fields.len(), labels.len()] {
        head.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    }
    head.extend_from_slice(key);
    head.extend_from_slice(fields);
    labels.iter().for_each(|label| head.extend_from_slice(&label.to_le_bytes()));
    let content = match object.body() {
        [] => Bytes::new(),
        _ => Bytes::from_owner(Body(Arc::clone(object))),
    };
    Some(Blob { head: head.into(), content })
}

/// The fields by which the answers of a URL vary, as they are put on disk. `None` if there are too
/// many.
pub(super) fn names(names: &[Box<[u8]>]) -> Option<Blob> {
    let mut head = vec![VERSION, NAMES];
    write_names(names, &mut head)?;
    Some(Blob { head: head.into(), content: Bytes::new() })
}

/// Names, each with its length.
pub(super) fn write_names(names: &[Box<[u8]>], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u16::try_from(names.len()).ok()?.to_le_bytes());
    for name in names {
        out.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
        out.extend_from_slice(name);
    }
    Some(())
}

/// What was put on disk; `None` if it is nothing of this version.
pub(super) fn read(blob: &Blob) -> Option<Stored> {
    let mut rest = &blob.head[..];
    let [version, kind] = take(&mut rest)?;
    if version != VERSION {
        return None;
    }
    match kind {
        OBJECT => read_object(rest, &blob.content).map(Stored::Object),
        NAMES if blob.content.is_empty() => read_names(rest).map(Stored::Names),
        _ => None,
    }
}

fn read_object(mut rest: &[u8], body: &[u8]) -> Option<Object> {
    let rest = &mut rest;
    let [kind] = take(rest)?;
    let (received, lifetime, sequence) = (long(rest)?, long(rest)?, long(rest)?);
    let (id, length) = (long(rest)?, long(rest)?);
    let (initial_age, stale_while_revalidate) = (word(rest)?, word(rest)?);
    let (stale_if_error, cost) = (word(rest)?, word(rest)?);
    let status = take(rest).map(u16::from_le_bytes)?;
    let [flags] = take(rest)?;
    let flags = of_bits(flags)?;
    let (key, fields, labels) = (word(rest)?, word(rest)?, word(rest)?);
    let key = part(rest, key as usize)?;
    let fields = part(rest, fields as usize)?;
    let labels = part(rest, (labels as usize).checked_mul(4)?)?;
    let content = match kind {
        WHOLE if length == body.len() as u64 && id == 0 => Content::Whole,
        CHUNKS if body.is_empty() => Content::Chunks { id, length },
        _ => return None,
    };
    // Positions within an object have 32 bits.
    let bytes = key.len() + fields.len() + labels.len() + body.len();
    if !rest.is_empty() || u32::try_from(bytes).is_err() {
        return None;
    }
    let labels: Vec<u32> =
        labels.as_chunks().0.iter().map(|label| u32::from_le_bytes(*label)).collect();
    let meta = Meta {
        received,
        lifetime,
        sequence,
        initial_age,
        stale_while_revalidate,
        stale_if_error,
        cost,
        status,
        flags,
    };
    Some(Object::new(meta, key, fields, &labels, content, &[body]))
}

fn read_names(mut rest: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let rest = &mut rest;
    let count = take(rest).map(u16::from_le_bytes)?;
    let name = |_| {
        let length = take(rest).map(u16::from_le_bytes)?;
        part(rest, length.into()).map(Box::from)
    };
    let names: Option<Vec<_>> = (0..count).map(name).collect();
    names.filter(|_| rest.is_empty())
}

fn bits(flags: Flags) -> u8 {
    let Flags { must_revalidate, no_cache, immutable, heuristic, strong, ranges } = flags;
    let flags = [must_revalidate, no_cache, immutable, heuristic, strong, ranges];
    (0..).zip(flags).map(|(bit, flag)| u8::from(flag) << bit).sum()
}

fn of_bits(bits: u8) -> Option<Flags> {
    let flag = |bit: u32| bits & (1 << bit) != 0;
    let flags = Flags {
        must_revalidate: flag(0),
        no_cache: flag(1),
        immutable: flag(2),
        heuristic: flag(3),
        strong: flag(4),
        ranges: flag(5),
    };
    (bits >> 6 == 0).then_some(flags)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    take(rest).map(u32::from_le_bytes)
}

fn long(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

fn part<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (first, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(first)
}

/// The content of an object, which stays where it is.
struct Body(Arc<Object>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.body()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objects() -> impl Strategy<Value = Object> {
        let meta = (any::<[u64; 3]>(), any::<[u32; 4]>(), any::<u16>(), 0..64u8);
        let bytes = || proptest::collection::vec(any::<u8>(), 0..100);
        let labels = proptest::collection::vec(any::<u32>(), 0..5);
        let chunks = proptest::option::of(any::<(u64, u64)>());
        (meta, bytes(), bytes(), labels, bytes(), chunks).prop_map(
            |((long, word, status, flags), key, fields, labels, body, chunks)| {
                let meta = Meta {
                    received: long[0],
                    lifetime: long[1],
                    sequence: long[2],
                    initial_age: word[0],
                    stale_while_revalidate: word[1],
                    stale_if_error: word[2],
                    cost: word[3],
                    status,
                    flags: of_bits(flags).expect("six bits"),
                };
                let (content, body) = match chunks {
                    Some((id, length)) => (Content::Chunks { id, length }, &[][..]),
                    None => (Content::Whole, &body[..]),
                };
                Object::new(meta, &key, &fields, &labels, content, &[body])
            },
        )
    }

    proptest! {
        #[test]
        fn an_object_comes_back_as_it_was(object in objects()) {
            let object = Arc::new(object);
            let blob = super::object(&object).expect("it is all there");
            let Some(Stored::Object(back)) = read(&blob) else {
                return Err(TestCaseError::fail("no object"));
            };
            prop_assert_eq!(&back.meta, &object.meta);
            prop_assert_eq!(&back.content, &object.content);
            prop_assert_eq!((back.key(), back.fields()), (object.key(), object.fields()));
            prop_assert_eq!(back.body(), object.body());
            prop_assert!(back.labels().eq(object.labels()));
        }

        #[test]
        fn a_part_of_an_object_is_nothing(object in objects(), cut in 1..200usize) {
            let blob = super::object(&Arc::new(object)).expect("it is all there");
            let head = blob.head.slice(..blob.head.len().saturating_sub(cut));
            let cut = Blob { head, ..blob };
            prop_assert!(read(&cut).is_none());
        }

        #[test]
        fn names_come_back_as_they_were(list in proptest::collection::vec(any::<Vec<u8>>(), 0..9)) {
            let list: Vec<Box<[u8]>> = list.into_iter().map(Into::into).collect();
            let blob = names(&list).expect("few");
            let back = read(&blob);
            prop_assert!(matches!(back, Some(Stored::Names(back)) if back == list));
        }

        #[test]
        fn anything_is_read_without_a_panic(
            head in proptest::collection::vec(any::<u8>(), 0..200),
            kind in 0..4u8,
            content in any::<Vec<u8>>(),
        ) {
            let head: Vec<u8> = [VERSION, kind].into_iter().chain(head).collect();
            let blob = Blob { head: head.clone().into(), content: content.into() };
            if let Some(Stored::Object(object)) = read(&blob) {
                // What is read is what would be written.
                let again = super::object(&Arc::new(object)).expect("it is all there");
                prop_assert_eq!(&again.head[..], &head[..]);
            }
        }
    }
}
