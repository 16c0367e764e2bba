//! What came of an idempotent creation, as text: kept in the database and given again when the
//! same is asked for again.

use serde::{Deserialize, Serialize};

use super::{Created, StoreError, Taken, patch};
use crate::link::{Code, Link, Millis};

/// The text of what came of it.
pub(super) fn write(created: &Created) -> String {
    let records: Vec<Record> = created.iter().map(Record::of).collect();
    serde_json::to_string(&records).expect("texts and numbers always make JSON")
}

/// What came of it, of its text.
pub(super) fn read(text: &str) -> Result<Created, StoreError> {
    let records: Vec<Record> = serde_json::from_str(text)
        .map_err(|error| StoreError::corrupt(format_args!("a stored answer: {error}")))?;
    records.into_iter().map(Record::back).collect()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Record {
    Taken(Code),
    Made(Box<Made>),
}

#[derive(Serialize, Deserialize)]
struct Made {
    code: Code,
    target: Box<str>,
    status: i64,
    #[serde(default)]
    forward_query: bool,
    expires: Option<Millis>,
    clicks_left: Option<i64>,
    password: Option<Box<str>>,
    disabled: bool,
    title: Option<Box<str>>,
    tags: Vec<Box<str>>,
    created: Millis,
    updated: Millis,
    version: i64,
    owner: i64,
}

impl Record {
    fn of(result: &Result<Link, Taken>) -> Record {
        match result.clone() {
            Err(Taken(code)) => Record::Taken(code),
            Ok(link) => Record::Made(Box::new(Made {
                code: link.code,
                target: link.target,
                status: link.redirect.status().into(),
                forward_query: link.forward_query,
                expires: link.expires,
                clicks_left: link.clicks_left,
                password: link.password,
                disabled: link.disabled,
                title: link.title,
                tags: link.tags,
                created: link.created,
                updated: link.updated,
                version: link.version,
                owner: link.owner,
            })),
        }
    }

    fn back(self) -> Result<Result<Link, Taken>, StoreError> {
        let made = match self {
            Record::Taken(code) => return Ok(Err(Taken(code))),
            Record::Made(made) => *made,
        };
        Ok(Ok(Link {
            code: made.code,
            target: made.target,
            redirect: patch::redirect_of(made.status)?,
            forward_query: made.forward_query,
            expires: made.expires,
            clicks_left: made.clicks_left,
            password: made.password,
            disabled: made.disabled,
            title: made.title,
            tags: made.tags,
            created: made.created,
            updated: made.updated,
            version: made.version,
            owner: made.owner,
        }))
    }
}
