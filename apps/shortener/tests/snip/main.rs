//! `snip` as its users meet it, and the databases that it stands on.

mod edge;
mod health;
mod instance;
mod lookup;
mod redirects;
mod store;
