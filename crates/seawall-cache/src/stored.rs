//! Header fields as they are stored: lines as they go over the wire, one behind the other.
//!
//! [`crate::object::Object::fields`] gives them so, and [`Headers::restore`] makes a list of them; this
//! is for those who want one or two. They are written by this crate, so that each is
//! `Name: value` and CRLF; what is not, as it may come from a disk, is passed over.

use seawall_h1::headers::{Field, is_field_name, is_field_value};
use seawall_h1::{Headers, Known};

/// The fields in `bytes`.
#[inline]
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let end = rest.iter().position(|&b| b == b'\n')?;
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
            let name = &line[..colon];
            let value = seawall_h1::fields::trim(&line[colon + 1..]);
            return Some(Field { name, value, known: Known::of(name) });
        }
    })
}

/// The first value of a well-known field in `bytes`.
pub fn first(bytes: &[u8], known: Known) -> Option<&[u8]> {
    lines(bytes).find(|field| field.known == known).map(|field| field.value)
}

/// Adds a field that was stored, unless it is no field.
pub(crate) fn push(field: &Field<'_>, headers: &mut Headers) {
    if is_field_name(field.name) && is_field_value(field.value) {
        headers.push(field.name, field.value);
    }
}
