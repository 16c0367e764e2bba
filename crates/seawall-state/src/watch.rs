//! Values that follow a key of the shared state: read by every request, written by one task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::VALUE_LIMIT;

/// What the state holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nobody could be asked yet. Once a value is known it stays so while the state is away.
    Unknown,
    /// Nothing, an empty text, one of more than [`VALUE_LIMIT`] bytes, or not text at all.
    Absent,
    /// This.
    Text(Arc<str>),
}

impl Value {
    pub(crate) fn of(bytes: &[u8]) -> Value {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() && text.len() <= VALUE_LIMIT => Value::Text(text.into()),
            _ => Value::Absent,
        }
    }
}

/// A value that follows its key while this or a clone of it lives.
#[derive(Debug, Clone)]
pub struct Watched(pub(crate) Arc<ArcSwap<Value>>);

impl Watched {
    /// The value now; without a lock.
    pub fn value(&self) -> Arc<Value> {
        self.0.load_full()
    }
}

/// All values that are followed.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<Box<str>, Arc<ArcSwap<Value>>>>);

impl Board {
    pub(crate) fn watch(&self, key: &str, first: Value) -> Watched {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = all.entry(key.into()).or_insert_with(|| Arc::new(ArcSwap::from_pointee(first)));
        Watched(value.clone())
    }

    /// The keys that somebody still follows.
    pub(crate) fn keys(&self) -> Vec<Box<str>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, value| Arc::strong_count(value) > 1);
        all.keys().cloned().collect()
    }

    pub(crate) fn set(&self, key: &str, value: Value) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.get(key).filter(|place| **place.load() != value) {
            place.store(Arc::new(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_text_is_a_value() {
        for (bytes, expect) in [
            (&b"v2"[..], Value::Text("v2".into())),
            (b"", Value::Absent),
            (b"\xff", Value::Absent),
            (&[b'x'; VALUE_LIMIT], Value::Text("x".repeat(VALUE_LIMIT).into())),
            (&[b'x'; VALUE_LIMIT + 1], Value::Absent),
        ] {
            assert_eq!(Value::of(bytes), expect);
        }
    }

    #[test]
    fn what_nobody_follows_is_forgotten() {
        let board = Board::default();
        let a = board.watch("a", Value::Unknown);
        drop(board.watch("b", Value::Unknown));
        assert_eq!(board.keys(), [Box::from("a")]);
        board.set("a", Value::Absent);
        assert_eq!(*a.value(), Value::Absent);
    }
}
