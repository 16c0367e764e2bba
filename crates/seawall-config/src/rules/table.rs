//! Sections as values of a key, in full or written short.

use toml::de::DeValue;

use crate::read::{Entries, Node, Reader, Rule, span_of};
use crate::section::Section;
use crate::shape::Shape;

/// A section that can be written short, as the value of one of its keys.
pub(crate) struct Short<T> {
    key: &'static str,
    title: &'static str,
    section: std::marker::PhantomData<T>,
}

impl<T: Section> Short<T> {
    /// `key` is what text stands for, `title` the section as its author knows it.
    pub(crate) const fn new(key: &'static str, title: &'static str) -> Self {
        let section = std::marker::PhantomData;
        Short { key, title, section }
    }
}

impl<T: Section> Rule for Short<T> {
    type Value = T;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
        let title = self.title.to_owned();
        let entries = match node.get_ref() {
            DeValue::Table(table) => Entries::of(title, span_of(node), table),
            DeValue::String(_) => Entries::single(title, self.key, node),
            other => {
                let expect = format!("text or a table for {title}");
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
