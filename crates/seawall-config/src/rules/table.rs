//! Sections as values of a key, in full or written short.

use toml::de::DeValue;

use super::number::Boolean;
use crate::read::{Entries, Node, Reader, Rule, span_of};
use crate::section::Section;
use crate::shape::Shape;

/// A section that can be written short, as the value of one of its keys.
pub(crate) struct Short<T> {
    key: &'static str,
    title: &'static str,
    /// What the short form is, when it is not text.
    number: bool,
    /// Whether all of its keys have defaults.
    empty: bool,
    section: std::marker::PhantomData<T>,
}

impl<T: Section> Short<T> {
    /// `key` is what text stands for, `title` the section as its author knows it.
    pub(crate) const fn new(key: &'static str, title: &'static str) -> Self {
        let section = std::marker::PhantomData;
        Short { key, title, number: false, empty: false, section }
    }

    /// The same with `key` as what a number stands for.
    pub(crate) const fn number(key: &'static str, title: &'static str) -> Self {
        let section = std::marker::PhantomData;
        Short { key, title, number: true, empty: false, section }
    }

    /// The same as [`Short::new`] of a section that may be empty.
    pub(crate) const fn empty(key: &'static str, title: &'static str) -> Self {
        let section = std::marker::PhantomData;
        Short { key, title, number: false, empty: true, section }
    }
}

impl<T: Section> Rule for Short<T> {
    type Value = T;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
        let title = self.title.to_owned();
        let entries = match node.get_ref() {
            DeValue::Table(table) => Entries::of(title, span_of(node), table),
            DeValue::Integer(_) if self.number => Entries::single(title, self.key, node),
            DeValue::String(raw) if !self.number || raw.contains("${") => {
                Entries::single(title, self.key, node)
            }
            DeValue::Boolean(on) if self.empty => {
                let message = format!("expected text or a table for {title}, found a boolean");
                let help = match on {
                    true => "write `{}` for its defaults".to_owned(),
                    false => format!("take {title} away"),
                };
                reader.report.error(span_of(node), message, Some(help));
                return None;
            }
            other => {
                let alone = if self.number { "an integer" } else { "text" };
                let expect = format!("{alone} or a table for {title}");
                reader.wrong_type(span_of(node), other, &expect);
                return None;
            }
        };
        T::read(entries, reader)
    }

    fn shape(&self) -> Shape {
        Shape::Short(self.key, T::shape())
    }
}

/// A section as an item of a list.
pub(crate) struct Table<T> {
    title: &'static str,
    section: std::marker::PhantomData<T>,
}

impl<T: Section> Table<T> {
    /// `title` is the section as its author knows it.
    pub(crate) const fn new(title: &'static str) -> Self {
        Table { title, section: std::marker::PhantomData }
    }
}

impl<T: Section> Rule for Table<T> {
    type Value = T;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
        let entries = Entries::within(self.title.to_owned(), node, reader)?;
        T::read(entries, reader)
    }

    fn shape(&self) -> Shape {
        Shape::Section(T::shape())
    }
}

/// A section of which all keys have defaults: `true` for these, `false` for `None`, or a table.
pub(crate) struct Switch<T> {
    title: &'static str,
    /// Whether it is on without the key.
    on: bool,
    section: std::marker::PhantomData<T>,
}

impl<T: Section> Switch<T> {
    /// `title` is the section as its author knows it.
    pub(crate) const fn new(title: &'static str) -> Self {
        Switch { title, on: false, section: std::marker::PhantomData }
    }

    /// The same of a section that holds without the key, too.
    pub(crate) const fn on(title: &'static str) -> Self {
        Switch { title, on: true, section: std::marker::PhantomData }
    }
}

impl<T: Section> Rule for Switch<T> {
    type Value = Option<T>;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Option<T>> {
        let (title, span) = (self.title.to_owned(), span_of(node));
        let word = if self.on { "`false`" } else { "`true`" };
        let entries = match node.get_ref() {
            DeValue::Table(table) => Entries::of(title, span, table),
            DeValue::String(raw) if !raw.contains("${") => {
                let expect = format!("{word} or a table for {title}");
                reader.wrong_type(span, node.get_ref(), &expect);
                return None;
            }
            DeValue::Boolean(_) | DeValue::String(_) => match Boolean.read(node, reader)? {
                true => Entries::absent(title, span),
                false => return Some(None),
            },
            other => {
                reader.wrong_type(span, other, &format!("{word} or a table for {title}"));
                return None;
            }
        };
        T::read(entries, reader).map(Some)
    }

    fn shape(&self) -> Shape {
        Shape::Switch(T::shape(), self.on)
    }
}
