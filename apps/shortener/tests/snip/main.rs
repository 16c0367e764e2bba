//! The product from outside: the real binary `snip`, its API and its commands.

mod api;
mod cli;
mod openapi;
mod program;
