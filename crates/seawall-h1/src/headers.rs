//! A flat list of header fields, in the order they came, over one buffer of bytes.
//!
//! The buffer holds the head as it was received and, behind it, whatever was added since, so that
//! adding a field is an append and removing one is a mark. Look-ups scan: a head has a dozen
//! fields, and a scan over sixteen-byte slots beats any hash.

use crate::encode;
use crate::known::Known;

/// The list. Reused from one message to the next by [`Headers::clear`].
#[derive(Debug, Default, Clone)]
pub struct Headers {
    text: Vec<u8>,
    slots: Vec<Slot>,
    /// A bit for each well-known name that was ever in the list, so that what is not there, which
    /// is most, is not looked for.
    seen: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    name: u32,
    value: u32,
    value_len: u32,
    name_len: u16,
    known: Known,
    removed: bool,
}

/// One field of the list.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The name as it was written.
    pub name: &'a [u8],
    /// The value without the white space around it.
    pub value: &'a [u8],
    /// The name, recognised.
    pub known: Known,
}

impl Headers {
    /// An empty list that owns no memory yet.
    pub const fn new() -> Headers {
        Headers { text: Vec::new(), slots: Vec::new(), seen: 0 }
    }

    /// Forgets every field but keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.slots.clear();
        self.seen = 0;
    }

    /// Bytes of memory it holds on to.
    pub fn capacity(&self) -> usize {
        self.text.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    /// All fields in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.slots.iter().filter(|slot| !slot.removed).map(|slot| self.field(slot))
    }

    /// The first value of a well-known field.
    #[inline]
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        if !self.may_have(known) {
            return None;
        }
        let slot = self.slots.iter().find(|slot| slot.known == known && !slot.removed)?;
        Some(self.field(slot).value)
    }

    /// Every value of a well-known field, in order.
    #[inline]
    pub fn all_known(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let slots = if self.may_have(known) { &self.slots[..] } else { &[] };
        let is_one = move |slot: &&Slot| slot.known == known && !slot.removed;
        slots.iter().filter(is_one).map(|slot| self.field(slot).value)
    }

    fn may_have(&self, known: Known) -> bool {
        self.seen & (1 << known as u64) != 0
    }

    /// The first value of the field `name`, whatever the case of its name.
    pub fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Every value of the field `name`, in order.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.removed).count()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a field at the end. The caller vouches that name and value are valid as such: text
    /// from a checked configuration, or bytes of a field that was parsed before.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        debug_assert!(is_field_name(name) && is_field_value(value));
        let at = self.text.len() as u32;
        encode::field(name, value, &mut self.text);
        let known = Known::of(name);
        self.seen |= 1 << known as u64;
        self.slots.push(Slot {
            name: at,
            name_len: name.len() as u16,
            value: at + name.len() as u32 + 2,
            value_len: value.len() as u32,
            known,
            removed: false,
        });
    }

    /// Begins anew with fields as [`Headers::write`] has appended them.
    pub fn restore(&mut self, lines: &[u8]) {
        self.begin(lines, 16);
        self.note_lines(0);
    }

    /// Adds fields at the end, which `write` appends as they go over the wire. What follows a line
    /// that is none is left out.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.text.len();
        write(&mut self.text);
        self.note_lines(from);
    }

    fn note_lines(&mut self, mut at: usize) {
        while let Some(name_len) = memchr::memchr(b':', &self.text[at..])
            && let Some(line_len) = memchr::memchr(b'\r', &self.text[at..])
            && name_len + 2 <= line_len
            && name_len <= usize::from(u16::MAX)
            && self.text.len() >= at + line_len + 2
        {
            let value = (at + name_len + 2, line_len - name_len - 2);
            self.note((at, name_len), value, Known::of(&self.text[at..at + name_len]));
            at += line_len + 2;
        }
    }

    /// Takes away every field called `name`.
    pub fn remove(&mut self, name: &[u8]) {
        self.remove_where(|field| field.name.eq_ignore_ascii_case(name));
    }

    /// Takes away every field for which `condition` holds.
    pub fn remove_where(&mut self, condition: impl Fn(&Field<'_>) -> bool) {
        for at in 0..self.slots.len() {
            let slot = self.slots[at];
            if !slot.removed && condition(&self.field(&slot)) {
                self.slots[at].removed = true;
            }
        }
    }

    /// Replaces every field called `name` by one with this value.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.push(name, value);
    }

    /// Appends the fields for which `keep` holds to `out`, as they go over the wire. Most fields
    /// came as they go, so that their line is copied whole.
    #[inline]
    pub fn write(&self, mut keep: impl FnMut(&Field<'_>) -> bool, out: &mut Vec<u8>) {
        for slot in self.slots.iter().filter(|slot| !slot.removed) {
            let field = self.field(slot);
            if !keep(&field) {
                continue;
            }
            let start = slot.name as usize;
            let end = slot.value as usize + field.value.len() + 2;
            let name_end = start + field.name.len();
            match self.text.get(start..end) {
                Some(line)
                    if slot.value as usize == name_end + 2
                        && line.ends_with(b"\r\n")
                        && &line[field.name.len()..field.name.len() + 2] == b": " =>
                {
                    out.extend_from_slice(line);
                }
                _ => encode::field(field.name, field.value, out),
            }
        }
    }

    #[inline]
    fn field(&self, slot: &Slot) -> Field<'_> {
        let (name, value) = (slot.name as usize, slot.value as usize);
        Field {
            name: &self.text[name..name + slot.name_len as usize],
            value: &self.text[value..value + slot.value_len as usize],
            known: slot.known,
        }
    }

    /// The bytes below the list, for what else of a head is kept there.
    #[inline]
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Appends bytes that are no field and says where they begin.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> u32 {
        let at = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        at
    }

    /// Begins anew with the bytes of a head that has just been parsed.
    #[inline]
    pub(crate) fn begin(&mut self, head: &[u8], fields: usize) {
        self.clear();
        self.slots.reserve(fields);
        self.text.extend_from_slice(head);
    }

    /// Notes a field that lies in the bytes given to [`Headers::begin`].
    #[inline]
    pub(crate) fn note(&mut self, name: (usize, usize), value: (usize, usize), known: Known) {
        self.seen |= 1 << known as u64;
        self.slots.push(Slot {
            name: name.0 as u32,
            name_len: name.1 as u16,
            value: value.0 as u32,
            value_len: value.1 as u32,
            known,
            removed: false,
        });
    }
}

