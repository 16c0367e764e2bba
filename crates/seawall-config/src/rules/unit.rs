//! Values with a unit: durations, sizes, shares and rates within bounds.

use std::time::Duration;

use toml::de::DeValue;

use crate::read::{Node, Reader, Rule, Show, span_of};
use crate::shape::Shape;
use crate::text::Text;
use crate::units::{self, show_duration, show_percent, show_rate, show_size};

/// A duration within bounds.
pub(crate) struct Time(pub(crate) Duration, pub(crate) Duration);

impl Rule for Time {
    type Value = Duration;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
        let unitless = "a number needs a unit; write for example \"10s\"";
        let (text, value) =
            with_unit(node, reader, "a duration such as \"10s\"", unitless, units::duration)?;
        let Time(min, max) = *self;
        if !(min..=max).contains(&value) {
            let (min, max) = (show_duration(min), show_duration(max));
            let message = format!("{} is not from {min} to {max}", text.shown());
            reader.report.error(text.span, message, None);
            return None;
        }
        Some(value)
    }

    fn shape(&self) -> Shape {
        Shape::Duration(self.0, self.1)
    }
}

impl Show for Time {
    fn show(&self, value: &Duration) -> String {
        format!("\"{}\"", show_duration(*value))
    }
}

/// A number of bytes within bounds.
pub(crate) struct Size(pub(crate) u64, pub(crate) u64);

impl Rule for Size {
    type Value = u64;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<u64> {
        let unitless = "a number needs a unit; write for example \"32KiB\" or \"512B\"";
        let (text, value) =
            with_unit(node, reader, "a size such as \"32KiB\"", unitless, units::size)?;
        let Size(min, max) = *self;
        if !(min..=max).contains(&value) {
            let (min, max) = (show_size(min), show_size(max));
            let message = format!("{} is not from {min} to {max}", text.shown());
            reader.report.error(text.span, message, None);
            return None;
        }
        Some(value)
    }

    fn shape(&self) -> Shape {
        Shape::Size(self.0, self.1)
    }
}

impl Show for Size {
    fn show(&self, value: &u64) -> String {
        format!("\"{}\"", show_size(*value))
    }
}

/// A share of something, in thousandths, within bounds.
pub(crate) struct Percent(pub(crate) u32, pub(crate) u32);

impl Rule for Percent {
    type Value = u32;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<u32> {
        let unitless = "a share needs its sign; write for example \"50%\"";
        let (text, value) =
            with_unit(node, reader, "a share such as \"50%\"", unitless, units::percent)?;
        let Percent(min, max) = *self;
        if !(min..=max).contains(&value) {
            let (min, max) = (show_percent(min), show_percent(max));
            let message = format!("{} is not from {min} to {max}", text.shown());
            reader.report.error(text.span, message, None);
            return None;
        }
        Some(value)
    }

    fn shape(&self) -> Shape {
        Shape::Percent(self.0, self.1)
    }
}

impl Show for Percent {
    fn show(&self, value: &u32) -> String {
        format!("\"{}\"", show_percent(*value))
    }
}

/// How often something may happen, in thousandths per second, within bounds.
pub(crate) struct Rate(pub(crate) u32, pub(crate) u32);

impl Rule for Rate {
    type Value = u32;

    fn read(&self, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<u32> {
        let unitless = "a number needs a unit; write for example \"10/s\"";
        let (text, value) =
            with_unit(node, reader, "a rate such as \"10/s\"", unitless, units::rate)?;
        let Rate(min, max) = *self;
        if !(min..=max).contains(&value) {
            let (min, max) = (show_rate(min), show_rate(max));
            let message = format!("{} is not from {min} to {max}", text.shown());
            reader.report.error(text.span, message, None);
            return None;
        }
        Some(value)
    }

    fn shape(&self) -> Shape {
        Shape::Rate(self.0, self.1)
    }
}

impl Show for Rate {
    fn show(&self, value: &u32) -> String {
        format!("\"{}\"", show_rate(*value))
    }
}

fn with_unit<T>(
    node: &Node<'_>,
    reader: &mut Reader<'_>,
    expect: &str,
    unitless: &str,
    parse: fn(&str) -> Result<T, units::UnitError>,
) -> Option<(Text, T)> {
    if let DeValue::Integer(_) | DeValue::Float(_) = node.get_ref() {
        let message = format!("expected {expect}, found a number");
        reader.report.error(span_of(node), message, Some(unitless.to_owned()));
        return None;
    }
    let text = reader.text(node, expect)?;
    match parse(&text.value) {
        Ok(value) => Some((text, value)),
        Err(error) => {
            let message = format!("{} {}", text.shown(), error.reason);
            let help = (!text.is_from_environment()).then_some(error.help);
            reader.report.error(text.span, message, help);
            None
        }
    }
}
