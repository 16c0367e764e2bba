//! Failures of SQLite, in the kinds that a caller tells apart.

use rusqlite::ErrorCode;
use rusqlite::ffi;

use super::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let text = error.to_string().into();
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt(text),
                _ => StoreError::Refused(text),
            };
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked(text),
            ErrorCode::DiskFull => StoreError::Full(text),
            // A quota, a limit on the size of files: what is no `ENOSPC` comes as one of these.
            ErrorCode::SystemIoFailure if NO_ROOM.contains(&failure.extended_code) => {
                StoreError::Full(text)
            }
            ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::CannotOpen => {
                StoreError::Unavailable(text)
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(text),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreError::Unusable(text),
            _ => StoreError::Refused(text),
        }
    }
}

const NO_ROOM: [i32; 4] = [
    ffi::SQLITE_IOERR_WRITE,
    ffi::SQLITE_IOERR_FSYNC,
    ffi::SQLITE_IOERR_SHMSIZE,
    ffi::SQLITE_IOERR_TRUNCATE,
];
