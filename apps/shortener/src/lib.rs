//! `snip`, a link shortener: one process with a database in a file, or many stateless ones over
//! PostgreSQL, Redis and NATS, by configuration alone.

pub mod api;
pub mod auth;
pub mod caches;
mod cell;
pub mod cli;
pub mod clicks;
pub mod code;
pub mod config;
pub mod edge;
pub mod health;
pub mod instant;
pub mod link;
pub mod links;
pub mod metrics;
pub mod password;
pub mod problem;
pub mod qr;
pub mod redirect;
pub mod refusal;
pub mod resolve;
pub mod seldom;
pub mod serve;
pub mod session;
pub mod store;
pub mod target;
pub mod web;
