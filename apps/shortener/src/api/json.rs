//! JSON of bounded size in memory: a value of two bytes takes sixteen times as many, so that a body
//! within its limit could take hundreds of megabytes.
//!
//! Pure. Called by `api/body.rs`.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Values of a body at most, those within lists and objects among them: more than twice as many as a
/// thousand links have.
const MOST_VALUES: usize = 100_000;

/// The value that a body is.
///
/// # Errors
/// `NotJson`, with what the parser says; `TooLarge` beyond [`MOST_VALUES`].
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let left = Cell::new(MOST_VALUES);
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Bounded(&left).deserialize(&mut parser);
    value.and_then(|value| parser.end().map(|()| value)).map_err(|error| match left.get() {
        0 => Problem::TooLarge,
        _ => Problem::NotJson(error.to_string()),
    })
}

/// Reads a value, as long as there may be more of them.
struct Bounded<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Value, D::Error> {
        let left = self.0.get().saturating_sub(1);
        self.0.set(left);
        match left {
            0 => Err(D::Error::custom("too many values")),
            _ => parser.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Bounded(self.0))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            // Of two, one parser takes the first and another the last.
            if fields.contains_key(&name) {
                return Err(A::Error::custom("an object names a field twice"));
            }
            fields.insert(name, object.next_value_seed(Bounded(self.0))?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn more_values_than_there_may_be_are_refused() {
        let lists = |count: usize| format!("{{\"links\":[{}0]}}", "0,".repeat(count));
        assert!(parse(lists(MOST_VALUES - 4).as_bytes()).is_ok());
        for body in [
            lists(MOST_VALUES),
            format!("[{}0]", "[],".repeat(MOST_VALUES)),
            format!("[{}0]", "{\"a\":0},".repeat(MOST_VALUES / 2)),
        ] {
            assert_eq!(parse(body.as_bytes()), Err(Problem::TooLarge));
        }
    }

    #[test]
    fn what_is_not_json_is_told() {
        for body in [
            "",
            "{",
            "{} {}",
            "[1,]",
            "{\"a\":}",
            "{\"a\":0,\"b\":1,\"a\":0}",
            "nul",
            "\"\\ud800\"",
            "\u{feff}{}",
        ] {
            assert!(matches!(parse(body.as_bytes()), Err(Problem::NotJson(_))), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes()), Err(Problem::NotJson(_))));
    }

    proptest! {
        #[test]
        fn values_are_read_as_serde_reads_them(text in "[\\[\\]{}:,\"a-c0-9.eE+ \\\\untrfl-]{0,40}") {
            let (ours, theirs) = (parse(text.as_bytes()).ok(), serde_json::from_str(&text).ok());
            // They take a field that is there twice.
            prop_assert!(ours == theirs || (ours.is_none() && text.contains(',')), "{text}");
        }
    }
}
