//! What can go wrong with a database, in the kinds that a caller tells apart.

/// A failure of the database. Where it met a change, the change was not made, except that an
/// [`StoreError::Unavailable`] may have come after it was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or does not answer in time: to be tried again. Whether a
    /// change was made is not known.
    #[error("the database is not available: {0}")]
    Unavailable(Box<str>),
    /// Another process keeps the file of the database locked. Nothing was changed.
    #[error("the database is locked by another process: {0}")]
    Locked(Box<str>),
    /// There is no room to write: the disk is full, or a quota is reached. Nothing was changed.
    #[error("the database has no room to write: {0}")]
    Full(Box<str>),
    /// What is stored cannot be what was stored.
    #[error("the database is damaged: {0}")]
    Corrupt(Box<str>),
    /// The database cannot be used as it is configured, or was made by a newer version.
    #[error("{0}")]
    Unusable(Box<str>),
    /// The database refused a statement: a bug here, or somebody changed its tables.
    #[error("the database refused a statement: {0}")]
    Refused(Box<str>),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody mending anything here.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable(_) | StoreError::Locked(_) | StoreError::Full(_))
    }

    pub(super) fn corrupt(what: impl std::fmt::Display) -> StoreError {
        StoreError::Corrupt(what.to_string().into())
    }

    pub(super) fn unavailable(what: impl std::fmt::Display) -> StoreError {
        StoreError::Unavailable(what.to_string().into())
    }

    pub(super) fn unusable(what: impl std::fmt::Display) -> StoreError {
        StoreError::Unusable(what.to_string().into())
    }
}
