//! JSON (RFC 8259) into the tree that TOML is read into, so that the same rules judge both.
//!
//! Strict: no comments, no trailing commas, no key twice, and no `null`, which TOML has not. Stops
//! at the first error. Called by [`crate::servers`].

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::read::Node;
use crate::source::{Span, quoted};

/// What is wrong with a text: place, message, help.
pub(crate) type Fault = (Span, String, Option<String>);

/// The tree of a text.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, Fault> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.skip_space();
    let value = parser.value()?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.fault("there is more behind the end of the JSON", None)),
    }
}

/// Most lists and objects within each other.
const DEEPEST: usize = 32;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// The character at the current place, or the end of the text.
    fn here(&self) -> Span {
        let length = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        Span { start: self.at, end: self.at + length }
    }

    fn fault(&self, message: impl Into<String>, help: Option<&str>) -> Fault {
        (self.here(), message.into(), help.map(str::to_owned))
    }

    /// That something else is due here.
    fn expected(&self, what: &str) -> Fault {
        let found = match self.text[self.at..].chars().next() {
            Some(c) => quoted(c.encode_utf8(&mut [0; 4])),
            None => "the end".to_owned(),
        };
        self.fault(format!("expected {what}, found {found}"), None)
    }

    fn value(&mut self) -> Result<Node<'t>, Fault> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => DeValue::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word()?,
            _ => return Err(self.expected("a value")),
        };
        Ok(Spanned::new(start..self.at, value))
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<DeValue<'t>, Fault>,
    ) -> Result<DeValue<'t>, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fault(format!("nested deeper than {DEEPEST}"), None));
        }
        // The opening bracket.
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<DeValue<'t>, Fault> {
        let mut array = DeArray::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(DeValue::Array(array));
        }
        loop {
            self.skip_space();
            array.push(self.value()?);
            self.skip_space();
            if self.take(b']') {
                return Ok(DeValue::Array(array));
            }
            if !self.take(b',') {
                return Err(self.expected("a comma or `]`"));
            }
        }
    }

    fn object(&mut self) -> Result<DeValue<'t>, Fault> {
        let mut table = DeTable::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(DeValue::Table(table));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in quotes"));
            }
            let start = self.at;
            let key = self.string()?;
            let key = Spanned::new(start..self.at, key);
            if table.contains_key(key.get_ref().as_ref()) {
                let span = Span { start, end: self.at };
                let message = format!("{} is there twice", quoted(key.get_ref()));
                return Err((span, message, Some("keep one of the two".to_owned())));
            }
            self.skip_space();
            if !self.take(b':') {
                return Err(self.expected("a colon"));
            }
            self.skip_space();
            let value = self.value()?;
            table.insert(key, value);
            self.skip_space();
            if self.take(b'}') {
                return Ok(DeValue::Table(table));
            }
            if !self.take(b',') {
                return Err(self.expected("a comma or `}`"));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'t, str>, Fault> {
        let start = self.at;
        self.at += 1;
        let mut text = Cow::Borrowed("");
        let mut plain = self.at;
        loop {
            match self.peek() {
                None => {
                    let span = Span { start, end: self.at };
                    let help = "close the text with the quote it begins with";
                    return Err((span, "this text does not end".to_owned(), Some(help.to_owned())));
                }
                Some(b'"') => {
                    text += &self.text[plain..self.at];
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    text += &self.text[plain..self.at];
                    text.to_mut().push(self.escape()?);
                    plain = self.at;
                }
                Some(0..0x20) => {
                    let help = "write it as an escape such as `\\n`";
                    return Err(self.fault("text cannot have control characters", Some(help)));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// The character that an escape stands for (RFC 8259 §7).
    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let bad = |end: usize| {
            let message = "this escape means nothing in JSON".to_owned();
            Err((Span { start, end }, message, None))
        };
        self.at += 1;
        let Some(kind) = self.peek() else { return bad(self.at) };
        if kind != b'u' {
            let letter = match kind {
                b'"' | b'\\' | b'/' => char::from(kind),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                _ => return bad(self.at),
            };
            self.at += 1;
            return Ok(letter);
        }
        self.at += 1;
        let Some(first) = self.hex() else { return bad(self.at) };
        let code = match first {
            0xd800..0xdc00 => {
                let low = match self.take(b'\\') && self.take(b'u') {
                    true => self.hex().filter(|low| (0xdc00..0xe000).contains(low)),
                    false => None,
                };
                let Some(low) = low else { return bad(self.at) };
                0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00)
            }
            code => code,
        };
        match char::from_u32(code) {
            Some(letter) => Ok(letter),
            None => bad(self.at),
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let value = u32::from_str_radix(digits, 16).ok()?;
        // `from_str_radix` takes a sign too.
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        self.at += 4;
        all.then_some(value)
    }

    fn number(&mut self) -> Result<DeValue<'t>, Fault> {
        let start = self.at;
        self.take(b'-');
        let whole = self.run_of_digits();
        let mut good = whole == 1 || whole > 1 && !self.text[self.at - whole..].starts_with('0');
        if self.take(b'.') {
            good &= self.run_of_digits() > 0;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            good &= self.run_of_digits() > 0;
        }
        let written = &self.text[start..self.at];
        // What is a number in JSON is one in TOML.
        match DeValue::parse(written).ok().filter(|_| good && written.len() <= LONGEST_NUMBER) {
            Some(value) => Ok(value.into_inner()),
            None => {
                let span = Span { start, end: self.at };
                Err((span, format!("{} is not a number", quoted(written)), None))
            }
        }
    }

    fn run_of_digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self) -> Result<DeValue<'t>, Fault> {
        let start = self.at;
        while let Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.') = self.peek() {
            self.at += 1;
        }
        let (span, written) = (Span { start, end: self.at }, &self.text[start..self.at]);
        match written {
            "true" => Ok(DeValue::Boolean(true)),
            "false" => Ok(DeValue::Boolean(false)),
            "null" => {
                let help = "leave out the key, which then has its default";
                Err((span, "nothing here can be `null`".to_owned(), Some(help.to_owned())))
            }
            _ => {
                let help = Some("put text in quotes: \"…\"".to_owned());
                Err((span, format!("{} needs quotes", quoted(written)), help))
            }
        }
    }
}

