//! Keys for people.

use crate::vary;

/// A key as text: its URL, and behind it each part with what it is of, such as `version=7` or
/// `accept-language=de`. `primary` is where the part ends that all variants have, and `names` are
/// the fields by which they vary. Bytes that are no ASCII are escaped.
pub fn shown(key: &[u8], primary: usize, names: &[Box<[u8]>]) -> String {
    let (primary, variant) = key.split_at(primary.min(key.len()));
    let mut text = String::with_capacity(key.len() + 16);
    let mut rest = Rest(primary);
    let url = rest.until_nul();
    add(url, &mut text);
    let version = rest.until_nul();
    if !version.is_empty() {
        text.push_str(" version=");
        add(version, &mut text);
    }
    let mut is_whole = rest.parts(&mut text).is_some();
    let mut rest = Rest(variant);
    is_whole &= names.iter().all(|name| rest.field(name, &mut text).is_some());
    if !is_whole || !rest.0.is_empty() {
        // It was made by other rules than these.
        text.push_str(" …");
    }
    text
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn until_nul(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(self.0.len());
        let (part, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        part
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    fn number(&mut self) -> Option<usize> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    }

    /// All that stands behind the version.
    fn parts(&mut self, text: &mut String) -> Option<()> {
        while let Some((kind, rest)) = self.0.split_first() {
            self.0 = rest;
            match kind {
                b'h' => {
                    let length = self.number()?;
                    let name = self.take(length)?;
                    self.field(name, text)?;
                }
                b'c' => {
                    let length = self.number()?;
                    let name = self.take(length)?;
                    text.push_str(" cookie:");
                    add(name, text);
                    let count = self.number()?;
                    for at in 0..count {
                        let length = self.number()?;
                        text.push(if at == 0 { '=' } else { ',' });
                        add(self.take(length)?, text);
                    }
                }
                b'd' => {
                    let device = *self.take(1)?.first()?;
                    let name = super::device::name_of(device)?;
                    text.push_str(" device=");
                    text.push_str(name);
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// What [`vary::part`] has written.
    fn field(&mut self, name: &[u8], text: &mut String) -> Option<()> {
        text.push(' ');
        add(name, text);
        // A field that is not there has no value, and none to be led by a length.
        let Some(length) = self.number()?.checked_sub(1) else { return Some(()) };
        let value = self.take(length)?;
        text.push('=');
        match vary::shown_encodings(name, value) {
            Some(codings) => text.push_str(&codings),
            None => add(value, text),
        }
        Some(())
    }
}

fn add(bytes: &[u8], text: &mut String) {
    text.extend(bytes.escape_ascii().map(char::from));
}
