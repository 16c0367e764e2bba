//! How a look-up is written in Redis: as few bytes as it can be without a search for them.
//!
//! One byte says what it is, four when it was due to be looked up again, and behind that is only
//! what the link has; the target takes the rest, without the beginning that most share. The keys
//! carry the number of this format, so that another format finds nothing of this one.

use crate::link::{Millis, Redirect};

use super::Mapping;

/// The number of this format, part of each key. Grows with every change of what is written here.
pub(super) const FORMAT: u8 = 2;

/// What stands for a link that has just been changed: whoever finds it asks the primary.
pub(super) const CHANGED: &[u8] = &[1];

/// What was read under a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// It has just been changed.
    Changed,
    /// What the link is, if there is one, and when that goes out of date.
    Known { mapping: Option<Mapping>, until: Millis },
}

/// Writes what a link is, or that there is none, good until then (to the second, rounded down).
/// `None` when the link has something that this format has no room for.
pub(super) fn write(mapping: Option<&Mapping>, until: Millis) -> Option<Vec<u8>> {
    let Some(mapping) = mapping else {
        let mut bytes = vec![MISSING];
        write_until(&mut bytes, until);
        return Some(bytes);
    };
    let (beginning, rest) = split(&mapping.target);
    let mut bytes = Vec::with_capacity(5 + rest.len() + 8);
    let mut kind = LINK | (redirect_bits(mapping.redirect) << 4) | (beginning << 6);
    let extra = (u8::from(mapping.expires.is_some()) * EXPIRES)
        | (u8::from(mapping.limited) * LIMITED)
        | (u8::from(mapping.password.is_some()) * PASSWORD)
        | (u8::from(mapping.disabled) * DISABLED)
        | (u8::from(mapping.forward_query) * FORWARD_QUERY);
    if extra != 0 {
        kind |= HAS_EXTRA;
    }
    bytes.push(kind);
    write_until(&mut bytes, until);
    if extra != 0 {
        bytes.push(extra);
    }
    if let Some(expires) = mapping.expires {
        bytes.extend_from_slice(&expires.to_le_bytes());
    }
    if let Some(password) = &mapping.password {
        let length = u16::try_from(password.len()).ok()?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(password.as_bytes());
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// Reads what [`write`] wrote, or [`CHANGED`]. `None`: it is neither.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    if bytes == CHANGED {
        return Some(Value::Changed);
    }
    let (&kind, rest) = bytes.split_first()?;
    let (until, mut rest) = rest.split_first_chunk::<4>()?;
    let until = (EPOCH + i64::from(u32::from_le_bytes(*until))) * 1000;
    if kind == MISSING {
        return rest.is_empty().then_some(Value::Known { mapping: None, until });
    }
    if kind & 0b1111 & !HAS_EXTRA != LINK {
        return None;
    }
    let mut extra = 0;
    if kind & HAS_EXTRA != 0 {
        let (byte, after) = rest.split_first()?;
        (extra, rest) = (*byte, after);
    }
    let mut expires = None;
    if extra & EXPIRES != 0 {
        let (bytes, after) = rest.split_first_chunk::<8>()?;
        (expires, rest) = (Some(Millis::from_le_bytes(*bytes)), after);
    }
    let mut password = None;
    if extra & PASSWORD != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        (password, rest) = (Some(std::str::from_utf8(text).ok()?.into()), after);
    }
    let beginning = BEGINNINGS[usize::from(kind >> 6)];
    let rest = std::str::from_utf8(rest).ok()?;
    let mapping = Mapping {
        target: [beginning, rest].concat().into(),
        redirect: redirect_of(kind >> 4 & 0b11),
        forward_query: extra & FORWARD_QUERY != 0,
        expires,
        limited: extra & LIMITED != 0,
        password,
        disabled: extra & DISABLED != 0,
    };
    Some(Value::Known { mapping: Some(mapping), until })
}

const MISSING: u8 = 0;
const LINK: u8 = 0b0010;
const HAS_EXTRA: u8 = 0b0100;

const EXPIRES: u8 = 1;
const LIMITED: u8 = 2;
const PASSWORD: u8 = 4;
const DISABLED: u8 = 8;
const FORWARD_QUERY: u8 = 16;

/// What targets begin with; the last is nothing.
const BEGINNINGS: [&str; 4] = ["https://www.", "https://", "http://", ""];

/// Seconds of 1970 at the beginning of 2020: 32 bits from there reach to 2156.
const EPOCH: i64 = 1_577_836_800;

fn write_until(bytes: &mut Vec<u8>, until: Millis) {
    let seconds = u32::try_from((until / 1000 - EPOCH).max(0)).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&seconds.to_le_bytes());
}

fn split(target: &str) -> (u8, &str) {
    let mut found = (3, target);
    for (number, beginning) in (0..3).zip(BEGINNINGS) {
        if let Some(rest) = target.strip_prefix(beginning) {
            found = (number, rest);
            break;
        }
    }
    found
}

fn redirect_bits(redirect: Redirect) -> u8 {
    match redirect {
        Redirect::Found => 0,
        Redirect::Permanent => 1,
        Redirect::Temporary => 2,
        Redirect::PermanentKeeping => 3,
    }
}

fn redirect_of(bits: u8) -> Redirect {
    match bits {
        1 => Redirect::Permanent,
        2 => Redirect::Temporary,
        3 => Redirect::PermanentKeeping,
        _ => Redirect::Found,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mapping() -> impl Strategy<Value = Mapping> {
        let beginning = prop::sample::select(vec!["https://www.", "https://", "http://", "x:", ""]);
        let redirect = prop::sample::select(vec![301, 302, 307, 308]);
        let target =
            (beginning, ".{0,60}").prop_map(|(beginning, rest)| beginning.to_owned() + &rest);
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        let optional = (any::<Option<i64>>(), prop::option::of(".{0,100}"));
        (target, redirect, flags, optional).prop_map(
            |(target, redirect, (limited, disabled, forward_query), (expires, password))| Mapping {
                target: target.into(),
                redirect: Redirect::of(redirect).expect("one of the four"),
                forward_query,
                expires,
                limited,
                password: password.map(Into::into),
                disabled,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(mapping in mapping(), seconds in EPOCH..4_000_000_000_i64) {
            let until = seconds * 1000;
            let bytes = write(Some(&mapping), until).expect("there is room");
            prop_assert_eq!(read(&bytes), Some(Value::Known { mapping: Some(mapping), until }));
        }

        #[test]
        fn whatever_stands_there_is_one_link_or_none(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Some(Value::Known { mapping, until }) = read(&bytes) {
                let again = write(mapping.as_ref(), until).expect("there is room");
                prop_assert_eq!(read(&again), Some(Value::Known { mapping, until }));
            }
        }
    }

    #[test]
    fn a_plain_link_has_five_bytes_more_than_its_target_has_behind_the_scheme() {
        let mapping = Mapping { target: "https://www.example.com/a".into(), ..Mapping::default() };
        let until = 2_000_000_000_000;
        let bytes = write(Some(&mapping), until).expect("there is room");
        assert_eq!(bytes.len(), 5 + "example.com/a".len());
        let missing = write(None, until).expect("there is room");
        assert_eq!(missing.len(), 5);
        assert_eq!(read(&missing), Some(Value::Known { mapping: None, until }));
        assert_eq!(read(CHANGED), Some(Value::Changed));
    }

    #[test]
    fn what_has_no_room_is_not_written() {
        let password = Some("x".repeat(65_536).into());
        assert_eq!(write(Some(&Mapping { password, ..Mapping::default() }), 0), None);
    }
}
