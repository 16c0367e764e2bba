//! `Cache-Control` as a list of directives (RFC 9111 §5.2), read without copying.

use seawall_h1::fields;

use super::delta_seconds;

/// The directives of one field line.
pub(super) struct Directives<'a> {
    rest: &'a [u8],
}

/// What follows the name of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    /// Nothing.
    None,
    /// A token, or the content of a quoted string, with its escapes.
    Text(&'a [u8]),
    /// Something else.
    Malformed,
}

impl<'a> Argument<'a> {
    /// Seconds, also if they are quoted, as §5.2 asks of recipients.
    pub(super) fn seconds(self) -> Option<u32> {
        self.text().and_then(delta_seconds)
    }

    pub(super) fn text(self) -> Option<&'a [u8]> {
        if let Argument::Text(text) = self { Some(text) } else { None }
    }
}

impl<'a> Directives<'a> {
    pub(super) fn of(value: &'a [u8]) -> Directives<'a> {
        Directives { rest: value }
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Argument<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let end = member_end(self.rest);
            let member = fields::trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(directive(member));
            }
        }
    }
}

/// Where the first member of a list ends: at a comma that is in no quoted string. A quote that is
/// never closed opens none, so that it cannot hide the directives behind it.
fn member_end(list: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = list.get(at) {
        match byte {
            b',' => return at,
            b'"' => at = string_end(list, at).unwrap_or(at + 1),
            _ => at += 1,
        }
    }
    list.len()
}

/// The position behind the quoted string that begins at `start`.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn directive(member: &[u8]) -> (&[u8], Argument<'_>) {
    let Some(equals) = member.iter().position(|&b| b == b'=') else {
        return (member, Argument::None);
    };
    let (name, value) = (&member[..equals], &member[equals + 1..]);
    let argument = match value {
        // White space around the `=` is not allowed.
        _ if name.ends_with(b" ") || name.ends_with(b"\t") => Argument::Malformed,
        [b'"', ..] if string_end(value, 0) == Some(value.len()) => {
            Argument::Text(&value[1..value.len() - 1])
        }
        value if fields::is_token(value) => Argument::Text(value),
        _ => Argument::Malformed,
    };
    (fields::trim(name), argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_strings_do_not_end_a_directive() {
        for (value, expect) in [
            ("a", "a"),
            (" a ,, b=1\t,", "a b=<1>"),
            ("a=\"b, c\", d", "a=<b, c> d"),
            ("a=\"\\\"\", b", "a=<\\\"> b"),
            ("a=\"b, c", "a! c"),
            ("a=\"b\\", "a!"),
            ("a=\"b\"c, d", "a! d"),
            ("a =1, b= 1, c=", "a! b! c!"),
            ("a=b c", "a!"),
            ("=1", "=<1>"),
        ] {
            let read = Directives::of(value.as_bytes()).map(|(name, argument)| {
                let name = String::from_utf8_lossy(name);
                match argument {
                    Argument::None => name.into_owned(),
                    Argument::Text(text) => format!("{name}=<{}>", String::from_utf8_lossy(text)),
                    Argument::Malformed => format!("{name}!"),
                }
            });
            assert_eq!(read.collect::<Vec<_>>().join(" "), expect, "{value}");
        }
    }
}
