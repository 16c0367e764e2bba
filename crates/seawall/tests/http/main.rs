//! Tests of the product: the real binary between scripted origins, real servers and raw clients.
//! One module a theme; what is tested is only ever seen from outside.

mod setup;

mod drain;
mod early;
mod fields;
mod framing;
mod interim;
mod reload;
mod slow;
mod streaming;
mod upgrade;
