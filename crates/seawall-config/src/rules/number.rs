//! Integers.

use toml::de::{DeInteger, DeValue};

use crate::read::{Node, Reader, Rule, Show, span_of};
use crate::shape::Shape;
use crate::source::quoted;

/// An integer within bounds. A string is taken too when it is made from the environment, which
/// has nothing but strings.
pub(crate) struct Integer(pub(crate) u64, pub(crate) u64);

impl Rule for Integer {
    type Value = u64;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<u64> {
        let Integer(min, max) = *self;
        let expect = format!("an integer from {} to {}", digits(min), digits(max));
        let (value, shown) = match node.get_ref() {
            DeValue::Integer(integer) => (value_of(integer), quoted(&integer.to_string())),
            DeValue::String(raw) if raw.contains("${") => {
                let text = reader.text(node, &expect)?;
                (text.value.trim().parse().ok(), text.shown())
            }
            other => {
                reader.wrong_type(span_of(node), other, &expect);
                return None;
            }
        };
        let good = value.filter(|value| (min..=max).contains(value));
        if good.is_none() {
            let message = format!("{shown} is not {expect}");
            reader.report.error(span_of(node), message, None);
        }
        good
    }

    fn shape(&self) -> Shape {
        Shape::Integer(self.0, self.1)
    }
}

impl Show for Integer {
    fn show(&self, value: &u64) -> String {
        digits(*value)
    }
}

/// One of a few integers.
pub(crate) struct Choice(pub(crate) &'static [u64]);

impl Rule for Choice {
    type Value = u64;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<u64> {
        let all: Vec<String> = self.0.iter().map(u64::to_string).collect();
        let expect = format!("one of {}", all.join(", "));
        let DeValue::Integer(integer) = node.get_ref() else {
            reader.wrong_type(span_of(node), node.get_ref(), &expect);
            return None;
        };
        let good = value_of(integer).filter(|value| self.0.contains(value));
        if good.is_none() {
            let message = format!("{} is not {expect}", quoted(&integer.to_string()));
            reader.report.error(span_of(node), message, None);
        }
        good
    }

    fn shape(&self) -> Shape {
        Shape::Choice(self.0)
    }
}

impl Show for Choice {
    fn show(&self, value: &u64) -> String {
        value.to_string()
    }
}

/// An integer as people write long ones, such as `100_000`.
pub(crate) fn digits(value: u64) -> String {
    let plain = value.to_string();
    if plain.len() <= 4 {
        return plain;
    }
    let mut out = String::new();
    for (index, digit) in plain.char_indices() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

fn value_of(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// `true` or `false`. A string is taken too when it is made from the environment.
pub(crate) struct Boolean;

impl Rule for Boolean {
    type Value = bool;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<bool> {
        let expect = "true or false";
        let (value, text) = match node.get_ref() {
            DeValue::Boolean(value) => return Some(*value),
            DeValue::String(raw) if raw.contains("${") => {
                let text = reader.text(node, expect)?;
                (text.value.trim().parse().ok(), text)
            }
            DeValue::String(raw) if matches!(&**raw, "true" | "false") => {
                let message = format!("expected {expect}, found text");
                let help = format!("write {raw} without quotes");
                reader.report.error(span_of(node), message, Some(help));
                return None;
            }
            other => {
                reader.wrong_type(span_of(node), other, expect);
                return None;
            }
        };
        if value.is_none() {
            let message = format!("{} is not {expect}", text.shown());
            reader.report.error(text.span, message, None);
        }
        value
    }

    fn shape(&self) -> Shape {
        Shape::Boolean
    }
}

impl Show for Boolean {
    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}
