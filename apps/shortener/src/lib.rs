//! `snip`, a link shortener: one process with a database in a file, or many stateless ones over
//! PostgreSQL, Redis and NATS, by configuration alone.

pub mod caches;
pub mod cli;
pub mod code;
pub mod config;
pub mod edge;
pub mod health;
pub mod link;
pub mod metrics;
pub mod password;
pub mod redirect;
pub mod refusal;
pub mod resolve;
pub mod serve;
pub mod store;
pub mod target;
