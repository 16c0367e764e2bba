//! Passwords and other secrets.

use crate::plan::Secret;
use crate::read::{Node, Reader, Rule};
use crate::shape::Shape;

/// A secret of at least so many bytes. No message shows it or a part of it.
pub(crate) struct Password {
    /// How messages call it.
    pub(crate) what: &'static str,
    /// Fewest bytes.
    pub(crate) least: usize,
    /// Whether it is sent in a header field, and so must be visible ASCII.
    pub(crate) printable: bool,
    /// Whether it may have spaces inside all the same.
    pub(crate) spaced: bool,
    /// How it is written in the file.
    pub(crate) example: &'static str,
    /// What must hold, in words.
    pub(crate) limits: &'static str,
}

impl Rule for Password {
    type Value = Secret;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Secret> {
        let text = reader.text(node, "text")?;
        let (what, length) = (self.what, text.value.len());
        let printable = |byte: u8| byte.is_ascii_graphic() || self.spaced && byte == b' ';
        let (message, help) = if self.printable && !text.value.bytes().all(printable) {
            (
                format!("{what} has characters other than visible ASCII"),
                "it is sent in a header field: use letters, digits and punctuation",
            )
        } else if length < self.least {
            (
                format!("{what} has {length} bytes; at least {} are needed", self.least),
                "make one with `openssl rand -hex 32`",
            )
        } else if self.spaced && text.value.trim_matches(' ').len() < length {
            (
                format!("{what} begins or ends with a space"),
                "a variable may be empty; take the space away, which is no part of a field",
            )
        } else {
            return Some(Secret::new(text.value));
        };
        reader.report.error(text.span, message, Some(help.to_owned()));
        None
    }

    fn shape(&self) -> Shape {
        Shape::Text { kind: "a password", example: self.example, limits: self.limits }
    }
}
