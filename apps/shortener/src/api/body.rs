//! Bodies of requests: their type, their size, and their fields with everything that is wrong with
//! them, so that a request is told all of it at once.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::json;
use crate::problem::{Invalid, Problem};

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Fields that nobody asked for of which it is told, of one object.
const MOST_UNKNOWN: usize = 20;

/// The JSON of a request.
#[derive(Debug)]
pub(super) struct Json(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json, Problem> {
        check_type(request.headers())?;
        let bytes = read(request, state).await?;
        json::parse(&bytes).map(Json)
    }
}

/// The whole body of a request, within the limits of its route.
pub(super) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let read = timeout(ARRIVAL, Bytes::from_request(request, state)).await;
    let read = read.map_err(|_| Problem::TooSlow)?;
    read.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge,
        _ => Problem::NotJson("it ended early".to_owned()),
    })
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    const WANTED: Problem = Problem::UnsupportedType("`application/json`, without a coding");
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let fits = ["application/json", "application/merge-patch+json"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known));
    let is_one = headers.get_all(header::CONTENT_TYPE).iter().nth(1).is_none();
    let coding = text(header::CONTENT_ENCODING).trim();
    let plain = coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    if fits && is_one && plain { Ok(()) } else { Err(WANTED) }
}

/// A field of an object: absent, `null`, or a value. One that is wrong is reported and absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field<T> {
    Absent,
    Null,
    Is(T),
}

impl<T> Field<T> {
    /// For a new thing, `null` is as good as nothing.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Field::Is(value) => Some(value),
            Field::Absent | Field::Null => None,
        }
    }

    /// For a change: `None` leaves, `Some(None)` takes away.
    pub(super) fn change(self) -> Option<Option<T>> {
        match self {
            Field::Is(value) => Some(Some(value)),
            Field::Null => Some(None),
            Field::Absent => None,
        }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Is(value) => Field::Is(change(value)),
            Field::Null => Field::Null,
            Field::Absent => Field::Absent,
        }
    }
}

/// The fields of an object, taken one by one. What is left over at the end is unknown.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    left: Map<String, Value>,
    pointer: String,
    invalid: &'a mut Vec<Invalid>,
}

impl<'a> Fields<'a> {
    /// The object at `pointer`; reported if it is none.
    pub(super) fn of(
        value: Value,
        pointer: impl Into<String>,
        invalid: &'a mut Vec<Invalid>,
    ) -> Option<Fields<'a>> {
        let pointer = pointer.into();
        match value {
            Value::Object(left) => Some(Fields { left, pointer, invalid }),
            _ => {
                invalid.push(Invalid::at(pointer, "type", "an object is wanted here"));
                None
            }
        }
    }

    /// Reports what is wrong with a field.
    pub(super) fn wrong(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.invalid.push(Invalid::at(self.pointer_of(name), code, detail));
    }

    /// Reports what is wrong with an element of a list.
    pub(super) fn wrong_within(
        &mut self,
        name: &str,
        index: usize,
        code: &'static str,
        detail: impl Into<String>,
    ) {
        self.invalid.push(Invalid::at(format!("{}/{index}", self.pointer_of(name)), code, detail));
    }

    /// The pointer to a field (RFC 6901).
    pub(super) fn pointer_of(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }

    /// Where everything that is wrong is reported.
    pub(super) fn invalid(&mut self) -> &mut Vec<Invalid> {
        self.invalid
    }

    /// Whether there is such a field, good or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// A field as it is.
    pub(super) fn take(&mut self, name: &str) -> Field<Value> {
        match self.left.remove(name) {
            None => Field::Absent,
            Some(Value::Null) => Field::Null,
            Some(value) => Field::Is(value),
        }
    }

    /// A text of at most `longest` characters, none of them a control character.
    pub(super) fn text(&mut self, name: &str, longest: usize) -> Field<String> {
        self.typed(name, "a string is wanted here", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
        .and_check(|text| match check_text(&text, longest) {
            None => Some(text),
            Some((code, detail)) => {
                self.wrong(name, code, detail);
                None
            }
        })
    }

    /// Whether something is so.
    pub(super) fn flag(&mut self, name: &str) -> Field<bool> {
        self.typed(name, "true or false is wanted here", |value| value.as_bool())
    }

    /// A whole number. `1.0` is one (JSON has one kind of numbers).
    pub(super) fn number(&mut self, name: &str, least: i64, most: i64) -> Field<i64> {
        self.typed(name, "a whole number is wanted here", |value| whole(&value)).and_check(
            |number| {
                let fits = (least..=most).contains(&number);
                if !fits {
                    self.wrong(name, "range", format!("between {least} and {most}"));
                }
                fits.then_some(number)
            },
        )
    }

    /// A list.
    pub(super) fn list(&mut self, name: &str) -> Field<Vec<Value>> {
        self.typed(name, "a list is wanted here", |value| match value {
            Value::Array(list) => Some(list),
            _ => None,
        })
    }

    /// Reports fields that nobody asked for, the first of them if there are many.
    pub(super) fn finish(mut self) {
        for (name, _) in std::mem::take(&mut self.left).into_iter().take(MOST_UNKNOWN) {
            // Of a name that is not ours only so much that it is recognised.
            let name: String = name.chars().take(64).collect();
            self.wrong(&name, "unknown", format!("there is no field `{name}`"));
        }
    }

    fn typed<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Field<T> {
        self.take(name).and_check(|value| {
            let value = read(value);
            if value.is_none() {
                self.wrong(name, "type", wanted);
            }
            value
        })
    }
}

impl<T> Field<T> {
    /// Goes on with what `check` makes of a value; absent when it makes nothing of it.
    pub(super) fn and_check<U>(self, check: impl FnOnce(T) -> Option<U>) -> Field<U> {
        match self {
            Field::Is(value) => check(value).map_or(Field::Absent, Field::Is),
            Field::Null => Field::Null,
            Field::Absent => Field::Absent,
        }
    }
}

/// What is wrong with a text, if anything: its length in characters, or control characters.
pub(super) fn check_text(text: &str, longest: usize) -> Option<(&'static str, String)> {
    if text.chars().nth(longest).is_some() {
        return Some(("too-long", format!("at most {longest} characters")));
    }
    let has_controls = text.chars().any(char::is_control);
    has_controls.then(|| ("character", "no control characters".to_owned()))
}

fn whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    // Beyond 2^53 a float does not say which whole number it means.
    let float = value.as_f64()?;
    let is_whole = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within the range")]
    is_whole.then_some(float as i64)
}
