//! Targeted fields (RFC 9213): dictionaries of structured fields (RFC 8941 §3.2).
//!
//! Unlike `Cache-Control`, one error makes all of it void: names are in lower case, numbers are
//! integers without quotes, nothing may be left over. Unknown directives of any type are fine.

use seawall_h1::fields;

use super::{Control, MAX_SECONDS, Scope};

/// What the lines of a targeted field say together; `None` when there are none, they are empty, or
/// one is malformed or has a value of the wrong type for a known directive (§2.1). Of several values
/// of one directive the last holds (RFC 8941 §3.2).
pub fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Control<'a>> {
    let mut control = Control::default();
    let mut is_empty = true;
    for line in lines {
        let line = fields::trim(line);
        if line.is_empty() {
            continue;
        }
        is_empty = false;
        let mut parser = Parser { rest: line };
        loop {
            let key = parser.key()?;
            let value = parser.member_value()?;
            note(&mut control, key, value)?;
            parser.skip(b" \t");
            if parser.rest.is_empty() {
                break;
            }
            parser.expect(b',')?;
            parser.skip(b" \t");
        }
    }
    (!is_empty).then_some(control)
}

/// A value, as far as directives have one of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    True,
    Integer(i64),
    /// A string without its quotes, or a token.
    Text(&'a [u8]),
    Other,
}

fn note<'a>(control: &mut Control<'a>, key: &[u8], value: Value<'a>) -> Option<()> {
    let flag = || (value == Value::True).then_some(true);
    let seconds = || match value {
        Value::Integer(number @ 0..) => Some(Some(number.min(i64::from(MAX_SECONDS)) as u32)),
        _ => None,
    };
    let scope = || {
        let mut scope = Scope::Nothing;
        match value {
            Value::True => scope = Scope::Whole,
            Value::Text(names) => scope.widen(Some(names)),
            Value::Integer(_) | Value::Other => return None,
        }
        Some(scope)
    };
    match key {
        b"no-store" => control.no_store = flag()?,
        b"no-cache" => control.no_cache = scope()?,
        b"private" => control.private = scope()?,
        b"public" => control.public = flag()?,
        b"must-revalidate" => control.must_revalidate = flag()?,
        b"proxy-revalidate" => control.proxy_revalidate = flag()?,
        b"must-understand" => control.must_understand = flag()?,
        b"no-transform" => control.no_transform = flag()?,
        b"immutable" => control.immutable = flag()?,
        b"max-age" => control.max_age = seconds()?,
        b"s-maxage" => control.s_maxage = seconds()?,
        b"stale-while-revalidate" => control.stale_while_revalidate = seconds()?,
        b"stale-if-error" => control.stale_if_error = seconds()?,
        _ => {}
    }
    Some(())
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn skip(&mut self, bytes: &[u8]) {
        let end = self.rest.iter().position(|b| !bytes.contains(b)).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn take_while(&mut self, condition: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&b| !condition(b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let begins = |b: &u8| b.is_ascii_lowercase() || *b == b'*';
        self.rest.first().filter(|b| begins(b))?;
        Some(
            self.take_while(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b)
            }),
        )
    }

    /// What follows a key: an item or an inner list with parameters, or parameters alone.
    fn member_value(&mut self) -> Option<Value<'a>> {
        let value = if self.rest.first() == Some(&b'=') {
            self.expect(b'=')?;
            if self.rest.first() == Some(&b'(') { self.inner_list()? } else { self.bare_item()? }
        } else {
            Value::True
        };
        self.parameters()?;
        Some(value)
    }

    fn inner_list(&mut self) -> Option<Value<'a>> {
        self.expect(b'(')?;
        loop {
            self.skip(b" ");
            if self.expect(b')').is_some() {
                return Some(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            self.rest.first().filter(|b| b" )".contains(b))?;
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.expect(b';').is_some() {
            self.skip(b" ");
            self.key()?;
            if self.expect(b'=').is_some() {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<Value<'a>> {
        match self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => {
                self.expect(b'?')?;
                match self.take_while(|b| b == b'0' || b == b'1') {
                    b"1" => Some(Value::True),
                    b"0" => Some(Value::Other),
                    _ => None,
                }
            }
            b':' => {
                self.expect(b':')?;
                self.take_while(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                self.expect(b':')?;
                Some(Value::Other)
            }
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => Some(Value::Text(
                self.take_while(|b| seawall_h1::headers::is_token_byte(b) || b":/".contains(&b)),
            )),
            _ => None,
        }
    }

    /// At most 15 digits; a decimal at most 12 before the point and 3 behind it (§4.2.4).
    fn number(&mut self) -> Option<Value<'a>> {
        let negative = self.expect(b'-').is_some();
        let digits = self.take_while(|b| b.is_ascii_digit());
        if self.expect(b'.').is_some() {
            let fraction = self.take_while(|b| b.is_ascii_digit());
            let fits = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Other);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let number = fields::decimal(digits)? as i64;
        Some(Value::Integer(if negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Value<'a>> {
        self.expect(b'"')?;
        let text = self.rest;
        let mut at = 0;
        loop {
            match text.get(at)? {
                b'"' => break,
                b'\\' => {
                    text.get(at + 1).filter(|b| b"\"\\".contains(b))?;
                    at += 2;
                }
                0x20..=0x7e => at += 1,
                _ => return None,
            }
        }
        self.rest = &text[at + 1..];
        Some(Value::Text(&text[..at]))
    }
}
