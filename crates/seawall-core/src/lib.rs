//! Policies as pure arithmetic: no I/O, no clock, no task, no log. Time and randomness are
//! arguments, so that every policy can be simulated from a seed.
//!
//! * [`balance`]: which server of an upstream takes the next request
//! * [`proxy_protocol`]: the header that tells whose connection a proxy carries
//! * [`random`]: the small generator that the doors and the simulations feed them with

pub mod balance;
pub mod proxy_protocol;
pub mod random;
