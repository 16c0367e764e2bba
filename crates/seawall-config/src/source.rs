//! Where things stand in the text: byte spans, lines and columns, and excerpts to show.
//!
//! Never judges the text. [`crate::report`] turns spans into positions with it.

use std::ops::Range;

/// A range of bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

impl Span {
    /// The start of the file, for what the file lacks as a whole.
    pub(crate) const FILE: Span = Span { start: 0, end: 0 };
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Span { start: range.start, end: range.end }
    }
}

/// The text and where its lines begin.
pub(crate) struct Source<'t> {
    text: &'t str,
    lines: Vec<usize>,
}

/// A line as it can be shown, with the part that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The line without control characters, cut when it is long.
    pub(crate) line: String,
    /// Characters of `line` before the part.
    pub(crate) before: usize,
    /// Characters of the part; at least 1.
    pub(crate) marked: usize,
}

impl<'t> Source<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|&(_, b)| b == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Source { text, lines }
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// The line of a byte, from 0. A byte past the end is on the last line.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at).max(1) - 1
    }

    /// The first byte of a line.
    pub(crate) fn line_start(&self, line: usize) -> usize {
        self.lines.get(line).copied().unwrap_or(self.text.len())
    }

    /// The characters between two bytes, neither of which need be a character's first.
    pub(crate) fn characters(&self, from: usize, to: usize) -> usize {
        let to = to.min(self.text.len());
        let bytes = self.text.as_bytes().get(from..to).unwrap_or_default();
        bytes.iter().filter(|&&b| !is_continuation(b)).count()
    }

    /// The line of `span`'s start with the part of the span that lies on it.
    pub(crate) fn excerpt(&self, span: Span) -> Excerpt {
        let line = self.line_of(span.start);
        let start = self.line_start(line);
        let rest = &self.text[start..];
        let text = rest.split('\n').next().unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let from = self.boundary(span.start).clamp(start, start + text.len()) - start;
        let to = self.boundary(span.end).clamp(start + from, start + text.len()) - start;

        let head = &text[..from];
        let cut = head.char_indices().rev().nth(LEFT).map_or(0, |(at, _)| at);
        let mut shown = String::from(if cut > 0 { "…" } else { "" });
        shown.extend(head[cut..].chars().flat_map(visible));
        let before = shown.chars().count();
        shown.extend(text[from..to].chars().take(MARKED).flat_map(visible));
        let marked = (shown.chars().count() - before).max(1);
        if text[from..to].chars().nth(MARKED).is_none() {
            shown.extend(text[to..].chars().take(RIGHT).flat_map(visible));
        }
        Excerpt { line: shown.trim_end().to_owned(), before, marked }
    }

    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// A character as a terminal may show it: no control or direction-changing characters, so that a
/// file cannot rewrite the screen of who reads its problems.
pub(crate) fn visible(c: char) -> impl Iterator<Item = char> {
    let (shown, times) = match c {
        '\t' => (' ', 4),
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => ('\u{fffd}', 1),
        c if c.is_control() => ('\u{fffd}', 1),
        c => (c, 1),
    };
    std::iter::repeat_n(shown, times)
}

/// A value from the file for the middle of a sentence: in backquotes, visible, not too long.
pub(crate) fn quoted(value: &str) -> String {
    let mut shown: String = value.chars().take(QUOTED).flat_map(visible).collect();
    if value.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Characters of a long line shown before, in and after the part that matters.
const LEFT: usize = 100;
const MARKED: usize = 100;
const RIGHT: usize = 100;
/// Characters of a value shown in a message.
const QUOTED: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, span: Range<usize>) -> (String, usize, usize) {
        let excerpt = Source::new(text).excerpt(span.into());
        (excerpt.line, excerpt.before, excerpt.marked)
    }

    #[test]
    fn lines_are_found_at_their_edges() {
        let source = Source::new("a\nbc\n\nd");
        let lines: Vec<_> = (0..9).map(|at| source.line_of(at)).collect();
        assert_eq!(lines, [0, 0, 1, 1, 1, 2, 3, 3, 3]);
    }

    #[test]
    fn excerpts_mark_the_part_on_the_first_line() {
        assert_eq!(excerpt("a = 1\r\nb", 4..5), ("a = 1".into(), 4, 1));
        assert_eq!(excerpt("a = [\n1]", 4..8), ("a = [".into(), 4, 1));
        assert_eq!(excerpt("é = ü", 5..7), ("é = ü".into(), 4, 1));
        assert_eq!(excerpt("\ta = 1", 1..2), ("    a = 1".into(), 4, 1));
        assert_eq!(excerpt("", 0..0), (String::new(), 0, 1));
        assert_eq!(excerpt("ab", 9..12), ("ab".into(), 2, 1));
    }

    #[test]
    fn control_characters_are_never_shown() {
        assert_eq!(excerpt("a\u{1b}[2Jb\u{202e}", 0..1).0, "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(quoted("a\nb"), "`a\u{fffd}b`");
    }

    #[test]
    fn long_lines_are_cut_around_the_part() {
        let text = format!("{}X{}", "l".repeat(5000), "r".repeat(5000));
        let (line, before, marked) = excerpt(&text, 5000..5001);
        assert!(line.chars().count() <= LEFT + MARKED + RIGHT + 2, "{}", line.len());
        assert_eq!(line.chars().nth(before), Some('X'));
        assert_eq!(marked, 1);
        assert!(quoted(&text).chars().count() <= QUOTED + 3);
    }
}
