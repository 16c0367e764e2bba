//! Tests of the product: the real binary between scripted origins, real servers and raw clients.
//! One module a theme; what is tested is only ever seen from outside.

mod setup;

mod admin;
mod again;
mod applications;
mod balance;
mod breaker;
mod cache;
mod cache_admin;
mod cli;
mod cli_cache;
mod discovery;
mod drain;
mod early;
mod fields;
mod fleet;
mod framing;
mod idle;
mod interim;
mod malformed;
mod names;
mod proxy_protocol;
mod queue;
mod refusals;
mod reload;
mod reports;
mod resilience;
mod routes;
mod servers;
mod slow;
mod streaming;
mod tcp;
mod tiers;
mod upgrade;
mod upstreams;
mod worst_days;
