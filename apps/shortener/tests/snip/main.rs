//! `snip` as its users meet it, and the databases that it stands on.

mod store;
