//! `snip` as its users meet it, and the databases that it stands on.

mod api;
mod attack;
mod cli;
mod clicks;
mod client;
mod documents;
mod edge;
mod health;
mod instance;
mod lists;
mod lookup;
mod openapi;
mod redirects;
mod session;
mod store;
mod web;
mod worst;
