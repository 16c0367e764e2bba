//! From the parsed TOML tree to typed values, collecting problems on the way.
//!
//! Knows tables, keys and spans; what the values mean is for the rules ([`crate::rules`]), which
//! keys there are for the sections ([`crate::config`]). Nothing here stops at the first problem.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::homes_of;
use crate::nearest::{hint, nearest};
use crate::report::Report;
use crate::section::ROOT;
use crate::shape::Shape;
use crate::source::{Span, quoted};
use crate::text::{Environment, Text};

/// A value in the tree with its place.
pub(crate) type Node<'t> = Spanned<DeValue<'t>>;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands; the section's header for a default.
    pub(crate) span: Span,
    /// Whether it is in the file, rather than a default.
    pub(crate) given: bool,
}

impl<T> At<T> {
    /// A value that is in the file.
    pub(crate) fn given(value: T, span: Span) -> Self {
        let given = true;
        At { value, span, given }
    }
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What a key that need not be there holds.
#[derive(Debug, Clone)]
pub(crate) enum Given<T> {
    /// The key is not there.
    Absent,
    /// It is there, and what is wrong with it has been reported.
    Unreadable,
    /// It is there.
    Value(At<T>),
}

impl<T> Given<T> {
    /// The value, if there is a readable one.
    pub(crate) fn value(&self) -> Option<&At<T>> {
        match self {
            Given::Value(at) => Some(at),
            Given::Absent | Given::Unreadable => None,
        }
    }

    /// Whether the key is there, readable or not.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Given::Absent)
    }
}

impl<T> Given<Vec<T>> {
    /// The items of a list; none when there is no readable list.
    pub(crate) fn items(&self) -> &[T] {
        self.value().map_or(&[], |at| &at.value)
    }
}

/// How the value of one key is read and described.
pub(crate) trait Rule {
    /// What it is read into.
    type Value;

    /// Reads it; reports what is wrong and returns `None` when it cannot.
    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self::Value>;

    /// What it looks like.
    fn shape(&self) -> Shape;
}

/// A rule whose values can be written down, for defaults in the reference.
pub(crate) trait Show: Rule {
    /// The value as it would stand in the file.
    fn show(&self, value: &Self::Value) -> String;
}

/// What reading needs besides the tree.
pub(crate) struct Reader<'a> {
    /// The environment.
    pub(crate) env: Environment<'a>,
    /// The problems so far.
    pub(crate) report: Report<'a>,
}

impl Reader<'_> {
    /// The node as text with variables replaced. `expect` says what it should be.
    pub(crate) fn text(&mut self, node: &Node<'_>, expect: &str) -> Option<Text> {
        let span = span_of(node);
        match node.get_ref() {
            DeValue::String(raw) => Text::read(raw, span, self.env, &mut self.report),
            other => {
                self.wrong_type(span, other, expect);
                None
            }
        }
    }

    /// What stands in the file at `span`, when it is short enough to be part of advice.
    pub(crate) fn written(&self, span: Span) -> Option<&str> {
        let written = self.report.text().get(span.start..span.end)?;
        (written.len() <= 40 && !written.contains('\n')).then_some(written)
    }

    /// Reports that a value has the wrong type.
    pub(crate) fn wrong_type(&mut self, span: Span, found: &DeValue<'_>, expect: &str) {
        let found = match found {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("expected {expect}, found {found}");
        self.report.error(span, message, None);
    }
}

/// The keys of one table that have not been read yet.
pub(crate) struct Entries<'n, 't> {
    /// The table as its author knows it, such as `[listen.web]`.
    title: String,
    span: Span,
    rest: Vec<(&'n str, Span, &'n Node<'t>)>,
}

impl<'n, 't> Entries<'n, 't> {
    /// A table that is not there.
    pub(crate) fn absent(title: String, span: Span) -> Self {
        let rest = Vec::new();
        Entries { title, span, rest }
    }

    /// A table with one key, for values that can be written short.
    pub(crate) fn single(title: String, key: &'static str, node: &'n Node<'t>) -> Self {
        let span = span_of(node);
        let rest = vec![(key, span, node)];
        Entries { title, span, rest }
    }

