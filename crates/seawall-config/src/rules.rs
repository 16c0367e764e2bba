//! The rules for values: numbers and values with units within bounds, words, lists, maps, sections,
//! and text that has a parser of its own.
//!
//! A rule reads one value and describes it; it knows nothing of the key it is for.

mod number;
mod password;
mod table;
mod unit;

pub(crate) use number::{Boolean, Choice, Integer, digits};
pub(crate) use password::Password;
pub(crate) use table::{Short, Switch, Table};
pub(crate) use unit::{Percent, Rate, Size, Time};

use std::ops::Range;

use toml::de::DeValue;

use crate::nearest::hint;
use crate::read::{At, Entries, Node, Reader, Rule, Show, span_of};
use crate::shape::Shape;
use crate::source::{Span, quoted};
use crate::text::Text;

/// One of a few words, each with what it means.
pub(crate) struct Word<T: 'static> {
    /// The words.
    pub(crate) words: &'static [&'static str],
    /// Their meanings, in the same order.
    pub(crate) values: &'static [T],
}

impl<T: Clone + PartialEq> Rule for Word<T> {
    type Value = T;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
        let all: Vec<String> = self.words.iter().map(|word| format!("\"{word}\"")).collect();
        let expect = format!("one of {}", all.join(", "));
        let text = reader.text(node, &expect)?;
        let found = self.words.iter().position(|word| *word == text.value);
        if found.is_none() {
            let message = format!("{} is not {expect}", text.shown());
            let help = hint(&text.value, self.words, "write one of")
                .filter(|_| !text.is_from_environment());
            reader.report.error(text.span, message, help);
        }
        found.and_then(|at| self.values.get(at).cloned())
    }

    fn shape(&self) -> Shape {
        Shape::Word(self.words)
    }
}

impl<T: Clone + PartialEq> Show for Word<T> {
    fn show(&self, value: &T) -> String {
        let found = self.values.iter().position(|known| known == value);
        let word = found.and_then(|at| self.words.get(at));
        format!("\"{}\"", word.copied().unwrap_or_default())
    }
}

/// What is wrong with a part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The part, in bytes of the value.
    pub(crate) range: Range<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) help: Option<String>,
}

impl Fault {
    /// A fault of the whole text.
    pub(crate) fn whole(text: &Text, message: String, help: impl Into<String>) -> Fault {
        Fault { range: 0..text.value.len(), message, help: Some(help.into()) }
    }

    /// A fault of a part of it.
    pub(crate) fn part(range: Range<usize>, message: String, help: impl Into<String>) -> Fault {
        Fault { range, message, help: Some(help.into()) }
    }
}

/// Text with a parser of its own.
pub(crate) struct Parsed<T> {
    /// What it is, in two or three words with an article.
    pub(crate) kind: &'static str,
    /// A value as it stands in the file.
    pub(crate) example: &'static str,
    /// What else must hold, in words.
    pub(crate) limits: &'static str,
    /// Reads it.
    pub(crate) parse: fn(&Text) -> Result<T, Fault>,
}

impl<T> Rule for Parsed<T> {
    type Value = T;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
        let expect = match self.example {
            "" => self.kind.to_owned(),
            example => format!("{} such as \"{example}\"", self.kind),
        };
        let scalar =
            !matches!(node.get_ref(), DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_));
        if let (true, Some(written)) = (scalar, reader.written(span_of(node))) {
            // A value without quotes: say what would be wrong with them on, too.
            let quoted = Text::unquoted(written, span_of(node));
            let (message, help) = match (self.parse)(&quoted) {
                Ok(_) => (
                    format!("expected {expect}, in quotes"),
                    Some(format!("put it in quotes: \"{written}\"")),
                ),
                Err(fault) => (fault.message, fault.help),
            };
            reader.report.error(quoted.span, message, help);
            return None;
        }
        let text = reader.text(node, &expect)?;
        match (self.parse)(&text) {
            Ok(value) => Some(value),
            Err(fault) => {
                let whole = fault.range == (0..text.value.len());
                let span = if whole { text.span } else { text.part(fault.range) };
                reader.report.error(span, fault.message, fault.help);
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape::Text { kind: self.kind, example: self.example, limits: self.limits }
    }
}

/// A list with this rule for each item, and so many of them.
pub(crate) struct List<R>(pub(crate) R, pub(crate) usize, pub(crate) usize);

