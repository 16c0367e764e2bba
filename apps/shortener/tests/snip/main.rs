//! `snip` as its users meet it, and the databases that it stands on.

mod api;
mod attack;
mod cli;
mod clicks;
mod edge;
mod health;
mod instance;
mod lookup;
mod openapi;
mod program;
mod redirects;
mod session;
mod store;
mod web;
