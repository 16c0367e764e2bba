//! What the file may look like, as data: the source of the reference page and the JSON Schema.
//!
//! Made by the same declarations that read the file ([`crate::section`]), so that neither can say
//! anything else than the other.

use std::time::Duration;

/// What a value looks like.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// Text with rules of its own.
    Text {
        /// What it is, in two or three words.
        kind: &'static str,
        /// A value as it stands in the file.
        example: &'static str,
        /// What else must hold, in words; may be empty.
        limits: &'static str,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these numbers.
    Choice(&'static [u64]),
    /// An integer within these bounds.
    Integer(u64, u64),
    /// A duration within these bounds.
    Duration(Duration, Duration),
    /// A number of bytes within these bounds.
    Size(u64, u64),
    /// A share of something, in thousandths, within these bounds.
    Percent(u32, u32),
    /// How often something may happen, in thousandths per second, within these bounds.
    Rate(u32, u32),
    /// `true` or `false`.
    Boolean,
    /// A list.
    List {
        /// Each of its items.
        item: Box<Shape>,
        /// Fewest items.
        min: usize,
        /// Most items.
        max: usize,
    },
    /// A list, or its only item.
    OneOrMany {
        /// Each of its items.
        item: Box<Shape>,
        /// Most items.
        max: usize,
    },
    /// A table whose keys are the user's.
    Map {
        /// What the keys are.
        keys: &'static str,
        /// Each of its values.
        value: Box<Shape>,
        /// Most entries.
        max: usize,
    },
    /// A table with keys of ours.
    Section(SectionShape),
    /// A value that stands for a table with this one key, or that table.
    Short(&'static str, SectionShape),
    /// `true` for a table without keys, `false` for none, or that table; and whether the former is
    /// the default.
    Switch(SectionShape, bool),
    /// Any of these.
    Either(Vec<Shape>),
}

/// A table with keys of ours.
#[derive(Debug, Clone)]
pub(crate) struct SectionShape {
    /// What it is for.
    pub(crate) doc: String,
    /// Its keys.
    pub(crate) fields: Vec<FieldShape>,
}

/// A key of a section.
#[derive(Debug, Clone)]
pub(crate) struct FieldShape {
    /// The key.
    pub(crate) key: &'static str,
    /// What it means.
    pub(crate) doc: String,
    /// What its value looks like.
    pub(crate) shape: Shape,
    /// Whether it must be there.
    pub(crate) presence: Presence,
}

/// Whether a key must be there.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    /// It must.
    Required,
    /// It need not, and nothing stands in for it.
    Optional,
    /// It need not, and this stands in for it, as it would be written in the file.
    Default(String),
    /// Tables named by the user: `[key.NAME]`.
    Named,
    /// Tables in order: `[[key]]`.
    Each,
}

/// The lines of a doc comment as one paragraph.
pub(crate) fn paragraph(lines: &[&str]) -> String {
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    trimmed.join(" ").trim().to_owned()
}