/// Longest number that is read.
const LONGEST_NUMBER: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The tree as another parser would make it.
    fn plain(node: &Node<'_>) -> Value {
        match node.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(number) => serde_json::from_str(number.as_str()).expect("a number"),
            DeValue::Float(number) => serde_json::from_str(number.as_str()).expect("a number"),
            DeValue::Array(array) => array.iter().map(plain).collect(),
            DeValue::Table(table) => {
                let entry = |(key, node): (&Spanned<Cow<'_, str>>, &Node<'_>)| {
                    (key.get_ref().to_string(), plain(node))
                };
                Value::Object(table.iter().map(entry).collect())
            }
            DeValue::Datetime(_) => panic!("JSON has no dates"),
        }
    }

    fn fault(text: &str) -> String {
        let (span, message, _) = parse(text).expect_err(text);
        assert!(span.start <= span.end && span.end <= text.len(), "{text}: {span:?}");
        format!("{}: {message}", span.start)
    }

    #[test]
    fn values_are_read() {
        for text in [
            "[]",
            " {} \n",
            r#"["a", {"b": [true, false, -0, 12, 1.5, 1e5, 2E-3, -1.25e+2]}]"#,
            r#""\" \\ \/ \b \f \n \r \t \u0041 \u00e9 \ud83d\ude00 é 😀""#,
            "\t{\r\n\"a\" : \"\" , \"\":\"b\" }",
        ] {
            let node = parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            assert_eq!(plain(&node), serde_json::from_str::<Value>(text).expect(text), "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = r#"{"a": ["b\n", 7]}"#;
        let node = parse(text).expect("it is right");
        let table = node.get_ref().as_table().expect("an object");
        let (key, list) = table.iter().next().expect("a key");
        assert_eq!((&text[key.span()], &text[list.span()]), ("\"a\"", r#"["b\n", 7]"#));
        let items = list.get_ref().as_array().expect("a list");
        let items: Vec<&str> = items.iter().map(|item| &text[item.span()]).collect();
        assert_eq!(items, [r#""b\n""#, "7"]);
    }

    #[test]
    fn mistakes_are_told_at_their_place() {
        for (text, expect) in [
            ("", "0: expected a value, found the end"),
            ("[1,]", "3: expected a value, found `]`"),
            ("[1 2]", "3: expected a comma or `]`, found `2`"),
            ("[1", "2: expected a comma or `]`, found the end"),
            ("{a: 1}", "1: expected a key in quotes, found `a`"),
            (r#"{"a" 1}"#, "5: expected a colon, found `1`"),
            (r#"{"a": 1,}"#, "8: expected a key in quotes, found `}`"),
            (r#"{"a": 1, "a": 2}"#, "9: `a` is there twice"),
            (r#"{"a": 1, "\u0061": 2}"#, "9: `a` is there twice"),
            (r#"["a"#, "1: this text does not end"),
            ("[\"a\nb\"]", "3: text cannot have control characters"),
            (r#"["\x"]"#, "2: this escape means nothing in JSON"),
            (r#"["\u12"]"#, "2: this escape means nothing in JSON"),
            (r#"["\u+123"]"#, "2: this escape means nothing in JSON"),
            (r#"["\ud83d"]"#, "2: this escape means nothing in JSON"),
            (r#"["\ude00"]"#, "2: this escape means nothing in JSON"),
            (r#"["\ud83d\u0041"]"#, "2: this escape means nothing in JSON"),
            ("[01]", "1: `01` is not a number"),
            ("[-]", "1: `-` is not a number"),
            ("[1.]", "1: `1.` is not a number"),
            ("[1e]", "1: `1e` is not a number"),
            ("[+1]", "1: expected a value, found `+`"),
            ("[nil]", "1: `nil` needs quotes"),
            ("[null]", "1: nothing here can be `null`"),
            ("[] []", "3: there is more behind the end of the JSON"),
            ("[] é", "3: there is more behind the end of the JSON"),
            ("// no", "0: expected a value, found `/`"),
        ] {
            assert_eq!(fault(text), expect, "{text}");
        }
        assert_eq!(fault(&"[".repeat(100_000)), "32: nested deeper than 32");
    }

    proptest! {
        /// Whatever it takes, another parser takes, and reads the same.
        #[test]
        fn it_agrees_with_another_parser(text in r#"([\[\]{},: \n]|"[a-z\\\\u0d8]{0,4}"|-?[0-9.e+]{1,4}|true|null){0,12}"#) {
            let other = serde_json::from_str::<Value>(&text);
            match parse(&text) {
                Ok(node) => {
                    let other = other.expect("the other parser takes it too");
                    prop_assert_eq!(plain(&node), other);
                }
                Err((_, message, _)) => {
                    // What only this one refuses.
                    let stricter = message.contains("twice") || message.contains("null");
                    prop_assert!(stricter || other.is_err(), "{}: {}", message, text);
                }
            }
        }
    }
}
