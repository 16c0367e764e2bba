//! The rows of `INSERT` statements in a dump of MySQL's, of tables whose names end in `url`.
//!
//! It knows just so much SQL: strings with their escapes, comments, numbers and names. What it does
//! not understand it skips up to the next statement.

use csv::ByteRecord;

/// A row: the line where it begins, the names of its columns if they are said, its values.
type Tuple = (u64, Option<ByteRecord>, ByteRecord);

/// Whether a file that begins so is a dump.
pub(super) fn is_dump(look: &[u8]) -> bool {
    let text = String::from_utf8_lossy(look);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let first = first.to_ascii_uppercase();
    ["--", "/*", "INSERT INTO", "CREATE ", "DROP ", "SET ", "USE ", "LOCK "]
        .iter()
        .any(|word| first.starts_with(word))
}

/// All rows of a dump.
pub(super) fn tuples(text: &[u8]) -> Vec<Tuple> {
    let mut dump = Dump { text, at: 0, line: 1 };
    let mut found = Vec::new();
    while dump.at < text.len() {
        dump.statement(&mut found);
    }
    found
}

struct Dump<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

/// A part of a statement.
#[derive(Debug, PartialEq)]
enum Token {
    /// A name, a keyword or a number, as it is.
    Word(Vec<u8>),
    /// A string without its quotes and escapes, or a quoted name.
    Text(Vec<u8>),
    /// Anything else.
    Sign(u8),
}

impl Dump<'_> {
    /// Reads one statement, and its rows if it is one that has some.
    fn statement(&mut self, found: &mut Vec<Tuple>) {
        let words = ["INSERT", "INTO"];
        for wanted in words {
            match self.token() {
                Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted.as_bytes()) => {}
                Some(Token::Sign(b';')) | None => return,
                Some(_) => return self.skip(),
            }
        }
        // With a dot behind the name of the database, the last part is the table.
        let mut table = Vec::new();
        let mut columns = None;
        loop {
            match self.token() {
                Some(Token::Word(word)) if word.eq_ignore_ascii_case(b"VALUES") => break,
                Some(Token::Word(name) | Token::Text(name)) => table = name,
                Some(Token::Sign(b'(')) => columns = self.list(),
                Some(Token::Sign(b'.')) => {}
                Some(Token::Sign(b';')) | None => return,
                Some(Token::Sign(_)) => return self.skip(),
            }
        }
        let is_ours = table.to_ascii_lowercase().ends_with(b"url");
        loop {
            match self.token() {
                Some(Token::Sign(b'(')) => {
                    let line = self.line;
                    let Some(values) = self.list() else { return };
                    if is_ours {
                        found.push((line, columns.clone(), values));
                    }
                }
                Some(Token::Sign(b',')) => {}
                Some(Token::Sign(b';')) | None => return,
                Some(_) => return self.skip(),
            }
        }
    }

    /// Values up to the closing parenthesis; `None` when the text ends before it.
    fn list(&mut self) -> Option<ByteRecord> {
        let mut values = ByteRecord::new();
        let mut value: Option<Vec<u8>> = None;
        loop {
            match self.token()? {
                Token::Sign(b',') => values.push_field(&value.take().unwrap_or_default()),
                Token::Sign(b')') => {
                    values.push_field(&value.unwrap_or_default());
                    return Some(values);
                }
                // `_binary 'x'` is a word and a text: the last counts.
                Token::Word(word) | Token::Text(word) => value = Some(word),
                Token::Sign(sign) => value.get_or_insert_default().push(sign),
            }
        }
    }

    /// On to the end of the statement.
    fn skip(&mut self) {
        while !matches!(self.token(), Some(Token::Sign(b';')) | None) {}
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        self.line += u64::from(byte == b'\n');
        Some(byte)
    }

    fn token(&mut self) -> Option<Token> {
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with(b"--") || rest.starts_with(b"#") {
                while !matches!(self.byte(), Some(b'\n') | None) {}
            } else if rest.starts_with(b"/*") {
                while !self.text[self.at..].starts_with(b"*/") {
                    self.byte()?;
                }
                self.byte();
                self.byte();
            } else if rest.first()?.is_ascii_whitespace() {
                self.byte();
            } else {
                break;
            }
        }
        let first = self.byte()?;
        if matches!(first, b'\'' | b'"' | b'`') {
            return self.quoted(first).map(Token::Text);
        }
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_$.+-".contains(byte);
        if !is_word(&first) {
            return Some(Token::Sign(first));
        }
        let mut word = vec![first];
        while self.text.get(self.at).is_some_and(is_word) {
            word.extend(self.byte());
        }
        Some(Token::Word(word))
    }

    fn quoted(&mut self, quote: u8) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            match self.byte()? {
                b'\\' if quote != b'`' => text.push(match self.byte()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    b'Z' => 0x1a,
                    other => other,
                }),
                byte if byte == quote => {
                    // Twice is once within.
                    if self.text.get(self.at) != Some(&quote) {
                        return Some(text);
                    }
                    self.byte();
                    text.push(quote);
                }
                byte => text.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_to_an_end() {
        let dump = b"INSERT INTO `a_url` (`x`) VALUES ('a\\'b',1.5,-2,NULL),(_binary 'c''d'); /* x */ -- y\n";
        for end in 0..=dump.len() {
            for from in 0..end {
                tuples(&dump[from..end]);
            }
        }
        let rows = tuples(dump);
        let values: Vec<_> =
            rows.iter().map(|(_, _, values)| values.iter().collect::<Vec<_>>()).collect();
        assert_eq!(values, [vec![&b"a'b"[..], b"1.5", b"-2", b"NULL"], vec![b"c'd"]]);
    }

    #[test]
    fn dumps_are_known_by_their_beginning() {
        for dump in
            ["-- MySQL dump", "\n\n/*!40101 SET NAMES utf8 */;", "insert into x values (1);"]
        {
            assert!(is_dump(dump.as_bytes()), "{dump}");
        }
        for table in ["", "keyword,url", "\"a\";\"b\""] {
            assert!(!is_dump(table.as_bytes()), "{table}");
        }
    }
}