impl<R: Rule> Rule for List<R> {
    type Value = Vec<At<R::Value>>;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let List(rule, min, max) = self;
        let DeValue::Array(array) = node.get_ref() else {
            let span = span_of(node);
            match (node.get_ref(), reader.written(span)) {
                (DeValue::String(_), Some(written)) => {
                    let help = format!("write [{written}]");
                    reader.report.error(span, "expected a list, found text", Some(help));
                }
                (other, _) => reader.wrong_type(span, other, "a list"),
            }
            return None;
        };
        read_items(rule, array, span_of(node), *min, *max, reader)
    }

    fn shape(&self) -> Shape {
        Shape::List { item: Box::new(self.0.shape()), min: self.1, max: self.2 }
    }
}

/// The items of a list that stands at `span`.
fn read_items<R: Rule>(
    rule: &R,
    items: &[Node<'_>],
    span: Span,
    min: usize,
    max: usize,
    reader: &mut Reader<'_>,
) -> Option<Vec<At<R::Value>>> {
    let count = items.len();
    if count < min || count > max {
        let message = match count {
            0 => "this list is empty".to_owned(),
            _ => format!("this list has {count} items; at most {max} are allowed"),
        };
        let help = (count == 0).then(|| "put at least one item into it".to_owned());
        reader.report.error(span, message, help);
        return None;
    }
    let mut all = Some(Vec::with_capacity(count));
    for node in items {
        // Go on after a bad item, for the problems of the others.
        match (rule.read(node, reader), &mut all) {
            (Some(value), Some(all)) => all.push(At::given(value, span_of(node))),
            (Some(_), None) => {}
            (None, _) => all = None,
        }
    }
    all
}

/// A list with this rule for each item, at least one and at most so many; or its only item
/// without a list.
pub(crate) struct OneOrMany<R>(pub(crate) R, pub(crate) usize);

impl<R: Rule> Rule for OneOrMany<R> {
    type Value = Vec<At<R::Value>>;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let OneOrMany(rule, max) = self;
        let items = match node.get_ref() {
            DeValue::Array(array) => &array[..],
            _ => std::slice::from_ref(node),
        };
        read_items(rule, items, span_of(node), 1, *max, reader)
    }

    fn shape(&self) -> Shape {
        Shape::OneOrMany { item: Box::new(self.0.shape()), max: self.1 }
    }
}

/// What a [`Map`] is read into: keys and values in the order of the file.
pub(crate) type Pairs<K, V> = Vec<(At<K>, At<V>)>;

/// A table whose keys are the user's, with a rule for its values.
pub(crate) struct Map<R, K> {
    /// What the keys are, for the reference.
    pub(crate) keys: &'static str,
    /// Reads a key. Keys are never replaced from the environment.
    pub(crate) key: fn(&str) -> Result<K, (String, String)>,
    /// For each value.
    pub(crate) value: R,
    /// Most entries.
    pub(crate) max: usize,
}

impl<R: Rule, K: PartialEq> Rule for Map<R, K> {
    type Value = Pairs<K, R::Value>;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let title = format!("a table of {}", self.keys);
        let mut entries = match node.get_ref() {
            DeValue::Table(table) => Entries::of(title, span_of(node), table).take_all(),
            other => {
                reader.wrong_type(span_of(node), other, &title);
                return None;
            }
        };
        if entries.len() > self.max {
            let message = format!("{} entries; at most {} are allowed", entries.len(), self.max);
            reader.report.error(span_of(node), message, None);
            entries.truncate(self.max);
        }
        let (mut all, mut good): (Self::Value, bool) = (Vec::with_capacity(entries.len()), true);
        for (name, span, node) in entries {
            let key = self.read_key(name, span, reader);
            let value = self.value.read(node, reader);
            let (Some(key), Some(value)) = (key, value) else {
                good = false;
                continue;
            };
            if all.iter().any(|(known, _)| known.value == key) {
                let message = format!("{} is there twice", quoted(name));
                let help = "upper and lower case make no difference here; keep one of the two";
                reader.report.error(span, message, Some(help.to_owned()));
                good = false;
                continue;
            }
            all.push((At::given(key, span), At::given(value, span_of(node))));
        }
        good.then_some(all)
    }

    fn shape(&self) -> Shape {
        Shape::Map { keys: self.keys, value: Box::new(self.value.shape()), max: self.max }
    }
}

impl<R: Rule, K> Map<R, K> {
    fn read_key(&self, name: &str, span: Span, reader: &mut Reader<'_>) -> Option<K> {
        match (self.key)(name) {
            Ok(key) => Some(key),
            Err((message, help)) => {
                reader.report.error(span, message, Some(help));
                None
            }
        }
    }
}
