//! The HTTP door: listens, reads requests, chooses a route, applies its policies, forwards to a
//! server of an upstream, and answers. Runs on a [`Plan`](seawall_config::plan::Plan); never reads
//! a file or the environment.
//!
//! Begin with `exchange.rs`, the story of one request. `serve.rs` around it is the story of one
//! connection, `worker.rs` that of one thread, and [`door`] that of all of them.

mod buffer;
mod client;
mod compiled;
pub mod door;
mod exchange;
mod forward;
mod listen;
mod message;
mod pace;
mod policy;
mod record;
pub mod refuse;
mod relay;
mod report;
mod route;
mod send;
mod serve;
mod socket;
mod tcp;
mod tickets;
mod timer;
mod tunnel;
mod turn;
mod upstream;
mod worker;

pub use door::{Door, DoorError};
pub use refuse::Refusal;
pub use route::{Found, RouteTable};
