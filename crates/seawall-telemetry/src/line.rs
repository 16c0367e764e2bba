//! A line of JSON in the making, written by hand into a buffer that stays. For what is written down
//! of each request: the access log and the events of reports.

use std::fmt::Display;
use std::io::Write;

use crate::json;

/// A line. It is whole only after [`Line::end`].
pub(crate) struct Line<'a>(&'a mut Vec<u8>);

impl<'a> Line<'a> {
    /// A line that begins with the time, as it is to stand there.
    pub(crate) fn begin(out: &'a mut Vec<u8>, time: impl Display) -> Line<'a> {
        // Writing to a vector cannot fail, here and below.
        let _ = write!(out, "{{\"time\":{time}");
        Line(out)
    }

    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A text, whatever it has in it.
    pub(crate) fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        json::string(value, self.0);
    }

    /// The text, if there is any.
    pub(crate) fn some(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// A text in two parts.
    pub(crate) fn joined(&mut self, name: &str, first: &[u8], second: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        json::escaped(first, self.0);
        json::escaped(second, self.0);
        self.0.push(b'"');
    }

    /// Something that needs no quotes.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        let _ = write!(self.0, "{value}");
    }

    /// Its end.
    pub(crate) fn end(self) {
        self.0.extend_from_slice(b"}\n");
    }
}
