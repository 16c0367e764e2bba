//! What the tests, the demo and the benchmarks of Seawall are made of: scripted origins, a raw
//! HTTP/1.1 client, steady load, and real processes, all on loopback addresses and free ports.
//!
//! Everything here is blocking and runs on threads of its own, so that a test reads from top to
//! bottom and no runtime under test shares a scheduler with what tests it. Nothing here knows
//! another Seawall crate: what is tested is only ever seen from outside.
//!
//! Waiting is always for a condition and ends with [`ErrorKind::TimedOut`] after a patience
//! ([`PATIENCE`] unless said otherwise), which is a bound for broken tests and never a
//! measurement.
//!
//! [`ErrorKind::TimedOut`]: std::io::ErrorKind::TimedOut

use std::time::Duration;

mod address;
mod apps;
mod browser;
mod client;
mod dns;
mod gate;
mod limits;
mod load;
mod message;
mod nats;
mod nginx;
mod origin;
mod postgres;
mod process;
mod redis;
mod seawall;
mod wire;

pub use address::{ReservedPort, Stalled};
pub use apps::{NodeApp, PythonHttpServer};
pub use browser::{Browser, Page};
pub use client::{RawClient, connect_from};
pub use dns::{DnsServer, ServiceTarget};
pub use gate::Gate;
pub use limits::raise_open_files;
pub use load::{Load, LoadPlan, Tally};
pub use message::{Field, Fields, Request, Response};
pub use nats::Nats;
pub use nginx::Nginx;
pub use origin::{Conversation, Origin, Seen};
pub use postgres::Postgres;
pub use process::{Line, Process, Stream};
pub use redis::Redis;
pub use rustix::process::Signal;
pub use seawall::{Seawall, sum_of_samples};

/// How long a wait lasts before it is given up: 30 seconds, far more than a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);
