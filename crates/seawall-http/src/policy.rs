//! The policies an exchange passes, one file each.

pub(crate) mod headers;
pub(crate) mod redirect;
pub(crate) mod respond;
pub(crate) mod trace;
