//! `snip`, a link shortener: one process with a database in a file, or many stateless ones over
//! PostgreSQL, Redis and NATS, by configuration alone.

pub mod link;