/// Whether `name` is a token, as a field name must be (RFC 9110 §5.1).
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= u16::MAX as usize && name.iter().all(|&b| is_token_byte(b))
}

/// Whether `value` may stand as a field value: no control byte but HTAB (RFC 9110 §5.5).
pub fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|&b| b == b'\t' || (b >= 0x20 && b != 0x7f))
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(headers: &Headers) -> String {
        let line = |field: Field<'_>| {
            format!(
                "{}={}",
                String::from_utf8_lossy(field.name),
                String::from_utf8_lossy(field.value)
            )
        };
        headers.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn fields_are_added_set_and_removed_in_order() {
        let mut headers = Headers::new();
        headers.push(b"A", b"1");
        headers.push(b"b", b"2");
        headers.push(b"a", b"3");
        assert_eq!(shown(&headers), "A=1 b=2 a=3");
        assert_eq!(headers.all(b"a").count(), 2);
        headers.set(b"a", b"4");
        assert_eq!(shown(&headers), "b=2 a=4");
        headers.remove(b"B");
        assert_eq!(headers.first(b"b"), None);
        assert_eq!(headers.len(), 1);
        let mut lines = Vec::new();
        headers.push(b"Empty", b"");
        headers.write(|_| true, &mut lines);
        let mut restored = Headers::new();
        restored.restore(&lines);
        assert_eq!(shown(&restored), "a=4 Empty=");
        for end in 0..lines.len() {
            restored.restore(&lines[..end]);
            assert!(restored.len() < 2);
        }
        headers.clear();
        assert!(headers.is_empty());
    }
}