    /// The keys of `table`, in the order of the file.
    pub(crate) fn of(title: String, span: Span, table: &'n DeTable<'t>) -> Self {
        let entry = |(key, node): (&'n Spanned<_>, &'n Node<'t>)| {
            let name: &'n std::borrow::Cow<'t, str> = key.get_ref();
            (name.as_ref(), Span::from(key.span()), node)
        };
        let mut rest: Vec<_> = table.iter().map(entry).collect();
        rest.sort_by_key(|(_, span, _)| *span);
        Entries { title, span, rest }
    }

    /// The keys of the table that `node` must be.
    pub(crate) fn within(
        title: String,
        node: &'n Node<'t>,
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(table) => Some(Entries::of(title, span_of(node), table)),
            other => {
                let expect = format!("a table for {title}");
                reader.wrong_type(span_of(node), other, &expect);
                None
            }
        }
    }

    /// Where the table stands: its header, or all of it when it is inline.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The table as its author knows it.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// Takes the value of `key`, with the place of the key.
    pub(crate) fn take(&mut self, key: &str) -> Option<(Span, &'n Node<'t>)> {
        let at = self.rest.iter().position(|(name, ..)| *name == key)?;
        let (_, span, node) = self.rest.remove(at);
        Some((span, node))
    }

    /// All that is left, in the order of the file.
    pub(crate) fn take_all(&mut self) -> Vec<(&'n str, Span, &'n Node<'t>)> {
        std::mem::take(&mut self.rest)
    }

    /// A value that need not be there.
    pub(crate) fn optional<R: Rule>(
        &mut self,
        key: &str,
        rule: R,
        reader: &mut Reader<'_>,
    ) -> Given<R::Value> {
        let Some((_, node)) = self.take(key) else {
            return Given::Absent;
        };
        match rule.read(node, reader) {
            Some(value) => Given::Value(At::given(value, span_of(node))),
            None => Given::Unreadable,
        }
    }

    /// A value that must be there.
    pub(crate) fn required<R: Rule>(
        &mut self,
        key: &str,
        rule: R,
        reader: &mut Reader<'_>,
    ) -> Option<At<R::Value>> {
        let example = example(&rule.shape());
        match self.optional(key, rule, reader) {
            Given::Value(at) => Some(at),
            Given::Unreadable => None,
            Given::Absent => {
                let message = format!("{} has no `{key}`", self.title);
                let help = example.map(|example| format!("add `{key} = {example}`"));
                reader.report.missing(self.span, message, help);
                None
            }
        }
    }

    /// A value with a default, which also stands in for one that cannot be read.
    pub(crate) fn default<R: Rule>(
        &mut self,
        key: &str,
        rule: R,
        default: R::Value,
        reader: &mut Reader<'_>,
    ) -> At<R::Value> {
        let given = self.optional(key, rule, reader);
        match given {
            Given::Value(at) => at,
            other => At { value: default, span: self.span, given: other.is_there() },
        }
    }

    /// Reports every key that nobody took.
    pub(crate) fn finish(&mut self, known: &[&'static str], reader: &mut Reader<'_>) {
        for (key, span, node) in self.take_all() {
            if reader.report.is_full() {
                reader.report.error(span, "", None);
                continue;
            }
            let shown = quoted(key);
            let is_section = matches!(node.get_ref(), DeValue::Table(_) | DeValue::Array(_));
            let message = match self.title.as_str() {
                ROOT if is_section => format!("unknown section {shown}"),
                ROOT => format!("unknown key {shown} outside of any section"),
                title => format!("unknown key {shown} in {title}"),
            };
            let homes = match nearest(key, known.iter().copied()) {
                Some(_) => String::new(),
                None => homes_of(key),
            };
            let help = match homes.is_empty() {
                true => hint(key, known, "there are"),
                false => Some(format!("`{key}` belongs in {homes}")),
            };
            match self.title.as_str() {
                // The header of its section may be broken.
                ROOT => reader.report.missing(span, message, help),
                _ => reader.report.error(span, message, help),
            }
        }
    }
}

/// The place of a node.
pub(crate) fn span_of(node: &Node<'_>) -> Span {
    node.span().into()
}

/// A value of this shape as it could stand in the file.
fn example(shape: &Shape) -> Option<String> {
    match shape {
        Shape::Text { example, .. } => Some(format!("\"{example}\"")),
        Shape::Word(words) => words.first().map(|word| format!("\"{word}\"")),
        Shape::List { item, .. } => Some(format!("[{}]", example(item)?)),
        Shape::Short(key, section) => {
            let field = section.fields.iter().find(|field| field.key == *key)?;
            example(&field.shape)
        }
        _ => None,
    }
}
