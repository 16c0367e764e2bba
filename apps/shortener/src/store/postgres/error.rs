//! Failures of PostgreSQL, in the kinds that a caller tells apart.

use std::error::Error as _;
use std::fmt::Write as _;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        let text = whole(&error).into();
        let Some(state) = error.code() else {
            // What the server did not say itself is a matter of the connection, or of types.
            let of_io = error.source().is_some_and(|source| source.is::<std::io::Error>());
            let of_types = !of_io && !error.is_closed() && error.to_string().contains("deserializ");
            let of_config = error.to_string().starts_with("invalid configuration");
            return match () {
                () if of_types => StoreError::Corrupt(text),
                () if of_config => StoreError::Unusable(text),
                () => StoreError::Unavailable(text),
            };
        };
        match (state.code().get(..2).unwrap_or_default(), state) {
            (_, &SqlState::DISK_FULL) => StoreError::Full(text),
            ("XX", &SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => {
                StoreError::Corrupt(text)
            }
            // Connections, resources, an operator, deadlocks; a server that became a replica; a
            // statement that took too long.
            ("08" | "53" | "57" | "58" | "40" | "55", _)
            | (_, &SqlState::READ_ONLY_SQL_TRANSACTION) => StoreError::Unavailable(text),
            ("28" | "3D" | "3F" | "42", _) if of_set_up(state) => StoreError::Unusable(text),
            _ => StoreError::Refused(text),
        }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> StoreError {
        match error {
            PoolError::Backend(error) => error.into(),
            error => StoreError::unavailable(error),
        }
    }
}

/// Why a transaction failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server undid it since it met another; the same may succeed now.
    Conflict(StoreError),
    /// Anything else.
    Other(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.code() {
            Some(state) if state.code().starts_with("40") => Failure::Conflict(error.into()),
            _ => Failure::Other(error.into()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Other(error)
    }
}

fn of_set_up(state: &SqlState) -> bool {
    state.code().starts_with("28")
        || [
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::INSUFFICIENT_PRIVILEGE,
        ]
        .contains(state)
}

/// The error with what caused it.
pub(super) fn whole(error: &Error) -> String {
    let mut text = String::new();
    if let Some(error) = error.as_db_error() {
        let code = error.code().code();
        write!(text, "{} ({code})", error.message()).expect("texts take everything");
        return text;
    }
    write!(text, "{error}").expect("texts take everything");
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").expect("texts take everything");
        source = error.source();
    }
    text
}
