//! The policies an exchange passes, one file each.

pub(crate) mod cache;
pub(crate) mod deadline;
pub(crate) mod hash_key;
pub(crate) mod headers;
pub(crate) mod redirect;
pub(crate) mod report;
pub(crate) mod respond;
pub(crate) mod sticky;
pub(crate) mod trace;
